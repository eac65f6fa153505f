"""How noisy was the link? The BEP as a receiver estimates it that was not told: from pilots, or from the latent itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MOST_BEP = 0.5
_GRAY_BITS = 3  # of a label that are read
_LEAST_KEPT = 1e-3  # r at a BEP of 0.4995


@dataclass(frozen=True)
class Estimate:
    """An estimated bit error probability.

    Attributes:
        value: in [0, 0.5].
        standard_error: of the value, above 0 and at most 0.5.
    """

    value: float
    standard_error: float


def from_pilots(errors: int, pilots: int) -> Estimate:
    """BEP from `errors` wrong bits among `pilots` known ones: their share, and the binomial's standard error.

    The error is taken at Laplace's (errors + 1) / (pilots + 2), so that no errors do not mean no doubt.

    >>> from_pilots(30, 1000)
    Estimate(value=0.03, standard_error=0.0054...)
    """
    share = (errors + 1) / (pilots + 2)
    return Estimate(min(errors / pilots, MOST_BEP), math.sqrt(share * (1 - share) / pilots))


def from_variance(
    values: np.ndarray, bits: int, number_format: str, low: float, high: float, second_moment: float = 1.0
) -> Estimate:
    """BEP from the power that bit errors add to a latent whose power is known, that of a variance-preserving chain being 1.

    With r = 1 - 2 p and the +-1 bits t of the level (`damage`), what r has done to each product of two bits is undone: in
    natural binary E[t'_k t'_l] = r^2 t_k t_l for k != l and 1 for k = l, so about the middle of the range

        M = r^2 m + (1 - r^2) W,   W = sum_k c_k^2 = (2^B + 1) / (2^B - 1) w^2 / 12

    where M is the second moment received, m the one sent, and W that of a code whose levels are used alike. The Gray code has
    E[t'_k t'_l] = r^|k - l| t_k t_l and E[t'_k] = r^(B - k) t_k instead. Either way an unbiased estimate of the mean of x^2 is
    a polynomial in 1 / r, to be set equal to the known second moment (plus step^2 / 12 of quantisation, Sheppard's correction).
    Of a Gray label only the top three bits are read: high powers of 1 / r multiply what chance has left in the lower ones.
    The standard error is by the delta method over values taken as independent: too small where neighbours are alike.

    Args:
        values: received values, any shape, at least two.
        bits: B, bits a value.
        number_format: "uniform" or "gray".
        low, high: range of the code, `low` below `high`.
        second_moment: mean of x^2 of what was sent, about zero.
    """
    used = min(bits, _GRAY_BITS) if number_format == "gray" else bits
    step = (high - low) / (2**bits - 1)
    features = _powers(np.ravel(values).astype(np.float64), bits, used, number_format, low, high)
    target = second_moment + (step * 2 ** (bits - used)) ** 2 / 12
    means = features.mean(0)  # of the coefficients of (1 / r)^0, (1 / r)^1, ...
    means[0] -= target
    roots = np.roots(means)  # highest power of r first
    real = roots.real[np.abs(roots.imag) < 1e-9 * np.abs(roots)] if roots.size else roots.real
    kept = float(np.clip(real.max(initial=0.0), 0.0, 1.0))
    if kept < _LEAST_KEPT:
        return Estimate(MOST_BEP, MOST_BEP)
    order = np.arange(means.size)
    scatter = (features @ kept ** -order.astype(float)).std(ddof=1) / math.sqrt(len(features))
    slope = abs(float(means @ (order * kept ** -(order + 1.0)))) * 2  # d mean / d p, r = 1 - 2 p
    return Estimate((1 - kept) / 2, min(scatter / slope, MOST_BEP) if slope else MOST_BEP)


def _powers(values: np.ndarray, bits: int, used: int, number_format: str, low: float, high: float) -> np.ndarray:
    """Coefficients of 1, 1/r, (1/r)^2, ... in an unbiased estimate of each x^2: shape (values, powers)."""
    middle, step = (low + high) / 2, (high - low) / (2**bits - 1)
    weights = step * 2.0 ** np.arange(-1, bits - 1)  # c_k
    alike = float((weights[bits - used :] ** 2).sum())  # W
    features = np.zeros((values.size, max(used if number_format == "gray" else 0, 2) + 1))
    features[:, 0] = middle**2 + alike
    if number_format == "uniform":
        features[:, 1] = 2 * middle * (values - middle)
        features[:, 2] = (values - middle) ** 2 - alike
        return features
    codes = np.rint((values - low) / step).astype(np.int64)
    places = np.arange(bits - 1, bits - used - 1, -1)  # from the top bit down
    signed = weights[places] * (2 * (codes[:, None] >> places & 1) - 1)  # c_k t'_k
    features[:, 1 : used + 1] = 2 * middle * signed
    for apart in range(1, used):
        features[:, apart] += 2 * (signed[:, apart:] * signed[:, :-apart]).sum(1)
    return features
