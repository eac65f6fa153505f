"""Bit error probabilities, each by routes that share no code: quadrature, closed forms in mpmath, simulated signals."""

from functools import cache

import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from rlli_core.channel import MODULATIONS, FisherSnedecorF, average_bep, conditional_bep
from rlli_core.errors import InvalidArgument

PAPER = FisherSnedecorF(severity=2.0, shadowing=1.5)
LAWS = [PAPER, FisherSnedecorF(0.5, 1.2), FisherSnedecorF(4.0, 5.25)]
SNRS = [0.01, 1.0, 6.45, 200.0]
CONFIDENCE = 0.999  # of every simulation below, two-sided


@cache
def bpsk_closed_form(fading, snr):
    """Mellin-Barnes: E[Q(sqrt(2 snr g))] is one Meijer G function."""
    m, ms = mpmath.mpf(fading.severity), mpmath.mpf(fading.shadowing)
    g = mpmath.meijerg([[1 - m], [1]], [[0, mpmath.mpf("0.5"), ms], []], snr * (ms - 1) / m)
    return g / (2 * mpmath.sqrt(mpmath.pi) * mpmath.gamma(m) * mpmath.gamma(ms))


def laplace_closed_form(fading, s):
    """E[exp(-s g)] is a Tricomi confluent hypergeometric function."""
    m, ms = mpmath.mpf(fading.severity), mpmath.mpf(fading.shadowing)
    return mpmath.gamma(m + ms) / mpmath.gamma(ms) * mpmath.hyperu(m, 1 - ms, s * (ms - 1) / m)


CLOSED_FORMS = {
    "bpsk": bpsk_closed_form,
    "qpsk": bpsk_closed_form,
    "dpsk": lambda fading, snr: laplace_closed_form(fading, snr) / 2,
    "noncoherent_bfsk": lambda fading, snr: laplace_closed_form(fading, snr / 2) / 2,
}


@pytest.mark.parametrize("fading", LAWS)
@pytest.mark.parametrize("modulation", MODULATIONS)
def test_average_equals_closed_form(modulation, fading):
    expected = [float(CLOSED_FORMS[modulation](fading, snr)) for snr in SNRS]
    np.testing.assert_allclose(average_bep(modulation, fading, np.array(SNRS)), expected, rtol=1e-9)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_average_equals_adaptive_quadrature(modulation):
    for snr in SNRS:

        def integrand(log_gain, snr=snr):
            gain = np.exp(log_gain)
            return PAPER.pdf(gain) * gain * conditional_bep(modulation, snr * gain)

        expected = integrate.quad(integrand, -40, 40, limit=500)[0]
        assert average_bep(modulation, PAPER, snr) == pytest.approx(expected, rel=1e-7)


def noise(rng, n, snr):
    """Complex white noise for signals of unit bit energy: variance 1 / snr."""
    return (rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2 * snr)


def count_errors(modulation, snr, rng):
    """Send one random bit for each entry of `snr` as a signal of unit bit energy; return the number of wrong bits."""
    n = snr.size
    sent = rng.integers(0, 2, n)
    symbol = 1.0 - 2 * sent
    if modulation == "bpsk":
        got = (symbol + noise(rng, n, snr)).real < 0
    elif modulation == "qpsk":  # two bits a symbol of energy 2; the other bit sits on the other axis
        other = 1.0 - 2 * rng.integers(0, 2, n)
        got = (symbol + 1j * other + noise(rng, n, snr)).real < 0
    elif modulation == "dpsk":  # unknown common phase; the bit is whether the phase turned by pi
        phase = np.exp(2j * np.pi * rng.random(n))
        got = ((phase * symbol + noise(rng, n, snr)) * np.conj(phase + noise(rng, n, snr))).real < 0
    else:  # two orthogonal tones, envelope detection
        phase = np.exp(2j * np.pi * rng.random(n))
        right, wrong = phase + noise(rng, n, snr), noise(rng, n, snr)
        return int((np.abs(wrong) > np.abs(right)).sum())
    return int((got != sent).sum())


@pytest.mark.parametrize("fading", [None, *LAWS])
@pytest.mark.parametrize("modulation", MODULATIONS)
def test_bep_equals_simulated_signals(modulation, fading):
    n, mean_snr = 200_000, 3.0
    gains = np.ones(n) if fading is None else fading.sample(n, seed=21)
    bep = conditional_bep(modulation, mean_snr) if fading is None else average_bep(modulation, fading, mean_snr)
    errors = count_errors(modulation, mean_snr * gains, np.random.default_rng(22))
    assert stats.binomtest(errors, n, bep).pvalue > 1 - CONFIDENCE


def test_known_values():
    assert conditional_bep("bpsk", 10 ** (9.6 / 10)) == pytest.approx(1e-5, rel=0.05)  # the textbook's 9.6 dB
    assert conditional_bep("dpsk", 0.0) == 0.5
    rayleigh = (1 - np.sqrt(5 / 6)) / 2  # no shadowing, m = 1
    assert average_bep("bpsk", FisherSnedecorF(1.0, 1e7), 5.0) == pytest.approx(rayleigh, rel=1e-6)


def test_paper_snrs():
    """5 % at 8.1 dB and 3 % at 10.1 dB of mean SNR, for BPSK, m = 2, m_s = 1.5."""
    beps = average_bep("bpsk", PAPER, 10 ** (np.array([8.1, 10.1]) / 10))
    np.testing.assert_allclose(beps, [0.05, 0.03], rtol=0.02)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_arrays_give_what_single_calls_give_and_fall_with_snr(modulation):
    snr = np.geomspace(1e-3, 1e5, 12).reshape(3, 4)
    for bep in (lambda x: conditional_bep(modulation, x), lambda x: average_bep(modulation, PAPER, x)):
        table = bep(snr)
        assert table.shape == (3, 4)
        np.testing.assert_allclose(table.ravel(), [bep(x) for x in snr.ravel()], rtol=1e-13)
        assert (np.diff(table.ravel()) <= 0).all()
    assert average_bep(modulation, PAPER, 0.0) == pytest.approx(0.5, rel=1e-14)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "3", None, [1.0, -2.0]])
def test_bad_snr(bad):
    with pytest.raises(InvalidArgument, match="snr"):
        conditional_bep("bpsk", bad)
    with pytest.raises(InvalidArgument, match="mean_snr"):
        average_bep("bpsk", PAPER, bad)


def test_bad_modulation_and_fading():
    with pytest.raises(InvalidArgument, match="bpsk, qpsk, dpsk, noncoherent_bfsk"):
        conditional_bep("8psk", 1.0)
    with pytest.raises(InvalidArgument, match="fading"):
        average_bep("bpsk", "rayleigh", 1.0)
