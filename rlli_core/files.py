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

from .errors import ModelNotFound

DATA = Path(__file__).resolve().parent.parent / "data"
WORK = Path(os.environ.get("RLLI_WORK") or user_cache_path("rlli", appauthor=False))
"""Checkpoints and rendered data sets live here, outside the repository: $RLLI_WORK, or the system's folder for caches."""
FRAMES = "RLLI_PANELS"
"""Environment variable: where a kernel's panels put their frames; see `book.panels.panel`."""


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
    temporary.write_text(content)
    os.replace(temporary, path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")
