"""Fisher-Snedecor F fading against its density written out, its physical construction, and SciPy's beta prime law."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from rlli_core.channel import FisherSnedecorF
from rlli_core.errors import InvalidArgument

PAPER = FisherSnedecorF(severity=2.0, shadowing=1.5)
LAWS = [PAPER, FisherSnedecorF(0.5, 1.1), FisherSnedecorF(3.5, 6.0), FisherSnedecorF(40.0, 30.0)]
CONFIDENCE = 0.999  # of every statistical test below, two-sided


def written_out_pdf(g, m, ms):
    return m**m * (ms - 1) ** ms * g ** (m - 1) / (special.beta(m, ms) * (m * g + ms - 1) ** (m + ms))


@pytest.mark.parametrize("law", LAWS[:3])
def test_pdf_is_the_density_of_the_docstring(law):
    gains = np.geomspace(1e-4, 1e4, 50)
    np.testing.assert_allclose(law.pdf(gains), written_out_pdf(gains, law.severity, law.shadowing), rtol=1e-10)


@pytest.mark.parametrize("law", LAWS)
def test_cdf_is_the_beta_prime_law(law):
    gains = np.geomspace(1e-4, 1e4, 50)
    other = stats.betaprime(law.severity, law.shadowing, scale=(law.shadowing - 1) / law.severity)
    np.testing.assert_allclose(law.cdf(gains), other.cdf(gains), rtol=1e-9)


@pytest.mark.parametrize("law", LAWS[:3])
def test_cdf_is_the_integral_of_the_pdf(law):
    for gain in (0.1, 1.0, 7.0):
        area = integrate.quad(lambda y: law.pdf(np.exp(y)) * np.exp(y), -100, np.log(gain), limit=500)[0]
        assert law.cdf(gain) == pytest.approx(area, rel=1e-8)


def test_mapping_to_the_convention_of_yoo_et_al():
    gains = np.geomspace(0.01, 100, 30)
    np.testing.assert_allclose(PAPER.cdf(PAPER.scale * gains), stats.f(4, 3).cdf(gains), rtol=1e-12)
    assert -10 * np.log10(PAPER.scale) == pytest.approx(4.77, abs=0.005)


@pytest.mark.parametrize("law", LAWS)
def test_samples_follow_shadowed_multipath(law):
    """Nakagami-m power over an independent inverse Nakagami-m mean power: a ratio of gamma variables."""
    n, rng = 20_000, np.random.default_rng(11)
    multipath = rng.gamma(law.severity, 1 / law.severity, n)
    shadowing = (law.shadowing - 1) / rng.gamma(law.shadowing, 1, n)
    assert stats.ks_2samp(law.sample(n, seed=5), multipath * shadowing).pvalue > 1 - CONFIDENCE
    assert stats.kstest(law.sample(n, seed=6), law.cdf).pvalue > 1 - CONFIDENCE


def test_moments_of_samples():
    law, n = FisherSnedecorF(2.0, 10.0), 200_000  # shadowing > 4, so that the sample variance has a standard error
    gains = law.sample(n, seed=1)
    second = (law.severity + 1) / law.severity * (law.shadowing - 1) / (law.shadowing - 2)
    z = stats.norm.ppf((1 + CONFIDENCE) / 2)
    assert abs(gains.mean() - 1) < z * np.sqrt((second - 1) / n)
    assert abs((gains**2).mean() - second) < z * (gains**2).std() / np.sqrt(n)


@pytest.mark.parametrize("law", LAWS)
def test_average_equals_adaptive_quadrature(law):
    """E[1 / (1 + g)]."""
    other = integrate.quad(lambda y: law.pdf(np.exp(y)) * np.exp(y) / (1 + np.exp(y)), -120, 120, limit=1000)[0]
    assert law.average(lambda g: 1 / (1 + g)) == pytest.approx(other, rel=1e-8)


def test_average_keeps_trailing_shape_and_total_probability():
    assert PAPER.average(lambda g: np.ones((g.size, 2, 3))) == pytest.approx(np.ones((2, 3)), rel=1e-14)


def test_unit_mean_even_where_the_variance_is_infinite():
    law = FisherSnedecorF(2.0, 1.5)
    mean = integrate.quad(lambda y: law.pdf(np.exp(y)) * np.exp(2 * y), -50, 100, limit=500)[0]
    assert mean == pytest.approx(1.0, rel=1e-7)


def test_same_seed_same_gains_and_shapes():
    assert np.array_equal(PAPER.sample((3, 4), seed=9), PAPER.sample((3, 4), seed=9))
    assert not np.array_equal(PAPER.sample(12, seed=9), PAPER.sample(12, seed=10))
    assert PAPER.sample((3, 4), seed=9).shape == (3, 4)
    assert (PAPER.sample(1000, seed=0) > 0).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("severity", {"severity": 0.4, "shadowing": 1.5}),
        ("severity", {"severity": float("nan"), "shadowing": 1.5}),
        ("severity", {"severity": "2", "shadowing": 1.5}),
        ("shadowing", {"severity": 2.0, "shadowing": 1.0}),
        ("shadowing", {"severity": 2.0, "shadowing": float("inf")}),
        ("severity", {"severity": 1e300, "shadowing": 1.5}),
        ("shadowing", {"severity": 2.0, "shadowing": 1e300}),
    ],
)
def test_bad_parameters(name, arguments):
    with pytest.raises(InvalidArgument, match=name):
        FisherSnedecorF(**arguments)


def test_bad_sample_arguments():
    with pytest.raises(InvalidArgument, match="seed"):
        PAPER.sample(3, seed=-1)
    with pytest.raises(InvalidArgument, match="size"):
        PAPER.sample(2.5, seed=1)


@pytest.mark.parametrize(
    "law", [FisherSnedecorF(1e8, 1e8), FisherSnedecorF(0.5, 1e8), FisherSnedecorF(1e8, 1.0001), FisherSnedecorF(0.5, 1 + 1e-12)]
)
def test_at_the_ends_of_the_range_all_is_still_finite(law):
    assert np.isfinite(law.sample(100, seed=0)).all() and 0 < law.average(lambda gain: np.exp(-gain)) < 1
