"""The pictures to play with of the pages "From the beginning": data in, axes out, with the look of `rlli_core.book.figures`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from ..figures.look import canvas
from .toys import LEADS, SHARES, WISHES, Snapshot

TIGER, DOG, WRONG = (sns.color_palette("colorblind")[i] for i in (1, 0, 3))


def chains(values: np.ndarray, shared: int, ends: Mapping[str, np.ndarray]) -> np.ndarray:
    """Chains of one number, coloured by whose steps they are, and where they end beside chains of other kinds.

    Args:
        values: after each step, (steps + 1, n), from `toys.walk` towards the tiger for `shared` steps and then the dog.
        ends: by name, many ends of chains each, drawn as densities.
    """
    axes = canvas(2, 4.2, 3.4, sharey=True, gridspec_kw={"width_ratios": [1.7, 1]})
    steps = np.arange(len(values))
    axes[0].plot(steps[: shared + 1], values[: shared + 1], color=TIGER, linewidth=0.9, alpha=0.7)
    axes[0].plot(steps[shared:], values[shared:], color=DOG, linewidth=0.9, alpha=0.7)
    axes[0].axvline(shared, color="0.4", linestyle="--", linewidth=1)
    for wish, colour in (("tiger", TIGER), ("dog", DOG)):
        axes[0].axhline(WISHES[wish], color=colour, linestyle=":", linewidth=1.2)
    axes[0].set(xlabel="denoising steps taken", ylabel="the number (−1 tiger, +1 dog)", ylim=(-3, 3))
    axes[0].set_title("orange towards the tiger, blue towards the dog", fontsize=9)
    for colour, dashes, (name, found) in zip((TIGER, DOG, "black"), (":", "--", "-"), ends.items()):
        if found.std() > 1e-6:
            sns.kdeplot(y=found, ax=axes[1], color=colour, linestyle=dashes, label=name)
        else:  # after a single step all end at one point
            axes[1].axhline(found[0], color=colour, linestyle=dashes, label=name)
    axes[1].set(xlabel="density of the ends")
    axes[1].legend(loc="lower right", fontsize=7)
    return axes


def bits(gains: np.ndarray, values: np.ndarray, snr_db: np.ndarray, curves: Mapping[str, np.ndarray], now: float) -> np.ndarray:
    """Received bits against the gain of their moment, and bit error probability against mean SNR, marked at `now` dB.

    Args:
        gains, values: of the bits, from `toys.received`.
        curves: bit error probabilities at `snr_db`, by name; the first one is the link's whose bits are shown.
    """
    axes = canvas(2, 4.2, 3.4)
    wrong = values < 0
    for chosen, colour, marker, name in ((~wrong, DOG, "o", "right"), (wrong, WRONG, "X", "wrong")):
        place = 10 * np.log10(gains[chosen])
        axes[0].scatter(place, values[chosen], color=colour, marker=marker, s=14, linewidth=0, alpha=0.7, label=name)
    axes[0].axhline(0, color="0.3", linewidth=1)
    axes[0].set(xlabel="power gain of the moment (dB)", ylabel="received value (noise's st. dev.)", xlim=(-25, 15))
    axes[0].legend(title=f"{wrong.sum()} of {len(values)} wrong", loc="upper left")
    for dashes, (name, curve) in zip(("-", "--", ":"), curves.items()):
        axes[1].semilogy(snr_db, curve, dashes, label=name)
    axes[1].plot(now, np.interp(now, snr_db, next(iter(curves.values()))), "k*", markersize=12)
    axes[1].set(xlabel="mean SNR per bit (dB)", ylabel="bit error probability", ylim=(1e-6, 0.6))
    axes[1].legend()
    return axes


def landscapes(true: np.ndarray, snapshot: Snapshot) -> np.ndarray:
    """Reward over state and action, true and as the critic believes, with the actor's choices on both.

    Args:
        true: reward on the grid of `toys.LEADS` and `toys.SHARES`, (L, S).
    """
    axes = canvas(2, 4.2, 3.4, sharey=True)
    best = SHARES[true.argmax(1)]
    for ax, values, title in ((axes[0], true, "what it brings"), (axes[1], snapshot.believed, "what the critic expects")):
        shades = ax.pcolormesh(LEADS, SHARES, values.T, cmap="viridis", vmin=0.4, vmax=1, shading="nearest", rasterized=True)
        ax.plot(LEADS, best, color="black", linestyle="--", linewidth=1.5, label="best")
        ax.plot(LEADS, snapshot.shares, color="crimson", linewidth=2.5, label="actor")
        ax.set(xlabel="first user's channel is better by (dB)", ylim=(-0.04, 1.04))
        ax.set_title(f"{title}, after {snapshot.rounds} rounds" if values is not true else title, fontsize=10)
        ax.grid(visible=False)
    axes[0].set(ylabel="first user's share of the power")
    axes[0].legend(loc="lower left")
    axes[0].figure.colorbar(shades, ax=axes, label="mean quality of the two users")
    return axes


def lines(values: Mapping[str, np.ndarray], x: np.ndarray, xlabel: str, ylabel: str, scale: str = "linear") -> Axes:
    """A line a name, over the same x; `scale` is that of the y axis."""
    ax = canvas(1, 5.4)[0]
    for dashes, (name, line) in zip(("-", "--", "-.", ":"), values.items()):
        ax.plot(x, line, dashes, marker="o", markersize=4, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale=scale)
    ax.legend()
    return ax
