"""A hand-off as a file: the same comes back, and nothing that is damaged or somebody else's comes in."""

import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import save

from rlli_core import Link, SplitPlan
from rlli_core.channel import Repetition
from rlli_core.errors import InvalidArgument, UnusableFile
from rlli_core.files import weights_bytes
from rlli_core.records import FORMAT, MOST_BYTES, Handoff, LatentSpace, LinkReport, _checksum

SPACE = LatentSpace("some model", (0.0, 0.3, 1.0), (0.25, -0.5))
LATENT = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
SENT = Handoff(LATENT, SplitPlan(3, (5, 7)), 600, "a tiger, \U0001f405\n", 2**63 - 1, space=SPACE)
LINKS = {
    "unsent": lambda sent: sent,
    "by BEP": lambda sent: Link().transmit(sent, bep=0.1, seed=0),
    "by power, pilots": lambda sent: Link(pilots=99).transmit(sent, power_w=60.0, seed=0),
    "protected": lambda sent: Link(protection=Repetition((3,) + (1,) * 7)).transmit(sent, bep=0.1, seed=0),
    "float format": lambda sent: Link(number_format="float32").transmit(sent, bep=0.1, seed=3),
    "two hops": lambda sent: Link().transmit(Link().transmit(sent, bep=0.1, seed=0), bep=0.5, seed=1),
    "believed": lambda sent: Link().assume(Link().transmit(sent, bep=0.1, seed=0), 0.2),
    "one device, no step left": lambda sent: dataclasses.replace(sent, plan=SplitPlan(4, 0), timestep=-1, space=None),
}


def same(one, other):
    rest = [field.name for field in dataclasses.fields(Handoff) if field.name != "latent"]
    told = [(getattr(one, name), getattr(other, name)) for name in rest]
    return one.latent.numpy().tobytes() == other.latent.numpy().tobytes() and all(a == b for a, b in told)


@pytest.mark.parametrize("name", LINKS)
def test_what_is_saved_is_loaded_bit_for_bit_and_the_same_gives_the_same_bytes(tmp_path, name):
    handoff = LINKS[name](SENT)
    handoff.save(tmp_path / "half.safetensors")
    found = Handoff.load(str(tmp_path / "half.safetensors"))
    assert same(found, handoff) and found.latent.dtype == torch.float32
    assert found.to_bytes() == handoff.to_bytes() == (tmp_path / "half.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["half.safetensors"]


def refused(data, match="."):
    with pytest.raises(UnusableFile, match=match) as raised:
        Handoff.from_bytes(data, "half.safetensors")
    assert str(raised.value).startswith("half.safetensors is") and "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


def test_every_flipped_bit_and_every_length_but_its_own_is_noticed():
    data = LINKS["by BEP"](SENT).to_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for place in [*range(header), header, len(data) - 1]:
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            refused(bytes(damaged))
    for length in range(0, len(data), 7):
        refused(data[:length], "damaged or no hand-off, get it again")
    refused(data + b"\0")


def forged(**changes):
    """A file with another content whose checksum is right."""
    data = LINKS["by BEP"](SENT).to_bytes()
    about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    latent = changes.pop("latent", LATENT)
    rest = changes.pop("rest", None) or json.dumps(json.loads(about["handoff"]) | changes)
    return weights_bytes({"latent": latent}, about | {"handoff": rest, "sha256": _checksum(latent, rest)})


LINK = dataclasses.asdict(LINKS["by BEP"](SENT).link)


@pytest.mark.parametrize(
    "changes",
    [
        {"rest": "{"}, {"rest": "[]"}, {"rest": "3"}, {"rest": "[" * 100_000}, {"latent": LATENT.half()}, {"latent": LATENT[0]},
        {"plan": None}, {"plan": {"shared_steps": 3}}, {"plan": {"shared_steps": -1, "device_steps": 2}}, {"seed": -1}, {"prompt": 3},
        {"timestep": "12"}, {"timestep": -2}, {"other": 1}, {"link": 3}, {"link": {}}, {"link": LINK | {"other": 1}},
        {"link": LINK | {"variance": -1}}, {"link": LINK | {"bias": float("nan")}}, {"link": LINK | {"flipped_bits": 0.5}},
        {"link": LINK | {"airtime_s": None}}, {"space": {}}, {"space": [1]}, {"space": {"model": "a", "alphas": [2], "picture": [0]}},
        {"space": {"model": "a", "alphas": [1], "picture": "0"}}, {"prompt": "\ud800"},
    ],
)  # fmt: skip
def test_what_somebody_else_made_up_is_looked_at(changes):
    refused(forged(**changes), "no hand-off that this package wrote")


def test_other_files_are_told_apart(tmp_path):
    assert same(Handoff.from_bytes(forged(link=None)), SENT)
    refused(save({"weight": LATENT}), r"is no hand-off: it holds \['weight'\]")
    refused(
        weights_bytes({"latent": LATENT}, {"format": FORMAT, "version": "2"}),
        "of version '2', and this package reads version 1: ",
    )
    for data in (b"", b"<!doctype html>", b"\x89PNG", bytes(100), b"\xff" * 100, b"\x02" + bytes(7) + b"[]", b"\x80\x04pickle"):
        refused(data, "damaged or no hand-off")
    refused(bytes(MOST_BYTES + 1), "more than 64 MiB")
    with pytest.raises(UnusableFile, match="half cannot be read: No such file"):
        Handoff.load(tmp_path / "half")
    for path in (tmp_path, "a\0b", "x" * 5000, "\ud800"):
        with pytest.raises(UnusableFile, match="cannot be read: "):
            Handoff.load(path)


@pytest.mark.parametrize("path", [None, 3, b"bytes", "", "a\0b", ".", "x" * 5000, "\ud800", "/proc/none/half"])
def test_where_no_file_can_be_nothing_is_written(path):
    with pytest.raises((InvalidArgument, UnusableFile)) as raised:
        SENT.save(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    SENT.save(tmp_path / "half")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UnusableFile, match="half cannot be written: No space left"):
        LINKS["by BEP"](SENT).save(tmp_path / "half")
    assert same(Handoff.load(tmp_path / "half"), SENT)


def test_models_agree_within_precision_and_no_further():
    assert SPACE.differs_in(dataclasses.replace(SPACE, model="another", picture=(0.26, -0.51))) is None
    for picture in ((0.25, 0.5), (0.25, -0.45), (0.25,), (0.0, 0.0)):
        assert SPACE.differs_in(dataclasses.replace(SPACE, picture=picture)) == "autoencoder"
    for alphas in ((0.0, 0.31, 1.0), (0.3, 1.0)):
        assert SPACE.differs_in(dataclasses.replace(SPACE, alphas=alphas)) == "noise schedule"


def test_a_bias_too_small_to_square_leaves_nothing():
    report = LinkReport(**LINK)
    assert dataclasses.replace(report, bias=1e-200).noise_variance == float("inf")
