"""Trained allocators: what they do in a state, what that brings on average, and their files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from ..errors import InvalidArgument, ModelNotFound, UnusableFile, check_seed, check_type, first_line
from ..files import DATA, FROM_GIT, of_checkout, write_weights
from ..qoe.persona import Persona
from .actors import Actor, DiffusionActor, PlainActor
from .environment import ServiceEnv
from .prompts import PAPER_GROUP
from .service import Service
from .sets import action_layout, seen_layout
from .states import Allocation, States

VALIDATION_SEED = 1_000_003  # of the states of the learning curve; training draws from other streams


@dataclass(frozen=True, eq=False)
class Policy:
    """A trained allocator; one with an actor acts on groups of any number of users, 1 to 8.

    Attributes:
        service: that it was trained on.
        actor: the target actor.
        curve: one row each `evaluate_every` interactions: interactions, updates, seconds, reward, sum_qoe, over_budget (share
            of groups whose server energy (24) or device energy (22) is exceeded), below_threshold (share of users); and what is
            chosen in one state, as `chosen` says.
    """

    service: Service
    actor: Actor
    curve: pd.DataFrame

    @torch.no_grad()
    def act(self, states: States) -> Allocation:
        """Allocate; without any noise, so the same every time."""
        policy = self.among(states)
        return policy.service.decode(policy.actor(policy._seen(states)).numpy())

    def among(self, states: States) -> Policy:
        """This policy in the service for so many users as states have, which may be others than it was trained on."""
        users = check_type("states", states, States, "`States`, as its service draws them").prompts.shape[1]
        return self if users == self.service.config.users else replace(self, service=self.service.of_users(users))

    @torch.no_grad()
    def walk(self, states: States, seed: int) -> np.ndarray:
        """Actions (D + 1, B, m) of a diffusion actor through its denoising steps, from noise of this seed."""
        if not isinstance(self.actor, DiffusionActor):
            raise InvalidArgument("policy", type(self.actor).__name__, "one with denoising steps, such as g-ddpg's")
        seen, generator = self.among(states)._seen(states), torch.Generator().manual_seed(check_seed("seed", seed))
        return self.actor.chain(seen, self.actor.noise(seen, generator))[0].numpy()

    def _seen(self, states: States) -> torch.Tensor:
        return torch.from_numpy(self.service.observe(states))

    def save(self, path: Path, **about: object) -> None:
        """Write the actor as safetensors, with its sizes and what is told `about` it."""
        shape = {"hidden": self.actor.net.hidden, "denoising_steps": getattr(self.actor, "steps", 0)}
        check_type("path", path, (str, Path), "a file to write")
        write_weights(Path(path), self.actor.state_dict(), {key: str(value) for key, value in (shape | about).items()})

    @classmethod
    def from_pretrained(cls, name: str | Path = "g-ddpg", service: Service | None = None) -> Policy:
        """Load "g-ddpg" or "ddpg" of the study, "g-ddpg-2-users", or a file that `save` wrote.

        Args:
            service: as the policy was trained on; by default that of `ServiceEnv()`.

        Raises:
            ModelNotFound: no such file.
            UnusableFile: it is damaged, or another kind of file.
            InvalidArgument: a service that shows a user by other numbers, or allots it others.
        """
        check_type("name", name, (str, Path), "the name of a policy, or a file")
        shipped = sorted(file.stem for file in (DATA / "models" / "allocator").glob("*.safetensors"))
        path = DATA / "models" / "allocator" / f"{name}.safetensors" if str(name) in shipped else Path(name)
        if not path.is_file():
            of_checkout()
            raise ModelNotFound(f"no policy {str(name)!r}: name one of {', '.join(shipped)}, or a file that Policy.save wrote")
        service = check_type("service", ServiceEnv().service if service is None else service, Service, "a Service")
        try:
            with safe_open(path, "pt") as file:
                about, weights = file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}
            sizes = int(about["hidden"]), int(about["denoising_steps"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UnusableFile(f"{path} is no file of Policy.save or is damaged, {FROM_GIT}: {first_line(error)}") from error
        actor = new_actor(service, *sizes)
        try:
            actor.load_state_dict(weights)
        except RuntimeError as error:
            raise InvalidArgument("service", service.config, f"like the one that {path.name} was trained on") from error
        return cls(service, actor, pd.DataFrame())


def new_actor(service: Service, hidden: int, denoising_steps: int) -> Actor:
    """A diffusion actor, or with no denoising steps a plain one."""
    sizes = seen_layout(service), action_layout(service.config), hidden
    return DiffusionActor(*sizes, denoising_steps) if denoising_steps else PlainActor(*sizes)


def validation(service: Service) -> States:
    """The states of learning curves, the same for every learner."""
    return service.draw(np.random.default_rng(VALIDATION_SEED), 256)


def measure(policy: Policy, states: States) -> dict[str, float]:
    """What a policy brings on average, and chooses in the example: a row of `Policy.curve`, without what it has cost."""
    made = policy.service.outcome(states, policy.act(states))
    means = {"reward": made.reward, "sum_qoe": made.qoe.sum(1)}
    means |= {"over_budget": made.over_budget, "below_threshold": made.shortfall > 0}
    return {name: float(np.mean(values)) for name, values in means.items()} | chosen(policy)


def example(service: Service) -> States:
    """One group in which learning curves tell what is chosen, the same for every learner.

    The paper's three prompts, or where the source lacks them its first group; people of middle traits, channels of gain 1, and
    the middle of what the setting draws. Where the number of users differs there are three, else as many as there are.
    """
    c, known = service.config, service.source.prompts
    users = c.users if c.fewest_users is None else min(max(3, c.fewest_users), c.users)
    group = PAPER_GROUP if set(PAPER_GROUP) <= set(known) else [known[prompt] for prompt in service.source.groups[0]]
    others = group[1:] or group
    prompts = [group[0], *(others[k % len(others)] for k in range(users - 1))]
    state = service.state(prompts, [Persona.of([0.5] * 5)] * users, [1.0] * users)
    drawn = ("server_step_energy", "device_step_energy", "threshold", "server_budget", "device_budget")
    return replace(state, **{name: np.full(getattr(state, name).shape, float(np.mean(getattr(c, name)))) for name in drawn})


def chosen(policy: Policy) -> dict[str, float]:
    """What a policy chooses in the `example`: t0, t_1 to t_K, and power_1 to power_K in watts, 0 for who stays out."""
    state = example(policy.service)
    made, users = policy.act(state), range(int(state.present.sum()))
    powers = np.where(made.alone, 0.0, made.power_w)[0]
    found = {"t0": float(made.shared_steps[0])} | {f"t_{k + 1}": float(made.device_steps[0, k]) for k in users}
    return found | {f"power_{k + 1}": float(powers[k]) for k in users}
