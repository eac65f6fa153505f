"""What an allocation costs: in the paper's unit, in which its budgets are, and beside it in joules and seconds.

The two are never added up: joules follow `round.Scale`, where a step whose delta is not the paper's own costs as many times the
joules, and takes the same seconds. The paper gives its energies no unit: delta_0, delta_k and beta say what is dear beside what. In
joules a watt of transmit power costs its airtime and no more, so there the radio is next to nothing beside the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import check_type
from ..round import Scale
from .reward import server_energy, sharing
from .service import Service
from .states import Allocation, States

DEVICE_DELTA, SERVER_DELTA = 1.0, 0.5  # the paper's delta_k and delta_0, whose steps cost what `round.Scale` says


@dataclass(frozen=True, eq=False)
class Cost:
    """What an allocation costs; empty places cost nothing.

    Attributes:
        server, device: in the paper's unit, (B,) and (B, K): the left sides of (24) and (22).
        server_j: joules of the server's steps, (B,).
        radio_j: joules sent to each user, transmit power times airtime, (B, K).
        device_j: joules of each device's steps, (B, K).
        latency_s: seconds until each user has its picture, (B, K): the server's steps, airtime (each user has a channel of its
            own), and the device's steps.
    """

    server: np.ndarray
    device: np.ndarray
    server_j: np.ndarray
    radio_j: np.ndarray
    device_j: np.ndarray
    latency_s: np.ndarray

    @property
    def total_j(self) -> np.ndarray:
        """Joules of a group in all, (B,)."""
        return np.asarray(self.server_j + self.radio_j.sum(1) + self.device_j.sum(1))


def cost(service: Service, states: States, allocation: Allocation, scale: Scale | None = None) -> Cost:
    """What an allocation costs in these states.

    Raises:
        InvalidArgument: a scale that is none.
    """
    scale = Scale() if scale is None else check_type("scale", scale, Scale, "a Scale or None")
    config, there, shares = service.config, states.present, sharing(states, allocation)
    device = np.where(there, states.device_step_energy * allocation.device_steps, 0.0)
    steps = np.where(shares.any(1), allocation.shared_steps, 0)
    width = {"float32": 32, "float16": 16, "bfloat16": 16}.get(config.link.number_format, config.link.bits)
    airtime_s = scale.latent_values * width / config.link.bit_rate_bps
    return Cost(
        server=server_energy(config, states, allocation),
        device=device,
        server_j=steps * states.server_step_energy / SERVER_DELTA * scale.server_step_j,
        radio_j=np.where(shares, allocation.power_w, 0.0) * airtime_s,
        device_j=device / DEVICE_DELTA * scale.device_step_j,
        latency_s=np.where(there, allocation.device_steps * scale.device_step_s, 0.0)
        + shares * (steps[:, None] * scale.server_step_s + airtime_s),
    )
