import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rlli_core.book import figures
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


def opinions():
    rng = np.random.default_rng(0)
    rows = [
        {"person": who, "shared_steps": t0, "device_steps": t, "bep": bep, "seed": seed, "score": rng.random()}
        for who in ("GA1", "GA2") for t0 in (2, 3) for t in (4, 6, 8) for bep in (0.01, 0.1) for seed in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_score_lines_run_through_the_means_of_each_person():
    table = opinions()
    ax = figures.scores_by_bep(table)
    means = table.groupby(["person", "bep"]).score.mean()
    drawn = [list(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) == 2]
    assert drawn[0] == pytest.approx(list(means["GA1"])) and drawn[1] == pytest.approx(list(means["GA2"]))
    panels = figures.scores_by_steps(table)
    assert [panel.get_title() for panel in panels] == ["GA1", "GA2"]
    lines = [list(line.get_ydata()) for line in panels[1].lines if len(line.get_ydata()) == 3]
    expected = table[(table.person == "GA2") & (table.shared_steps == 2)].groupby("device_steps").score.mean()
    assert lines[0] == pytest.approx(list(expected))


def test_heat_maps_show_their_numbers():
    table = pd.DataFrame({"a": [0.25, 0.5], "b": [0.75, 1.0]}, ["x", "y"])
    axes = figures.score_heat(table, table.T, titles=["one", "other"])
    assert [ax.get_title() for ax in axes] == ["one", "other"]
    assert [text.get_text() for text in axes[0].texts] == ["0.25", "0.75", "0.50", "1.00"]
    assert [text.get_text() for text in axes[1].texts] == ["0.25", "0.50", "0.75", "1.00"]


def test_score_maps_mark_the_best_plan():
    table = opinions()
    axes = figures.score_maps(table)
    assert axes.shape == (2, 2) and [ax.get_title() for ax in axes[0]] == ["BEP 1.0%", "BEP 10.0%"]
    means = table[(table.person == "GA1") & (table.bep == 0.1)].groupby(["shared_steps", "device_steps"]).score.mean()
    t0, t1 = means.idxmax()
    mark = axes[0, 1].patches[0]
    assert (mark.get_x(), mark.get_y()) == ([4, 6, 8].index(t1), [3, 2].index(t0))


def test_score_maps_put_a_star_where_an_allocator_went():
    axes = figures.score_maps(opinions(), stars={"GA1": (3, 5, 0.02)})
    stars = [[line.get_xydata()[0].tolist() for line in ax.lines] for ax in axes.flat]
    assert stars == [[[1.3, 0.78]], [], [], []]  # between 4 and 6 own steps, beside the number, on the map of the nearest BEP


def test_clusters_and_agreement_have_a_point_for_every_score():
    rng = np.random.default_rng(0)
    sampled = pd.DataFrame(
        [{"picture": k, "person": who, "score": rng.random()} for k in "AB" for who in ("GA1", "GA2") for _ in range(7)]
    )
    ax = figures.score_clusters(sampled)
    assert sum(len(cloud.get_offsets()) for cloud in ax.collections) >= 28
    taught = pd.DataFrame(rng.random((5, 2)), columns=["GA1", "GA2"])
    points = figures.agreement_scatter(taught, taught / 2).collections[0].get_offsets()
    assert len(points) == 10 and np.allclose(points[:, 1], points[:, 0] / 2)


def test_kept_by_distance_names_every_prompt():
    table = pd.DataFrame({"prompt": ["a", "a", "b"], "shared_steps": [2, 4, 2], "distance": [30.0, 30.0, 70.0]})
    table["kept"] = [0.9, 0.4, 0.8]
    ax = figures.kept_by_distance(table, limit=60.0)
    assert {text.get_text() for text in ax.texts} == {"a", "b"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["2", "4"] and ax.get_xlabel()


def test_scores_by_trait_has_a_panel_a_picture_and_a_line_a_trait():
    table = pd.DataFrame({"openness": [0.1, 0.6], "neuroticism": [0.5, 0.4]}, [0.0, 1.0])
    axes = figures.scores_by_trait({"a dog": table, "a cat": table})
    assert [ax.get_title() for ax in axes] == ["a dog", "a cat"]
    assert list(axes[0].lines[0].get_ydata()) == [0.1, 0.6]


def test_measures_by_snr_has_a_panel_a_measure_a_line_a_scheme_and_the_lone_device():
    rows = [
        {"scheme": scheme, "snr_db": snr, "case": case, "a": snr + case, "b": -snr}
        for scheme in ("picture", "latent") for snr in (0.0, 1.0) for case in range(3)
    ]  # fmt: skip
    axes = figures.measures_by_snr(pd.DataFrame(rows), {"a": "A", "b": "B"}, {"a": 0.5, "b": 0.25}, "SNR (dB)")
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes] == [("SNR (dB)", "A"), ("SNR (dB)", "B")]
    assert [list(line.get_ydata()) for line in axes[0].lines if len(line.get_xdata()) == 2][:2] == [[1.0, 2.0]] * 2
    assert [set(ax.lines[-1].get_ydata()) for ax in axes] == [{0.5}, {0.25}]
    assert [text.get_text() for text in axes[0].figure.legends[0].get_texts()] == ["picture", "latent", "device alone, no link"]


def test_maps_frame_the_best_plan_that_shares_and_the_device_alone_where_it_is_better():
    shared = opinions()
    alone = shared[shared.shared_steps == shared.shared_steps.min()].assign(shared_steps=0)
    for score, frames in ((0.0, ["-"]), (1.0, ["-", "--"])):
        axes = figures.score_maps(pd.concat([shared.assign(score=0.5), alone.assign(score=score)]))
        found = [[p.get_linestyle() for p in ax.patches] for ax in axes.flat]
        assert found == [frames] * axes.size
        assert all(ax.patches[0].get_y() < ax.get_ylim()[0] - 1 for ax in axes.flat)  # not in the lowest row


def test_bands_are_the_intervals_of_the_prose():
    from rlli_core.book import intervals
    from rlli_core.book.figures.look import student

    values = [0.1, 0.4, 0.3, 0.6]
    told = intervals(x=values)
    assert student(values) == pytest.approx((told["x_low"], told["x_high"])) and student([0.5]) == (0.5, 0.5)
