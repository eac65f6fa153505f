"""The link: power to BEP and back, the paper's two users, and what happens to a hand-off on the way."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from scipy import stats

from rlli_core.channel import (
    MODULATIONS,
    PAPER_LINKS,
    FisherSnedecorF,
    Link,
    average_bep,
    conditional_bep,
    dbw_to_w,
    decode,
    encode,
    w_to_dbw,
)
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan

CONFIDENCE = 0.999


@pytest.fixture
def sent():
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    return Handoff(latent=latent, plan=SplitPlan(3, (5, 7)), timestep=600, prompt="a tiger", seed=7)


# Power and BEP


def test_paper_operating_point():
    """Claim C12: 18 dBW -> 5 %, 21 dBW -> 3 %, and the budget 0.5 t0 + 0.1 sum P is 20.4 against E_T = 20."""
    powers = dbw_to_w(np.array([18.0, 21.0]))
    beps = [link.bep(power) for link, power in zip(PAPER_LINKS, powers, strict=True)]
    np.testing.assert_allclose(beps, [0.05, 0.03], rtol=1e-8)
    assert 0.5 * 3 + 0.1 * powers.sum() == pytest.approx(20.4, abs=0.005)
    for link in PAPER_LINKS:
        assert (link.modulation, link.fading) == ("bpsk", FisherSnedecorF(severity=2.0, shadowing=1.5))
        assert link.gain_db == pytest.approx(-10, abs=1)


def test_dbw_and_watts():
    assert dbw_to_w(0.0) == 1 and dbw_to_w(30.0) == pytest.approx(1000)
    assert w_to_dbw(63.0957) == pytest.approx(18, abs=1e-4)
    powers = np.array([[1e-3, 1.0], [20.0, 500.0]])
    np.testing.assert_allclose(dbw_to_w(w_to_dbw(powers)), powers, rtol=1e-13)


def test_mean_snr_is_power_plus_gain_in_db():
    link = Link(gain_db=-12.5)
    assert 10 * np.log10(link.mean_snr(dbw_to_w(20.0))) == pytest.approx(7.5)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_bep_is_average_or_conditional(modulation):
    link = Link(modulation=modulation, gain_db=-7.0)
    power = np.array([1.0, 10.0, 100.0])
    snr = power * 10**-0.7
    np.testing.assert_allclose(link.bep(power), average_bep(modulation, link.fading, snr), rtol=1e-12)
    np.testing.assert_allclose(link.bep(power, gain=0.3), conditional_bep(modulation, 0.3 * snr), rtol=1e-12)
    assert link.bep(power[:, None], gain=np.ones(4)).shape == (3, 4)


def test_average_bep_is_the_mean_over_instantaneous_gains():
    link = Link()
    beps = link.bep(63.1, gain=link.fading.sample(100_000, seed=2))
    error = beps.std() / np.sqrt(beps.size) * stats.norm.ppf((1 + CONFIDENCE) / 2)
    assert link.bep(63.1) == pytest.approx(beps.mean(), abs=error)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("gain", [None, 0.02, 5.0])
@pytest.mark.parametrize("bep", [1e-12, 1e-3, 0.05, 0.499])
def test_power_for_bep_inverts_bep(modulation, gain, bep):
    link = Link(modulation=modulation, gain_db=-11.0)
    assert link.bep(link.power_for_bep(bep, gain), gain) == pytest.approx(bep, rel=1e-6)


def test_power_for_bep_in_the_worst_fading():
    link = Link(fading=FisherSnedecorF(severity=0.5, shadowing=1.0001))
    assert link.bep(link.power_for_bep(1e-12)) == pytest.approx(1e-12, rel=1e-6)


def test_calibrated_keeps_the_other_fields():
    link = Link.calibrated(power_w=20.0, bep=0.01, modulation="dpsk", bits=6)
    assert (link.modulation, link.bits) == ("dpsk", 6)
    assert link.bep(20.0) == pytest.approx(0.01, rel=1e-9)


# Transmission


def test_transmit_by_bep(sent):
    got = Link().transmit(sent, bep=0.03, seed=7)
    assert (got.plan, got.timestep, got.prompt, got.seed) == (sent.plan, sent.timestep, sent.prompt, sent.seed)
    assert got.latent.shape == sent.latent.shape and got.latent.dtype == torch.float32
    assert not torch.equal(got.latent, decode(encode(sent.latent)))
    report = got.link
    assert (report.bit_error_probability, report.payload_bits) == (0.03, 8192)
    assert (report.power_w, report.snr, report.energy_mwh) == (None, None, None)
    assert sent.link is None  # what was sent is left as it was


def test_flipped_bits_are_counted_and_binomial(sent):
    flipped = [Link().transmit(sent, bep=0.03, seed=s).link.flipped_bits for s in range(100)]
    assert stats.binomtest(sum(flipped), 100 * 8192, 0.03).pvalue > 1 - CONFIDENCE
    assert len(set(flipped)) > 10


def test_perfect_link_quantises_only(sent):
    got = Link(bits=6).transmit(sent, bep=0, seed=1)
    assert torch.equal(got.latent, decode(encode(sent.latent, bits=6)))
    assert got.link.flipped_bits == 0
    assert not torch.equal(got.latent, sent.latent)


def test_transmit_by_power(sent):
    link = PAPER_LINKS[0]
    power = float(dbw_to_w(18.0))
    report = link.transmit(sent, power_w=power, seed=7).link
    assert report.bit_error_probability == pytest.approx(0.05)
    assert (report.power_w, report.snr) == (power, pytest.approx(link.mean_snr(power)))
    faded = link.transmit(sent, power_w=power, gain=0.25, seed=7).link
    assert faded.snr == pytest.approx(report.snr / 4)
    assert faded.bit_error_probability == pytest.approx(conditional_bep("bpsk", report.snr / 4))


def test_airtime_and_energy(sent):
    report = Link(bits=16, bit_rate_bps=1e6).transmit(sent, power_w=36.0, seed=1).link
    assert report.airtime_s == pytest.approx(1024 * 16 / 1e6)
    assert report.energy_mwh == pytest.approx(36.0 * report.airtime_s / 3600 * 1000)  # W s -> Wh -> mWh
    large = replace(sent, latent=torch.randn(1, 16, 80, 80, generator=torch.Generator().manual_seed(1)))
    assert 1e-3 < Link().transmit(large, bep=0, seed=1).link.airtime_s < 0.1  # 0.1 MB: milliseconds (C8)


def test_bep_and_the_power_that_gives_it_flip_the_same_bits(sent):
    link = Link()
    by_power = link.transmit(sent, power_w=50.0, seed=3)
    by_bep = link.transmit(sent, bep=float(link.bep(50.0)), seed=3)
    assert torch.equal(by_power.latent, by_bep.latent)


def test_same_seed_same_latent(sent):
    first, again, other = (Link().transmit(sent, bep=0.05, seed=s).latent for s in (4, 4, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_float_link_breaks_where_the_uniform_link_does_not(sent):
    uniform = Link().transmit(sent, bep=0.03, seed=2).latent
    floats = Link(number_format="float16").transmit(sent, bep=0.03, seed=2).latent
    assert uniform.abs().max() <= sent.latent.abs().max()
    assert not (floats.abs() <= 100 * sent.latent.abs().max()).all()


def test_zero_power_is_a_coin_toss(sent):
    report = Link().transmit(sent, power_w=0, seed=1).link
    assert report.bit_error_probability == pytest.approx(0.5) and report.energy_mwh == 0


# Bad arguments


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bep, power_w", {}),
        ("bep, power_w", {"bep": 0.1, "power_w": 1.0}),
        ("bep", {"bep": 0.6}),
        ("bep", {"bep": -0.1}),
        ("bep", {"bep": float("nan")}),
        ("power_w", {"power_w": -1.0}),
        ("power_w", {"power_w": float("inf")}),
        ("power_w", {"power_w": "18"}),
        ("gain", {"bep": 0.1, "gain": 1.0}),
        ("gain", {"power_w": 1.0, "gain": -1.0}),
        ("seed", {"bep": 0.1, "seed": -1}),
        ("seed", {"bep": 0.1, "seed": 1.5}),
        ("seed", {"bep": 0.1, "seed": None}),
    ],
)
def test_bad_transmit_arguments(sent, name, arguments):
    with pytest.raises(InvalidArgument, match=name):
        Link().transmit(sent, **{"seed": 1, **arguments})


def test_transmit_needs_a_handoff_with_a_finite_latent(sent):
    with pytest.raises(InvalidArgument, match="handoff"):
        Link().transmit(sent.latent, bep=0.1, seed=1)
    with pytest.raises(InvalidArgument, match="latent"):
        Link().transmit(replace(sent, latent=torch.full((1, 4, 2, 2), torch.nan)), bep=0.1, seed=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fading", None),
        ("modulation", "64qam"),
        ("bits", 0),
        ("bits", 9),
        ("number_format", "int8"),
        ("gain_db", float("nan")),
        ("bit_rate_bps", 0),
    ],
)
def test_bad_link_fields(name, value):
    with pytest.raises(InvalidArgument, match=name):
        Link(**{name: value})


def test_link_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Link().gain_db = 0.0


@pytest.mark.parametrize(("bep", "gain"), [(0.5, None), (0.0, None), (0.1, 0.0), (0.1, -1.0)])
def test_bad_power_for_bep(bep, gain):
    with pytest.raises(InvalidArgument):
        Link().power_for_bep(bep, gain)


def test_bad_decibels():
    with pytest.raises(InvalidArgument, match="power_w"):
        w_to_dbw(0.0)
    with pytest.raises(InvalidArgument, match="power_dbw"):
        dbw_to_w(float("nan"))
