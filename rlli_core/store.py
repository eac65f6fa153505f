"""A store of intermediate latents: several depths a prompt, found by the nearest key, in bounded bytes on disk.

A server that has walked towards a prompt may keep what it passed and hand it to the next one who wants something alike, as
NIRVANA (Agarwal et al., NSDI 2024) and MoDM (ASPLOS 2026) do. `LatentStore` keeps one file an entry, behind the index
of `shelf`.

What a shared store leaks. (1) Content: a latent at half depth already shows its prompt's picture, so whoever is served one sees
what another asked for. (2) Presence: a hit is faster than a miss, so a prober learns that somebody asked for something near a
guess, and by many guesses what. (3) Poison: what an attacker puts in is served to all who ask for something near it ("Attacks on
Approximate Caches in Text-to-Image Diffusion Models", Sun, Jie and Liu, arXiv 2508.20424, which has all three, and
a covert channel between two users who agree on prompts). Against (1) and (2) an entry is served to its owner
alone unless the owner shared it; other people's private entries are not even looked at, though they take room, so that a
prober may still notice his own entries being evicted. No prompt is kept: neither in a file, nor in its name, which is random, nor
in the hand-off that is given out; but the key is an embedding, which a dictionary of prompts inverts. Against damage and
mix-ups each file has a checksum and the model's fingerprint. Against (3), and against probing of what *is* shared, nothing here
helps: let only a trusted owner, such as the operator with prompts of his own, share.
"""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from .errors import InvalidArgument, UnusableFile, check_integer, check_seed, check_text, check_type
from .files import alone, read_json, remove, write_text, write_weights
from .records import Handoff, SplitPlan
from .shelf import TEXT, Entry, Shelf

SUFFIX = ".latent"
INDEX = "usage.json"
INDEX_BYTES, INDEX_HEAD = 200, 200  # of an entry in the index, and of the rest of it: two copies lie there while one is written
FULL = (errno.ENOSPC, errno.EDQUOT)
FLUSH = 64  # puts and takes after which the index is written


@dataclass
class LatentStore:
    """Latents on disk that survive the process that wrote them, in no more bytes than allowed.

    A file is there whole or not at all, and its entry is found again by reading the folder; what is lost by a kill at any
    moment is the last few uses, which only eviction looks at. A disk that is full makes the store smaller. One process
    at a time; use it in a `with` block, or `close` it.

    Args:
        folder: where the files lie, in a folder of each model; its files that end in ".latent" are the store's to delete.
        model: fingerprint of the model that makes and takes the latents, see `compute.content_hash`.
        capacity: bytes on disk at most, its index and what is being written included.
        eviction: one of `EVICTIONS`.

    Raises:
        InvalidArgument: an argument of a wrong type or range, or another process holds the folder.
        UnusableFile: the folder cannot be read or written.
    """

    folder: Path
    model: str
    capacity: int
    eviction: str = "lcbfu"
    shelf: Shelf = field(init=False)

    def __post_init__(self) -> None:
        check_text("model", self.model)
        if not self.model.isalnum():
            raise InvalidArgument("model", self.model, "letters and digits, see compute.content_hash")
        self.shelf = Shelf(check_integer("capacity", self.capacity, INDEX_HEAD + 1) - INDEX_HEAD, self.eviction)
        check_type("folder", self.folder, (str, Path), "a path")
        self.folder = Path(self.folder).expanduser() / self.model
        self._open, self._changes = ExitStack(), 0
        try:
            self._open.enter_context(alone(self.folder, "a store"))
            self._read_folder()
        except OSError as error:
            self._open.close()
            raise UnusableFile(f"the store {self.folder} cannot be used: {error.strerror or error}") from error

    def __enter__(self) -> LatentStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.shelf.entries)

    def put(self, handoff: Handoff, keys: Mapping[str, np.ndarray], owner: str, shared: bool = False) -> Entry:
        """Keep a latent; what has to go for it goes first.

        Args:
            handoff: of a plan of one device; its prompt and seed are not kept.
            keys: where it is to be found: finite vectors by name, "text" among them.
            owner: whose it is.
            shared: whether others may have it.

        Raises:
            InvalidArgument: an argument of a wrong type or shape, or a latent larger than the store.
            UnusableFile: it cannot be written; where the disk is full, not even with the store empty.
        """
        check_type("handoff", handoff, Handoff, "a Handoff")
        check_type("shared", shared, bool, "True or False")
        if len(handoff.plan.steps_per_device) != 1:
            raise InvalidArgument("handoff.plan", handoff.plan, "a plan of one device")
        keys = _checked_keys(keys)
        about = {
            "model": self.model, "owner": check_text("owner", owner), "shared": shared, "depth": handoff.plan.shared_steps,
            "steps": handoff.plan.longest, "timestep": handoff.timestep,
        }  # fmt: skip
        tensors = {f"key.{name}": torch.from_numpy(key) for name, key in keys.items()}
        tensors["latent"] = handoff.latent.detach().float().cpu().contiguous()
        told = json.dumps(about, sort_keys=True)
        metadata = {"about": told, "sha256": _checksum(tensors, told)}
        size = sum(one.numel() * one.element_size() for one in tensors.values()) + 1024 + len(told) + 100 * len(tensors)
        entry = Entry(secrets.token_hex(8), keys, handoff.plan.shared_steps, size + INDEX_BYTES, owner, shared)
        for gone in self.shelf.add(entry):
            remove(self._path(gone))
        while True:
            try:
                write_weights(self._path(entry), tensors, metadata)
                break
            except UnusableFile as error:
                others = len(self) > 1 and isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL
                self.shelf.remove(entry)
                if not others:
                    raise
                remove(self._path(self.shelf.remove(self.shelf.next_to_go())))
                self.shelf.insert(entry)
        entry.size = self._path(entry).stat().st_size + INDEX_BYTES
        self._changed()
        return entry

    def nearest(self, key: np.ndarray, user: str, by: str = TEXT) -> tuple[float, dict[int, Entry]]:
        """As `Shelf.nearest`."""
        return self.shelf.nearest(key, user, by)

    def take(self, entry: Entry, user: str, seed: int) -> Handoff | None:
        """Read a latent and count its use; None, and the entry is gone, where its file is missing, damaged or of another model.

        Args:
            entry: one that `nearest` found.
            user: who gets it.
            seed: of the fresh noise that a restart adds, the user's own.

        Raises:
            InvalidArgument: this user may not have it.
        """
        seed = check_seed("seed", seed)
        if not entry.seen_by(user):
            raise InvalidArgument("user", user, "the owner of an entry that is not shared")
        try:
            tensors, about = _read(self._path(entry), latent=True)
            if about["model"] != self.model:
                raise ValueError("another model's")
            plan = SplitPlan(about["depth"], about["steps"] - about["depth"])
        except (OSError, ValueError, LookupError, TypeError, SafetensorError):
            self._drop(entry)
            return None
        self.shelf.use(entry)
        self._changed()
        return Handoff(tensors["latent"], plan, about["timestep"], "", seed)

    def forget(self, owner: str) -> int:
        """Delete all entries of an owner; returns their number."""
        owned = [entry for entry in self.shelf.entries.values() if entry.owner == owner]
        for entry in owned:
            self._drop(entry)
        return len(owned)

    def close(self) -> None:
        """Write the index and let the folder go."""
        self._flush()
        self._open.close()

    def _path(self, entry: Entry) -> Path:
        return self.folder / f"{entry.name}{SUFFIX}"

    def _drop(self, entry: Entry) -> None:
        remove(self._path(self.shelf.remove(entry)))

    def _changed(self) -> None:
        self._changes += 1
        if self._changes >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._changes = 0
        usage = {name: [entry.added, entry.used, entry.uses] for name, entry in self.shelf.entries.items()}
        with suppress(UnusableFile):  # the folder tells all that is needed
            write_text(self.folder / INDEX, json.dumps({"clock": self.shelf.clock, "usage": usage}))

    def _read_folder(self) -> None:
        for left in self.folder.glob(".*"):  # what writers that were killed left; nobody else writes here now
            if SUFFIX in left.name or INDEX in left.name:
                remove(left)
        try:
            index = read_json(self.folder / INDEX, "clock", "usage")
            usage = {name: [check_integer("usage", number, 0) for number in row] for name, row in index["usage"].items()}
            self.shelf.clock = check_integer("clock", index["clock"], 0)
        except (UnusableFile, InvalidArgument, TypeError, AttributeError):
            usage = {}
        paths = sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for path in paths:
            try:
                tensors, about = _read(path, latent=False)
                keys = {name.removeprefix("key."): tensor.numpy() for name, tensor in tensors.items()}
                entry = Entry(
                    path.stem, keys, about["depth"], path.stat().st_size + INDEX_BYTES, about["owner"], about["shared"]
                )
                entry.added, entry.used, entry.uses = usage.get(path.stem) or self._next_tick()
            except (OSError, ValueError, LookupError, TypeError, SafetensorError):
                remove(path)
                continue
            self.shelf.insert(entry)
        while self.shelf.size > self.shelf.capacity:  # opened with less room than before
            self._drop(self.shelf.next_to_go())

    def _next_tick(self) -> tuple[int, int, int]:
        self.shelf.clock += 1
        return self.shelf.clock, self.shelf.clock, 1


def _checked_keys(keys: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    check_type("keys", keys, Mapping, "vectors by name")
    made = {check_text("keys", name): np.array(key, np.float32) for name, key in keys.items()}
    if TEXT not in made or any(key.ndim != 1 or not key.size or not np.isfinite(key).all() for key in made.values()):
        raise InvalidArgument("keys", {n: np.shape(k) for n, k in made.items()}, f"finite vectors by name, {TEXT!r} among them")
    return made


def _checksum(tensors: Mapping[str, torch.Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, latent: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of a file and what it says of them; its keys alone, or with the latent, and then the checksum is looked at."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys() if latent or name != "latent"}
    if latent and _checksum(tensors, metadata["about"]) != metadata["sha256"]:
        raise ValueError("damaged")
    return tensors, json.loads(metadata["about"])
