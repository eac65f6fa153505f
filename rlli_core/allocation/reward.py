"""The reward of a round, eq. (27), and by how much it misses the constraints (22)-(24)."""

from __future__ import annotations

import numpy as np

from .setting import ServiceConfig
from .states import Allocation, Outcome, States


def outcome(config: ServiceConfig, states: States, allocation: Allocation, qoe: np.ndarray) -> Outcome:
    """Reward (27) and the constraints (22)-(24) of a round whose QoE (B, K) is known."""
    device = np.maximum(0, states.device_step_energy * allocation.device_steps - config.device_budget)
    below = np.maximum(0, states.threshold[:, None] - qoe)
    server = states.server_step_energy * allocation.shared_steps + config.power_weight * allocation.power_w.sum(1)
    over = np.maximum(0, server - config.server_budget)
    punished = below if config.penalty == "corrected" else np.maximum(0, qoe - states.threshold[:, None])
    first, second, third = config.penalties
    reward = qoe.sum(1) - first * device.sum(1) - second * punished.sum(1) - third * over
    return Outcome(qoe=qoe, reward=reward, device_excess=device, shortfall=below, server_excess=over)
