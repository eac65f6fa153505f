"""The command line: what it prints and how it exits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import get_args

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core import files
from rlli_core.allocation import study
from rlli_core.book import bench as benchmarks
from rlli_core.book import cli, machine
from rlli_core.book.ledger import claims, pages
from rlli_core.book.runner import checksums, notebooks, runs
from rlli_core.book.runner.run_record import RunRecord


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
        "from rlli_core.book.runner.config import NotebookConfig, number\n"
        "config = NotebookConfig.of(globals(), bep=number(0, 0.5))"
    )
    notebook = new_notebook(cells=[new_markdown_cell("# Fewer steps blur\n\nText."), parameters, config])
    nbformat.write(notebook, folder / "fig09_steps.ipynb")
    for module in (notebooks, runs):
        monkeypatch.setattr(module, "NOTEBOOKS", folder)
    for module in (checksums, machine):
        monkeypatch.setattr(module, "DATA", data)
    monkeypatch.setattr(checksums, "CHECKSUMS", data / "checksums.txt")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    return tmp_path


def test_list_names_figure_parameters_and_time(bench, capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "fig09_steps  [Fig. 9; not run yet]" in shown
    assert "Fewer steps blur" in shown and "bep: float = 0.03" in shown


@pytest.mark.kernel
def test_run_executes_and_refuses_a_value_that_the_notebook_refuses(bench, capsys):
    assert cli.main(["run", "fig09", "-p", "bep=0.05"]) == 0
    assert runs.read_record("fig09_steps", "smoke").parameters == {"bep": 0.05}
    assert cli.main(["run", "fig09", "-p", "bep=0.7"]) == 2
    assert "[0, 0.5]" in capsys.readouterr().err
    assert runs.read_record("fig09_steps", "smoke").parameters == {"bep": 0.05}
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
        ([], "first steps"),
        (["claims", "--against", "no/such/claims.json"], "book/claims.json"),
        (["claims", "--profile", "fast"], "smoke"),
        (["claims", "some/folder"], "--write"),
        (["run", "fig09", "--jobs", "0"], "in 1..1000"),
        (["sweep", "fig09"], "--grid"),
        (["sweep", "fig09", "-g", "bep=0.1", "-g", "bep=0.2"], "each parameter once"),
        (["train"], "g-ddpg"),
        (["train", "--algorithm", "ppo"], "td3"),
        (["train", "--algorithm", "ddpg", "--study"], "or else --study"),
        (["train", "--study", "--jobs", "0"], "jobs=0"),
        (["train", "choice", "--algorithm", "ddpg"], "with --study only"),
        (["train", "--study", "choices"], "choice"),
        (["train", "--algorithm", "ddpg", "--users", "9"], "1..8"),
        (["serve", "--port", "70000"], "0..65535"),
        (["serve", "--window", "-1"], "[0, 60]"),
        (["finish", "127.0.0.1:8000", "a dog"], "http://HOST:PORT"),
        (["finish", "http://127.0.0.1:1", "a dog", "--shared", "0"], "1..200"),
        (["finish", "http://127.0.0.1:1", "a dog", "--bep", "0.1", "--power", "50"], "exactly one"),
        (["finish", "http://127.0.0.1:1", "a dog", "--out", "/"], "a file"),
    ],
)
def test_a_bad_argument_exits_with_2_and_the_allowed_values(bench, capsys, arguments, allowed):
    assert cli.main(arguments) == 2
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


@pytest.mark.parametrize("command", ["doctor", "list", "run", "sweep", "claims", "bench", "train", "models", "serve", "finish"])
def test_every_command_has_help_with_an_example(capsys, command):
    assert cli.main([command, "--help"]) == 0
    assert f"  example:\n    rlli {command}" in capsys.readouterr().out


def test_claims_prints_and_exits_with_1_where_the_page_says_otherwise(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")  # no runs of this machine: the committed notebooks count
    assert cli.main(["claims"]) == 0
    shown = capsys.readouterr().out
    for found in claims.findings(claims.read(), claims.committed()):
        assert f"{found.verdict} ({found.count}): {found.claim.title}" in shown
    assert cli.main(["claims", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [claim["id"] for claim in data["claims"]] == [f"C{k}" for k in range(1, 16)] and data["differences"] == []
    assert {"verdict", "reason", "notebook", "section", "sources", "checks"} <= set(data["claims"][0])

    numbers = claims.committed()["channel"].numbers | claims.committed()["fig09_steps"].numbers
    record = RunRecord("fig09_steps", numbers | {"lead_GA1_t0_2": -0.5}, "smoke", {"seeds": 8})
    record.write(tmp_path / "runs" / "smoke" / "fig09_steps.json")
    assert cli.main(["claims"]) == 1
    told = capsys.readouterr()
    assert "C5   ✗ not reproduced (0 of 2 checks hold)" in told.out and "latest run" in told.out
    assert told.err.count("C5.1") == 1 and "-0.5" in told.err and "lead_GA1_t0_2" in told.err and "C4" not in told.err


def test_claims_write_makes_pages_from_the_latest_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    for name in pages.PAGES:
        (tmp_path / name).write_text(f"# Head\n\n{pages.BEGIN}\n{pages.END}\n")
    assert cli.main(["claims", "--write", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("wrote") == 1 + len(pages.PAGES)
    assert "## C15" in (tmp_path / "claims.md").read_text()
    assert cli.main(["claims", "--against", str(tmp_path / "claims.json")]) == 0


def test_bench_prints_seconds(capsys, monkeypatch):
    monkeypatch.setattr(benchmarks, "bench", lambda: {"image_s": 0.5, "denoising_step_s": 0.04})
    assert cli.main(["bench"]) == 0
    assert capsys.readouterr().out == "image              0.5000 s\ndenoising step     0.0400 s\n"
    assert cli.main(["bench", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"image_s": 0.5, "denoising_step_s": 0.04}


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("rlli cl", ["claims"]),
        ("rlli run f", ["fig09_steps"]),
        ("rlli run fig09 -p ", ["bep="]),
        ("rlli sweep -g ", ["bep="]),
        ("rlli sweep fig09 --grid b", ["bep="]),
        ("rlli train --algorithm s", ["sb3-ddpg", "sac"]),
    ],
)
def test_tab_completion_knows_commands_notebooks_and_parameters(bench, capsys, monkeypatch, line, completions):
    for name, value in {"_RLLI_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}.items():
        monkeypatch.setenv(name, value)
    assert cli.main([]) == 0
    assert capsys.readouterr().out.split() == completions


def test_the_choices_are_those_of_the_runner_and_the_study():
    assert get_args(cli.Profile) == tuple(runs.PROFILES)
    assert get_args(cli.Algorithm) == tuple(study.STUDIED) and get_args(cli.StudyName) == tuple(study.STUDIES)


@pytest.mark.parametrize(
    ("arguments", "name", "folder"), [([], "paper", "study-smoke"), (["choice"], "choice", "study-choice-smoke")]
)
def test_a_study_is_named_and_has_a_folder_of_its_own(monkeypatch, tmp_path, arguments, name, folder):
    asked = []
    monkeypatch.setattr(cli, "DATA", tmp_path / "data")
    monkeypatch.setattr(study, "study", lambda *given: asked.append(given))
    assert cli.main(["train", "--study", *arguments, "--seeds", "2"]) == 0
    assert asked == [(tmp_path / "build" / folder, 2, "smoke", None, tmp_path / "build" / folder, None, name)]


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_help_and_refusals_import_nothing_slow():
    slow = ("torch", "pandas", "nbformat", "rich")
    code = f"""
import sys
from rlli_core.book import cli, machine
assert cli.main(["--help"]) == 0 and cli.main(["train", "--algorithm", "ppo"]) == 2 and cli.main(["train"]) == 2
assert not set({slow}) & set(sys.modules), set({slow}) & set(sys.modules)
"""
    found = python(code)
    assert found.returncode == 0 and found.stdout.startswith("Usage: rlli") and "Traceback" not in found.stderr, found.stderr


def test_a_reader_that_leaves_early_sees_no_traceback():
    command = [sys.executable, "-m", "rlli_core.book.cli", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == ""
    assert listing.returncode == 1


def test_g_ddpg_is_trained_without_stable_baselines3(tmp_path):
    code = f"""
import sys
sys.modules["stable_baselines3"] = None  # whoever imports it fails
from rlli_core.allocation import Service, ServiceConfig, TableQoE, Training, study
from rlli_core.book import cli, machine

class Light:
    def __init__(self, config, **sizes):
        self.service = Service(config, TableQoE.load())
    def evaluate(self, allocate):
        return {{"share": 0.5}}

study.Evaluation, study.TRAINING["smoke"] = Light, Training(interactions=64, warmup=16, hidden=8, batch=8, evaluate_every=32)
sys.exit(cli.main(["train", "--algorithm", "g-ddpg", "--folder", r"{tmp_path}"]))
"""
    found = python(code)
    assert found.returncode == 0 and "g-ddpg" in found.stdout, found.stderr
    assert (tmp_path / "actor.safetensors").is_file() and json.loads((tmp_path / "result.json").read_text())["share"] == 0.5


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("bep=1e999", "inf"),
        ("bep=[1e999]", "inf"),
        ("bep=a\0b", "type float"),
        ("bep=" + "9" * 5000, "9..."),
        ("bep=" + "[" * 9000, "bep"),
    ],
)
def test_wild_values_are_refused_in_one_short_line(bench, capsys, parameter, wrong):
    assert cli.main(["run", "fig09", "-p", parameter]) == 2
    said = capsys.readouterr().err
    assert wrong in said and said.count("\n") == 1 and len(said) < 400


def test_an_unforeseen_error_is_one_line_unless_one_wants_to_debug(bench, capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "names", lambda: 1 / 0)
    assert cli.main(["list"]) == 1
    assert capsys.readouterr().err == "rlli: ZeroDivisionError: division by zero (rlli --debug shows where)\n"
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "list"])


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_any_locale_will_do(locale):
    told = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "rlli_core.book.cli", "claims"],
        capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": locale, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(files.DATA.parent)},
    )  # fmt: skip
    assert b"Traceback" not in told.stderr and b"C1" in told.stdout


@pytest.mark.kernel
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_in_one_line_and_leaves_nobody(tmp_path, how):
    run = subprocess.Popen(
        [sys.executable, "-m", "rlli_core.book.cli", "run", "channel", "--profile", "full", "--force"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(files.DATA.parent)},
    )  # fmt: skip
    me, end = psutil.Process(run.pid), time.monotonic() + 60
    while len(children := me.children(recursive=True)) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(2)
    children = me.children(recursive=True)
    run.send_signal(how)
    said = run.communicate(timeout=10)[1]
    assert run.returncode == 130
    assert "rlli: interrupted; what was done is kept" in said and "Traceback" not in said
    assert not psutil.wait_procs(children, timeout=5)[1]


@pytest.mark.kernel
def test_a_run_on_changed_data_says_so(bench, capsys):
    checksums.write()
    assert cli.main(["run", "fig09"]) == 0 and "checksums.txt" not in capsys.readouterr().err
    (bench / "data" / "models" / "tiny" / "weights.bin").write_bytes(b"weighty")
    assert cli.main(["run", "fig09", "--force"]) == 0
    assert "results may differ from the book's: data/models/tiny/weights.bin" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--seed", "-1"], ["--users", "9"], ["--seed", str(2**70)], ["--jobs", "1000000"], ["--seeds", "10000000000"]]
)
def test_train_checks_its_arguments_before_the_slow_imports(arguments):
    code = f"import sys; from rlli_core.book import cli; assert cli.main(['train', '--algorithm', 'ddpg', *{arguments}]) == 2; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
