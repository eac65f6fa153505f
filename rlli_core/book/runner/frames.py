"""Frames of a notebook's panels (`book.panels.panel`), kept beside a profile's results as `panels/<notebook>/<number>`.

They are worked out apart while the notebook runs and take the place of older ones together, when it has run well; a file
beside them holds the hash of the inputs that they are of, and the names of all that belongs to them.
"""

import shutil
from pathlib import Path

from .run_record import RunRecord

_OF = "inputs"


def scratch(folder: Path, name: str) -> Path:
    """Where the frames of `name` wait until its run is good; nothing is there now."""
    place = folder / "panels.new" / name
    shutil.rmtree(place, ignore_errors=True)
    return place


def count(place: Path) -> int:
    """How many panels have their frames in `place`."""
    return len(list(place.glob("*/index.js")))


def keep(folder: Path, name: str, inputs: str) -> None:
    """Put the waiting frames in the place of the notebook's older ones, or nothing where there are no new ones."""
    waiting, place = folder / "panels.new" / name, folder / "panels" / name
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
