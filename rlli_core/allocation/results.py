"""The committed results of the study, summed up with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, trim_mean

from ..errors import UnusableFile, first_line
from ..files import DATA, FROM_GIT, of_checkout, read_json

# Each by its name, so that a notebook's run is out of date when one of these changes and not when another result does.
RUNS = DATA / "results" / "allocation_runs.csv"
CURVES = DATA / "results" / "allocation_curves.csv"
ABOUT = DATA / "results" / "allocation.json"
RESULTS = RUNS.parent  # where the study writes


@cache
def read() -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Runs (one row each), learning curves (one row a point) and the rest (rules of thumb, optimum, provenance)."""
    for path in (RUNS, CURVES, ABOUT):
        of_checkout(path)
    return read_csv(RUNS, "name", "seed"), read_csv(CURVES, "name", "seed"), read_json(ABOUT, "rules", "validation_optimum")


def read_csv(path: Path, *needs: str, remedy: str = FROM_GIT) -> pd.DataFrame:
    """A table with these columns.

    Raises:
        UnusableFile: the file is missing or damaged; names it, and the remedy.
    """
    try:
        table = pd.read_csv(path)
        table[list(needs)]
    except (OSError, ValueError, KeyError) as error:
        raise UnusableFile(f"{path} is missing or damaged, {remedy}: {first_line(error)}") from error
    return table


def interval(values: Sequence[float] | pd.Series, level: float = 0.95) -> tuple[float, float, float]:
    """Interquartile mean over seeds and its bootstrap interval, as Agarwal et al. (NeurIPS 2021) advise.

    Returns:
        Mean of the middle half, and the lower and upper end; all equal for a single or constant value.
    """
    sample = np.asarray(values, float)
    middle = float(trim_mean(sample, 0.25))
    if len(sample) < 2 or np.ptp(sample) == 0:
        return middle, middle, middle
    found = bootstrap(
        (sample,), lambda x, axis: trim_mean(x, 0.25, axis=axis), confidence_level=level, method="percentile",
        rng=np.random.default_rng(0), n_resamples=5_000,
    )  # fmt: skip
    return middle, float(found.confidence_interval.low), float(found.confidence_interval.high)


def rounds_to(share: float = 0.9, column: str = "sum_qoe") -> pd.DataFrame:
    """Rounds until a run first has this share of the optimum in the states of the learning curves; NaN where it never has."""
    _, curves, about = read()
    goal = share * about["validation_optimum"][column]

    runs = curves.groupby(["name", "seed"])
    reached = curves[curves[column] >= goal].groupby(["name", "seed"]).interactions.min()
    return reached.reindex(runs.size().index).astype(float).rename("rounds").reset_index()


def summary(names: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Interquartile mean and interval of result columns for some of the studied algorithms, in long form."""
    runs, _, _ = read()
    rows = []
    for name in names:
        some = runs[runs.name == name]
        rows += [(name, column, *interval(some[column]), len(some)) for column in columns]
    return pd.DataFrame(rows, columns=["name", "measure", "middle", "low", "high", "seeds"])


def difference(first: str, second: str, column: str) -> tuple[float, float, float]:
    """How much more the first algorithm has than the second, as a share of the second's mean, seed by seed, with interval."""
    table = read()[0].pivot(index="seed", columns="name", values=column)[[first, second]].dropna()
    return interval(table[first] / table[second].mean() - table[second] / table[second].mean())
