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
HELD_OUT = ("a tiger at night", "a crocodile in the street")  # server prompts of groups that no policy is trained on


def groups() -> list[tuple[str, ...]]:
    """Groups of three prompts, the server's first: the paper's tiger and dog, and the first three of our larger groups."""
    found: list[tuple[str, ...]] = [PAPER_GROUP]
    for group in read_yaml(of_checkout(DATA / "prompts.yaml"), "groups")["groups"]:
        single = [prompt for prompt in group if " and " not in prompt and " under " not in prompt]
        if len(single) >= 3 and single[0] != PAPER_GROUP[0]:
            found.append(tuple(single[:3]))
    return found


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
