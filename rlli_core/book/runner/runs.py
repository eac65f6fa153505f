"""Runs the notebooks: Papermill executes them in parallel processes, and each run leaves a record.

A good run of notebook `name` under `profile` leaves `build/runs/<profile>/<name>.ipynb` and, beside it, the record
`<name>.json`. A run that fails leaves `<name>.failed.ipynb` and `<name>.failed.json` and touches neither of those. A
notebook whose inputs are those of its last good run is not run again, so an interrupted command goes on where it stopped.

For the book, a run also works out the frames of the notebook's panels (`book.panels.panel`), into `panels/<name>`.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import nbformat
import yaml
from tqdm import tqdm

from ...errors import InvalidArgument, RunFailed, check_integer
from ...files import DATA, FRAMES, git_commit, write_text
from . import checksums
from .notebooks import NOTEBOOKS, find, names, parameters_of, with_parameters
from .recording import intervals as intervals  # notebooks take them from here
from .recording import numbers_of
from .recording import record as record

RUNS = DATA.parent / "build" / "runs"
PROFILES = ("smoke", "full")
CELL_TIMEOUT_S = 3600
_NOTES = ("papermill", "execution")  # what Papermill and JupyterLab write into the metadata of cells
_LIBRARIES = ("rlli_core", "torch", "diffusers", "transformers", "numpy", "scipy", "scikit-image", "papermill")


@dataclass(frozen=True)
class RunRecord:
    """What is known about one run of one notebook.

    Attributes:
        notebook, profile: which notebook ran, with which profile's values.
        outcome: "completed" or "failed".
        error: what went wrong, or None.
        parameters: every parameter of the notebook with the value it ran with.
        seeds: those of them that are seeds.
        numbers: the named numbers that the notebook recorded.
        wall_s: wall time in seconds.
        peak_memory_bytes: largest resident set of the kernel.
        inputs: hash of all that the result depends on; see `input_hash`.
        panels: how many panels have their frames beside the result.
        versions, machine, git_commit, started: where the result comes from. The commit ends in "+" where the checkout
            had uncommitted changes and is None outside a checkout; `started` is UTC, ISO 8601.
    """

    notebook: str
    profile: str
    outcome: str
    error: str | None
    parameters: dict
    seeds: dict
    numbers: dict
    wall_s: float
    peak_memory_bytes: int
    inputs: str
    panels: int
    versions: dict
    machine: str
    git_commit: str | None
    started: str


def load_profile(profile: str) -> dict[str, dict]:
    """The values that `profile` gives to the parameters of each notebook; what it leaves out stays as the notebook has it."""
    if profile not in PROFILES:
        raise InvalidArgument("profile", profile, "one of " + ", ".join(PROFILES))
    return yaml.safe_load((NOTEBOOKS / "profiles" / f"{profile}.yaml").read_text()) or {}


def seeds_of(parameters: Mapping[str, object]) -> dict[str, object]:
    """Those of a notebook's parameters that are seeds, or numbers of seeds."""
    return {key: value for key, value in parameters.items() if {"seed", "seeds"} & set(key.split("_"))}


def read_record(name: str, profile: str, folder: Path | None = None) -> dict | None:
    """The record of the last good run, in the folder of the profile or another, or None."""
    path = (folder or RUNS / profile) / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def input_hash(notebook: nbformat.NotebookNode) -> str:
    """Hash of what the result of a run depends on: cells with their parameters, the package, `data/`, library versions.

    Metadata count as well, since the executed notebook carries them to the book: captions and alternative texts of figures.
    """
    cells = [
        [cell.cell_type, cell.source, {key: value for key, value in cell.metadata.items() if value and key not in _NOTES}]
        for cell in notebook.cells
    ]
    total = hashlib.sha256(json.dumps(cells, sort_keys=True).encode())
    total.update(json.dumps([_versions(), checksums.measured()]).encode())
    for path in sorted(p for p in (DATA.parent / "rlli_core").rglob("*") if p.suffix in (".py", ".mjs", ".css", ".j2")):
        total.update(path.read_bytes())
    return total.hexdigest()


def run(
    wanted: Sequence[str] | None = None,
    profile: str = "smoke",
    parameters: Mapping[str, object] | None = None,
    *,
    force: bool = False,
    write_back: bool = False,
    jobs: int | None = None,
    folder: Path | None = None,
) -> list[dict]:
    """Run notebooks and return their records, in the order asked for.

    Args:
        wanted: names of notebooks; None means all.
        profile: "smoke" or "full".
        parameters: values that replace the profile's; each must be a parameter of every notebook in `wanted`.
        force: run also what is up to date.
        write_back: copy each good result over the committed notebook.
        jobs: notebooks at a time, at least 1; by default as many as there are cores, 4 at most.
        folder: where results and records go; by default build/runs/<profile>, where the book finds them: only there panels
            get their frames.

    Raises:
        InvalidArgument: before anything runs, for an unknown notebook, profile, parameter, or a value of the wrong type.
        RunFailed: after everything has run, if any notebook failed; the others' results are in place.
    """
    values = load_profile(profile)
    paths = [find(name) for name in (names() if wanted is None else dict.fromkeys(wanted))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = min(cores, 4) if jobs is None else check_integer("jobs", jobs, 1)
    sources = {path: with_parameters(read(path), {**values.get(path.stem, {}), **(parameters or {})}) for path in paths}
    if not paths:
        raise RunFailed(f"there is no notebook in {NOTEBOOKS}: run from a checkout")
    for_book, folder = folder is None, folder or RUNS / profile
    folder.mkdir(parents=True, exist_ok=True)
    done = {path: _inputs_if_whole(path.stem, profile, folder) for path in paths}
    stale = [path for path in paths if force or done[path] != input_hash(sources[path])]
    for path in paths:
        if path not in stale:
            print(f"{path.stem}: up to date")
    failures = _run_parallel({path: sources[path] for path in stale}, folder, profile, jobs, cores, for_book)
    if write_back:
        for path in paths:
            if path.stem not in failures:
                write_text(path, (folder / path.name).read_text())
    if failures:
        raise RunFailed("\n".join(f"{name}: {error}" for name, error in failures.items()))
    return [read_record(path.stem, profile, folder) for path in paths]


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path`, checked against the notebook format."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def _run_parallel(
    sources: Mapping[Path, nbformat.NotebookNode], folder: Path, profile: str, jobs: int, cores: int, for_book: bool
) -> dict[str, str]:
    """Execute each notebook in a process of its own, `jobs` at a time; returns the errors by notebook name."""
    if not sources:
        return {}
    threads = max(1, cores // min(jobs, len(sources)))
    context = multiprocessing.get_context("spawn")
    failures = {}
    # One process a task, so that the peak memory of its children is that of one kernel.
    pool = ProcessPoolExecutor(jobs, context, initializer=tqdm.set_lock, initargs=(context.RLock(),), max_tasks_per_child=1)
    with pool, tqdm(total=len(sources), desc="notebooks", unit="", position=0) as bar:
        runs = {
            pool.submit(_run_one, path, source, folder, profile, threads, position, for_book): path.stem
            for position, (path, source) in enumerate(sources.items(), start=1)
        }
        for done in as_completed(runs):
            name = runs[done]
            try:
                result = done.result()
                error, cost = result.error, f"{result.wall_s:.0f} s, {result.peak_memory_bytes / 2**20:.0f} MiB"
            except BrokenProcessPool:
                error, cost = "its process was killed, for example for want of memory", "no record"
            if error:
                failures[name] = error
            tqdm.write(f"{name}: {'FAILED' if error else 'completed'} ({cost})")
            bar.update()
    return failures


def _run_one(
    path: Path, source: nbformat.NotebookNode, folder: Path, profile: str, threads: int, position: int, for_book: bool
) -> RunRecord:
    """Execute one notebook and write its result, frames and record to `folder`; in a process of its own."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # the kernel inherits it; two kernels on all cores each crawl
    scratch = folder / "panels.new" / path.stem  # frames wait here until the run is good
    shutil.rmtree(scratch, ignore_errors=True)
    os.environ[FRAMES] = str(scratch) if for_book else ""
    parameters = {key: parameter.value for key, parameter in parameters_of(source).items()}
    inputs, started, clock = input_hash(source), datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    executed, error = _execute(path, source, position)
    run_record = RunRecord(
        notebook=path.stem,
        profile=profile,
        outcome="failed" if error else "completed",
        error=error,
        parameters=parameters,
        seeds=seeds_of(parameters),
        numbers=numbers_of(executed),
        wall_s=round(time.perf_counter() - clock, 2),
        peak_memory_bytes=_peak_memory_of_children(),
        inputs=inputs,
        panels=len(list(scratch.glob("*/index.js"))),
        versions=_versions(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {threads} threads",
        git_commit=git_commit(),
        started=started,
    )
    executed.metadata["rlli"] = _of_the_run(run_record)
    suffix = ".failed" if error else ""
    # Frames and notebook first: a record always describes what is already there.
    if not error:
        _replace(scratch, folder / "panels" / path.stem)
    shutil.rmtree(scratch, ignore_errors=True)
    write_text(folder / f"{path.stem}{suffix}.ipynb", nbformat.writes(executed) + "\n")
    write_text(folder / f"{path.stem}{suffix}.json", json.dumps(asdict(run_record), indent=1) + "\n")
    if not error:
        for left in folder.glob(f"{path.stem}.failed.*"):
            left.unlink()
    return run_record


def _inputs_if_whole(name: str, profile: str, folder: Path) -> str | None:
    """The inputs of the last good run, if all that it left is still there: the frames of its panels as well."""
    last = read_record(name, profile, folder) or {}
    there = len(list((folder / "panels" / name).glob("*/index.js")))
    return last.get("inputs") if last.get("panels", 0) == there else None


def _replace(new: Path, place: Path) -> None:
    """Put the folder `new` in the place of another, or nothing where there is no new one."""
    shutil.rmtree(place, ignore_errors=True)
    if new.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        new.rename(place)


def _of_the_run(run_record: RunRecord) -> dict:
    """What an executed notebook carries of its record; the book's status page shows it."""
    return {
        "profile": run_record.profile,
        "wall_s": round(run_record.wall_s),
        "peak_memory_mib": round(run_record.peak_memory_bytes / 2**20),
        "started": run_record.started,
        "machine": run_record.machine,
        "versions": run_record.versions,
    }


def _execute(path: Path, source: nbformat.NotebookNode, position: int) -> tuple[nbformat.NotebookNode, str | None]:
    """Run the cells of `source` where `path` lies; returns the notebook as far as it got, and the error or None."""
    # Here, so that a notebook that only records numbers does not need what runs notebooks.
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    error = None
    with tempfile.TemporaryDirectory() as scratch:
        given, executed = Path(scratch) / "given.ipynb", Path(scratch) / "executed.ipynb"
        nbformat.write(_clean(source, outputs=False), given)
        # The TCP ports of kernels that start together can clash, and so do sockets under their default name.
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{scratch}/kernel"}})
        try:
            papermill.execute_notebook(
                given,
                executed,
                kernel_name="python3",
                cwd=path.parent,
                start_timeout=120,
                execution_timeout=CELL_TIMEOUT_S,
                progress_bar={"desc": path.stem, "position": position, "leave": False, "disable": None},
                config=sockets,
            )
        except PapermillExecutionError as failure:
            error = f"cell {failure.exec_count}: {failure.ename}: {failure.evalue}"
        except Exception as failure:  # a dead kernel, a cell over its time limit: every way to fail is a failed run
            error = f"{type(failure).__name__}: {failure}"
        result = _clean(nbformat.read(executed if executed.exists() else given, as_version=4))
    # After a kernel's death Papermill marks every cell as completed, so look at what the cells themselves show.
    skipped = [cell for cell in result.cells if cell.cell_type == "code" and cell.source and cell.execution_count is None]
    if skipped and error is None:
        error = f"{len(skipped)} code cells were not executed"
    return result, error


def _clean(notebook: nbformat.NotebookNode, outputs: bool = True) -> nbformat.NotebookNode:
    """Without Papermill's notes (paths of this machine, times of each cell) and, if asked, without outputs."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for note in _NOTES:
            cell.metadata.pop(note, None)
        if cell.cell_type == "code" and not outputs:
            cell.outputs, cell.execution_count = [], None
    if not outputs:
        notebook.metadata.pop("widgets", None)
    return notebook


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _LIBRARIES}}


def _peak_memory_of_children() -> int:
    """Bytes; the kernel is the largest child that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
