"""`notebooks/conftest.py`: an nbval run of committed notebooks leaves the frames of their panels, whole or not at all."""

import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.book.runner.inputs import Inputs
from rlli_core.book.runner.notebooks import NOTEBOOKS

pytestmark = pytest.mark.kernel

PANEL = [
    "from rlli_core.book.panels.panel import Panel, Part, slider",
    "Panel({'x': slider('x', range(4), 1, (0, 3))}, lambda x: (f'{x}', [Part(text='words')]))",
]


def test_frames_come_with_good_notebooks_only(tmp_path):
    folder, panels = tmp_path / "notebooks", tmp_path / "build" / "runs" / "smoke" / "panels"
    folder.mkdir()
    shutil.copy(NOTEBOOKS / "conftest.py", folder)
    notebooks = {"good": PANEL, "failing": [*PANEL, "1 / 0"], "plain": ["1 + 1"], "two": [*PANEL, PANEL[1]]}
    for name, cells in notebooks.items():
        tagged = new_code_cell("seed: int = 7", metadata={"tags": ["parameters"]})
        nbformat.write(
            new_notebook(cells=[new_markdown_cell("# T"), tagged, *map(new_code_cell, cells)]), folder / f"{name}.ipynb"
        )
    for name in ("failing", "plain"):  # of an earlier run
        (panels / name / "1").mkdir(parents=True)
        (panels / name / "1" / "index.js").write_text("old")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(tmp_path / "none.ini"), "--rootdir"]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    options = ["--nbval-lax", "--nbval-current-env", "-n", "2", "--dist", "loadfile", "--import-mode=importlib"]
    run = subprocess.run([*command, str(tmp_path), str(folder), *options], capture_output=True, text=True)
    assert run.returncode == 1 and "1 failed" in run.stdout, run.stdout + run.stderr
    assert '"good/1"' in (panels / "good" / "1" / "index.js").read_text()
    inputs = Inputs().hash(nbformat.read(folder / "good.ipynb", as_version=4))
    assert (panels / "good" / "inputs").read_text().split() == [inputs, "1/index.js"]
    assert len(list((panels / "two").glob("*/index.js"))) == 2
    assert (panels / "failing" / "1" / "index.js").read_text() == "old"
    assert not (panels / "plain").exists()
    assert not list((panels.parent / "panels.new").glob("*"))
