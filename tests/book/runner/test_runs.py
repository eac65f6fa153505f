"""The notebook runner: what a run leaves behind, and that no way to fail passes for success."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core import files
from rlli_core.book.runner import execution, frames, notebooks, recording, runs
from rlli_core.book.runner.run_record import RunRecord
from rlli_core.errors import InvalidArgument, RunFailed

pytestmark = pytest.mark.kernel

PARAMETERS = "count: int = 2  # how many\nbep: float = 0.5  # bit error probability\nseed: int = 7"
GOOD = ["total = count + seed", "from rlli_core.book import record\nrecord(total=total, bep=bep)"]


def notebook_of(*sources, parameters=PARAMETERS):
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    return new_notebook(cells=[new_markdown_cell("# Numbers add up"), tagged, *map(new_code_cell, sources)])


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A folder of notebooks and profiles apart from the real one; `bench(name, *cells)` writes a notebook."""
    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    (folder / "profiles" / "smoke.yaml").write_text("fig01_sum: {count: 3}\n")
    (folder / "profiles" / "full.yaml").write_text("fig01_sum: {count: 30}\n")

    def write(name, *sources):
        path = folder / f"{name}.ipynb"
        nbformat.write(notebook_of(*sources), path)
        return path

    return write


def test_a_good_run_leaves_the_executed_notebook_and_its_record(bench):
    path = bench("fig01_sum", *GOOD)
    (record,) = runs.run(["fig01"], "smoke", {"bep": 0.25})
    executed = nbformat.read(runs.RUNS / "smoke" / "fig01_sum.ipynb", as_version=4)
    written = json.loads((runs.RUNS / "smoke" / "fig01_sum.json").read_text())
    assert record == runs.read_record("fig01_sum", "smoke") and asdict(record) == written
    assert record.parameters == {"count": 3, "bep": 0.25, "seed": 7}
    assert record.seeds == {"seed": 7}
    assert record.numbers == runs.numbers_of(executed) == {"total": 10, "bep": 0.25}
    assert record.origin == "latest run" and record.error is None
    assert record.wall_s > 0 and record.peak_memory_mib > 10
    assert record.versions["papermill"]
    assert executed.cells[1].source == "count: int = 3  # how many\nbep: float = 0.25  # bit error probability\nseed: int = 7"
    assert [cell.execution_count for cell in executed.cells[1:]] == [1, 2, 3]
    assert "papermill" not in executed.metadata
    about = executed.metadata["rlli"]  # what the status page shows
    assert about["profile"] == "smoke" and about["wall_s"] == record.wall_s and about["peak_memory_mib"] > 10
    assert about == record.about and {"started", "machine", "versions", "inputs"} <= set(about)
    assert RunRecord.of("fig01_sum", executed) == replace(record, origin="committed notebook")
    assert nbformat.read(path, as_version=4).cells[1].source == PARAMETERS  # the committed one is untouched


def test_several_notebooks_run_and_unchanged_ones_are_not_run_again(bench, monkeypatch):
    paths = [bench("fig01_sum", *GOOD), bench("fig02_sum", *GOOD)]
    first = runs.run(write_back=True)
    assert [record.notebook for record in first] == ["fig01_sum", "fig02_sum"]
    assert [record.numbers["total"] for record in first] == [10, 9]
    assert runs.numbers_of(nbformat.read(paths[0], as_version=4)) == {"total": 10, "bep": 0.5}
    # The written-back notebook holds the profile's values, so the run stays up to date; a changed cell does not.
    started = []
    monkeypatch.setattr(runs, "run_all", lambda tasks, *rest: started.extend(task.name for task in tasks) or {})
    assert runs.run() == first and started == []
    bench("fig02_sum", *GOOD, "total + 1")
    runs.run()
    assert started == ["fig02_sum"]
    runs.run(["fig01"], force=True)
    assert started == ["fig02_sum", "fig01_sum"]


def test_captions_come_through_a_run_and_a_changed_one_makes_it_stale(bench):
    path = bench("fig01_sum", *GOOD)
    source = nbformat.read(path, as_version=4)
    told = {"figure": {"caption": "A sum.", "name": "fig-sum"}, "image": {"alt": "Two numbers added."}}
    source.cells[2].metadata["mystnb"] = told
    nbformat.write(source, path)
    (record,) = runs.run()
    assert nbformat.read(runs.RUNS / "smoke" / "fig01_sum.ipynb", as_version=4).cells[2].metadata["mystnb"] == told
    source.cells[2].metadata["mystnb"]["figure"]["caption"] = "Another sum."
    source.cells[2].metadata["papermill"] = {"duration": 1.0}
    nbformat.write(source, path)
    (again,) = runs.run()
    assert again.inputs != record.inputs
    del source.cells[2].metadata["papermill"]
    nbformat.write(source, path)
    assert runs.run() == [again]


@pytest.mark.parametrize(
    ("cell", "message"),
    [("1 / 0", "ZeroDivisionError"), ("import os\nos.kill(os.getpid(), 9)", "DeadKernelError")],
)
def test_a_failed_run_fails_and_leaves_the_last_good_result(bench, cell, message):
    folder = runs.RUNS / "smoke"
    folder.mkdir(parents=True)
    (folder / "fig01_sum.ipynb").write_text("the last good notebook")
    (folder / "fig01_sum.json").write_text('{"inputs": "of the last good run"}')
    path = bench("fig01_sum", cell, *GOOD)
    before = path.read_bytes()
    with pytest.raises(RunFailed, match=message) as raised:
        runs.run(write_back=True)
    (failure,) = raised.value.failures.values()
    assert failure.error_type == message and not raised.value.bad_argument
    assert (folder / "fig01_sum.ipynb").read_text() == "the last good notebook"
    assert (folder / "fig01_sum.json").read_text() == '{"inputs": "of the last good run"}'
    assert path.read_bytes() == before
    failed = json.loads((folder / "fig01_sum.failed.json").read_text())
    assert message in failed["error"]["message"] and failed["numbers"] == {}


def test_it_is_this_interpreter_that_runs_a_notebook(bench, tmp_path, monkeypatch):
    """Not the one that somebody installed as `python3` on the Jupyter path."""
    path = bench("fig01_sum", "import sys\nprint(sys.executable)")
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = ["/usr/bin/env", "OF_SOMEBODY=1", "/bin/false", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "another", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    executed, failure = execution.execute(path, runs.read(path), position=0)
    assert failure is None and executed.cells[2].outputs[0].text.strip() == sys.executable


def test_where_there_are_no_local_sockets_a_kernel_is_reached_by_tcp(bench, monkeypatch):
    import papermill

    given = []
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, config, **__: given.append(config))
    path = bench("fig01_sum", *GOOD)
    for system, transport in (("Linux", "ipc"), ("Windows", "tcp")):
        monkeypatch.setattr(execution.platform, "system", partial(str, system))
        execution.execute(path, runs.read(path), position=0)
        assert given[-1].get("KernelManager", {}).get("transport", "tcp") == transport


def test_a_cell_over_its_time_limit_fails(bench, monkeypatch):
    path = bench("fig01_sum", "import time\ntime.sleep(60)")
    monkeypatch.setattr(execution, "CELL_TIMEOUT_S", 1)
    _, failure = execution.execute(path, runs.read(path), position=0)
    assert "timed out" in failure.message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"parameters": {"cuont": 3}}, "count, bep, seed"),
        ({"parameters": {"count": 3.5}}, "count must be of type int"),
        ({"parameters": {"count": True}}, "count must be of type int"),
        ({"parameters": {"bep": "0.5"}}, "bep must be of type float"),
        ({"profile": "smoek"}, "smoke, full"),
        ({"wanted": ["fig99"]}, "fig01_sum"),
        ({"jobs": 0}, "in 1..1000"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_runs(bench, call, message):
    bench("fig01_sum", *GOOD)
    with pytest.raises(InvalidArgument, match=message):
        runs.run(**call)
    assert not list(runs.RUNS.rglob("*"))


def test_nothing_to_run_is_no_success(bench):
    with pytest.raises(RunFailed, match="no notebook"):
        runs.run()


def test_a_misspelt_parameter_in_a_profile_is_refused(bench):
    path = bench("fig01_sum", *GOOD)
    (path.parent / "profiles" / "smoke.yaml").write_text("fig01_sum: {sede: 3}\n")
    with pytest.raises(InvalidArgument, match="sede"):
        runs.run()


def test_parameters_of_every_kind_are_written_where_they_stand():
    cell = 'names: list[str] = [\n    "ä",\n    "b",\n]  # who\nlow: float = 1e-3; flag: bool = False  # é'
    changed = notebooks.with_parameters(notebook_of(parameters=cell), {"names": ["c"], "low": 2, "flag": True})
    assert changed.cells[1].source == "names: list[str] = ['c']  # who\nlow: float = 2.0; flag: bool = True  # é"


@pytest.mark.parametrize("line", ["count = 2", "count: int", "a = b = 2", "import os", "count: int = 1 + len('a')"])
def test_a_parameters_cell_with_anything_but_typed_literals_is_refused(line):
    with pytest.raises((RunFailed, ValueError)):
        notebooks.parameters_of(notebook_of(parameters=line))


@pytest.mark.parametrize("numbers", [{}, {"score": float("nan")}, {"score": float("inf")}, {"score": "0.5"}, {"score": None}])
def test_a_missing_or_unreadable_number_is_not_recorded(numbers):
    with pytest.raises(InvalidArgument):
        recording.record(**numbers)


def test_intervals_hold_the_truth_in_95_of_100_cases():
    draws = np.random.default_rng(0).normal(3.0, 1.0, (2000, 8))
    found = recording.intervals(**{f"s{k}": row for k, row in enumerate(draws)})
    inside = [found[f"s{k}_low"] <= 3.0 <= found[f"s{k}_high"] for k in range(2000)]
    assert 0.93 < np.mean(inside) < 0.97  # four standard errors of a share of 0.95
    assert found["s0"] == pytest.approx(draws[0].mean())
    with pytest.raises(InvalidArgument, match="two values"):
        recording.intervals(one=[0.5])


def test_the_middle_of_a_bootstrap_is_its_interval():
    found = recording.percentiles(one=range(101), other=[2.0, 2.0])
    assert found == {"one": 50, "one_low": 2.5, "one_high": 97.5, "other": 2, "other_low": 2, "other_high": 2}
    for bad in ([0.5], [0.5, float("nan")], 3):
        with pytest.raises(InvalidArgument, match="^one"):
            recording.percentiles(one=bad)


def test_a_run_may_go_to_another_folder(bench, tmp_path):
    bench("fig01_sum", *GOOD)
    (record,) = runs.run(["fig01"], "full", folder=tmp_path / "apart")
    assert record.profile == "full" and record.numbers["total"] == 37
    assert (tmp_path / "apart" / "fig01_sum.ipynb").exists() and runs.read_record("fig01_sum", "full") is None


PANEL = [
    "from rlli_core.book.panels.panel import Panel, Part, slider",
    "Panel({'x': slider('x', range(4), 1, (0, 3))}, lambda x: (f'{x} {count}', [Part(text='words')]))",
]


def test_frames_of_panels_come_with_a_good_run_and_stay_through_a_failed_one(bench, tmp_path):
    bench("fig01_sum", *GOOD, *PANEL)
    (record,) = runs.run(["fig01"])
    index = runs.RUNS / "smoke" / "panels" / "fig01_sum" / "1" / "index.js"
    assert record.panels == 1 and '"1 3"' in (good := index.read_text())
    assert '"fig01_sum/1"' in json.dumps(nbformat.read(runs.RUNS / "smoke" / "fig01_sum.ipynb", as_version=4).metadata.widgets)
    bench("fig01_sum", *GOOD, *PANEL, "1 / 0")
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        runs.run(["fig01"], parameters={"count": 8})
    assert index.read_text() == good and not list((runs.RUNS / "smoke").glob("panels.new/*"))
    bench("fig01_sum", *GOOD)  # a page that has a panel no longer keeps none
    runs.run(["fig01"])
    assert not index.exists()
    bench("fig01_sum", *GOOD, *PANEL)
    (apart,) = runs.run(["fig01"], folder=tmp_path / "apart")  # such as a sweep's: nothing for the book
    assert apart.panels == 0 and not (tmp_path / "apart" / "panels").exists()


def test_a_notebook_without_its_frames_is_not_up_to_date(bench, monkeypatch):
    bench("fig01_sum", *GOOD, *PANEL)
    runs.run(["fig01"])
    started = []
    monkeypatch.setattr(runs, "run_all", lambda tasks, *rest: started.extend(task.name for task in tasks) or {})
    runs.run(["fig01"])
    assert started == []
    (runs.RUNS / "smoke" / "panels" / "fig01_sum" / "1" / "index.js").unlink()
    runs.run(["fig01"])
    assert started == ["fig01_sum"]


def started_by(monkeypatch):
    """A list that will hold the names of the notebooks that would be run."""
    started = []
    monkeypatch.setattr(runs, "run_all", lambda tasks, *rest: started.extend(task.name for task in tasks) or {})
    return started


def test_a_committed_notebook_stands_for_a_run_while_its_inputs_and_frames_are_there(bench, monkeypatch):
    path = bench("fig01_sum", *GOOD, *PANEL)
    (record,) = runs.run(write_back=True)
    smoke = runs.RUNS / "smoke"
    for left in smoke.glob("fig01_sum.*"):  # as in a fresh clone after nbval
        left.unlink()
    started = started_by(monkeypatch)
    (taken,) = runs.run(committed=True)
    assert started == [] and taken == replace(record, origin="committed notebook")
    assert (smoke / "fig01_sum.ipynb").read_text() == path.read_text()
    assert runs.run() == [taken] and started == []  # from now on it is the last good run

    def started_after(change):
        for left in smoke.glob("fig01_sum.*"):
            left.unlink()
        started.clear()
        change()
        runs.run(committed=True)
        return started == ["fig01_sum"]

    index, mark = smoke / "panels" / "fig01_sum" / "1" / "index.js", smoke / "panels" / "fig01_sum" / "inputs"
    assert not started_after(lambda: None)
    assert started_after(lambda: mark.write_text("of another run")), "frames of other inputs"
    mark.write_text(record.inputs)
    text = index.read_text()
    assert started_after(index.unlink), "no frames"
    index.write_text(text)
    assert not started_after(lambda: None)
    kept = path.read_text()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count, notebook.cells[1].outputs = None, []
    assert started_after(lambda: nbformat.write(notebook, path)), "outputs were stripped"
    path.write_text(kept)
    started.clear()
    runs.run(profile="full", committed=True)
    assert started == ["fig01_sum"], "another profile"
    started.clear()
    runs.run(parameters={"count": 8}, committed=True)
    assert started == ["fig01_sum"], "other parameters"
    bench("fig01_sum", *GOOD, *PANEL, "1 + 1")
    assert started_after(lambda: None), "another cell"


def test_frames_are_whole_only_with_those_of_every_panel(tmp_path):
    record = RunRecord("fig01_sum", {}, inputs="now", panels=1)
    assert frames.whole(tmp_path, replace(record, panels=0)) and not frames.whole(tmp_path, record)
    waiting = frames.scratch(tmp_path, "fig01_sum") / "1"
    waiting.mkdir(parents=True)
    (waiting / "index.js").write_text("")
    frames.keep(tmp_path, "fig01_sum", "now")
    assert frames.whole(tmp_path, record)
    for other in (replace(record, panels=2), replace(record, panels=0), replace(record, inputs="then")):
        assert not frames.whole(tmp_path, other)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"notebook": "fig01_sum"}', '{"numbers": 3}'])
def test_a_damaged_record_is_no_record(bench, text):
    bench("fig01_sum", *GOOD)
    path = runs.RUNS / "smoke" / "fig01_sum.json"
    path.parent.mkdir(parents=True)
    RunRecord("fig01_sum", {"total": 10}).write(path)
    assert runs.read_record("fig01_sum", "smoke").numbers == {"total": 10}
    path.write_text(path.read_text().replace('{\n  "total": 10\n }', "[]"))
    assert runs.read_record("fig01_sum", "smoke") is None
    path.write_text(text)
    assert runs.read_record("fig01_sum", "smoke") is None


def test_a_notebook_that_was_not_run_has_a_record_that_says_so():
    record = RunRecord.of("fig01_sum", notebook_of(*GOOD))
    assert record.profile == "not run" and record.numbers == {} and record.seeds == {"seed": 7}
    assert record.about == {"profile": "not run", "panels": 0} and record.inputs is None


def test_a_refused_value_is_told_from_other_failures(bench):
    config = "from rlli_core.book import NotebookConfig, number\nNotebookConfig.of({'bep': bep}, bep=number(0, 0.5))"
    bench("fig01_sum", config)
    with pytest.raises(RunFailed) as raised:
        runs.run(parameters={"bep": 0.7})
    assert raised.value.bad_argument and raised.value.failures["fig01_sum"].error_type == "InvalidArgument"
    bench("fig01_sum", "raise ValueError('InvalidArgument is only a word here')")
    with pytest.raises(RunFailed) as raised:
        runs.run()
    assert not raised.value.bad_argument


def test_the_kernels_memory_is_seen(bench):
    bench("fig01_sum", "import time\nheld = b'x' * (400 * 2**20)\ntime.sleep(1)\ndel held", *GOOD)
    (record,) = runs.run()
    assert 400 < record.peak_memory_mib < 1000


def test_a_run_without_git_ends_well(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert files.git_commit() is None


def test_a_killed_process_fails_its_own_notebook_only(bench):
    bench("fig01_dies", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", *GOOD)
    for number in (2, 3, 4):
        bench(f"fig0{number}_sum", *GOOD)
    with pytest.raises(RunFailed, match="killed") as failed:
        runs.run(jobs=2)
    assert list(failed.value.failures) == ["fig01_dies"]
    assert all(runs.read_record(f"fig0{number}_sum", "smoke") for number in (2, 3, 4))


def test_two_commands_at_once_take_turns_and_the_second_finds_it_done(bench, tmp_path):
    count = tmp_path / "count"
    bench("fig01_sum", f"import time\nwith open({str(count)!r}, 'a') as file:\n    file.write('x')\ntime.sleep(1)", *GOOD)
    with ThreadPoolExecutor(2) as both:
        first, second = (both.submit(runs.run, ["fig01"]) for _ in range(2))
    assert first.result() == second.result() == [runs.read_record("fig01_sum", "smoke")]
    assert count.read_text() == "x"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-200])])
def test_a_result_that_was_deleted_or_broken_off_is_made_again(bench, damage):
    bench("fig01_sum", *GOOD)
    runs.run()
    damage(runs.RUNS / "smoke" / "fig01_sum.ipynb")
    runs.run()
    assert runs.numbers_of(runs.read(runs.RUNS / "smoke" / "fig01_sum.ipynb")) == {"total": 10, "bep": 0.5}


def test_an_error_beside_the_work_is_that_notebooks_failure(bench):
    bench("fig01_sum", *GOOD)
    bench("fig02_sum", *GOOD)
    (runs.RUNS / "smoke" / "fig01_sum.ipynb").mkdir(parents=True)  # nothing can be written there
    with pytest.raises(RunFailed) as failed:
        runs.run()
    assert list(failed.value.failures) == ["fig01_sum"] and runs.read_record("fig02_sum", "smoke")
