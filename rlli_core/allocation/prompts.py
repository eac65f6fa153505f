"""Which prompts come together, and what a policy sees of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..files import DATA, of_checkout, read_yaml

if TYPE_CHECKING:
    from ..diffusion.split import SplitDiffusion

EMBEDDING = 8  # numbers that a policy sees of a prompt
PAPER_GROUP = ("a tiger in front of a bush", "a dog in front of a bush", "a frog in front of a bush")
MOST_GROUPS = 30


def singles() -> list[list[str]]:
    """Prompts of one object each that are near enough to share steps, at least two together, the largest group first.

    Wherever prompts are held out it is every second of these groups, so that no prompt is on both sides.
    """
    found = read_yaml(of_checkout(DATA / "prompts.yaml"), "groups")["groups"]
    found = [[prompt for prompt in group if " and " not in prompt and " under " not in prompt] for group in found]
    return [group for group in found if len(group) >= 2]


def groups() -> list[tuple[str, ...]]:
    """Who may come together: the paper's prompts, then all of `singles` by threes (at the end by twos), the server's first."""
    return [group for group, _ in _groups()]


def held_out() -> list[bool]:
    """Of each of `groups`, whether no policy is trained on it."""
    return [unseen for _, unseen in _groups()]


def _groups() -> list[tuple[tuple[str, ...], bool]]:
    found: list[tuple[tuple[int, int, int], tuple[str, ...], bool]] = []
    for number, group in enumerate(singles()):
        others = [prompt for prompt in group if prompt not in PAPER_GROUP]
        for start in range(0, len(others), 3):
            part = tuple(others[start : start + 3])
            if len(part) >= 2:
                found.append(((-len(part), start, number), part, number % 2 == 1))
    return [(PAPER_GROUP, False), *((part, unseen) for _, part, unseen in sorted(found))][:MOST_GROUPS]


@torch.no_grad()
def embed(chain: SplitDiffusion, prompts: list[str]) -> np.ndarray:
    """tau(c) of prompts for a policy: the text encoder's pooled output on its main axes over all our prompts, (P, EMBEDDING).

    Each axis has unit variance over the prompts of `data/prompts.yaml`; values are cut off at 3.
    """
    known = [p for group in read_yaml(of_checkout(DATA / "prompts.yaml"), "groups")["groups"] for p in group]
    pipeline: Any = chain.pipeline

    def encode(texts: list[str]) -> np.ndarray:
        tokens = pipeline.tokenizer(
            texts, padding="max_length", truncation=True, max_length=pipeline.tokenizer.model_max_length, return_tensors="pt"
        ).input_ids
        return np.asarray(pipeline.text_encoder(tokens.to(chain.denoiser.device)).pooler_output.float().cpu())

    base = encode(known)
    _, spread, axes = np.linalg.svd(base - base.mean(0), full_matrices=False)
    scale = spread[:EMBEDDING] / np.sqrt(len(known))
    seen: np.ndarray = (encode(prompts) - base.mean(0)) @ axes[:EMBEDDING].T / scale
    return seen.clip(-3, 3).astype(np.float32)
