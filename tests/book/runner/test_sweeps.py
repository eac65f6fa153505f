"""Sweeps: the grid, what each point leaves, going on after a break, and the exit codes."""

import json
import shutil

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.book import cli
from rlli_core.book.runner import notebooks, runs, sweeps
from rlli_core.book.runner.run_record import RunRecord
from rlli_core.errors import InvalidArgument, RunFailed

pytestmark = pytest.mark.kernel

PARAMETERS = "a: int = 1  # one\nb: float = 0.5  # another\nlist_of: list[int] = [1]"
CELL = "from rlli_core.book import record\nassert a != 13\nrecord(total=a + b + sum(list_of))"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout with one notebook, `fig01_sum`; returns where its sweeps go."""
    place = tmp_path / "notebooks"
    (place / "profiles").mkdir(parents=True)
    for profile in runs.PROFILES:
        (place / "profiles" / f"{profile}.yaml").write_text("{}\n")
    tagged = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Sums"), tagged, new_code_cell(CELL)]), place / "fig01_sum.ipynb")
    for module in (notebooks, runs):
        monkeypatch.setattr(module, "NOTEBOOKS", place)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return tmp_path / "runs" / "smoke" / "sweeps" / "fig01_sum"


def test_a_sweep_goes_on_where_it_stopped_and_writes_a_table(folder, capsys, monkeypatch):
    assert cli.main(["sweep", "fig01", "-g", "a=1,13", "-p", "b=2"]) == 1
    assert "a=13" in capsys.readouterr().err
    first = (folder / "a=1,b=2" / "fig01_sum.json").stat().st_mtime_ns
    assert cli.main(["sweep", "fig01", "-g", "a=1,2", "-p", "b=2"]) == 0
    shown = capsys.readouterr().out
    assert "up to date" in shown and "total" in shown and "a.csv" in shown
    assert (folder / "a=1,b=2" / "fig01_sum.json").stat().st_mtime_ns == first
    assert (folder / "a=2,b=2" / "fig01_sum.ipynb").exists()
    assert pd.read_csv(folder / "a.csv").to_dict("list") == {"a": [1, 2], "total": [4.0, 5.0]}
    assert runs.read_record("fig01_sum", "smoke") is None  # a sweep is no run of the profile
    ran = []
    monkeypatch.setattr(runs, "run_all", lambda tasks, *_: ran.extend(filter(None, tasks)) or {})
    sweeps.sweep("fig01", {"a": [1, 2]}, parameters={"b": 2})
    assert ran == []


def pretend(monkeypatch):
    """Instead of running a point, remember its task; its record sums up its parameters. Returns the tasks."""
    seen = []

    def run_all(tasks, count, *_):
        for task in tasks:
            seen.append(task)
            values = {name: one.value for name, one in notebooks.parameters_of(task.source).items()}
            RunRecord(task.name, {"total": 1.0}, parameters=values).write(task.folder / f"{task.name}.json")
        assert count == len(seen)
        return {}

    monkeypatch.setattr(runs, "run_all", run_all)
    return seen


def test_the_grid_is_the_product_and_its_values_may_be_lists(folder, monkeypatch):
    seen = pretend(monkeypatch)
    assert cli.main(["sweep", "fig01", "-g", "list_of=[1,2],[3]", "-g", "b=0.1,0.2"]) == 0
    given = [runs.read_record(task.name, "smoke", task.folder).parameters for task in seen]
    assert given == [{"a": 1, "list_of": v, "b": b} for v in ([1, 2], [3]) for b in (0.1, 0.2)]
    assert len({task.folder for task in seen}) == len({task.label for task in seen}) == 4
    table = pd.read_csv(folder / "list_of-b.csv")
    assert list(table.list_of) == ["[1, 2]", "[1, 2]", "[3]", "[3]"]


def what_is_left(folder, **where):
    """Of a sweep of which one point fails: its table, its records but for what they cost, and its failures."""
    with pytest.raises(RunFailed) as failed:
        sweeps.sweep("fig01", {"a": [1, 2, 13]}, **where)
    records = [json.loads((folder / f"a={a}" / "fig01_sum.json").read_text()) for a in (1, 2)]
    for record in records:
        for cost in ("wall_s", "peak_memory_mib", "machine", "started"):
            del record[cost]
    table = (folder / "a.csv").read_bytes()
    shutil.rmtree(folder)
    return table, records, list(failed.value.failures)


def test_two_points_at_a_time_come_to_the_same_table_and_records_as_one_after_another(folder, tmp_path):
    """The first point waits for the second, so they do run at once, and the order is still that of the grid."""
    done = tmp_path / "done"
    wait = f"import pathlib, time\nwhile a == 1 and not pathlib.Path({str(done)!r}).exists():\n    time.sleep(0.1)"
    mark = f"if a == 2:\n    pathlib.Path({str(done)!r}).touch()"
    path = notebooks.NOTEBOOKS / "fig01_sum.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2:2] = [new_code_cell(wait), new_code_cell(mark)]
    nbformat.write(notebook, path)
    both = what_is_left(folder, jobs=2)
    assert both == what_is_left(folder, jobs=1)
    assert both[0] == b"a,total\n1,2.5\n2,3.5\n" and both[2] == ["fig01_sum at a=13"]


@pytest.mark.slow
def test_a_sweep_on_a_cluster_comes_to_the_same_table_and_records(folder, cluster):
    assert what_is_left(folder, ray=cluster.address) == what_is_left(folder)


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["fig99", "-g", "a=1"], "fig01_sum"),
        (["fig01", "-g", "c=1"], "a, b, list_of"),
        (["fig01", "-g", "a=1,x"], "of type int"),
        (["fig01", "-g", "list_of=1"], "of type list[int]"),
        (["fig01", "-g", "a"], "name=value"),
        (["fig01", "-g", "a=1", "-g", "a=2"], "each parameter once"),
        (["fig01", "-g", "a=1", "-p", "a=2"], "of other parameters"),
        (["fig01", "-g", "a=1", "-p", "c=2"], "a, b, list_of"),
        (["fig01", "-g", "a=1", "--profile", "fast"], "smoke"),
        (["fig01"], "--grid"),
    ],
)
def test_a_bad_argument_exits_with_2_before_anything_runs(folder, capsys, arguments, allowed):
    try:
        status = cli.main(["sweep", *arguments])
    except SystemExit as leaving:  # argparse leaves by itself
        status = leaving.code
    assert status == 2 and allowed in capsys.readouterr().err
    assert not runs.RUNS.exists()


def test_a_long_point_has_a_short_folder(folder):
    names = {sweeps._folder({"prompt": text}) for text in ("a" * 300, "a/b", "b" * 300)}
    assert len(names) == 3 and all(len(name) < 100 and "/" not in name for name in names)


def test_from_python_the_same_is_refused(folder):
    with pytest.raises(InvalidArgument, match="at least one parameter"):
        sweeps.sweep("fig01", {})
    with pytest.raises(InvalidArgument, match="at least one parameter"):
        sweeps.sweep("fig01", {"a": []})
    with pytest.raises(RunFailed, match="a=13"):
        sweeps.sweep("fig01", {"a": [13]})
    assert not (folder / "a.csv").exists()


def test_points_that_differ_in_a_space_only_have_their_own_folders_and_no_name_is_too_long():
    told = [
        {"prompt": text}
        for text in ("a dog", "ad og", "adog", "a,b=1", "é" * 300, "x" * 300, "a/b", "..", "GA1", "ga1", "a.", "True")
    ]
    told += [{"prompt": "a", "b": 1}, {"bep": [0.01, 0.1]}, {"bep": [0.01], "b": 0.1}, {"bep": 0.01}]
    folders = [sweeps._folder(given) for given in told]
    told_apart = {folder.casefold().rstrip(". ") for folder in folders}  # by Windows and macOS
    assert len(told_apart) == len(told) and not any(set(folder) & set('<>:"|?*\\') for folder in folders)
    assert all(len(folder.encode()) <= 255 and folder not in (".", "..") and "/" not in folder for folder in folders)
    assert folders[-1] == "bep=0.01"


def test_ten_thousand_points_are_checked_in_a_moment_and_more_are_refused(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(notebooks.copy, "deepcopy", None)  # what takes a minute
        patch.setattr(runs, "run_all", None)
        with pytest.raises(InvalidArgument, match="a='x'"):
            sweeps.sweep("fig01", {"a": [*range(9999), "x"]})
        with pytest.raises(InvalidArgument, match="10100 points.*at most 10000"):
            sweeps.sweep("fig01", {"a": list(range(101)), "b": [k / 100 for k in range(100)]})
    assert not runs.RUNS.exists()
    seen = pretend(monkeypatch)
    sweeps.sweep("fig01", {"a": list(range(20)), "b": [k / 10 for k in range(10)]})
    assert len({task.folder for task in seen}) == 200


@pytest.mark.parametrize(
    "value", [[[1]], {"a": 1}, (1, 2), {1}, [None], b"x", 1j, ..., [[[]]], [10**400], [float("nan")], [True]]
)
@pytest.mark.parametrize("name", ["a", "b", "list_of"])
def test_nested_and_foreign_values_are_no_parameters(folder, name, value):
    with pytest.raises(InvalidArgument, match=name):
        sweeps.sweep("fig01", {name: [value]})
