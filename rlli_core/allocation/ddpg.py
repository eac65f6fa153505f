"""G-DDPG and DDPG, Algorithm 3: one file, in which only the actor differs.

A round is an episode of one step, so the critic learns the reward itself, eq. (29), with nothing to bootstrap from. The
target networks of Algorithm 3 are kept: what comes out of the training is the target actor, the running mean of the actor.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from tqdm.auto import tqdm

from ..errors import (
    InvalidArgument,
    UnusableFile,
    check_choice,
    check_integer,
    check_list,
    check_number,
    check_seed,
    check_type,
    first_line,
)
from ..files import alone, check_writable, write_text, write_weights
from .actors import Critic, allocation_shown
from .environment import ServiceEnv
from .policy import Policy, measure, new_actor, validation
from .service import Service
from .sets import action_layout, seen_layout

ALGORITHMS = ("g-ddpg", "ddpg")
NETWORKS = ("actor", "critic", "target")
PROGRESS = ("done", "updates", "seconds", "rows")  # of a learner, as plain numbers
CRITIC_SEES = ("allocation", "action")
MOST_NUMBERS = 2**29  # in a replay buffer, and in an update: 2 GB each
EARLY = (0, 125, 250, 500, 1_000, 2_000, 4_000)  # rounds at which a learning curve has a row beside those of `evaluate_every`


@dataclass(frozen=True)
class Training:
    """How long and how to train.

    Args:
        interactions: rounds served in all.
        collect: rounds between two updates, served at once.
        warmup: rounds with random actions at the beginning.
        batch, hidden, lr: of actor and critic alike.
        denoising_steps: D of the diffusion actor.
        exploration: standard deviation of the noise on actions, at the beginning and at the end, linear between.
        tau: share of the network that the target network takes on at each update.
        action_penalty: weight of the mean square of the pre-activations of the actor's tanh. Without it an actor that has
            learnt one end of the scale early has no gradient left to come back with.
        critic_sees: "allocation" shows the critic the steps that an action is decoded to, "action" its entries as they are.
        evaluate_every: interactions between two rows of the learning curve; at the beginning there are more (`EARLY`).
    """

    interactions: int = 128_000
    collect: int = 16
    warmup: int = 2_000
    batch: int = 256
    hidden: int = 128
    lr: float = 3e-3
    denoising_steps: int = 5
    exploration: tuple[float, float] = (0.5, 0.1)
    tau: float = 0.005
    action_penalty: float = 1e-3
    critic_sees: str = "allocation"
    evaluate_every: int = 8_000

    def __post_init__(self) -> None:
        for name in ("interactions", "collect", "batch", "evaluate_every"):
            check_integer(name, getattr(self, name), 1)
        check_integer("hidden", self.hidden, 1, 4096)
        check_integer("denoising_steps", self.denoising_steps, 1, 1000)
        check_integer("warmup", self.warmup, 0)
        for name in ("lr", "tau"):
            check_number(name, getattr(self, name), 0, 1, open_low=True)
        check_number("action_penalty", self.action_penalty, 0, 1e6)
        check_choice("critic_sees", self.critic_sees, CRITIC_SEES)
        if len(check_list("exploration", self.exploration)) != 2:
            raise InvalidArgument("exploration", self.exploration, "two numbers, at the beginning and at the end")
        for i, value in enumerate(self.exploration):
            check_number(f"exploration[{i}]", value, 0, 1e6)

    def check(self, service: Service) -> None:
        """Raise `InvalidArgument` where the memory of a training on that service would not fit a usual machine."""
        row = len(service.low) + service.config.action_size + 1
        for name, each in (("collect", row), ("interactions", row), ("batch", self.denoising_steps * (self.hidden + row))):
            if getattr(self, name) * each > MOST_NUMBERS:
                raise InvalidArgument(name, getattr(self, name), f"at most {MOST_NUMBERS // each} in this setting")


def train(
    algorithm: str = "g-ddpg",
    env: ServiceEnv | Service | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Policy:
    """Train an allocator.

    Args:
        algorithm: "g-ddpg" (diffusion actor) or "ddpg" (plain actor).
        env: what to train on, by default `ServiceEnv()`.
        seed: of everything drawn.
        folder: where the checkpoint and curve.csv are written; a training that was broken off goes on from there, and ends
            with the same bytes as one that was not.
        options: fields of `Training`.

    Raises:
        InvalidArgument: an unknown algorithm, an option outside its range, or a folder with another training's checkpoint, or
            one that is being trained in.
        UnusableFile: a damaged checkpoint, or a folder that cannot be written to.
    """
    check_choice("algorithm", algorithm, ALGORITHMS)
    for name in options:
        check_choice("option", name, [field.name for field in fields(Training)])
    check_type("folder", folder, (str, Path, type(None)), "a folder or None")
    env = ServiceEnv() if env is None else env
    check_type("env", env, (Service, ServiceEnv), "a ServiceEnv, its service, or None")
    service = env if isinstance(env, Service) else env.service
    return finish(Learner(algorithm, service, Training(**options), seed), folder, progress)


def finish(learner: Learner, folder: Path | None, progress: bool) -> Policy:
    """Train a learner to its end, from its checkpoint in the folder where there is one; as `train`, whatever the learner."""
    if folder is None:
        return _train(learner, None, progress)
    check_writable(Path(folder))
    with alone(Path(folder), "a training"):
        return _train(learner, Path(folder) / "checkpoint.safetensors", progress)


def _train(learner: Learner, checkpoint: Path | None, progress: bool) -> Policy:
    if checkpoint is not None and checkpoint.exists():
        learner.load(checkpoint)
    algorithm, total = learner.algorithm, learner.training.interactions
    if not learner.rows:
        learner.evaluate()
    with tqdm(total=total, initial=learner.done, disable=not progress, desc=algorithm, unit="round", mininterval=1) as bar:
        while learner.done < total:
            before = learner.done
            learner.step()
            bar.update(learner.done - before)
            if learner.evaluation_due(before):
                learner.evaluate()
                bar.set_postfix(reward=f"{learner.rows[-1]['reward']:.3f}")
                if checkpoint is not None:
                    learner.save(checkpoint)
    return learner.policy()


class Learner:
    """All that a training has: networks, optimizers, replay buffer (s, a, r), random generators, and the curve so far.

    A learner of another kind (`learners.py`) says what else it has, how it explores and how it improves its actor.
    """

    networks: tuple[str, ...] = NETWORKS

    def __init__(self, algorithm: str, service: Service, training: Training, seed: int):
        self.algorithm, self.service, self.training = algorithm, service, training
        self.seed = check_seed("seed", seed)
        training.check(service)
        self.rng, self.generator = np.random.default_rng((seed, 1)), torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.build()
        self.done, self.updates, self.seconds = 0, 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.validation = validation(service)

    def build(self) -> None:
        """Make networks, optimizers and the empty replay buffer."""
        t, seen, acts = self.training, len(self.service.low), self.service.config.action_size
        steps = 0 if self.algorithm == "ddpg" else t.denoising_steps
        self.actor, self.target = (new_actor(self.service, t.hidden, steps) for _ in range(2))
        shown = action_layout(self.service.config, t.critic_sees == "allocation")
        self.critic = Critic(seen_layout(self.service), shown, t.hidden)
        self.target.load_state_dict(self.actor.state_dict())
        self.optimizers = [torch.optim.Adam(net.parameters(), t.lr, fused=True) for net in (self.actor, self.critic)]
        self.replay = [torch.zeros(t.interactions + t.collect, width) for width in (seen, acts, 1)]

    def step(self) -> None:
        """Serve `collect` groups and update once: lines 4 to 12 of Algorithm 3."""
        start = time.perf_counter()
        self.collect()
        self.update(torch.from_numpy(self.rng.integers(0, self.done, self.training.batch)))
        self.seconds += time.perf_counter() - start

    @torch.no_grad()
    def collect(self) -> None:
        """Serve groups with random actions, later with those of `explore`, and fill the replay buffer."""
        t, count = self.training, self.training.collect
        states = self.service.draw(self.rng, count)
        seen = torch.from_numpy(self.service.observe(states))
        if self.done < t.warmup:
            actions = 2 * torch.rand(count, self.service.config.action_size, generator=self.generator) - 1
        else:
            actions = self.explore(seen)
        reward = self.service.outcome(states, self.service.decode(actions.numpy())).reward
        for kept, new in zip(self.replay, (seen, actions, torch.from_numpy(reward)[:, None])):
            kept[self.done : self.done + count] = new
        self.done += count

    def explore(self, seen: torch.Tensor) -> torch.Tensor:
        """Actions of the actor in states seen (B, n), with exploration noise, (B, m)."""
        actions = self.actor(seen, self.actor.noise(seen, self.generator))
        return (actions + self.spread * torch.randn(actions.shape, generator=self.generator)).clamp(-1, 1)

    @property
    def spread(self) -> float:
        """Standard deviation of the exploration noise at present."""
        part, (first, last) = self.done / self.training.interactions, self.training.exploration
        return (1 - part) * first + part * last

    def update(self, index: torch.Tensor) -> None:
        """One step of the critic (29), one of the actor (28), one of the target."""
        seen, actions, reward = (kept[index] for kept in self.replay[:3])
        critic_optimizer = self.optimizers[-1]
        loss = (self.critic(seen, self.shown(actions)) - reward).square().sum(1).mean()
        critic_optimizer.zero_grad()
        loss.backward()
        critic_optimizer.step()
        self.improve(seen, index)
        self.updates += 1

    def improve(self, seen: torch.Tensor, index: torch.Tensor) -> None:
        """One step of the actor in states seen (B, n), those at `index` (B,) of the replay buffer, and one of the target."""
        self.critic.requires_grad_(False)
        chosen, pre_activations = self.actor.decide(seen, self.actor.noise(seen, self.generator))
        penalty = self.training.action_penalty * pre_activations.square().mean()
        loss = penalty - self.critic(seen, self.shown(chosen)).min(1).values.mean()
        self.descend(loss)
        self.critic.requires_grad_(True)

    def descend(self, loss: torch.Tensor) -> None:
        """Take a step of the actor down a loss, and let the target follow."""
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.actor.parameters()), self.training.tau)

    def shown(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions (B, m) as the critic sees them, as they are or by `allocation_shown`."""
        sees_steps = self.training.critic_sees == "allocation"
        return allocation_shown(self.service.config, actions) if sees_steps else actions

    def evaluation_due(self, before: int) -> bool:
        """Whether a row of the curve is due after `before` interactions became `done`."""
        every = self.training.evaluate_every
        early = any(before < mark <= self.done for mark in EARLY)
        return early or before // every != self.done // every or self.done >= self.training.interactions

    def evaluate(self) -> None:
        """Add a row to the curve."""
        spent = {"interactions": self.done, "updates": self.updates, "seconds": self.seconds}
        self.rows.append(spent | measure(self.policy(), self.validation))

    def policy(self) -> Policy:
        """What has been learnt so far."""
        return Policy(self.service, self.target, pd.DataFrame(self.rows))

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all, and the curve beside it."""
        kept = {f"replay.{i}": rows[: self.done] for i, rows in enumerate(self.replay)} | {
            "generator": self.generator.get_state()
        }
        for name in self.networks:
            kept |= {f"{name}.{key}": value for key, value in getattr(self, name).state_dict().items()}
        for i, optimizer in enumerate(self.optimizers):
            for j, state in optimizer.state_dict()["state"].items():
                kept |= {f"optimizer.{i}.{j}.{field}": value for field, value in state.items()}
        progress = {name: getattr(self, name) for name in PROGRESS} | {"rng": self.rng.bit_generator.state}
        write_weights(path, kept, {"made_with": self._made_with(), "progress": json.dumps(progress)})
        write_text(path.parent / "curve.csv", pd.DataFrame(self.rows).to_csv(index=False))

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        try:
            with safe_open(path, "pt") as file:
                about, kept = file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}
            self._take(path, about, kept)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            if isinstance(error, InvalidArgument):
                raise
            raise UnusableFile(f"{path} is damaged, delete it to begin again: {first_line(error)}") from error

    def _take(self, path: Path, about: dict[str, str], kept: dict[str, torch.Tensor]) -> None:
        if about["made_with"] != self._made_with():
            raise InvalidArgument(
                "folder", str(path.parent), "empty, or hold a training of the same algorithm, setting and seed"
            )
        for name in self.networks:
            network = getattr(self, name)
            network.load_state_dict({key: kept[f"{name}.{key}"] for key in network.state_dict()})
        for i, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key in kept:
                if key.startswith(f"optimizer.{i}."):
                    _, _, j, field = key.split(".")
                    state.setdefault(int(j), {})[field] = kept[key]
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        progress = json.loads(about["progress"])
        for name in PROGRESS:
            setattr(self, name, progress[name])
        for i, rows in enumerate(self.replay):
            rows[: self.done] = kept[f"replay.{i}"]
        self.rng.bit_generator.state = progress["rng"]
        self.generator.set_state(kept["generator"])

    def _made_with(self) -> str:
        return repr((self.algorithm, self.seed, self.training, self.service.config, self.service.source.prompts))
