"""Three other learners on the rounds of Algorithm 3: what the diffusion actor's samples, the critic alone, and lines are good for.

`BestOf` (g-ddpg-best) teaches the diffusion actor by what the critic picks among its draws, `CriticArgmax` (critic-argmax) has no
actor and searches its critic, `bandit.LinUCB` (linucb) no network at all. Rounds, sizes and curves are those of `ddpg.Learner`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from ..errors import check_choice, check_type
from . import search
from .actors import DiffusionActor
from .bandit import LinUCB
from .ddpg import Learner, Training, finish
from .policy import Policy
from .service import Service

DRAWS = 8  # of the diffusion actor in a state, of which the critic picks one
REDRAWN = 0.4  # times the exploration noise: share of the choices redrawn, so that steps are tried that an actor never chooses
ANEW = 4  # one in so many states of a batch gets a new pick at each update
QUICK = (64, 1, 2)  # drawn actions, starts and sweeps of a search while collecting


def train_learner(
    algorithm: str, service: Service, seed: int, training: Training, folder: Path | None = None, progress: bool = False
) -> Policy:
    """Train one of `LEARNERS`; a training that was broken off goes on from its checkpoint in the folder, as with `ddpg.train`.

    Raises:
        InvalidArgument: an unknown algorithm, or sizes that the memory of a usual machine does not hold.
    """
    kind = LEARNERS[check_choice("algorithm", algorithm, LEARNERS)]
    check_type("service", service, Service, "a Service")
    return finish(kind(algorithm, service, training, seed), folder, progress)


class BestOf(Learner):
    """G-DDPG whose actor learns from its better draws, by regression, not from the critic's slope.

    In a state the actor draws some actions, half of them then varied; the critic picks one. It is served, varied again, and the
    actor is taught to denoise towards it. The pick of a state is kept until a better one is found, with its steps as 1 and -1: what
    the actor's estimates are the mean of is then how often each step is picked. The idea is that of QVPO (Ding et al.,
    NeurIPS 2024) with all weight on the best draw.
    """

    actor: DiffusionActor

    def build(self) -> None:
        """Beside the replay buffer, the pick of each state."""
        super().build()
        self.replay.append(torch.zeros_like(self.replay[1]))

    def draws(self, seen: torch.Tensor) -> torch.Tensor:
        """Actions of the actor in states (B, n), half of them varied, (B, N, m)."""
        many = seen.repeat_interleave(DRAWS, 0)
        actions = self.actor(many, self.actor.noise(many, self.generator)).unflatten(0, (len(seen), DRAWS))
        own, half = actions.split(DRAWS // 2, 1)
        return torch.cat([own, varied(self, half.flatten(0, 1)).unflatten(0, (len(seen), -1))], 1)

    def pick(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Of actions (B, N, m) in states (B, n) those that the critic expects the most of, (B, m), steps as 1 and -1."""
        expected = estimate(self.critic, self.shown, seen, actions)
        return search.plainly(self.service.config, actions[torch.arange(len(seen)), expected.argmax(1)])

    def explore(self, seen: torch.Tensor) -> torch.Tensor:
        """Picks, which are kept, varied."""
        picks = self.pick(seen, self.draws(seen))
        self.replay[3][self.done : self.done + len(seen)] = picks
        return varied(self, picks)

    def collect(self) -> None:
        """In the warm-up what was served is the first pick of its state."""
        first, warm = self.done, self.done < self.training.warmup
        super().collect()
        if warm:
            self.replay[3][first : self.done] = search.plainly(self.service.config, self.replay[1][first : self.done])

    def improve(self, seen: torch.Tensor, index: torch.Tensor) -> None:
        """New picks for a part of the states; one step of the actor towards the picks of all, from a random step of the chain."""
        some = slice(0, max(1, len(index) // ANEW))
        with torch.no_grad():
            known = self.replay[3][index[some]][:, None]
            self.replay[3][index[some]] = self.pick(seen[some], torch.cat([known, self.draws(seen[some])], 1))
        picks = self.replay[3][index]
        estimates, pre_activations = denoised(self.actor, seen, picks, self.generator)
        penalty = self.training.action_penalty * pre_activations.square().mean()
        self.descend((estimates - picks).square().mean() + penalty)


def varied(learner: Learner, actions: torch.Tensor) -> torch.Tensor:
    """Actions (B, m) with some choices redrawn and with exploration noise, both as large as they are at present."""
    actions = search.redrawn(learner.service.config, actions, REDRAWN * learner.spread, learner.generator)
    return (actions + learner.spread * torch.randn(actions.shape, generator=learner.generator)).clamp(-1, 1)


def denoised(
    actor: DiffusionActor, seen: torch.Tensor, actions: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """An actor's estimates of actions (B, m) from noised ones, each at a random step of its chain, and their pre-activations."""
    step = torch.randint(actor.steps, (len(seen), 1), generator=generator)
    kept = torch.tensor(actor.kept, dtype=torch.float32)[step]
    noise = torch.randn(actions.shape, generator=generator)
    noisy = kept.sqrt() * actions + (1 - kept).sqrt() * noise
    pre_activations = actor.estimate(actor.seen.look(seen), noisy, (step + 1) / actor.steps)
    return pre_activations.tanh(), pre_activations


def estimate(
    critic: nn.Module, shown: Callable[[torch.Tensor], torch.Tensor], seen: torch.Tensor, actions: torch.Tensor
) -> torch.Tensor:
    """Mean of the critic's two rewards, (B, C), of actions (B or 1, C, m) in states (B, n)."""
    count, many = len(seen), actions.shape[1]
    acts = shown(actions.flatten(0, 1)).unflatten(0, actions.shape[:2]).expand(count, -1, -1)
    pairs = seen[:, None].expand(-1, many, -1)
    found: torch.Tensor = critic(pairs.flatten(0, 1), acts.flatten(0, 1)).mean(1)
    return found.unflatten(0, (count, many))


class CriticArgmax(Learner):
    """The critic of DDPG without an actor: what is done is the best that a search finds by the critic."""

    networks = ("critic",)

    def build(self) -> None:
        """A critic, its optimizer and the replay buffer."""
        super().build()
        del self.actor, self.target, self.optimizers[0]

    def value(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """What the critic expects, as `Searcher` asks."""
        return estimate(self.critic, self.shown, seen, actions)

    def explore(self, seen: torch.Tensor) -> torch.Tensor:
        """The best by a quick search, varied."""
        count, starts, sweeps = QUICK
        c = self.service.config
        pool = search.drawn(c, count, self.generator)
        return varied(self, search.best(c, self.value, seen, pool, starts, sweeps))

    def improve(self, seen: torch.Tensor, index: torch.Tensor) -> None:
        """There is no actor."""

    def policy(self) -> Policy:
        """What has been learnt so far."""
        searcher = search.Searcher(self.service.config, self.critic, self.value)
        return search.SearchPolicy(self.service, searcher, pd.DataFrame(self.rows))  # type: ignore[arg-type]


LEARNERS: dict[str, type[Learner]] = {"g-ddpg-best": BestOf, "critic-argmax": CriticArgmax, "linucb": LinUCB}
