"""G-DDPG and DDPG, Algorithm 3: one file, in which only the actor differs.

A round is an episode of one step, so the critic learns the reward itself, eq. (29), with nothing to bootstrap from. The
target networks of Algorithm 3 are kept: what comes out of the training is the target actor, the running mean of the actor.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from ..errors import InvalidArgument, ModelNotFound, check_integer, check_number
from ..files import DATA
from .actors import Critic, DiffusionActor, PlainActor
from .environment import ServiceEnv
from .service import Service
from .states import Allocation, States

ALGORITHMS = ("g-ddpg", "ddpg")
NETWORKS = ("actor", "critic", "target")
PROGRESS = ("done", "updates", "seconds", "rows")  # of a learner, as plain numbers
CRITIC_SEES = ("allocation", "action")
SHARPNESS = 4.0  # of the soft choice whose gradient stands in for that of the largest entry
LOW_POWER_W = 2.0  # where the critic's second scale of powers turns from linear to logarithmic
VALIDATION_SEED = 1_000_003  # of the states of the learning curve; training draws from other streams


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
        restraint: weight of the mean square of what goes into the actor's tanh. Without it an actor that has learnt one end of
            the scale early has no gradient left to come back with.
        critic_sees: "allocation" shows the critic the steps that an action is decoded to, "action" its entries as they are.
        evaluate_every: interactions between two rows of the learning curve.
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
    restraint: float = 1e-3
    critic_sees: str = "allocation"
    evaluate_every: int = 8_000

    def __post_init__(self) -> None:
        for name in ("interactions", "collect", "batch", "hidden", "denoising_steps", "evaluate_every"):
            check_integer(name, getattr(self, name), 1)
        check_integer("warmup", self.warmup, 0)
        check_number("lr", self.lr, 0, open_low=True)
        check_number("tau", self.tau, 0, 1, open_low=True)
        check_number("restraint", self.restraint, 0)
        if self.critic_sees not in CRITIC_SEES:
            raise InvalidArgument("critic_sees", self.critic_sees, f"one of {', '.join(CRITIC_SEES)}")
        for i, value in enumerate(self.exploration):
            check_number(f"exploration[{i}]", value, 0)


@dataclass(frozen=True, eq=False)
class Policy:
    """A trained allocator.

    Attributes:
        service: that it was trained on.
        actor: the target actor.
        curve: one row each `evaluate_every` interactions: interactions, updates, seconds, reward, sum_qoe, over_budget (share
            of groups whose server energy (24) or device energy (22) is exceeded), below_threshold (share of users).
    """

    service: Service
    actor: torch.nn.Module
    curve: pd.DataFrame

    @torch.no_grad()
    def act(self, states: States) -> Allocation:
        """Allocate; without any noise, so the same every time."""
        return self.service.decode(self.actor(torch.from_numpy(self.service.observe(states))).numpy())

    @torch.no_grad()
    def walk(self, states: States, seed: int) -> np.ndarray:
        """Actions (D + 1, B, m) of a diffusion actor through its denoising steps, from noise of this seed."""
        seen = torch.from_numpy(self.service.observe(states))
        noise = self.actor.noise(len(seen), torch.Generator().manual_seed(seed))
        return self.actor.chain(seen, noise)[0].numpy()

    def save(self, path: Path, **about: str) -> None:
        """Write the actor as safetensors, with its sizes and what is told `about` it."""
        shape = {"hidden": self.actor.net[0].out_features, "denoising_steps": getattr(self.actor, "steps", 0)}
        save_file(self.actor.state_dict(), path, {key: str(value) for key, value in (shape | about).items()})

    @classmethod
    def from_pretrained(cls, name: str | Path = "g-ddpg", service: Service | None = None) -> Policy:
        """Load "g-ddpg" or "ddpg" of the study, "g-ddpg-2-users", or a file that `save` wrote.

        Args:
            service: as the policy was trained on; by default that of `ServiceEnv()`.

        Raises:
            ModelNotFound: no such file.
            InvalidArgument: a service with another size of state or action.
        """
        shipped = sorted(file.stem for file in (DATA / "models" / "allocator").glob("*.safetensors"))
        path = DATA / "models" / "allocator" / f"{name}.safetensors" if str(name) in shipped else Path(name)
        if not path.is_file():
            raise ModelNotFound(f"no policy {str(name)!r}: name one of {', '.join(shipped)}, or a file that Policy.save wrote")
        service = service or ServiceEnv().service
        with safe_open(path, "pt") as file:
            about, weights = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
        actor = _actor(service, int(about["hidden"]), int(about["denoising_steps"]))
        try:
            actor.load_state_dict(weights)
        except RuntimeError as error:
            raise InvalidArgument("service", service.config, f"like the one that {path.name} was trained on") from error
        return cls(service, actor, pd.DataFrame())


def _actor(service: Service, hidden: int, denoising_steps: int) -> torch.nn.Module:
    """A diffusion actor, or with no denoising steps a plain one."""
    sizes = len(service.low), service.config.action_size, hidden
    return DiffusionActor(*sizes, denoising_steps) if denoising_steps else PlainActor(*sizes)


def train(
    algorithm: str = "g-ddpg",
    env: ServiceEnv | Service | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
    **options,
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
        InvalidArgument: an unknown algorithm, an option outside its range, or a checkpoint made with other options.
    """
    if algorithm not in ALGORITHMS:
        raise InvalidArgument("algorithm", algorithm, f"one of {', '.join(ALGORITHMS)}")
    env = ServiceEnv() if env is None else env
    learner = Learner(algorithm, env if isinstance(env, Service) else env.service, Training(**options), seed)
    checkpoint = None if folder is None else Path(folder) / "checkpoint.safetensors"
    if checkpoint is not None and checkpoint.exists():
        learner.load(checkpoint)
    total = learner.training.interactions
    with tqdm(total=total, initial=learner.done, disable=not progress, desc=algorithm, unit="round", mininterval=1) as bar:
        while learner.done < total:
            before = learner.done
            learner.step()
            bar.update(learner.done - before)
            if learner.crossed(before):
                learner.evaluate()
                bar.set_postfix(reward=f"{learner.rows[-1]['reward']:.3f}")
                if checkpoint is not None:
                    learner.save(checkpoint)
    return learner.policy()


def validation(service: Service) -> States:
    """The states of learning curves, the same for every learner."""
    return service.draw(np.random.default_rng(VALIDATION_SEED), 256)


def measure(policy: Policy, states: States) -> dict[str, float]:
    """What a policy brings on average: a row of `Policy.curve`, without what it has cost."""
    made = policy.service.outcome(states, policy.act(states))
    means = {"reward": made.reward, "sum_qoe": made.qoe.sum(1)}
    means |= {"over_budget": made.over_budget, "below_threshold": made.shortfall > 0}
    return {name: float(np.mean(values)) for name, values in means.items()}


class Learner:
    """All that a training has: networks, optimisers, records (s, a, r), sources of chance, and the curve so far."""

    def __init__(self, algorithm: str, service: Service, training: Training, seed: int):
        self.algorithm, self.service, self.training = algorithm, service, training
        self.seed = check_integer("seed", seed, 0)
        self.rng, self.source = np.random.default_rng((seed, 1)), torch.Generator().manual_seed(seed)
        seen, acts, hidden = len(service.low), service.config.action_size, training.hidden
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            steps = training.denoising_steps if algorithm == "g-ddpg" else 0
            self.actor, self.target = (_actor(service, hidden, steps) for _ in range(2))
            self.critic = Critic(seen, acts + (service.config.users if training.critic_sees == "allocation" else 0), hidden)
        self.target.load_state_dict(self.actor.state_dict())
        self.optimisers = [torch.optim.Adam(net.parameters(), training.lr, fused=True) for net in (self.actor, self.critic)]
        size = training.interactions + training.collect
        self.records = [torch.zeros(size, width) for width in (seen, acts, 1)]
        self.done, self.updates, self.seconds, self.rows = 0, 0, 0.0, []
        self.validation = validation(service)

    def step(self) -> None:
        """Serve `collect` groups and update once: lines 4 to 12 of Algorithm 3."""
        start = time.perf_counter()
        self.collect()
        self.update(torch.from_numpy(self.rng.integers(0, self.done, self.training.batch)))
        self.seconds += time.perf_counter() - start

    @torch.no_grad()
    def collect(self) -> None:
        """Serve groups with actions of the actor, disturbed, and keep the records."""
        t, count = self.training, self.training.collect
        states = self.service.draw(self.rng, count)
        seen = torch.from_numpy(self.service.observe(states))
        if self.done < t.warmup:
            actions = 2 * torch.rand(count, self.actor.action, generator=self.source) - 1
        else:
            part = self.done / t.interactions
            spread = (1 - part) * t.exploration[0] + part * t.exploration[1]
            actions = self.actor(seen, self.actor.noise(count, self.source))
            actions = (actions + spread * torch.randn(actions.shape, generator=self.source)).clamp(-1, 1)
        reward = self.service.outcome(states, self.service.decode(actions.numpy())).reward
        for kept, new in zip(self.records, (seen, actions, torch.from_numpy(reward)[:, None])):
            kept[self.done : self.done + count] = new
        self.done += count

    def update(self, index: torch.Tensor) -> None:
        """One step of the critic (29), one of the actor (28), one of the target."""
        seen, actions, reward = (kept[index] for kept in self.records)
        of_actor, of_critic = self.optimisers
        loss = (self.critic(seen, self.shown(actions)) - reward).square().sum(1).mean()
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
        self.critic.requires_grad_(False)
        chosen, drives = self.actor.decide(seen, self.actor.noise(len(seen), self.source))
        loss = self.training.restraint * drives.square().mean() - self.critic(seen, self.shown(chosen)).min(1).values.mean()
        of_actor.zero_grad()
        loss.backward()
        of_actor.step()
        self.critic.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.actor.parameters()), self.training.tau)
        self.updates += 1

    def shown(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions (B, m) as the critic sees them: of each choice of steps, 1 at the largest entry and -1 elsewhere.

        Powers stand there twice, as they are and on a scale that is logarithmic from a few watts on. The gradient through a
        choice is that of a soft one (a straight-through estimator), so an actor learns which entry to raise.
        """
        if self.training.critic_sees == "action":
            return actions
        c = self.service.config
        powers, shared, device = actions.split([c.users, c.max_shared_steps, c.users * c.max_device_steps], 1)
        seen = [powers, torch.log10(1 + (powers + 1) / 2 * c.max_power_w / LOW_POWER_W)]
        for choice in (shared[:, None], device.unflatten(1, (c.users, c.max_device_steps))):
            soft = (SHARPNESS * choice).softmax(2)
            hard = torch.zeros_like(soft).scatter_(2, choice.argmax(2, keepdim=True), 1.0)
            seen.append((2 * (hard + soft - soft.detach()) - 1).flatten(1))
        return torch.cat(seen, 1)

    def crossed(self, before: int) -> bool:
        """Whether a row of the curve is due after `before` interactions became `done`."""
        every = self.training.evaluate_every
        return before // every != self.done // every or self.done >= self.training.interactions

    def evaluate(self) -> None:
        """Add a row to the curve."""
        spent = {"interactions": self.done, "updates": self.updates, "seconds": self.seconds}
        self.rows.append(spent | measure(self.policy(), self.validation))

    def policy(self) -> Policy:
        """What has been learnt so far."""
        return Policy(self.service, self.target, pd.DataFrame(self.rows))

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all, and the curve beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {f"record.{i}": rows[: self.done] for i, rows in enumerate(self.records)} | {"source": self.source.get_state()}
        for name in NETWORKS:
            kept |= {f"{name}.{key}": value for key, value in getattr(self, name).state_dict().items()}
        for i, optimiser in enumerate(self.optimisers):
            for j, state in optimiser.state_dict()["state"].items():
                kept |= {f"optimiser.{i}.{j}.{field}": value for field, value in state.items()}
        progress = {name: getattr(self, name) for name in PROGRESS} | {"rng": self.rng.bit_generator.state}
        save_file(kept, path.with_suffix(".tmp"), {"made_with": self._made_with(), "progress": json.dumps(progress)})
        path.with_suffix(".tmp").replace(path)
        pd.DataFrame(self.rows).to_csv(path.parent / "curve.csv", index=False)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        with safe_open(path, "pt") as file:
            about, kept = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
        if about["made_with"] != self._made_with():
            raise InvalidArgument(
                "folder", str(path.parent), "empty, or hold a training of the same algorithm, setting and seed"
            )
        for name in NETWORKS:
            network = getattr(self, name)
            network.load_state_dict({key: kept[f"{name}.{key}"] for key in network.state_dict()})
        for i, optimiser in enumerate(self.optimisers):
            state = {}
            for key in kept:
                if key.startswith(f"optimiser.{i}."):
                    _, _, j, field = key.split(".")
                    state.setdefault(int(j), {})[field] = kept[key]
            optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
        progress = json.loads(about["progress"])
        for name in PROGRESS:
            setattr(self, name, progress[name])
        for i, rows in enumerate(self.records):
            rows[: self.done] = kept[f"record.{i}"]
        self.rng.bit_generator.state = progress["rng"]
        self.source.set_state(kept["source"])

    def _made_with(self) -> str:
        return repr((self.algorithm, self.seed, self.training, self.service.config, self.service.source.prompts))
