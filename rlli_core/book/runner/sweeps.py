"""Runs one notebook over a grid of parameters; each point keeps its own result, so an interrupted sweep goes on."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ...errors import InvalidArgument, RunFailed
from ...files import check_writable, write_text
from ...processes import check_jobs
from . import notebooks, runs
from .inputs import Inputs

MOST_POINTS = 10_000  # a day and more, at seconds each
# Small letters only, and no full stop at the end: Windows and macOS tell no others apart.
_WORD = r"(?:True|False|[a-z0-9_.+-]+|'[a-z0-9_.-]*[a-z0-9_-]')"
_PLAIN = re.compile(rf"(?:\w+=(?:{_WORD}|\[{_WORD}(?:, {_WORD})*\])(?:,|$))+", re.ASCII)


def sweep(
    name: str,
    grid: Mapping[str, Sequence],
    profile: str = "smoke",
    parameters: Mapping[str, object] | None = None,
    jobs: int | None = None,
    ray: str | None = None,
) -> tuple[pd.DataFrame, Path]:
    """Run notebook `name` at every point of the product of `grid`.

    Each point has its notebook and record in `build/runs/<profile>/sweeps/<notebook>/<point>/`. A point whose inputs are
    those of its last good run is not run again.

    Args:
        name: of the notebook; the part before the first underscore is enough.
        grid: parameter=values; the last one moves fastest.
        profile, parameters: as for `runs.run`, for every point.
        jobs, ray: points at a time, and on which cluster; see `runs.run_all`.

    Returns:
        A row for each point: its parameters, then the recorded numbers; and the CSV file that holds the same.

    Raises:
        InvalidArgument: before anything runs, for an unknown notebook or parameter, a value of the wrong type, no values
            or more than 10,000 points, or a parameter that is given twice.
        UnusableFile: before anything runs, for a damaged notebook or profile, or a folder that cannot be written to.
        RunFailed: after everything has run, if any point failed; the others' results are in place.
    """
    path = notebooks.find(name)
    source = runs.read(path)
    if not grid or not all(grid.values()):
        raise InvalidArgument("grid", dict(grid), "name=value,value,... of at least one parameter")
    if twice := set(grid) & set(parameters or {}):
        raise InvalidArgument("grid", ", ".join(sorted(twice)), "of other parameters than those that are fixed")
    if (count := math.prod(map(len, grid.values()))) > MOST_POINTS:
        raise InvalidArgument("grid", f"{count} points", f"of at most {MOST_POINTS}")
    points = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    known = notebooks.parameters_of(source)
    for point in points:
        notebooks.check_parameters(known, point | dict(parameters or {}))  # refuses all that is wrong before the first run
    values = runs.load_profile(profile).get(path.stem, {}) | dict(parameters or {})
    check_jobs(jobs)
    folder = runs.RUNS / profile / "sweeps" / path.stem
    check_writable(folder)
    places = [folder / _folder(point | dict(parameters or {})) for point in points]

    def tasks() -> Iterator[runs.Task | None]:
        for point, place in zip(points, places):
            label = f"{path.stem} at {_label(point)}"
            given = notebooks.with_parameters(source, values | point)
            place.mkdir(parents=True, exist_ok=True)
            task = runs.Task(path, given, inputs.hash(given), profile, place, label=label)
            if runs.is_done(task):
                tqdm.write(f"{label}: up to date")
            yield None if runs.is_done(task) else task

    inputs = Inputs()
    failed = runs.run_all(tasks(), len(points), folder, jobs, ray)
    rows: list[dict] = []
    for point, place in zip(points, places):
        if f"{path.stem} at {_label(point)}" not in failed and (record := runs.read_record(path.stem, profile, place)):
            rows.append({key: str(v) if isinstance(v, list) else v for key, v in point.items()} | record.numbers)
    table = pd.DataFrame(rows)
    written = folder / f"{'-'.join(grid)}.csv"
    if rows:
        write_text(written, table.to_csv(index=False))
    if failed:
        raise RunFailed(failures=failed)
    return table, written


def _label(point: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in point.items())


def _folder(given: Mapping[str, object]) -> str:
    """A folder name for a point: what was given where that is short and plain, so that two points never share one; else a hash."""
    label = ",".join(f"{name}={value!r}" for name, value in given.items())
    if len(label) <= 100 and _PLAIN.fullmatch(label):
        return label.replace("'", "").replace(" ", "")
    return hashlib.sha256(label.encode("utf-8")).hexdigest()[:16]
