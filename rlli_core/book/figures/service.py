"""Figures of the cache, of groups and of the service in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram

from .look import BAND, canvas, student

WAYS = {
    "device alone": "0.35",
    "no cache": "C1",
    "paper": "C2",
    "NIRVANA": "C9",
    "MoDM": "C4",
    "ours": "C0",
}  # the same in all figures
# Each seed drew its own prompts and log, so the middle of them is the interval; bars stand side by side, bands would hide each other.
SEEDS = {
    "palette": WAYS,
    "errorbar": ("pi", 95),
    "dodge": 0.3,
    "native_scale": True,
    "linewidth": 1.3,
    "markersize": 4,
    "err_kws": {"linewidth": 1.1},
}


def gain_by_distance(points: pd.DataFrame, curves: pd.DataFrame) -> np.ndarray:
    """A panel for each number of own steps: what cached latents bring over the device alone against the wanted prompt's distance.

    Args:
        points: measured; columns own steps, start, distance, gain.
        curves: the same, what is fitted to them.
    """
    steps = sorted(map(int, points["own steps"].unique()))
    axes = canvas(len(steps), 3.3, 3.6, sharey=True)
    for ax, count in zip(axes, steps):
        some = {"x": "distance", "y": "gain", "hue": "start", "ax": ax, "hue_order": [*dict.fromkeys(curves.start)]}
        ax.axhline(0, color="0.35", linestyle=":", linewidth=1.5, label="device alone, best start")
        sns.scatterplot(points[points["own steps"] == count], **some, s=14, alpha=0.5, legend=False)
        sns.lineplot(curves[curves["own steps"] == count], **some)
        ax.set(xlabel="distance of the texts", ylabel="score less score alone", title=f"{count} own step{'s' * (count > 1)}")
        if ax.get_legend():
            ax.get_legend().remove()
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, title=None)
    return axes


def gain_by_rule(table: pd.DataFrame, margin: float) -> Axes:
    """What rules bring over the device alone, against own steps, a line each; columns own steps, rule, gain. A margin is grey."""
    ax = canvas(1, 5.8, 3.5)[0]
    ax.axhspan(-margin, margin, color="0.92", zorder=0)
    ax.axhline(0, color="0.5", linewidth=1)
    sns.lineplot(table, x="own steps", y="gain", hue="rule", style="rule", ax=ax, **BAND)
    ax.set(ylabel="score less score alone", xticks=sorted(table["own steps"].unique()))
    ax.legend(title=None)
    return ax


def prompt_tree(merges: np.ndarray, prompts: Sequence[str], threshold: float) -> Axes:
    """Ward's tree of prompts from left to right, with the height up to which steps are shared.

    Args:
        merges: of `scipy.cluster.hierarchy.linkage`.
        threshold: a dashed line.
    """
    ax = canvas(1, 6.2, 0.8 + 0.24 * len(prompts))[0]
    dendrogram(merges, labels=list(prompts), orientation="right", ax=ax, color_threshold=threshold, above_threshold_color="0.6")
    ax.axvline(threshold, color="0.2", linestyle="--", linewidth=1)
    ax.grid(False, axis="y")
    ax.set(xlabel="height in the tree (Ward's distance of embeddings)")
    return ax


def score_by_saved(table: pd.DataFrame, lone: float) -> Axes:
    """Mean score against the share of the server's steps that is saved.

    Args:
        table: columns saved, score, kind ("tree" is drawn as a line), way.
        lone: score of the device alone at its best start, which saves all of them.
    """
    ax = canvas(1, 5.8, 3.7)[0]
    some = {"x": "saved", "y": "score", "hue": "way", "ax": ax, "hue_order": [*dict.fromkeys(table.way)]}
    sns.lineplot(table[table.kind == "tree"], **some, errorbar=student)
    sns.scatterplot(table[table.kind != "tree"].groupby(["kind", "way"], sort=False).mean(numeric_only=True).reset_index(), **some,
                    style="kind", s=60)  # fmt: skip
    ax.axhline(lone, color="0.35", linestyle=":", linewidth=1.5, label="device alone, best start")
    ax.set(xlabel="share of the server's steps saved", ylabel="agents' score", xlim=(-0.03, 1))
    handles = dict(zip(*reversed(ax.get_legend_handles_labels())))
    for head in ("way", "kind"):  # of seaborn's sections
        handles.pop(head, None)
    ax.legend(handles.values(), handles.keys(), fontsize="small")
    return ax


def measures_by_load(table: pd.DataFrame, measures: Mapping[str, str]) -> np.ndarray:
    """A panel for each measure against the load, a line for each way to serve; bars hold 95 % of the seeds.

    Args:
        table: of `allocation.in_time.over_loads`.
        measures: axis label by column; what is in seconds gets a logarithmic axis.
    """
    axes = canvas(2, 4.2, 2.9, rows=-(-len(measures) // 2))
    for ax, (column, label) in zip(axes, measures.items()):
        sns.pointplot(table, x="load", y=column, hue="way", ax=ax, **SEEDS)
        ax.set(xlabel="load (1: all that full batches can serve)", ylabel=label)
        if column.endswith("_s"):
            ax.set_yscale("symlog", linthresh=0.01)
            ax.set_ylim(bottom=0)
        handles = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    axes[0].figure.legend(*handles, loc="outside lower center", ncols=6, title=None)
    return axes


def gain_by_need(table: pd.DataFrame) -> Axes:
    """Gain over the device alone against n*, the steps that a model needs, a line for each way; columns needed, way, gain; bars hold 95 %."""
    ax = canvas(1, 5.8, 3.5)[0]
    ax.axhline(0, color="0.5", linewidth=1)
    sns.pointplot(table, x="needed", y="gain", hue="way", ax=ax, **SEEDS)
    ax.set(xlabel="steps that a model needs, n*", ylabel="score less score alone")
    ax.legend(title=None)
    return ax


def latencies(tables: Mapping[str, pd.DataFrame]) -> Axes:
    """Share of requests served within a time, a line for each way; tables of `allocation.in_time.simulate`."""
    ax = canvas(1, 6.0, 3.4)[0]
    long = pd.concat([table.assign(way=name)[["latency_s", "way"]] for name, table in tables.items()], ignore_index=True)
    sns.ecdfplot(long, x="latency_s", hue="way", ax=ax)
    ax.set(xlabel="seconds from the request to the picture", ylabel="share of requests served", xscale="log")
    ax.get_legend().set_title(None)
    return ax
