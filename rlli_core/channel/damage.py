"""What flipped bits do to a value: the first two moments of the damage, exact for the uniform code.

A B-bit code spreads 2^B levels evenly over [low, high], w = high - low. With each bit written as t_k = +1 or -1, k = 0 the
least significant, level and middle are tied by

    x - middle = sum_k c_k t_k,   c_k = 2^(k-1) w / (2^B - 1).

A bit that is wrong with probability e_k keeps 1 - 2 e_k of itself on average, E[t'_k | t_k] = (1 - 2 e_k) t_k, and its
variance is 4 e_k (1 - e_k). With one e = p for all bits the natural binary code ("uniform") therefore gives, for every x,

    E[y | x] - middle = (1 - 2 p) (x - middle),   Var[y | x] = p (1 - p) (4^B - 1) / 3 (w / (2^B - 1))^2.

In the Gray code ("gray", binary reflected: Proakis & Salehi, Digital Communications, 5th ed., ch. 3) a bit of the level is
the product of the Gray bits from the top down to it, so one wrong bit turns all below it: t_k keeps prod_{j >= k} (1 - 2 e_j).
The mean is then no line in x any more; nor is it in natural binary where the bits are not all equally safe.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InvalidArgument, check_choice, check_integer, check_number
from .codec import NUMBER_FORMATS, UNIFORM_FORMATS

MOST_BITS = 16
BitErrors = float | Sequence[float | None]


@dataclass(frozen=True)
class Moments:
    """What a channel makes of a value x: bias * x + offset, and noise of that variance.

    Attributes:
        bias: slope of the mean of what is received against what was sent, in [0, 1].
        offset: what is added, in units of the value.
        variance: mean square of what the line does not explain, in units of the value squared; None where it has no bound
            that means anything (a float format's flipped exponent bit).
    """

    bias: float = 1.0
    offset: float = 0.0
    variance: float | None = 0.0

    def after(self, first: Moments) -> Moments:
        """The moments of two hops: those of `first`, then these.

        >>> Moments(0.5, 1.0, 0.25).after(Moments(0.5, 2.0, 1.0))
        Moments(bias=0.25, offset=2.0, variance=0.5)
        """
        variance = None if self.variance is None or first.variance is None else self.variance + self.bias**2 * first.variance
        return Moments(self.bias * first.bias, self.offset + self.bias * first.offset, variance)

    def before(self, last: Moments) -> Moments:
        """The moments of the hops before `last`, where these are of all together; of none where `last` left nothing of them.

        >>> Moments(0.25, 2.0, 0.5).before(Moments(0.5, 1.0, 0.25))
        Moments(bias=0.5, offset=2.0, variance=1.0)
        """
        if not last.bias:
            return Moments()
        variance = None
        if self.variance is not None and last.variance is not None:
            variance = max(self.variance - last.variance, 0.0) / last.bias**2
        return Moments(self.bias / last.bias, (self.offset - last.offset) / last.bias, variance)

    def over(self, low: float, high: float) -> Moments:
        """The moments on [low, high] of a code whose moments these are on [-0.5, 0.5]."""
        variance = None if self.variance is None else self.variance * (high - low) ** 2
        return Moments(self.bias, (1 - self.bias) * (low + high) / 2, variance)


def moments(bits: int, bep: BitErrors, number_format: str = "uniform", low: float = 0.0, high: float = 1.0) -> Moments:
    """First two moments of what independent bit errors do to a quantised value; quantisation itself is not counted.

    Exact for natural binary and one BEP for all bits. Otherwise the mean is not a line in x, and this is the line that fits
    best where all codes are used equally often; the variance is then the mean square of all that the line leaves: the noise,
    and how far the mean strays from the line.

    Args:
        bits: B, bits a value, 1 to 16; a float format has its own width, whatever is said here.
        bep: bit error probability in [0, 0.5], or a sequence of one a bit, most significant first, with None for a bit that is
            not sent and read as halfway between its two values.
        number_format: "uniform" (natural binary), "gray", or a float format, whose variance is None at a BEP above 0.
        low, high: range of the code, in units of the value.

    Raises:
        InvalidArgument: an argument outside these.

    >>> moments(8, 0.05, low=-4.0, high=4.0).bias
    0.9
    >>> [round(moments(8, 0.05, code, low=-4.0, high=4.0).variance, 3) for code in ("uniform", "gray")]
    [1.021, 1.298]
    """
    check_choice("number_format", number_format, NUMBER_FORMATS)
    return unit_moments(number_format, check_errors(bits, bep)).over(*_check_range(low, high))


def code_moments(
    bits: int, bep: BitErrors, number_format: str = "uniform", low: float = 0.0, high: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean and variance of what is received, for each level that may have been sent.

    Args:
        bits, bep, low, high: as in `moments`.
        number_format: "uniform" or "gray".

    Returns:
        Mean and variance, float64 of shape (2^bits,) each, from the lowest level to the highest.

    Raises:
        InvalidArgument: an argument outside these.

    >>> mean, variance = code_moments(1, 0.25)
    >>> mean, variance
    (array([0.25, 0.75]), array([0.1875, 0.1875]))
    """
    check_choice("number_format", number_format, UNIFORM_FORMATS)
    errors = check_errors(bits, bep)
    low, high = _check_range(low, high)
    codes = np.arange(2**bits)
    sent = codes ^ codes >> 1 if number_format == "gray" else codes
    mean, variance = np.zeros(codes.size), np.zeros(codes.size)
    for place, error in enumerate(reversed(errors)):  # from the least significant bit up
        weight = (high - low) / (2**bits - 1) * 2.0 ** (place - 1)
        sign = 1 - 2 * (sent >> place & 1)
        kept, power, noise = _kept(error)
        if number_format == "gray":  # Horner: a Gray bit turns its own place and all below it
            mean += weight
            mean, variance = kept * sign * mean, power * variance + noise * mean**2
        else:
            mean, variance = mean + kept * sign * weight, variance + noise * weight**2
    return (low + high) / 2 - mean, variance


def check_errors(bits: int, bep: BitErrors) -> tuple[float | None, ...]:
    """Error probabilities of the `bits` bits of a value, most significant first, or raise `InvalidArgument`."""
    check_integer("bits", bits, 1, MOST_BITS)
    if isinstance(bep, numbers.Real):
        return (check_number("bep", bep, 0.0, 0.5),) * bits
    if isinstance(bep, (str, bytes)) or not isinstance(bep, Sequence) or len(bep) != bits:
        raise InvalidArgument("bep", bep, f"a number in [0, 0.5] or a sequence of {bits}, one a bit")
    return tuple(None if error is None else check_number("bep", error, 0.0, 0.5) for error in bep)


def level_errors(number_format: str, errors: tuple[float | None, ...]) -> tuple[float | None, ...]:
    """Error probabilities of the bits of the level: of a Gray label, of an odd number of errors from the top down to there."""
    if number_format != "gray":
        return errors
    found: list[float | None] = []
    above: float | None = 0.0
    for error in errors:
        above = None if above is None or error is None else above * (1 - error) + error * (1 - above)
        found.append(above)
    return tuple(found)


@lru_cache(maxsize=1024)
def equal_bits(number_format: str, bits: int, bep: float) -> Moments:
    """`unit_moments` where all bits have the same BEP: kept, since one link sends many latents."""
    return unit_moments(number_format, (bep,) * bits)


def unit_moments(number_format: str, errors: tuple[float | None, ...]) -> Moments:
    """Moments of a code over [-0.5, 0.5]."""
    if number_format not in UNIFORM_FORMATS:
        return Moments(variance=None if any(errors) else 0.0)
    bits = len(errors)
    kept, power, noise = zip(*map(_kept, level_errors(number_format, errors)))
    weights = [4.0**place for place in reversed(range(bits))]
    equal = len(set(kept)) == 1
    bias = kept[0] if equal else sum(w * r for w, r in zip(weights, kept)) / sum(weights)
    residue = sum(w * (n + (r - bias) ** 2) for w, n, r in zip(weights, noise, kept))
    return Moments(bias, 0.0, residue / (2 * (2**bits - 1)) ** 2)


def _kept(error: float | None) -> tuple[float, float, float]:
    """What is left of a bit +-1 on average, its mean square, and its variance: a bit that is not sent is read as 0."""
    return (0.0, 0.0, 0.0) if error is None else (1 - 2 * error, 1.0, 4 * error * (1 - error))


def _check_range(low: float, high: float) -> tuple[float, float]:
    low = check_number("low", low, -1e100, 1e100)
    return low, check_number("high", high, low, 1e100)
