"""`rlli reproduce`: what counts as the same number, what a certificate says, and that a broken-off command goes on."""

import json
from dataclasses import replace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.book import cli
from rlli_core.book.ledger import certificate, claims, pages
from rlli_core.book.ledger.claims import Check, Claim, Ledger, Source
from rlli_core.book.runner import notebooks, runs
from rlli_core.errors import Failure, UnusableFile

CHECKS = (Check("C1.1", "So", "sum", "a", at_least=1), Check("C1.2", "Fast", "sum", "slope", at_least=1, timing=True))
CLAIM = Claim("C1", "Sums", "Fig. 1", "They add up.", "They do.", "sum", "Sums", CHECKS)
LEDGER = Ledger((CLAIM,), (), (), relative=0.01, absolute=0.001)
NUMBERS = {"a": 2.0, "b": 0.5, "b_low": 0.4, "b_high": 0.6, "run_s": 3.0, "slope": 1.0}
HERE = {
    "machine": "Linux x86_64 (A), 2 cores, 1 threads",
    "versions": {"torch": "2"},
    "inputs": "abc",
    "started": "2026-01-02T03:04:05",
}
OLD = Source("sum", NUMBERS, "smoke", {"seeds": 8}, **HERE)
ELSEWHERE, MORE_SEEDS = {"machine": "Darwin arm64, 8 cores, 1 threads"}, {"parameters": {"seeds": 80}}


@pytest.mark.parametrize(
    ("numbers", "about", "outcome", "differs"),
    [
        ({}, {}, "identical", set()),
        ({"run_s": 9.0, "slope": 7.0}, {}, "identical", set()),
        ({"a": 2.0 + 1e-9}, {}, "differs", {"a"}),
        ({"b_low": 0.41}, {}, "differs", {"b_low"}),
        ({}, ELSEWHERE, "identical", set()),
        ({"a": 2.01, "b": 0.59, "b_low": 0.5}, ELSEWHERE, "agrees", set()),
        ({"a": 2.1}, ELSEWHERE, "differs", {"a"}),
        ({"b": 0.61}, ELSEWHERE, "differs", {"b"}),
        ({"a": 2.01}, {"versions": {"torch": "3"}}, "agrees", set()),
        ({"a": 2.01}, {"machine": None}, "agrees", set()),
        ({"a": 9.0, "b": 0.65, "b_low": 0.6, "b_high": 0.7}, MORE_SEEDS, "agrees", set()),
        ({"b": 0.65, "b_low": 0.61, "b_high": 0.7}, MORE_SEEDS, "differs", {"b"}),
    ],
)
def test_how_near_a_number_must_be(numbers, about, outcome, differs):
    found = certificate.compared(LEDGER, OLD, replace(OLD, numbers=NUMBERS | numbers, **about))
    assert (found["outcome"], set(found["differs"])) == (outcome, differs)


def test_a_number_that_is_gone_or_new_differs_and_two_without_numbers_have_nothing_to_compare():
    less = {name: value for name, value in NUMBERS.items() if name != "a"}
    found = certificate.compared(LEDGER, OLD, replace(OLD, numbers=less | {"c": 1.0}, **ELSEWHERE))
    assert found["differs"] == {"a": [2.0, None], "c": [None, 1.0]}
    nothing = Source("sum", {})
    assert certificate.compared(LEDGER, nothing, nothing)["outcome"] == "nothing to compare"


def test_a_certificate_has_machines_outcomes_reasons_and_verdicts():
    made = {"sum": replace(OLD, numbers=NUMBERS | {"a": 0.5}, **ELSEWHERE), "other": replace(OLD, notebook="other")}
    before = {"sum": OLD, "other": OLD, "broken": OLD}
    content = certificate.certificate(LEDGER, before, made, {"broken": Failure("E", "cell 3: E: no")}, "smoke")
    assert [certificate.in_words(entry) for entry in content["notebooks"].values()] == [
        "failed: cell 3: E: no",
        "identical (4 numbers)",
        "differs (2 numbers, 1 differ)",
    ]
    assert content["verdicts"] == {"C1": ["reproduced", "partly"]}
    assert content["notebooks"]["sum"]["machine"] == 1 and content["machines"][0]["machine"] == ELSEWHERE["machine"]
    assert certificate.totals(content) == "1 identical, 1 differs, 1 failed; verdicts as in the book: 0 of 1"
    assert not certificate.good(content) and json.loads(json.dumps(content)) == content
    assert "C1" not in certificate.certificate(LEDGER, before, {"other": OLD}, {}, "smoke")["verdicts"]


def test_the_status_page_tells_of_kept_certificates(tmp_path, monkeypatch):
    made = {"fig09_steps": replace(OLD, **ELSEWHERE)}
    content = certificate.certificate(LEDGER, {"fig09_steps": OLD}, made, {}, "smoke")
    (tmp_path / "2026-01-02-smoke.json").write_text(json.dumps(content | {"date": "2026-01-02", "commit": "c" * 40}))
    kept = certificate.read_kept(tmp_path)
    monkeypatch.setattr(pages, "read_kept", lambda: kept)
    text = pages.rendered("status.md", **pages._status(claims.read(), {"fig09_steps": OLD}))
    assert "| 1: identical (2 numbers) |" in text and ELSEWHERE["machine"] in text
    assert "[2026-01-02](certificates/2026-01-02-smoke.json), profile smoke, commit cccccccccccc: 1 identical;" in text
    text = pages.rendered("status.md", **pages._status(claims.read(), {"fig09_steps": replace(OLD, inputs="new")}))
    assert "| 1: identical (2 numbers), of other inputs |" in text
    (tmp_path / "2026-01-03.json").write_text("{}")
    with pytest.raises(UnusableFile, match="2026-01-03"):
        certificate.read_kept(tmp_path)


def test_the_kept_certificates_can_be_read():
    certificate.read_kept()


@pytest.mark.kernel
def test_it_runs_compares_and_goes_on_without_touching_what_is_committed(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    for profile in runs.PROFILES:
        (folder / "profiles" / f"{profile}.yaml").write_text("{}\n")
    cells = [
        new_markdown_cell("# Sums"),
        new_code_cell("seed: int = 1", metadata={"tags": ["parameters"]}),
        new_code_cell("from rlli_core.book import record\nrecord(a=2 * seed)"),
    ]
    nbformat.write(new_notebook(cells=cells), folder / "sum.ipynb")
    for module in (notebooks, runs):
        monkeypatch.setattr(module, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(claims, "read", lambda: replace(LEDGER, claims=()))
    monkeypatch.setattr(
        certificate.reproduce, "__kwdefaults__", certificate.reproduce.__kwdefaults__ | {"folder": tmp_path / "again"}
    )
    runs.run(None, "smoke", write_back=True)
    committed = (folder / "sum.ipynb").read_bytes()
    assert cli.main(["reproduce"]) == 0
    assert "sum: identical (1 numbers)" in capsys.readouterr().out
    assert cli.main(["reproduce", "sum"]) == 0
    assert "sum: up to date" in capsys.readouterr().out
    (path,) = (tmp_path / "again" / "smoke").glob("*-smoke-*.json")
    assert json.loads(path.read_text())["notebooks"]["sum"]["outcome"] == "identical"
    assert (folder / "sum.ipynb").read_bytes() == committed
    notebook = nbformat.read(folder / "sum.ipynb", as_version=4)
    notebook.cells[2].source = "from rlli_core.book import record\nrecord(a=3 * seed)"
    nbformat.write(notebook, folder / "sum.ipynb")
    assert cli.main(["reproduce"]) == 1
    assert "a: 2 committed, 3 here" in capsys.readouterr().out
    notebook.cells[2].source = "1 / 0"
    nbformat.write(notebook, folder / "sum.ipynb")
    assert cli.main(["reproduce"]) == 1
    assert "sum: failed: cell" in capsys.readouterr().out
