"""Where things lie, where a result comes from, and files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open

from .errors import ModelNotFound, NoCheckout, first_line, shown

DATA = Path(__file__).resolve().parent.parent / "data"
WORK = Path(os.environ.get("RLLI_WORK") or user_cache_path("rlli", appauthor=False))
"""Checkpoints and rendered data sets live here, outside the repository: $RLLI_WORK, or the system's folder for caches."""
FRAMES = "RLLI_PANELS"
"""Environment variable: where a kernel's panels put their frames; see `book.panels.panel`."""


def of_checkout(path: Path) -> Path:
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


def write_text(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, path)


def write_weights(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write PyTorch tensors as safetensors, whole or not at all; the same tensors and metadata give the same bytes."""
    from safetensors.torch import save

    data = save(dict(tensors), dict(metadata))
    size = int.from_bytes(data[:8], "little")
    # The library writes metadata in an order of its own each time.
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])
    os.replace(temporary, path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")
