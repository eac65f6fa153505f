"""How close an image is to a reference: PSNR and SSIM, from scikit-image."""

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ..errors import InvalidArgument
from .pictures import as_seen


def psnr(image: Image.Image, reference: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB of two 8-bit RGB images of one size; `inf` when they are equal.

    >>> black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    >>> psnr(black, white)
    0.0
    """
    first, second = _arrays(image, reference)
    if np.array_equal(first, second):
        return float("inf")
    return float(peak_signal_noise_ratio(second, first, data_range=255))


def ssim(image: Image.Image, reference: Image.Image) -> float:
    """Structural similarity in [-1, 1] of two 8-bit RGB images of one size (at least 7x7); 1 when they are equal."""
    return float(structural_similarity(*_arrays(image, reference), data_range=255, channel_axis=2))


def _arrays(image: Image.Image, reference: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    first, second = as_seen(image), as_seen(reference, "reference")
    if first.size != second.size:
        raise InvalidArgument("image", first.size, f"of the reference's size {second.size}")
    return np.asarray(first), np.asarray(second)
