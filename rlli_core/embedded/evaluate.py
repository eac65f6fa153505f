"""Measure the embedded models: reconstruction, the judge's accuracy, generated objects and scenes, speed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from tqdm.auto import tqdm

from ..channel import Link
from ..compute import time_calls
from ..qoe.fidelity import psnr, ssim
from ..qoe.judge import Judge
from ..qoe.persona import Persona
from . import scenes, tastes
from .pictures import split_pictures
from .training import to_tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny, StableDiffusionPipeline

    from ..diffusion.split import SplitDiffusion
    from ..qoe.agent import PersonaAgent

HELD_OUT_SEED = 10_000  # no training set uses it


@torch.no_grad()
def reconstruction(autoencoder: AutoencoderTiny, count: int = 500) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM of decoded encodings of scenes that no model was trained on."""
    values = []
    for start in tqdm(range(0, count, 20), desc="reconstruction"):
        images = [scenes.scene(HELD_OUT_SEED, i, "all").image for i in range(start, min(start + 20, count))]
        decoded = autoencoder(to_tensor(np.stack([np.asarray(i) for i in images]))).sample
        values += [(psnr(a, b), ssim(a, b)) for a, b in zip(to_images(decoded), images)]
    return {"psnr_db": float(np.mean([v[0] for v in values])), "ssim": float(np.mean([v[1] for v in values]))}


def to_images(pixels: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1] -> RGB pictures."""
    array = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(a) for a in array]


def judge_accuracy(judge: Judge, count: int = 2000) -> dict[str, float]:
    """Share of held-out renders whose object (one of those shown) and scene the judge names."""
    objects = places = 0
    for start in tqdm(range(0, count, 100), desc="judge on renders"):
        drawn = [scenes.scene(HELD_OUT_SEED, i, "all") for i in range(start, start + 100)]
        for verdict, truth in zip(judge.verdicts([d.image for d in drawn]), drawn):
            objects += verdict.object in (truth.object, truth.second)
            places += verdict.place == truth.place
    return {"object": objects / count, "scene": places / count}


def pairs(held_out: bool) -> list[tuple[str, str]]:
    """All object-scene pairs that training left out, or all that it had."""
    return [(n, p) for n in scenes.NAMES for p in scenes.PLACES if scenes.held_out(n, p) == held_out]


def generated_accuracy(
    pipeline: StableDiffusionPipeline, judge: Judge, *, steps: int, count: int, held_out: bool, guidance: float, batch=20
) -> dict[str, float]:
    """Share of generated images on which the judge names the prompt's object, and its scene.

    Prompts go through the pairs in turn, in the plain wording "a tiger in front of a bush"; image i has seed i.
    """
    todo = pairs(held_out)
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(todo))
    wanted = [todo[order[i % len(todo)]] for i in range(count)]
    objects = places = 0
    for start in tqdm(range(0, count, batch), desc=f"generating, {steps} steps, {'held-out' if held_out else 'seen'} pairs"):
        part = wanted[start : start + batch]
        images = generate(pipeline, [prompt(n, p) for n, p in part], range(start, start + len(part)), steps, guidance)
        for verdict, (name, place) in zip(judge.verdicts(images), part):
            objects += verdict.object == name
            places += verdict.place == place
    return {"object": objects / count, "scene": places / count, "images": count}


def prompt(name: str, place: str) -> str:
    """The plainest wording of an object at a place."""
    return f"{scenes.article(name)} {scenes.SCENES[place][0]}"


def generate(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
) -> list[Image.Image]:
    """One image a prompt, each from its own seed."""
    pipeline.set_progress_bar_config(disable=True)
    noise = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    return pipeline(list(prompts), num_inference_steps=steps, guidance_scale=guidance, generator=noise).images


def speed(pipeline: StableDiffusionPipeline, guidance: float, repeats: int = 5) -> dict[str, float]:
    """Median seconds for one 10-step image and for a batch of 8, with guidance, after a warm-up; in both precisions."""
    out = {"threads": torch.get_num_threads()}
    for precision in ("fp32", "bf16"):
        for count in (1, 8):
            draw = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")(generate)
            prompts = ["a tiger in front of a bush"] * count
            seconds = time_calls(partial(draw, pipeline, prompts, range(count), 10, guidance), repeats)
            out[f"seconds_batch_{count}_{precision}"] = statistics.median(seconds)
    return out


def agreement(
    agent: PersonaAgent, judge: Judge, chain: SplitDiffusion, images: int = 400, personas: int = 40
) -> dict[str, float]:
    """The agent against the trait model, on pictures and people that it was not taught with.

    Half the pictures are rendered scenes, half come from the split chain, each rated against its own prompt by every
    person. "interaction" is what is left of a table of ratings when the means of its rows and columns are taken out.
    """
    rng = np.random.default_rng(HELD_OUT_SEED)
    drawn = [scenes.scene(HELD_OUT_SEED, i, "all") for i in range(images // 2)]
    made, asked, _ = split_pictures(1, images // 2)
    shown = [d.image for d in drawn] + [Image.fromarray(array) for array in made]
    prompts = [d.caption for d in drawn] + [prompt(*one.device) for one in asked]
    people = [Persona.of(traits) for traits in rng.random((personas, 5))]
    taught = tastes.ratings(shown, prompts, people, judge)
    given = np.array(
        [[s.value for s in agent.scores(shown, person, prompts)] for person in tqdm(people, desc="rating", mininterval=10)]
    ).T
    return {
        "ratings": given.size,
        "spearman": float(spearmanr(taught.ravel(), given.ravel()).statistic),
        "interaction": _correlation(taught, given),
        "interaction_renders": _correlation(taught[: len(drawn)], given[: len(drawn)]),
        "interaction_split": _correlation(taught[len(drawn) :], given[len(drawn) :]),
        "mean_error": float(np.abs(taught - given).mean()),
    } | bit_errors(agent, chain, people)


def interaction(ratings: np.ndarray) -> np.ndarray:
    """A table (images, people) without the means of its rows and columns."""
    return ratings - ratings.mean(0) - ratings.mean(1, keepdims=True) + ratings.mean()


def _correlation(taught: np.ndarray, given: np.ndarray) -> float:
    return float(np.corrcoef(interaction(taught).ravel(), interaction(given).ravel())[0, 1])


def bit_errors(agent: PersonaAgent, chain: SplitDiffusion, people: Sequence[Persona], prompts: int = 24) -> dict[str, float]:
    """How each person's mean score of pictures of 4 + 6 steps falls from no bit errors to 15 %."""
    rng, levels = np.random.default_rng(HELD_OUT_SEED), (0.0, 0.03, 0.06, 0.1, 0.15)
    pairs_ = [(scenes.NAMES[i], scenes.PLACES[rng.integers(len(scenes.PLACES))]) for i in rng.permutation(len(scenes.NAMES))]
    rows = []
    for seed, pair in enumerate(pairs_[:prompts]):
        text = prompt(*pair)
        result = chain.sweep(text, [text], [4], [6], list(levels), [HELD_OUT_SEED + seed], Link(), progress=False)
        images = [record.image for record in result.records]
        rows.append([[score.value for score in agent.scores(images, person, text)] for person in people])
    means = np.mean(rows, 0)  # (people, levels)
    return {
        "bep_least_drop": float((means[:, 0] - means[:, -1]).min()),
        "bep_mean_drop": float((means[:, 0] - means[:, -1]).mean()),
        "bep_share_monotone": float((np.diff(means) < 0).all(1).mean()),
    }


def descriptions(agent: PersonaAgent, count: int = 500) -> dict[str, float]:
    """Share of held-out renders, and of good pictures of the chain, whose object and scene the agent names."""
    drawn = [scenes.scene(HELD_OUT_SEED, i, "all") for i in range(count)]
    made, asked, how = split_pictures(1, 800)
    good = [
        i for i, (a, h) in enumerate(zip(asked, how)) if a.server == a.device and h["bep"] is None and h["t0"] + h["t_k"] > 5
    ]
    told = agent.descriptions([d.image for d in drawn] + [Image.fromarray(made[i]) for i in good])
    truth = [({d.object, d.second}, d.place) for d in drawn] + [({asked[i].device[0]}, asked[i].device[1]) for i in good]
    seen = [tastes.asked_for(text) for text in told]
    right = np.array([(not names.isdisjoint(named[:1]), place == where) for (named, place), (names, where) in zip(seen, truth)])
    return {
        "object_renders": right[:count, 0].mean(), "scene_renders": right[:count, 1].mean(),
        "object_split": right[count:, 0].mean(), "scene_split": right[count:, 1].mean(), "images_split": len(good),
    }  # fmt: skip


def rating_speed(agent: PersonaAgent, repeats: int = 5) -> float:
    """Median milliseconds a rating in batches of 16 on one core, after a warm-up."""
    images = [scenes.scene(HELD_OUT_SEED, i, "all").image for i in range(16)]
    rate = partial(agent.scores, images, Persona.named("GA1"), "a tiger in front of a bush")
    return 1e3 * statistics.median(time_calls(rate, repeats, threads=1)) / len(images)
