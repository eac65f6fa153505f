"""Few bits sent often, or many sent once? The best use of so many channel bits a value at a BEP, by search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import check_choice, check_integer, check_number
from .codec import UNIFORM_FORMATS
from .damage import code_moments, unit_moments
from .protection import Repetition

RECEIVERS = ("paper", "noise-aware")
MOST_CHANNEL_BITS = 16
_MOST_BITS = 8
_GRID = 2001  # values at which the error is averaged


@dataclass(frozen=True)
class PackedCode:
    """A use of channel bits: `bits` a value, each sent as often as `counts` says, most significant first.

    Attributes:
        bits: bits a value, 1 to 8.
        counts: odd, one a bit.
        mean_square_error: of the received value, quantisation included, in units of the value's variance.
    """

    bits: int
    counts: tuple[int, ...]
    mean_square_error: float

    @property
    def protection(self) -> Repetition | None:
        """What a `Link` with these `bits` is to be given; None where every bit is sent once."""
        return Repetition(self.counts) if max(self.counts) > 1 else None


def best_packed_code(
    bep: float, channel_bits: int = 8, *, receiver: str = "paper", number_format: str = "uniform", width: float = 6.5
) -> PackedCode:
    """The bits and repetition counts that bring a normally distributed value through with the least mean square error.

    All codes of 1 to 8 bits are tried whose counts are odd and add up to at most `channel_bits`. (In the Gray code it may be
    the second bit that needs the copies: values near the middle, the most frequent, lose little by a wrong top bit.)
    "noise-aware" undoes the bias, so that variance / bias^2 and quantisation are left; what is left is a noise that a diffusion
    model takes out, while "paper" takes the value as it comes. The error is exact: the closed moments of each level, averaged
    over the values.

    Args:
        bep: bit error probability in [0, 0.49].
        channel_bits: bits on air a value, 1 to 16.
        receiver: "paper" or "noise-aware".
        number_format: "uniform" or "gray".
        width: range of the code in standard deviations of the value, 1 to 20; 6.5 is that of a thousand normal values.

    Raises:
        InvalidArgument: an argument outside these.

    >>> [best_packed_code(bep).counts for bep in (0.001, 0.02, 0.15)]
    [(3, 1, 1, 1, 1, 1), (3, 3, 1, 1), (5, 1, 1, 1)]
    """
    bep = check_number("bep", bep, 0.0, 0.49)
    check_integer("channel_bits", channel_bits, 1, MOST_CHANNEL_BITS)
    check_choice("receiver", receiver, RECEIVERS)
    check_choice("number_format", number_format, UNIFORM_FORMATS)
    check_number("width", width, 1.0, 20.0)
    codes = (
        PackedCode(len(counts), counts, packed_error(bep, counts, receiver=receiver, number_format=number_format, width=width))
        for bits in range(1, min(channel_bits, _MOST_BITS) + 1)
        for counts in _odd_counts(bits, channel_bits)
    )
    return min(codes, key=lambda code: code.mean_square_error)


def packed_error(
    bep: float, counts: tuple[int, ...], *, receiver: str = "paper", number_format: str = "uniform", width: float = 6.5
) -> float:
    """Mean square error of a received value of unit variance; arguments as in `best_packed_code` and `PackedCode`."""
    bits = len(counts)
    errors = Repetition(counts).residual(bep, bits)
    values = np.linspace(-width / 2, width / 2, _GRID)
    chances = np.exp(-(values**2) / 2)
    chances /= chances.sum()
    codes = np.rint((values / width + 0.5) * (2**bits - 1)).astype(int)
    mean, variance = code_moments(bits, errors, number_format, -width / 2, width / 2)
    bias = unit_moments(number_format, errors).bias if receiver == "noise-aware" else 1.0
    return float(chances @ ((mean[codes] / bias - values) ** 2 + variance[codes] / bias**2))


def _odd_counts(bits: int, total: int) -> Iterator[tuple[int, ...]]:
    """All odd counts for `bits` bits that add up to at most `total`."""
    if not bits:
        yield ()
        return
    for count in range(1, total - bits + 2, 2):
        for rest in _odd_counts(bits - 1, total - count):
            yield (count, *rest)
