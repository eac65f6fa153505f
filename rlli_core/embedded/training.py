"""One resumable training loop for the three embedded models (autoencoder, judge, generator)."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from tqdm.auto import tqdm

from ..compute import choose_device
from ..errors import UnusableFile, first_line
from ..files import DATA, WORK, whole, write_text, write_weights
from . import backgrounds, scenes


def rendered(seed: int, count: int, split: str = "train", world: str = scenes.WORLD) -> tuple[np.ndarray, list[dict]]:
    """Images (count, 128, 128, 3) uint8 and their labels, drawn once for each `state`, then read from `WORK`."""
    path = WORK / "scenes" / f"{world}-{split}-{seed}-{count}-{state()}.npy"
    with workers().main_process_first():
        if not path.with_suffix(".json").exists():
            images, labels = np.empty((count, scenes.SIZE, scenes.SIZE, 3), np.uint8), []
            with multiprocessing.Pool(torch.get_num_threads()) as pool:
                drawn = pool.imap(partial(_draw, seed, split, world), range(count), chunksize=100)
                for index, (image, label) in enumerate(tqdm(drawn, f"drawing {count} {split} scenes", count, mininterval=5)):
                    images[index] = image
                    labels.append(label)
            with whole(path) as place, place.open("wb") as file:
                np.save(file, images)
            write_text(path.with_suffix(".json"), json.dumps(labels))
    return np.load(path, mmap_mode="r"), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def state() -> str:
    """Changes with what the scenes are drawn from: the code and the vector drawings."""
    files = Path(scenes.__file__), Path(backgrounds.__file__), DATA / "scenes" / "objects.json.gz"
    return f"{zlib.crc32(b''.join(file.read_bytes() for file in files)):08x}"


def _draw(seed: int, split: str, world: str, index: int) -> tuple[np.ndarray, dict]:
    drawn = scenes.scene(seed, index, split, world)
    return np.asarray(drawn.image), {key: value for key, value in vars(drawn).items() if key != "image"}


def mixed() -> torch.autocast:
    """Networks in bfloat16, on a GPU where there is one."""
    return torch.autocast(choose_device("auto").type, torch.bfloat16)


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
    muon: bool = False,
    save_every: int = 100,
    stop_at: float = math.inf,
    ends_at: float = math.inf,
) -> tuple[torch.nn.Module, int]:
    """Minimise `loss(step)` over the parameters of `model`, resuming from `WORK/name.safetensors` when it is there.

    Args:
        name: of the checkpoint.
        model: trained in place; on return it holds the averaged weights where `ema` > 0.
        loss: draws its own batch from a generator seeded by the step, so that a resumed run sees the same batches.
            Under `torchrun` each of the `workers` draws its part and the gradients are averaged.
        steps: length of the whole schedule (linear warm-up, then cosine to a hundredth).
        ema: decay of the weight average, 0 for none.
        muon: update the matrices inside the network by Muon instead of AdamW (`new_optimizers`).
        stop_at: time (seconds since the epoch) at which to stop early; a later call goes on from there.
        ends_at: time by which the rate is to have fallen to its end, however many of the steps that are; for a lent machine.

    Returns:
        The model and the number of steps done.
    """
    path = WORK / f"{name}.safetensors"
    parameters = [p for p in model.parameters() if p.requires_grad]
    average = EMAModel(parameters, decay=ema, foreach=True)
    optimizers = new_optimizers(model, lr, weight_decay, muon)
    held = [(opt, p) for opt in optimizers for group in opt.param_groups for p in group["params"]]
    start, spent = 0, 0.0
    if path.exists():
        try:
            with safe_open(path, "pt", str(parameters[0].device)) as saved:
                start = average.optimization_step = int(saved.metadata()["step"])
                spent = float(saved.metadata().get("core_seconds", 0))
                for i, parameter in enumerate(parameters):
                    parameter.data.copy_(saved.get_tensor(f"weight.{i}"))
                    average.shadow_params[i].copy_(saved.get_tensor(f"average.{i}"))
                for key in (k for k in saved.keys() if k.startswith("state.")):
                    _, i, field = key.split(".")
                    optimizer, parameter = held[int(i)]
                    value = saved.get_tensor(key)
                    if value.shape == parameter.shape:  # a GPU's optimizer wants it to lie in memory as the parameter does
                        value = torch.empty_like(parameter, requires_grad=False).copy_(value)
                    optimizer.state[parameter][field] = value
        except Exception as error:  # the library's, or of shapes that do not fit
            raise UnusableFile(
                f"{path} is damaged or of another model, delete it to begin again: {first_line(error)}"
            ) from error

    began, came = time.process_time(), time.time()

    def save(step: int) -> None:
        tensors = {}
        for i, parameter in enumerate(parameters):
            mean = average.shadow_params[i]
            tensors |= {f"weight.{i}": parameter.data.contiguous(), f"average.{i}": mean.contiguous()}
        for i, (optimizer, parameter) in enumerate(held):
            tensors |= {f"state.{i}.{field}": value.contiguous() for field, value in optimizer.state[parameter].items()}
        seconds = spent + (time.process_time() - began) * workers().num_processes
        write_weights(path, tensors, {"step": str(step), "core_seconds": f"{seconds:.0f}"})

    team, step, smooth = workers(), start, None
    look_every = 1 if parameters[0].device.type == "cpu" else 20  # a GPU works ahead meanwhile
    bar = tqdm(range(start, steps), desc=name, mininterval=10, initial=start, total=steps, disable=not team.is_main_process)
    model.train()
    for step in bar:
        progress = max(step / steps, (time.time() - came) / (ends_at - came)) if ends_at > came else 1.0
        if time.time() > stop_at or progress >= 1:
            break
        torch.manual_seed(1_000_003 * step + team.process_index)
        rate = lr * min(1, (step + 1) / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        value = loss(step)
        value.backward()
        average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        for parameter in parameters:
            parameter.grad = None
        average.step(parameters)
        smooth = value.detach() if smooth is None else 0.98 * smooth + 0.02 * value.detach()
        if (step + 1) % look_every == 0:
            if not math.isfinite(smooth):
                raise RuntimeError(f"{name}: the loss is {value.item()} at step {step}; the last checkpoint is kept")
            bar.set_postfix_str(f"loss {smooth:.4f}", refresh=False)
        if (step + 1) % save_every == 0 and team.is_main_process:
            save(step + 1)
    else:
        step = steps
    if team.is_main_process:
        save(step)
    if ema:
        average.copy_to(parameters)
    return model.eval(), step


def core_minutes(name: str) -> float:
    """Time that all cores together gave to the training whose checkpoint has this name, up to the last one."""
    with safe_open(WORK / f"{name}.safetensors", "pt") as saved:
        return round(float(saved.metadata()["core_seconds"]) / 60, 1)


def new_optimizers(model: torch.nn.Module, lr: float, weight_decay: float, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters; or Muon (a convolution as the matrix of its output channels) and AdamW for the rest.

    Muon is not for embeddings and for the first and last layer, nor for vectors.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    outer = ("embed", "conv_in", "conv_out", "lm_head", "bias_table")
    inner = [p for name, p in named if muon and p.ndim > 1 and not any(word in name for word in outer)]
    rest = [p for _, p in named if not any(p is q for q in inner)]
    found = [torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)]
    return [*found, Matrices(inner, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")] if inner else found


class Matrices(torch.optim.Muon):
    """`torch.optim.Muon` for matrices and convolutions (channels last), which it sees as matrices that share their memory."""

    def __init__(self, weights: list[torch.nn.Parameter], **kwargs):
        self.weights = weights
        matrices = [w.data if w.ndim == 2 else w.data.permute(0, 2, 3, 1).view(len(w), -1) for w in weights]
        super().__init__([torch.nn.Parameter(m) for m in matrices], **kwargs)

    def step(self, closure=None):
        """One update from the gradients of the weights."""
        for matrix, weight in zip(self.param_groups[0]["params"], self.weights):
            matrix.grad = (weight.grad if weight.ndim == 2 else weight.grad.permute(0, 2, 3, 1)).reshape_as(matrix)
        return super().step(closure)


def workers() -> PartialState:
    """The processes that `torchrun` started, this one among them, or this one alone; the first call connects them."""
    return PartialState(cpu=not torch.cuda.is_available())


def share(batch: int) -> int:
    """This worker's part of a batch."""
    return batch // workers().num_processes


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the workers."""
    if workers().num_processes > 1:
        grads = [p.grad for p in parameters if p.grad is not None]  # some are not used, the same ones in every worker
        mean = reduce(torch.cat([grad.reshape(-1) for grad in grads]), "mean")
        for grad, part in zip(grads, mean.split([grad.numel() for grad in grads])):
            grad.copy_(part.view_as(grad))
