import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from rlli_core.diffusion.semantics import divergence, divergences, endpoint_distance, remaining_distances, switch_distances
from rlli_core.errors import InvalidArgument


def draw(count: int, mean: float, spread: float, seed: int, size: tuple[int, ...] = (4, 8, 8)) -> torch.Tensor:
    return mean + spread * torch.randn(count, *size, generator=torch.Generator().manual_seed(seed))


def gaussian_divergence(mean: float, spread: float) -> float:
    """KL(N(mean, spread^2) || N(0, 1)) by quadrature."""
    p, q = norm(mean, spread), norm()
    return quad(lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z)), mean - 9 * spread, mean + 9 * spread)[0]


def test_distances_of_a_path_drawn_by_hand():
    # Two coordinates: from (0, 4) straight to (0, 0); and from (0, 4) to (3, 4).
    down = torch.tensor([[0.0, 4.0], [0.0, 1.0], [0.0, 0.0]]).reshape(3, 2, 1, 1)
    right = torch.tensor([[0.0, 4.0], [1.0, 4.0], [3.0, 4.0]]).reshape(3, 2, 1, 1)
    assert endpoint_distance(down, right) == pytest.approx(5)
    assert remaining_distances(down) == pytest.approx([4, 1, 0])
    assert switch_distances(down, right) == pytest.approx([3, math.sqrt(18), 5])
    assert switch_distances(right, down) == pytest.approx([4, math.sqrt(17), 5])


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (0.3, 1), (0.1, 1.3), (-0.2, 0.8)])
def test_the_divergence_of_gaussians_is_unbiased_and_its_error_is_honest(mean, spread):
    """60 repetitions of 40 against 50 samples in 256 coordinates, where the plain plug-in is off by 10 nats."""
    runs = [divergence(draw(40, mean, spread, 2 * i), draw(50, 0, 1, 2 * i + 1)) for i in range(60)]
    values = np.array([run.value for run in runs])
    errors = np.array([run.standard_error for run in runs])
    truth = 256 * gaussian_divergence(mean, spread)
    assert abs(values.mean() - truth) < 3.3 * values.std(ddof=1) / math.sqrt(60)  # two-sided, 99.9 %
    assert 0.8 < errors.mean() / values.std(ddof=1) < 2.5  # the jackknife is too large near zero, never much too small


def test_the_error_knows_that_coordinates_move_together():
    """256 copies of one coordinate say no more than one: the value adds up 256 times, and so must its error."""
    one, other = draw(60, 0.5, 1, 0, (1,)), draw(60, 0, 1, 1, (1,))
    single = divergence(one, other)
    copied = divergence(one.expand(60, 256), other.expand(60, 256))
    assert copied.value == pytest.approx(256 * single.value)
    assert copied.standard_error == pytest.approx(256 * single.standard_error)


def test_the_divergence_has_a_direction():
    wide, narrow = draw(400, 0, 2, 0), draw(400, 0, 1, 1)
    forth, back = divergence(wide, narrow), divergence(narrow, wide)
    assert forth.value == pytest.approx(256 * gaussian_divergence(0, 2), rel=0.05)
    assert back.value == pytest.approx(256 * gaussian_divergence(0, 0.5), rel=0.05)


def test_along_paths_it_starts_at_zero_and_follows_the_shift():
    drift = torch.linspace(0, 1, 4).reshape(1, 4, 1, 1, 1)
    still = draw(40, 0, 1, 0, (1, 4, 8, 8)).expand(40, 4, 4, 8, 8)
    moving = draw(40, 0, 1, 1, (1, 4, 8, 8)) + drift
    found = divergences(moving, still)
    assert (found[0].value, found[0].standard_error) == (0, 0)
    for estimate, shift in zip(found[1:], (1 / 3, 2 / 3, 1)):
        assert abs(estimate.value - 256 * shift**2 / 2) < 4 * estimate.standard_error


def test_a_chain_gives_the_paths(chain):
    one = chain.paths("cat", 3, seeds=range(8), guidance_scale=6.0)
    other = chain.paths("dog", 3, seeds=range(8, 16), guidance_scale=6.0)
    found = divergences(one, other)
    assert len(found) == 4 and all(math.isfinite(e.value) and e.standard_error > 0 for e in found[1:])
    with pytest.raises(InvalidArgument, match="other seeds"):
        divergences(one, one)


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        (torch.zeros(20, 3), torch.randn(20, 3), "the same in all samples"),
        (torch.randn(7, 3), torch.randn(20, 3), "at least 8"),
        (torch.randn(20, 3), torch.randn(20, 4), "samples_j.shape"),
    ],
)
def test_samples_that_cannot_be_compared(one, other, match):
    with pytest.raises(InvalidArgument, match=match):
        divergence(one, other)


def test_paths_that_cannot_be_compared():
    short, long = torch.randn(3, 4, 2, 2), torch.randn(4, 4, 2, 2)
    for compare in (endpoint_distance, switch_distances):
        with pytest.raises(InvalidArgument, match="path_j.shape"):
            compare(short, long)
    with pytest.raises(InvalidArgument, match="paths_j.shape"):
        divergences(torch.randn(9, 3, 4, 2, 2), torch.randn(9, 4, 4, 2, 2))
