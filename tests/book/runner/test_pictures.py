"""Smaller pictures: what is exact, what is near enough, and what counts as the same picture."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.spatial import KDTree

from rlli_core.book.runner.pictures import PNG, alike, encoded, slim


def png(pixels, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8), mode).save(buffer, "png")
    return buffer.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)


def text(data):
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def drawing():
    """Lines and letters as matplotlib draws them, thousands of colours at their edges."""
    with plt.style.context("default"):  # other tests set a look of their own
        return _drawn()


def _drawn():
    figure, axes = plt.subplots(figsize=(6, 4), dpi=130)
    x = np.linspace(0, 9, 200)
    for k, colour in enumerate(("#0173b2", "#de8f05", "#029e73")):
        axes.plot(x, np.sin(x + k), color=colour)
        axes.fill_between(x, np.sin(x + k) - 0.2, np.sin(x + k) + 0.2, color=colour, alpha=0.2)
    axes.set(title="Waves", xlabel="time (s)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photograph():
    """Forty skies, 40 x 50 each: from one colour at the top to another at the bottom, as in a grid of pictures."""
    top, bottom = np.random.default_rng(0).integers(0, 256, (2, 5, 1, 8, 1, 3))
    height = np.linspace(0, 1, 40)[None, :, None, None, None]
    skies = (top + height * (bottom - top)) * np.ones((5, 40, 8, 50, 3))
    noise = np.random.default_rng(1).normal(0, 1, (200, 400, 3))
    return png((skies.reshape(200, 400, 3) + noise).round().clip(0, 255))


def test_a_drawing_keeps_lines_and_paper_exactly(drawing):
    small = encoded(drawing)
    assert len(small) < len(drawing) / 2
    before, after = pixels(drawing), pixels(small)
    for colour in ((255, 255, 255), (1, 115, 178), (222, 143, 5), (2, 158, 115), (0, 0, 0)):
        here = (before == colour).all(2)
        assert here.sum() > 50 and (after[here] == colour).all()
    assert np.abs(before - after).max() < 64 and ((before - after) ** 2).mean() < 0.5


def test_few_colours_stay_all_as_they_are():
    picture = np.random.default_rng(0).integers(0, 6, (60, 80, 3)) * 51
    small = encoded(png(picture))
    assert (pixels(small) == picture).all() and Image.open(io.BytesIO(small)).mode == "P"


def test_a_photograph_keeps_its_gradients(photograph):
    small = encoded(photograph)
    assert len(small) < len(photograph) / 2
    before, after = pixels(photograph), pixels(small)
    palette = np.unique(after.reshape(-1, 3), axis=0)
    plain = palette[KDTree(palette).query(before)[1]]  # the nearest colour for each pixel: bands
    # What the eye sees from some way off: means of 4 x 4 pixels.
    bands, dots = (uniform_filter(before - picture, (4, 4, 0)).std() for picture in (plain, after))
    assert dots < 0.9 * bands and dots < 2.5
    assert (before - after).std() < 1.5 * (before - plain).std()


def test_it_is_done_once_and_never_makes_a_picture_larger(drawing, photograph):
    for picture in (drawing, photograph):
        once = encoded(picture)
        assert (pixels(encoded(once)) == pixels(once)).all()
    see_through = png(np.random.default_rng(0).integers(0, 255, (20, 20, 4)), "RGBA")
    assert encoded(see_through) == see_through
    cells = [new_code_cell(outputs=[new_output("display_data", {PNG: text(one), "text/plain": "<a figure>"})]) for one in (
        photograph, encoded(photograph), see_through
    )]  # fmt: skip
    notebook = new_notebook(cells=cells)
    slim(notebook)
    shown = [cell.outputs[0].data for cell in notebook.cells]
    assert len(shown[0][PNG]) < len(text(photograph)) / 2 and shown[2][PNG] == text(see_through)
    assert shown[1][PNG] == shown[0][PNG] and shown[0]["text/plain"] == "<a figure>"


def test_the_same_to_the_eye(drawing, photograph):
    random = np.random.default_rng(1)
    for picture in (drawing, photograph):
        before = pixels(picture)
        touched = (random.random(before.shape[:2]) < 0.01)[..., None] * random.integers(-1, 2, before.shape)
        other = text(encoded(png(np.clip(before + touched, 0, 255))))
        assert alike(text(encoded(picture)), other)
        assert not alike(other, text(encoded(png(np.roll(before, 1, axis=0)))))
        assert not alike(other, text(png(before[:-1])))
    moved = pixels(drawing)
    moved[200:203, 300:303] = 0  # a dot more
    assert not alike(text(drawing), text(png(moved)))
