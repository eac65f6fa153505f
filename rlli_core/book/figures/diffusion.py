"""Figures of the cut chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from .look import BAND, canvas


def distances(table: pd.DataFrame) -> Axes:
    """Distance to an endpoint against steps taken, a line for each `path`; columns step, distance, path, seed."""
    ax = canvas(1, 5.4)[0]
    sns.lineplot(table, x="step", y="distance", hue="path", style="path", ax=ax, **BAND)
    ax.set(xlabel="steps taken before the switch", ylabel="distance in latent space", ylim=(0, None))
    ax.legend(title=None)
    return ax


def divergence_by_step(estimates: Mapping[str, Sequence]) -> Axes:
    """Divergence (15) with two standard errors against steps taken, a line for each pair of prompts."""
    ax = canvas(1, 5.4)[0]
    for label, line in estimates.items():
        value, error = np.array([e.value for e in line]), np.array([e.standard_error for e in line])
        ax.errorbar(range(len(line)), value, yerr=2 * error, marker="o", markersize=5, capsize=3, label=label)
    ax.set(xlabel="steps taken (0 is pure noise)", ylabel="divergence (nats)")
    ax.legend()
    return ax


def kept_by_distance(table: pd.DataFrame, limit: float) -> Axes:
    """What a device keeps of its own wish against the distance of the prompts; columns distance, kept, shared_steps, prompt.

    The dashed line is a `limit` of the distance; each point is a prompt, mean over seeds.
    """
    ax = canvas(1, 6.6, 3.8)[0]
    data = table.assign(t0=table.shared_steps.astype(str))
    sns.scatterplot(data, x="distance", y="kept", hue="t0", style="t0", s=60, ax=ax)
    ax.axvline(limit, color="0.4", linestyle="--", linewidth=1)
    for prompt, part in table.groupby("prompt"):
        place = part.distance.iloc[0], part.kept.min()
        ax.annotate(prompt, place, textcoords="offset points", xytext=(0, -12), ha="center", fontsize=7)
    ax.set(xlabel="semantic distance to the server's prompt", ylabel="judge's probability of the own object", ylim=(-0.1, 1.05))
    ax.margins(x=0.2)
    ax.legend(title="shared steps $t_0$", loc="upper left", bbox_to_anchor=(1, 1))
    return ax
