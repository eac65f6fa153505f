"""How hand-offs fare, measured: bit errors, receivers, restarts and lone devices, and the rule that chooses a restart.

`python -m rlli_core.allocation.gather handoffs` gathers the scores that ship (see `gather`). A case is a server's prompt with
three device prompts: the same one, a similar one of its group, and a distant one, which shares neither object nor place. On
half of the cases the rule is fitted; everything that is claimed comes from the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import ModelNotFound, check_integer
from ..files import DATA, read_arrays
from .prompts import singles

SCORES = DATA / "results" / "handoffs.npz"
KINDS = ("same", "similar", "distant")
CASES = 48  # every second one is held out
SEEDS, FITTING_SEEDS = 16, 4  # of held-out cases as far as they are gathered, and of those that rules are fitted on

LINK_PLANS = ((4, 6), (8, 2), (5, 1))  # t0 and t_k: Fig. 8's, and two where the device depends on what it gets
BEPS = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25)
RECEPTIONS = ("paper", "noise-aware", "half", "twice")  # the last two, of the first `FEW_SEEDS`: a wrong belief of the BEP

SHARED_STEPS = 5
DEVICE_STEPS = (1, 2, 3, 4, 8)
RESTARTS = (None, 700, 800, 870, 930)  # None: where the server stopped
STARTS = (None, 700, 800, 870, 930)  # of a device alone; None: on the model's own grid, from `WHOLE`
WHOLE = 999

NOISE_PLANS = ((2, 4), (5, 4), (5, 8))
NOISE_BEPS = (0.03, 0.1, 0.25)
FEW_SEEDS = 4


def cases() -> list[tuple[str, str, str]]:
    """The server's prompt (which is also the "same" device prompt), a similar and a distant one, fitting and held-out in turn.

    Every second group of prompts is held out, with its distant prompts, so that no prompt is on both sides.
    """
    groups = singles()
    rng, halves = np.random.default_rng(0), []
    for half in (groups[0::2], groups[1::2]):
        found: list[tuple[str, str, str]] = []
        for turn in range(max(map(len, half))):
            for group in half:
                if turn < len(group):
                    others = [p for other in half if other is not group for p in other if not _alike(p, group[turn])]
                    found.append((group[turn], group[(turn + 1) % len(group)], str(rng.choice(others))))
        halves.append(found[: CASES // 2])
    return [case for pair in zip(*halves) for case in pair]


def _alike(one: str, other: str) -> bool:
    """Whether two prompts share their object or their place."""
    return one.split()[1:2] == other.split()[1:2] or one.split()[-2:] == other.split()[-2:]


@dataclass(frozen=True, eq=False)
class HandoffScores:
    """Agents' scores in [0, 1], float32; arrays of scores start with the axes (case, seed) and end with the person.

    Between these, and NaN where a seed or a level was not made:

    Attributes:
        cases: prompts (case, kind).
        people: who scored.
        distances: of the text embeddings of server's and device's prompt, (case, kind); 0 for the same prompt.
        link: (plan of `LINK_PLANS`, BEP, reception), the same prompt.
        effective: no scores: effective timestep of the noise-aware device, (case, seed, plan, BEP).
        levels: no scores: timestep at which the server stopped, for each t_k.
        restart: (kind, t_k, restart), sent without errors after `SHARED_STEPS`.
        alone: (kind, t_k, start).
        noise: (plan, BEP, kind, 2): damaged by bit errors and received noise-aware; clean and brought to the same timestep.
    """

    cases: tuple[tuple[str, ...], ...]
    people: tuple[str, ...]
    distances: np.ndarray
    levels: np.ndarray
    link: np.ndarray
    effective: np.ndarray
    restart: np.ndarray
    alone: np.ndarray
    noise: np.ndarray

    @classmethod
    def load(cls, path: Path = SCORES) -> HandoffScores:
        """Read the shipped scores.

        Raises:
            ModelNotFound: none there.
            UnusableFile: they are damaged.
        """
        if not path.is_file():
            raise ModelNotFound(
                f"no scores of hand-offs at {path}; make them with: python -m rlli_core.allocation.gather handoffs"
            )
        content = read_arrays(path, *(field.name for field in fields(cls)))
        cases, people = (tuple(map(tuple, content.pop("cases").tolist())), tuple(content.pop("people").tolist()))
        return cls(cases, people, **{name: array.astype(np.float32) for name, array in content.items()})

    def half(self, held_out: bool) -> HandoffScores:
        """The cases that a rule may be fitted on, or those held out, each with the seeds that it has."""
        seeds = None if held_out else FITTING_SEEDS
        kept = {name: getattr(self, name)[int(held_out) :: 2] for name in ("cases", "distances")}
        kept |= {
            name: getattr(self, name)[int(held_out) :: 2, :seeds] for name in ("link", "effective", "restart", "alone", "noise")
        }
        return replace(self, **kept)


@dataclass(frozen=True)
class StartRule:
    """The timestep at which a device starts: the level nearest to `base + by_steps * log2(t_k) + by_distance * distance`.

    Args:
        base, by_steps, by_distance: timesteps; the distance is that of the two prompts' embeddings, see `prompts.embed`.
        near: distance below which a device goes on where the server stopped, at the first level.
    """

    base: float
    by_steps: float
    by_distance: float = 0.0
    near: float = 0.0

    def choose(
        self, levels: Sequence[float] | np.ndarray, device_steps: int | np.ndarray, distance: float | np.ndarray = 0.0
    ) -> np.ndarray:
        """The number of the chosen one among `levels`, for steps and distances of any shape; levels may differ along it too.

        >>> rule = StartRule(base=600.0, by_steps=50.0, by_distance=100.0)
        >>> rule.choose([500, 700, 800], device_steps=4, distance=np.array([0.0, 0.5, 2.0]))
        array([1, 1, 2])
        """
        if np.ndim(device_steps) == 0:
            check_integer("device_steps", device_steps, 1)
        wanted = self.base + self.by_steps * np.log2(device_steps) + self.by_distance * np.asarray(distance)
        return np.where(np.asarray(distance) < self.near, 0, np.abs(np.asarray(levels) - wanted[..., None]).argmin(axis=-1))


def chosen(scores: HandoffScores, rule: StartRule, shared: bool) -> np.ndarray:
    """Scores (case, seed, kind, t_k, person) under a rule, of devices that share or of devices that are alone."""
    table, picked = (scores.restart if shared else scores.alone), _picked(scores, rule, shared)
    return np.asarray(np.take_along_axis(table, picked[:, None, :, :, None, None], axis=4)[..., 0, :])


def fit(scores: HandoffScores, shared: bool) -> StartRule:
    """The rule with the highest mean score over the cases, kinds and t_k of `scores`, found on a lattice."""
    means = (scores.restart if shared else scores.alone).mean(axis=(1, -1))  # (case, kind, t_k, level)
    return fit_rule(means, _levels(scores, shared), np.array(DEVICE_STEPS), scores.distances[..., None], shared)


def fit_rule(means: np.ndarray, levels: np.ndarray, steps: np.ndarray, distances: np.ndarray, shared: bool) -> StartRule:
    """`fit`, on mean scores (..., level) at `levels` of devices with so many own steps, the others without the last axis.

    Distances are looked at only of devices that share.
    """
    nears = (0.0, *np.quantile(distances[distances > 0], (0.0, 0.25, 0.5))) if shared and (distances > 0).any() else (0.0,)
    lattice = product(range(200, 1000, 25), range(-75, 226, 25), range(0, 201, 20) if shared else (0,), nears)
    distances = distances if shared else np.zeros_like(distances)

    def mean_score(rule: StartRule) -> float:
        picked = rule.choose(levels, steps, distances)
        return float(np.take_along_axis(means, picked[..., None], axis=-1).mean())

    return max((StartRule(*map(float, one)) for one in lattice), key=mean_score)


def _picked(scores: HandoffScores, rule: StartRule, shared: bool) -> np.ndarray:
    """Number of the level that a rule chooses, (case, kind, t_k)."""
    distances = scores.distances if shared else np.zeros_like(scores.distances)
    return rule.choose(_levels(scores, shared), np.array(DEVICE_STEPS), distances[..., None])


def _levels(scores: HandoffScores, shared: bool) -> np.ndarray:
    """What a rule chooses among, (t_k, level)."""
    return np.array([(stop, *RESTARTS[1:]) if shared else (WHOLE, *STARTS[1:]) for stop in scores.levels])


def fit_limit(scores: HandoffScores, shared: StartRule, alone: StartRule) -> float:
    """The distance up to which a hand-off is worth using under both rules, for the highest mean score; else it is ignored."""
    limits = [0.0, *np.unique(scores.distances[scores.distances > 0])]
    return max(map(float, limits), key=lambda limit: float(np.mean(used_up_to(scores, shared, alone, limit))))


def used_up_to(scores: HandoffScores, shared: StartRule, alone: StartRule, limit: float) -> np.ndarray:
    """Scores (case, seed, kind, t_k, person) of devices that ignore the hand-off beyond a distance, and draw their own noise."""
    near = (scores.distances <= limit)[:, None, :, None, None]
    return np.where(near, chosen(scores, shared, shared=True), chosen(scores, alone, shared=False))


def best(scores: HandoffScores, shared: bool) -> np.ndarray:
    """Scores (case, seed, kind, t_k, person) at the level that is best in hindsight for each kind and t_k."""
    table = scores.restart if shared else scores.alone
    means = np.nanmean(table, axis=(0, 1, -1))  # (kind, t_k, level)
    picked = np.nanargmax(means, axis=-1)
    return np.stack(
        [np.stack([table[:, :, k, t, picked[k, t]] for t in range(len(DEVICE_STEPS))], 2) for k in range(len(KINDS))], 2
    )


def by_receiver(scores: HandoffScores) -> pd.DataFrame:
    """Scores against bit errors: one row for each case, plan, bep, receiver and person, the mean over seeds."""
    plans = [f"{shared} steps shared, {own} own" for shared, own in LINK_PLANS]
    axes = {"case": range(len(scores.cases)), "plan": plans, "bep": BEPS, "receiver": RECEPTIONS, "person": scores.people}
    return _table(np.nanmean(scores.link, axis=1), axes)


def lost_most(table: pd.DataFrame) -> pd.DataFrame:
    """What bit errors cost the person who loses most by them, of a `by_receiver` table: one row for each plan, receiver, bep, case.

    Returns:
        Columns plan, receiver, bep, person, case, and lost, the score without bit errors less the score with them.
    """
    keys = ["plan", "receiver", "person", "case"]
    clean = table[table.bep == 0].set_index(keys).score
    lost = table[table.bep > 0].assign(lost=lambda t: clean.loc[pd.MultiIndex.from_frame(t[keys])].to_numpy() - t.score)
    means = lost.groupby(["plan", "receiver", "bep", "person"], sort=False).lost.mean()
    person = means.groupby(["plan", "receiver", "bep"], sort=False).idxmax().map(lambda key: key[-1]).rename("person")
    return lost.drop(columns="score").merge(person.reset_index(), on=["plan", "receiver", "bep", "person"])


def by_device(scores: HandoffScores, devices: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Scores (case, seed, kind, t_k, person) of devices by name: one row for each case, kind, own steps and device, a mean."""
    axes = {"case": range(len(scores.cases)), "kind": KINDS, "own steps": DEVICE_STEPS}
    return pd.concat([_table(found.mean(axis=(1, -1)), axes).assign(device=name) for name, found in devices.items()])


def damaged_less_renoised(scores: HandoffScores) -> pd.DataFrame:
    """Score of a hand-off with bit errors less that of a clean one brought to the same timestep, of each case, kind, plan, bep."""
    difference = (scores.noise[..., 0, :] - scores.noise[..., 1, :])[:, :FEW_SEEDS].mean(axis=(1, -1))
    plans = [f"{shared}+{own} steps" for shared, own in NOISE_PLANS]
    return _table(difference, {"case": range(len(scores.cases)), "plan": plans, "bep": NOISE_BEPS, "kind": KINDS})


def _table(values: np.ndarray, axes: Mapping[str, Sequence]) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
    return pd.Series(values.ravel(), index, name="score").reset_index()
