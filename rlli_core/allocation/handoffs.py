"""How hand-offs fare, measured: bit errors, receivers, restarts and lone devices, and the rule that chooses a restart.

`python -m rlli_core.allocation.gather handoffs` gathers the scores that ship (see `gather`). A case is a server's prompt with
three device prompts: the same one, a similar one of its group, and a distant one, which shares neither object nor place. On
half of the cases the rule is fitted; everything that is claimed comes from the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import brute

from ..errors import ModelNotFound, check_choice, check_integer, check_number
from ..files import DATA

SCORES = DATA / "results" / "handoffs.npz"
KINDS = ("same", "similar", "distant")
CASES = 48  # every second one is held out
SEEDS, FITTING_SEEDS = 16, 4  # of held-out cases, and of those that the rule is fitted on

LINK_PLANS = ((4, 6), (8, 2), (5, 1))  # t0 and t_k: Fig. 8's, and two where the device depends on what it gets
BEPS = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.35)
RECEPTIONS = ("paper", "noise-aware", "half", "twice")  # the last two: noise-aware with half or twice the true BEP

SHARED_STEPS = 5
DEVICE_STEPS = (1, 2, 3, 4, 8)
RESTARTS = (None, 550, 700, 800, 870, 930)  # None: where the server stopped
STARTS = (None, 700, 800, 870, 930)  # of a device alone; None: on the model's own grid

NOISE_PLANS = ((2, 4), (5, 4), (5, 8))
NOISE_BEPS = (0.03, 0.1, 0.25)
NOISE_SEEDS = 4


def cases() -> list[tuple[str, str, str]]:
    """The server's prompt (which is also the "same" device prompt), a similar and a distant one, fitting and held-out in turn.

    Every second group of prompts is held out, with its distant prompts, so that no prompt is on both sides.
    """
    content = yaml.safe_load((DATA / "prompts.yaml").read_text(encoding="utf-8"))
    groups = [[p for p in group if " and " not in p and " under " not in p] for group in content["groups"]]
    groups = [group for group in groups if len(group) >= 2]
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
    """Agents' scores in [0, 1], float32; each array starts with the axes (case, seed), NaN where a seed was not made.

    Attributes:
        cases: prompts (case, kind).
        people: who scored, on the last axis of all scores.
        distances: of the text embeddings of server's and device's prompt, (case, kind); 0 for the same prompt.
        link: (plan of `LINK_PLANS`, BEP, reception), of the same prompt.
        effective: effective timestep of the noise-aware device, (plan, BEP).
        restart: (kind, t_k, restart), sent without errors after `SHARED_STEPS`; NaN below the level of the hand-off.
        alone: (kind, t_k, start).
        noise: (plan, BEP, kind, 2): damaged by bit errors and received noise-aware; clean and brought to the same timestep.
    """

    cases: tuple[tuple[str, ...], ...]
    people: tuple[str, ...]
    distances: np.ndarray
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
        """
        if not path.is_file():
            raise ModelNotFound(f"no scores of hand-offs at {path}; make them with: python -m rlli_core.allocation.gather handoffs")
        with np.load(path) as file:
            arrays = {name: file[name] for name in ("distances", "link", "effective", "restart", "alone", "noise")}
            return cls(
                tuple(map(tuple, file["cases"].tolist())),
                tuple(file["people"].tolist()),
                **{name: array.astype(np.float32) for name, array in arrays.items()},
            )

    def held_out(self, scores: np.ndarray) -> np.ndarray:
        """The part of an array that nothing was fitted on."""
        return scores[1::2]

    def fitting(self, scores: np.ndarray) -> np.ndarray:
        """The part of an array that rules are fitted on."""
        return scores[0::2]


@dataclass(frozen=True)
class RestartRule:
    """The timestep from which a device starts: `base + by_distance * distance + by_steps * log2(t_k)`, between the limits.

    Fitted on training prompts for the highest mean score; see `fit_restart` and `fit_start`.

    Args:
        base, by_steps, by_distance: timesteps; distance is that of the two prompts' embeddings.
    """

    base: float
    by_steps: float
    by_distance: float = 0.0

    def timestep(self, device_steps: int, distance: float = 0.0, lowest: int = 0, highest: int = 999) -> int:
        """The start for t_k steps, at least `lowest`, the effective timestep of what was received.

        >>> RestartRule(base=600.0, by_steps=50.0, by_distance=100.0).timestep(device_steps=4, distance=0.5)
        750
        """
        check_integer("device_steps", device_steps, 1)
        wanted = self.base + self.by_distance * check_number("distance", distance, 0) + self.by_steps * np.log2(device_steps)
        return int(np.clip(round(wanted), lowest, highest))


def at(scores: np.ndarray, levels: Sequence[int], timestep: float) -> np.ndarray:
    """Scores (..., level) at a timestep between levels, linearly; outside them those of the nearest."""
    known = [k for k in range(len(levels)) if np.isfinite(scores[..., k]).any()]
    place = np.interp(timestep, [levels[k] for k in known], np.arange(len(known)))
    low = min(int(place), len(known) - 1)
    high = min(low + 1, len(known) - 1)
    return scores[..., known[low]] * (1 - (place - low)) + scores[..., known[high]] * (place - low)


def with_rule(scores: HandoffScores, rule: RestartRule, what: str) -> np.ndarray:
    """Scores under a rule, (case, seed, kind, t_k, person); `what` is "restart" or "alone"."""
    check_choice("what", what, ("restart", "alone"))
    table, levels = (scores.restart, RESTARTS) if what == "restart" else (scores.alone, STARTS)
    made = np.empty(table.shape[:4] + table.shape[-1:], np.float32)
    fixed = np.moveaxis(table[..., 1:, :], -2, -1)  # (case, seed, kind, t_k, person, level)
    for t, steps in enumerate(DEVICE_STEPS):
        for case in range(len(table)):
            for kind in range(len(KINDS)):
                timestep = rule.timestep(steps, float(scores.distances[case, kind]))
                made[case, :, kind, t] = at(fixed[case, :, kind, t], levels[1:], timestep)  # type: ignore[arg-type]
    return made


def fit(scores: HandoffScores, what: str) -> RestartRule:
    """The rule with the highest mean score on the fitting cases, by search over a lattice; of a lone device without distance."""
    part = HandoffScores(
        scores.cases[0::2], scores.people, *(getattr(scores, name)[0::2] if name != "effective" else scores.effective
        for name in ("distances", "link", "effective", "restart", "alone", "noise")),
    )  # fmt: skip
    part = HandoffScores(part.cases, part.people, part.distances, part.link, part.effective, part.restart[:, :FITTING_SEEDS], part.alone[:, :FITTING_SEEDS], part.noise)
    loss: Callable = lambda x: -float(np.nanmean(with_rule(part, RestartRule(*x), what)))  # noqa: E731
    distances = (0.0, 50.0, 100.0, 200.0, 400.0) if what == "restart" else (0.0,)
    return RestartRule(*min(((b, s, d) for b in range(500, 960, 20) for s in range(-60, 101, 20) for d in distances), key=loss))
