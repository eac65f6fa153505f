"""Measures of how good pictures are: against closed forms, and on sets whose answer is known."""

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from rlli_core.embedded import looks, scenes


@pytest.mark.parametrize("rows, width", [(400, 6), (20, 50)], ids=["more rows", "more features"])
def test_frechet_distance_is_the_closed_form(rows, width):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(rows, width)), rng.normal(0.5, 2.0, size=(rows + 3, width))
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    expected = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(one + two - 2 * sqrtm(one @ two).real)
    assert looks.frechet(first, second) == pytest.approx(expected, rel=1e-3)
    assert looks.frechet(first, first) == pytest.approx(0, abs=1e-9)


def test_precision_and_recall_name_what_is_missing():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(50, 1, (200, 2))])
    half, strange = real[:200] + 0.01, np.concatenate([real[::2], rng.normal(-90, 1, (200, 2))])
    precision, recall = looks.precision_recall(real, half)
    assert precision > 0.95 and recall == pytest.approx(0.5, abs=0.03), "one kind of the two is never made"
    precision, recall = looks.precision_recall(real, strange)
    assert precision == pytest.approx(0.5, abs=0.03) and recall > 0.95, "half of what is made is of no kind"


def test_box_psnr_looks_inside_the_box_of_the_same_object():
    renders = [scenes.scene(7, i, "all", "cells") for i in range(120)]
    shown = [r for r in renders if r.relation == "alone"][:10]
    assert looks.box_psnr([s.image for s in shown], shown, renders) > 90, "the render itself is among them"
    blurred = [s.image.resize((16, 16)).resize((128, 128)) for s in shown]
    assert looks.box_psnr(blurred, shown, renders) < 30


@pytest.mark.slow
def test_a_two_sample_test_is_at_chance_between_equals_and_tells_blur():
    images = [scenes.scene(7, i, "all", "cells").image for i in range(320)]
    same = looks.two_sample(images[:160], images[160:], epochs=12, batch=32)
    low, high = same["two_sample_interval"]
    assert low <= 0.5 <= high and low <= same["two_sample"] <= high
    blurred = [image.resize((32, 32), Image.BILINEAR).resize((128, 128)) for image in images[160:]]
    assert looks.two_sample(images[:160], blurred, epochs=12, batch=32)["two_sample"] > 0.9


def test_n_star_is_where_it_stays_near_the_plateau():
    assert looks.n_star([1, 2, 3, 4], [20.0, 1.0, 9.0, 1.0]) == 4
    assert looks.n_star([1, 2, 3, 4], [0.1, 0.79, 0.8, 0.8]) == 2
    assert looks.n_star([1, 2], [3.0, 3.0]) == 1
