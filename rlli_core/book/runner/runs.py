"""Runs the notebooks: Papermill executes them in parallel processes, and each run leaves a record.

A good run of notebook `name` under `profile` leaves `build/runs/<profile>/<name>.ipynb` and, beside it, the record
`<name>.json`. A run that fails leaves `<name>.failed.ipynb` and `<name>.failed.json` and touches neither of those. A
notebook whose inputs are those of its last good run is not run again, so an interrupted command goes on where it stopped. Two
commands that want the same notebook at the same time take turns, and the second finds it done.

For the book, a run also works out the frames of the notebook's panels (`book.panels.panel`), into `panels/<name>`.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock

from ... import processes
from ...errors import Failure, InvalidArgument, RunFailed, UnusableFile, first_line, shown
from ...files import DATA, FRAMES, FROM_GIT, check_writable, git_commit, of_checkout, read_yaml, whole, write_text
from . import checksums, frames, pictures, writing
from .execution import PeakMemory, execute, machine, unexecuted, versions
from .inputs import Inputs
from .notebooks import NOTEBOOKS, find, names, parameters_of, with_parameters
from .recording import numbers_of
from .run_record import RunRecord

RUNS = DATA.parent / "build" / "runs"
PROFILES = ("smoke", "full")


def load_profile(profile: str) -> dict[str, dict]:
    """The values that `profile` gives to the parameters of each notebook; what it leaves out stays as the notebook has it."""
    if profile not in PROFILES:
        raise InvalidArgument("profile", profile, "one of " + ", ".join(PROFILES))
    path = NOTEBOOKS / "profiles" / f"{profile}.yaml"
    values = read_yaml(of_checkout(path))
    if wrong := [name for name, value in values.items() if not isinstance(value, dict)]:
        raise UnusableFile(f"{path} is damaged, {FROM_GIT}: {shown(wrong[0])} has no parameters")
    return values


def read_record(name: str, profile: str, folder: Path | None = None) -> RunRecord | None:
    """The record of the last good run, in the folder of the profile or another, or None."""
    return RunRecord.read((folder or RUNS / profile) / f"{name}.json")


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path`, checked against the notebook format, with its parameters cell.

    Raises:
        UnusableFile: it is missing or damaged, or no notebook.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        parameters_of(notebook)
    except Exception as error:  # what is no notebook at all makes the library raise whatever comes first
        raise UnusableFile(f"{path} is damaged or no notebook of this book, {FROM_GIT}: {first_line(error)}") from error
    return notebook


@dataclass(frozen=True)
class Task:
    """One notebook to be run, with its values in place, and where its result goes; `label` is what it is called."""

    path: Path
    source: nbformat.NotebookNode
    inputs: str
    profile: str
    folder: Path
    for_book: bool = False
    force: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        return self.path.stem

    def __str__(self) -> str:
        """What a cluster shows."""
        return f"{self.name} {self.inputs[:16]}"


def run(
    wanted: Sequence[str] | None = None,
    profile: str = "smoke",
    parameters: Mapping[str, object] | None = None,
    *,
    force: bool = False,
    committed: bool = False,
    write_back: bool = False,
    jobs: int | None = None,
    ray: str | None = None,
    folder: Path | None = None,
) -> list[RunRecord]:
    """Run notebooks and return their records, in the order asked for.

    Args:
        wanted: names of notebooks; None means all.
        profile: "smoke" or "full".
        parameters: values that replace the profile's; each must be a parameter of every notebook in `wanted`.
        force: run also what is up to date.
        committed: where a committed notebook was executed with the present inputs, and the frames of its panels are there,
            it is the result and is not run.
        write_back: put each good result in the place of the committed notebook, as far as it differs; see `writing`.
        jobs, ray: notebooks at a time, and on which cluster; see `run_all`.
        folder: where results and records go; by default build/runs/<profile>, where the book finds them: only there panels
            get their frames.

    Raises:
        InvalidArgument: before anything runs, for an unknown notebook, profile, parameter, or a value of the wrong type.
        UnusableFile: before anything runs, for a damaged notebook or profile, or a folder that cannot be written to.
        RunFailed: after everything has run, if any notebook failed; the others' results are in place.
    """
    values = load_profile(profile)
    paths = [find(name) for name in (names() if wanted is None else dict.fromkeys(wanted))]
    processes.check_jobs(jobs)
    sources = {path: with_parameters(read(path), {**values.get(path.stem, {}), **(parameters or {})}) for path in paths}
    if not paths:
        raise RunFailed(f"there is no notebook in {NOTEBOOKS}: run from a checkout")
    for_book, folder = folder is None, folder or RUNS / profile
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    inputs = Inputs()
    tasks = [
        Task(path, source, inputs.hash(source), profile, folder, for_book, force, path.stem) for path, source in sources.items()
    ]
    stale = []
    for task in tasks:
        if not force and is_done(task):
            print(f"{task.name}: up to date")
        elif not force and committed and _take_committed(task):
            print(f"{task.name}: as committed")
        else:
            stale.append(task)
    if stale and write_back:
        check_writable(NOTEBOOKS)
    failures = run_all(stale, len(stale), folder, jobs, ray)
    if write_back:
        for task in tasks:
            if task.name not in failures:
                writing.write_back(folder / task.path.name, task.path)
    if failures:
        raise RunFailed(failures=failures)
    return [known for task in tasks if (known := read_record(task.name, profile, folder))]


def is_done(task: Task) -> bool:
    """Whether the last good run had these inputs and all that it left is still there and whole: its panels' frames as well."""
    last = read_record(task.name, task.profile, task.folder)
    if last is None or last.inputs != task.inputs or not frames.whole(task.folder, last):
        return False
    try:
        result = read(task.folder / task.path.name)
    except (OSError, ValueError):  # deleted, or broken off
        return False
    return not unexecuted(result) and RunRecord.of(task.name, result).inputs == task.inputs


def _take_committed(task: Task) -> bool:
    """Make the committed notebook the result, if it was executed with these inputs and its frames are there."""
    notebook = read(task.path)
    known = RunRecord.of(task.name, notebook)
    if unexecuted(notebook) or known.inputs != task.inputs or known.profile != task.profile:
        return False
    if not frames.whole(task.folder, known):
        return False
    write_text(task.folder / task.path.name, task.path.read_text(encoding="utf-8"))
    known.write(task.folder / f"{task.name}.json")
    return True


def run_all(
    tasks: Iterable[Task | None], count: int, folder: Path, jobs: int | None = None, ray: str | None = None
) -> dict[str, Failure]:
    """Execute each notebook in a process of its own; returns why some failed, by label, in the order of the tasks.

    Args:
        tasks: asked for as there is room; None stands for one that is done.
        count: how many these are.
        folder: in which, or below which, all results go.
        jobs: notebooks at a time; by default as many as there are cores, 4 at most, or as a cluster has room for.
        ray: None for this machine, or as for `processes.each`; then each has one core.
    """
    jobs = jobs or (min(processes.cores(), 4) if ray is None else None)
    threads = max(1, processes.cores() // min(jobs or 1, max(count, 1))) if ray is None else 1
    failures: dict[str, Failure | None] = {}

    def units() -> Iterator[tuple[Task, int] | None]:
        for task in tasks:
            if task and not failures:
                checksums.say_changed()
            if task:
                failures[task.label] = None
            yield (task, threads) if task else None

    def settle(unit: processes.Unit, result: Any) -> str:
        ended = isinstance(result, processes.Ended)
        failure = Failure(result.kind, str(result)) if ended else result.error
        cost = "no record" if ended else f"{result.wall_s:.0f} s, {result.peak_memory_mib} MiB"
        failures[unit[0].label] = failure
        return f"{unit[0].label}: {'FAILED' if failure else 'completed'} ({cost})"

    if count:
        processes.each(_run_one, units(), settle, folder, jobs, ray, total=count, what="notebooks", fresh=True)
    return {label: failure for label, failure in failures.items() if failure}


def _run_one(task: Task, threads: int) -> RunRecord:
    """Execute one notebook and write its result, frames and record; in a process of its own, so that its memory is one kernel's."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the kernel inherits it; two kernels on all cores each crawl
    with FileLock(task.folder / f".{task.name}.lock"):
        last = read_record(task.name, task.profile, task.folder)
        if last and not task.force and is_done(task):  # another command has just made it
            return last
        try:
            return _run(task, threads, processes.line)
        finally:
            frames.scratch(task.folder, task.name)


def _run(task: Task, threads: int, position: int) -> RunRecord:
    waiting = frames.scratch(task.folder, task.name)
    os.environ[FRAMES] = str(waiting) if task.for_book else ""
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    with PeakMemory() as peak:
        executed, failure = execute(task.path, task.source, position)
    if failure is None and (lost := frames.lost(waiting, executed)):
        failure = Failure("FramesLost", f"the frames of {', '.join(lost)} were removed while the notebook ran: run it again")
    run_record = RunRecord(
        notebook=task.name,
        numbers=numbers_of(executed),
        profile=task.profile,
        parameters={key: parameter.value for key, parameter in parameters_of(task.source).items()},
        error=failure,
        inputs=task.inputs,
        panels=frames.count(waiting),
        wall_s=round(time.perf_counter() - clock, 1),
        peak_memory_mib=peak.mib,
        versions=versions(),
        machine=f"{machine()}, {threads} threads",
        git_commit=git_commit(),
        started=started,
    )
    executed.metadata["rlli"] = run_record.about
    pictures.slim(executed)
    suffix = ".failed" if failure else ""
    # All is written before anything takes its place, the record last: it always describes what is already there.
    names = (f"{task.name}{suffix}.json", f"{task.name}{suffix}.ipynb")
    with whole(task.folder / names[0]) as noted, whole(task.folder / names[1]) as place:
        run_record.write(noted)
        place.write_text(nbformat.writes(executed) + "\n", encoding="utf-8")
        if not failure:
            frames.keep(task.folder, task.name, task.inputs)
    if not failure:
        for left in task.folder.glob(f"{task.name}.failed.*"):
            left.unlink()
    return run_record
