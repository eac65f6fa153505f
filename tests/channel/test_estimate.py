"""The BEP as a receiver estimates it, and what it makes of a wrong one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rlli_core.channel import UNIFORM_FORMATS, Estimate, Link, Moments, moments
from rlli_core.channel.estimate import from_pilots, from_variance
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan

TRIALS = 300
# Intervals of 1.96 standard errors hold the truth in 95 % of the trials; by chance alone in 91.5 to 98 % (binomial, 99.9 %).
LEAST_COVER = stats.binom.ppf(0.0005, TRIALS, 0.95) / TRIALS


def sent(seed=3, size=16, mean=0.0, power=1.0):
    latent = torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(seed))
    latent = mean + latent * np.sqrt(power - mean**2)
    return Handoff(latent=latent, plan=SplitPlan(3, 5), timestep=600, prompt="a tiger", seed=7)


def trials(link, bep, method, **given):
    handoff = given.pop("handoff", sent)
    estimates = [link.estimate_bep(link.transmit(handoff(s), bep=bep, seed=s), method, **given) for s in range(TRIALS)]
    return np.array([e.value for e in estimates]), np.array([e.standard_error for e in estimates])


# Pilots


def test_pilots_leave_the_payload_as_it_was():
    plain, piloted = (Link(pilots=n).transmit(sent(), bep=0.05, seed=4) for n in (0, 500))
    assert torch.equal(plain.latent, piloted.latent)
    assert (plain.link.pilot_bits, plain.link.pilot_errors) == (0, 0)
    assert piloted.link.pilot_bits == 500 and piloted.link.payload_bits == plain.link.payload_bits == 8192
    assert piloted.link.flipped_bits == plain.link.flipped_bits


def test_pilots_are_paid_for():
    link = Link(pilots=808, bit_rate_bps=1e6)
    report = link.transmit(sent(), power_w=36.0, seed=1).link
    assert report.airtime_s == pytest.approx(9000e-6)
    assert report.energy_mwh == pytest.approx(36.0 * 9000e-6 / 3.6)


def test_pilot_errors_are_binomial_and_apart_from_the_flips():
    reports = [Link(pilots=1000).transmit(sent(), bep=0.04, seed=s).link for s in range(200)]
    errors, flips = (np.array([getattr(r, name) for r in reports]) for name in ("pilot_errors", "flipped_bits"))
    assert stats.binomtest(int(errors.sum()), 200_000, 0.04).pvalue > 1e-3
    assert stats.pearsonr(errors, flips).pvalue > 1e-3
    assert errors.std() == pytest.approx(np.sqrt(1000 * 0.04 * 0.96), rel=0.2)


@pytest.mark.parametrize("bep", [0.01, 0.05, 0.2, 0.4])
def test_cover_by_pilots(bep):
    values, errors = trials(Link(pilots=2000), bep, "pilots")
    assert (np.abs(values - bep) < 1.96 * errors).mean() >= LEAST_COVER
    assert values.std() == pytest.approx(errors.mean(), rel=0.2)


def test_pilots_without_an_error_leave_a_doubt():
    assert from_pilots(0, 1000).value == 0 and 5e-4 < from_pilots(0, 1000).standard_error < 2e-3
    assert from_pilots(900, 1000).value == 0.5


# The latent's own variance


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("bep", [0.02, 0.1, 0.25])
def test_cover_by_variance(number_format, bits, bep):
    values, errors = trials(Link(number_format=number_format, bits=bits), bep, "variance")
    assert (np.abs(values - bep) < 1.96 * errors).mean() >= LEAST_COVER
    assert values.mean() == pytest.approx(bep, abs=4 * values.std() / np.sqrt(TRIALS) + 0.002)
    assert values.std() == pytest.approx(errors.mean(), rel=0.2)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_a_latent_of_known_power_and_unknown_mean(number_format):
    values, errors = trials(
        Link(number_format=number_format), 0.1, "variance", handoff=lambda s: sent(s, mean=1.0, power=3.0), second_moment=3.0
    )
    assert (np.abs(values - 0.1) < 1.96 * errors).mean() >= LEAST_COVER
    assert values.mean() == pytest.approx(0.1, abs=4 * values.std() / np.sqrt(TRIALS) + 0.002)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_larger_latents_tell_more(number_format):
    link = Link(number_format=number_format)
    small, large = (link.estimate_bep(link.transmit(sent(size=n), bep=0.1, seed=1), "variance") for n in (16, 128))
    assert large.standard_error < small.standard_error / 6
    assert large.value == pytest.approx(0.1, abs=4 * large.standard_error)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
def test_ends_of_the_range(number_format):
    link = Link(number_format=number_format)
    clean, noise = (link.estimate_bep(link.transmit(sent(size=64), bep=p, seed=1), "variance") for p in (0.0, 0.5))
    assert 0 <= clean.value < 0.002
    assert 0.4 < noise.value <= 0.5 and noise.standard_error > 0.01


def test_exact_where_the_power_is_exactly_what_it_should_be():
    """All levels alike, r = 0.8 put in by hand: M = r^2 m + (1 - r^2) W about the middle, solved for r without an error."""
    values = np.array([-1.0, 1.0]) * np.sqrt(0.64 * 1 + 0.36 * 3 * 257 / 255)  # w = 6: W = 3 (2^8 + 1) / (2^8 - 1)
    found = from_variance(values, 8, "uniform", -3.0, 3.0, 1.0 - (6 / 255) ** 2 / 12)
    assert found.value == pytest.approx(0.1)


# Believing another BEP


@pytest.mark.parametrize("believed", [0.0, 0.03, 0.12, 0.5])
def test_a_wrong_belief_changes_the_report_and_nothing_else(believed):
    link = Link(number_format="gray", pilots=100)
    got = link.transmit(sent(), bep=0.06, seed=2)
    thought = link.assume(got, believed)
    assert torch.equal(thought.latent, got.latent) and got.link.bit_error_probability == 0.06
    expected = moments(8, believed, "gray", got.link.low, got.link.high)
    assert (thought.link.bias, thought.link.variance) == pytest.approx((expected.bias, expected.variance))
    assert thought.link.bit_error_probability == believed
    assert (thought.link.pilot_errors, thought.link.flipped_bits) == (got.link.pilot_errors, got.link.flipped_bits)
    again = link.assume(thought, 0.06)
    if believed < 0.5:
        assert again.link.variance == pytest.approx(got.link.variance)


def test_a_belief_of_the_last_hop_leaves_the_first():
    first = Link(bits=4).transmit(sent(), bep=0.1, seed=1)
    link = Link()
    thought = link.assume(link.transmit(first, bep=0.05, seed=2), 0.1).link
    known = Moments(first.link.bias, first.link.offset, first.link.variance)
    expected = moments(8, 0.1, low=thought.low, high=thought.high).after(known)
    assert (thought.bias, thought.offset, thought.variance) == pytest.approx(
        (expected.bias, expected.offset, expected.variance)
    )


def test_a_float_link_believes_without_a_variance():
    link = Link(number_format="float16")
    got = link.transmit(sent(), bep=0.0, seed=1)
    assert link.assume(got, 0.1).link.variance is None
    assert link.assume(link.assume(got, 0.1), 0.0).link.bit_error_probability == 0


# Bad arguments


def test_bad_arguments():
    link = Link()
    got = link.transmit(sent(), bep=0.1, seed=1)
    for handoff in (sent(), None, sent().latent):
        with pytest.raises(InvalidArgument, match="handoff"):
            link.estimate_bep(handoff)
        with pytest.raises(InvalidArgument, match="handoff"):
            link.assume(handoff, 0.1)
    with pytest.raises(InvalidArgument, match="'variance' where no pilots"):
        link.estimate_bep(got)
    with pytest.raises(InvalidArgument, match="method"):
        link.estimate_bep(got, "guess")
    with pytest.raises(InvalidArgument, match="second_moment"):
        link.estimate_bep(got, "variance", second_moment=0.0)
    with pytest.raises(InvalidArgument, match="'pilots' with number_format"):
        Link(number_format="float16").estimate_bep(got, "variance")
    with pytest.raises(InvalidArgument, match="bep"):
        link.assume(got, 0.6)
    flat = link.transmit(replace(sent(), latent=torch.ones(1, 4, 2, 2)), bep=0.1, seed=1)
    with pytest.raises(InvalidArgument, match="whose values differ"):
        link.estimate_bep(flat, "variance")
    for pilots in (-1, 1.5, None, 10**9):
        with pytest.raises(InvalidArgument, match="pilots"):
            Link(pilots=pilots)


def test_an_estimate_is_a_value_and_its_error():
    assert Estimate(0.1, 0.01) == Estimate(value=0.1, standard_error=0.01)
