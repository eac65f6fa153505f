"""Figures of deployments: who hands on to whom, what each topology brings and costs, and when things happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from ...deployments import Times, Topology
from .look import BAND, canvas, student


def topology_drawing(topologies: Mapping[str, tuple[Topology, Sequence[str]]]) -> np.ndarray:
    """Trees from left to right, one a panel; arrows are links, the number in a circle the steps shared before handing on.

    Args:
        topologies: by name, with the names of the devices.
    """
    axes = canvas(len(topologies), 2.3, 2.4)
    for ax, (title, (topology, names)) in zip(axes, topologies.items()):
        depth: dict[int | None, int] = {None: -1}
        for k in topology.order:
            depth[k] = depth[topology.parents[k]] + 1
        levels = [[k for k in topology.order if depth[k] == level] for level in range(max(depth.values()) + 1)]
        places = {k: (depth[k], (len(level) - 1) / 2 - i) for level in levels for i, k in enumerate(level)}
        for k, parent in enumerate(topology.parents):
            if parent is not None and topology.steps_until[parent]:
                arrow = {"arrowstyle": "-|>", "color": "0.4", "shrinkA": 15, "shrinkB": 15, "linestyle": "--"}
                ax.annotate("", places[k], places[parent], arrowprops=arrow)
            begins = topology.shared_steps[k] > 0
            ax.scatter(*places[k], s=560, color="C0" if begins else "0.85", edgecolor="0.3", zorder=2)
            ax.text(*places[k], topology.shared_steps[k] or "", ha="center", va="center", color="w", weight="bold")
            lone = len(levels[depth[k]]) == 1  # names in a row would run into each other
            ax.annotate(
                names[k],
                places[k],
                (0, 22 if lone and depth[k] % 2 else -22),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=9,
            )
        ax.set(title=title, xticks=[], yticks=[], xlim=(-0.5, len(levels) - 0.5), ylim=(-1.6, 1.4))
        sns.despine(ax=ax, left=True, bottom=True)
    return axes


def deployment_bars(table: pd.DataFrame, measures: Mapping[str, str]) -> np.ndarray:
    """Means of each `deployment`, a panel for each measure, with 95 % intervals over the rows.

    Args:
        measures: what is written under the axis, by column.
    """
    axes = canvas(len(measures), 2.7, 0.9 + 0.36 * table.deployment.nunique(), sharey=True)
    for ax, (column, label) in zip(axes, measures.items()):
        sns.barplot(table, x=column, y="deployment", errorbar=student, color="C0", ax=ax)
        ax.set(xlabel=label, ylabel="")
    return axes


def measure_by_hops(table: pd.DataFrame, column: str, label: str, alone: float) -> np.ndarray:
    """A measure against the number of hops, a panel for each `bep` and a line for each `receiver`; columns also hops.

    Args:
        alone: what a device reaches that gets nothing.
    """
    beps = sorted(table.bep.unique())
    axes = canvas(len(beps), 3.6, 3.2, sharey=True)
    for ax, bep in zip(axes, beps):
        sns.lineplot(table[table.bep == bep], x="hops", y=column, hue="receiver", style="receiver", ax=ax, **BAND)
        ax.axhline(alone, color="0.4", linestyle=":", label="alone, late start")
        ax.set(xlabel="times handed on", ylabel=label, title=f"bit error probability {bep:.0%}", ylim=(0, None))
        ax.set_xticks(sorted(table.hops.unique()))
        ax.get_legend().remove()
    axes[-1].legend(title=None, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def timelines(rows: Mapping[str, Sequence[Times]], names: Sequence[str]) -> np.ndarray:
    """When each device waited though its latent was there, denoised, and was served; a panel for each way to run a round.

    Args:
        rows: times of the devices by the name of the way.
        names: of the devices.
    """
    axes = canvas(len(rows), 4.6, 0.9 + 0.42 * len(names), sharex=True, sharey=True)
    for ax, (title, times) in zip(axes, rows.items()):
        parts = {
            "waits": ([t.arrived_s for t in times], [t.started_s for t in times], "0.8"),
            "shared steps": ([t.started_s for t in times], [t.handed_on_s for t in times], "C0"),
            "own steps": ([t.handed_on_s for t in times], [t.done_s for t in times], "C2"),
        }
        for label, (starts, ends, colour) in parts.items():
            ax.barh(names, np.subtract(ends, starts), left=starts, color=colour, label=label, height=0.55)
        ax.scatter([t.served_s for t in times], names, marker="D", color="k", s=22, zorder=3, label="served")
        ax.set(title=title, xlabel="seconds after the request")
    axes[0].invert_yaxis()
    axes[-1].legend(title=None, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def worth_by_starter(table: pd.DataFrame) -> Axes:
    """What the round is worth by who begins, a bar for each `begins`; column also worth; intervals over the rows."""
    ax = canvas(1, 4.6, 0.9 + 0.36 * table.begins.nunique())[0]
    sns.pointplot(table, x="worth", y="begins", errorbar=student, linestyle="none", capsize=0.15, ax=ax)
    ax.set(xlabel="scores less the price of the energy", ylabel="")
    return ax
