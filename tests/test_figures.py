import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rlli_core import figures
from rlli_core.diffusion.semantics import Divergence


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def scores():
    rng = np.random.default_rng(0)
    rows = [
        {"shared_steps": t0, "device_steps": t, "shared_fraction": t0 / (t0 + t), "bep": bep, "seed": s}
        for t0 in (2, 3) for t in (4, 6) for bep in (np.nan, 0.01, 0.1) for s in range(3)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    for column in ("psnr_db", "ssim", "p_tiger", "p_dog"):
        table[column] = rng.random(len(table))
    return table


def test_image_grid_puts_heads_and_notes_where_they_belong():
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    axes = figures.image_grid([[red, blue], [blue, None]], columns=["a", "b"], rows=["x", "y"], notes=[["1", "2"], ["3", ""]])
    assert axes.shape == (2, 2)
    assert [ax.get_title() for ax in axes[0]] == ["a", "b"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["x", "y"]
    assert [ax.get_xlabel() for ax in axes.flat] == ["1", "2", "3", ""]
    assert tuple(axes[0, 1].images[0].get_array()[0, 0]) == (0, 0, 255) and not axes[1, 1].images


def test_mean_lines_run_through_the_means_of_the_seeds():
    table = scores()
    ax = figures.fidelity_by_bep(table, "tiger")[2]
    drawn = dict(zip(*ax.lines[0].get_data()))
    means = table.dropna(subset="bep").groupby("bep").p_tiger.mean()
    assert drawn == pytest.approx(means.to_dict())


def test_traits_by_steps_has_a_line_for_every_t0():
    axes = figures.traits_by_steps(scores(), wanted="dog", shared="tiger")
    assert [ax.get_title() for ax in axes] == ["p(dog)", "p(tiger)"]
    for ax in axes:
        assert {text.get_text() for text in ax.get_legend().get_texts()} == {"2", "3"}


def test_traits_by_fraction_has_a_point_for_every_plan():
    ax = figures.traits_by_fraction(scores(), wanted="dog", shared="tiger")
    assert [len(points.get_offsets()) for points in ax.collections] == [4, 4]


def test_every_line_figure_has_labelled_axes_and_a_legend():
    x = np.linspace(0.1, 1, 5)
    table = pd.DataFrame({"step": [0, 1] * 2, "distance": [2.0, 1.0, 3.0, 2.0], "path": ["a", "a", "b", "b"], "seed": 0})
    made = [
        figures.distances(table),
        figures.divergence_by_step({"pair": [Divergence(0.0, 0.0), Divergence(2.0, 0.5)]}),
        figures.fading_density(x, {"law": x}, samples=x),
        figures.bep_by_snr(x, {"bpsk": x / 10}, {"bpsk": (x, x / 10)}),
        figures.bep_by_power(x, {"user": x / 10}, [(0.5, 0.05)]),
    ]
    for ax in made:
        assert ax.get_xlabel() and ax.get_ylabel() and ax.get_legend().get_texts()
