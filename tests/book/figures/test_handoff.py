import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rlli_core.book.figures import handoff as figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_clock_has_the_stop_and_each_start_on_the_curve():
    noise = np.linspace(0, 1, 1000)
    ax = figures.noise_clock(noise, 300, {"3%": 500, "10%": 700})
    points = [tuple(c.get_offsets()[0]) for c in ax.collections]
    assert points == [(300, noise[300]), (500, noise[500]), (700, noise[700])]
    assert [t.get_text() for t in ax.get_legend().get_texts()][1:] == ["3%: starts at 500", "10%: starts at 700"]


def test_each_plan_has_its_panel_with_the_mean_of_each_receiver():
    rows = [
        (p, r, b, c, level + 0.1 * c)
        for p in "xy"
        for r, level in (("paper", 0.2), ("aware", 0.5))
        for b in (0, 0.1)
        for c in (0, 1)
    ]
    axes = figures.scores_by_receiver(pd.DataFrame(rows, columns=["plan", "receiver", "bep", "case", "score"]))
    assert [ax.get_title() for ax in axes] == ["x", "y"]
    lines = [line for line in axes[0].lines if len(line.get_xdata()) == 2]
    assert np.allclose([line.get_ydata() for line in lines], [[0.25, 0.25], [0.55, 0.55]])
    assert np.allclose(lines[0].get_xdata(), [0, 10])  # in percent


def test_differences_stand_in_the_order_of_the_table_within_their_margin():
    table = pd.DataFrame({"group": ["a", "b"], "mean": [0.01, -0.02], "low": [0.0, -0.05], "high": [0.03, 0.0]}, ["one", "two"])
    ax = figures.differences_in_margin(table, 0.05, "difference")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["one", "two"] and ax.get_xlabel() == "difference"
    ends = [bars.get_segments()[0][:, 0].tolist() for bars in ax.collections[:2]]
    assert np.allclose(ends, [[0.0, 0.03], [-0.05, 0.0]]) and ax.yaxis_inverted()


def test_each_kind_of_prompt_has_its_panel_and_each_device_its_line():
    rows = [(k, n, d, c, n / 10) for k in ("same", "distant") for n in (1, 2) for d in ("paper", "alone") for c in (0, 1)]
    axes = figures.scores_by_start(pd.DataFrame(rows, columns=["kind", "own steps", "device", "case", "score"]))
    assert [ax.get_title() for ax in axes] == ["same prompt", "distant prompt"]
    assert [t.get_text() for t in axes[0].figure.legends[0].get_texts()] == ["paper", "alone"]
    ax = figures.gain_by_steps(pd.DataFrame(rows, columns=["kind", "own steps", "device", "case", "gain"]), 0.02)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["same", "distant"]
