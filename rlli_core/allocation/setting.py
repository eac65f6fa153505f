"""The setting of the service: users, energies, budgets, penalties, link."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..channel import Link
from ..errors import InvalidArgument, check_choice, check_integer, check_number

PENALTIES = ("corrected", "literal")
Range = float | tuple[float, float]


MOST_STEPS = 1000  # of a schedule; an action has an entry for each
LEAST, MOST = 1e-6, 1e6  # of energies, budgets and weights: what float32 and a search can still tell apart


@dataclass(frozen=True)
class ServiceConfig:
    """The setting of a service; the defaults are those of Fig. 11.

    Energies are in the paper's unit, in which a budget, steps times a step's energy, and `power_weight` times watts add up.

    Args:
        users: K, 1 to 8.
        server_step_energy, device_step_energy: delta_0 and delta_k of one denoising step, from 1e-6 to the budget; a pair
            (low, high) draws them anew in each state, one a device.
        server_budget, device_budget: E_T and E_Tk, from 1e-6 to 1e6.
        power_weight: beta, energy of one watt of transmit power, from 1e-6 to 1e6.
        threshold: Q_th, in [0, 1]; a pair draws it anew in each state.
        penalties: lambda_1, lambda_2, lambda_3 of eq. (27), 0 to 1e6. The paper gives none. At lambda_3 = 1 a random action,
            which overspends by 13 on average, costs seven times what there is to gain, and learning begins late.
        penalty: "corrected" punishes a QoE below the threshold, as constraint (23) asks; "literal" one above it, as (27) is
            printed.
        max_shared_steps: T_s, 1 to 1000.
        link: to every device; its fading draws their channel gains.

    Raises:
        InvalidArgument: a field outside its range, or a budget that does not pay for a single step where steps are dearest.
    """

    users: int = 3
    server_step_energy: Range = 0.5
    device_step_energy: Range = 1.0
    server_budget: float = 20.0
    device_budget: float = 8.0
    power_weight: float = 0.1
    threshold: Range = 0.6
    penalties: tuple[float, float, float] = (1.0, 1.0, 0.2)
    penalty: str = "corrected"
    max_shared_steps: int = 10
    link: Link = field(default_factory=Link)

    def __post_init__(self) -> None:
        check_integer("users", self.users, 1, 8)
        check_integer("max_shared_steps", self.max_shared_steps, 1, MOST_STEPS)
        for name in ("server_step_energy", "device_step_energy"):
            _check_range(name, getattr(self, name), LEAST, MOST)
        _check_range("threshold", self.threshold, 0.0, 1.0)
        for name in ("server_budget", "device_budget", "power_weight"):
            check_number(name, getattr(self, name), LEAST, MOST)
        if not isinstance(self.penalties, (tuple, list)) or len(self.penalties) != 3:
            raise InvalidArgument("penalties", self.penalties, "three numbers, lambda_1 to lambda_3")
        for i, weight in enumerate(self.penalties):
            check_number(f"penalties[{i}]", weight, 0.0, MOST)
        check_choice("penalty", self.penalty, PENALTIES)
        if not isinstance(self.link, Link):
            raise InvalidArgument("link", self.link, "a Link")
        if self.max_device_steps > MOST_STEPS:
            raise InvalidArgument("device_budget", self.device_budget, f"at most {MOST_STEPS} steps of device_step_energy")
        for name, budget, energy in (
            ("server_budget", self.server_budget, self.server_step_energy),
            ("device_budget", self.device_budget, self.device_step_energy),
        ):
            if np.max(energy) > budget:
                raise InvalidArgument(name, budget, f"enough for one step of {np.max(energy):g}")

    @property
    def max_device_steps(self) -> int:
        """T_e: steps that a device can pay for where they are cheapest."""
        return int(self.device_budget / np.min(self.device_step_energy) + 1e-9)

    @property
    def max_power_w(self) -> float:
        """Watts that the whole server budget pays for."""
        return self.server_budget / self.power_weight

    @property
    def action_size(self) -> int:
        """K + T_s + K T_e, Sec. IV-C."""
        return self.users + self.max_shared_steps + self.users * self.max_device_steps


def _check_range(name: str, value: Range, low: float, high: float) -> None:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InvalidArgument(name, value, "a number, or a pair (low, high)")
        least, most = (check_number(name, one, low, high) for one in value)
        if least > most:
            raise InvalidArgument(name, value, "a number, or a pair (low, high)")
    else:
        check_number(name, value, low, high)
