import math

import numpy as np
import pytest
from PIL import Image

from rlli_core.errors import InvalidArgument
from rlli_core.qoe import psnr, ssim


def picture(seed, size=(32, 32)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def test_psnr_follows_its_definition():
    first, second = picture(0), picture(1)
    mean_square = np.mean((np.asarray(first, float) - np.asarray(second, float)) ** 2)
    assert psnr(first, second) == pytest.approx(10 * math.log10(255**2 / mean_square))


def test_equal_images():
    assert psnr(picture(0), picture(0)) == math.inf
    assert ssim(picture(0), picture(0)) == pytest.approx(1)


def test_ssim_falls_as_noise_grows():
    clean = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    noise = np.random.default_rng(0).normal(0, 1, (64, 64, 3))
    values = [
        ssim(Image.fromarray(np.clip(np.asarray(clean) + s * noise, 0, 255).astype(np.uint8)), clean) for s in (1, 10, 50)
    ]
    assert values[0] > values[1] > values[2] and values[0] > 0.9 and values[2] < 0.5


@pytest.mark.parametrize("score", [psnr, ssim])
def test_unequal_sizes_are_refused(score):
    with pytest.raises(InvalidArgument, match="of the reference's size"):
        score(picture(0), picture(1, (16, 32)))
