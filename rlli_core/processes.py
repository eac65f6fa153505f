"""Units of work in processes of their own, here or on a Ray cluster: one that dies takes no other along, none outlives its command."""

from __future__ import annotations

import os
import platform
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .errors import InvalidArgument, RunFailed, check_integer, first_line

Unit = tuple[Any, ...]  # arguments of a function; what can travel to another process
RETRIES = 3  # of a unit on a cluster whose machine or process was lost
ON_A_GPU = 4  # processes that share a GPU of a cluster
CLUSTER = "`pip install 'rlli_core[cluster]'` gets Ray"

line = 0  # of this process among the progress bars, below that of all units; 0 where it has none


def cores() -> int:
    """How many cores of this machine this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_jobs(jobs: int | None) -> None:
    """Refuse so many units at a time with `InvalidArgument`, unless there are 1 to 1000 or it is left open."""
    if jobs is not None:
        check_integer("jobs", jobs, 1, 1000)


class Ended(Exception):
    """A unit ended without its result; `kind` is the type of the error there, or "Killed"."""

    def __init__(self, kind: str, why: str):
        self.kind = kind
        super().__init__(why)


def each(
    function: Callable[..., Any],
    units: Iterable[Unit | None],
    settle: Callable[[Unit, Any], str | None],
    folder: Path,
    jobs: int | None = None,
    ray: str | None = None,
    *,
    total: int | None = None,
    what: str = "units",
    fresh: bool = False,
) -> None:
    """Call `function(*unit)` for each unit in other processes, and `settle(unit, result)` here as each is done, in that order.

    Args:
        function: of a module that the other processes can import; what it loads once a process, it caches itself.
        units: asked for as there is room; None stands for one that was done before.
        settle: gets the result, or `Ended`; may return a line to be shown.
        folder: where results go. On a cluster all machines must see it, and this package at the same place.
        jobs: units at a time; None for one a core, on a cluster for as many as it has room for.
        ray: None for processes on this machine; for Ray, "local" (begin one here), "auto" (the one that RAY_ADDRESS names or
            that runs here), or host:port.
        total, what: of the progress bar.
        fresh: a new process for every unit.

    Raises:
        InvalidArgument: no Ray, or none at that address.
    """
    begin = _here(jobs or cores(), fresh) if ray is None else _on_cluster(ray, folder, jobs, fresh)
    with begin as (submit, result_of, at_once), tqdm(total=total, desc=what, unit="", position=0) as bar:
        running: dict[Future, Unit] = {}

        def await_one() -> None:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                try:
                    result = result_of(future)
                except Ended as error:
                    result = error
                if shown := settle(unit, result):
                    tqdm.write(shown)
                bar.update()

        for unit in units:
            if unit is None:
                bar.update()
                continue
            while len(running) >= at_once:
                await_one()
            running[submit(function, *unit)] = unit
        while running:
            await_one()


def each_or_fail(
    function: Callable[..., None],
    units: Sequence[Unit],
    folder: Path,
    jobs: int | None = None,
    ray: str | None = None,
    *,
    what: str = "units",
) -> None:
    """As `each`, on one thread a process, for units that leave their results in files.

    Raises:
        RunFailed: units failed; the others were waited for.
    """
    failed = []
    if not units:
        return

    def settle(_unit: Unit, result: object) -> None:
        if isinstance(result, Ended):
            failed.append(result)

    each(partial(_on_one_thread, function), units, settle, folder, jobs, ray, total=len(units), what=what)
    if failed:
        kept = "what was done is kept, run the command again"
        raise RunFailed(f"{len(failed)} of {len(units)} units failed ({first_line(failed[0])}); {kept}")


def _on_one_thread(function: Callable[..., None], *unit: Any) -> None:
    import torch

    torch.set_num_threads(1)
    function(*unit)


def _attempt(function: Callable[..., Any], unit: Unit) -> tuple[bool, Any]:
    """Whether it ended well, and the result, or else the kind of error and what it says: errors themselves may not travel."""
    try:
        return True, function(*unit)
    except Exception as error:
        return False, (type(error).__name__, first_line(error))


@contextmanager
def _here(jobs: int, fresh: bool) -> Iterator[tuple[Callable[..., Future], Callable[[Future], Any], int]]:
    with ThreadPoolExecutor(jobs) as starters, in_process(fresh) as call:
        yield partial(starters.submit, call), Future.result, jobs


@contextmanager
def in_process(fresh: bool = True) -> Iterator[Callable[..., Any]]:
    """Give a function that calls another one in another process and returns its result; several threads may use it at once.

    Leaving by an exception, such as that of Ctrl-C, ends the processes that still run.

    Args:
        fresh: each call gets a new process; else one that has done its work takes the next call.

    Raises:
        Ended: by the given function, where the other raised an exception or its process was killed.
    """
    context, closed, gate = get_context("spawn"), threading.Event(), threading.Lock()
    running: dict[Any, tuple[connection.Connection, int]] = {}  # process: our end of its pipe, the line of its progress bar
    idle: list[Any] = []
    bars = context.RLock()

    def begin() -> Any:
        with gate:
            if idle:
                return idle.pop()
            line = min(set(range(1, len(running) + 2)) - {taken for _, taken in running.values()})
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, line, bars))
            process.start()
            running[process] = (here, line)
        there.close()
        return process

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        if closed.is_set():
            raise Ended("Interrupted", "not started")
        process, kept = begin(), False
        here = running[process][0]
        try:
            here.send((function, arguments))
            good, result = here.recv()
            kept = not fresh
        except (EOFError, OSError):
            process.join()
            why = "its process was killed, for example for want of memory"
            if process.exitcode == 1:  # the interpreter gave up before any work
                why = "its process could not start: a script that runs notebooks must do so under `if __name__ == '__main__':`"
            raise Ended("Killed", why) from None
        finally:
            if kept:
                idle.append(process)
            else:
                end(process)
        if not good:
            raise Ended(*result)
        return result

    def end(process: Any) -> None:
        running[process][0].close()
        process.join()
        with gate:
            del running[process]

    try:
        yield call
        for process in idle:
            end(process)
    except BaseException:
        closed.set()
        for process in list(running):
            process.terminate()
        raise


def _work(there: connection.Connection, own_line: int, bars: Any) -> None:
    """What the other process does; Ctrl-C is its parent's affair, and where that is gone there is nobody to work for."""
    global line
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    line = own_line
    tqdm.set_lock(bars)
    while True:
        try:
            function, arguments = there.recv()
        except EOFError:
            return
        except Exception as error:  # what cannot travel
            result = (False, (type(error).__name__, first_line(error)))
        else:
            result = _attempt(function, arguments)
        try:
            there.send(result)
        except Exception as error:
            there.send((False, (type(error).__name__, first_line(error))))


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _on_cluster(
    address: str, folder: Path, jobs: int | None, fresh: bool
) -> Iterator[tuple[Callable[..., Future], Callable[[Future], Any], int]]:
    """Units as tasks of Ray, which gives those of a lost machine or process to another and keeps processes for the next unit.

    Usage statistics stay off; tokens, where the cluster asks for them, are Ray's affair (RAY_AUTH_MODE, RAY_AUTH_TOKEN).
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InvalidArgument("ray", address, f"left out without the library; {CLUSTER}") from error
    # A Ray of one's own has no dashboard, and works where there is no network.
    own: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False} if address == "local" else {}
    ended_by = signal.getsignal(signal.SIGTERM)
    try:
        if address not in ("local", "auto"):  # Ray would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except Exception as error:  # each way of not being there has its own
        allowed = "local, or auto or host:port of a cluster that runs (`ray start --head`)"
        raise InvalidArgument("ray", address, f"{allowed}: {first_line(error)}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ended_by)  # Ray puts its own in the place
    folder.mkdir(parents=True, exist_ok=True)
    try:
        has = ray.cluster_resources()
        gpu = 1 / ON_A_GPU if has.get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpu, max_retries=RETRIES, max_calls=int(fresh))(_attempt_there)
        with tempfile.NamedTemporaryFile(dir=folder.absolute(), prefix=".seen-") as mark:

            def submit(function: Callable[..., Any], *unit: Any) -> Future:
                named = task.options(name=" ".join(map(str, unit))[:100])
                return named.remote(mark.name, function, unit).future()

            def result_of(future: Future) -> Any:
                try:
                    good, result = future.result()
                except ray.exceptions.RayError as error:
                    raise Ended("Killed", f"lost {RETRIES + 1} times: {first_line(error)}") from error
                if not good:
                    raise Ended(*result)
                return result

            yield submit, result_of, jobs or 2 * int(has.get("CPU", 1))  # some wait there, so that nobody waits for them
    finally:
        ray.shutdown()  # ends what still runs


def _attempt_there(mark: str, function: Callable[..., Any], unit: Unit) -> tuple[bool, Any]:
    if not os.path.exists(mark):
        where, folder = platform.node(), os.path.dirname(mark)
        return False, ("UnusableFile", f"{where} does not see {folder}: all machines of the cluster must share it")
    return _attempt(function, unit)
