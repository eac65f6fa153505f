"""The store of latents: nearest keys, eviction by hand, privacy, and what a kill or a full disk leaves."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from rlli_core.compute import content_hash
from rlli_core.errors import InvalidArgument, UnusableFile
from rlli_core.records import Handoff, SplitPlan
from rlli_core.shelf import EVICTIONS, Entry, Shelf
from rlli_core.store import LatentStore

ROOM = 10**6


def handoff(value=0.0, depth=5, side=8, prompt="a secret wish"):
    return Handoff(torch.full((1, 4, side, side), float(value)), SplitPlan(depth, 10 - depth), 1000 - 100 * depth, prompt, 3)


def entry(name, at=0.0, depth=5, size=1, owner="ann", shared=False):
    return Entry(name, {"text": np.array([at, 0.0], np.float32)}, depth, size, owner, shared)


def total(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_nearest_key_is_the_exact_one():
    rng = np.random.default_rng(0)
    keys, asked, shelf = rng.normal(size=(500, 8)).astype(np.float32), rng.normal(size=(50, 8)), Shelf(10**9)
    for i, key in enumerate(keys):
        shelf.add(Entry(str(i), {"text": key}, 5, 1, "ann"))
    apart = cdist(asked, keys)
    for row, key in zip(apart, asked):
        distance, found = shelf.nearest(key, "ann")
        assert found[5].name == str(row.argmin()) and distance == pytest.approx(row.min(), rel=1e-5)


def test_all_depths_at_the_nearest_key_are_found_the_users_own_before_others():
    shelf = Shelf(100)
    for name, at, depth, owner in (("a", 0, 2, "ann"), ("b", 0, 8, "ann"), ("c", 0, 8, "bob"), ("d", 1, 5, "bob")):
        shelf.add(entry(name, at, depth, owner=owner, shared=True))
    distance, found = shelf.nearest(np.array([0.4, 0.0]), "bob")
    assert distance == pytest.approx(0.4) and {depth: one.name for depth, one in found.items()} == {2: "a", 8: "c"}
    assert shelf.nearest(np.array([0.4, 0.0]), "ann")[1][8].name == "b"
    assert shelf.nearest(np.array([0.9, 0.0]), "ann")[1][5].name == "d"


def test_keys_of_another_kind_are_searched_by_their_name():
    shelf = Shelf(100)
    for i in range(3):
        shelf.add(Entry(str(i), {"text": np.array([i]), "picture": np.array([-i, i])}, 10, 1, "ann"))
    assert shelf.nearest(np.array([-1.9, 2.0]), "ann", by="picture")[1][10].name == "2"
    with pytest.raises(InvalidArgument, match="keys=.* must be as here"):
        shelf.add(entry("x"))
    with pytest.raises(InvalidArgument, match="key="):
        shelf.nearest(np.zeros(3), "ann", by="picture")
    assert shelf.nearest(np.zeros(3), "ann", by="sound") == (np.inf, {})


# a, b, c come in this order, of depths 9, 5 and 1; then a is taken once, b thrice, c twice; d comes, of depth 1, and e.
@pytest.mark.parametrize("eviction", EVICTIONS)
def test_eviction_of_a_sequence_made_by_hand(eviction):
    shelf, gone = Shelf(3, eviction), []
    for i, (name, depth) in enumerate(zip("abc", (9, 5, 1))):
        shelf.add(entry(name, i, depth))
    for name in "abbbcc":
        shelf.use(shelf.entries[name])
    for i, name in enumerate("de"):
        gone += shelf.add(entry(name, 10 + i, 1))
    wanted = {"lru": "ab", "fifo": "ab", "lfu": "ad", "lcbfu": "cd"}[eviction]
    assert "".join(one.name for one in gone) == wanted
    assert set(shelf.entries) == set("abcde") - set(wanted)


def test_recent_use_saves_from_lru_and_not_from_fifo():
    for eviction, gone in (("lru", "b"), ("fifo", "a")):
        shelf = Shelf(2, eviction)
        shelf.add(entry("a", 0))
        shelf.add(entry("b", 1))
        shelf.use(shelf.entries["a"])
        assert [one.name for one in shelf.add(entry("c", 2))] == [gone]


def test_a_twin_is_replaced_and_keeps_its_uses_and_nothing_larger_than_the_shelf_comes_in():
    shelf = Shelf(10)
    shelf.add(entry("a", size=4))
    shelf.use(shelf.entries["a"])
    assert [one.name for one in shelf.add(entry("b", size=4))] == ["a"] and shelf.entries["b"].uses == 2
    for other in (entry("c", depth=2), entry("d", owner="bob"), entry("e", shared=True)):
        assert shelf.add(other) == []
    with pytest.raises(InvalidArgument, match="size=11 .* at most the capacity, 10 bytes"):
        shelf.add(entry("f", size=11))
    with pytest.raises(InvalidArgument, match="eviction='best'"):
        Shelf(10, "best")


def keys(at):
    return {"text": np.array([at, 0.0], np.float32)}


def test_what_was_put_is_found_again_without_prompt_and_seed_also_by_the_next_process(tmp_path):
    with LatentStore(tmp_path, "m1", ROOM) as store:
        for depth in (2, 8):
            store.put(handoff(depth, depth), keys(1.0), "ann")
        store.take(store.nearest(np.array([1.0, 0.0]), "ann")[1][8], "ann", 0)
    (tmp_path / "m1" / "notes.txt").write_text("not the store's")
    with LatentStore(tmp_path, "m1", ROOM) as store:
        distance, found = store.nearest(np.array([1.0, 0.5]), "ann")
        got = store.take(found[8], "ann", 77)
        assert distance == pytest.approx(0.5) and set(found) == {2, 8} and (found[2].uses, found[8].uses) == (1, 3)
        assert (got.plan, got.timestep, got.prompt, got.seed, got.link) == (SplitPlan(8, 2), 200, "", 77, None)
        assert torch.equal(got.latent, handoff(8).latent)
    everything = b"".join(path.read_bytes() + path.name.encode() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret" not in everything and (tmp_path / "m1" / "notes.txt").exists()


def test_nobody_is_served_what_another_did_not_share(tmp_path):
    with LatentStore(tmp_path, "m1", ROOM) as store:
        private = store.put(handoff(1), keys(0.0), "ann")
        store.put(handoff(2), keys(5.0), "ann", shared=True)
        for user in ("bob", "", "ANN", "ann "):
            distance, found = store.nearest(np.zeros(2), user)
            assert distance == 5 and store.take(found[5], user, 0).latent.mean() == 2
            with pytest.raises(InvalidArgument, match="the owner of an entry that is not shared"):
                store.take(private, user, 0)
        assert store.take(store.nearest(np.zeros(2), "ann")[1][5], "ann", 0).latent.mean() == 1
        assert store.forget("ann") == 2 and not list(tmp_path.rglob("*.latent"))


def test_damage_and_other_models_are_misses(tmp_path):
    with LatentStore(tmp_path, "m1", ROOM) as store:
        for at in range(5):
            store.put(handoff(at), keys(float(at)), "ann")
    with LatentStore(tmp_path, "m2", ROOM) as store:
        assert len(store) == 0
        store.put(handoff(9), keys(9.0), "ann")
        foreign = next((tmp_path / "m2").glob("*.latent"))
    with LatentStore(tmp_path, "m1", ROOM) as store:
        place = {at: store._path(store.nearest(np.array([at, 0.0]), "ann")[1][5]) for at in range(5)}
        place[0].write_bytes(foreign.read_bytes())
        place[1].write_bytes(place[1].read_bytes()[:-1])
        place[2].unlink()
        content = bytearray(place[3].read_bytes())
        content[-7] ^= 1
        place[3].write_bytes(content)
        for at in range(4):
            assert store.take(store.nearest(np.array([at, 0.0]), "ann")[1][5], "ann", 0) is None
        assert len(store) == 1 and store.take(store.nearest(np.zeros(2), "ann")[1][5], "ann", 0).latent.mean() == 4


@pytest.mark.parametrize(
    "index", [None, "", "{", "[]", '{"clock": 1}', '{"clock": "x", "usage": 3}', '{"clock": 1, "usage": {"a": [1]}}']
)
def test_the_index_is_made_again_from_the_files(tmp_path, index):
    with LatentStore(tmp_path, "m1", ROOM, "fifo") as store:
        names = [store.put(handoff(at), keys(float(at)), "ann").name for at in range(3)]
        for i, name in enumerate(names):  # coarse clocks of file systems
            os.utime(tmp_path / "m1" / f"{name}.latent", (i, i))
    path = tmp_path / "m1" / "usage.json"
    path.unlink() if index is None else path.write_text(index)
    with LatentStore(tmp_path, "m1", ROOM, "fifo") as store:
        assert len(store) == 3 and store.shelf.next_to_go().name == names[0]


def test_bytes_on_disk_stay_within_the_bound_at_every_moment(tmp_path):
    capacity = 9_000
    with LatentStore(tmp_path, "m1", capacity, "lru") as store:
        for at in range(30):
            store.put(handoff(at), keys(float(at)), "ann")
            store._flush()
            assert total(tmp_path) <= capacity and (at < 3 or len(store) >= 3)
        assert [one.keys["text"][0] for one in store.shelf.entries.values()] == list(range(30 - len(store), 30))
    with LatentStore(tmp_path, "m1", capacity // 2, "lru") as store:
        assert 1 <= len(store) <= 2 and total(tmp_path) <= capacity // 2
        with pytest.raises(InvalidArgument, match="at most the capacity"):
            store.put(handoff(side=32), keys(0.0), "ann")


@pytest.mark.slow
def test_one_process_at_a_time(tmp_path):
    code = f"from rlli_core.store import LatentStore; LatentStore({str(tmp_path)!r}, 'm1', {ROOM})"
    with LatentStore(tmp_path, "m1", ROOM):
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another one: a store is under way in it" in tried.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


BAD = {
    "handoff": lambda store: store.put("x", keys(0.0), "ann"),
    "handoff.plan": lambda store: store.put(Handoff(torch.zeros(1), SplitPlan(5, (5, 5)), 499, "", 0), keys(0.0), "ann"),
    "keys": lambda store: store.put(handoff(), {"picture": np.zeros(2)}, "ann"),
    "keys ": lambda store: store.put(handoff(), {"text": np.array([np.nan])}, "ann"),
    "owner": lambda store: store.put(handoff(), keys(0.0), 3),
    "shared": lambda store: store.put(handoff(), keys(0.0), "ann", shared="yes"),
    "capacity": lambda store: LatentStore(store.folder, "m1", 10),
    "model": lambda store: LatentStore(store.folder, "../m1", ROOM),
    "folder": lambda store: LatentStore(None, "m1", ROOM),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(tmp_path, name):
    with LatentStore(tmp_path, "m1", ROOM) as store, pytest.raises(InvalidArgument, match=f"^{name.strip()}="):
        BAD[name](store)
    assert not list(tmp_path.rglob("*.latent"))


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnusableFile, match="the store .* cannot be used"):
        LatentStore(tmp_path / "file", "m1", ROOM)


WRITER = """
import itertools, sys
from pathlib import Path
import numpy as np, torch
from rlli_core.records import Handoff, SplitPlan
from rlli_core.store import LatentStore
store = LatentStore(sys.argv[1], "m1", 60_000, sys.argv[2])
print("open", len(store), flush=True)
for i in itertools.count():
    at = float(i % 50)
    store.put(Handoff(torch.full((1, 4, 8, 8), at), SplitPlan(5, 5), 499, "", 0), {"text": np.array([at, 0])}, "ann")
    store.take(store.nearest(np.array([at, 0]), "ann")[1][5], "ann", 0)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_is_whole_and_within_its_bound(tmp_path):
    rng = np.random.default_rng(0)
    for i, eviction in zip(range(8), itertools.cycle(EVICTIONS)):
        command = [sys.executable, "-c", WRITER, tmp_path, eviction]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            told = writer.stdout.readline()
            assert told.startswith("open") and (i == 0 or int(told.split()[1]) > 5)
            time.sleep(float(rng.uniform(0.05, 0.3)))
            writer.kill()
        assert writer.returncode == -signal.SIGKILL
        assert total(tmp_path) <= 60_000
        files = len(list(tmp_path.rglob("*.latent")))
        with LatentStore(tmp_path, "m1", 60_000, eviction) as store:
            assert len(store) == files > 5
            for one in list(store.shelf.entries.values()):
                assert store.take(one, "ann", 0).latent.unique().tolist() == [one.keys["text"][0]]
        assert {path.suffix or path.name for path in (tmp_path / "m1").iterdir()} <= {".latent", ".json", ".lock"}


def test_on_a_full_disk_it_makes_room_and_where_there_is_none_says_so(full_disk):
    with LatentStore(full_disk, "m1", 10**9, "fifo") as store:
        for at in range(40):  # of 4 KiB and more each, on a disk of 64 KiB
            store.put(handoff(at, side=16), keys(float(at)), "ann")
        kept = [one.keys["text"][0] for one in store.shelf.entries.values()]
        assert 3 <= len(kept) < 16 and kept == list(range(40 - len(kept), 40))
        assert all(store.take(one, "ann", 0) is not None for one in store.shelf.entries.values())
        with pytest.raises(UnusableFile, match="No space left"):
            store.put(handoff(side=128), keys(99.0), "ann")
        assert len(store) == 0
        store.put(handoff(1), keys(1.0), "ann")
    with LatentStore(full_disk, "m1", 10**9) as store:
        assert len(store) == 1


def test_the_fingerprint_is_of_names_and_values():
    one, two = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    assert content_hash(one) != content_hash(two)
    two.load_state_dict(one.state_dict())
    assert content_hash(one) == content_hash(two) != content_hash(torch.nn.Sequential(two))
    assert content_hash(one) != content_hash(two.half()) and content_hash(one).isalnum()


def test_the_index_is_written_now_and_then(tmp_path):
    store = LatentStore(tmp_path, "m1", ROOM)
    for at in range(70):
        store.put(handoff(at), keys(float(at)), "ann")
    assert len(json.loads((tmp_path / "m1" / "usage.json").read_text())["usage"]) == 64
    store.close()
    assert len(json.loads((tmp_path / "m1" / "usage.json").read_text())["usage"]) == 70
