"""Work in processes of its own: one that dies takes no other along, and none outlives the command that started it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any

from .errors import RunFailed, first_line


class Ended(Exception):
    """A process ended without its result; `kind` is the type of the error there, or "Killed"."""

    def __init__(self, kind: str, why: str):
        self.kind = kind
        super().__init__(why)


@contextmanager
def in_process() -> Iterator[Callable[..., Any]]:
    """Give a function that calls another one in a new process and returns its result; several threads may use it at once.

    Leaving by an exception, such as that of Ctrl-C, ends the processes that still run.

    Raises:
        Ended: by the given function, where the other raised an exception or its process was killed.
    """
    context, running, closed = get_context("spawn"), set(), threading.Event()

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        if closed.is_set():
            raise Ended("Interrupted", "not started")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(there, function, arguments))
        process.start()
        running.add(process)
        there.close()
        try:
            good, result = here.recv()
        except EOFError:
            process.join()
            why = "its process was killed, for example for want of memory"
            if process.exitcode == 1:  # the interpreter gave up before any work
                why = "its process could not start: a script that runs notebooks must do so under `if __name__ == '__main__':`"
            raise Ended("Killed", why) from None
        finally:
            process.join()
            running.discard(process)
        if not good:
            raise Ended(*result)
        return result

    try:
        yield call
    except BaseException:
        closed.set()
        for process in list(running):
            process.terminate()
        raise


def in_processes(function: Callable[..., None], jobs: Sequence[tuple[Any, ...]]) -> None:
    """Call `function(*job)` for every job at once, each in a process of its own and on one thread.

    Raises:
        RunFailed: a process failed; the others were waited for.
    """
    with ThreadPoolExecutor(len(jobs)) as starters, in_process() as call:
        started = [starters.submit(call, _on_one_thread, function, job) for job in jobs]
        failed = [error for future in started if (error := future.exception())]
    if failed:
        kept = "what was done is kept, run the command again"
        raise RunFailed(f"{len(failed)} of {len(jobs)} processes failed ({first_line(failed[0])}); {kept}")


def _on_one_thread(function: Callable[..., None], job: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    function(*job)


def _work(there: connection.Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What the new process does; Ctrl-C is its parent's affair, and where that is gone there is nobody to work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        result = (True, function(*arguments))
    except Exception as error:
        result = (False, (type(error).__name__, first_line(error)))
    try:
        there.send(result)
    except Exception as error:  # what cannot travel
        there.send((False, (type(error).__name__, first_line(error))))


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
