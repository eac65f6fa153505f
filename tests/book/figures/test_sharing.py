"""Figures of what sharing brings show the numbers that they are given."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rlli_core.allocation import pays
from rlli_core.book.figures import sharing as figures
from rlli_core.book.panels import sharing_panel


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    """QoE that rises with the device budget; sharing adds a tenth where it is 1, nothing else."""
    settings = [pays.Setting(device, server) for device in (1, 8) for server in (5, 20)]
    values = np.zeros((4, len(pays.STRATEGIES), 3, len(pays.MEASURES)))
    values[..., 0] = np.array([0.3, 0.3, 0.6, 0.6])[:, None, None] + np.array([-0.01, 0, 0.01])
    values[:2, list(pays.STRATEGIES).index(pays.OURS), :, 0] += 0.1
    values[..., 1] = np.array([3.6, 3.6, 28.8, 28.8])[:, None, None]
    return pays.frame(settings, values)


def test_a_map_has_the_gain_in_hundredths_in_its_place_and_the_ring_around_the_point(table):
    ax = figures.gain_maps(table, [pays.OURS, pays.PAPER], point=(1, 20))[0]
    told = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    assert told == {(0.5, 0.5): "+10.0", (1.5, 0.5): "+0.0", (0.5, 1.5): "+10.0", (1.5, 1.5): "+0.0"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["20", "5"]  # the larger budget above
    assert ax.lines[0].get_xydata().tolist() == [[0.5, 0.5]]


def test_lines_have_a_place_for_every_value_in_the_order_given(table):
    rows = table[table.strategy.isin([pays.OURS, pays.PAPER])]
    axes = figures.gain_lines({"the server's budget": (rows, "server_budget"), "own steps": (rows, "device_budget")})
    words = rows.assign(prompts=rows.server_budget.map({5: "same", 20: "nearer"}))
    assert [t.get_text() for t in figures.gain_lines({"": (words, "prompts")})[0].get_xticklabels()] == ["same", "nearer"]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["5", "20"] and axes[1].get_xlabel() == "own steps"
    assert max(np.max(line.get_ydata()) for line in axes[0].lines if len(line.get_ydata())) == pytest.approx(0.1)


def test_the_frontier_leaves_out_what_costs_more_and_brings_no_more(table):
    axes = figures.frontier(table, mark={"device_budget": 8, "server_budget": 20})
    fronts = {line.get_label(): line.get_xydata().tolist() for line in axes[1].lines if not line.get_label().startswith("_")}
    assert np.allclose(fronts[pays.OURS], [[3.6, 0.4], [28.8, 0.6]]) and list(fronts) == list(pays.STRATEGIES)
    assert set(figures.COLOURS) == set(pays.STRATEGIES)


def test_steps_needed_are_marked_and_gains_stand_in_units_of_them():
    quality = {"one": pd.Series({1: 0.5, 4: 1.0}), "two, published": pd.Series({10: 0.9, 250: 1.0})}
    gains = pd.DataFrame({"model": "one", "own steps": [1, 2, 1, 2], "gain": [0.1, 0.0, 0.3, 0.0]})
    left, right = figures.steps_needed(quality, {"one": 4.0, "two, published": 50.0}, gains)
    assert [line.get_xdata()[0] for line in left.lines if line.get_linestyle() == ":"] == [4.0, 50.0]
    assert np.allclose(right.lines[1].get_xydata(), [[0.25, 0.2], [0.5, 0.0]])


def test_the_panel_tells_the_gain_of_the_point_that_its_sliders_are_at(table):
    panel = sharing_panel(table, pays.OURS)
    assert len(panel.settings()) == 4
    line, (part,) = panel.update(device_budget=1, server_budget=5)
    assert f"{pays.OURS} +0.100 (+0.100 to +0.100)" in line and part.picture is not None and "ring at 1 and 5" in part.alt
