"""Builds the book from what the notebooks left: `python -m rlli_core.book.build smoke`, as `make book` calls it.

All is put together in a folder of its own, and the site takes the place of the last one only when it is whole. Two builds
take turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from ..errors import RunFailed, told
from ..files import DATA, check_writable, remove, whole
from .browser import site
from .ledger import claims, pages
from .runner import frames, notebooks, runs

ROOT = DATA.parent
BUILD = ROOT / "build"


def build(profile: str) -> Path:
    """Build the book from the results of `profile`; returns the folder of its pages.

    Raises:
        RunFailed: a result is missing, or the pages cannot be made of them; the last book is still there.
        UnusableFile: the folder of the book cannot be written to.
    """
    check_writable(BUILD)
    BUILD.mkdir(exist_ok=True)
    with FileLock(BUILD / ".book.lock"):
        for left in BUILD.glob("site.*"):  # of builds that were killed
            remove(left)
        with TemporaryDirectory(prefix="site.", dir=BUILD) as folder:
            gather(profile, Path(folder))
            made = render(Path(folder))
            with whole(BUILD / "claims.json") as numbers, whole(BUILD / "html") as html:
                shutil.copyfile(Path(folder) / "book" / pages.NUMBERS, numbers)
                os.replace(made, html)
    return BUILD / "html"


def gather(profile: str, folder: Path) -> None:
    """Put pages, results and what the pages load beside each other."""
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copytree(pages.BOOK, folder / "book")
    for name in notebooks.names():
        take(name, profile, folder)
    pages.write(folder / "book", claims.read(), claims.latest(profile))
    site.write(BUILD / "web")  # the networks in it are made again only where they are out of date
    shutil.copytree(BUILD / "web", folder / "web", dirs_exist_ok=True)


def take(name: str, profile: str, folder: Path) -> None:
    """Copy the result of a notebook and its frames, which belong together while nobody runs it."""
    results = runs.RUNS / profile
    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / f".{name}.lock"):
        record = runs.read_record(name, profile)
        if record is None or not frames.whole(results, record) or not (results / f"{name}.ipynb").is_file():
            raise RunFailed(f"{name}: no whole result of the profile {profile} is here: rlli run {name} --profile {profile}")
        (folder / "notebooks").mkdir(exist_ok=True)
        shutil.copy(results / f"{name}.ipynb", folder / "notebooks")
        if record.panels:
            shutil.copytree(results / "panels" / name, folder / "web" / "panels" / name)


def render(folder: Path) -> Path:
    """Make the pages; returns their folder."""
    command = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    if command is None:
        raise RunFailed("no jupyter-book beside this Python: `make book` installs it, and so does pip install -e '.[book]'")
    options = ["--toc", "book/_toc.yml", "--path-output", "sphinx", "-W", "-n", "--keep-going"]
    if status := subprocess.run([command, "build", ".", *options], cwd=folder, check=False).returncode:
        raise RunFailed(f"jupyter-book ended with status {status}, see above; the last book is as it was")
    return folder / "sphinx" / "_build" / "html"


def main() -> None:
    """Build and say where the book is."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.book.build", description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=runs.PROFILES)
    print(f"The book is at {build(parser.parse_args().profile)}/index.html")


if __name__ == "__main__":
    sys.exit(told(main))
