"""Where checkpoints and rendered data sets go; files whole or not at all, whatever happens."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from rlli_core import files
from rlli_core.errors import InvalidArgument, UnusableFile


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is Linux's")
@pytest.mark.parametrize("told", [True, False])
def test_work_is_where_the_variable_says_else_in_the_folder_for_caches(tmp_path, told):
    env = {key: value for key, value in os.environ.items() if key != "RLLI_WORK"} | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    env |= {"RLLI_WORK": str(tmp_path / "work")} if told else {}
    code = "from rlli_core.files import WORK; print(WORK)"
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert shown == str(tmp_path / ("work" if told else "cache/rlli"))


def test_the_same_weights_and_metadata_give_the_same_bytes(tmp_path):
    tensors = {name: torch.full((3, 2), i, dtype=torch.float16) for i, name in enumerate("cab")}
    about = {key: key * 3 for key in "the quick brown fox jumps over it".split()}
    written = set()
    for i in range(6):
        files.write_weights(tmp_path / f"{i}.safetensors", dict(reversed(tensors.items())) if i % 2 else tensors, about)
        written.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(written) == 1 and len(list(tmp_path.iterdir())) == 6
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == about and all(torch.equal(file.get_tensor(name), tensors[name]) for name in tensors)


DAMAGED = ["", "{", "[]", "null", "3", '{"other": 1}', "[" * 100_000, "\x00\x01", "<!doctype html>"]


@pytest.mark.parametrize("read", [files.read_json, files.read_yaml])
@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_is_named_with_the_remedy_in_one_line(tmp_path, read, text):
    path = tmp_path / "some file"
    path.write_text(text)
    with pytest.raises(UnusableFile, match="some file is damaged, delete it") as raised:
        read(path, "name", remedy="delete it")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1_000


@pytest.mark.parametrize("read", [files.read_json, files.read_yaml])
def test_one_that_is_missing_or_not_of_this_encoding_too(tmp_path, read):
    with pytest.raises(UnusableFile, match="cannot be read, get it again with `git checkout`: No such file"):
        read(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b'{"name": "\xe9"}')
    with pytest.raises(UnusableFile, match="latin is damaged"):
        read(tmp_path / "latin")
    (tmp_path / "good").write_text('{"name": 1}')
    assert read(tmp_path / "good", "name") == {"name": 1}


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_breaks_off_leaves_the_last_good_file_or_folder(tmp_path, error):
    def fill(place):
        place.mkdir()
        (place / "part").write_text("new")

    for name, start in (("file", lambda place: place.write_text("new")), ("folder", fill)):
        for before in ("", "old"):
            if before and name == "file":
                (tmp_path / name).write_text(before)
            elif before:
                (tmp_path / name).mkdir()
                (tmp_path / name / "old").touch()
            with pytest.raises(error), files.whole(tmp_path / name) as place:
                start(place)
                raise error
            assert [path.name for path in tmp_path.glob(f"{name}*")] == ([name] if before else [])
        with files.whole(tmp_path / name) as place:
            start(place)
    assert (tmp_path / "file").read_text() == "new" and [path.name for path in (tmp_path / "folder").iterdir()] == ["part"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_killed_processes_left_goes_with_the_next_write_and_that_of_living_ones_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here, elsewhere = (f".some.json.{{}}.{node}".format for node in (platform.node(), f"not-{platform.node()}"))
    for left in (here(ended.pid), here(os.getppid()), elsewhere(ended.pid)):
        (tmp_path / left).write_text("half")
    files.write_json(tmp_path / "some.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {here(os.getppid()), elsewhere(ended.pid), "some.json"}


def write_often(path, letter):
    for _ in range(50):
        files.write_text(path, letter * 10_000)


@pytest.mark.slow
def test_two_processes_that_write_one_file_each_write_a_whole_one(tmp_path):
    path = tmp_path / "text"
    files.write_text(path, "a" * 10_000)
    both = [get_context("spawn").Process(target=write_often, args=(path, letter)) for letter in "ab"]
    for one in both:
        one.start()
    while any(one.is_alive() for one in both):
        assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert [one.exitcode for one in both] == [0, 0] and [found.name for found in tmp_path.iterdir()] == ["text"]


def write_large(folder):
    """Write in every way more than there is room for; each is refused, and the last good file stays."""
    ways = {
        "text": lambda path: files.write_text(path, "x" * 2**20),
        "json": lambda path: files.write_json(path, {"x": "x" * 2**20}),
        "weights": lambda path: files.write_weights(path, {"x": torch.zeros(2**18)}, {}),
        "array": write_array,
        "folder": write_folder,
    }
    for name, write in ways.items():
        (folder / name).mkdir() if name == "folder" else (folder / name).write_text("old")
        with pytest.raises(
            UnusableFile, match=f"{name} cannot be written: (No space left on device|File too large|.*is the disk full)"
        ):
            write(folder / name)
    with pytest.raises(UnusableFile, match="nothing can be written to .*new.*: (No space left on device|File too large)"):
        files.check_writable(folder / "new")
    assert sorted(path.name for path in folder.iterdir()) == sorted(ways)
    assert all((folder / name).read_text() == "old" for name in ways if name != "folder")


def write_array(path):
    with files.whole(path) as place, place.open("wb") as file:
        np.save(file, np.zeros(2**18))


def write_folder(path):
    with files.whole(path) as place:
        place.mkdir()
        (place / "part").write_bytes(bytes(2**20))


def test_on_a_full_disk_nothing_is_half_written_or_lost(full_disk):
    write_large(full_disk)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are those of Unix")
def test_where_files_may_not_grow_nothing_is_half_written_or_lost(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        write_large(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none"), tmp_path / ("x" * 300)):
        with pytest.raises(UnusableFile, match="nothing can be written to"):
            files.check_writable(folder)
    files.check_writable(tmp_path / "new" / "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_held_by_one_thread_which_may_take_it_again(tmp_path):
    def take():
        with files.alone(tmp_path, "a training"):
            pass

    with files.alone(tmp_path, "a training"), ThreadPoolExecutor(1) as other:
        take()
        with pytest.raises(InvalidArgument, match="another one: a training is under way in it"):
            other.submit(take).result()
    take()


def test_who_has_no_home_works_in_the_systems_temporary_folder(tmp_path):
    code = "import os.path; os.path.expanduser = lambda path: path; from rlli_core.files import WORK; print(WORK)"
    env = {key: value for key, value in os.environ.items() if key not in ("RLLI_WORK", "XDG_CACHE_HOME", "HOME")}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=env | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(tmp_path / "rlli")
