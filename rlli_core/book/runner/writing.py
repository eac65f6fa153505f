"""Puts a result in the place of the committed notebook, as far as it differs.

A notebook in which no cell, no output and no panel has changed is left as it is, whatever the clock said; two pictures are
the same by `pictures.alike`. If then only the hash of its inputs has changed, the note about the run, `metadata.rlli`, is
replaced by that of the new run, and nothing else: so the committed notebook keeps standing for a run with the present inputs.
"""

from pathlib import Path

import nbformat

from ...files import write_text
from .pictures import PNG, alike

_WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def write_back(result: Path, committed: Path) -> None:
    """Write the executed notebook at `result` over the one at `committed`, as far as they differ."""
    new, old = (nbformat.read(path, as_version=4) for path in (result, committed))
    if not same(new, old):
        write_text(committed, result.read_text(encoding="utf-8"))
    elif new.metadata["rlli"].get("inputs") != old.metadata.get("rlli", {}).get("inputs"):
        old.metadata["rlli"] = new.metadata["rlli"]
        write_text(committed, nbformat.writes(old) + "\n")


def same(new: nbformat.NotebookNode, old: nbformat.NotebookNode) -> bool:
    """Whether two executed notebooks show the same: cells, outputs, panels."""
    return len(new.cells) == len(old.cells) and all(
        _same_cell(one, other, _state(new), _state(old)) for one, other in zip(new.cells, old.cells, strict=True)
    )


def _same_cell(new: dict, old: dict, new_state: dict, old_state: dict) -> bool:
    if any(new.get(key) != old.get(key) for key in ("cell_type", "source", "metadata", "execution_count")):
        return False
    outputs, others = new.get("outputs", []), old.get("outputs", [])
    return len(outputs) == len(others) and all(
        _same_output(dict(one), dict(other), new_state, old_state) for one, other in zip(outputs, others, strict=True)
    )


def _same_output(new: dict, old: dict, new_state: dict, old_state: dict) -> bool:
    data, other = dict(new.pop("data", {})), dict(old.pop("data", {}))
    if new != old or set(data) != set(other):
        return False
    if PNG in data and not alike(data.pop(PNG), other.pop(PNG)):
        return False
    if _WIDGET in data:  # the ids of widgets are new in each run
        shown, known = data.pop(_WIDGET)["model_id"], other.pop(_WIDGET)["model_id"]
        if _unfolded(new_state.get(shown), new_state) != _unfolded(old_state.get(known), old_state):
            return False
    return data == other


def _state(notebook: nbformat.NotebookNode) -> dict:
    return notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})


def _unfolded(value: object, state: dict) -> object:
    """A part of the widgets' state with the models that it names in the place of their names."""
    if isinstance(value, str) and value.startswith("IPY_MODEL_"):
        return _unfolded(state.get(value.removeprefix("IPY_MODEL_")), state)
    if isinstance(value, dict):
        return {key: _unfolded(inner, state) for key, inner in value.items()}
    return [_unfolded(inner, state) for inner in value] if isinstance(value, list) else value
