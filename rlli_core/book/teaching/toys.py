"""One number in place of a picture, one bit in place of a latent, one number in place of an allocation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ...channel import FisherSnedecorF, conditional_bep
from ...errors import InvalidArgument, check_integer, check_number

WISHES = {"tiger": -1.0, "dog": 1.0}
"""What the number is on average when the prompt asks for a tiger, and when it asks for a dog."""


def signal(time: float | np.ndarray) -> np.ndarray:
    """Amplitude alpha_t of the picture at a time between 0 (clean) and 1 (noise), on a cosine schedule."""
    return np.cos(np.pi / 2 * np.asarray(time, float))


def guess(value: np.ndarray, time: float, wish: str, width: float) -> np.ndarray:
    """The best guess of the clean number behind a noisy one: what a perfectly trained denoiser returns.

    The numbers of a wish are normally distributed around `WISHES[wish]`, so the guess is exact: E[z_0 | z_t, wish].

    Args:
        value: noisy numbers alpha_t z_0 + sigma_t noise, any shape.
        time: between 0 and 1.
        width: standard deviation of the clean numbers, above 0: how much the wish leaves open.
    """
    if wish not in WISHES:
        raise InvalidArgument("wish", wish, f"one of {', '.join(WISHES)}")
    check_number("width", width, 0, open_low=True)
    alpha = signal(time)
    trust = alpha * width**2 / (alpha**2 * width**2 + 1 - alpha**2)
    return WISHES[wish] + trust * (np.asarray(value) - alpha * WISHES[wish])


def walk(noise: np.ndarray, steps: int, shared: int, width: float, server: str = "tiger", device: str = "dog") -> np.ndarray:
    """Walk numbers from noise to the clean end: `shared` of the `steps` towards one wish, the rest towards another.

    Args:
        noise: where the chains start, shape (n,).

    Returns:
        Values after 0, 1, ... steps, shape (steps + 1, n).
    """
    check_integer("steps", steps, 1)
    check_integer("shared", shared, 0, steps)
    values = [np.asarray(noise, float)]
    for i in range(steps):
        now, then = 1 - i / steps, 1 - (i + 1) / steps
        clean = guess(values[-1], now, server if i < shared else device, width)
        dirt = (values[-1] - signal(now) * clean) / np.sqrt(1 - signal(now) ** 2)
        values.append(signal(then) * clean + np.sqrt(1 - signal(then) ** 2) * dirt)
    return np.stack(values)


def received(count: int, snr_db: float, fading: FisherSnedecorF | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Send `count` bits, all ones, as BPSK over a link that fades, or over one that does not.

    Returns:
        Power gains (count,), and what the receiver measures (count,) in units of the noise's standard deviation: a value
        below 0 is read as a zero, which is a bit error.
    """
    check_integer("count", count, 1)
    check_number("snr_db", snr_db, -100, 100)
    gains = np.ones(count) if fading is None else fading.sample(count, seed)
    noise = np.random.default_rng((check_integer("seed", seed, 0), 1)).standard_normal(count)
    return gains, np.sqrt(2 * 10 ** (snr_db / 10) * gains) + noise


def share_of_errors(fading: FisherSnedecorF, snr_db: float, weakest: float, count: int = 200_000, seed: int = 0) -> float:
    """Which part of all bit errors falls into the `weakest` part of the moments; both between 0 and 1."""
    gains = np.sort(fading.sample(count, seed))
    errors = conditional_bep("bpsk", 10 ** (snr_db / 10) * gains)
    return float(errors[: round(check_number("weakest", weakest, 0, 1) * count)].sum() / errors.sum())


POWER_W = 100.0  # that two users share
GAIN_DB = -10.0  # of both links, on average over the fading
LEAD_DB = 15.0  # by which either channel may be the better one


def reward(lead_db: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mean quality of two users who share the power: 1 without bit errors, 0 when half of the bits are wrong.

    Args:
        lead_db: the state: by how much the first user's channel is better, in dB.
        share: the action: the first user's part of the power, 0 to 1; broadcasts with `lead_db`.
    """
    lead = 10 ** (np.asarray(lead_db) / 20)
    snr = POWER_W * 10 ** (GAIN_DB / 10)
    errors = conditional_bep("bpsk", snr * share * lead), conditional_bep("bpsk", snr * (1 - share) / lead)
    return 1 - errors[0] - errors[1]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What actor and critic have learnt after so many rounds, on the grid of `LEADS` and `SHARES`.

    Attributes:
        rounds: served so far.
        shares: what the actor chooses at each lead, (L,).
        believed: what the critic expects at each lead and share, (L, S).
    """

    rounds: int
    shares: np.ndarray
    believed: np.ndarray


def _network(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class Critic(nn.Module):
    """Two estimates of the reward of an action in a state."""

    def __init__(self, hidden: int):
        super().__init__()
        self.nets = nn.ModuleList(_network(2, hidden) for _ in range(2))

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """States (B, 1), actions (B, 1) -> rewards (B, 2)."""
        pair = torch.cat([state, action], 1)
        return torch.cat([net(pair) for net in self.nets], 1)


LEADS = np.linspace(-LEAD_DB, LEAD_DB, 61)
SHARES = np.linspace(0, 1, 61)


def learn(
    rounds: Sequence[int], exploration: float, seed: int = 0, batch: int = 64, hidden: int = 32, lr: float = 3e-3
) -> list[Snapshot]:
    """Let an actor and a critic learn `reward` by trying, one update a round, and keep what they knew after some rounds.

    Args:
        rounds: after which to look, rising; the last one ends the training.
        exploration: standard deviation of what is added to the actor's action while it tries, on the scale -1 to 1.
    """
    check_number("exploration", exploration, 0)
    if not rounds or list(rounds) != sorted(set(rounds)) or rounds[0] < 0:
        raise InvalidArgument("rounds", rounds, "rising numbers, 0 or more")
    rng = np.random.default_rng((check_integer("seed", seed, 0), 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actor, critic = nn.Sequential(_network(1, hidden), nn.Tanh()), Critic(hidden)
    of_actor, of_critic = (torch.optim.Adam(net.parameters(), lr) for net in (actor, critic))
    memory = torch.zeros(rounds[-1], 3)  # state, action, reward; state and action on the scale -1 to 1
    found = [_look(0, actor, critic)] if rounds[0] == 0 else []
    for done in range(rounds[-1]):
        state = torch.tensor([[rng.uniform(-1, 1)]], dtype=torch.float32)
        with torch.no_grad():
            action = (actor(state) + exploration * rng.standard_normal()).clamp(-1, 1)
        brought = torch.from_numpy(reward(LEAD_DB * state.numpy(), (action.numpy() + 1) / 2)).float()
        memory[done] = torch.cat([state, action, brought], 1)

        states, actions, rewards = memory[torch.from_numpy(rng.integers(0, done + 1, batch))].split(1, 1)
        of_critic.zero_grad()
        (critic(states, actions) - rewards).square().mean().backward()  # the critic: expect what came, eq. (29)
        of_critic.step()
        of_actor.zero_grad()
        (-critic(states, actor(states)).mean()).backward()  # the actor: do what the critic expects most of, eq. (28)
        of_actor.step()
        if done + 1 in rounds:
            found.append(_look(done + 1, actor, critic))
    return found


@torch.no_grad()
def _look(rounds: int, actor: nn.Module, critic: Critic) -> Snapshot:
    states = torch.from_numpy(LEADS / LEAD_DB).float()[:, None]
    pairs = torch.cartesian_prod(states[:, 0], torch.from_numpy(2 * SHARES - 1).float())
    believed = critic(pairs[:, :1], pairs[:, 1:]).mean(1).reshape(len(LEADS), len(SHARES))
    return Snapshot(rounds, ((actor(states)[:, 0] + 1) / 2).numpy(), believed.numpy())


def regret(shares: np.ndarray) -> float:
    """What choosing `shares` at each of `LEADS` loses against the best share of the grid, on average."""
    best = reward(LEADS[:, None], SHARES).max(1)
    return float(np.mean(best - reward(LEADS, shares)))
