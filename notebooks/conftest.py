"""When nbval runs a committed notebook, the frames of its panels are worked out for the book as `rlli run` does it.

They go to `build/runs/smoke/panels`, whole or not at all: only if every cell has passed. With them, `rlli run --committed`
can take the notebook as it is. A kernel inherits where its panels put frames, so that is said before nbval starts one.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlli_core.book.runner import frames, runs
from rlli_core.book.runner.inputs import Inputs
from rlli_core.files import FRAMES

FOLDER = Path(__file__).parents[1] / "build" / "runs" / "smoke"
_inputs: dict[Path, str] = {}  # of the notebooks that were begun
_passed: dict[Path, int] = {}  # cells


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the first cell: an empty place for the frames."""
    if item.path.suffix == ".ipynb" and item.path not in _inputs:
        _inputs[item.path], _passed[item.path] = Inputs().hash(runs.read(item.path)), 0
        os.environ[FRAMES] = str(frames.scratch(FOLDER, item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Count the cells that passed."""
    report = yield
    if item.path in _passed and call.when == "call" and report.passed:
        _passed[item.path] += 1
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the last cell: keep the frames, or throw them away."""
    if item.path not in _inputs or nextitem is not None and nextitem.path == item.path:
        return
    del os.environ[FRAMES]
    cells = sum(cell.cell_type == "code" for cell in item.parent.nb.cells)
    if _passed[item.path] == cells:
        frames.keep(FOLDER, item.path.stem, _inputs[item.path])
    frames.scratch(FOLDER, item.path.stem)
