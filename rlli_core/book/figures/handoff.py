"""Figures of the hand-off as noise: where damage puts a latent on the chain, and what an earlier start brings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from .look import BAND, canvas, student


def noise_clock(noise: np.ndarray, stop: int, effective: Mapping[str, int]) -> Axes:
    """Share of noise against the timestep, with the level at which the server stopped and those to which a link moved it.

    Args:
        noise: sqrt(1 - alpha) of each timestep.
        stop: the server's timestep.
        effective: timestep after the link, by what is said of the link.
    """
    ax = canvas(1, 6.6, 3.6)[0]
    ax.plot(np.arange(len(noise)), noise, color="0.6", linewidth=1.5, zorder=1)
    colours = sns.color_palette("rocket_r", len(effective) + 1)[1:]
    ax.scatter([stop], [noise[stop]], s=70, color="C0", zorder=3, label="the server stops")
    for colour, (said, timestep) in zip(colours, effective.items()):
        ax.scatter([timestep], [noise[timestep]], s=70, color=[colour], zorder=3, label=f"{said}: starts at {timestep}")
        bow = {"arrowstyle": "-|>", "color": colour, "connectionstyle": "arc3,rad=0.25", "shrinkA": 5, "shrinkB": 5}
        ax.annotate("", (timestep, noise[timestep]), (stop, noise[stop]), arrowprops=bow)
    ax.set(xlabel="timestep (the chain runs from right to left)", ylabel="share of noise", ylim=(-0.04, 1.08))
    ax.legend(loc="lower right", title="bit error probability")
    return ax


def scores_by_receiver(table: pd.DataFrame, lone: Mapping[str, float] | None = None) -> np.ndarray:
    """Scores against the bit error probability, a panel for each `plan` and a line for each `receiver`; columns also bep, score.

    Bands: 95 % intervals over the rows of a point.

    Args:
        lone: for a plan, what a device alone with as many own steps has: a dotted line.
    """
    plans = table.plan.unique()
    axes = canvas(len(plans), 3.6, 3.3, sharey=True)
    for ax, plan in zip(axes, plans):
        data = table[table.plan == plan].assign(bep=lambda t: 100 * t.bep)
        sns.lineplot(data, x="bep", y="score", hue="receiver", style="receiver", ax=ax, **BAND)
        ax.set(xlabel="bit error probability (%)", ylabel="agents' score", title=plan, ylim=(0, None))
        if lone:
            ax.axhline(lone[plan], color="0.35", linestyle=":", linewidth=1.5, label="alone, best start")
        ax.legend(title=None, loc="lower left")
    return axes


def differences_in_margin(table: pd.DataFrame, margins: pd.Series, label: str) -> Axes:
    """Differences with their intervals in rows, and the margin within which two things count as alike.

    Args:
        table: rows by name, columns mean, low, high; a column `group` colours them.
        margins: half of its width, for each row.
        label: of the horizontal axis.
    """
    ax = canvas(1, 6.6, 0.8 + 0.2 * len(table))[0]
    ax.barh(range(len(table)), 2 * margins, left=-margins, height=1, color="0.92", zorder=0)
    ax.axvline(0, color="0.5", linewidth=1)
    for number, (group, part) in enumerate(table.groupby("group", sort=False)):
        places = [table.index.get_loc(name) for name in part.index]
        spread = [part["mean"] - part.low, part.high - part["mean"]]
        ax.errorbar(part["mean"], places, xerr=spread, fmt="o", markersize=4.5, capsize=2, color=f"C{number}", label=group)
    ax.set(yticks=range(len(table)), yticklabels=table.index, xlabel=label)
    ax.invert_yaxis()
    ax.tick_params(axis="y", labelsize=8)
    ax.legend(title=None, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def scores_by_start(table: pd.DataFrame) -> np.ndarray:
    """Scores against a device's own steps, a panel for each `kind` of prompt and a line for each `device`; column also score."""
    kinds = table.kind.unique()
    axes = canvas(len(kinds), 3.6, 3.5, sharey=True)
    for ax, kind in zip(axes, kinds):
        sns.lineplot(table[table.kind == kind], x="own steps", y="score", hue="device", style="device", ax=ax, **BAND)
        ax.set(ylabel="agents' score", title=f"{kind} prompt", ylim=(0, None), xticks=sorted(table["own steps"].unique()))
        ax.get_legend().remove()
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, title=None)
    return axes


def gain_by_steps(table: pd.DataFrame, margin: float) -> Axes:
    """What sharing brings against own steps, a line for each `kind` of prompt; column also gain. The band of a margin is grey."""
    ax = canvas(1, 5.8, 3.5)[0]
    ax.axhspan(-margin, margin, color="0.92", zorder=0)
    ax.axhline(0, color="0.5", linewidth=1)
    sns.lineplot(table, x="own steps", y="gain", hue="kind", style="kind", ax=ax, **BAND)
    ax.set(ylabel="score shared less score alone", xticks=sorted(table["own steps"].unique()))
    ax.legend(title="prompt")
    return ax


def measures_by_snr(table: pd.DataFrame, measures: Mapping[str, str], alone: Mapping[str, float], label: str) -> np.ndarray:
    """A panel for each measure against the SNR, with a line for each scheme, and what a device alone has.

    Args:
        table: columns scheme, snr_db and the measures; bands are 95 % intervals over the rows of a point.
        measures: axis label by column.
        alone: value by column.
        label: of the SNR.
    """
    schemes = [*dict.fromkeys(table.scheme)]
    palette = sns.color_palette("colorblind")
    colours = dict(zip(schemes, [palette[k] for k in (0, 9, 2, 3, 4)] + [(0.0, 0.0, 0.0)]))  # the most unlike ones first
    dashes = {scheme: (3, 1.5) if scheme.startswith("picture") else "" for scheme in schemes}
    axes = canvas(len(measures), 3.3, 3.7)
    for ax, (column, said) in zip(axes, measures.items()):
        band = {"errorbar": student}
        sns.lineplot(table, x="snr_db", y=column, hue="scheme", style="scheme", palette=colours, dashes=dashes, ax=ax, **band)
        ax.axhline(alone[column], color="0.35", linestyle=":", linewidth=1.5, label="device alone, no link")
        ax.set(xlabel=label, ylabel=said)
        handles = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    axes[0].figure.legend(*handles, loc="outside lower center", ncols=4, title=None)
    return axes
