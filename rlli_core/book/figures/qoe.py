"""Figures of quality: fidelity, the judge, and what persona agents think."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from .look import BAND, canvas


def fidelity_by_bep(scores: pd.DataFrame, name: str) -> np.ndarray:
    """PSNR, SSIM and the judge's probability of `name` against the bit error probability, from a `score_table`."""
    sent = scores.dropna(subset="bep")
    axes = canvas(3, 3.6)
    panels = [("psnr_db", "PSNR against error-free (dB)"), ("ssim", "SSIM against error-free"), (f"p_{name}", f"p({name})")]
    for ax, (column, label) in zip(axes, panels):
        sns.lineplot(sent, x="bep", y=column, ax=ax, **BAND)
        ax.set(xscale="log", xlabel="bit error probability (%)", ylabel=label, xticks=(shown := sorted(sent.bep.unique())))
        ax.set_xticklabels([f"{100 * bep:g}" for bep in shown])
        ax.minorticks_off()
    axes[1].set_ylim(0, 1)
    axes[2].set_ylim(0, 1)
    return axes


def traits_by_steps(scores: pd.DataFrame, wanted: str, shared: str) -> np.ndarray:
    """The judge's probabilities of the wanted and the shared object against device steps, a line for each t0."""
    axes = canvas(2, sharey=True)
    data = scores.assign(t0=scores.shared_steps.astype(str))
    for ax, name in zip(axes, (wanted, shared)):
        sns.lineplot(data, x="device_steps", y=f"p_{name}", hue="t0", style="t0", ax=ax, **BAND)
        ax.set(xlabel="device steps $t_2$", ylabel="the judge's probability", title=f"p({name})", ylim=(0, 1))
        ax.legend(title="shared steps $t_0$")
    return axes


def traits_by_fraction(scores: pd.DataFrame, wanted: str, shared: str) -> Axes:
    """The same probabilities against the shared fraction t0/(t0 + t_k), one point a plan."""
    ax = canvas(1, 5.4)[0]
    plans = scores.groupby(["shared_steps", "device_steps", "shared_fraction"], as_index=False).mean(numeric_only=True)
    for name, marker in ((wanted, "o"), (shared, "s")):
        sns.scatterplot(plans, x="shared_fraction", y=f"p_{name}", marker=marker, s=50, label=f"p({name})", ax=ax)
    ax.axvline(1 / 3, color="0.4", linestyle="--", linewidth=1, label="1/3")
    ax.set(xlabel="shared fraction $t_0/(t_0+t_2)$", ylabel="mean over seeds", ylim=(-0.03, 1.03))
    ax.legend(loc="center left")
    return ax


def scores_by_bep(scores: pd.DataFrame) -> Axes:
    """Agents' scores against the bit error probability, a line for each person of an `agent_table`."""
    ax = canvas(1, 5.4)[0]
    sns.lineplot(scores.dropna(subset="bep"), x="bep", y="score", hue="person", style="person", ax=ax, **BAND)
    shown = sorted(scores.bep.dropna().unique())
    ax.set(xscale="log", xlabel="bit error probability (%)", ylabel="score", ylim=(0, 1), xticks=shown)
    ax.set_xticklabels([f"{100 * bep:g}" for bep in shown])
    ax.minorticks_off()
    ax.legend(title=None, ncols=2)
    return ax


def scores_by_steps(scores: pd.DataFrame) -> np.ndarray:
    """Agents' scores against device steps, a panel for each person and a line for each t0."""
    people = scores.person.unique()
    axes = canvas(len(people), sharey=True)
    for ax, name in zip(axes, people):
        data = scores[scores.person == name]
        data = data.assign(t0=data.shared_steps.astype(str))
        sns.lineplot(data, x="device_steps", y="score", hue="t0", style="t0", ax=ax, **BAND)
        ax.set(xlabel="device steps $t_2$", ylabel="score", title=name, ylim=(0, 1))
        ax.legend(title="shared steps $t_0$", loc="lower right")
    return axes


def score_heat(*tables: pd.DataFrame, titles: Sequence[str] = (), signed: float = 0, size: float = 0.62) -> np.ndarray:
    """Tables of scores in [0, 1], or of numbers between -`signed` and `signed`, as numbers on colour, side by side."""
    rows, columns = max(map(len, tables)), max(table.shape[1] for table in tables)
    axes = canvas(len(tables), max(3.4, size * columns + 1.6), max(2.2, 0.42 * rows + 1.0))
    low, high, colours = (-signed, signed, "vlag") if signed else (0, 1, "viridis")
    look = {"cmap": colours, "vmin": low, "vmax": high}
    for i, (ax, table) in enumerate(zip(axes, tables)):
        sns.heatmap(table, annot=True, fmt=".2f", annot_kws={"size": 8}, cbar=i == len(tables) - 1, ax=ax, **look)
        ax.set(title=titles[i] if titles else "")
        ax.tick_params(axis="y", rotation=0)
        ax.tick_params(axis="x", rotation=30 if columns > 5 or max(map(len, table)) > 12 else 0)
    return axes


def score_clusters(scores: pd.DataFrame) -> Axes:
    """Sampled scores as a cloud for each picture and agent; columns picture, person, score."""
    ax, groups = canvas(1, 6)[0], {"x": "picture", "y": "score", "hue": "person"}
    sns.stripplot(scores, **groups, dodge=True, jitter=0.3, alpha=0.35, size=3, ax=ax)
    spread = {"errorbar": "sd", "capsize": 0.08, "linestyle": "none", "markers": "D", "markersize": 4}
    sns.pointplot(scores, **groups, **spread, dodge=0.4, ax=ax, legend=False)
    ax.set(xlabel=None, ylabel="score", ylim=(-0.03, 1.03))
    ax.legend(title=None)
    return ax


def score_maps(
    scores: pd.DataFrame, device: str = "t_1", stars: Mapping[str, tuple[float, float, float]] | None = None
) -> np.ndarray:
    """Mean scores over t0 and t_k, a row for each person and a column for each BEP, with the best plan that shares marked.

    Where the device alone, t0 = 0, is better than that, its best is marked too, by dashes.

    Args:
        stars: for a person, the plan (t0, t_k, BEP) that an allocator chose: drawn on the map of the nearest BEP.
    """
    people, levels = scores.person.unique(), sorted(scores.bep.unique())
    sns.set_theme("paper", "white", "colorblind", font_scale=1.0, rc={"figure.dpi": 130})
    shape = dict(squeeze=False, layout="constrained", sharex=True, sharey=True)
    figure, axes = plt.subplots(len(people), len(levels), figsize=(2.7 * len(levels) + 0.8, 2.4 * len(people) + 0.3), **shape)
    for (r, c), ax in np.ndenumerate(axes):
        part = scores[(scores.person == people[r]) & (scores.bep == levels[c])]
        table = part.pivot_table(index="shared_steps", columns="device_steps", values="score").sort_index(ascending=False)
        sns.heatmap(table, cmap="viridis", vmin=0, vmax=1, annot=True, fmt=".2f", annot_kws={"size": 7}, cbar=False, ax=ax)
        means, shares = table.to_numpy(), table.index.to_numpy()[:, None] > 0
        for some, look in ((np.where(shares, means, -1), "-"), (means, "--")):
            row, column = np.unravel_index(np.argmax(some), some.shape)
            if look == "-" or not shares[row, 0]:
                ax.add_patch(plt.Rectangle((column, row), 1, 1, fill=False, edgecolor="crimson", linewidth=2, linestyle=look))
        if stars and people[r] in stars:
            shared, steps, bep = stars[people[r]]
            if levels[c] == min(levels, key=lambda level: abs(level - bep)):
                place = np.interp(steps, table.columns, np.arange(table.shape[1])) + 0.5
                height = np.interp(shared, table.index[::-1], np.arange(len(table))[::-1]) + 0.5
                ax.plot(place + 0.3, height + 0.28, "*", color="red", markeredgecolor="white", markersize=12)
        ax.set(xlabel=f"device steps ${device}$" if r == len(people) - 1 else "")
        ax.set(ylabel=f"{people[r]}\nshared steps $t_0$" if c == 0 else "")
        ax.set_title(f"BEP {levels[c]:.1%}" if r == 0 else "", fontsize=10)
        ax.tick_params(axis="y", rotation=0)
    figure.colorbar(axes[0, 0].collections[0], ax=axes, label="score", shrink=0.7)
    return axes


def agreement_scatter(taught: pd.DataFrame, learnt: pd.DataFrame) -> Axes:
    """Ratings by the trait model against those by the agent, a colour for each person (column)."""
    ax = canvas(1, 4.6, 4.0)[0]
    pairs = taught.melt(var_name="person", value_name="taught").assign(learnt=learnt.melt().value)
    sns.scatterplot(pairs, x="taught", y="learnt", hue="person", s=18, ax=ax)
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    ax.set(xlabel="trait model", ylabel="agent", xlim=(0, 1), ylim=(0, 1))
    ax.legend(title=None, fontsize=7, loc="upper left")
    return ax


def slider_effects(scores: pd.DataFrame) -> np.ndarray:
    """Mean score along each slider of the explorer, a line for each person, from the rows of `book.browser.atlas.scores`."""
    beside = scores[(scores.shared_steps > 0) & (scores.longest == scores.longest.max())]
    wants = np.where(beside.prompt == beside.group, "the server's picture", "another one")
    beside = beside.assign(wants=wants, percent=100 * beside.bep)
    axes = canvas(3, 2.5, 2.9, sharey=True)
    panels = [("shared_steps", "shared steps $t_0$"), ("device_steps", "own steps $t_k$"), ("percent", "bit errors (%)")]
    for ax, (column, label) in zip(axes, panels):
        sns.lineplot(
            beside, x=column, y="score", hue="person", style="wants", markers=True, seed=0, ax=ax, legend=ax is axes[0]
        )
        ax.set(xlabel=label, ylabel="mean score Q", ylim=(0, 1))
    axes[0].legend(title=None, fontsize=7, loc="lower left")
    return axes


def scores_by_trait(scores: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Scores while one trait moves, a panel for each picture and a line for each trait (column); rows are its values."""
    axes = canvas(len(scores), 3.6, 3.4, sharey=True)
    for ax, (title, table) in zip(axes, scores.items()):
        sns.lineplot(table, ax=ax, legend=ax is axes[-1])
        ax.set(xlabel="value of the trait", ylabel="score", ylim=(0, 1))
        ax.set_title(textwrap.fill(title, 34), fontsize=10)
    axes[-1].legend(title=None, fontsize=7)
    return axes
