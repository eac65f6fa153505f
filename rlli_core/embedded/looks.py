"""How good the generator's pictures are, beyond what a classifier says of them: against renders it was never trained on.

The yardstick of each number is the same number between two sets of renders, and for what the decoder softens, of renders
that went through the autoencoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image, ImageDraw
from scipy.stats import binomtest
from tqdm.auto import tqdm
from transformers import ResNetConfig, ResNetForImageClassification

from ..compute import choose_device
from ..diffusion.split import SplitDiffusion
from ..qoe.agent import PersonaAgent
from ..qoe.fidelity import psnr
from ..qoe.judge import Judge
from ..qoe.persona import Persona, people
from . import scenes, tastes
from .evaluate import HELD_OUT_SEED, to_images
from .training import mixed, to_tensor

Images = Sequence[Image.Image]
OTHER_SEED = HELD_OUT_SEED + 1  # of a second set of renders
STEPS = (1, 2, 3, 4, 6, 8, 10, 16, 25, 50)
STARTS = (700, 800, 870, 930)
LONGEST = 100
BATCH = 25
ALSO = {  # what else somebody may call it who knows no list of names
    "dog": ("puppy", "labrador"), "cat": ("kitten",), "rabbit": ("bunny", "hare"), "pig": ("piglet",), "duck": ("mallard",),
    "turtle": ("tortoise",), "crocodile": ("alligator",), "pigeon": ("dove", "bird"), "dinosaur": ("t-rex", "tyrannosaur"),
    "hamburger": ("burger", "cheeseburger"), "man": ("person", "waiter", "groom"), "teddy bear": ("teddy", "bear"),
    "cactus": ("cacti",), "car": ("automobile",), "bicycle": ("bike",), "rocket": ("spaceship",), "sailboat": ("boat", "ship"),
    "ball": ("football",), "teapot": ("kettle",), "gift": ("present",), "crown": ("tiara",),
}  # fmt: skip


def against_renders(
    chain: SplitDiffusion, judge: Judge, world: str, steps: Sequence[int] = (10, 25), count: int = 2000
) -> dict:
    """Everything of one generator: Fréchet distance, precision and recall, two-sample test, sharpness, box PSNR.

    Pictures are generated from the captions of held-out renders of `world`, picture i from seed i.

    Returns:
        images, and by set ("renders": a second set of renders, "autoencoded": those through the autoencoder, "steps_10", ...), each measure
        against "autoencoded" renders for judge features and pixels, and against renders for the rest.
    """
    drawn = [scenes.scene(HELD_OUT_SEED, i, "all", world) for i in range(count)]
    others = [scenes.scene(OTHER_SEED, i, "all", world) for i in range(count)]
    soft, other_soft = (autoencode(chain.pipeline.vae, [d.image for d in some]) for some in (drawn, others))
    sets: dict[str, Images] = {"renders": [d.image for d in others], "autoencoded": other_soft}
    for number in tqdm(steps, "drawing"):
        sets[f"steps_{number}"] = chain.generates([d.caption for d in drawn], number, range(count), batch_size=BATCH)
    seen, small = judge.features(soft).numpy(), pixels(soft)
    found: dict[str, Any] = {"images": count}
    for name, images in sets.items():
        these = judge.features(images).numpy()
        owners = others if name in ("renders", "autoencoded") else drawn
        precision, recall = precision_recall(seen, these)
        found[name] = {
            "frechet": frechet(seen, these),
            "frechet_pixels": frechet(small, pixels(images)),
            "precision": precision,
            "recall": recall,
            "sharpness": float(np.mean([tastes.sharpness(image) for image in images])),
            "box_psnr_db": box_psnr(images, owners, others if owners is drawn else drawn),
        }
        if name != "renders":
            found[name] |= two_sample(soft, images)
    return found


@torch.no_grad()
def autoencode(autoencoder: AutoencoderTiny, images: Images) -> Images:
    """Encode and decode."""
    some = (np.stack([np.asarray(image) for image in images[i : i + 50]]) for i in range(0, len(images), 50))
    return [image for part in some for image in to_images(autoencoder(to_tensor(part).to(autoencoder.device)).sample.cpu())]


def pixels(images: Images, side: int = 32) -> np.ndarray:
    """Pictures made small, as rows of numbers in [0, 1], (N, 3 side^2)."""
    return np.stack([np.asarray(image.resize((side, side), Image.BOX), np.float32).ravel() / 255 for image in images])


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of two Gaussians with the moments of (N, F) and (M, F), as FID has it (arXiv 1706.08500).

    The trace of the root of the product of covariances is the sum of the singular values of the product of their factors,
    which needs no root of a matrix and holds for fewer rows than features too.
    """
    means, factors = zip(*(moments(rows) for rows in (first, second)))
    crossed = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(np.square(means[0] - means[1]).sum() + sum(np.square(f).sum() for f in factors) - 2 * crossed)


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F,) and a factor R with R^T R the covariance (F, F)."""
    rows = np.asarray(rows, float)
    return rows.mean(0), np.linalg.qr((rows - rows.mean(0)) / np.sqrt(len(rows) - 1), mode="r")


def precision_recall(real: np.ndarray, made: np.ndarray, neighbours: int = 3) -> tuple[float, float]:
    """Share of made rows within the neighbourhoods of real ones, and the other way round (arXiv 1904.06991).

    A row's neighbourhood reaches to its k-th nearest of the same set.
    """
    one, two = torch.from_numpy(np.asarray(real, np.float32)), torch.from_numpy(np.asarray(made, np.float32))
    between = torch.cdist(one, two)
    reach, back = (torch.cdist(x, x).kthvalue(neighbours + 1).values for x in (one, two))  # the nearest is itself
    return float((between <= reach[:, None]).any(0).float().mean()), float((between <= back).any(1).float().mean())


def box_psnr(images: Images, shown: Sequence[scenes.Scene], renders: Sequence[scenes.Scene]) -> float:
    """Mean PSNR (dB) inside the box of an object that is alone, against the most alike render of the same object and style."""
    values = []
    for image, scene in zip(images, shown):
        if scene.relation == "alone":
            alike = [r for r in renders if (r.relation, r.object, r.style) == ("alone", scene.object, scene.style)]
            same = [psnr(image.crop(box), r.image.crop(box)) for r in alike for box in r.boxes]
            values += [max(same)] if same else []
    return float(np.mean(values))


def two_sample(real: Images, made: Images, epochs: int = 6, batch: int = 64, seed: int = 0) -> dict[str, float | list[float]]:
    """Accuracy, with its 95 % interval, of a small network that learns to tell made pictures from real ones; .5 is chance.

    Pictures i of both sets are on the same side, so that where they show the same caption it is not learnt from and asked for:
    three quarters to learn from, the rest held out.
    """
    torch.manual_seed(seed)
    config = ResNetConfig(embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", num_labels=2)
    device = choose_device("auto")
    model = ResNetForImageClassification(config).to(device, memory_format=torch.channels_last)
    images = np.stack([np.asarray(image) for pair in zip(real, made) for image in pair])
    labels, cut = torch.arange(len(images)) % 2, len(images) * 3 // 8 * 2
    steps = epochs * cut // batch
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps + 1)
    rng = np.random.default_rng(seed)
    for _ in tqdm(range(steps), "telling apart", mininterval=10):
        picks = rng.integers(0, cut, batch)
        with mixed():
            logits = model(to_tensor(images[picks]).to(device)).logits.float().cpu()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels[picks]).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        parts = (to_tensor(images[i : i + 100]).to(device) for i in range(cut, len(images), 100))
        told = torch.cat([model(part).logits.argmax(1).cpu() for part in parts])
    right = binomtest(int((told == labels[cut:]).sum()), len(told))
    low, high = right.proportion_ci()
    return {"two_sample": right.statistic, "two_sample_interval": [float(low), float(high)]}


def step_curve(chain: SplitDiffusion, judge: Judge, agent: PersonaAgent, world: str, count: int = 400) -> dict:
    """What each number of steps brings, on the model's own grid and from the best start, and from it n*.

    The start is chosen on every second picture and measured on the others; so is the own grid.

    Returns:
        images, steps; for "grid" and "start": frechet (judge features, to autoencoded renders), score (mean of the shipped people);
        for "grid" also latent_error (RMS to the chain of 100 steps); starts chosen; n_star of each measure.
    """
    drawn = [scenes.scene(HELD_OUT_SEED, i, "all", world) for i in range(count)]
    real = judge.features(
        autoencode(chain.pipeline.vae, [scenes.scene(OTHER_SEED, i, "all", world).image for i in range(count)])
    )
    captions, asked = [d.caption for d in drawn], [Persona.named(name) for name in people()][:4]

    def latents(steps: int, start: int | None = None) -> torch.Tensor:
        return chain.generates(captions, steps, range(count), output_type="latent", start=start, batch_size=BATCH)

    def rate(made: torch.Tensor, half: slice) -> dict[str, float]:
        images, prompts = chain.decode(made[half]), captions[half]
        scores = [agent.scores(images, [person] * len(images), prompts) for person in asked]
        return {
            "frechet": frechet(real[half].numpy(), judge.features(images).numpy()),
            "score": float(np.mean([score.value for some in scores for score in some])),
        }

    chosen_on, measured_on = slice(0, None, 2), slice(1, None, 2)
    end = latents(LONGEST)
    grid, late, starts = [], [], []
    for steps in tqdm(STEPS, "step curve"):
        own = latents(steps)
        error = {"latent_error": float((own - end)[measured_on].square().mean().sqrt())}
        grid.append(rate(own, measured_on) | error)
        tried: dict[int | None, torch.Tensor] = {None: own} | {start: latents(steps, start) for start in STARTS}
        best = min(tried, key=lambda start: rate(tried[start], chosen_on)["frechet"])
        starts.append(best)
        late.append(rate(tried[best], measured_on))
    found = {"images": count, "steps": list(STEPS), "grid": columns(grid), "start": columns(late), "starts": starts}
    return found | {"n_star": {kind: {m: n_star(STEPS, found[kind][m]) for m in found[kind]} for kind in ("grid", "start")}}


def columns(rows: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """A list of records as a record of lists."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def n_star(steps: Sequence[int], values: Sequence[float], left: float = 0.05) -> int:
    """The first number of steps from which on at most `left` of the way from one step to the most steps is left.

    >>> n_star([1, 2, 4, 8], [10.0, 3.0, 1.2, 1.0])
    4
    """
    way = np.abs(np.asarray(values, float) - values[-1])
    far = np.flatnonzero(way > left * way[0])
    return steps[int(far[-1]) + 1] if len(far) else steps[0]


def panel(chain: SplitDiffusion, seeds: int = 6, steps: int = 10) -> dict[str, Images]:
    """Pictures of every object, `seeds` of each at places in turn."""
    found = {}
    for row, name in enumerate(scenes.NAMES):
        places = [place for place in scenes.PLACES if not scenes.held_out(name, place)]
        prompts = [f"{scenes.article(name)} {scenes.SCENES[places[k % len(places)]][0]}" for k in range(seeds)]
        found[name] = chain.generates(prompts, steps, range(row * seeds, (row + 1) * seeds))
    return found


def naming_pages(pictures: Mapping[str, Images], folder: Path, seed: int, rows: int = 6, columns: int = 10) -> list[str]:
    """Write pages of numbered pictures in random order, for somebody to name who knows no prompt; returns what they show."""
    every = [(name, image) for name, images in pictures.items() for image in images]
    order = np.random.default_rng(seed).permutation(len(every))
    side, head = 192, 22
    for number, start in enumerate(range(0, len(every), rows * columns)):
        page = Image.new("RGB", (columns * (side + 8), rows * (side + head)), "white")
        for place, i in enumerate(order[start : start + rows * columns]):
            x, y = place % columns * (side + 8), place // columns * (side + head)
            ImageDraw.Draw(page).text((x + 4, y + 2), str(start + place), fill="black", font_size=16)
            page.paste(every[i][1].resize((side, side), Image.LANCZOS), (x, y + head))
        page.save(folder / f"page_{number}.png")
    return [every[i][0] for i in order]


def named_right(shown: Sequence[str], answers: Sequence[str]) -> dict[str, int]:
    """How many of each object's pictures were named right: by its name, one of `ALSO`, or words that have it as a part.

    >>> named_right(["ball", "ball", "dog"], ["a soccer ball", "an orange", "puppy"])
    {'ball': 1, 'dog': 1}
    """
    found = dict.fromkeys(shown, 0)
    for name, answer in zip(shown, answers):
        found[name] += any(re.search(rf"\b{word}s?\b", answer.lower()) for word in (name, *ALSO.get(name, ())))
    return found
