"""Measure the embedded models: reconstruction, the judge's accuracy, generated objects and scenes, speed."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from ..paths import DATA
from ..qoe.fidelity import psnr, ssim
from . import scenes
from .judge import Judge
from .training import to_tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny, StableDiffusionPipeline

HELD_OUT_SEED = 10_000  # no training set uses it
RESULTS = DATA / "results" / "embedded.json"


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
    """Median seconds for one 10-step image and for a batch of 8, with guidance, after one warm-up; in both precisions."""
    out = {"threads": torch.get_num_threads()}
    for precision in ("fp32", "bf16"):
        for count in (1, 8):
            prompts, times = ["a tiger in front of a bush"] * count, []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    generate(pipeline, prompts, range(count), 10, guidance)
                times.append(time.perf_counter() - start)
            out[f"seconds_batch_{count}_{precision}"] = statistics.median(times[1:])
    return out


def read_results() -> dict:
    """The committed measurements of the shipped models."""
    return json.loads(RESULTS.read_text())


def targets_table() -> pd.DataFrame:
    """The shipped models against the targets they were built for."""
    found = read_results()
    rows = [
        ("autoencoder: PSNR on held-out renders (dB)", 26, found["reconstruction"]["psnr_db"], "least"),
        ("autoencoder: SSIM on held-out renders", 0.88, found["reconstruction"]["ssim"], "least"),
        ("judge: object right on held-out renders", 0.97, found["judge"]["object"], "least"),
        ("judge: scene right on held-out renders", 0.99, found["judge"]["scene"], "least"),
        ("10 steps: object right", 0.85, found["steps_10"]["object"], "least"),
        ("10 steps: scene right", 0.95, found["steps_10"]["scene"], "least"),
        ("10 steps, pairs never trained on: object right", 0.65, found["steps_10_held_out_pairs"]["object"], "least"),
        ("25 steps: object right", found["steps_10"]["object"], found["steps_25"]["object"], "least"),
        *(
            (f"seconds for {what}, {precision}", target, found["speed"][f"seconds_batch_{count}_{precision}"], "most")
            for precision in ("fp32", "bf16")
            for count, what, target in ((1, "one 10-step image", 0.4), (8, "a batch of 8", 1.6))
        ),
    ]
    table = pd.DataFrame(rows, columns=["measure", "target", "measured", "bound"]).set_index("measure")
    met = np.where(table.bound == "least", table.measured >= table.target, table.measured <= table.target)
    table["target"] = [f"at {bound} {target:.3g}" for bound, target in zip(table.bound, table.target)]
    return table.drop(columns="bound").assign(measured=table.measured.map("{:.3g}".format), met=np.where(met, "yes", "no"))
