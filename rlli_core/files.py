"""Where things lie, where a result comes from, and files that are written whole or not at all."""

from __future__ import annotations

import glob
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open

from .errors import InvalidArgument, ModelNotFound, NoCheckout, UnusableFile, first_line, shown

DATA = Path(__file__).resolve().parent.parent / "data"


def _work() -> Path:
    try:
        return Path(os.environ.get("RLLI_WORK") or user_cache_path("rlli", appauthor=False))
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "rlli"


WORK = _work()
"""Checkpoints and rendered data sets live here, outside the repository: $RLLI_WORK, or the system's folder for caches."""
FRAMES = "RLLI_PANELS"
"""Environment variable: where a kernel's panels put their frames; see `book.panels.panel`."""


def of_checkout(path: Path = DATA) -> Path:
    """Return a file or folder of the repository that is no part of the package.

    Raises:
        NoCheckout: it is not there.
    """
    if not path.exists():
        raise NoCheckout(
            f"{path} is not there: it comes with the repository; install the package from a full checkout by `pip install -e .`"
        )
    return path


def model_folder(name: str) -> Path:
    """Return the folder of the embedded model `name`, such as "embedded-sd" or "judge".

    Raises:
        ModelNotFound: the package does not run from a checkout, or that model is not in it.
    """
    folder = DATA / "models" / name
    if not folder.is_dir():
        raise ModelNotFound(
            f"the embedded model {name!r} is not at {folder}: it comes with the repository, so install the package "
            "from a full checkout with `pip install -e .`, or pass the folder of a model instead of its name"
        )
    return folder


def folder_of(name: str | Path) -> Path:
    """The folder that a model's name may be: a path, with the home of `~`; a name that cannot be one is of no folder.

    Raises:
        ModelNotFound: no operating system has such a path.
    """
    try:
        folder = Path(name).expanduser()
        folder.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelNotFound(f"{shown(str(name))} is neither a folder nor a hub id: {first_line(error)}") from error
    return folder


_SAYS_SOMETHING = ("model_index.json", "config.json", "scheduler_config.json", "tokenizer.json", "vocab.json")


def check_model_folder(folder: Path) -> None:
    """Look at the files of a model before a library does, which would say less or nothing where one is damaged.

    Raises:
        ModelNotFound: a JSON file that cannot be read or is empty, or weights that are broken off or something else, such as the
            pointer that Git LFS leaves in their place.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ModelNotFound(f"{path} is damaged, get the model again: {error}") from error
            if path.name in _SAYS_SOMETHING and not content:
                raise ModelNotFound(f"{path} is damaged, get the model again: it is empty")
        elif path.suffix == ".safetensors":
            with path.open("rb") as file:
                start = file.read(64).lstrip()
            if start.startswith(b"version https://git-lfs"):
                raise ModelNotFound(
                    f"{path} is a pointer of Git LFS and no weights: run `git lfs pull`, or get the model again"
                )
            try:
                with safe_open(path, "numpy"):
                    pass
            except (OSError, SafetensorError) as error:
                what = "a web page" if start[:1] == b"<" else "broken off or something else"
                raise ModelNotFound(f"{path} is {what} and no weights, get the model again: {error}") from error


def git_commit() -> str | None:
    """The checkout's commit, with a + where files differ from it; None where git does not know."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=DATA.parent, capture_output=True, text=True, check=False)

    if shutil.which("git") is None or (commit := git("rev-parse", "HEAD")).returncode:
        return None
    return f"{commit.stdout.strip()}{'+' if git('status', '--porcelain').stdout else ''}"


def provenance(command: str) -> dict[str, Any]:
    """The command that made a result, and the commit, day, machine and libraries that it was made with."""
    return {
        "command": command,
        "commit": git_commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "versions": {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")},
    }


def why(error: Exception) -> str:
    """What the system says of a file, without its number and path."""
    return getattr(error, "strerror", None) or first_line(error)


FROM_GIT = "get it again with `git checkout`"


def read_json(path: Path, *needs: str, remedy: str = FROM_GIT) -> dict[str, Any]:
    """An object of a JSON file with these entries.

    Raises:
        UnusableFile: the file is missing or damaged; names it, and the remedy.
    """
    return _read(path, json.loads, needs, remedy)


def read_yaml(path: Path, *needs: str, remedy: str = FROM_GIT) -> dict[str, Any]:
    """As `read_json`, of YAML."""
    import yaml

    return _read(path, yaml.safe_load, needs, remedy)


def _read(path: Path, parse: Callable[[str], Any], needs: Sequence[str], remedy: str) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read, {remedy}: {why(error)}") from error
    except Exception as error:  # each parser has its own; nesting as deep as a file likes ends in RecursionError
        raise UnusableFile(f"{path} is damaged, {remedy}: {first_line(error)}") from error
    if not isinstance(content, dict) or not content.keys() >= set(needs):
        raise UnusableFile(f"{path} is damaged, {remedy}: it has no {', '.join(needs) or 'names with values'}")
    return content


def read_arrays(path: Path, *names: str) -> dict[str, Any]:
    """Arrays of an npz file, by their names.

    Raises:
        UnusableFile: the file is missing or damaged; names it, and the remedy.
    """
    import numpy as np

    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return {name: file[name] for name in names}
    except Exception as error:  # zipfile, zlib and numpy each have their own
        raise UnusableFile(f"{path} is damaged, {FROM_GIT}: {first_line(error)}") from error


def check_writable(folder: Path) -> None:
    """Try before the work whether a folder can be made and written to, a megabyte at least; nothing is left of it.

    Raises:
        UnusableFile: it cannot.
    """
    try:
        place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(2**20))
    except (OSError, ValueError) as error:
        raise UnusableFile(f"nothing can be written to {folder}: {why(error)}") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a place to write a file or a folder to, which becomes `path` when the block ends well, and else is gone.

    Raises:
        UnusableFile: it cannot be written; what was there before is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{platform.node()}")  # others may share the file system
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and path.exists():
            os.replace(path, older := temporary.with_name(f"{temporary.name}.old"))
            os.replace(temporary, path)
            remove(older)
        else:
            os.replace(temporary, path)
    except BaseException as error:
        remove(temporary)
        if isinstance(error, OSError) and not isinstance(error, UnusableFile):
            hint = "" if error.errno else " (is the disk full?)"  # numpy only says how much it could write
            raise UnusableFile(f"{path} cannot be written: {why(error)}{hint}") from error
        raise
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):  # of processes of this machine that were killed
        number, _, node = left.name.removeprefix(f".{path.name}.").removesuffix(".old").partition(".")
        if number.isdigit() and node == platform.node() and not psutil.pid_exists(int(number)):
            remove(left)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as that can be done."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


@contextmanager
def alone(folder: Path, what: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a folder for one piece of work; within it the same thread may do so again.

    Raises:
        InvalidArgument: another thread or process holds it, after that many seconds still.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0, is_singleton=True).acquire(timeout=patience_s):
            yield
    except Timeout as error:
        raise InvalidArgument("folder", str(folder), f"another one: {what} is under way in it") from error


def write_text(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    with whole(path) as place:
        place.write_text(content, encoding="utf-8", newline="\n")


def weights_bytes(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """PyTorch tensors as a safetensors file; the same tensors and metadata give the same bytes."""
    from safetensors.torch import save

    data = save(dict(tensors), dict(metadata))
    size = int.from_bytes(data[:8], "little")
    # The library writes metadata in an order of its own each time.
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def write_weights(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write PyTorch tensors as safetensors, whole or not at all; as `weights_bytes`."""
    with whole(path) as place:
        place.write_bytes(weights_bytes(tensors, metadata))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")
