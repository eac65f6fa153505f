import numpy as np
import pytest

from rlli_core.allocation import compare, oracle
from rlli_core.allocation.states import Allocation


def test_functions_and_allocations_are_served_alike_and_nobody_beats_the_optimum(service):
    states = service.draw(np.random.default_rng(0), 12)
    fixed = oracle.equal_split(service, states)
    table = compare(service, states, {"as a rule": oracle.equal_split, "as an allocation": fixed, "greedy": oracle.greedy})
    assert list(table.index) == ["as a rule", "as an allocation", "greedy", "optimum"]
    assert table.loc["as a rule"].equals(table.loc["as an allocation"])
    assert table.loc["as a rule", "sum_qoe"] == pytest.approx(service.outcome(states, fixed).qoe.sum(1).mean())
    assert table.share["optimum"] == 1 and table.reward.idxmax() == "optimum"


def test_all_spend_from_the_same_budgets(service):
    states = service.draw(np.random.default_rng(1), 6)
    greed = Allocation(np.full(6, 10), np.full((6, 3), 8), np.full((6, 3), 1000.0))
    table = compare(service, states, {"greed": greed})
    assert table.over_budget["greed"] == 1 and table.over_budget["optimum"] == 0
    assert table.server_energy.max() <= service.config.server_budget + 1e-9
