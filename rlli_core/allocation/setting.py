"""The setting of the service: users, energies, budgets, penalties, link."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..channel import Link
from ..errors import InvalidArgument, check_choice, check_integer, check_number
from ..records import RECEIVERS

PENALTIES = ("corrected", "literal")
ACTIONS = ("paper", "choice")
ALONE = ("grid", "best")
MOST_USERS = 8
Range = float | tuple[float, float]

MOST_STEPS = 1000  # of a schedule; an action has an entry for each
LEAST, MOST = 1e-6, 1e6  # of energies, budgets and weights: what float32 and a search can still tell apart


@dataclass(frozen=True)
class ServiceConfig:
    """The setting of a service; the defaults are those of Fig. 11.

    Energies are in the paper's unit, in which a budget, steps times a step's energy, and `power_weight` times watts add up;
    `energy` has them in joules. Whatever may be a pair (low, high) is drawn anew in each state, evenly between the two.

    Args:
        users: K, 1 to 8.
        fewest_users: None, or 1 to K: groups of so many to K users, the first of K places; the others are empty.
        server_step_energy, device_step_energy: delta_0 and delta_k of one denoising step, from 1e-6 to the budget, or a pair,
            one draw a device.
        server_budget, device_budget: E_T and E_Tk, from 1e-6 to 1e6, or a pair, one draw a device.
        power_weight: beta, energy of one watt of transmit power, from 1e-6 to 1e6.
        threshold: Q_th, in [0, 1], or a pair.
        penalties: lambda_1, lambda_2, lambda_3 of eq. (27), 0 to 1e6. The paper gives none. At lambda_3 = 1 a random action,
            which overspends by 13 on average, costs seven times what there is to gain, and learning begins late.
        penalty: "corrected" punishes a QoE below the threshold, as constraint (23) asks; "literal" one above it, as (27) is
            printed.
        max_shared_steps: T_s, 1 to 1000; None for as many as the server's energy pays for and the source of QoE knows.
        link: to every device; its fading draws their channel gains.
        severity, shadowing: None for those of the link's fading, or m and m_s, each a number or a pair. Like `mean_gain_db` they
            are seen by what they lead to, the gains: these are known when steps and power are allotted.
        mean_gain_db: added to each user's channel gain, -100 to 100 dB, or a pair, one draw a user (a path loss).
        actions: "paper", Sec. IV-C: everybody shares, t0 is at least 1. "choice": t0 may be 0, where nobody does, and each user
            may stay out: nothing is sent to it, and it denoises its own noise.
        receiver: "paper" or "noise-aware", of all devices (`SplitDiffusion.device_denoise`); the latter restart at the timestep
            that the fitted rule says (`handoffs.StartRule`), or the effective one where that is earlier.
        alone: where a device that shares nothing starts: "grid", the model's own, or "best", the fitted start.

    Raises:
        InvalidArgument: a field outside its range, or a budget that does not pay for a single step where steps are dearest.
    """

    users: int = 3
    fewest_users: int | None = None
    server_step_energy: Range = 0.5
    device_step_energy: Range = 1.0
    server_budget: Range = 20.0
    device_budget: Range = 8.0
    power_weight: float = 0.1
    threshold: Range = 0.6
    penalties: tuple[float, float, float] = (1.0, 1.0, 0.2)
    penalty: str = "corrected"
    max_shared_steps: int | None = 10
    link: Link = field(default_factory=Link)
    severity: Range | None = None
    shadowing: Range | None = None
    mean_gain_db: Range = 0.0
    actions: str = "paper"
    receiver: str = "paper"
    alone: str = "grid"

    def __post_init__(self) -> None:
        check_integer("users", self.users, 1, MOST_USERS)
        if self.fewest_users is not None:
            check_integer("fewest_users", self.fewest_users, 1, self.users)
        if self.max_shared_steps is not None:
            check_integer("max_shared_steps", self.max_shared_steps, 1, MOST_STEPS)
        for name in ("server_step_energy", "device_step_energy", "server_budget", "device_budget"):
            _check_range(name, getattr(self, name), LEAST, MOST)
        _check_range("threshold", self.threshold, 0.0, 1.0)
        _check_range("mean_gain_db", self.mean_gain_db, -100.0, 100.0)
        for name, least in (("severity", 0.5), ("shadowing", 1.0 + LEAST)):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), least, MOST)
        check_number("power_weight", self.power_weight, LEAST, MOST)
        for name, allowed in (("actions", ACTIONS), ("receiver", RECEIVERS), ("alone", ALONE)):
            check_choice(name, getattr(self, name), allowed)
        if not isinstance(self.penalties, (tuple, list)) or len(self.penalties) != 3:
            raise InvalidArgument("penalties", self.penalties, "three numbers, lambda_1 to lambda_3")
        for i, weight in enumerate(self.penalties):
            check_number(f"penalties[{i}]", weight, 0.0, MOST)
        check_choice("penalty", self.penalty, PENALTIES)
        if not isinstance(self.link, Link):
            raise InvalidArgument("link", self.link, "a Link")
        if self.max_device_steps > MOST_STEPS:
            raise InvalidArgument("device_budget", self.device_budget, f"at most {MOST_STEPS} steps of device_step_energy")
        budgets = [("device_budget", self.device_budget, self.device_step_energy)]
        if self.actions == "paper":  # else a server may have too little for any step
            budgets.append(("server_budget", self.server_budget, self.server_step_energy))
        for name, budget, energy in budgets:
            if np.max(energy) > np.min(budget):
                raise InvalidArgument(name, budget, f"enough for one step of {np.max(energy):g}")

    @property
    def receives_as_the_paper(self) -> bool:
        """Whether devices, also lone ones, do as in the paper."""
        return (self.receiver, self.alone) == ("paper", "grid")

    @property
    def max_device_steps(self) -> int:
        """T_e: steps that a device can pay for where they are cheapest and its budget is largest."""
        return int(np.max(self.device_budget) / np.min(self.device_step_energy) + 1e-9)

    @property
    def most_shared_steps(self) -> int:
        """T_s, or where it is None the steps that the server can pay for where they are cheapest and its budget is largest."""
        if self.max_shared_steps is not None:
            return self.max_shared_steps
        return min(MOST_STEPS, max(1, int(np.max(self.server_budget) / np.min(self.server_step_energy) + 1e-9)))

    @property
    def max_power_w(self) -> float:
        """Watts that the whole server budget pays for, the largest that may be drawn."""
        return float(np.max(self.server_budget)) / self.power_weight

    @property
    def action_parts(self) -> tuple[int, int, int, int]:
        """Entries of an action: powers, whether each user stays out (none in the paper's), shared steps, device steps."""
        choice = self.actions == "choice"
        return self.users, self.users * choice, self.most_shared_steps + choice, self.users * self.max_device_steps

    @property
    def action_size(self) -> int:
        """K + T_s + K T_e, Sec. IV-C; with the choice K more, and one for t0 = 0."""
        return sum(self.action_parts)


def _check_range(name: str, value: Range, low: float, high: float) -> None:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InvalidArgument(name, value, "a number, or a pair (low, high)")
        least, most = (check_number(name, one, low, high) for one in value)
        if least > most:
            raise InvalidArgument(name, value, "a number, or a pair (low, high)")
    else:
        check_number(name, value, low, high)
