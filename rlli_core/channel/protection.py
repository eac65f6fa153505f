"""What is done against bit errors: repetition, cyclic redundancy check with one retransmission (and `ldpc_code`: a real code).

Bits that matter more may get more of it: in an 8-bit value the top bit does three quarters of the damage, the top two 94 %.
Every protection takes the bits of the values as they are packed, adds its own redundancy, and says what is left of the errors
and how many bits it sent, so that airtime and energy are counted on what is really on the air.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InvalidArgument, check_integer, check_list

MOST_COPIES = 99
_CRC_BITS = 32


@dataclass(frozen=True)
class Delivery:
    """What arrives of a protected payload.

    Attributes:
        bits: the receiver's decision, uint8 of shape (values, bits a value), most significant first; 0 where nothing was sent.
        channel_bits: bits that were on the air.
        blocks, failed_blocks: blocks that carry a check, and those that failed it in the end, which the receiver knows.
    """

    bits: np.ndarray
    channel_bits: int
    blocks: int = 0
    failed_blocks: int = 0

    @property
    def failed(self) -> float | None:
        """Share of the blocks that failed; None without blocks."""
        return self.failed_blocks / self.blocks if self.blocks else None


class Protection(ABC):
    """How the bits of a latent's values are guarded on the air."""

    @abstractmethod
    def check(self, bits: int) -> None:
        """Raise `InvalidArgument` unless values of so many bits can be protected in this way."""

    @abstractmethod
    def send(self, bits: np.ndarray, bep: float, rng: np.random.Generator) -> Delivery:
        """Send bits, uint8 of shape (values, bits a value), over a memoryless symmetric channel of that BEP."""

    @abstractmethod
    def residual(self, bep: float, bits: int, failed: float | None = None) -> tuple[float | None, ...]:
        """Error probabilities that are left, one a bit of a value, most significant first.

        Args:
            bep: bit error probability on the air, in [0, 0.5].
            bits: bits a value.
            failed: share of the blocks that failed their check, as the receiver saw; None for what is to be expected.

        Returns:
            Probabilities in [0, 0.5]; None for a bit that is not sent.
        """

    @abstractmethod
    def expected_bits(self, values: int, bits: int, bep: float) -> float:
        """Bits on the air, on average, for so many values."""


@dataclass(frozen=True)
class Repetition(Protection):
    """Each bit is sent an odd number of times of its own, and the majority counts.

    Of c copies, each wrong with probability p, more than half are wrong with probability
    sum_{j > c / 2} C(c, j) p^j (1 - p)^(c - j)  (Proakis & Salehi, Digital Communications, 5th ed., ch. 7: repetition codes).

    Args:
        counts: copies of each bit of a value, most significant first, odd, up to 99; 0: the bit is not sent and is read as
            halfway between its two values.

    Raises:
        InvalidArgument: an even count, none at all, nothing sent.

    >>> [round(error, 5) for error in Repetition((3, 1)).residual(0.1, bits=2)]
    [0.028, 0.1]
    """

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        counts = tuple(check_integer("counts", count, 0, MOST_COPIES) for count in check_list("counts", self.counts))
        if not any(counts) or any(count % 2 == 0 for count in counts if count):
            raise InvalidArgument("counts", self.counts, "odd numbers, or 0 for a bit that is not sent, and not all 0")
        object.__setattr__(self, "counts", counts)

    def check(self, bits: int) -> None:
        if len(self.counts) != bits:
            raise InvalidArgument("protection", self, f"Repetition of {bits} counts, one a bit, where a value has {bits} bits")

    def send(self, bits: np.ndarray, bep: float, rng: np.random.Generator) -> Delivery:
        counts = np.array(self.counts)
        wrong = rng.binomial(counts, bep, size=bits.shape)  # copies that are flipped
        received = np.where(counts > 0, bits ^ (2 * wrong > counts), 0).astype(np.uint8)
        return Delivery(received, int(counts.sum()) * len(bits))

    def residual(self, bep: float, bits: int, failed: float | None = None) -> tuple[float | None, ...]:
        self.check(bits)
        return tuple(majority_error(count, bep) if count else None for count in self.counts)

    def expected_bits(self, values: int, bits: int, bep: float) -> float:
        return values * sum(self.counts)


@dataclass(frozen=True)
class Retransmission(Protection):
    """Blocks carry a CRC-32; a block that fails is sent once more, and its second copy is kept even if it fails too.

    A block of n bits, check included, fails with probability q = 1 - (1 - p)^n; a bit is wrong in the end if the first copy
    fails and the second is wrong there: q p, at n (1 + q) bits on the air on average. A check that passes a damaged block by
    chance (2^-32) is left out; so are the acknowledgements.

    Args:
        block_bits: payload bits a block, a multiple of 8, from 8 to 2^20; the last block is filled up with zeros.

    Raises:
        InvalidArgument: a length outside these.

    >>> round(Retransmission(block_bits=224).residual(0.001, bits=1)[0] / 0.001, 3)
    0.226
    """

    block_bits: int = 1024

    def __post_init__(self) -> None:
        if check_integer("block_bits", self.block_bits, 8, 2**20) % 8:
            raise InvalidArgument("block_bits", self.block_bits, "a multiple of 8")

    def check(self, bits: int) -> None:
        """Any values will do."""

    def send(self, bits: np.ndarray, bep: float, rng: np.random.Generator) -> Delivery:
        blocks = in_rows(bits.reshape(-1), self.block_bits)
        octets = np.packbits(blocks, axis=1)
        checks = np.array([zlib.crc32(row) for row in octets], ">u4").view(np.uint8).reshape(-1, _CRC_BITS // 8)
        words = np.unpackbits(np.hstack([octets, checks]), axis=1)
        received = words ^ (rng.random(words.shape) < bep)
        failed = np.flatnonzero(~_passes(received))
        received[failed] = words[failed] ^ (rng.random((failed.size, words.shape[1])) < bep)
        lost = int((~_passes(received[failed])).sum())
        kept = received[:, : self.block_bits].reshape(-1)[: bits.size].reshape(bits.shape)
        return Delivery(kept, (len(words) + failed.size) * words.shape[1], len(words), lost)

    def residual(self, bep: float, bits: int, failed: float | None = None) -> tuple[float | None, ...]:
        first = self._failure(bep)
        wrong = first * bep if failed is None else failed * bep / first if first else 0.0
        return (min(wrong, 0.5),) * bits

    def expected_bits(self, values: int, bits: int, bep: float) -> float:
        return math.ceil(values * bits / self.block_bits) * (self.block_bits + _CRC_BITS) * (1 + self._failure(bep))

    def _failure(self, bep: float) -> float:
        """Probability that a copy of a block is damaged."""
        return -math.expm1((self.block_bits + _CRC_BITS) * math.log1p(-bep))


@lru_cache(maxsize=1024)
def majority_error(copies: int, bep: float) -> float:
    """Probability that more than half of an odd number of copies are wrong."""
    return sum(math.comb(copies, j) * bep**j * (1 - bep) ** (copies - j) for j in range(copies // 2 + 1, copies + 1))


def in_rows(bits: np.ndarray, length: int) -> np.ndarray:
    """Bits of shape (n,) in rows of `length`, the last one filled up with zeros."""
    return np.pad(bits, (0, -bits.size % length)).reshape(-1, length)


def _passes(words: np.ndarray) -> np.ndarray:
    """Which rows of bits end in the CRC-32 of what stands before it."""
    octets = np.packbits(words, axis=1)
    found = [zlib.crc32(row[:-4]) == int.from_bytes(row[-4:].tobytes(), "big") for row in octets]
    return np.array(found, bool)
