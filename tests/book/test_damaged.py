"""Damaged files at the command line's doors: one line that names the file and the remedy, exit 1; the doctor goes on."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.allocation import Policy, TableQoE, results
from rlli_core.allocation.handoffs import HandoffScores
from rlli_core.allocation.table import TABLE
from rlli_core.book import cli, machine
from rlli_core.book.browser import atlas, export
from rlli_core.book.ledger import claims, entries
from rlli_core.book.runner import checksums, notebooks, runs
from rlli_core.embedded import cards
from rlli_core.errors import UnusableFile
from rlli_core.qoe import persona

NO_NOTEBOOKS = ["", "{", "[]", "null", "{}", '{"cells": 3}', "\x00", "[" * 100_000]
NO_PARAMETERS = nbformat.writes(new_notebook(cells=[new_code_cell("1")]))
BAD_PARAMETERS = nbformat.writes(new_notebook(cells=[new_code_cell("a: int = (", metadata={"tags": ["parameters"]})]))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one notebook and one data file, all in order."""
    folder, data = tmp_path / "notebooks", tmp_path / "data"
    (folder / "profiles").mkdir(parents=True)
    (data / "models" / "tiny").mkdir(parents=True)
    (data / "models" / "tiny" / "config.json").write_text('{"a": 1}')
    for profile in runs.PROFILES:
        (folder / "profiles" / f"{profile}.yaml").write_text("{}\n")
    cell = new_code_cell("bep: float = 0.03", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A title"), cell]), folder / "fig09_steps.ipynb")
    for module in (notebooks, runs):
        monkeypatch.setattr(module, "NOTEBOOKS", folder)
    for module in (checksums, machine):
        monkeypatch.setattr(module, "DATA", data)
    monkeypatch.setattr(checksums, "CHECKSUMS", data / "checksums.txt")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "build" / "runs")
    checksums.write()
    return tmp_path


def refused(capsys, named, *arguments):
    """Run a command that must fail in one line with that file's name; nothing may have run."""
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("rlli: ") and said.count("\n") == 1 and len(said) < 1_000
    assert str(named) in said and "git checkout" in said
    assert not runs.RUNS.exists()


@pytest.mark.parametrize("text", [*NO_NOTEBOOKS, NO_PARAMETERS, BAD_PARAMETERS])
@pytest.mark.parametrize("command", [["list"], ["run", "fig09"], ["sweep", "fig09", "-g", "bep=0.1"], ["claims"]])
def test_a_damaged_notebook_is_named(checkout, capsys, text, command):
    path = checkout / "notebooks" / "fig09_steps.ipynb"
    path.write_text(text)
    refused(capsys, path, *command)


@pytest.mark.parametrize("text", ["", "{", "[]", "fig09_steps: 3", "fig09_steps: {bep: 0.1", "\x00"])
@pytest.mark.parametrize("command", [["run", "fig09"], ["sweep", "fig09", "-g", "bep=0.1"]])
def test_a_damaged_profile_is_named(checkout, capsys, text, command):
    path = checkout / "notebooks" / "profiles" / "smoke.yaml"
    path.write_text(text)
    refused(capsys, path, *command)


@pytest.mark.parametrize("content", [b"half", b"\xff\xfe", b"\x00"])
def test_damaged_checksums_are_named(checkout, capsys, content):
    path = checkout / "data" / "checksums.txt"
    path.write_bytes(content)
    refused(capsys, path, "models")


def test_checksums_that_cannot_be_written_say_so(checkout, capsys, monkeypatch):
    monkeypatch.setattr(checksums, "CHECKSUMS", checkout / "data" / "checksums.txt" / "below")
    assert cli.main(["models", "--write-checksums"]) == 1
    said = capsys.readouterr().err
    assert "below cannot be written: " in said and said.count("\n") == 1


@pytest.mark.parametrize("text", ["", "[]", "claims: 3", "claims: [", "{claims: [3], titles: [], figures: [], agreement: {}}"])
def test_a_damaged_ledger_is_named(checkout, capsys, monkeypatch, tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    monkeypatch.setattr(claims, "read", lambda: entries.read(path))
    assert cli.main(["claims"]) == 1
    said = capsys.readouterr().err
    assert "claims.yaml" in said and said.count("\n") == 1


def test_the_doctor_says_all_that_is_wrong(checkout, capsys, monkeypatch):
    assert cli.main(["doctor"]) == 0 and "all will run" in capsys.readouterr().out
    (checkout / "notebooks" / "fig09_steps.ipynb").write_text("{")
    (checkout / "data" / "checksums.txt").write_text("half")
    (checkout / "data" / "models" / "tiny" / "config.json").write_text("{")
    (checkout / "build").write_text("a file")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: 1 / 0)
    monkeypatch.setattr(machine, "_gpu", lambda: Path("/no/driver").stat())
    kept = machine.metadata.version

    def version(name):
        return kept("none such" if name == "diffusers" else name)

    monkeypatch.setattr(machine.metadata, "version", version)
    assert cli.main(["doctor"]) == 1
    told = capsys.readouterr()
    lines = told.out.splitlines()
    wrong = {line.split()[0]: line for line in lines if "NOT WELL" in line}
    assert set(wrong) == {"diffusers", "device", "disk", "results", "models", "data", "notebooks", "hub"} and told.err == ""
    assert "config.json is damaged" in wrong["models"] and "checksums.txt is damaged" in wrong["data"]
    assert "fig09_steps.ipynb is damaged" in wrong["notebooks"] and "nothing can be written to" in wrong["results"]


def test_a_file_that_cannot_be_read_is_one_that_changed(checkout, monkeypatch):
    kept = Path.read_bytes

    def read(path):
        if path.name == "config.json":
            raise PermissionError(13, "Permission denied")
        return kept(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert checksums.changed() == ["models/tiny/config.json"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken off", b"{}", b"\x93NUMPY\x01\x00"])
def test_damaged_data_is_named_wherever_it_is_read(tmp_path, monkeypatch, content):
    for name in (
        "table.npz",
        "handoffs.npz",
        "policy.safetensors",
        "embedded.json",
        "runs.csv",
        "atlas.json",
        "personas.yaml",
        "engine.json",
    ):
        (tmp_path / name).write_bytes(content if name != "personas.yaml" else b"[]")
    monkeypatch.setattr(cards, "RESULTS", {"embedded": tmp_path / "embedded.json"})
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs.csv")
    monkeypatch.setattr(atlas, "ATLAS", tmp_path)
    monkeypatch.setattr(persona, "DATA", tmp_path)
    doors = {
        "table.npz": lambda: TableQoE.load(tmp_path / "table.npz"),
        "handoffs.npz": lambda: HandoffScores.load(tmp_path / "handoffs.npz"),
        "policy.safetensors": lambda: Policy.from_pretrained(tmp_path / "policy.safetensors"),
        "runs.csv": results.read.__wrapped__,
        "atlas.json": atlas.read,
        "personas.yaml": persona.people.__wrapped__,
    } | ({"embedded.json": cards.read_results} if content != b"{}" else {})
    for name, door in doors.items():
        with pytest.raises(UnusableFile, match=f"{name}.* damaged, .*git checkout") as raised:
            door()
        assert "\n" not in str(raised.value)
    assert not export._up_to_date(tmp_path / "engine.json", "anything")  # is made again


def test_a_table_that_is_broken_off_is_named(tmp_path):
    shutil.copy(TABLE, tmp_path / "table.npz")
    for size in (100_000, 10_000, 1):
        with open(tmp_path / "table.npz", "r+b") as file:
            file.truncate(size)
        with pytest.raises(UnusableFile, match=r"table\.npz is damaged"):
            TableQoE.load(tmp_path / "table.npz")
