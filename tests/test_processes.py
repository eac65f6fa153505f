"""One process that dies takes no other along, and none outlives who started it."""

import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from rlli_core import processes
from rlli_core.errors import InvalidArgument, RunFailed
from rlli_core.files import write_text
from rlli_core.processes import Ended, _attempt_there, each, each_or_fail, in_process

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


def test_of_many_units_the_others_are_waited_for(tmp_path):
    units = [(str(tmp_path / "done"), "7"), (str(tmp_path / "not"), "no number")]
    with pytest.raises(RunFailed, match="1 of 2 units failed .*no number.*run the command again"):
        each_or_fail(_leave, units, tmp_path, jobs=2)
    assert (tmp_path / "done").read_text() == "7"


def test_a_process_takes_one_unit_after_another_and_a_new_one_takes_the_place_of_a_dead_one(tmp_path):
    found = {}
    each(
        own_number, [("a",), ("dies",), None, ("b",), ("c",)], lambda unit, result: found.update({unit[0]: result}), tmp_path, 1
    )
    assert list(found) == ["a", "dies", "b", "c"] and isinstance(found["dies"], Ended)
    assert found["b"] == found["c"] != found["a"]
    each(own_number, [("a",), ("b",)], lambda unit, result: found.update({unit[0]: result}), tmp_path, 1, fresh=True)
    assert found["a"] != found["b"]


def own_number(name):
    if name == "dies":
        die(signal.SIGKILL)
    return os.getpid()


def test_units_are_asked_for_as_there_is_room(tmp_path):
    asked, done = [], []

    def units():
        for number in range(6):
            asked.append(number)
            assert len(asked) - len(done) <= 3  # two that run and the one asked for
            yield ([number],)

    each(sorted, units(), lambda unit, result: done.append(result), tmp_path, 2)
    assert sorted(done) == [[number] for number in range(6)]


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidArgument, match=r"ray='local' is not allowed.*pip install 'rlli_core\[cluster\]'"):
        each(sorted, [([1],)], lambda *_: None, tmp_path, ray="local")


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


def leave_bytes(folder, number, hold):
    """Note where this was tried; when it may, leave a result that depends on the number only."""
    with (folder / f"tried-{number}").open("a") as file:
        file.write(f"{os.getpid()} {os.getppid()}\n")
    while hold and hold.exists():
        time.sleep(0.05)
    write_text(folder / f"{number}.txt", f"{number * number}\n" * 1000)
    return number * number


@pytest.mark.slow
def test_a_cluster_that_loses_a_machine_leaves_the_same_bytes_as_this_machine(cluster, tmp_path):
    here, there, hold = tmp_path / "here", tmp_path / "there", tmp_path / "hold"
    found = {here: {}, there: {}}
    for folder in (here, there):
        folder.mkdir()
    hold.touch()

    def lose_a_machine():
        _until(lambda: len(list(there.glob("tried-*"))) == 2)  # each machine is at a unit
        (raylet,) = cluster.second.all_processes["raylet"]
        workers = psutil.Process(raylet.process.pid).children(recursive=True)
        cluster.remove_node(cluster.second, allow_graceful=False)
        for process in workers:  # which would live on for a moment
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(workers, timeout=60)
        hold.unlink()

    for folder, where in ((here, {"jobs": 2}), (there, {"ray": cluster.address})):
        units = [(folder, number, hold if folder == there else None) for number in range(8)]
        with ThreadPoolExecutor(1) as other:
            losing = other.submit(lose_a_machine if folder == there else int)
            each(leave_bytes, units, lambda unit, result: found[unit[0]].update({unit[1]: result}), folder, **where)
            losing.result()
    assert found[here] == found[there] == {number: number * number for number in range(8)}
    results = [{path.name: path.read_bytes() for path in folder.glob("*.txt")} for folder in (here, there)]
    assert results[0] == results[1] and len(results[0]) == 8
    tries = [path.read_text().splitlines() for path in there.glob("tried-*")]
    assert sorted(map(len, tries)) == [1] * 7 + [2]  # what the lost machine was at, once more
    assert len({line for lines in tries for line in lines}) == 2  # a process a machine, for all of its units


@pytest.mark.slow
def test_on_a_cluster_an_error_and_a_death_each_belong_to_their_own(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "RETRIES", 0)
    found = {}
    units = [(own_number, "a"), (own_number, "dies"), (int, "no number"), (own_number, "b")]
    each(call_it, units, lambda unit, result: found.update({unit[1]: result}), tmp_path, jobs=1, ray=cluster.address)
    assert found["a"] != found["b"] and found["no number"].kind == "ValueError"
    assert isinstance(found["dies"], Ended) and "lost 1 times" in str(found["dies"])


def call_it(function, *arguments):
    return function(*arguments)


def test_an_address_without_a_cluster_is_refused(tmp_path):
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    for address in ("nowhere", "127.0.0.1:1", "127.0.0.1:x"):
        with pytest.raises(InvalidArgument, match=f"ray='{address}' is not allowed: ray must be local, or auto or host:port"):
            each(sorted, [([1],)], lambda *_: None, tmp_path, ray=address)


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path):
    assert _attempt_there(str(tmp_path / "mark"), sorted, ([1],))[1] == (
        "UnusableFile", f"{platform.node()} does not see {tmp_path}: all machines of the cluster must share it",
    )  # fmt: skip
