import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage

from rlli_core.book.figures import service as figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_each_number_of_own_steps_has_its_panel_with_curves_over_the_device_alone():
    rows = [(n, s, x, 0.8 - 0.1 * x) for n in (1, 3) for s in ("2 steps", "5 steps") for x in (0.0, 1.0)]
    table = pd.DataFrame(rows, columns=["own steps", "start", "distance", "gain"])
    axes = figures.gain_by_distance(table, table)
    assert [ax.get_title() for ax in axes] == ["1 own step", "3 own steps"]
    assert texts(axes[0].figure.legends[0]) == ["device alone, best start", "2 steps", "5 steps"]
    for ax in axes:
        assert any(np.allclose(line.get_ydata(), [0.8, 0.7]) for line in ax.lines)
        assert np.allclose(ax.lines[0].get_ydata(), 0)


def test_gains_have_a_line_for_each_rule_and_for_each_way():
    rows = [(n, r, n / 10 + c / 100) for n in (1, 2) for r in ("NIRVANA", "ours") for c in (0, 1)]
    ax = figures.gain_by_rule(pd.DataFrame(rows, columns=["own steps", "rule", "gain"]), 0.02)
    assert texts(ax.get_legend()) == ["NIRVANA", "ours"] and ax.get_xticks().tolist() == [1, 2]
    ax = figures.gain_by_need(pd.DataFrame(rows, columns=["needed", "way", "gain"]))
    assert texts(ax.get_legend()) == ["NIRVANA", "ours"] and "n*" in ax.get_xlabel()


def test_the_tree_names_each_prompt_and_shows_the_threshold():
    ax = figures.prompt_tree(linkage(np.array([[0.0], [1.0], [5.0]]), "ward"), ["a", "b", "c"], 2.0)
    assert sorted(text.get_text() for text in ax.get_yticklabels()) == ["a", "b", "c"]
    assert any(np.allclose(line.get_xdata(), 2.0) for line in ax.lines)


def test_saved_steps_have_a_line_for_the_tree_and_marks_for_the_others():
    rows = [
        (k, w, s, p / 10)
        for k, s in (("tree", 0.0), ("tree", 0.5), ("pairs", 0.4))
        for w in ("as in the paper", "restart")
        for p in (3, 5)
    ]
    ax = figures.score_by_saved(pd.DataFrame(rows, columns=["kind", "way", "saved", "score"]), 0.35)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and np.allclose(line.get_xdata(), [0, 0.5])]
    assert len(lines) == 2 and np.allclose(lines[0].get_ydata(), 0.4)
    marks = np.concatenate(
        [c.get_offsets() for c in ax.collections if len(c.get_offsets()) == 2 and c.get_offsets().shape[1] == 2]
    )
    assert np.allclose(marks, [[0.4, 0.4], [0.4, 0.4]])
    assert {"as in the paper", "restart", "pairs", "device alone, best start"} <= {*texts(ax.get_legend())}


def test_each_measure_has_its_panel_and_seconds_a_logarithmic_axis():
    rows = [(load, w, s, 0.5, 2.0 * load) for load in (0.3, 2.0) for w in ("no cache", "ours") for s in (0, 1)]
    axes = figures.measures_by_load(
        pd.DataFrame(rows, columns=["load", "way", "seed", "qoe", "waited_s"]), {"qoe": "QoE", "waited_s": "s"}
    )
    assert [ax.get_ylabel() for ax in axes] == ["QoE", "s"] and [ax.get_yscale() for ax in axes] == ["linear", "symlog"]
    assert texts(axes[0].figure.legends[0]) == ["no cache", "ours"]


def test_latencies_rise_to_all_requests():
    ax = figures.latencies({name: pd.DataFrame({"latency_s": [0.1, 0.2, 0.4]}) for name in ("none", "ours")})
    assert texts(ax.get_legend()) == ["none", "ours"] and all(line.get_ydata()[-1] == 1 for line in ax.lines)
