import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rlli_core.book.figures import allocation as figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_learning_curves_have_a_line_for_each_name_and_the_optimum():
    rows = [(n, s, i, 0.1 * i + s) for n in ("a", "b") for s in range(3) for i in (1, 2, 3)]
    ax = figures.learning_curves(pd.DataFrame(rows, columns=["name", "seed", "interactions", "sum_qoe"]), 1.5)
    means = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 3]
    assert np.allclose(means[0], [1.1, 1.2, 1.3]) and [t.get_text() for t in ax.get_legend().get_texts()] == [
        "a",
        "b",
        "optimum",
    ]
    assert any(np.allclose(line.get_ydata(), 1.5) for line in ax.lines)


def test_what_is_missing_is_on_logarithmic_scales_and_begins_after_the_first_round():
    rows = [("a", s, i, 1 - 10.0**-i - 0.01 * s) for s in range(3) for i in (0, 1, 2)]
    ax = figures.missing_curves(pd.DataFrame(rows, columns=["name", "seed", "interactions", "reward"]), 1.0)
    assert ax.get_xscale() == ax.get_yscale() == "log" and ax.lines[0].get_xdata().tolist() == [1, 2]
    assert np.allclose(ax.lines[0].get_ydata(), [0.11, 0.02])


def test_intervals_show_middle_and_ends_in_the_order_of_the_table():
    table = pd.DataFrame(
        [("x", "m", 0.5, 0.4, 0.8), ("y", "m", 0.7, 0.7, 0.7)], columns=["name", "measure", "middle", "low", "high"]
    )
    ax = figures.interval_bars(table, {"m": "a measure"}, {"m": 0.9})[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"] and ax.get_xlabel() == "a measure"
    assert ax.lines[0].get_xdata().tolist() == [0.5, 0.7]
    ends = ax.collections[0].get_segments()[0][:, 0]
    assert ends.tolist() == pytest.approx([0.4, 0.8])


def test_the_walk_of_an_action_shows_every_step():
    actions = np.linspace(-1, 1, 12).reshape(3, 4)
    left, right = figures.action_walk(actions, {"P": 1, "t": 3}, np.array([[1.0], [2.0], [3.0]]))
    assert (left.collections[0].get_array() == actions).all()
    assert right.lines[0].get_ydata().tolist() == [1, 2, 3]
    assert [t.get_text() for t in left.get_xticklabels()] == ["1", "1", "2", "3"] and [t.get_text() for t in left.texts] == [
        "P",
        "t",
    ]


def test_points_are_where_the_numbers_say():
    ax = figures.table_against_live(pd.DataFrame({"table": [0.2, 0.4], "live": [0.3, 0.5]}))
    assert ax.collections[0].get_offsets().tolist() == [[0.2, 0.3], [0.4, 0.5]]
    pairs = pd.DataFrame({"allocation": ["a", "b"], "table": [0.2, 1.0], "live": [0.3, 1.0]})
    ax = figures.table_against_live(pairs)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"] and ax.get_xlim()[1] > 1
    first, second = figures.power_by_gain(np.array([[1.0, 0.1]]), np.array([[5.0, 9.0]]), np.array([[0.1, 0.2]]))
    assert np.allclose(first.collections[0].get_offsets(), [[0, 5], [-10, 9]])
    assert np.allclose(second.collections[0].get_offsets(), [[0, 0.1], [-10, 0.2]])
    ax = figures.time_by_steps(pd.DataFrame({"update_ms": [2.0, 3.0], "products_ms": [1.0, 2.0]}, index=[1, 5]))
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2, 3], [1, 2]]


def test_lanes_are_as_long_as_there_are_steps_and_who_is_sent_nothing_has_only_its_own():
    steps, powers = figures.allotted(3, [5, 2], [40.0, 0.0], ["a", "b"], (10, 50))
    assert [(bar.get_x(), bar.get_width()) for bar in steps.patches] == [(0, 3), (0, 0), (3, 5), (0, 2)]
    assert [bar.get_width() for bar in powers.patches] == [40, 0] and steps.get_xlim() == (0, 10)


def test_bars_stand_in_the_order_of_the_shares():
    table = pd.DataFrame({"share": [0.7, 0.9, 1.0]}, ["a", "b", "optimum"])
    ax = figures.allocator_bars(table)
    assert [bar.get_width() for bar in ax.patches] == [0.7, 0.9] and ax.get_xlabel()
    ax = figures.allocator_bars(pd.DataFrame({"share": [0.04, 0.9, 1.0]}, ["a", "b", "optimum"]))
    short, long = ax.texts
    assert short.get_text() == "0.04" and short.get_position()[0] > 0.04 and long.get_position()[0] < 0.9


def test_actions_are_drawn_where_they_are_on_the_landscape():
    grid = np.linspace(-1, 1, 21)
    values = np.exp(-((grid[None] - 0.5) ** 2 + (grid[:, None] + 0.5) ** 2) / 0.05)  # a peak at first = 0.5, second = -0.5
    axes = figures.draws_on_landscape(
        values, grid, {"one": np.array([[0.5, -0.5]]), "two": np.array([[0.1, 0.2], [-1.0, 1.0]])}
    )
    assert [ax.get_title() for ax in axes] == ["one", "two"] and axes[0].get_ylabel() and axes[1].get_xlabel()
    contours, points = axes[0].collections
    assert np.allclose(contours.get_paths()[1].vertices.mean(0), [0.5, -0.5], atol=0.05)
    assert points.get_offsets().tolist() == [[0.5, -0.5]] and len(axes[1].collections[1].get_offsets()) == 2


def test_each_row_is_a_dot_and_each_name_has_its_mean():
    table = pd.DataFrame({"name": ["b", "b", "a", "a"], "kept": [1, 2, 2, 2], "left": [0.0, 1.0, 0.5, 0.5]})
    axes = figures.dots_and_means(table, {"kept": "peaks kept", "left": "what is left"}, {"left": 0.25})
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["b", "a"]
    assert [ax.get_xlabel() for ax in axes] == ["peaks kept", "what is left"]
    dots = [points.get_offsets()[:, 0].tolist() for points in axes[0].collections]
    assert dots[:2] == [[1, 2], [2, 2]]
    means = [line.get_xdata().tolist() for line in axes[0].lines if line.get_marker() == "o"]
    assert means == [[1.5, 2.0]]
    assert any(np.allclose(line.get_xdata(), 0.25) for line in axes[1].lines)
