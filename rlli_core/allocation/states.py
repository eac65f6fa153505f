"""Groups of users, what is allotted to them and what comes of it: B groups of K users at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class States:
    """B groups of K users each, state (26) in the units of the world.

    Attributes:
        prompts: (B, K) int, numbers of prompts in the QoE source's list; the server denoises towards the first user's.
        personas: u_k, (B, K, 5) in [0, 1], in the order of `qoe.persona.TRAITS`.
        server_step_energy: delta_0, (B,).
        device_step_energy: delta_k, (B, K).
        gains: g_k, (B, K), linear fading power gain, known to the server.
        threshold: Q_th, (B,) in [0, 1].
        server_budget: E_T, (B,).
        device_budget: E_Tk, (B, K).
        present: (B, K) bool, whether there is a user in that place; in the first there always is.
    """

    prompts: np.ndarray
    personas: np.ndarray
    server_step_energy: np.ndarray
    device_step_energy: np.ndarray
    gains: np.ndarray
    threshold: np.ndarray
    server_budget: np.ndarray
    device_budget: np.ndarray
    present: np.ndarray

    def __getitem__(self, index: slice | np.ndarray) -> States:
        """Some of the groups."""
        return States(**{name: value[index] for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Allocation:
    """Steps and power for B groups: t0 (B,), t_k (B, K) and P_k in watts (B, K), eqs. (19), (20).

    Attributes:
        alone: (B, K) bool, by default none: users that stay out. Nothing is sent to them; they denoise their own noise. So does
            everybody where t0 is 0.
    """

    shared_steps: np.ndarray
    device_steps: np.ndarray
    power_w: np.ndarray
    alone: Any = None  # an array as soon as it is made

    def __post_init__(self) -> None:
        stay_out = np.broadcast_to(np.asarray(self.shared_steps)[:, None] == 0, np.shape(self.device_steps))
        object.__setattr__(self, "alone", stay_out.copy() if self.alone is None else stay_out | self.alone)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an allocation brought.

    Attributes:
        qoe: Q_k, (B, K).
        reward: eq. (27), (B,).
        device_excess: energy over the device budgets, (B, K), constraint (22).
        shortfall: QoE missing to the threshold, (B, K), constraint (23).
        server_excess: energy over the server's budget, (B,), constraint (24).
    """

    qoe: np.ndarray
    reward: np.ndarray
    device_excess: np.ndarray
    shortfall: np.ndarray
    server_excess: np.ndarray

    @property
    def over_budget(self) -> np.ndarray:
        """Whether a group exceeds an energy budget, (22) or (24), (B,) bool."""
        return (self.server_excess > 0) | (self.device_excess > 0).any(1)
