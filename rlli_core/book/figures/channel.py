"""Figures of the link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from .look import canvas


def fading_density(gain: np.ndarray, densities: Mapping[str, np.ndarray], samples: np.ndarray) -> Axes:
    """Densities of the power gain in dB, with a histogram of samples of the first one."""
    ax = canvas(1, 5.4)[0]
    decibels = 10 * np.log10(gain)
    jacobian = gain * np.log(10) / 10  # density over dB
    shown = 10 * np.log10(samples)
    ax.hist(shown, bins=80, range=(decibels[0], decibels[-1]), density=True, color="0.85", label="sampled")
    for label, density in densities.items():
        ax.plot(decibels, density * jacobian, label=label)
    ax.set(xlabel="power gain $g$ (dB)", ylabel="probability density (1/dB)", ylim=(0, 1.5 * ax.get_ylim()[1]))
    ax.legend(loc="upper left")
    return ax


def bep_by_snr(snr_db: np.ndarray, curves: Mapping[str, np.ndarray], points: Mapping[str, tuple] | None = None) -> Axes:
    """Bit error probability against mean SNR per bit; points are (snr_db, bep) pairs from a simulation."""
    ax = canvas(1, 5.4, 3.6)[0]
    for colour, dashes, (label, curve) in zip(sns.color_palette("colorblind"), ("-", "--", "-.", ":"), curves.items()):
        ax.semilogy(snr_db, curve, dashes, label=label, color=colour)
        if points and label in points:
            ax.semilogy(*points[label], "o", color=colour, markersize=4)
    ax.set(xlabel="mean SNR per bit (dB)", ylabel="bit error probability", ylim=(1e-4, 0.6))
    ax.legend()
    return ax


def bep_by_power(power_dbw: np.ndarray, curves: Mapping[str, np.ndarray], marks: Sequence[tuple[float, float]]) -> Axes:
    """Bit error probability against transmit power, with the paper's operating points marked."""
    ax = canvas(1, 5.4)[0]
    for label, curve in curves.items():
        ax.semilogy(power_dbw, curve, label=label)
    for power, bep in marks:
        ax.plot(power, bep, "k*", markersize=12)
        ax.annotate(f"{power:g} dBW, {bep:.0%}", (power, bep), textcoords="offset points", xytext=(8, 6))
    ax.set(xlabel="transmit power (dBW)", ylabel="bit error probability")
    ax.legend()
    return ax
