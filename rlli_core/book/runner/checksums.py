"""The checksums of everything in `data/`, kept in `data/checksums.txt` in the format of the sha256sum command."""

import hashlib
import sys
from pathlib import Path

from ...errors import UnusableFile, first_line
from ...files import DATA, FROM_GIT, of_checkout, why, write_text

CHECKSUMS = DATA / "checksums.txt"
# What describes results and is no input to them, so that a word changed there makes no run out of date.
DESCRIPTIONS = {"README.md", "checksums.txt", "claims.yaml"}


def measured() -> dict[str, str]:
    """SHA-256 of each file as it is now, by its path below `data/`; of one that cannot be read, why."""
    files = sorted(path.relative_to(DATA).as_posix() for path in DATA.rglob("*") if path.is_file())
    return {
        name: _digest(DATA / name) for name in files if name not in DESCRIPTIONS and not name.split("/")[-1].startswith(".")
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return why(error)


def recorded() -> dict[str, str]:
    """SHA-256 of each file as `data/checksums.txt` has it."""
    try:
        lines = CHECKSUMS.read_text(encoding="utf-8").splitlines() if CHECKSUMS.exists() else []
        return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    except (OSError, ValueError) as error:
        raise UnusableFile(f"{CHECKSUMS} is damaged, {FROM_GIT}: {first_line(error)}") from error


def changed() -> list[str]:
    """Files that are missing, new or different from what is recorded."""
    return sorted({name for name, _ in measured().items() ^ recorded().items()})


def say_changed() -> None:
    """Tell on standard error which files of `data/` are not the recorded ones, since results then are not the book's."""
    if names := changed():
        some = ", ".join(f"data/{name}" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        print(f"rlli: not as in data/checksums.txt, so results may differ from the book's: {some}", file=sys.stderr)


def write() -> None:
    """Record the files as they are now."""
    of_checkout()
    write_text(CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in measured().items()))
