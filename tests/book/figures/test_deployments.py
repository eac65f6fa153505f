import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rlli_core.book.figures import deployments as figures
from rlli_core.deployments import Times, Topology


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_tree_has_a_circle_a_device_and_an_arrow_a_link():
    names = ["a", "b", "c", "d"]
    trees = {"star": (Topology.star(4, 5, 1), names), "alone": (Topology.star(4, 0), names)}
    star, alone = figures.topology_drawing(trees)
    assert [len(ax.collections) for ax in (star, alone)] == [4, 4]
    words = [text.get_text() for text in star.texts]
    assert sorted(word for word in words if word) == ["5", *names]
    arrows = [sum(text.arrow_patch is not None for text in ax.texts if hasattr(text, "arrow_patch")) for ax in (star, alone)]
    assert arrows == [3, 0]
    xs = [circle.get_offsets()[0][0] for circle in star.collections]
    assert xs == [1, 0, 1, 1]


def test_bars_are_means():
    rows = [("x", 1.0, 4.0), ("x", 3.0, 4.0), ("y", 5.0, 6.0), ("y", 7.0, 8.0)]
    axes = figures.deployment_bars(
        pd.DataFrame(rows, columns=["deployment", "score", "mwh"]), {"score": "a score", "mwh": "energy"}
    )
    assert [[bar.get_width() for bar in ax.patches] for ax in axes] == [[2, 6], [4, 7]]
    assert [ax.get_xlabel() for ax in axes] == ["a score", "energy"]


def test_each_bep_has_its_panel_with_the_mean_of_each_receiver_and_the_device_alone():
    rows = [(b, r, h, h + b + c) for b in (0.03, 0.1) for r in ("paper", "aware") for h in (1, 6) for c in (0, 1)]
    axes = figures.measure_by_hops(pd.DataFrame(rows, columns=["bep", "receiver", "hops", "score"]), "score", "a score", 0.4)
    assert [ax.get_title() for ax in axes] == ["bit error probability 3%", "bit error probability 10%"]
    assert np.allclose(axes[1].lines[0].get_ydata(), [1.6, 6.6])
    assert any(np.allclose(line.get_ydata(), 0.4) for line in axes[0].lines)


def test_a_timeline_has_waiting_shared_and_own_steps_end_to_end():
    (ax,) = figures.timelines({"way": [Times(1, 2, 4, 7, 9), Times(0, 0, 0, 3, 9)]}, ["a", "b"])
    bars = [[(bar.get_x(), bar.get_width()) for bar in part] for part in ax.containers]
    assert bars == [[(1, 1), (0, 0)], [(2, 2), (0, 0)], [(4, 3), (0, 3)]]
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [9, 9]


def test_who_begins_is_told_by_means():
    ax = figures.worth_by_starter(pd.DataFrame({"begins": ["a", "a", "b", "b"], "worth": [1.0, 2.0, 3.0, 5.0]}))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert np.allclose(ax.lines[0].get_xdata(), [1.5, 4.0])
