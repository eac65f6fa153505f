"""A checkout that may only be read, as a user without rights and without a home has it: what can be shown is, the rest says so."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from rlli_core.files import DATA

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="rights of files are those of Unix")]

TRAIN = "train --algorithm ddpg"
READS = ["list", "models", "doctor", "claims"]
WRITES = ["run channel", "run --all --write-back", "sweep channel -g seed=1", TRAIN, "train --study"]
SCRIPT = """
import contextlib, io, json, sys
from rlli_core.book import cli

told = {}
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = cli.main(line.split())
    told[line] = status, out.getvalue(), err.getvalue()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Status, output and errors of some commands there; a superuser first gives up the right to write everywhere."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(DATA.parent / "rlli_core", checkout / "rlli_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "notebooks", "book"):
        (checkout / name).symlink_to(DATA.parent / name)
    (checkout / "file").touch()
    for path in (checkout / "rlli_core", checkout):
        path.chmod(0o555)
    drop = []
    if os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        drop = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
        if shutil.which("setpriv") is None or subprocess.run([*drop, "true"], capture_output=True).returncode:
            pytest.skip("a superuser may write everywhere, and setpriv, which takes that from it, does not run here")
    env = {key: value for key, value in os.environ.items() if key not in ("RLLI_WORK", "XDG_CACHE_HOME")}
    env |= {"HOME": "/dev/null", "PYTHONPATH": str(checkout)}
    lines = [*READS, *WRITES, f"{TRAIN} --folder {checkout}/file"]
    found = subprocess.run([*drop, sys.executable, "-c", SCRIPT, *lines], env=env, cwd=checkout, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    checkout.chmod(0o755)
    return json.loads(found.stdout.splitlines()[-1]), checkout


def test_what_only_reads_works(told):
    for line in ("list", "models"):
        status, out, err = told[0][line]
        assert status == 0 and len(out) > 100 and err == "", line
    assert "C1 " in told[0]["claims"][1] and "Traceback" not in told[0]["claims"][2]


def test_the_doctor_says_that_nothing_can_be_run(told):
    status, out, err = told[0]["doctor"]
    assert status == 1 and err == "" and "results     NOT WELL: nothing can be written to" in out and "not all will run" in out


@pytest.mark.parametrize("line", [*WRITES, f"{TRAIN} --folder"])
def test_what_writes_says_in_one_line_that_it_cannot(told, line):
    status, out, err = told[0].get(line) or told[0][f"{line} {told[1]}/file"]
    assert status == 1 and out == "" and err.startswith("rlli: nothing can be written to") and err.count("\n") == 1


def test_nothing_is_left_behind(told):
    assert sorted(path.name for path in told[1].iterdir()) == ["book", "data", "file", "notebooks", "rlli_core"]
