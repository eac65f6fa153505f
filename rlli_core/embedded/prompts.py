"""Prompts that users of one edge server may ask for, and which of them are alike enough to share steps.

In Sec. V-A of the paper the agents name 50 objectives and combine them into prompts. Ours are the 50 objects that the
embedded generator can draw, each at three of its places and, where it is alive, under a tree or beside another object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ..diffusion.semantics import endpoint_distance
from ..diffusion.split import SplitDiffusion
from ..files import DATA, of_checkout, read_yaml, write_text
from . import scenes

SIMILAR = ("an apple on a table", "a lemon on a table")
"""The paper's pair of similar prompts (Fig. 2): prompts of a group are no farther apart than these two."""
STEPS = 10


def combine(seed: int = 0) -> list[str]:
    """Prompts of one or two objects and a place; pairs that no model was trained on are left out."""
    rng = np.random.default_rng(seed)
    made = []
    for name in scenes.NAMES:
        places = [place for place in scenes.PLACES if not scenes.held_out(name, place)]
        chosen = rng.choice(places, 3, replace=False)
        made += [f"{scenes.article(name)} {scenes.SCENES[place][0]}" for place in chosen]
        if name in scenes.LIVING:
            relation = rng.choice(["under a tree", "and " + scenes.article(str(rng.choice(scenes.NAMES[18:28])))])
            made.append(f"{scenes.article(name)} {relation} {scenes.SCENES[chosen[0]][0]}")
    return list(dict.fromkeys([*SIMILAR, "a tiger in front of a bush", "a dog in front of a bush", *made]))


def distances(chain: SplitDiffusion, prompts: list[str], seeds: int) -> np.ndarray:
    """Semantic distance (14) of every two prompts, (P, P): the mean over seeds of the distance of their endpoints."""
    ends = [chain.generates(prompts, STEPS, [seed] * len(prompts), output_type="latent") for seed in range(seeds)]
    count = len(prompts)
    table = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            table[i, j] = table[j, i] = np.mean([endpoint_distance(end[i, None], end[j, None]) for end in ends])
    return table


def cluster(prompts: list[str], table: np.ndarray, limit: float | None = None) -> list[list[str]]:
    """Split prompts into groups in which every two are no farther apart than `limit`, the largest group first.

    Without a limit it is the distance of `SIMILAR`, which must then be among the prompts.
    """
    limit = table[prompts.index(SIMILAR[0]), prompts.index(SIMILAR[1])] if limit is None else limit
    labels = fcluster(linkage(squareform(table), "complete"), limit, "distance")
    found = [[p for p, label in zip(prompts, labels) if label == group] for group in np.unique(labels)]
    return sorted(found, key=lambda group: (-len(group), group))


def similar_distance() -> float:
    """The limit of the shipped groups, from `data/prompts.yaml`."""
    return read_yaml(of_checkout(DATA / "prompts.yaml"), "similar_distance")["similar_distance"]


def write(path: Path, chain: SplitDiffusion, seeds: int) -> None:
    """Write objects, prompts and groups as YAML."""
    made = combine()
    table = distances(chain, made, seeds)
    text = yaml.safe_dump(
        {
            "similar_distance": round(float(table[0, 1]), 1),
            "objects": list(scenes.NAMES),
            "groups": cluster(made, table),
        },
        sort_keys=False, width=120,
    )  # fmt: skip
    head = "# Written by `python -m rlli_core.embedded prompts`: what users may ask for, and which prompts can share steps.\n"
    write_text(path, head + text)
    print(path.read_text(encoding="utf-8"))
