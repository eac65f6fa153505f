"""A landscape with several equal peaks over two numbers, and what an actor keeps of it: plain or diffusion, led or shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...allocation.actors import Actor, Critic, DiffusionActor, PlainActor
from ...allocation.learners import denoised
from ...errors import check_choice, check_integer, check_number

WAYS = ("plain, slope", "diffusion, slope", "plain, draws", "diffusion, draws")
"""An actor that makes one action or one that denoises; led by the critic's slope, or shown the better of what was tried."""
RADIUS, WIDTH = 0.6, 0.2  # where peaks are, and how wide; actions are between -1 and 1
GOOD = 0.5  # reward from which an action is on a peak
HELD = 0.05  # of the draws on a peak, from which it is kept
TEMPERATURE = 0.2  # what an action is worth less by has e times less weight
COLLECT, BATCH, HIDDEN, LR, STEPS = 16, 64, 64, 3e-3, 10  # actions between two updates; D = 10 denoising steps
GRID = np.linspace(-1, 1, 81)


def places(peaks: int) -> np.ndarray:
    """Where the peaks are, (peaks, 2), evenly on a circle."""
    turn = 2 * np.pi * (np.arange(check_integer("peaks", peaks, 1, 6)) + 0.5) / peaks
    return RADIUS * np.stack([np.cos(turn), np.sin(turn)], 1)


def heights(actions: np.ndarray, peaks: int) -> np.ndarray:
    """What each peak brings at actions (..., 2), 1 at its top, (..., peaks)."""
    away = np.asarray(actions, float)[..., None, :] - places(peaks)
    return np.exp(-(away**2).sum(-1) / 2 / WIDTH**2)


def reward(actions: np.ndarray, peaks: int, closed: int | None = None) -> np.ndarray:
    """Reward (...,) of actions (..., 2): what the best peak brings there; the closed one, counted from 0, brings nothing."""
    found = heights(actions, peaks)
    if closed is not None:
        found[..., check_integer("closed", closed, 0, peaks - 1)] = 0.0
    return found.max(-1)


def landscape(peaks: int, closed: int | None = None) -> np.ndarray:
    """Rewards on `GRID` by `GRID`, the first number of an action along the columns."""
    return reward(np.stack(np.meshgrid(GRID, GRID), -1), peaks, closed)


@dataclass(frozen=True, eq=False)
class Learnt:
    """What an actor does in the end.

    Attributes:
        draws: actions (n, 2), all alike where an actor draws nothing.
        still: its action (2,) where nothing is drawn, such as G-DDPG's in use.
        peaks: how many there were to find.
    """

    draws: np.ndarray
    still: np.ndarray
    peaks: int

    @property
    def shares(self) -> np.ndarray:
        """Share of the draws that is on each peak, (peaks,)."""
        return (heights(self.draws, self.peaks) >= GOOD).mean(0)

    @property
    def kept(self) -> int:
        """How many peaks have at least `HELD` of the draws."""
        return int((self.shares >= HELD).sum())

    def left(self, closed: int | None, tries: int) -> float:
        """How likely the best of so many draws is on a peak after one was closed, or none; nothing is learnt anew."""
        found = (reward(self.draws, self.peaks, closed) >= GOOD).mean()
        return float(1 - (1 - found) ** check_integer("tries", tries, 1))


def by_chance(peaks: int, tries: int) -> float:
    """`Learnt.left` of draws that are even over all actions."""
    return Learnt(np.stack(np.meshgrid(GRID, GRID), -1).reshape(-1, 2), np.zeros(2), peaks).left(0, tries)


def learn(way: str, peaks: int, updates: int, exploration: float, seed: int = 0, draws: int = 400) -> Learnt:
    """Let an actor and a critic learn `reward` by trying; in the first quarter of the time actions are random.

    Args:
        way: one of `WAYS`.
        updates: of actor and critic, `COLLECT` actions between two.
        exploration: standard deviation of what is added to an action while it is tried.
        draws: that are looked at in the end.
    """
    kind, taught = check_choice("way", way, WAYS).split(", ")
    check_number("exploration", exploration, 0)
    check_integer("updates", updates, 1)
    check_integer("draws", draws, 1)
    places(peaks)
    generator = torch.Generator().manual_seed(check_integer("seed", seed, 0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actor: Actor = PlainActor(1, 2, HIDDEN) if kind == "plain" else DiffusionActor(1, 2, HIDDEN, STEPS)
        critic = Critic(1, 2, HIDDEN)
    of_actor, of_critic = (torch.optim.Adam(net.parameters(), LR) for net in (actor, critic))
    tried = torch.zeros(updates * COLLECT, 2)
    for done in range(0, len(tried), COLLECT):
        tried[done : done + COLLECT] = _try(actor, exploration if 4 * done >= len(tried) else None, generator)
        memory = tried[torch.randint(done + COLLECT, (4 * BATCH,), generator=generator)]

        state, some = torch.zeros(BATCH, 1), memory[:BATCH]  # there is only one state
        brought = torch.from_numpy(reward(some.numpy(), peaks)).float()[:, None]
        _descend(of_critic, (critic(state, some) - brought).square().mean())
        if taught == "slope":
            _descend(of_actor, -critic(state, actor(state, actor.noise(BATCH, generator))).mean())
        else:
            _descend(of_actor, _missed(actor, critic, memory, generator))
    with torch.no_grad():
        state = torch.zeros(draws, 1)
        return Learnt(actor(state, actor.noise(draws, generator)).numpy(), actor(state[:1])[0].numpy(), peaks)


@torch.no_grad()
def _try(actor: Actor, exploration: float | None, generator: torch.Generator) -> torch.Tensor:
    """Actions (COLLECT, 2), random or the actor's with noise."""
    if exploration is None:
        return 2 * torch.rand(COLLECT, 2, generator=generator) - 1
    actions = actor(torch.zeros(COLLECT, 1), actor.noise(COLLECT, generator))
    return (actions + exploration * torch.randn(COLLECT, 2, generator=generator)).clamp(-1, 1)


def _missed(actor: Actor, critic: Critic, tried: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What an actor misses of actions that were tried, (B, 2), those weighing more of which the critic expects more."""
    state = torch.zeros(len(tried), 1)
    with torch.no_grad():
        weights = (critic(state, tried).mean(1) / TEMPERATURE).softmax(0)
    diffuses = isinstance(actor, DiffusionActor)
    estimates = denoised(actor, state, tried, generator)[0] if diffuses else actor(state)
    return (weights[:, None] * (estimates - tried).square()).sum()


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
