"""Runs and sweeps that are killed or lose their ground: what was there stays, and the next command makes the same."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.book.runner import execution, frames, notebooks, runs, sweeps
from rlli_core.book.runner.run_record import RunRecord
from rlli_core.errors import RunFailed, UnusableFile

SUM = "from rlli_core.book.runner.recording import record\nrecord(total=a + 0.5)"
PANEL = """
import os, shutil
from rlli_core.book.panels.panel import Panel, Part, slider
Panel({'x': slider('x', range(4), 1, (0, 3))}, lambda x: (f'{x}', [Part(text='words')]))
"""


def notebook_of(*sources):
    tagged = new_code_cell("a: int = 1", metadata={"tags": ["parameters"]})
    return new_notebook(cells=[new_markdown_cell("# Sums"), tagged, *map(new_code_cell, sources)])


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with notebooks/ and profiles; `checkout(*cells)` writes the notebook `fig01_sum` and returns the folder."""
    place = tmp_path / "notebooks"
    (place / "profiles").mkdir(parents=True)
    for profile in runs.PROFILES:
        (place / "profiles" / f"{profile}.yaml").write_text("{}\n")
    for module in (notebooks, runs):
        monkeypatch.setattr(module, "NOTEBOOKS", place)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")

    def write(*sources):
        nbformat.write(notebook_of(*sources), place / "fig01_sum.ipynb")
        return tmp_path

    return write


SWEEP = """
import sys
from pathlib import Path
from rlli_core.book.runner import notebooks, runs, sweeps

if __name__ == "__main__":
    root = Path(sys.argv[1])
    notebooks.NOTEBOOKS = runs.NOTEBOOKS = root / "notebooks"
    runs.RUNS = root / "runs"
    sweeps.sweep("fig01", {"a": [1, 2]}, jobs=1)
"""


@pytest.mark.kernel
def test_a_killed_sweep_goes_on_to_the_same_table(kill, checkout, tmp_path):
    """Killed in its second point, with all of its family alive; an uninterrupted sweep has the same bytes."""
    held = tmp_path / "held"
    wait = f"import pathlib, time\nwhile a == 2 and pathlib.Path({str(held)!r}).exists():\n    time.sleep(0.1)"
    root = checkout(wait, SUM)
    held.touch()
    script = tmp_path / "script.py"
    script.write_text(SWEEP)
    sweep = subprocess.Popen([sys.executable, script, root], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder, end = root / "runs" / "smoke" / "sweeps" / "fig01_sum", time.monotonic() + 600
    while not (folder / "a=2" / ".fig01_sum.lock").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)
    kill(sweep)
    held.unlink()
    first = folder / "a=1" / "fig01_sum.json"
    done = first.read_bytes(), first.stat().st_mtime_ns
    assert not (folder / "a.csv").exists() and not (folder / "a=2" / "fig01_sum.json").exists()
    table, written = sweeps.sweep("fig01", {"a": [1, 2]})
    assert (first.read_bytes(), first.stat().st_mtime_ns) == done and table.total.tolist() == [1.5, 2.5]
    assert written.read_bytes() == b"a,total\n1,1.5\n2,2.5\n"  # as test_sweeps has it of one that nobody killed
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {"a.csv", "fig01_sum.ipynb", "fig01_sum.json", ".fig01_sum.lock"}


@pytest.fixture
def last(checkout):
    """The folder of the last good run, of a notebook with a panel, and a function that reads all that it left."""
    smoke = runs.RUNS / "smoke"
    (waiting := frames.scratch(smoke, "fig01_sum") / "1").mkdir(parents=True)
    for name in ("index.js", "0.webp"):
        (waiting / name).write_text(name)
    frames.keep(smoke, "fig01_sum", "then")
    RunRecord("fig01_sum", {"total": 1.0}, inputs="then", panels=1).write(smoke / "fig01_sum.json")
    nbformat.write(notebook_of(), smoke / "fig01_sum.ipynb")

    def everything():
        files = [path for path in smoke.rglob("*") if path.is_file() and "failed" not in path.name and path.name[0] != "."]
        return {path.relative_to(smoke).as_posix(): path.read_bytes() for path in files}

    assert len(everything()) == 5
    return smoke, everything


@pytest.mark.kernel
def test_a_run_whose_frames_vanish_fails_and_leaves_the_last_ones(checkout, last):
    kept = last[1]()
    checkout(PANEL, "shutil.rmtree(os.environ['RLLI_PANELS'])")
    with pytest.raises(RunFailed, match="frames of fig01_sum/1 were removed while the notebook ran"):
        runs.run()
    assert last[1]() == kept


def test_frames_wait_in_a_folder_of_their_process_and_go_with_the_next_run(tmp_path):
    killed = tmp_path / "panels.new" / "1" / "fig01_sum" / "1"
    other = tmp_path / "panels.new" / "1" / "fig02_other"
    for place in (killed, other):
        place.mkdir(parents=True)
    waiting = frames.scratch(tmp_path, "fig01_sum")
    assert waiting.parent.name == str(os.getpid()) and waiting.name == "fig01_sum" and not killed.exists() and other.exists()


def test_frames_are_not_whole_without_one_of_their_pictures(tmp_path):
    record = RunRecord("fig01_sum", {}, inputs="now", panels=1)
    waiting = frames.scratch(tmp_path, "fig01_sum") / "1"
    waiting.mkdir(parents=True)
    for name in ("index.js", "0.webp", "1.webp"):
        (waiting / name).write_text("")
    frames.keep(tmp_path, "fig01_sum", "now")
    assert frames.whole(tmp_path, record)
    (tmp_path / "panels" / "fig01_sum" / "1" / "1.webp").unlink()
    assert not frames.whole(tmp_path, record)


@pytest.mark.parametrize("full", [".ipynb", ".json"])
def test_a_full_disk_leaves_the_last_result_with_its_frames(checkout, last, monkeypatch, full):
    """What a run leaves is written before anything of it takes its place."""
    smoke, everything = last
    kept, path = everything(), checkout(SUM) / "notebooks" / "fig01_sum.ipynb"
    task = runs.Task(path, runs.read(path), "now", "smoke", smoke, True, True)

    def execute(*_):
        (waiting := Path(os.environ["RLLI_PANELS"]) / "1").mkdir(parents=True)
        (waiting / "index.js").write_text("new")
        return runs.read(path), None

    write = Path.write_text

    def fill(path, text, **how):
        if f"fig01_sum{full}" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, text, **how)

    for name in ("RLLI_PANELS", "OMP_NUM_THREADS"):  # so that they are as before afterwards
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(runs, "execute", execute)
    with monkeypatch.context() as patch, pytest.raises(UnusableFile, match="cannot be written: No space left on device"):
        patch.setattr(Path, "write_text", fill)
        runs._run_one(task, 1)
    assert everything() == kept and not list(smoke.glob("panels.new/*")) and not list(smoke.glob(".fig01_sum.*n*"))
    runs._run_one(task, 1)
    assert everything()["panels/fig01_sum/1/index.js"] == b"new" and runs.read_record("fig01_sum", "smoke").inputs == "now"


@pytest.mark.kernel
def test_neither_a_long_temporary_folder_nor_a_home_that_is_none_stops_a_kernel(checkout, monkeypatch, tmp_path):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setenv("HOME", "/dev/null")
    for name in ("MPLCONFIGDIR", "IPYTHONDIR"):  # so that they are as before afterwards
        monkeypatch.setenv(name, "")
    path = checkout("import matplotlib.pyplot as plt", "plt.figure();", SUM) / "notebooks" / "fig01_sum.ipynb"
    executed, failure = execution.execute(path, runs.read(path), 0)
    assert failure is None and runs.numbers_of(executed) == {"total": 1.5}
    assert not [output for cell in executed.cells for output in cell.get("outputs", []) if output.output_type == "stream"]
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to("/tmp")
