"""What a cached latent is worth to somebody who wants something else, and the rules that say when to use it and from where.

A pair is a prompt that was cached and one that is wanted. Its scores are measured on the model itself at several depths of the
cached chain, own steps and restarts, with the device alone beside it (`measure`). Half of the pairs fit the rules of `hit_rules`, and
no prompt of them is among the other half, on which all that is claimed is measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..compute import content_hash
from ..diffusion.schedule import handoff_timestep
from ..embedded.scenes import SCENES
from ..errors import check_integer, check_list
from ..files import WORK, read_arrays, whole
from ..qoe.persona import Persona, people
from ..records import Handoff, SplitPlan
from .prompts import embed, singles

if TYPE_CHECKING:
    from ..diffusion.split import SplitDiffusion
    from ..qoe.agent import PersonaAgent
    from ..qoe.judge import Judge

GRID = 10  # steps of the chain that is cached; a depth of all of them is the finished picture
KINDS = 4  # of wanted prompts a cached one: the same, the nearest, one at a third of the ranks, and the farthest
Start = tuple[int, int | None]
"""Depth of a cached latent, and the timestep to restart from, or None for where it stopped."""


def known_prompts(half: int | None = None) -> list[str]:
    """Prompts of one object of `data/prompts.yaml`; with a half, 0 or 1, those of every second group."""
    groups = singles()
    return [prompt for group in (groups if half is None else groups[half::2]) for prompt in group]


def passed(chain: SplitDiffusion, prompt: str, depths: Sequence[int], seed: int) -> dict[int, Handoff]:
    """The latents that the chain of `GRID` steps towards a prompt passes, by depth, without the prompt."""
    path, found = chain.path(prompt, GRID, seed), {}
    for depth in depths:
        plan = SplitPlan(depth, GRID - depth)
        found[depth] = Handoff(path[depth][None], plan, handoff_timestep(chain.scheduler, plan), "", seed)
    return found


def choose_pairs(chain: SplitDiffusion, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs (cached, wanted) of prompts of one object: `KINDS` for each of `count` cached ones to fit on, then as many held out.

    Every second group of `data/prompts.yaml` is held out, so that no prompt is on both sides.
    """
    rng, found = np.random.default_rng(seed), []
    for known in map(known_prompts, (0, 1)):
        keys = embed(chain, known)
        for i in rng.choice(len(known), check_integer("count", count, 1, len(known)), replace=False):
            ranked = np.argsort(np.linalg.norm(keys - keys[i], axis=1), kind="stable")
            found += [(known[i], known[ranked[at]]) for at in (0, 1, len(known) // 3, -1)]
    return found


def text_key(judge: Judge, prompt: str) -> np.ndarray:
    """What a prompt names, as a unit vector over what the judge can see: the text's side of MoDM's text-image similarity."""
    words = f" {prompt} "
    named = [f" {name} " in words for name in judge.objects] + [
        any(said in prompt for said in SCENES[place]) for place in judge.places
    ]
    return np.array(named, np.float32) / np.sqrt(max(1, sum(named)))


def picture_keys(judge: Judge, images: Sequence) -> np.ndarray:
    """What the judge sees in pictures, unit vectors in the space of `text_key`, (B, labels)."""
    seen = np.array([[*v.objects.values(), *v.places.values()] for v in judge.verdicts(images)], np.float32)
    return seen / np.linalg.norm(seen, axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class HitScores:
    """Agents' scores in [0, 1], means over the book's people; NaN where a start is none.

    Attributes:
        pairs: (cached, wanted), the fitting half first.
        distances: of the two texts' embeddings, (pair,); 0 for the same prompt.
        unlikeness: of the wanted text and the cached picture, the distance of their keys in [0, sqrt 2], (pair, seed).
        depths: steps of the cached chain of `GRID`.
        stops: timestep at each depth.
        device_steps: t_k.
        restarts: timesteps; -1 for where the latent stopped.
        starts: timesteps at which a device alone starts; -1 for its model's own grid.
        shared: (pair, seed, depth, t_k, restart).
        alone: of the wanted prompt, (pair, seed, t_k, start).
    """

    pairs: tuple[tuple[str, str], ...]
    distances: np.ndarray
    unlikeness: np.ndarray
    depths: np.ndarray
    stops: np.ndarray
    device_steps: np.ndarray
    restarts: np.ndarray
    starts: np.ndarray
    shared: np.ndarray
    alone: np.ndarray

    @classmethod
    def load(cls, path: Path) -> HitScores:
        """Read what `save` wrote.

        Raises:
            UnusableFile: it is missing or damaged.
        """
        content = read_arrays(path, *(field.name for field in fields(cls)))
        return cls(tuple(map(tuple, content.pop("pairs").tolist())), **content)

    def save(self, path: Path) -> None:
        """Write an npz file, whole or not at all."""
        with whole(path) as place, place.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    def half(self, held_out: bool) -> HitScores:
        """The pairs that rules may be fitted on, or those held out."""
        middle = len(self.pairs) // 2
        return self.some(range(middle, len(self.pairs)) if held_out else range(middle))

    def some(self, numbers: Sequence[int]) -> HitScores:
        """The pairs of these numbers."""
        arrays = {name: getattr(self, name)[list(numbers)] for name in ("distances", "unlikeness", "shared", "alone")}
        return replace(self, pairs=tuple(self.pairs[i] for i in numbers), **arrays)

    @cached_property
    def options(self) -> dict[Start, int]:
        """Timestep of each start that there is; first the deepest latent where it stopped."""
        restarts = [None if level < 0 else int(level) for level in self.restarts]
        every = product(zip(self.depths.tolist(), self.stops.tolist()), restarts)
        found = {
            (depth, restart): stop if restart is None else restart
            for (depth, stop), restart in every
            if (stop >= 0 if restart is None else restart >= stop)
        }
        return dict(sorted(found.items(), key=lambda one: (one[0][1] is not None, -one[0][0])))

    def at(self, start: Start) -> np.ndarray:
        """Scores (pair, seed, t_k) of one start."""
        depth, restart = start
        level = -1 if restart is None else restart
        return self.shared[:, :, self.depths.tolist().index(depth), :, self.restarts.tolist().index(level)]


def measure(
    chain: SplitDiffusion,
    agent: PersonaAgent,
    judge: Judge,
    pairs: Sequence[tuple[str, str]],
    depths: Sequence[int] = (2, 5, 8, GRID),
    device_steps: Sequence[int] = (1, 2, 3, 4, 8),
    restarts: Sequence[int] = (700, 800, 870, 930),
    seeds: int = 1,
    folder: Path | None = WORK / "hits",
    batch_size: int = 32,
) -> HitScores:
    """Measure what cached latents are worth to other prompts; about a fifth of a second a picture on a CPU.

    Args:
        pairs: as `choose_pairs` gives them.
        depths: of the cached chain, 1 to `GRID`.
        restarts: timesteps at which to restart, and to start alone, beside where the latent stopped and the model's own grid.
        seeds: number of seeds, counted from 0.
        folder: where results of the same models and arguments are kept and found again; None keeps none.

    Raises:
        InvalidArgument: as the single calls.
    """
    for depth in check_list("depths", depths):
        check_integer("depths[...]", depth, 1, GRID)
    check_integer("seeds", seeds, 1)
    path = None
    if folder is not None:
        pipeline = chain.pipeline
        asked = [list(map(list, pairs)), list(depths), list(device_steps), list(restarts), seeds, chain.guidance_scale]
        models = [content_hash(pipeline.text_encoder, pipeline.unet, pipeline.vae), content_hash(agent.model, judge.model)]
        path = folder / f"{hashlib.sha256(json.dumps([asked, models]).encode()).hexdigest()[:24]}.npz"
        if path.is_file():
            return HitScores.load(path)
    stops = {depth: handoff_timestep(chain.scheduler, SplitPlan(depth, GRID - depth)) for depth in depths}
    keys = embed(chain, [prompt for pair in pairs for prompt in pair]).reshape(len(pairs), 2, -1)
    asked_people = [Persona.named(name) for name in people()]

    def scored(some: list[tuple[Handoff, int, int | None]], prompt: str) -> np.ndarray:
        images: Any = chain.device_denoises(
            [handoff for handoff, _, _ in some], [prompt] * len(some),
            [SplitPlan(handoff.plan.shared_steps, steps) for handoff, steps, _ in some],
            batch_size=batch_size, restarts=[restart for _, _, restart in some],
        )  # fmt: skip
        scores = agent.scores(images * len(asked_people), [p for p in asked_people for _ in images], prompt)
        return np.reshape([score.value for score in scores], (len(asked_people), -1)).mean(0)

    levels = [None, *restarts]
    shared = np.full((len(pairs), seeds, len(depths), len(device_steps), len(levels)), np.nan)
    alone = np.full((len(pairs), seeds, len(device_steps), len(levels)), np.nan)
    unlikeness = np.full((len(pairs), seeds), np.nan)
    for seed in range(seeds):
        cache = {cached: passed(chain, cached, [*depths, GRID], seed) for cached in dict(pairs)}
        pictures = picture_keys(judge, chain.decode(torch.cat([kept[GRID].latent for kept in cache.values()])))
        seen = dict(zip(cache, pictures))
        for i, (cached, wanted) in enumerate(pairs):
            unlikeness[i, seed] = np.linalg.norm(seen[cached] - text_key(judge, wanted))
            cells = [
                (d, t, r)
                for (d, depth), t, (r, level) in product(enumerate(depths), range(len(device_steps)), enumerate(levels))
                if (stops[depth] >= 0 if level is None else level >= stops[depth])
            ]
            found = scored([(cache[cached][depths[d]], device_steps[t], levels[r]) for d, t, r in cells], wanted)
            shared[i, seed][tuple(zip(*cells))] = found
            own = [chain.server_denoise(wanted, SplitPlan(0, steps), seed) for steps in device_steps]
            lone = list(product(range(len(device_steps)), range(len(levels))))
            alone[i, seed][tuple(zip(*lone))] = scored([(own[t], device_steps[t], levels[r]) for t, r in lone], wanted)
    result = HitScores(
        tuple((one, other) for one, other in pairs), np.linalg.norm(keys[:, 1] - keys[:, 0], axis=1), unlikeness, np.array(depths),
        np.array([*stops.values()]), np.array(device_steps), np.array([-1, *restarts]), np.array([-1, *restarts]), shared, alone,
    )  # fmt: skip
    if path is not None:
        result.save(path)
    return result
