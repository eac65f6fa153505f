"""Figures of what sharing brings and costs, of the table of `allocation.pays`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from .look import BAND, canvas, student

SIDES = {"total_j": "in all", "device_j": "the device", "server_j": "the server"}
COLOURS = {
    "alone, own grid": "0.75",
    "alone, best start": "0.5",
    "alone, best start and steps": "0.15",
    "all share, paper's hand-off": "C3",
    "optimum, paper's hand-off": "C1",
    "optimum, noise-aware": "C0",
}
"""Of the strategies of `pays.STRATEGIES`."""


def gain_maps(table: pd.DataFrame, strategies: Sequence[str], point: tuple[float, float] = (8, 20)) -> np.ndarray:
    """Gain over device and server budget, a map for each strategy; pale numbers are not told from 0; a ring marks a point.

    Args:
        table: columns strategy, device_budget, server_budget, group, gain.
        point: device and server budget.
    """
    axes = canvas(len(strategies), 3.1, 3.0, sharey=True)
    for ax, strategy in zip(axes, strategies):
        _gain_map(ax, table[table.strategy == strategy], point, bar=ax is axes[-1])
        ax.set_title(strategy)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return axes


def _gain_map(ax: Axes, table: pd.DataFrame, point: tuple[float, float], bar: bool = False) -> None:
    by = table.groupby(["server_budget", "device_budget"]).gain
    means, unsure = by.mean().unstack().iloc[::-1], by.sem().mul(2).unstack().iloc[::-1]  # about half of a 95 % interval
    look = {"cmap": "vlag_r", "norm": TwoSlopeNorm(0, -0.2, 0.2), "linewidths": 0.5}
    sns.heatmap(means, annot=False, cbar=bar, cbar_kws={"label": "QoE gained by sharing"}, ax=ax, **look)
    for (row, column), value in np.ndenumerate(means.to_numpy()):
        sure = abs(value) > unsure.to_numpy()[row, column]
        colour = ("white" if abs(value) > 0.12 else "black") if sure else "0.55"
        told = f"{100 * value:+.1f}".replace("-", "−")
        ax.text(column + 0.5, row + 0.5, told, ha="center", va="center", fontsize=8, color=colour)
    place = [list(values).index(at) + 0.5 for values, at in zip((means.columns, means.index), point)]
    ax.plot(*place, "o", markersize=25, fillstyle="none", color="crimson", markeredgewidth=2)
    ax.set(xlabel="device budget (own steps)", ylabel="server budget")
    ax.set_xticklabels([f"{value:g}" for value in means.columns], rotation=0)
    ax.set_yticklabels([f"{value:g}" for value in means.index], rotation=0)
    ax.tick_params(length=0)


def gain_lines(panels: Mapping[str, tuple[pd.DataFrame, str]]) -> np.ndarray:
    """Gain against what is varied, a panel each, a colour for each device budget and dashes for each strategy.

    Args:
        panels: by the axis label, a table (columns strategy, device_budget, gain) and its column for the horizontal axis.
    """
    columns = min(3, len(panels))
    axes = canvas(columns, 3.1, 2.9, rows=-(-len(panels) // columns), sharey=True)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, (label, (table, column)) in zip(axes, panels.items()):
        data = table.assign(**{"own steps": table.device_budget.map("{:g}".format)})
        if pd.api.types.is_numeric_dtype(data[column]):
            data = data.assign(**{column: data[column].map("{:g}".format)})  # places of equal width
        ax.axhline(0, color="0.5", linewidth=1)
        own, ways = (data[name].unique() for name in ("own steps", "strategy"))
        look = {"hue": "own steps", "hue_order": sorted(own, key=float), "style": "strategy", "style_order": sorted(ways)}
        spread = {"errorbar": student, "err_style": "bars"}
        sns.lineplot(data, x=column, y="gain", **look, **spread, markers=True, sort=False, ax=ax)
        ax.set(xlabel=label, ylabel="QoE gained by sharing")
        handles = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    axes[0].figure.legend(*handles, loc="outside lower center", ncols=len(handles[0]))
    return axes


def frontier(table: pd.DataFrame, mark: Mapping[str, object] | None = None) -> np.ndarray:
    """QoE against joules a user, in all, of the device and of the server: a point a setting, the best of each strategy joined.

    Args:
        table: columns strategy, setting, group, qoe and those of `SIDES`.
        mark: columns and values of the setting that gets a ring.
    """
    axes = canvas(3, 3.1, 3.5, sharey=True)
    for ax, (energy, said) in zip(axes, SIDES.items()):
        for strategy, colour in COLOURS.items():
            part = table[table.strategy == strategy]
            points = part.groupby("setting")[[energy, "qoe"]].mean().sort_values([energy, "qoe"], ascending=[True, False])
            front = points[points.qoe > points.qoe.cummax().shift(fill_value=-np.inf)]
            ax.plot(points[energy], points.qoe, ".", color=colour, alpha=0.3, markersize=4)
            ax.plot(front[energy], front.qoe, "o-", color=colour, markersize=4, linewidth=1.8, label=strategy)
            if mark:
                at = part[np.logical_and.reduce([part[name] == value for name, value in mark.items()])]
                ring = {"fillstyle": "none", "color": colour, "markeredgewidth": 1.5}
                ax.plot(at[energy].mean(), at.qoe.mean(), "o", markersize=11, **ring)
        ax.set(xlabel=f"energy of {said} (J a user)" if said != "in all" else "energy in all (J a user)", ylabel="mean QoE")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return axes


def steps_needed(quality: Mapping[str, pd.Series], needed: Mapping[str, float], gains: pd.DataFrame) -> np.ndarray:
    """Quality as a share of what many steps give, with the steps needed; and the gain against own steps in units of these.

    Args:
        quality: by model, shares by steps.
        needed: by model, steps.
        gains: columns model, own steps, group, gain.
    """
    axes = canvas(2, 4.6, 3.5)
    styles = dict(zip(quality, ("C0", "C1", "0.35")))
    for model, series in quality.items():
        published = "published" in model
        axes[0].plot(series.index, series, "s--" if published else "o-", color=styles[model], label=model)
        axes[0].plot([needed[model]] * 2, [0, 0.95], ":", color=styles[model], linewidth=1.2)
    axes[0].axhline(0.95, color="0.7", linewidth=1)
    shown = (1, 2, 4, 8, 16, 64, 250)
    axes[0].set(xlabel="denoising steps of a device alone", ylabel="share of the quality with many", ylim=(0.3, 1.03))
    axes[0].set(xscale="log", xticks=shown, xticklabels=map(str, shown))
    axes[0].minorticks_off()
    axes[0].legend(loc="lower right")
    axes[1].axhline(0, color="0.5", linewidth=1)
    for model, part in gains.groupby("model", sort=False):
        part = part.assign(x=part["own steps"] / needed[model])
        sns.lineplot(part, x="x", y="gain", color=styles[model], label=model, ax=axes[1], **BAND)
    axes[1].set(xlabel="own steps, as a share of the steps needed", ylabel="QoE gained by sharing", xlim=(0, None))
    axes[1].legend(title="against a device alone")
    return axes


def point_on_map(table: pd.DataFrame, point: tuple[float, float], strategy: str) -> np.ndarray:
    """The gain of a strategy as a map with a ring at a point, and there each strategy's QoE and energy."""
    axes = canvas(3, 3.6, 3.2, gridspec_kw={"width_ratios": [1.15, 1, 1]})
    _gain_map(axes[0], table[table.strategy == strategy], point)
    axes[0].set_title(strategy)
    here = table[(table.device_budget == point[0]) & (table.server_budget == point[1])]
    means = here.groupby("strategy")[["qoe", "device_j", "server_j", "radio_j"]].mean().loc[[*COLOURS][::-1]]
    sns.pointplot(here, y="strategy", x="qoe", order=[*COLOURS], errorbar=student, linestyle="none", ax=axes[1],
                  hue="strategy", palette=[*COLOURS.values()], hue_order=[*COLOURS], legend=False)  # fmt: skip
    axes[1].set(xlim=(0, 0.85), xlabel="mean QoE", ylabel="")
    left = np.zeros(len(means))
    for column, colour, said in (("device_j", "0.35", "device"), ("server_j", "0.7", "server")):
        axes[2].barh(means.index, means[column], left=left, color=colour, label=said)
        left += means[column].to_numpy()
    axes[2].set(xlabel="energy (J a user)", xlim=(0, 62), yticks=[])
    axes[2].legend(loc="lower right")
    plt.setp(axes[1].get_yticklabels(), fontsize=8)
    return axes
