"""Fisher-Snedecor F fading: the law of the channel gain g in the paper (its ref. [59])."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special, stats

from ..errors import check_integer, check_number

MOST_SHAPE = 1e8  # of m and m_s: there the law is a point to eight digits, and double precision still tells it
MOST_SAMPLES = 10**8  # 0.8 GB
_STREAM = zlib.crc32(b"channel.fading")  # keeps these draws apart from other stages given the same seed

# Quadrature in y = ln g. The integrands are analytic for |Im y| < pi/2, where the trapezoid rule with step h errs by
# about exp(-pi^2 / h), so h = 0.25 is exact to double precision; a narrow law needs steps of half its own width.
_STEP = 0.25
_LEFT_MASS, _RIGHT_MASS = 1e-40, 1e-18  # probability cut off at each end; deep fades decide the BEP at high SNR


@dataclass(frozen=True)
class FisherSnedecorF:
    """Composite fading: Nakagami-m multipath whose mean power is shadowed by an inverse Nakagami-m variable.

    Convention: the power gain g has unit mean, E[g] = 1, so that the mean SNR of a link is a mean. Its density is

        f(g) = m^m (m_s - 1)^m_s g^(m-1) / (B(m, m_s) (m g + m_s - 1)^(m + m_s)),   g > 0,

    that is, g = scale * X with X ~ F(2 m, 2 m_s) and scale = (m_s - 1) / m_s. Yoo et al., IEEE Commun. Lett. 21(7),
    2017, use X itself, of mean m_s / (m_s - 1), and call "mean SNR" the quantity that is here scale times the mean
    SNR: at m_s = 1.5 their number is 4.8 dB lower for the same channel. The mean is finite for m_s > 1 only.

    Args:
        severity: m, from 0.5 to 1e8; larger means milder multipath (1 is Rayleigh before shadowing).
        shadowing: m_s, above 1, up to 1e8; larger means lighter shadowing (Nakagami-m in the limit).

    Raises:
        InvalidArgument: a parameter outside its range.

    >>> round(float(FisherSnedecorF(severity=2.0, shadowing=1.5).cdf(1.0)), 3)
    0.803
    """

    severity: float = 2.0
    shadowing: float = 1.5

    def __post_init__(self) -> None:
        check_number("severity", self.severity, 0.5, MOST_SHAPE)
        check_number("shadowing", self.shadowing, 1.0, MOST_SHAPE, open_low=True)

    @property
    def scale(self) -> float:
        """(m_s - 1) / m_s: factor from the F(2 m, 2 m_s) variable of Yoo et al. to the unit-mean gain."""
        return (self.shadowing - 1) / self.shadowing

    @property
    def _law(self) -> stats.distributions.rv_frozen:
        return stats.f(2 * self.severity, 2 * self.shadowing, scale=self.scale)

    def sample(self, size: int | tuple[int, ...], seed: int) -> np.ndarray:
        """Draw independent power gains: float64 array of shape `size`; the same seed gives the same gains."""
        lengths = size if isinstance(size, tuple) else (size,)
        for length in lengths:
            check_integer("size", length, 0, MOST_SAMPLES)
        check_integer("size", math.prod(lengths), 0, MOST_SAMPLES)
        rng = np.random.default_rng((check_integer("seed", seed, 0), _STREAM))
        return self.scale * rng.f(2 * self.severity, 2 * self.shadowing, size)

    def pdf(self, gain: float | np.ndarray) -> np.ndarray:
        """Density of the power gain (linear), elementwise; 0 below 0."""
        return self._law.pdf(gain)

    def cdf(self, gain: float | np.ndarray) -> np.ndarray:
        """Probability that the power gain is at most `gain` (linear), elementwise."""
        return self._law.cdf(gain)

    def average(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Expectation E[function(g)] by quadrature, for a bounded function that is smooth in ln g.

        Args:
            function: takes gains of shape (n,), returns values of shape (n,) or (n, ...).

        Returns:
            The expectation, of shape () or (...).
        """
        gains, weights = _nodes(self.severity, self.shadowing)
        return np.tensordot(weights, function(gains), axes=1)[()]


@lru_cache(maxsize=64)
def _nodes(severity: float, shadowing: float) -> tuple[np.ndarray, np.ndarray]:
    """Trapezoid nodes g_i and weights w_i in ln g, so that E[function(g)] = sum_i w_i function(g_i)."""
    # g = (m_s - 1) / m * b / (1 - b) with b ~ Beta(m, m_s); each tail from its own inverse, for full precision
    low = special.betaincinv(severity, shadowing, _LEFT_MASS)
    high = special.betaincinv(shadowing, severity, _RIGHT_MASS)
    width = np.sqrt(special.polygamma(1, severity) + special.polygamma(1, shadowing))  # standard deviation of ln g
    log_odds = np.arange(special.logit(low), -special.logit(high), min(_STEP, width / 2))
    log_weights = severity * log_odds - (severity + shadowing) * np.logaddexp(0, log_odds)
    weights = np.exp(log_weights - log_weights.max())
    return (shadowing - 1) / severity * np.exp(log_odds), weights / weights.sum()
