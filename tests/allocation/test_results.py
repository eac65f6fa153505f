import numpy as np
import pandas as pd
import pytest

from rlli_core.allocation import results


def test_an_interval_covers_the_middle_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [low <= 0 <= high for _ in range(120) for _, low, high in [results.interval(rng.normal(size=10))]]
    assert 0.8 < np.mean(hits) <= 1  # 95 %; the percentile bootstrap of ten is known to cover somewhat less
    assert results.interval([0.3]) == (0.3, 0.3, 0.3)
    middle, low, high = results.interval([0, 1, 1, 1, 1, 1, 1, 100])
    assert middle == 1 and low <= 1 <= high  # one seed gone wild does not move the middle


@pytest.fixture
def made(monkeypatch):
    runs = pd.DataFrame({"name": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "m": [1.1, 1.3, 1.0, 1.0]})
    curves = pd.DataFrame(
        [("a", 0, 10, 0.5), ("a", 0, 20, 0.95), ("a", 0, 30, 0.85), ("b", 0, 10, 0.2), ("b", 0, 20, 0.8)],
        columns=["name", "seed", "interactions", "sum_qoe"],
    )
    monkeypatch.setattr(results, "read", lambda: (runs, curves, {"validation_optimum": {"sum_qoe": 1.0}}))


def test_rounds_to_a_share_of_the_optimum(made):
    found = results.rounds_to(0.9).set_index("name").rounds
    assert found["a"] == 20 and np.isnan(found["b"])


def test_a_difference_is_taken_seed_by_seed(made):
    middle, low, high = results.difference("a", "b", "m")
    assert middle == pytest.approx(0.2) and low == pytest.approx(0.1) and high == pytest.approx(0.3)
    table = results.summary(["a", "b"], ["m"]).set_index("name")
    assert table.loc["a", "middle"] == pytest.approx(1.2) and table.loc["b", "seeds"] == 2
