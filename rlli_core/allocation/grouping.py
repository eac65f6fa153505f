"""Who shares which of the server's steps: a tree of concurrent prompts, pairs, and the book's groups.

A sharing says for each of the t0 steps which prompts walk together, as labels (t0, prompt): those with the same label at a step
have one latent there, which goes towards the prompt in their middle. Who has parted stays apart. All start from one seed's noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from ..diffusion.schedule import handoff_timestep, server_steps
from ..errors import InvalidArgument, check_integer, check_list, check_number, check_seed
from ..files import DATA, of_checkout, read_yaml
from ..qoe.persona import Persona, people
from ..records import Handoff, SplitPlan

if TYPE_CHECKING:
    from ..diffusion.split import SplitDiffusion
    from ..qoe.agent import PersonaAgent


def nobody(count: int, shared_steps: int) -> np.ndarray:
    """Each prompt walks by itself."""
    return np.tile(np.arange(check_integer("count", count, 1)), (check_integer("shared_steps", shared_steps, 1), 1))


def tree(keys: np.ndarray, shared_steps: int, threshold: float) -> np.ndarray:
    """Ward's tree of the prompts, cut ever lower: at `threshold` before the first step, near 0 before the last.

    So a pair that joins at height h shares the first t0 (1 - h / threshold) steps, rounded up.

    Args:
        keys: embeddings, (prompt, dimensions).
        threshold: Ward's distance, 0 or more; at 0 only equal prompts share.
    """
    check_number("threshold", threshold, 0)
    cuts = threshold * (1 - np.arange(check_integer("shared_steps", shared_steps, 1)) / shared_steps)
    if len(keys) < 2:
        return nobody(len(keys), shared_steps)
    merges = linkage(keys, "ward")
    return np.array([fcluster(merges, cut, "distance") for cut in cuts])


def pairs(keys: np.ndarray, shared_steps: int) -> np.ndarray:
    """The nearest two share all steps, then the nearest two of the others, and so on; an odd one is left alone."""
    labels = np.arange(len(keys))
    apart = squareform(pdist(keys)) + np.diag(np.full(len(keys), np.inf))
    for _ in range(len(keys) // 2):
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        labels[j] = labels[i]
        apart[[i, j]] = apart[:, [i, j]] = np.inf
    return np.tile(labels, (check_integer("shared_steps", shared_steps, 1), 1))


def book_groups(prompts: Sequence[str], shared_steps: int) -> np.ndarray:
    """Prompts of one group of `data/prompts.yaml` share all steps; unknown ones walk by themselves."""
    groups = read_yaml(of_checkout(DATA / "prompts.yaml"), "groups")["groups"]
    group = {prompt: number for number, members in enumerate(groups) for prompt in members}
    labels = [group.get(prompt, len(groups) + i) for i, prompt in enumerate(prompts)]
    return np.tile(labels, (check_integer("shared_steps", shared_steps, 1), 1))


def steps_saved(sharing: np.ndarray) -> float:
    """Share of the server's steps that are saved against everyone walking by himself, in [0, 1)."""
    return 1 - sum(len(np.unique(labels)) for labels in sharing) / sharing.size


def walk(
    chain: SplitDiffusion, prompts: Sequence[str], keys: np.ndarray, sharing: np.ndarray, device_steps: int, seed: int
) -> list[Handoff]:
    """Walk the server's steps of a sharing and return each prompt's hand-off.

    Args:
        keys: embeddings, (prompt, dimensions).
        sharing: labels (t0, prompt).
        device_steps: t_k of all.

    Raises:
        InvalidArgument: shapes that do not fit, or prompts that meet again after they parted.
    """
    prompts, seed, sharing = check_list("prompts", prompts), check_seed("seed", seed), np.asarray(sharing)
    if sharing.ndim != 2 or sharing.shape[1] != len(prompts) or len(keys) != len(prompts):
        raise InvalidArgument("sharing", sharing.shape, f"of shape (t0, {len(prompts)}), and as many keys")
    for before, after in zip(sharing, sharing[1:]):
        if len({*zip(before, after)}) > len({*after}):
            raise InvalidArgument("sharing", (before.tolist(), after.tolist()), "such that who has parted stays apart")
    plan = SplitPlan(len(sharing), device_steps)
    steps = server_steps(chain.scheduler, plan)
    with chain.denoiser.computing():
        latents = [chain.denoiser.noise([seed])] * len(prompts)
        for step, labels in zip(steps, sharing):
            groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
            middles = [g[np.linalg.norm(keys[g] - keys[g].mean(0), axis=1).argmin()] for g in groups]
            inputs = torch.cat([latents[g[0]] for g in groups])
            outputs = chain.denoiser.advance(inputs, [prompts[m] for m in middles], step, chain.guidance_scale)
            for group, latent in zip(groups, outputs.split(1)):
                for i in group:
                    latents[i] = latent
    timestep = handoff_timestep(chain.scheduler, plan)
    return [Handoff(z.float().cpu(), plan, timestep, prompt, seed) for z, prompt in zip(latents, prompts)]


def compare(
    chain: SplitDiffusion,
    agent: PersonaAgent,
    prompts: Sequence[str],
    keys: np.ndarray,
    sharings: Mapping[str, np.ndarray],
    device_steps: int,
    seeds: Sequence[int],
    restart: int,
    start: int,
) -> pd.DataFrame:
    """Scores of everyone under each sharing: going on as in the paper, with a restart, and the device alone beside them.

    Args:
        sharings: labels (t0, prompt) by name.
        restart, start: timesteps: of the restart, and of the device alone.

    Returns:
        One row a sharing, way ("as in the paper", "restart"), seed, prompt and person, with score and saved, the share of the
        server's steps; for the sharing "device alone" the way is "late start" and saved is 1.
    """
    asked, rows = {name: Persona.named(name) for name in people()}, []
    for seed in seeds:
        made: dict[tuple[str, str], tuple[float, list]] = {}
        for name, sharing in sharings.items():
            sent = walk(chain, prompts, keys, sharing, device_steps, seed)
            level = None if restart < sent[0].timestep else restart
            for way, one in (("as in the paper", None), ("restart", level)):
                images = chain.device_denoises(sent, prompts, batch_size=32, restarts=[one] * len(sent))
                made[name, way] = steps_saved(sharing), list(images)
        lone = chain.generates(prompts, device_steps, [seed] * len(prompts), batch_size=32, start=start)
        made["device alone", "late start"] = 1.0, list(lone)
        for (name, way), (saved, images) in made.items():
            for person, persona in asked.items():
                scores = agent.scores(images, persona, list(prompts))
                rows += [(name, way, saved, seed, p, person, s.value) for p, s in zip(prompts, scores)]
    return pd.DataFrame(rows, columns=["sharing", "way", "saved", "seed", "prompt", "person", "score"])
