"""Allocators side by side on the same groups of users, each cut to the same budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from ..records import Allocation, States
from .environment import Service
from .oracle import optimum

Allocator = Callable[[Service, States], Allocation]


def compare(service: Service, states: States, allocators: Mapping[str, Allocator | Allocation]) -> pd.DataFrame:
    """Serve the same groups with several allocators, and with the optimum.

    What an allocator asks for beyond a budget is cut before it is served (`Service.within_budget`), so all of them spend from
    the same budgets.

    Args:
        allocators: by name, what they do with these states, or a function of (service, states) that says it, such as those of
            `rlli_core.allocation.oracle`, or `lambda service, states: policy.act(states)`.

    Returns:
        A row an allocator and one for the optimum: sum_qoe a group, its share of the optimum's, reward (27), below_threshold
        (share of users), server_energy spent, and over_budget (share of groups that had to be cut).
    """
    rows = {}
    for name, allocator in {**allocators, "optimum": optimum}.items():
        asked = allocator if isinstance(allocator, Allocation) else allocator(service, states)
        served = service.within_budget(states, asked)
        made = service.outcome(states, served)
        spent = states.server_step_energy * served.shared_steps + service.config.power_weight * served.power_w.sum(1)
        rows[name] = {
            "sum_qoe": made.qoe.sum(1).mean(),
            "share": made.qoe.sum(),
            "reward": made.reward.mean(),
            "below_threshold": (made.shortfall > 0).mean(),
            "server_energy": spent.mean(),
            "over_budget": service.outcome(states, asked).over_budget.mean(),
        }
    table = pd.DataFrame(rows).T
    table["share"] /= table.share["optimum"]
    return table
