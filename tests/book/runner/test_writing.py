"""Writing back: what changed is written, what did not is left as it is."""

import base64
import copy
import io

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from rlli_core.book.runner.writing import write_back


def picture(grey):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (grey, grey, grey)).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def executed(panel="ab12", layout="cd34"):
    view = {"model_id": panel, "version_major": 2, "version_minor": 1}
    numbers = {"application/vnd.rlli.numbers+json": {"score": 0.5}, "text/plain": "score = 0.5"}
    state = {
        panel: {"model_name": "AnyModel", "state": {"layout": f"IPY_MODEL_{layout}", "config": {"stops": [1, 2]}}},
        layout: {"model_name": "LayoutModel", "state": {"width": "9px"}},
    }
    shown = [{"image/png": picture(100)}, {"application/vnd.jupyter.widget-view+json": view, "text/plain": "Panel(x)"}, numbers]
    cells = [new_code_cell(f"step({k})", id=f"c{k}", execution_count=k + 1, outputs=[new_output("display_data", data)])
             for k, data in enumerate(shown)]  # fmt: skip
    notebook = new_notebook(cells=[new_markdown_cell("# Title", id="head"), *cells])
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    notebook.metadata["rlli"] = {"inputs": "hash", "wall_s": 10.0, "started": "2026-01-01", "profile": "smoke"}
    return notebook


@pytest.fixture
def written(tmp_path):
    """Call it with a new result for the committed notebook's text before and after."""
    committed, result = tmp_path / "committed.ipynb", tmp_path / "result.ipynb"

    def write(new):
        # Not as nbformat writes it, so that a rewritten file can be told.
        committed.write_text(nbformat.writes(executed(), indent=3))
        nbformat.write(new, result)
        before = committed.read_text()
        write_back(result, committed)
        return before, committed.read_text(), result.read_text()

    return write


def test_the_same_again_leaves_the_file_alone(written):
    again = executed("ef56", "0a0b")  # widgets have new ids in each run
    again.metadata["rlli"] |= {"wall_s": 99.0, "started": "2027-01-01"}
    again.metadata["language_info"] = {"version": "3.11.9"}
    again.cells[1].outputs[0].data["image/png"] = picture(101)
    before, after, _ = written(again)
    assert after == before


def test_other_inputs_change_the_note_about_the_run_and_nothing_else(written):
    again = executed("ef56", "0a0b")
    again.metadata["rlli"] |= {"inputs": "other", "wall_s": 99.0}
    again.cells[1].outputs[0].data["image/png"] = picture(101)
    before, after, result = written(again)
    expected = nbformat.reads(before, as_version=4)
    expected.metadata["rlli"] = again.metadata["rlli"]
    assert after != result and nbformat.reads(after, as_version=4) == expected


def test_a_notebook_that_was_never_run_gets_its_note(tmp_path, written):
    old = executed()
    del old.metadata["rlli"]
    committed, result = tmp_path / "a.ipynb", tmp_path / "b.ipynb"
    nbformat.write(old, committed)
    nbformat.write(executed(), result)
    write_back(result, committed)
    assert nbformat.read(committed, as_version=4).metadata["rlli"]["inputs"] == "hash"


CHANGES = {
    "a text": lambda cells, _: cells[0].update(source="# Another"),
    "code": lambda cells, _: cells[1].update(source="step(9)"),
    "a caption": lambda cells, _: cells[1].metadata.update(caption="Other."),
    "a picture": lambda cells, _: cells[1].outputs[0].data.update({"image/png": picture(150)}),
    "a number": lambda cells, _: cells[3].outputs[0].data["application/vnd.rlli.numbers+json"].update(score=0.51),
    "a line of text": lambda cells, _: cells[3].outputs[0].data.update({"text/plain": "score = 0.51"}),
    "an output more": lambda cells, _: cells[3].outputs.append(new_output("stream", text="hello")),
    "an output less": lambda cells, _: cells[3].outputs.clear(),
    "a cell more": lambda cells, _: cells.append(new_code_cell("1", id="new", execution_count=4)),
    "a panel": lambda _, state: state["ab12"]["state"]["config"]["stops"].append(3),
    "a panel's layout": lambda _, state: state["cd34"]["state"].update(width="8px"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_written(written, what):
    again = copy.deepcopy(executed())
    CHANGES[what](again.cells, again.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"])
    before, after, result = written(again)
    assert after == result != before
