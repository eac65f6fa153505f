"""A low-density parity-check code on the most significant bits, decoded by belief propagation (library `ldpc`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

from ..errors import InvalidArgument, check_integer, check_number
from .protection import Delivery, Protection, in_rows

_HEAVY_SHARE, _HEAVY, _LIGHT = 0.4, 8, 3  # data bits in 8 checks, the others in 3, as in the rate-1/2 code of DVB-S2
_TRIALS = 200  # codewords sent to find how many fail


@dataclass(frozen=True)
class Ldpc(Protection):
    """The top bits of each value in the codewords of a systematic LDPC code; the other bits go unprotected.

    An irregular repeat-accumulate code (Jin, Khandekar & McEliece, 2000; the kind that DVB-S2, ETSI EN 302 307, uses): each
    check is the sum of some data bits, and parity bits are the running sum of the checks, so encoding inverts no matrix. Its
    graph is drawn once by progressive edge growth (Hu, Eleftheriou & Arnold, IEEE Trans. Inf. Theory 51(1), 2005), which keeps
    short cycles out. The receiver decodes by the sum-product algorithm with the true BEP of the hop. It knows which codewords
    fail their parity checks; of those it keeps the data bits as they came, so their error probability is about the BEP (a
    little more, since it is the worse draws that fail). Needs the extra `coding`.

    Args:
        rate: data bits to codeword bits, 0.2 to 0.9; rounded to a whole number of data bits.
        protected: most significant bits of each value that are coded, 1 or more; None: all.
        length: bits a codeword, 100 to 4096; the last codeword is filled up with zeros.
        iterations: of belief propagation at most, 1 or more.
        seed: of the graph.

    Raises:
        InvalidArgument: an argument outside these; where it is used: a value with fewer bits, or no library `ldpc`.

    >>> Ldpc(rate=0.5, protected=2).expected_bits(values=1024, bits=6, bep=0.05)  # 4 codewords and 4 plain bits a value
    8192
    """

    rate: float = 0.5
    protected: int | None = None
    length: int = 1024
    iterations: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("rate", self.rate, 0.2, 0.9)
        if self.protected is not None:
            check_integer("protected", self.protected, 1, 16)
        check_integer("length", self.length, 100, 4096)
        check_integer("iterations", self.iterations, 1, 10_000)
        check_integer("seed", self.seed, 0)

    @property
    def data_bits(self) -> int:
        """Data bits a codeword."""
        return round(self.rate * self.length)

    def check(self, bits: int) -> None:
        if self.protected is not None and self.protected > bits:
            raise InvalidArgument("protection", self, f"Ldpc(protected=1 to {bits}) where a value has {bits} bits")

    def send(self, bits: np.ndarray, bep: float, rng: np.random.Generator) -> Delivery:
        top = self.protected or bits.shape[1]
        coded, plain = bits[:, :top], bits[:, top:]
        decided, failed = self._deliver(in_rows(coded.reshape(-1), self.data_bits), bep, rng)
        rest = plain ^ (rng.random(plain.shape) < bep)
        kept = decided.reshape(-1)[: coded.size].reshape(coded.shape)
        return Delivery(np.hstack([kept, rest]), failed.size * self.length + plain.size, failed.size, int(failed.sum()))

    def residual(self, bep: float, bits: int, failed: float | None = None) -> tuple[float | None, ...]:
        """As in `Protection`: the share of the codewords that failed times the BEP; expected: by a cached simulation."""
        self.check(bits)
        top = self.protected or bits
        return ((self.failure(bep) if failed is None else failed) * bep,) * top + (bep,) * (bits - top)

    def expected_bits(self, values: int, bits: int, bep: float) -> float:
        top = self.protected or bits
        return math.ceil(values * top / self.data_bits) * self.length + values * (bits - top)

    def failure(self, bep: float) -> float:
        """Share of the codewords that fail at this BEP, among 200 sent."""
        return _failure(Ldpc(self.rate, None, self.length, self.iterations, self.seed), bep)

    def _deliver(self, data: np.ndarray, bep: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Data bits decided, shape of `data` (codewords, data bits), and which codewords failed."""
        size = self.data_bits
        checks = parity_checks(size, self.length - size, self.seed)
        words = np.hstack([data, encode_data(checks, data)])
        received = words ^ (rng.random(words.shape) < bep).astype(np.uint8)
        decoder, failed = _decoder(size, self.length - size, self.seed, self.iterations, bep), np.zeros(len(words), bool)
        for index, word in enumerate(received):
            decided = decoder.decode(word)
            failed[index] = not decoder.converge
            if decoder.converge:
                received[index] = decided
        return received[:, :size], failed


def encode_data(checks: sparse.csr_matrix, data: np.ndarray) -> np.ndarray:
    """Parity bits of data bits, uint8 of shape (codewords, data bits): the running sum of the checks, modulo 2."""
    sums = data.astype(np.int64) @ checks[:, : data.shape[1]].T.astype(np.int64)
    return (np.cumsum(sums, axis=1) % 2).astype(np.uint8)


@lru_cache(maxsize=16)
def parity_checks(data: int, parity: int, seed: int) -> sparse.csr_matrix:
    """Parity-check matrix [A | D], uint8 of shape (parity, data + parity); D has ones on its diagonal and just below it."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((parity, data + parity), bool)
    row = np.arange(parity)
    matrix[row, data + row] = matrix[row[1:], data + row[:-1]] = True
    near = np.eye(parity, dtype=bool)  # checks that share a bit
    near[row[1:], row[:-1]] = near[row[:-1], row[1:]] = True
    near = np.packbits(near, axis=1)
    load = matrix.sum(1)
    light = data - round(_HEAVY_SHARE * data)
    for bit in range(data):
        heavy = bit >= light  # bits of few checks first: they have the first choice
        for _ in range(_HEAVY if heavy else _LIGHT):
            allowed = _farthest(matrix[:, bit], near)
            least = allowed & (load == load[allowed].min())
            check = rng.choice(np.flatnonzero(least))
            joined = np.flatnonzero(matrix[:, bit])
            matrix[check, bit] = True
            load[check] += 1
            near[joined, check // 8] |= np.uint8(128 >> check % 8)
            near[check] |= np.packbits(matrix[:, bit])
    return sparse.csr_matrix(matrix.astype(np.uint8))


def _farthest(own: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Checks that a bit reaches last, or not at all, by walking the graph from the checks it is in already."""
    if not own.any():
        return ~own
    reached = own
    while True:
        wider = np.unpackbits(np.bitwise_or.reduce(near[reached], axis=0), count=own.size).astype(bool)
        if wider.all() or (wider == reached).all():
            return ~reached if not reached.all() else ~own
        reached = wider


@lru_cache(maxsize=64)
def _decoder(data: int, parity: int, seed: int, iterations: int, bep: float) -> Any:
    """Belief propagation for a known BEP; it is kept away from 0 and 0.5, where there is nothing to weigh up."""
    try:
        from ldpc import BpDecoder
    except ImportError as error:
        raise InvalidArgument(
            "protection", "Ldpc", "another one without the library ldpc; `pip install 'rlli_core[coding]'` gets it"
        ) from error
    return BpDecoder(
        parity_checks(data, parity, seed),
        error_rate=min(max(bep, 1e-6), 0.4999),
        max_iter=iterations,
        bp_method="product_sum",
        input_vector_type="received_vector",
    )


@lru_cache(maxsize=256)
def _failure(code: Ldpc, bep: float) -> float:
    rng = np.random.default_rng(code.seed)
    return float(code._deliver(rng.integers(0, 2, (_TRIALS, code.data_bits), np.uint8), bep, rng)[1].mean())
