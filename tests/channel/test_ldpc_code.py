"""The LDPC code: its matrix, its encoder, and what the decoder of the library makes of it."""

import builtins

import numpy as np
import pytest
import torch
from scipy import stats

from rlli_core.channel import Ldpc, Link, ldpc_code, moments
from rlli_core.channel.ldpc_code import encode_data, parity_checks
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, np.uint8)


def rng(seed=1):
    return np.random.default_rng(seed)


@pytest.fixture
def library():
    pytest.importorskip("ldpc", reason="the extra `coding` is not installed")


@pytest.mark.parametrize(("data", "parity"), [(512, 512), (150, 50), (40, 160)])
def test_encoded_words_pass_all_checks(data, parity):
    checks = parity_checks(data, parity, 0)
    words = bits(50, data)
    words = np.hstack([words, encode_data(checks, words)]).astype(int)
    assert not (checks.astype(int) @ words.T % 2).any()
    words[:, 3] ^= 1
    assert (checks.astype(int) @ words.T % 2).any(0).all()


def test_the_graph_has_no_short_cycle_and_the_degrees_it_should():
    checks = parity_checks(512, 512, 0).toarray().astype(np.float32)
    assert checks.shape == (512, 1024)
    degrees, counts = np.unique(checks[:, :512].sum(0), return_counts=True)
    assert degrees.tolist() == [3, 8] and counts.tolist() == [307, 205]
    shared = checks.T @ checks - np.diag(checks.sum(0))
    assert shared.max() == 1  # two bits in two common checks would be a cycle of length 4
    assert np.ptp(checks.sum(1)) <= 2


def test_the_graph_is_the_same_each_time_and_another_for_another_seed():
    first = parity_checks(60, 40, 1).toarray()
    parity_checks.cache_clear()
    assert np.array_equal(first, parity_checks(60, 40, 1).toarray())
    assert not np.array_equal(first, parity_checks(60, 40, 2).toarray())


@pytest.mark.slow
def test_waterfall(library):
    """Rate 1/2 at a thousand bits: nearly nothing fails at 5 %, everything at 13 % (capacity ends at 11 %)."""
    code = Ldpc()
    assert code.failure(0.05) <= 0.02
    assert code.failure(0.13) == 1
    assert code.failure(0.0) == 0


@pytest.mark.slow
@pytest.mark.parametrize("bep", [0.05, 0.085])
def test_what_is_left_is_failed_words_times_the_bep(library, bep):
    code = Ldpc(protected=2)
    sent = bits(25_600, 3)
    got = code.send(sent, bep, rng())
    assert got.channel_bits == code.expected_bits(25_600, 3, bep) == 100 * 1024 + 25_600
    assert got.blocks == 100
    wrong = (got.bits != sent).mean(0)
    left = code.residual(bep, 3, got.failed)
    assert left == (got.failed * bep, got.failed * bep, bep)
    # It is the worse draws that fail, by up to two standard deviations of the errors in a word.
    assert left[0] <= wrong[:2].mean() + 1e-9 or wrong[:2].mean() == pytest.approx(left[0], rel=0.1)
    assert wrong[:2].mean() <= left[0] * (1 + 2 * np.sqrt((1 - bep) / (512 * bep)))
    assert stats.binomtest(int((got.bits != sent)[:, 2].sum()), 25_600, bep).pvalue > 1e-3


def test_on_the_link(library):
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    sent = Handoff(latent, SplitPlan(3, 5), timestep=600, prompt="a tiger", seed=7)
    link = Link(bits=6, protection=Ldpc(protected=2))
    got = link.transmit(sent, bep=0.04, seed=1)
    assert (got.link.channel_bits, got.link.payload_bits) == (8192, 6144)
    assert (got.link.blocks, got.link.failed_blocks) == (4, 0)
    expected = moments(6, (0, 0, 0.04, 0.04, 0.04, 0.04), low=got.link.low, high=got.link.high)
    assert (got.link.bias, got.link.variance) == pytest.approx((expected.bias, expected.variance))
    step = (got.link.high - got.link.low) / 63
    assert (got.latent - latent).abs().max() <= 15.5 * step + 1e-5  # the top two bits are right
    assert torch.equal(got.latent, link.transmit(sent, bep=0.04, seed=1).latent)
    lost = link.transmit(sent, bep=0.3, seed=1).link
    assert lost.failed_blocks == 4
    assert lost.bias == pytest.approx(0.4)


def test_all_bits_are_coded_where_nothing_is_said(library):
    got = Ldpc(rate=0.75, length=400).send(bits(75, 8), 0.0, rng())
    assert np.array_equal(got.bits, bits(75, 8)) and got.channel_bits == 800 and got.failed == 0


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **given):
        if name == "ldpc":
            raise ImportError(name)
        return real(name, *args, **given)

    monkeypatch.setattr(builtins, "__import__", missing)
    ldpc_code._decoder.cache_clear()
    code = Ldpc(length=100)  # to be asked about its airtime it needs no library
    assert code.expected_bits(100, 4, 0.1) == 800
    with pytest.raises(InvalidArgument, match=r"rlli_core\[coding\]"):
        code.send(bits(10, 4), 0.1, rng())


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate", 0.1), ("rate", 0.95), ("rate", None), ("protected", 0), ("length", 10), ("iterations", 0), ("seed", -1)],
)
def test_bad_arguments(name, value):
    with pytest.raises(InvalidArgument, match=name):
        Ldpc(**{name: value})


def test_more_bits_protected_than_there_are():
    with pytest.raises(InvalidArgument, match="protection"):
        Link(bits=4, protection=Ldpc(protected=5))
