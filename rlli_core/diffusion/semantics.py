"""Distances between denoising paths, and how far apart two prompts have driven the latents: eq. (14)-(17).

Paths come from `SplitDiffusion.path` and `.paths`: latents from the noise P_c(T) to the result P_c(0), shape
(steps + 1, C, h, w). A step index counts the steps taken, so index 0 is the paper's t = T and the last its t = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import digamma

from ..errors import InvalidArgument

MIN_SAMPLES = 8  # the correction needs 5; fewer than 8 give no usable error


def endpoint_distance(path_i: torch.Tensor, path_j: torch.Tensor) -> float:
    """Return d(c_i, 0, c_j, 0) = ||P_ci(0) - P_cj(0)||, eq. (14): the semantic distance of two prompts.

    Take both paths from the same seed, or the distance is mostly that between two random pictures.
    """
    _check_paths(path_i, path_j)
    return torch.linalg.vector_norm(path_i[-1] - path_j[-1]).item()


def remaining_distances(path: torch.Tensor) -> list[float]:
    """Return d(c_i, t_off, c_i, 0) = ||P_ci(t_off) - P_ci(0)||, eq. (16), for a cut after 0, 1, ... steps."""
    return switch_distances(path, path)


def switch_distances(path_i: torch.Tensor, path_j: torch.Tensor) -> list[float]:
    """Return d(c_i, t_off, c_j, 0) = ||P_ci(t_off) - P_cj(0)||, eq. (17), for a switch after 0, 1, ... steps."""
    _check_paths(path_i, path_j)
    return torch.linalg.vector_norm((path_i - path_j[-1]).flatten(1), dim=1).tolist()


@dataclass(frozen=True)
class Divergence:
    """An estimate of the divergence (15) in nats, and its standard error."""

    value: float
    standard_error: float


def divergence(samples_i: torch.Tensor, samples_j: torch.Tensor) -> Divergence:
    """Estimate K(p(z_t | c_i) || p(z_t | c_j)), eq. (15), from independent samples of both at one step.

    A few hundred samples cannot give the density of a thousand coordinates (neither can nearest neighbours), so this
    is the sum over coordinates of the divergence between their marginals, each taken as Gaussian. It sees shifts of
    mean and changes of spread; it is blind to the shape of a marginal and to correlation between coordinates, so it
    is no bound on the joint divergence, neither from above nor from below. The bias of fitting means and variances is
    removed exactly (for Gaussian marginals), so small divergences may come out slightly negative. The error is the
    jackknife's over whole samples, so correlation between coordinates is in it; near zero it errs on the large side.

    Args:
        samples_i, samples_j: latents, shape (S, ...) with 8 samples or more each, from different seeds.

    Raises:
        InvalidArgument: too few samples, unequal shapes, or a coordinate that does not vary.

    >>> one, other = torch.randn(2, 400, 4, generator=torch.Generator().manual_seed(0))
    >>> estimate = divergence(one + 1, other)  # 4 coordinates, each shifted by one standard deviation: 4 / 2 nats
    >>> abs(estimate.value - 2) < 3 * estimate.standard_error
    True
    """
    x, y = (_coordinates(name, z) for name, z in (("samples_i", samples_i), ("samples_j", samples_j)))
    if x.shape[1] != y.shape[1]:
        raise InvalidArgument("samples_j.shape", tuple(samples_j.shape), f"{tuple(x.shape)[1:]} after axis 0, flat")
    whole_x, whole_y = _moments(x), _moments(y)
    without_x = _gaussian_divergence(_leave_one_out(x), whole_y, len(x) - 1, len(y))
    without_y = _gaussian_divergence(whole_x, _leave_one_out(y), len(x), len(y) - 1)
    variance = sum((len(v) - 1) * np.var(v) for v in (without_x, without_y))
    return Divergence(float(_gaussian_divergence(whole_x, whole_y, len(x), len(y))), float(np.sqrt(variance)))


def divergences(paths_i: torch.Tensor, paths_j: torch.Tensor) -> list[Divergence]:
    """Return the `divergence` after 0, 1, ... steps between the paths of two prompts.

    After 0 steps it is zero without estimating: both prompts start from the same noise prior.

    Args:
        paths_i, paths_j: from `SplitDiffusion.paths`, shape (S, steps + 1, C, h, w), each with its own seeds.

    Raises:
        InvalidArgument: as `divergence`; paths of unequal length; or the same noise in both, which would make the
            samples dependent.
    """
    if paths_i.ndim < 3 or paths_i.shape[1:] != paths_j.shape[1:]:
        raise InvalidArgument("paths_j.shape", tuple(paths_j.shape), f"like {tuple(paths_i.shape)} from axis 1 on")
    if any(torch.equal(one, other) for one in paths_i[:, 0] for other in paths_j[:, 0]):
        raise InvalidArgument("paths_j", "paths from the noise of paths_i", "from other seeds than paths_i")
    later = [divergence(paths_i[:, step], paths_j[:, step]) for step in range(1, paths_i.shape[1])]
    return [Divergence(0.0, 0.0), *later]


def _gaussian_divergence(moments_x: tuple, moments_y: tuple, n: int, m: int) -> np.ndarray:
    """Return sum over coordinates of 1/2 [ln(s_y/s_x) + (s_x + (mean_x - mean_y)^2) / s_y - 1], unbiased.

    For s a variance estimated from n Gaussian samples, E ln s = ln sigma^2 + digamma((n-1)/2) - ln((n-1)/2) and
    E 1/s = (n-1) / (n-3) / sigma^2; the squared difference of means carries sigma_x^2 / n + sigma_y^2 / m too much.
    Moments have the coordinates on their last axis; so leave-one-out moments (S, D) give S values.
    """
    (mean_x, s_x), (mean_y, s_y) = moments_x, moments_y
    shrink = (m - 3) / (m - 1)
    ratio = shrink * s_x / s_y
    shift = shrink * (mean_x - mean_y) ** 2 / s_y - ratio / n - 1 / m
    logs = np.log(s_y / s_x) - _log_bias(m) + _log_bias(n)
    return 0.5 * (logs + ratio + shift - 1).sum(axis=-1)


def _log_bias(n: int) -> float:
    return float(digamma((n - 1) / 2) - np.log((n - 1) / 2))


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), x.var(axis=0, ddof=1)


def _leave_one_out(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance, each (S, D), of the S sets that lack one sample."""
    n = len(x)
    centred = x - x.mean(axis=0)
    total = (centred**2).sum(axis=0)
    return x.mean(axis=0) - centred / (n - 1), (total - centred**2 * n / (n - 1)) / (n - 2)


def _coordinates(name: str, samples: torch.Tensor) -> np.ndarray:
    """Return samples (S, ...) as float64 (S, D)."""
    if samples.ndim < 2 or len(samples) < MIN_SAMPLES:
        raise InvalidArgument(f"{name}.shape", tuple(samples.shape), f"(S, ...) with S of at least {MIN_SAMPLES}")
    x = samples.flatten(1).double().numpy()
    if not (np.ptp(x, axis=0) > 0).all():
        raise InvalidArgument(name, "a coordinate that is the same in all samples", "varying in every coordinate")
    return x


def _check_paths(path_i: torch.Tensor, path_j: torch.Tensor) -> None:
    if path_i.ndim < 2 or path_i.shape != path_j.shape:
        raise InvalidArgument("path_j.shape", tuple(path_j.shape), f"that of path_i, {tuple(path_i.shape)}")
