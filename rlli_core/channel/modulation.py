"""Bit error probability (BEP) of binary modulations, at one SNR and averaged over the fading.

Every `snr` here is linear and per bit, Eb/N0 (not in dB, not per symbol).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from ..errors import InvalidArgument, check_choice
from .fading import FisherSnedecorF

# BEP against Eb/N0: Proakis & Salehi, Digital Communications (5th ed.), ch. 4. QPSK with Gray labels is two BPSK
# signals in quadrature, so per bit it errs as BPSK does; it needs half the bandwidth.
BEP = {
    "bpsk": lambda snr: 0.5 * special.erfc(np.sqrt(snr)),
    "qpsk": lambda snr: 0.5 * special.erfc(np.sqrt(snr)),
    "dpsk": lambda snr: 0.5 * np.exp(-snr),
    "noncoherent_bfsk": lambda snr: 0.5 * np.exp(-snr / 2),
}
MODULATIONS = tuple(BEP)


def conditional_bep(modulation: str, snr: float | np.ndarray) -> np.ndarray:
    """BEP in white Gaussian noise at a known SNR.

    Args:
        modulation: "bpsk", "qpsk" (Gray labels), "dpsk" (binary, differentially coherent) or "noncoherent_bfsk"
            (orthogonal tones).
        snr: Eb/N0, linear, 0 or more, any shape.

    Returns:
        BEP in [0, 0.5], float64, shape of `snr`.

    Raises:
        InvalidArgument: an unknown modulation; a negative or non-finite SNR.

    >>> round(float(conditional_bep("dpsk", 2.0)), 4)
    0.0677
    """
    return BEP[check_modulation(modulation)](check_array("snr", snr)[()])


def average_bep(modulation: str, fading: FisherSnedecorF, mean_snr: float | np.ndarray) -> np.ndarray:
    """BEP averaged over the fading, E[BEP(mean_snr * g)].

    Args:
        modulation: as in `conditional_bep`.
        fading: law of the unit-mean power gain g.
        mean_snr: mean Eb/N0, linear, 0 or more, any shape.

    Returns:
        BEP in [0, 0.5], float64, shape of `mean_snr`.

    Raises:
        InvalidArgument: as `conditional_bep`; a `fading` that is no fading law.

    >>> round(float(average_bep("bpsk", FisherSnedecorF(2.0, 1.5), 6.45)), 3)
    0.05
    """
    bep, mean_snr = BEP[check_modulation(modulation)], check_array("mean_snr", mean_snr)
    if not isinstance(fading, FisherSnedecorF):
        raise InvalidArgument("fading", fading, "a FisherSnedecorF")
    return fading.average(lambda gain: bep(np.multiply.outer(gain, mean_snr)))


def check_modulation(modulation: str) -> str:
    """Return `modulation`, or raise `InvalidArgument` when it has no BEP here."""
    return check_choice("modulation", modulation, MODULATIONS)


def check_array(name: str, value: float | np.ndarray, low: float = 0.0, high: float = 1e100) -> np.ndarray:
    """Return `value` as float64, or raise `InvalidArgument` unless every entry is within [low, high]."""
    if type(value) is float and low <= value <= high:
        return np.asarray(value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # lists of unequal length, what cannot be an array
        array = np.empty(0, object)
    numbers = array.astype(np.float64) if array.dtype.kind in "iuf" else np.array(np.nan)
    if numbers.size and not (low <= numbers.min() and numbers.max() <= high):  # NaN is neither
        raise InvalidArgument(name, value, f"a number or an array of numbers within [{low:g}, {high:g}]")
    return numbers
