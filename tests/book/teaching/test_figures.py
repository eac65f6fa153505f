import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from rlli_core.book.teaching import figures, toys


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_chains_change_colour_at_the_change_of_wish():
    values = toys.walk(np.linspace(-1, 1, 5), 8, 3, 0.2)
    axes = figures.chains(values, 3, {"only tiger": values[-1] - 2, "only dog": values[-1], "changed over": values[-1] + 0.1})
    lines = [line for line in axes[0].lines if len(line.get_xdata()) > 2]
    assert {(line.get_color(), *line.get_xdata()[[0, -1]]) for line in lines} == {(figures.TIGER, 0, 3), (figures.DOG, 3, 8)}
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["only tiger", "only dog", "changed over"]


def test_every_bit_is_drawn_and_the_wrong_ones_counted():
    snr, curve = np.linspace(0, 10, 11), np.logspace(-1, -3, 11)
    axes = figures.bits(np.array([1.0, 2.0, 0.1]), np.array([3.0, 1.0, -0.5]), snr, {"fading": curve}, now=5.0)
    assert [len(points.get_offsets()) for points in axes[0].collections] == [2, 1]
    assert axes[0].get_legend().get_title().get_text() == "1 of 3 wrong"
    assert axes[1].lines[-1].get_ydata()[0] == pytest.approx(1e-2)


def test_landscapes_show_the_actor_on_both_maps():
    snapshot = toys.Snapshot(7, np.full(len(toys.LEADS), 0.4), np.zeros((len(toys.LEADS), len(toys.SHARES))))
    axes = figures.landscapes(toys.reward(toys.LEADS[:, None], toys.SHARES), snapshot)
    for ax in axes:
        assert set(ax.lines[1].get_ydata()) == {0.4} and ax.get_xlabel()
    assert axes[1].get_title().endswith("after 7 rounds")


def test_lines_have_a_name_each():
    ax = figures.lines({"a": np.array([1, 10]), "b": np.array([2, 3])}, np.array([0, 1]), "x", "y", "log")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("x", "y", "log")
