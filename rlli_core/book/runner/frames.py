"""Frames of a notebook's panels (`book.panels.panel`), kept beside a profile's results as `panels/<notebook>/<number>`.

They are worked out apart while the notebook runs and take the place of older ones together, when it has run well; a file
beside them holds the hash of the inputs that they are of, and the names of all that belongs to them.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import nbformat

from .run_record import RunRecord
from .writing import STATE

_OF = "inputs"


def scratch(folder: Path, name: str) -> Path:
    """Where the frames of `name` wait until the run by this process is good; nothing is there now, nor from a killed one."""
    for left in folder.glob("panels.new/*"):
        shutil.rmtree(left / name, ignore_errors=True)
        with suppress(OSError):  # those of other notebooks may be in it
            left.rmdir()
    return _waiting(folder, name)


def _waiting(folder: Path, name: str) -> Path:
    return folder / "panels.new" / str(os.getpid()) / name


def count(place: Path) -> int:
    """How many panels have their frames in `place`."""
    return len(list(place.glob("*/index.js")))


def lost(place: Path, notebook: nbformat.NotebookNode) -> list[str]:
    """The panels, as notebook/number, that an executed notebook shows and whose frames are not in `place`."""
    states = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {}).values()
    configs = [state.get("state", {}).get("config") for state in states]
    names = [config["name"] for config in configs if isinstance(config, dict) and config.get("name")]
    return [name for name in names if not (place.parent / name / "index.js").is_file()]


def keep(folder: Path, name: str, inputs: str) -> None:
    """Put the waiting frames in the place of the notebook's older ones, or nothing where there are no new ones."""
    waiting, place = _waiting(folder, name), folder / "panels" / name
    shutil.rmtree(place, ignore_errors=True)
    if waiting.exists():
        files = sorted(path.relative_to(waiting).as_posix() for path in waiting.glob("*/*"))
        (waiting / _OF).write_text("\n".join([inputs, *files]) + "\n", encoding="utf-8")
        place.parent.mkdir(parents=True, exist_ok=True)
        waiting.rename(place)


def whole(folder: Path, record: RunRecord) -> bool:
    """Whether the frames of the recorded run are there, all of them and of its inputs."""
    place = folder / "panels" / record.notebook
    if count(place) != record.panels:
        return False
    if not record.panels:
        return True
    inputs, *files = (place / _OF).read_text(encoding="utf-8").splitlines() if (place / _OF).is_file() else [""]
    return inputs == record.inputs and all((place / file).is_file() for file in files)
