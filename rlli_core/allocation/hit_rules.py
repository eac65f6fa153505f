"""The rules that say when a cached latent is used and from where, and scores as functions for what cannot be measured each time.

NIRVANA (Agarwal et al., NSDI 2024) goes on from the deepest latent that the distance of the two texts allows, MoDM (ASPLOS 2026)
from the cached picture, with as much fresh noise as its unlikeness to the wanted text asks for; both find their limits by
profiling: quality may not fall below a share of that of the prompt's own. Ours restarts at the level of a `StartRule` and leaves
alone what is too far. A device finishes all of them with its own t_k steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from ..errors import InvalidArgument, check_number
from .handoffs import WHOLE, StartRule
from .hits import GRID, HitScores, Start


@dataclass(frozen=True)
class LimitRule:
    """Use the first start whose limit the distance keeps: NIRVANA's rule and MoDM's.

    Args:
        by: the keys that are compared, see `shelf.Shelf.nearest`: "text" or "picture".
        limits: largest distance for each start, the one that reuses most first.
    """

    by: str
    limits: tuple[tuple[Start, float], ...]

    def choose(self, distance: float, depths: Collection[int], device_steps: int) -> Start | None:
        """The start for a wanted prompt at this distance of latents of these depths; None where it is too far."""
        return next((start for start, limit in self.limits if start[0] in depths and distance <= limit), None)


@dataclass(frozen=True)
class RestartRule:
    """Restart at the level that a `StartRule` says, and leave alone what is too far for so many own steps: ours.

    Args:
        start: chooses among the timesteps of `options`.
        limits: distance of texts up to which a latent is used, by own steps, the fewest first; between them that of fewer.
        options: timestep of each start; the same prompt takes the first.
    """

    start: StartRule
    limits: tuple[tuple[int, float], ...]
    options: tuple[tuple[Start, int], ...]
    by: str = "text"

    def limit(self, device_steps: int) -> float:
        """That of so many own steps."""
        return next((limit for steps, limit in reversed(self.limits) if steps <= device_steps), self.limits[0][1])

    @property
    def always(self) -> RestartRule:
        """The same rule without its limit."""
        return replace(self, limits=((1, np.inf),))

    def choose(self, distance: float, depths: Collection[int], device_steps: int) -> Start | None:
        """As `LimitRule.choose`."""
        there = [(start, level) for start, level in self.options if start[0] in depths]
        if distance > self.limit(device_steps) or not there:
            return None
        return there[int(self.start.choose([level for _, level in there], device_steps, distance))][0]


Rule = LimitRule | RestartRule


def fit_alone(scores: HitScores) -> StartRule:
    """The start of a device alone with the highest mean score."""
    levels, means = _lone_levels(scores), scores.alone.mean(1)
    lattice = [StartRule(float(base), float(slope)) for base, slope in product(range(500, 1000, 25), range(0, 151, 25))]
    return max(lattice, key=lambda rule: float(_lone(scores, means, levels, rule).mean()))


def by_alone(scores: HitScores, rule: StartRule) -> np.ndarray:
    """Scores (pair, t_k), means over seeds, of devices alone that start by a rule."""
    return _lone(scores, scores.alone.mean(1), _lone_levels(scores), rule)


def fit_ours(scores: HitScores, alone: StartRule) -> RestartRule:
    """Our rule: the `StartRule` with the highest mean score, then for each t_k the limit beyond which the device alone does better."""
    options = tuple((start, level) for start, level in scores.options.items() if start[0] < GRID)
    lattice = product(range(400, 1000, 50), range(0, 201, 50), range(0, 161, 40))
    rules = [
        RestartRule(StartRule(float(base), float(steps), float(far), near=1e-6), ((1, np.inf),), options)
        for base, steps, far in lattice
    ]
    best = max(rules, key=lambda rule: float(by_rule(scores, rule, alone)[0].mean()))
    gains, places = by_rule(scores, best, alone)[0] - by_alone(scores, alone), np.array([-1.0, *np.unique(scores.distances)])
    used = scores.distances <= places[:, None]  # (limit, pair)
    limits = places[(used @ gains).argmax(0)]
    return replace(best, limits=tuple(zip(scores.device_steps.tolist(), limits.tolist())))


def fit_nirvana(scores: HitScores, quality: float = 0.9) -> LimitRule:
    """For each depth the largest text distance at which the score keeps this share of the same prompt's; deepest first."""
    starts = sorted(((d, r) for d, r in scores.options if r is None and d < GRID), reverse=True)
    return LimitRule("text", _limits(scores, scores.distances, starts, quality))


def fit_modm(scores: HitScores, quality: float = 0.9) -> LimitRule:
    """For each restart of the cached picture the largest unlikeness that keeps this share of the most alike's; least noise first.

    Raises:
        InvalidArgument: scores without the depth `GRID`.
    """
    starts = sorted(((d, r) for d, r in scores.options if d == GRID and r is not None), key=lambda start: start[1])
    if not starts:
        raise InvalidArgument("scores.depths", scores.depths.tolist(), f"with {GRID}, the finished picture, among them")
    return LimitRule("picture", _limits(scores, scores.unlikeness.mean(1), starts, quality))


def by_rule(scores: HitScores, rule: Rule, alone: StartRule) -> tuple[np.ndarray, np.ndarray]:
    """Scores (pair, t_k), means over seeds, under a rule, and whether it used the latent; else the device was alone."""
    found, apart = by_alone(scores, alone), scores.distances if rule.by == "text" else scores.unlikeness.mean(1)
    used, depths, at = np.zeros(found.shape, bool), scores.depths.tolist(), {s: scores.at(s).mean(1) for s in scores.options}
    for (i, distance), (t, steps) in product(enumerate(apart), enumerate(scores.device_steps.tolist())):
        start = rule.choose(float(distance), depths, steps)
        if start is not None:
            found[i, t], used[i, t] = at[start][i, t], True
    return found, used


def falling(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve that falls with x and is nearest to the points in least squares, at each x that there is, rising."""
    where, number = np.unique(x, return_inverse=True)
    weights = np.bincount(number)
    means = np.bincount(number, y) / weights
    return where, isotonic_regression(means, weights=weights, increasing=False).x


def worth_up_to(distances: np.ndarray, gains: np.ndarray) -> float:
    """The largest distance at which the falling curve of gains is above 0; -1 where it is nowhere."""
    where, curve = falling(distances, gains)
    return float(where[curve > 0].max(initial=-1.0))


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores as functions of the distance, the start and own steps, for what cannot be measured each time.

    What falls in the distance, by isotonic regression, is the gain over the device alone with the same prompt: prompts differ in
    how well anybody draws them, and those at one distance are not those at another. Between own steps linear in their logarithm.

    Args:
        scores: measured, best of held-out pairs.
        alone: rule of the device alone.
        slower: own steps that take another model as far as one takes the measured one: n* there over n* here.
    """

    scores: HitScores
    alone: StartRule
    slower: float = 1.0

    def __post_init__(self) -> None:
        check_number("slower", self.slower, 0, open_low=True)

    def least_steps(self) -> float:
        """Own steps below which there is nothing measured."""
        return float(self.scores.device_steps.min() * self.slower)

    def score(self, distance: float, start: Start, device_steps: float) -> float:
        """Mean score of a device that gets a latent of a prompt at this distance."""
        gains = [float(np.interp(distance, *curve)) for curve in self._gains[start]]
        return self._between((self._alone + gains).tolist(), device_steps)

    def resampled(self, seed: int) -> Curves:
        """The same through cached prompts drawn anew with replacement, each with all its pairs: how sure the curves are."""
        cached = [one for one, _ in self.scores.pairs]
        drawn = np.random.default_rng(seed).choice([*dict.fromkeys(cached)], len({*cached}))
        return replace(self, scores=self.scores.some([i for prompt in drawn for i, one in enumerate(cached) if one == prompt]))

    def lone_score(self, device_steps: float) -> float:
        """Mean score of a device alone at its best start."""
        return self._between(self._alone.tolist(), device_steps)

    def _between(self, values: Sequence[float], device_steps: float) -> float:
        steps = check_number("device_steps", device_steps, self.least_steps()) / self.slower
        return float(np.interp(np.log2(steps), np.log2(self.scores.device_steps), values))

    @cached_property
    def _gains(self) -> Mapping[Start, list[tuple[np.ndarray, np.ndarray]]]:
        gains = {start: _gains(self.scores, start, self.alone) for start in self.scores.options}
        return {start: [falling(self.scores.distances, column) for column in some.T] for start, some in gains.items()}

    @cached_property
    def _alone(self) -> np.ndarray:
        return by_alone(self.scores, self.alone).mean(0)


def tables(
    scores: HitScores, starts: Sequence[Start], device_steps: Sequence[int], alone: StartRule
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gains of some starts over the device alone against the distance, and the falling curves through them.

    Both have columns own steps, start, distance, gain.
    """
    points, curves = [], []
    for start, (t, steps) in product(starts, enumerate(scores.device_steps.tolist())):
        if steps in device_steps:
            y, told = _gains(scores, start, alone)[:, t], told_start(start)
            points += [(steps, told, *row) for row in zip(scores.distances, y)]
            curves += [(steps, told, *row) for row in zip(*falling(scores.distances, y))]
    columns = ["own steps", "start", "distance", "gain"]
    return pd.DataFrame(points, columns=columns), pd.DataFrame(curves, columns=columns)


def told_start(start: Start) -> str:
    """A start in words."""
    depth, restart = start
    what = "picture" if depth == GRID else f"{depth} steps"
    return what if restart is None else f"{what}, restart at {restart}"


def steps_needed(scores: HitScores, alone: StartRule, left: float = 0.05) -> float:
    """n*: own steps after which a device alone has all but this share of the way from fewest to most steps, between them linear."""
    means, steps = np.maximum.accumulate(by_alone(scores, alone).mean(0)), scores.device_steps
    goal = means[-1] - left * (means[-1] - means[0])
    after = int((means >= goal - 1e-9).argmax())
    return float(np.interp(goal, means[max(0, after - 1) : after + 1], steps[max(0, after - 1) : after + 1]))


def _lone_levels(scores: HitScores) -> list[int]:
    return [WHOLE if level < 0 else int(level) for level in scores.starts]


def _gains(scores: HitScores, start: Start, alone: StartRule) -> np.ndarray:
    """Scores (pair, t_k) of one start less those of the device alone with the same prompt, means over seeds."""
    return np.asarray(scores.at(start).mean(1) - by_alone(scores, alone))


def _lone(scores: HitScores, means: np.ndarray, levels: list[int], rule: StartRule) -> np.ndarray:
    picked = [int(rule.choose(levels, int(steps))) for steps in scores.device_steps]
    return np.stack([means[:, t, level] for t, level in enumerate(picked)], axis=1)


def _limits(scores: HitScores, apart: np.ndarray, starts: Sequence[Start], quality: float) -> tuple[tuple[Start, float], ...]:
    check_number("quality", quality, 0, 1)
    limits = []
    for start in starts:
        where, curve = falling(apart, scores.at(start).mean(axis=(1, 2)))
        limits.append((start, float(where[curve >= quality * curve[0]].max())))
    return tuple(limits)
