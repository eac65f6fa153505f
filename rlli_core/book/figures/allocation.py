"""The figures of the learning chapters: data in, axes out, no computation; with the look of `rlli_core.book.figures.qoe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from .look import canvas, student


def learning_curves(curves: pd.DataFrame, optimum: float, column: str = "sum_qoe", label: str = "sum QoE") -> Axes:
    """A measure against rounds served, a line and band for each `name`, with the optimum."""
    ax = canvas(1, 6)[0]
    sns.lineplot(curves, x="interactions", y=column, hue="name", style="name", errorbar=student, ax=ax)
    ax.axhline(optimum, color="0.3", linestyle="--", linewidth=1, label="optimum")
    ax.set(xlabel="rounds served in training", ylabel=label)
    ax.legend(title=None)
    return ax


def missing_curves(curves: pd.DataFrame, optimum: float, column: str = "reward", label: str = "reward") -> Axes:
    """What a measure lacks to the optimum against rounds served, both on logarithmic scales, a line and band for each `name`."""
    ax = canvas(1, 6.4, 3.8)[0]
    shown = curves[curves.interactions > 0].assign(missing=lambda rows: optimum - rows[column])
    sns.lineplot(shown, x="interactions", y="missing", hue="name", style="name", errorbar=student, ax=ax)
    lowest = shown.groupby(["name", "interactions"]).missing.mean().min()
    ax.set(xscale="log", yscale="log", xlabel="rounds served in training", ylabel=f"{label} missing to the optimum")
    ax.set_ylim(bottom=0.7 * lowest)  # an interval may reach to the optimum, which is infinitely far down
    ax.legend(title=None, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def interval_bars(table: pd.DataFrame, labels: Mapping[str, str], marks: Mapping[str, float] | None = None) -> np.ndarray:
    """Middle and interval of each `name`, a panel for each `measure` named in `labels`; vertical lines at `marks`."""
    names = list(dict.fromkeys(table.name))
    axes = canvas(len(labels), 2.5, 0.36 * len(names) + 1.1, sharey=True)
    for ax, (measure, label) in zip(axes, labels.items()):
        part = table[table.measure == measure].set_index("name").loc[names]
        spread = np.abs(part[["low", "high"]].sub(part.middle, axis=0).to_numpy().T)
        ax.errorbar(part.middle, np.arange(len(names)), xerr=spread, fmt="o", capsize=3)
        if marks and measure in marks:
            ax.axvline(marks[measure], color="crimson", linestyle=":", linewidth=1.5)
        ax.set(yticks=range(len(names)), xlabel=label, ylim=(len(names) - 0.5, -0.5))
        ax.set_yticklabels(names)
    return axes


def allotted(
    shared_steps: float,
    device_steps: Sequence[float],
    power_w: Sequence[float],
    users: Sequence[str],
    most: tuple[float, float],
) -> np.ndarray:
    """An allocation: a lane of steps and a bar of power for each user; who is sent nothing has only its own steps.

    Args:
        device_steps, power_w: of each user; no power at all is who stays out.
        most: steps and watts at which the axes end.
    """
    axes = canvas(2, 3.8, 0.42 * len(users) + 1.3, sharey=True)
    places, powers = np.arange(len(users)), np.asarray(power_w, float)
    shared = np.where(powers > 0, shared_steps, 0.0)
    axes[0].barh(places, shared, label="shared, by the server")
    axes[0].barh(places, device_steps, left=shared, label="the device's own")
    axes[1].barh(places, powers, color="C2")
    axes[0].set(yticks=places, ylim=(len(users) - 0.5, -0.5), xlim=(0, most[0]), xlabel="denoising steps")
    axes[0].set_yticklabels(users)
    axes[0].legend(title=None, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes[1].set(xlim=(0, most[1]), xlabel="transmit power (W)")
    return axes


def action_walk(actions: np.ndarray, parts: Mapping[str, int], powers_dbw: np.ndarray) -> np.ndarray:
    """An action through its denoising steps: its entries as colours, and the powers that they are decoded to.

    Args:
        actions: (D + 1, m), the noisy start first.
        parts: names and sizes of the pieces of an action.
        powers_dbw: (D + 1, K).
    """
    axes = canvas(2, 4.6, 3.2, gridspec_kw={"width_ratios": [2.4, 1]})
    steps = len(actions)
    sns.heatmap(actions, cmap="vlag", vmin=-1, vmax=1, ax=axes[0], cbar_kws={"label": "value of an entry (no unit)"})
    edges = np.cumsum([0, *parts.values()])
    for edge in edges[1:-1]:
        axes[0].axvline(edge, color="black", linewidth=1)
    axes[0].set(
        xticks=np.arange(edges[-1]) + 0.5, ylabel="denoising steps done", xlabel="entry of the action, numbered in each part"
    )
    axes[0].set_xticklabels([entry for size in parts.values() for entry in range(1, size + 1)], rotation=0, fontsize=6)
    axes[0].set_yticklabels(["0, noise", *range(1, steps)], rotation=0)
    for name, place in zip(parts, (edges[1:] + edges[:-1]) / 2):
        axes[0].text(place, 1.02, name, transform=axes[0].get_xaxis_transform(), ha="center", fontsize=8)
    for user, line in enumerate(np.asarray(powers_dbw).T, 1):
        axes[1].plot(range(steps), line, marker="o", label=f"$P_{user}$")
    axes[1].set(xlabel="denoising steps done", ylabel="power (dBW)", xticks=range(steps))
    axes[1].legend()
    return axes


def table_against_live(pairs: pd.DataFrame) -> Axes:
    """Scores of the table against live ones, a colour for each allocation; columns table, live and, if there are several, allocation."""
    ax = canvas(1, 4.4, 3.9)[0]
    hue = "allocation" if "allocation" in pairs else None
    sns.scatterplot(pairs, x="table", y="live", hue=hue, style=hue, s=28, ax=ax)
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    ax.set(xlabel="QoE of the table", ylabel="QoE of the service itself", xlim=(-0.02, 1.03), ylim=(-0.02, 1.03))
    return ax


def power_by_gain(gains: np.ndarray, powers_w: np.ndarray, bep: np.ndarray) -> np.ndarray:
    """Transmit power and bit error probability of users against their channel gains; all (B, K)."""
    axes = canvas(2, 4.2)
    decibels = 10 * np.log10(gains.ravel())
    for ax, values, label in ((axes[0], powers_w, "transmit power (W)"), (axes[1], bep, "bit error probability")):
        sns.scatterplot(x=decibels, y=values.ravel(), s=12, alpha=0.6, linewidth=0, ax=ax)
        ax.set(xlabel="channel gain $g_k$ (dB)", ylabel=label)
    return axes


def time_by_steps(timed: pd.DataFrame) -> Axes:
    """Milliseconds an update takes against D; columns update_ms, products_ms."""
    ax = canvas(1, 4.8)[0]
    for column, label in (("update_ms", "update"), ("products_ms", "its matrix products alone")):
        ax.plot(timed.index, timed[column], marker="o", label=label)
    ax.set(xlabel="denoising steps $D$", ylabel="milliseconds", ylim=(0, None), xlim=(0, None))
    ax.legend()
    return ax


def allocator_bars(table: pd.DataFrame) -> Axes:
    """What each allocator of a `compare` brings, as a share of the optimum's sum QoE, the best one on top."""
    ax = canvas(1, 5.4, 0.32 * len(table) + 0.9)[0]
    shares = table.share.drop("optimum").sort_values()
    ax.barh(list(shares.index), shares, color=sns.color_palette("colorblind")[0])
    ax.axvline(1, color="0.3", linestyle="--", linewidth=1)
    for place, share in enumerate(shares):  # in the bar, or beside it where it is too short for that
        inside = share > 0.12
        look = {"ha": "right", "color": "white"} if inside else {"ha": "left"}
        ax.text(share + (-0.012 if inside else 0.012), place, f"{share:.2f}", va="center", fontsize=9, **look)
    ax.set(xlabel="sum QoE, as a share of the optimum's", xlim=(0, 1.05))
    return ax


def draws_on_landscape(values: np.ndarray, grid: np.ndarray, draws: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where actors act on a landscape of rewards: a panel with the same landscape for each.

    Args:
        values: rewards (G, G), the first number of an action along the columns.
        grid: numbers (G,) of both.
        draws: by name, actions (n, 2).
    """
    axes = canvas(len(draws), 2.3, 2.5, sharex=True, sharey=True)
    for ax, (name, found) in zip(axes, draws.items()):
        ax.contour(grid, grid, values, levels=(0.1, 0.5, 0.9), colors="0.35", linewidths=1)
        ax.scatter(*found.T, s=12, color="crimson", alpha=0.5, linewidth=0, zorder=3)
        ax.set(xlabel="first number", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", title=name)
    axes[0].set_ylabel("second number")
    return axes


def dots_and_means(table: pd.DataFrame, labels: Mapping[str, str], marks: Mapping[str, float] | None = None) -> np.ndarray:
    """A dot for each row and the mean with its interval for each `name`, a panel for each column in `labels`; lines at `marks`."""
    names = list(dict.fromkeys(table.name))
    axes = canvas(len(labels), 3.2, 0.36 * len(names) + 1.1, sharey=True)
    for ax, (column, label) in zip(axes, labels.items()):
        look = {"x": column, "y": "name", "order": names, "ax": ax, "color": "black"}
        sns.stripplot(table, **look | {"color": "C0"}, size=4, alpha=0.5, jitter=0.25)
        sns.pointplot(table, **look, errorbar=student, linestyle="none", capsize=0.2, markersize=4, linewidth=1.5)
        if marks and column in marks:
            ax.axvline(marks[column], color="crimson", linestyle=":", linewidth=1.5)
        ax.set(xlabel=label, ylabel="")
    return axes
