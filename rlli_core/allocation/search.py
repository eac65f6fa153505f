"""Search of the best action by an estimate of the reward that costs little to ask: draws, then one coordinate after another.

Actions are as `Service.decode` reads them; those found have 1 at the steps chosen and -1 at the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import one_hot

from ..errors import InvalidArgument
from ..files import write_weights
from .actors import LOW_POWER_W, Critic, allocation_shown
from .policy import Policy
from .setting import ServiceConfig
from .states import States

Value = Callable[[torch.Tensor], torch.Tensor]  # actions (B, C, m) -> estimated rewards (B, C)
LEVELS = 11  # of a power that are tried at once, from far off to close by
POOL, STARTS, SWEEPS = 256, 4, 4  # of a `Searcher`: drawn actions, those to start from, rounds over the coordinates
CHUNK = 64  # states searched at once, so that what is looked at stays in the cache


def drawn(config: ServiceConfig, count: int, generator: torch.Generator) -> torch.Tensor:
    """Actions (count, m): steps and who stays out drawn evenly, powers evenly on the logarithmic scale, so seldom over budget."""
    users, stays, shared, device = config.action_parts
    power = _power(config, torch.rand(count, users, generator=generator))
    out = 2.0 * torch.randint(2, (count, stays), generator=generator) - 1
    steps = torch.randint(shared, (count,), generator=generator)
    own = torch.randint(config.max_device_steps, (count, users), generator=generator)
    choices = [2.0 * one_hot(steps, shared) - 1, (2.0 * one_hot(own, config.max_device_steps) - 1).reshape(count, device)]
    return torch.cat([power, out, *choices], 1)


def redrawn(config: ServiceConfig, actions: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Actions (B, m) with this share of their powers and choices, whichever, drawn anew evenly: all entries of a choice together."""
    users, stays, shared, _ = config.action_parts
    sizes = torch.tensor([1] * (users + stays) + [shared] + [config.max_device_steps] * users)
    anew = (torch.rand(len(actions), len(sizes), generator=generator) < share).repeat_interleave(sizes, 1)
    return torch.where(anew, 2 * torch.rand(actions.shape, generator=generator) - 1, actions)


def plainly(config: ServiceConfig, actions: torch.Tensor) -> torch.Tensor:
    """Actions (B, m) that are decoded to the same, as `Service.encode` has them: 1 at the steps chosen, -1 at the others."""
    shown = allocation_shown(config, actions)
    return torch.cat([shown[:, : config.users], shown[:, 2 * config.users :]], 1)


def power_level(config: ServiceConfig, power: torch.Tensor) -> torch.Tensor:
    """Where powers, as entries of an action, are on the logarithmic scale, 0 to 1."""
    return torch.log1p((power + 1) / 2 * config.max_power_w / LOW_POWER_W) / math.log1p(config.max_power_w / LOW_POWER_W)


def ascend(config: ServiceConfig, value: Value, actions: torch.Tensor, sweeps: int) -> torch.Tensor:
    """Go up from actions (B, m): each coordinate in turn to its best value, the others fixed; (B, m), nowhere below the start.

    Coordinates are t0, of each user t_k, P_k and whether it stays out, and a common change of all powers. Powers are tried
    over the whole of the logarithmic scale in the first sweep, then ever closer to what they are. Starts have steps as 1 and -1,
    as `drawn` makes them.
    """
    users, stays, shared, _ = config.action_parts
    each, first = config.max_device_steps, users + stays
    blocks = [(first, shared), *((first + shared + user * each, each) for user in range(users))]
    for sweep in range(sweeps):
        for start, width in blocks:
            tried = actions[:, None].repeat(1, width, 1)
            tried[:, :, start : start + width] = 2 * torch.eye(width) - 1
            actions = _best(value, tried)
        for user in range(stays):
            tried = actions[:, None].repeat(1, 2, 1)
            tried[:, :, users + user] = torch.tensor([-1.0, 1.0])
            actions = _best(value, tried)
        near = torch.linspace(-1, 1, LEVELS) / 2.0**sweep
        for some in (*([user] for user in range(users)), list(range(users))):
            tried = actions[:, None].repeat(1, LEVELS, 1)
            level = power_level(config, tried[:, :, some])
            tried[:, 1:, some] = _power(config, (level + near[:, None]).clamp(0, 1))[:, 1:]  # the first stays as it is
            actions = _best(value, tried)
    return actions


def best(
    config: ServiceConfig, value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], seen: torch.Tensor, pool: torch.Tensor,
    starts: int, sweeps: int,
) -> torch.Tensor:  # fmt: skip
    """Actions (B, m) of the highest value that is found: the pool's best few are starts, from which `ascend` goes up.

    Args:
        value: (states seen (B, n), actions (B or 1, C, m)) -> estimated rewards (B, C).
        seen: (B, n) float32.
        pool: (C, m), as `drawn` makes them.
    """
    found = []
    for some in seen.split(CHUNK):
        first = value(some, pool[None]).topk(starts, 1).indices
        reached = ascend(config, partial(value, some.repeat_interleave(starts, 0)), pool[first.flatten()], sweeps)
        found.append(_best(partial(value, some), reached.unflatten(0, (len(some), starts))))
    return torch.cat(found)


class Searcher(nn.Module):
    """In place of an actor: the action of the highest value that a search finds; the same every time.

    Args:
        model: what the value is made of; its weights are saved.
        value: (states seen (B, n), actions (B or 1, C, m)) -> estimated rewards (B, C).
    """

    def __init__(self, config: ServiceConfig, model: nn.Module, value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.config, self.model, self.value = config, model, value
        self.pool = drawn(config, POOL, torch.Generator().manual_seed(0))

    def forward(self, seen: torch.Tensor, noise: None = None) -> torch.Tensor:
        """States (B, n) -> actions (B, m); `noise` is not used."""
        return best(self.config, self.value, seen, self.pool, STARTS, SWEEPS)


class SearchPolicy(Policy):
    """A `Searcher` in place of the actor; its model is saved, to be read by `safetensors` and by nothing here."""

    def among(self, states: States) -> Policy:
        """This policy with a search for so many users.

        Raises:
            InvalidArgument: others than it was trained on, and a model that has weights of each place.
        """
        policy = super().among(states)
        if policy is self:
            return self
        searcher: Any = self.actor
        if not isinstance(searcher.model, Critic):
            raise InvalidArgument(
                "states", states.prompts.shape, f"of {self.service.config.users} users each, as it was trained"
            )
        other: Any = Searcher(policy.service.config, searcher.model, searcher.value)
        return replace(policy, actor=other)

    def save(self, path: Path, **about: object) -> None:
        """Write the weights of the model."""
        model: nn.Module = self.actor.model  # type: ignore[assignment]
        write_weights(Path(path), model.state_dict(), {key: str(value) for key, value in about.items()})


def _best(value: Value, tried: torch.Tensor) -> torch.Tensor:
    """Of actions (B, C, m) the best each, (B, m)."""
    return tried[torch.arange(len(tried)), value(tried).argmax(1)]


def _power(config: ServiceConfig, level: torch.Tensor) -> torch.Tensor:
    """Entries of an action for powers at levels in [0, 1] of the logarithmic scale."""
    return 2 * torch.expm1(level * math.log1p(config.max_power_w / LOW_POWER_W)) * LOW_POWER_W / config.max_power_w - 1
