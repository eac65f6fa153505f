"""The reward of a round, eq. (27), and by how much it misses the constraints (22)-(24)."""

from __future__ import annotations

import numpy as np

from .setting import ServiceConfig
from .states import Allocation, Outcome, States


def sharing(states: States, allocation: Allocation) -> np.ndarray:
    """Whether there is a user who takes part and is sent something, (B, K) bool."""
    return np.asarray(states.present & ~allocation.alone)


def server_energy(config: ServiceConfig, states: States, allocation: Allocation) -> np.ndarray:
    """delta_0 t0 + beta sum_k P_k, (B,), the left side of (24): of those who share, and nothing where nobody does."""
    sends = sharing(states, allocation)
    steps = np.where(sends.any(1), states.server_step_energy * allocation.shared_steps, 0.0)
    return np.asarray(steps + config.power_weight * np.where(sends, allocation.power_w, 0.0).sum(1))


def outcome(config: ServiceConfig, states: States, allocation: Allocation, qoe: np.ndarray) -> Outcome:
    """Reward (27) and the constraints (22)-(24) of a round whose QoE (B, K) is known; empty places count for nothing."""
    qoe, threshold = np.where(states.present, qoe, 0.0), states.threshold[:, None]
    over_device = np.maximum(0, states.device_step_energy * allocation.device_steps - states.device_budget)
    device, below = (np.where(states.present, missed, 0.0) for missed in (over_device, np.maximum(0, threshold - qoe)))
    over = np.maximum(0, server_energy(config, states, allocation) - states.server_budget)
    punished = below if config.penalty == "corrected" else np.where(states.present, np.maximum(0, qoe - threshold), 0.0)
    first, second, third = config.penalties
    reward = qoe.sum(1) - first * device.sum(1) - second * punished.sum(1) - third * over
    return Outcome(qoe=qoe, reward=reward, device_excess=device, shortfall=below, server_excess=over)


def objective(config: ServiceConfig, made: Outcome) -> np.ndarray:
    """What `optimum` maximises and allocators are compared by, (B,): the corrected reward (27) of what keeps its budgets."""
    return np.asarray(made.qoe.sum(1) - config.penalties[1] * made.shortfall.sum(1))
