"""What protection leaves of the errors: closed forms against enumeration and simulation, on its own and on the link."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlli_core.channel import UNIFORM_FORMATS, Link, Protection, Repetition, Retransmission, decode, encode, moments
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan

CONFIDENCE = 0.999
MANY = np.random.default_rng(0).integers(0, 2, (40_000, 4), np.uint8)


def rng(seed=1):
    return np.random.default_rng(seed)


def probable(wrong, size, probability):
    return stats.binomtest(int(wrong), size, probability).pvalue > 1 - CONFIDENCE


@pytest.fixture
def sent():
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    return Handoff(latent=latent, plan=SplitPlan(3, 5), timestep=600, prompt="a tiger", seed=7)


# Repetition


@pytest.mark.parametrize("copies", [1, 3, 5, 7])
@pytest.mark.parametrize("bep", [0.0, 0.07, 0.5])
def test_majority_against_all_patterns(copies, bep):
    patterns = np.array(list(product((0, 1), repeat=copies)))
    chances = np.where(patterns, bep, 1 - bep).prod(1)
    expected = chances[patterns.sum(1) > copies / 2].sum()
    assert Repetition((copies,)).residual(bep, 1)[0] == pytest.approx(expected, abs=1e-15)


def test_repetition_as_sent():
    code = Repetition((5, 3, 1, 0))
    got = code.send(MANY, 0.2, rng())
    assert got.channel_bits == code.expected_bits(40_000, 4, 0.2) == 9 * 40_000 and got.failed is None
    errors = code.residual(0.2, 4)
    for place in range(3):
        assert probable((got.bits != MANY)[:, place].sum(), 40_000, errors[place])
    assert errors[3] is None and not got.bits[:, 3].any()


@given(bep=st.floats(0, 0.5), copies=st.integers(0, 20))
def test_more_copies_never_hurt(bep, copies):
    fewer, more = (Repetition((2 * c + 1,)).residual(bep, 1)[0] for c in (copies, copies + 1))
    assert 0 <= more <= fewer + 1e-12 <= 0.5 + 1e-9


# Retransmission


@pytest.mark.parametrize("bep", [1e-3, 0.01])
def test_retransmission_as_sent(bep):
    code = Retransmission(block_bits=64)
    got = code.send(MANY, bep, rng())
    first = 1 - (1 - bep) ** 96
    assert got.blocks == 2500
    copies = got.channel_bits / 96
    assert probable(copies - 2500, 2500, first)
    assert probable(got.failed_blocks, 2500, first**2)
    assert code.expected_bits(*MANY.shape, bep) == pytest.approx(2500 * 96 * (1 + first))
    wrong = (got.bits != MANY).mean()
    spread = np.sqrt(bep * first / MANY.size) * np.sqrt(1 + 64 * bep) * 3.3  # bits of a block fail together
    assert wrong == pytest.approx(code.residual(bep, 4)[0], abs=spread)
    assert wrong == pytest.approx(code.residual(bep, 4, got.failed)[0], abs=spread)


def test_a_block_that_passes_is_right():
    """Blocks are whole or failed: no error where none failed, and the last block is filled up."""
    code = Retransmission(block_bits=1024)
    got = code.send(MANY[:300], 1e-4, rng())
    assert got.blocks == 2 and got.failed == 0 and np.array_equal(got.bits, MANY[:300])
    noise = code.send(MANY[:300], 0.5, rng())
    assert noise.failed == 1 and noise.channel_bits == 4 * (1024 + 32)
    assert code.residual(0.5, 4) == pytest.approx((0.5,) * 4)
    assert code.residual(0.0, 4, 0.0) == (0.0,) * 4


def test_without_errors_each_block_is_sent_once():
    code = Retransmission(block_bits=8)
    got = code.send(MANY[:3], 0.0, rng())
    assert np.array_equal(got.bits, MANY[:3]) and got.channel_bits == 2 * 40 and got.failed == 0


# On the link


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize("protection", [Repetition((3, 3, 1, 1)), Retransmission(256)])
def test_a_protected_link_without_errors_is_the_plain_one(sent, protection, number_format):
    got = Link(bits=4, number_format=number_format, protection=protection).transmit(sent, bep=0.0, seed=1)
    assert torch.equal(got.latent, decode(encode(sent.latent, bits=4)))
    assert (got.link.bias, got.link.variance, got.link.flipped_bits, got.link.payload_bits) == (1, 0, 0, 4096)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_equal_airtime(sent, number_format):
    """4 bits with the top two three times fill as many channel bits as 8 bits sent once, and arrive with less noise."""
    plain = Link(number_format=number_format, bit_rate_bps=1e6).transmit(sent, power_w=10.0, gain=0.1, seed=1).link
    link = Link(number_format=number_format, bit_rate_bps=1e6, bits=4, protection=Repetition((3, 3, 1, 1)))
    coded = link.transmit(sent, power_w=10.0, gain=0.1, seed=1).link
    assert plain.channel_bits == plain.payload_bits == coded.channel_bits == 8192 and coded.payload_bits == 4096
    assert (
        (coded.airtime_s, coded.energy_mwh) == (plain.airtime_s, plain.energy_mwh) == (pytest.approx(8192e-6), plain.energy_mwh)
    )
    assert coded.noise_variance < plain.noise_variance / 2


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize("protection", [Repetition((3, 3, 1, 0)), Retransmission(128)])
def test_reported_moments_are_those_of_what_arrives(number_format, protection):
    """A latent that uses all levels alike: mean square of what the reported line leaves, over repetitions."""
    even = Handoff(torch.linspace(-3, 3, 16).repeat(256).reshape(1, 4, 32, 32), SplitPlan(3, 5), 600, "a", seed=1)
    link = Link(bits=4, number_format=number_format, protection=protection)
    clean = decode(encode(even.latent, bits=4)).double().numpy()
    lines, left = [], []
    for seed in range(60):
        got = link.transmit(even, bep=0.02, seed=seed)
        stray = got.latent.double().numpy() - got.link.bias * clean - got.link.offset
        lines.append((stray * clean).mean())
        left.append((stray**2).mean() - got.link.variance)
    assert np.mean(lines) == pytest.approx(0, abs=3.3 * np.std(lines) / np.sqrt(60))
    assert np.mean(left) == pytest.approx(0, abs=3.3 * np.std(left) / np.sqrt(60))


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_a_bit_that_is_not_sent_is_read_as_halfway(sent, number_format):
    link = Link(bits=6, number_format=number_format, protection=Repetition((1, 1, 1, 1, 0, 0)))
    got = link.transmit(sent, bep=0.0, seed=1)
    step = (sent.latent.max() - sent.latent.min()).item() / 63
    clean = decode(encode(sent.latent, bits=6))
    assert (got.latent - clean).abs().max() <= 1.5 * step + 1e-5 and len(got.latent.unique()) == 16
    assert got.link.channel_bits == 4096
    # The line fits levels used alike: what is missing counts as noise of variance (0.5^2 + 1^2) step^2.
    assert got.link.variance == pytest.approx(moments(6, link.protection.residual(0, 6), number_format, 0, 63 * step).variance)


def test_pilots_and_protection_are_both_paid_for(sent):
    link = Link(bits=4, protection=Repetition((3, 1, 1, 1)), pilots=100, bit_rate_bps=1e6)
    report = link.transmit(sent, bep=0.1, seed=1).link
    assert (report.channel_bits, report.airtime_s) == (6 * 1024 + 100, pytest.approx(6244e-6))
    assert link.estimate_bep(link.transmit(sent, bep=0.1, seed=1)).standard_error < 0.05


def test_a_protected_latent_tells_nothing_by_its_variance(sent):
    link = Link(bits=4, protection=Repetition((3, 1, 1, 1)))
    with pytest.raises(InvalidArgument, match="'pilots' where"):
        link.estimate_bep(link.transmit(sent, bep=0.1, seed=1), "variance")


def test_a_wrong_belief_with_blocks_keeps_what_was_seen(sent):
    link = Link(protection=Retransmission(256))
    got = link.transmit(sent, bep=0.01, seed=1)
    assert 0 < got.link.failed_blocks < got.link.blocks == 32
    thought = link.assume(got, 0.02).link
    assert thought.failed_blocks == got.link.failed_blocks
    expected = moments(8, link.protection.residual(0.02, 8, thought.failed_blocks / 32), low=thought.low, high=thought.high)
    assert (thought.bias, thought.variance) == pytest.approx((expected.bias, expected.variance))


def test_hops_join_over_protected_links(sent):
    link = Link(bits=4, protection=Repetition((3, 3, 1, 1)))
    first = link.transmit(sent, bep=0.1, seed=1)
    both = Link().transmit(first, bep=0.05, seed=2).link
    hop = moments(8, 0.05, low=both.low, high=both.high)
    assert both.bias == pytest.approx(hop.bias * first.link.bias)
    assert both.variance == pytest.approx(hop.variance + hop.bias**2 * first.link.variance)


def test_same_seed_same_bytes(sent):
    for protection in (Repetition((3, 3, 1, 1)), Retransmission(256)):
        link = Link(bits=4, protection=protection)
        first, again, other = (link.transmit(sent, bep=0.05, seed=s).latent for s in (1, 1, 2))
        assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("counts", [(), (2, 1), (0, 0), (-1,), (1.5,), (101,), "31", None, 3])
def test_bad_counts(counts):
    with pytest.raises(InvalidArgument, match="counts"):
        Repetition(counts)


def test_bad_protection():
    for block_bits in (0, 12, -8, 2**21, None):
        with pytest.raises(InvalidArgument, match="block_bits"):
            Retransmission(block_bits)
    for given_ in (3, "crc", Repetition, Repetition((3, 1))):
        with pytest.raises(InvalidArgument, match="protection"):
            Link(bits=8, protection=given_)
    with pytest.raises(InvalidArgument, match="None with number_format='float16'"):
        Link(number_format="float16", protection=Retransmission())
    assert hash(replace(Link(), protection=Retransmission())) and issubclass(Repetition, Protection)
