"""The judge: a small classifier of object and scene, trained on rendered scenes only, apart from the generator."""

from __future__ import annotations

import numpy as np
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from ..qoe.judge import Judge
from . import scenes
from .training import fit, rendered, share, to_tensor, workers


def build() -> ResNetForImageClassification:
    """An untrained judge of 1.4 M weights."""
    names = [*scenes.NAMES, *scenes.PLACES]
    config = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128, 224], depths=[1, 1, 1, 1], layer_type="basic",
        objects=len(scenes.NAMES), image_size=scenes.SIZE, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
    )  # fmt: skip
    return ResNetForImageClassification(config)


def augment(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shift, blur, noise and recolour a batch, so that the judge looks at shapes and forgives soft edges."""
    batch = len(images)
    shift = rng.integers(-6, 7, size=2)
    images = torch.roll(images, tuple(int(s) for s in shift), (2, 3))
    for i in range(batch):
        factor = rng.choice([1, 1, 1.5, 2, 3])
        if factor > 1:
            small = torch.nn.functional.interpolate(images[i : i + 1], scale_factor=1 / factor, mode="bilinear", antialias=True)
            images[i] = torch.nn.functional.interpolate(small, size=images.shape[2:], mode="bilinear")[0]
    colour = 1 + 0.12 * torch.randn(batch, 3, 1, 1)
    noise = torch.randn_like(images) * torch.rand(batch, 1, 1, 1) * 0.15
    return (images * colour + 0.05 * torch.randn(batch, 1, 1, 1) + noise).clamp(-1, 1)


def train(
    steps: int, seed: int = 0, images: int = 24_000, batch: int = 64, world: str = scenes.WORLD, **kwargs
) -> tuple[Judge, int]:
    """Cross-entropy on object and scene; where two objects are shown, half the target each.

    Of a calm world only half of the scenes, the others of the varied one, so that the judge knows a thing however it is drawn.
    """
    torch.manual_seed(seed + 1)
    model = build().to(memory_format=torch.channels_last)
    worlds = dict.fromkeys(("varied", world))
    sets = [rendered(seed, images // len(worlds), world=name) for name in worlds]
    data, labels = np.concatenate([drawn for drawn, _ in sets]), [label for _, said in sets for label in said]
    objects = torch.zeros(len(labels), len(scenes.NAMES))
    places = torch.tensor([scenes.PLACES.index(label["place"]) for label in labels])
    for row, label in zip(objects, labels):
        shown = [label["object"]] + ([label["second"]] if label["second"] else [])
        row[[scenes.NAMES.index(name) for name in shown]] = 1 / len(shown)
    batch = share(batch)

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((seed, step, workers().process_index))
        picks = np.sort(rng.integers(len(data), size=batch))
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(augment(to_tensor(data[picks]), rng)).logits.float()
        split = len(scenes.NAMES)
        return torch.nn.functional.cross_entropy(logits[:, :split], objects[picks]) + 0.5 * torch.nn.functional.cross_entropy(
            logits[:, split:], places[picks]
        )

    model, done = fit("judge", model, loss, steps=steps, ema=0.99, save_every=200, **({"lr": 2e-3} | kwargs))
    return Judge(recompute_batch_norm(model, data)), done


@torch.no_grad()
def recompute_batch_norm(
    model: ResNetForImageClassification, data: np.ndarray, count: int = 2048
) -> ResNetForImageClassification:
    """Recompute the batch-norm statistics for the averaged weights, on lightly augmented images."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    for some in rng.permutation(len(data))[:count].reshape(-1, 64):
        model(augment(to_tensor(data[np.sort(some)]), rng))
    return model.eval()
