"""One resumable training loop for the three embedded models (autoencoder, judge, generator)."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm.auto import tqdm

from . import scenes

WORK = Path(os.environ.get("RLLI_WORK", Path.home() / ".cache" / "rlli"))
"""Checkpoints and rendered data sets live here, outside the repository."""


def rendered(seed: int, count: int, split: str = "train") -> tuple[np.ndarray, list[dict]]:
    """Images (count, 128, 128, 3) uint8 and their labels, drawn once and then read from `WORK`."""
    path = WORK / "scenes" / f"{split}-{seed}-{count}.npy"
    if not path.with_suffix(".json").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        images = np.empty((count, scenes.SIZE, scenes.SIZE, 3), np.uint8)
        labels = []
        for index in tqdm(range(count), desc=f"drawing {count} {split} scenes", mininterval=5):
            drawn = scenes.scene(seed, index, split)
            images[index] = np.asarray(drawn.image)
            labels.append({key: value for key, value in vars(drawn).items() if key != "image"})
        np.save(path, images)
        path.with_suffix(".json").write_text(json.dumps(labels))
    return np.load(path, mmap_mode="r"), json.loads(path.with_suffix(".json").read_text())


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def fit(
    name: str,
    model: torch.nn.Module,
    loss: Callable[[int], torch.Tensor],
    *,
    steps: int,
    lr: float,
    warmup: int = 100,
    ema: float = 0.0,
    weight_decay: float = 0.01,
    save_every: int = 100,
    stop_at: float = math.inf,
) -> tuple[torch.nn.Module, int]:
    """Minimise `loss(step)` over the parameters of `model`, resuming from `WORK/name.safetensors` when it is there.

    Args:
        name: of the checkpoint.
        model: trained in place; on return it holds the averaged weights where `ema` > 0.
        loss: draws its own batch from a generator seeded by the step, so that a resumed run sees the same batches.
            Under `torchrun` each worker draws a part (`share`) and the gradients are averaged.
        steps: length of the whole schedule (linear warm-up, then cosine to a hundredth).
        ema: decay of the weight average, 0 for none.
        stop_at: time (seconds since the epoch) at which to stop early; a later call goes on from there.

    Returns:
        The model and the number of steps done.
    """
    path = WORK / f"{name}.safetensors"
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
    average = [p.detach().clone() for p in parameters]
    moments = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]
    start = 0
    if path.exists():
        with safe_open(path, "pt") as saved:
            start = int(saved.metadata()["step"])
            for i, parameter in enumerate(parameters):
                parameter.data.copy_(saved.get_tensor(f"weight.{i}"))
                average[i].copy_(saved.get_tensor(f"average.{i}"))
                for kind in (0, 1):
                    moments[kind][i].copy_(saved.get_tensor(f"moment{kind}.{i}"))
    for i, parameter in enumerate(parameters):
        optimizer.state[parameter] = {
            "step": torch.tensor(float(start)), "exp_avg": moments[0][i], "exp_avg_sq": moments[1][i],
        }  # fmt: skip

    def save(step: int) -> None:
        tensors = {}
        for i, parameter in enumerate(parameters):
            tensors |= {f"weight.{i}": parameter.data.contiguous(), f"average.{i}": average[i].contiguous()}
            tensors |= {f"moment{kind}.{i}": moments[kind][i].contiguous() for kind in (0, 1)}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path.with_suffix(".tmp"), metadata={"step": str(step)})
        path.with_suffix(".tmp").replace(path)

    step, smooth = start, None
    bar = tqdm(range(start, steps), desc=name, mininterval=10, initial=start, total=steps, disable=worker() > 0)
    model.train()
    for step in bar:
        if time.time() > stop_at:
            break
        torch.manual_seed(1_000_003 * step + worker())
        fraction = step / steps
        rate = lr * min(1, (step + 1) / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fraction)))
        optimizer.param_groups[0]["lr"] = rate
        value = loss(step)
        value.backward()
        average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        decay = min(ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.data for p in parameters], 1 - decay)
        smooth = value.item() if smooth is None else 0.98 * smooth + 0.02 * value.item()
        if not math.isfinite(smooth):
            raise RuntimeError(f"{name}: the loss is {value.item()} at step {step}; the last checkpoint is kept")
        bar.set_postfix_str(f"loss {smooth:.4f}")
        if (step + 1) % save_every == 0 and worker() == 0:
            save(step + 1)
    else:
        step = steps
    if worker() == 0:
        save(step)
    if ema:
        for parameter, mean in zip(parameters, average):
            parameter.data.copy_(mean)
    return model.eval(), step


def worker() -> int:
    """Number of this process among those `torchrun` started, 0 without it."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(batch: int) -> int:
    """This worker's part of a batch."""
    return batch // dist.get_world_size() if dist.is_initialized() else batch


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the workers."""
    if dist.is_initialized():
        flat = torch.cat([p.grad.reshape(-1) for p in parameters])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for parameter, grad in zip(parameters, flat.split([p.numel() for p in parameters])):
            parameter.grad.copy_(grad.view_as(parameter))
