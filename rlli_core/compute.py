"""Where and in which precision a model runs, and how it loads without chatter."""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import diffusers
import torch
import transformers
from torch.utils import benchmark

from .errors import InvalidArgument

CHATTER = (
    "transformers.utils.import_utils",  # torchvision, not needed here, is not there
    "diffusers.configuration_utils",  # AutoencoderTiny saves a setting that it then does not expect
    "diffusers.pipelines.pipeline_utils",  # a pipeline with AutoencoderTiny in place of AutoencoderKL
)
Model = TypeVar("Model")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the bars that count a model's parts as they load, and the warnings named in `CHATTER`."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    levels = {logger: logger.level for logger in map(logging.getLogger, CHATTER)}
    try:
        for logger in levels:
            logger.setLevel(logging.ERROR)
        for library in shown:
            library.disable_progress_bar()
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        for library in shown:
            library.enable_progress_bar()


def keep_memory() -> None:
    """Have glibc keep freed memory for the next allocation instead of giving it back; elsewhere nothing happens.

    For the whole process. On a CPU, page faults otherwise take a quarter of the time of a denoising step.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(-4, 0)  # M_MMAP_MAX: large blocks too come from the heap
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device of that name; "auto" is CUDA where there is one, else the CPU."""
    allowed = "'auto' or a torch device that this machine has"
    if not isinstance(device, (str, torch.device)):
        raise InvalidArgument("device", device, allowed)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch says AssertionError when built without CUDA
        raise InvalidArgument("device", device, allowed) from error
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the precision of that name; "auto" is fp16 on CUDA and fp32 elsewhere."""
    names = ["auto", "fp32", "fp16", "bf16"] if device.type != "cpu" else ["auto", "fp32", "bf16"]
    if not isinstance(dtype, str) or dtype not in names:
        raise InvalidArgument("dtype", dtype, f"one of {names} on {device.type}")
    return DTYPES[("fp16" if device.type == "cuda" else "fp32") if dtype == "auto" else dtype]


def cheap() -> str:
    """The precision for what is measured over many pictures: "bf16" on a CPU, which is half the work, "fp32" on a GPU."""
    return "fp32" if torch.cuda.is_available() else "bf16"


def time_calls(
    function: Callable[[], object],
    repeats: int,
    calls: int = 1,
    *,
    threads: int | None = None,
    timer: Callable[[], float] = benchmark.timer,
) -> list[float]:
    """Seconds of a call in each of `repeats` blocks of `calls`, after a warm-up; a GPU is waited for.

    Args:
        threads: of PyTorch meanwhile, by default as many as now.
        timer: the clock, in seconds.
    """
    watch = benchmark.Timer(
        "function()", globals={"function": function}, timer=timer, num_threads=threads or torch.get_num_threads()
    )
    return [watch.timeit(calls).mean for _ in range(repeats)]


def fingerprint(*modules: torch.nn.Module) -> int:
    """A number that changes when weights or adapters do: loaded, fused, swapped, scaled or trained; to keep behind a cache.

    Equal numbers mean the same tensors, untouched since; it looks at none of their values, so it costs microseconds a tensor.
    """
    seen: list[object] = []
    for module in modules:
        seen += [(id(one), str(scaling)) for one in module.modules() if (scaling := getattr(one, "scaling", None)) is not None]
        for tensor in (*module.parameters(), *module.buffers()):
            seen.append((id(tensor), tensor._version, tensor.data_ptr() if tensor.device.type != "meta" else 0))
    return hash(tuple(seen))


def content_hash(*modules: torch.nn.Module) -> str:
    """SHA-256 over names, precisions, shapes and values of all weights: the same model in the same precision, wherever loaded."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def first_variant(load: Callable[..., Model]) -> Model:
    """Call `load` for weights in safetensors, never pickled ones: the plain files or, where there are none, those of 16 bits."""
    try:
        return load(use_safetensors=True)
    except (OSError, ValueError) as error:
        try:
            return load(use_safetensors=True, variant="fp16")
        except (OSError, ValueError):
            raise error from None
