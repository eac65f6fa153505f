"""What bit errors do to a value: closed forms against every pattern of flips, against random ones, and on the link."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlli_core.channel import UNIFORM_FORMATS, Link, Moments, Packet, code_moments, decode, encode, flip_bits, moments
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan

CONFIDENCE = 0.999
LOW, HIGH = -3.5, 4.0

ERRORS = st.one_of(st.none(), st.floats(0, 0.5))


def labels(bits, number_format):
    codes = np.arange(2**bits)
    return codes ^ codes >> 1 if number_format == "gray" else codes


def by_enumeration(bits, errors, number_format):
    """Mean and variance for each code: all 2^bits patterns of flips, weighted by their probability, on all 2^bits codes.

    A bit that is not sent takes both of its values, and what is read is their mean.
    """
    levels = np.linspace(LOW, HIGH, 2**bits)
    value = np.empty(2**bits)
    value[labels(bits, number_format)] = levels
    sent = labels(bits, number_format)
    lost = sum(1 << place for place, error in enumerate(reversed(errors)) if error is None)
    guess = np.array([value[[c & ~lost | m for m in range(2**bits) if m & ~lost == 0]].mean() for c in range(2**bits)])
    mean, square = np.zeros(2**bits), np.zeros(2**bits)
    for flips in product((0, 1), repeat=bits):
        if any(flip and error is None for flip, error in zip(flips, errors)):
            continue
        weight = np.prod([1 if e is None else e if flip else 1 - e for flip, e in zip(flips, errors)])
        got = guess[sent ^ int("".join(map(str, flips)), 2)]
        mean, square = mean + weight * got, square + weight * got**2
    return mean, square - mean**2


CASES = [
    (4, (0.03,) * 4),
    (4, (0.5,) * 4),
    (4, (0.0,) * 4),
    (4, (0.01, 0.2, 0.5, 0.0)),
    (4, (0.01, 0.2, None, None)),
    (4, (0.1, None, 0.2, 0.3)),
    (6, (0.12,) * 6),
    (6, (0.001, 0.01, 0.1, 0.2, 0.3, None)),
]


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize(("bits", "errors"), CASES)
def test_moments_of_each_code_against_all_flips(bits, errors, number_format):
    mean, variance = code_moments(bits, errors, number_format, LOW, HIGH)
    expected_mean, expected_variance = by_enumeration(bits, errors, number_format)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-12)
    np.testing.assert_allclose(variance, expected_variance, atol=1e-12)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize(("bits", "errors"), CASES)
def test_the_line_is_the_least_squares_line(bits, errors, number_format):
    mean, variance = by_enumeration(bits, errors, number_format)
    levels = np.linspace(LOW, HIGH, 2**bits)
    slope, intercept = np.polyfit(levels, mean, 1)
    left = variance + (mean - slope * levels - intercept) ** 2
    found = moments(bits, errors, number_format, LOW, HIGH)
    np.testing.assert_allclose((found.bias, found.offset, found.variance), (slope, intercept, left.mean()), atol=1e-11)


@pytest.mark.parametrize("bits", [1, 4, 6, 8, 16])
@pytest.mark.parametrize("bep", [0.0, 1e-9, 0.03, 0.25, 0.5])
def test_natural_binary_is_a_line_with_known_coefficients(bits, bep):
    found = moments(bits, bep, low=LOW, high=HIGH)
    step = (HIGH - LOW) / (2**bits - 1)
    assert found.bias == 1 - 2 * bep
    assert found.offset == pytest.approx(2 * bep * (LOW + HIGH) / 2)
    assert found.variance == pytest.approx(bep * (1 - bep) * (4**bits - 1) / 3 * step**2, rel=1e-12)
    mean, variance = code_moments(bits, bep, low=LOW, high=HIGH)
    np.testing.assert_allclose(mean, found.bias * np.linspace(LOW, HIGH, 2**bits) + found.offset, atol=1e-12)
    np.testing.assert_allclose(variance, found.variance, rtol=1e-12)


def test_one_gray_bit_turns_all_below_it():
    """E[t_k] = r^(Gray bits from the top down to k): in the middle of the range half a level and the range's end differ."""
    p, r = 0.1, 0.8
    mean, _ = code_moments(2, p, "gray", -1.5, 1.5)
    np.testing.assert_allclose(mean, [-(r + r**2 / 2), -(r - r**2 / 2), r - r**2 / 2, r + r**2 / 2])


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@given(errors=st.lists(ERRORS, min_size=1, max_size=10))
def test_the_line_leaves_no_more_than_the_code_has(number_format, errors):
    """Over codes used equally often what is received has the variance bias^2 S + variance, S if all bits are sent."""
    found = moments(len(errors), errors, number_format, LOW, HIGH)
    spread = np.linspace(LOW, HIGH, 2 ** len(errors)).var()
    assert 0 <= found.bias <= 1
    assert found.variance <= spread * (1 + 1e-12)
    if None not in errors:
        assert found.bias**2 * spread + found.variance == pytest.approx(spread)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bep", [0.02, 0.2])
def test_moments_of_what_the_codec_and_the_channel_do(bits, bep, number_format):
    """Monte Carlo over the shipped codec: means of y and of (y - line)^2 within their errors, codes used equally often."""
    sent = torch.linspace(LOW, HIGH, 2**16)
    packet = encode(sent, bits=bits, number_format=number_format)
    clean = decode(packet).double().numpy()
    found = moments(bits, bep, number_format, float(clean.min()), float(clean.max()))
    got = np.stack([decode(Packet(packet.header, flip_bits(packet.payload, bep, s))).double().numpy() for s in range(8)])
    left = got - found.bias * clean - found.offset
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    for sample, expected in ((left, 0.0), (left * clean, 0.0), (left**2, found.variance)):
        assert sample.mean() == pytest.approx(expected, abs=z * sample.std() / np.sqrt(sample.size))
    mean, variance = code_moments(bits, bep, number_format, float(clean.min()), float(clean.max()))
    codes = np.rint((clean - clean.min()) / (clean.max() - clean.min()) * (2**bits - 1)).astype(int)
    strays = got - mean[codes]
    for sample, expected in ((strays * np.sign(clean), 0.0), (strays**2 - variance[codes], 0.0)):
        assert sample.mean() == pytest.approx(expected, abs=z * sample.std() / np.sqrt(sample.size))


def test_float_formats_have_no_variance_to_speak_of():
    assert moments(8, 0.1, "float16") == Moments(1.0, 0.0, None)
    assert moments(8, 0.0, "float32") == Moments(1.0, 0.0, 0.0)


@given(*[st.tuples(st.floats(0, 1), st.floats(-9, 9), st.floats(0, 9)) for _ in range(3)])
def test_hops_join_in_any_grouping(a, b, c):
    a, b, c = (Moments(*values) for values in (a, b, c))
    left, right = a.after(b).after(c), a.after(b.after(c))
    assert (left.bias, left.offset, left.variance) == pytest.approx((right.bias, right.offset, right.variance))
    assert a.after(Moments()) == a and Moments().after(a) == a
    assert a.after(Moments(variance=None)).variance is None


# On the link


@pytest.fixture
def sent():
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    return Handoff(latent=latent, plan=SplitPlan(3, 5), timestep=600, prompt="a tiger", seed=7)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_a_report_says_what_its_receiver_knows(sent, number_format):
    report = Link(number_format=number_format, bits=6).transmit(sent, bep=0.07, seed=1).link
    assert (report.low, report.high) == (sent.latent.min().item(), sent.latent.max().item())
    found = moments(6, 0.07, number_format, report.low, report.high)
    assert Moments(report.bias, report.offset, report.variance) == found
    assert report.noise_variance == found.variance / found.bias**2


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_at_no_errors_and_at_a_coin_toss(sent, number_format):
    clean, noise = (Link(number_format=number_format).transmit(sent, bep=p, seed=1).link for p in (0.0, 0.5))
    assert (clean.bias, clean.offset, clean.variance, clean.noise_variance) == (1, 0, 0, 0)
    assert (noise.bias, noise.noise_variance) == (0, float("inf"))


def test_a_float_link_reports_no_variance(sent):
    assert Link(number_format="float16").transmit(sent, bep=0.01, seed=1).link.noise_variance is None


def test_two_hops_report_the_moments_of_both(sent):
    first = Link().transmit(sent, bep=0.1, seed=1)
    second = Link(number_format="gray").transmit(first, bep=0.05, seed=2)
    one = moments(8, 0.1, "uniform", first.link.low, first.link.high)
    two = moments(8, 0.05, "gray", second.link.low, second.link.high)
    assert Moments(second.link.bias, second.link.offset, second.link.variance) == two.after(one)
    fresh = Link(number_format="gray").transmit(replace(first, link=None), bep=0.05, seed=2)
    assert torch.equal(fresh.latent, second.latent)


def test_two_hops_measured(sent):
    """Mean and variance of a value over both hops, by repetition; quantising twice adds far less than the errors' variance."""
    link = Link()
    got, reports = [], []
    for seed in range(300):
        there = link.transmit(link.transmit(sent, bep=0.1, seed=seed), bep=0.05, seed=1000 + seed)
        got.append(there.latent.double().numpy())
        reports.append(there.link)
    report = reports[0]
    left = np.stack(got) - report.bias * sent.latent.double().numpy() - report.offset
    assert left.mean() == pytest.approx(0, abs=4 * left.std() / np.sqrt(left.size))
    assert (left**2).mean() == pytest.approx(report.variance, rel=0.01)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bits", {"bits": 0}),
        ("bits", {"bits": 17}),
        ("bep", {"bep": 0.6}),
        ("bep", {"bep": (0.1, 0.1)}),
        ("bep", {"bep": (0.1, 0.1, 0.1, "a")}),
        ("bep", {"bep": "0.1"}),
        ("number_format", {"number_format": "int8"}),
        ("low", {"low": float("nan")}),
        ("high", {"low": 2.0, "high": 1.0}),
    ],
)
@pytest.mark.parametrize("door", [moments, code_moments])
def test_bad_arguments(door, name, arguments):
    with pytest.raises(InvalidArgument, match=name):
        door(**{"bits": 4, "bep": 0.1, **arguments})


def test_moments_of_each_code_need_a_uniform_code():
    with pytest.raises(InvalidArgument, match="number_format"):
        code_moments(8, 0.1, "float16")
