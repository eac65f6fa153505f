"""Pictures in few bytes: what fits, what is counted, and that what is shown is what the bytes say."""

import io

import numpy as np
import pytest
from PIL import Image

from rlli_core.errors import InvalidArgument
from rlli_core.qoe import psnr
from rlli_core.qoe import still as stills
from rlli_core.qoe.still import CODECS, SCALES, fit_still


@pytest.fixture(scope="module")
def photo():
    """Soft shapes and some noise, 128 x 128."""
    rng = np.random.default_rng(0)
    low = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(low) * 0.9 + rng.integers(0, 20, (128, 128, 3))).astype(np.uint8))


@pytest.mark.parametrize("codec", CODECS)
def test_it_fits_and_more_bytes_are_never_worse(photo, codec):
    found = [fit_still(photo, codec, limit) for limit in (300, 700, 3000)]
    assert all(one.size <= limit and one.image.size == photo.size for one, limit in zip(found, (300, 700, 3000)))
    likeness = [psnr(one.image, photo) for one in found]
    assert likeness == sorted(likeness) and likeness[0] > 15


@pytest.mark.parametrize("codec", CODECS)
def test_no_better_quality_of_that_scale_fits(photo, codec):
    found = fit_still(photo, codec, 500)
    size = (round(128 * found.scale),) * 2
    small = photo if found.scale == 1 else photo.resize(size, Image.Resampling.LANCZOS)
    options, count = CODECS[codec]
    assert count(stills._written(small, options, found.quality)) == found.size
    assert count(stills._written(small, options, min(95, found.quality + 8))) > 500


def test_where_even_the_worst_quality_is_too_long_it_scales_down(photo):
    assert fit_still(photo, "jpeg", 120).scale < 1
    assert fit_still(photo, "jpeg", 20_000).scale == 1
    assert SCALES[0] == 1


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_not_counted_is_the_same_for_every_picture(photo, codec):
    options, count = CODECS[codec]
    rest = set()
    for k, image in enumerate((photo, photo.rotate(90), Image.radial_gradient("L").convert("RGB").resize((128, 128)))):
        data = stills._written(image, options, 40)
        assert 0 < count(data) < len(data), k
        rest.add(len(data) - count(data) - (count(data) % 2 if codec == "webp" else 0))  # RIFF pads to even
    assert len(rest) == 1


def test_the_scan_of_a_jpeg_is_what_stands_between_its_header_and_its_end(photo):
    data = stills._written(photo, CODECS["jpeg"][0], 50)
    start = data.index(b"\xff\xda")
    assert CODECS["jpeg"][1](data) == len(data) - 2 - start - 2 - int.from_bytes(data[start + 2 : start + 4], "big")
    assert data.endswith(b"\xff\xd9") and Image.open(io.BytesIO(data)).size == photo.size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Image.new("RGB", (8, 8)), "gif", 500), "codec"),
        ((Image.new("RGB", (8, 8)), "jpeg", 0), "limit"),
        ((Image.effect_noise((64, 64), 90).convert("RGB"), "jpeg", 3), "limit"),
        (("photo", "jpeg", 500), "image"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        fit_still(*arguments)
