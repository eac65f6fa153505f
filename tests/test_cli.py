"""The command line: what it prints and how it exits."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core import checksums, cli, notebooks, runs


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A checkout with one notebook, `fig09_steps`, and one data file."""
    folder, data = tmp_path / "notebooks", tmp_path / "data"
    (folder / "profiles").mkdir(parents=True)
    (data / "models" / "tiny").mkdir(parents=True)
    (data / "models" / "tiny" / "weights.bin").write_bytes(b"weights")
    for profile in runs.PROFILES:
        (folder / "profiles" / f"{profile}.yaml").write_text("{}\n")
    parameters = new_code_cell("bep: float = 0.03  # bit error probability", metadata={"tags": ["parameters"]})
    config = new_code_cell(
        "from rlli_core.config import NotebookConfig, number\n"
        "config = NotebookConfig.of(globals(), bep=number(0, 0.5))"
    )
    notebook = new_notebook(cells=[new_markdown_cell("# Fewer steps blur\n\nText."), parameters, config])
    nbformat.write(notebook, folder / "fig09_steps.ipynb")
    for module in (notebooks, runs):
        monkeypatch.setattr(module, "NOTEBOOKS", folder)
    for module in (checksums, cli):
        monkeypatch.setattr(module, "DATA", data)
    monkeypatch.setattr(checksums, "CHECKSUMS", data / "checksums.txt")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return tmp_path


def test_list_names_figure_parameters_and_time(bench, capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "fig09_steps  [Fig. 9; not run yet]" in shown
    assert "Fewer steps blur" in shown and "bep: float = 0.03" in shown


def test_run_executes_and_refuses_a_value_that_the_notebook_refuses(bench, capsys):
    assert cli.main(["run", "fig09", "-p", "bep=0.05"]) == 0
    assert runs.read_record("fig09_steps", "smoke")["parameters"] == {"bep": 0.05}
    assert cli.main(["run", "fig09", "-p", "bep=0.7"]) == 2
    assert "[0, 0.5]" in capsys.readouterr().err
    assert runs.read_record("fig09_steps", "smoke")["parameters"] == {"bep": 0.05}
    assert cli.main(["list"]) == 0
    assert "smoke" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["run"], "fig09_steps"),
        (["run", "fig09", "--all"], "--all"),
        (["run", "fig10"], "fig09_steps"),
        (["run", "fig09", "-p", "bpe=0.1"], "bep"),
        (["run", "fig09", "-p", "bep=high"], "float"),
        (["run", "fig09", "-p", "bep"], "name=value"),
        (["run", "fig09", "--profile", "fast"], "smoke"),
        (["run", "fig09", "--write-back", "-p", "bep=0.1"], "smoke profile"),
        (["dance"], "doctor"),
        ([], "command"),
    ],
)
def test_a_bad_argument_exits_with_2_and_the_allowed_values(bench, capsys, arguments, allowed):
    try:
        status = cli.main(arguments)
    except SystemExit as leaving:  # argparse leaves by itself
        status = leaving.code
    assert status == 2
    assert allowed in capsys.readouterr().err
    assert not runs.RUNS.exists()


def test_models_and_doctor_notice_changed_files(bench, capsys):
    assert cli.main(["models"]) == 1
    assert cli.main(["models", "--write-checksums"]) == 0
    assert (bench / "data" / "checksums.txt").read_text().endswith("  models/tiny/weights.bin\n")
    assert cli.main(["models"]) == 0
    assert cli.main(["doctor"]) == 0
    assert "tiny" in capsys.readouterr().out
    (bench / "data" / "models" / "tiny" / "weights.bin").write_bytes(b"other weights")
    assert cli.main(["models"]) == 1
    assert "CHANGED: models/tiny/weights.bin" in capsys.readouterr().out
    assert cli.main(["doctor"]) == 1
    assert "data/models/tiny/weights.bin" in capsys.readouterr().out
    shutil.rmtree(bench / "data" / "models" / "tiny")
    assert cli.main(["models"]) == 1
