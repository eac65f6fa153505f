"""Sweeps: the grid, what each point leaves, going on after a break, and the exit codes."""

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
    monkeypatch.setattr(runs, "_run_parallel", lambda tasks, *_: ran.extend(tasks) or {})
    sweeps.sweep("fig01", {"a": [1, 2]}, parameters={"b": 2})
    assert ran == []


def test_the_grid_is_the_product_and_its_values_may_be_lists(folder, monkeypatch):
    seen = []

    def run(names, profile, given, *, folder):
        seen.append((given, folder.name))
        return [RunRecord("fig01_sum", {"total": 1.0})]

    monkeypatch.setattr(runs, "run", run)
    assert cli.main(["sweep", "fig01", "-g", "list_of=[1,2],[3]", "-g", "b=0.1,0.2"]) == 0
    assert [given for given, _ in seen] == [{"list_of": v, "b": b} for v in ([1, 2], [3]) for b in (0.1, 0.2)]
    assert len({place for _, place in seen}) == 4
    table = pd.read_csv(folder / "list_of-b.csv")
    assert list(table.list_of) == ["[1, 2]", "[1, 2]", "[3]", "[3]"]


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
    made = []
    monkeypatch.setattr(runs, "run", lambda *given, folder: made.append(folder) or [RunRecord("fig01_sum", {"total": 1.0})])
    monkeypatch.setattr(notebooks.copy, "deepcopy", None)  # what takes a minute
    with pytest.raises(InvalidArgument, match="a='x'"):
        sweeps.sweep("fig01", {"a": [*range(9999), "x"]})
    assert made == []
    sweeps.sweep("fig01", {"a": list(range(100)), "b": [k / 100 for k in range(100)]})
    assert len(set(made)) == 10_000
    with pytest.raises(InvalidArgument, match="10100 points.*at most 10000"):
        sweeps.sweep("fig01", {"a": list(range(101)), "b": [k / 100 for k in range(100)]})


@pytest.mark.parametrize(
    "value", [[[1]], {"a": 1}, (1, 2), {1}, [None], b"x", 1j, ..., [[[]]], [10**400], [float("nan")], [True]]
)
@pytest.mark.parametrize("name", ["a", "b", "list_of"])
def test_nested_and_foreign_values_are_no_parameters(folder, name, value):
    with pytest.raises(InvalidArgument, match=name):
        sweeps.sweep("fig01", {name: [value]})
