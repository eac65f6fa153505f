"""Trainings and the study killed by SIGKILL and run again: the same as of one that nobody killed; damaged files are named."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from rlli_core.allocation import gather, study, train
from rlli_core.allocation.ddpg import Training
from rlli_core.errors import InvalidArgument, UnusableFile
from rlli_core.files import alone, write_json

SHORT = {"interactions": 400, "warmup": 100, "hidden": 8, "batch": 8, "evaluate_every": 100}

# A study of two algorithms on a formula, as it is started on the command line; its processes read this file too.
STUDY = """
import sys, time
sys.path[:0] = [{tests!r}]
from madeup import FormulaQoE
from rlli_core.allocation import Service, ServiceConfig, study
from rlli_core.allocation.ddpg import Learner, Training
from rlli_core.book import cli

class Light:
    def __init__(self, config, **sizes):
        self.service = Service(config, FormulaQoE())
    def evaluate(self, allocate):
        states = self.service.draw(__import__("numpy").random.default_rng(0), 8)
        return {{"qoe": float(self.service.outcome(states, allocate(self.service, states)).qoe.sum())}}
    def table_of(self, service):
        return service

study.Evaluation = Light
study.STUDIES["paper"] = study.Study(variants=("ddpg", "g-ddpg"), ablations=(), training={{"smoke": Training(**{short!r})}})
study.provenance, study.optimum_curve = lambda command: {{"command": command}}, lambda service: {{}}
if "slowly" in sys.argv:
    save = Learner.save
    Learner.save = lambda self, path: (save(self, path), time.sleep(1000 if self.algorithm == "g-ddpg" else 0))
if __name__ == "__main__":
    sys.exit(cli.main(["train", "--study", "--seeds", "1", "--jobs", "1", "--folder", sys.argv[1]]))
"""


@pytest.mark.training
@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_results(kill, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(STUDY.format(tests=str(__file__).rsplit("/", 1)[0], short=SHORT))

    def start(folder, *how):
        return subprocess.Popen([sys.executable, script, folder, *how], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole, killed = start(tmp_path / "whole"), start(tmp_path / "killed", "slowly")
    checkpoint, end = tmp_path / "killed" / "g-ddpg-0" / "checkpoint.safetensors", time.monotonic() + 600
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.2)
    kill(killed)
    assert checkpoint.exists() and not (tmp_path / "killed" / "g-ddpg-0" / "result.json").exists()
    done = (tmp_path / "killed" / "ddpg-0" / "result.json").stat().st_mtime_ns
    assert start(tmp_path / "killed").wait(600) == 0 == whole.wait(600)
    assert (tmp_path / "killed" / "ddpg-0" / "result.json").stat().st_mtime_ns == done
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def contents(folder):
    """All files of a study by their paths, without the seconds that it took; of JSON and tables what they say."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"):
        if path.suffix == ".json":
            what = {key: value for key, value in json.loads(path.read_text()).items() if key != "seconds"}
        elif path.suffix == ".csv":
            what = pd.read_csv(path).drop(columns="seconds").to_csv()
        else:
            what = path.read_bytes()
        found[path.relative_to(folder).as_posix()] = what
    assert {"allocation.json", "allocation_runs.csv", "g-ddpg-0/actor.safetensors"} < set(found) and len(found) == 9
    return found


@pytest.mark.parametrize("content", [b"", b"broken off", b"\x10\0\0\0\0\0\0\0{}              "])
def test_a_damaged_checkpoint_is_named(service, tmp_path, content):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(UnusableFile, match=r"checkpoint\.safetensors is damaged, delete it to begin again"):
        train("ddpg", service, 0, tmp_path, progress=False, **SHORT)
    train("ddpg", service, 0, tmp_path / "new", progress=False, **SHORT)
    whole = (tmp_path / "new" / "checkpoint.safetensors").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnusableFile, match="damaged, delete it"):
        train("ddpg", service, 0, tmp_path, progress=False, **SHORT)


def test_two_trainings_in_one_folder_are_refused_and_one_on_a_file(service, tmp_path):
    with alone_elsewhere(tmp_path), pytest.raises(InvalidArgument, match="a training is under way in it"):
        train("ddpg", service, 0, tmp_path, progress=False, **SHORT)
    (tmp_path / "file").touch()
    with pytest.raises(UnusableFile, match="nothing can be written to .*file"):
        train("ddpg", service, 0, tmp_path / "file", progress=False, **SHORT)


class alone_elsewhere:  # noqa: N801
    """Another process holds the folder."""

    CODE = "import sys; from pathlib import Path; from rlli_core.files import alone\nwith alone(Path(sys.argv[1]), ''): print(1, flush=True); input()"

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout.readline() == b"1\n"

    def __exit__(self, *_):
        self.process.communicate(b"\n")


def test_a_training_that_is_run_by_the_study_may_hold_its_folder_twice(service, tmp_path):
    with alone(tmp_path, "a training"):
        train("ddpg", service, 0, tmp_path, progress=False, **SHORT)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"name": "ddpg"}'])
def test_a_damaged_result_of_a_study_is_named(tmp_path, damage):
    write_json(tmp_path / "result.json", {"name": "ddpg", "seed": 0, "seconds": 1.0})
    study.run("ddpg", 0, None, Training(), tmp_path)
    (tmp_path / "result.json").write_text(damage)
    with pytest.raises(UnusableFile, match=r"result\.json is damaged, delete the file and run the command again"):
        study.run("ddpg", 0, None, Training(), tmp_path)


def test_a_study_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "each_or_fail", None)
    (tmp_path / "file").touch()
    for folders in ((tmp_path, tmp_path / "file"), (tmp_path / "file", tmp_path)):
        with pytest.raises(UnusableFile, match="nothing can be written to .*file"):
            study.study(folders[0], 1, "smoke", 1, folders[1])


def test_a_part_of_the_table_that_is_damaged_or_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gather, "groups", lambda: [("a", "b", "c")])
    for seed in range(gather.SEEDS):
        np.save(tmp_path / f"{seed}-0.npy", np.zeros((3, 2, 2)))
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:-5]), lambda path: path.unlink()):
        damage(tmp_path / "1-0.npy")
        with pytest.raises(UnusableFile, match=r"1-0\.npy is missing or damaged, delete it and gather again"):
            gather.assemble_table(tmp_path, tmp_path / "table.npz")
    assert not (tmp_path / "table.npz").exists()


def test_what_was_gathered_is_not_gathered_again_and_every_unit_has_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(gather, "_models", None)
    (tmp_path / "0-0.npy").write_bytes(b"there")
    gather.gather("table", (0, 0), tmp_path / "0-0.npy")
    asked = []
    monkeypatch.setattr(gather, "each_or_fail", lambda function, units, *where, what: asked.extend([units, where]))
    monkeypatch.setattr(gather, "assemble_table", lambda folder, seeds: asked.append(folder))
    (tmp_path / "qoe_table").mkdir()
    (tmp_path / "qoe_table" / "0-1.npy").write_bytes(b"there")
    monkeypatch.setattr(sys, "argv", ["gather", "table", "--work", str(tmp_path), "--jobs", "3", "--ray", "auto"])
    gather.main()
    units, where, folder = asked
    assert where == (folder, 3, "auto") and folder == tmp_path / "qoe_table"
    expected = [one for one in gather.units_of("table") if one != (0, 1)]
    assert [unit for _, unit, _ in units] == expected and len({path for *_, path in units}) == len(expected)
    monkeypatch.setattr(sys, "argv", ["gather", "--jobs", "0"])
    with pytest.raises(InvalidArgument, match="jobs=0"):
        gather.main()
