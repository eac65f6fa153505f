"""The book's build: whole or not at all, two take turns, a killed one leaves the last book."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from nbformat.v4 import new_notebook

from rlli_core.book import build
from rlli_core.book.runner import frames, runs
from rlli_core.book.runner.run_record import RunRecord
from rlli_core.errors import RunFailed, UnusableFile


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of builds with a book of one page, and a build of pages that takes a while."""

    def gather(profile, folder):
        (folder / "book").mkdir()
        (folder / "book" / "claims.json").write_text(profile)

    def render(folder):
        html = folder / "html"
        (html / "panels").mkdir(parents=True)
        for page in ("index.html", "panels/frame.html"):
            time.sleep(0.2)
            (html / page).write_text((folder / "book" / "claims.json").read_text())
        return html

    monkeypatch.setattr(build, "BUILD", tmp_path)
    monkeypatch.setattr(build, "gather", gather)
    monkeypatch.setattr(build, "render", render)
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("the last book")
    return tmp_path


def is_whole(place, text):
    """Whether there is one book, of this profile, and nothing else."""
    files = {path.relative_to(place).as_posix(): path.read_text() for path in place.rglob("*") if path.is_file()}
    files.pop(".book.lock", None)
    return files == dict.fromkeys(("html/index.html", "html/panels/frame.html", "claims.json"), text)


def test_two_builds_at_once_take_turns_and_neither_lies_in_the_other(place):
    with ThreadPoolExecutor(2) as both:
        for started in [both.submit(build.build, profile) for profile in ("full", "full")]:
            assert started.result() == place / "html"
    assert is_whole(place, "full")


@pytest.mark.parametrize("error", [RunFailed("jupyter-book ended"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_the_last_book_and_nothing_else(place, monkeypatch, error):
    def fail(folder):
        (folder / "html").mkdir()
        raise error

    monkeypatch.setattr(build, "render", fail)
    with pytest.raises(type(error)):
        build.build("smoke")
    assert sorted(path.name for path in place.iterdir()) == [".book.lock", "html"]
    assert (place / "html" / "index.html").read_text() == "the last book"


KILLED = """
import sys, time
from pathlib import Path
from rlli_core.book import build
build.BUILD = Path(sys.argv[1])
build.gather = lambda profile, folder: (folder / "half").touch()
build.render = lambda folder: time.sleep(60)
build.build("smoke")
"""


@pytest.mark.slow
def test_a_killed_build_leaves_the_last_book_and_the_next_one_cleans_up(place):
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(place)])
    end = time.monotonic() + 60
    while not list(place.glob("site.*/half")) and time.monotonic() < end:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (place / "html" / "index.html").read_text() == "the last book" and list(place.glob("site.*/half"))
    build.build("smoke")
    assert is_whole(place, "smoke")


def test_a_book_that_cannot_be_written_is_refused_before_the_work(place, monkeypatch):
    monkeypatch.setattr(build, "BUILD", place / "html" / "index.html")
    monkeypatch.setattr(build, "gather", None)
    with pytest.raises(UnusableFile, match="nothing can be written to"):
        build.build("smoke")


def test_of_a_notebook_only_a_whole_result_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    results, site = tmp_path / "runs" / "smoke", tmp_path / "site"
    record = RunRecord("fig01_sum", {"total": 1.0}, inputs="now", panels=1)
    record.write(results / "fig01_sum.json")
    nbformat.write(new_notebook(), results / "fig01_sum.ipynb")
    waiting = frames.scratch(results, "fig01_sum") / "1"
    waiting.mkdir(parents=True)
    for name in ("index.js", "0.webp"):
        (waiting / name).write_text(name)
    frames.keep(results, "fig01_sum", "now")
    site.mkdir()
    build.take("fig01_sum", "smoke", site)
    assert (site / "notebooks" / "fig01_sum.ipynb").is_file()
    assert (site / "web" / "panels" / "fig01_sum" / "1" / "0.webp").read_text() == "0.webp"
    for gone in ("panels/fig01_sum/1/0.webp", "fig01_sum.ipynb", "fig01_sum.json"):
        kept = (results / gone).read_text()
        (results / gone).unlink()
        with pytest.raises(RunFailed, match="rlli run fig01_sum --profile smoke"):
            build.take("fig01_sum", "smoke", site)
        (results / gone).write_text(kept)
