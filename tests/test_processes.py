"""One process that dies takes no other along, and none outlives who started it."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlli_core.errors import RunFailed
from rlli_core.processes import Ended, in_process, in_processes

SCRIPT = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from rlli_core.processes import in_process

def sleep(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(120)

if __name__ == "__main__":
    with ThreadPoolExecutor(1) as starters, in_process() as call:
        starters.submit(call, sleep, sys.argv[1]).result()
"""


def die(how):
    os.kill(os.getpid(), how)


def test_a_result_an_error_and_a_death_each_belong_to_their_own():
    with in_process() as call, ThreadPoolExecutor(3) as starters:
        dying, failing, working = (
            starters.submit(call, *job) for job in ((die, signal.SIGKILL), (int, "no number"), (sorted, [3, 1, 2]))
        )
        assert working.result() == [1, 2, 3]
        with pytest.raises(Ended, match="killed, for example for want of memory"):
            dying.result()
        with pytest.raises(Ended, match="invalid literal") as failed:
            failing.result()
        assert failed.value.kind == "ValueError"


def test_of_many_jobs_the_others_are_waited_for(tmp_path):
    with pytest.raises(RunFailed, match="1 of 2 processes failed .*no number.*run the command again"):
        in_processes(_leave, [(str(tmp_path / "done"), "7"), (str(tmp_path / "not"), "no number")])
    assert (tmp_path / "done").read_text() == "7"


def _leave(path, number):
    with open(path, "w") as file:
        file.write(str(int(number)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nobody_outlives_who_started_it(tmp_path, how):
    script, told = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(SCRIPT)
    starter = subprocess.Popen([sys.executable, str(script), str(told)], stderr=subprocess.DEVNULL)
    _until(lambda: told.exists() and told.read_text())
    starter.send_signal(how)
    starter.wait(5)
    _until(lambda: not _runs(int(told.read_text())), seconds=5)


def _until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat") as file:  # a zombie has ended
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_script_without_a_main_guard_is_told_of_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from rlli_core.processes import in_process\nwith in_process() as call:\n    call(sorted, [2, 1])\n")
    told = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert told.returncode and "under `if __name__ == '__main__':`" in told.stderr.splitlines()[-1]
    assert "memory" not in told.stderr
