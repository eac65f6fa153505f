"""What enters is what a viewer shows: each case against the picture that Chromium or a person would see."""

import io

import numpy as np
import pytest
from PIL import Image

from rlli_core.errors import InvalidArgument
from rlli_core.qoe import psnr
from rlli_core.qoe.pictures import as_seen

RAMP = np.add.outer(np.arange(24), 8 * np.arange(32)).astype(np.uint8)  # neither side nor corner like another
COLOURS = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])


def reopened(image, kind, **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return Image.open(io.BytesIO(file.getvalue()))


def test_an_rgb_picture_comes_back_itself():
    image = Image.fromarray(COLOURS)
    assert as_seen(image) is image


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, lambda a: a), (2, np.fliplr), (3, lambda a: np.rot90(a, 2)), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)],
)
def test_a_photograph_is_turned_as_its_camera_was_held(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = as_seen(reopened(Image.fromarray(COLOURS), "png", exif=exif))
    assert np.array_equal(np.asarray(seen), turn(COLOURS))


def test_what_is_transparent_is_the_white_page():
    alpha = np.zeros_like(RAMP)
    alpha[:, 16:] = 255
    seen = np.asarray(as_seen(Image.fromarray(np.dstack([COLOURS, alpha]))))
    assert (seen[:, :16] == 255).all() and np.array_equal(seen[:, 16:], COLOURS[:, 16:])
    hidden = Image.fromarray(np.dstack([COLOURS, np.zeros_like(RAMP)]))
    assert np.asarray(as_seen(hidden)).min() == 255  # a wholly transparent picture is no picture at all


def test_a_palette_with_a_transparent_colour():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((2, 1), 1)
    seen = as_seen(reopened(image, "png", transparency=0))
    assert seen.getpixel((2, 1)) == (200, 100, 0) and seen.getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_become_eight():
    deep = reopened(Image.fromarray(RAMP.astype(np.uint16) * 257), "png")
    assert deep.mode == "I;16"
    assert np.array_equal(np.asarray(as_seen(deep)), np.dstack([RAMP] * 3))
    assert np.array_equal(np.asarray(as_seen(Image.fromarray(RAMP.astype(np.int32) * 257))), np.dstack([RAMP] * 3))


def test_floating_point_greys_go_from_0_to_1():
    assert np.array_equal(np.asarray(as_seen(Image.fromarray(RAMP.astype(np.float32) / 255))), np.dstack([RAMP] * 3))
    with pytest.raises(InvalidArgument, match="scaled to 0 to 1"):
        as_seen(Image.fromarray(RAMP.astype(np.float32)))
    with pytest.raises(InvalidArgument, match="scaled to 0 to 1"):
        as_seen(Image.fromarray(np.full((8, 8), np.nan, np.float32)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "P"])
def test_every_other_mode_is_converted(mode):
    seen = as_seen(Image.new("RGB", (8, 8), "white").convert("L" if mode in ("LA", "PA") else "RGB").convert(mode))
    assert seen.mode == "RGB" and np.asarray(seen).min() > 250


def test_what_is_no_picture_is_refused():
    closed = reopened(Image.fromarray(COLOURS), "png")
    closed.close()
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "png")
    broken = Image.open(io.BytesIO(file.getvalue()[:2000]))
    for image, message in (
        (None, "a PIL image"),
        (Image.new("RGB", (0, 4)), "1x1"),
        (closed, "open it|open the"),
        (broken, "whole"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            as_seen(image)


def test_measures_see_the_same():
    image = Image.fromarray(COLOURS)
    clear = Image.fromarray(np.dstack([COLOURS, np.full_like(RAMP, 255)]))
    assert psnr(clear, image) == float("inf")
    assert psnr(Image.fromarray(np.dstack([COLOURS, np.zeros_like(RAMP)])), image) < 15
