"""The small frozen records that the stages hand to each other.

No stage imports another stage: the diffusion chain makes a `Handoff`, the link returns a `Handoff`, and the device
denoises a `Handoff`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors

from .errors import (
    InvalidArgument,
    UnusableFile,
    check_able,
    check_integer,
    check_list,
    check_number,
    check_seed,
    check_text,
    check_type,
    first_line,
    shown,
)
from .files import weights_bytes, whole, why

RECEIVERS = ("paper", "noise-aware")
"""How a device takes what a link delivered, see `SplitDiffusion.device_denoise`."""


@dataclass(frozen=True)
class SplitPlan:
    """How many denoising steps run where: t = {t0, t1, ..., tK}, eq. (19).

    Args:
        shared_steps: t0, steps at the server, 0 or more.
        device_steps: t_k, steps at the device, 0 or more; a sequence gives one entry a device.

    Raises:
        InvalidArgument: a negative or fractional count, no device, or no step at all for some device.

    >>> SplitPlan(shared_steps=3, device_steps=(5, 7)).longest
    10
    """

    shared_steps: int
    device_steps: int | Sequence[int]

    def __post_init__(self) -> None:
        check_integer("shared_steps", self.shared_steps, 0)
        if isinstance(self.device_steps, Sequence) and not isinstance(self.device_steps, str):
            if not self.device_steps:
                raise InvalidArgument("device_steps", self.device_steps, "a step count or one count per device")
            object.__setattr__(self, "device_steps", tuple(self.device_steps))
        for steps in self.steps_per_device:
            check_integer("device_steps", steps, 0)
            if self.shared_steps + steps == 0:
                raise InvalidArgument("device_steps", self.device_steps, "at least 1 where shared_steps is 0")

    @property
    def steps_per_device(self) -> tuple[int, ...]:
        """t_1 ... t_K, one entry per device."""
        return self.device_steps if isinstance(self.device_steps, tuple) else (self.device_steps,)

    @property
    def longest(self) -> int:
        """Length of the longest chain, t0 + max_k t_k: the grid on which the server walks."""
        return self.shared_steps + max(self.steps_per_device)


@dataclass(frozen=True)
class LinkReport:
    """What the link did to one hand-off.

    Attributes:
        bit_error_probability: probability with which each bit on air was flipped, in [0, 0.5].
        flipped_bits: payload bits that were flipped, and that no protection put right.
        payload_bits: payload bits sent (the latent; the protected header is not counted).
        power_w: transmit power P_k in watts, or None when the BEP was given directly.
        snr: received mean or instantaneous SNR (linear), or None when the BEP was given directly.
        airtime_s: seconds on air.
        energy_mwh: transmit energy in milliwatt-hours, or None without a power.
        low, high: range of the values that were sent, as the protected header says.
        bias, offset, variance: first two moments of what the channel did to a value x, as the receiver knows them: it
            received bias * x + offset and noise of that variance, here summed over all hops. The variance is None where
            the number format has none to speak of (a flipped exponent bit).
        pilot_bits, pilot_errors: known bits that were sent along, and how many of them arrived wrong.
        channel_bits: bits on air, with what protects the payload and with the pilots: airtime and energy are theirs.
        blocks, failed_blocks: parts of the payload that carry a check, and those that failed it in the end.
    """

    bit_error_probability: float
    flipped_bits: int
    payload_bits: int
    power_w: float | None
    snr: float | None
    airtime_s: float
    energy_mwh: float | None
    low: float = 0.0
    high: float = 0.0
    bias: float = 1.0
    offset: float = 0.0
    variance: float | None = 0.0
    pilot_bits: int = 0
    pilot_errors: int = 0
    channel_bits: int = 0
    blocks: int = 0
    failed_blocks: int = 0

    @property
    def noise_variance(self) -> float | None:
        """Variance of the noise once the bias is undone; infinite where nothing of the value is left, None if unknown."""
        if self.variance is None:
            return None
        return self.variance / self.bias**2 if self.bias**2 else math.inf


@dataclass(frozen=True)
class LatentSpace:
    """What two models must agree in for one to go on where the other stopped, whatever their denoisers, texts and precisions.

    Attributes:
        model: its name, for people; not compared.
        alphas: cumulative alphas of the schedule, in [0, 1]: of every hundredth timestep, the last one first, and of the end.
        picture: what the decoder makes of one fixed latent: mean red, green and blue of 4 x 4 fields, 48 numbers in about
            [-1, 1]. Decoders that agree in it read latents alike.
    """

    model: str
    alphas: tuple[float, ...]
    picture: tuple[float, ...]

    def differs_in(self, other: LatentSpace) -> str | None:
        """What the two disagree in, or None: alphas by more than `ALPHAS_APART`, pictures by more than `PICTURES_APART`."""
        if not _close(self.alphas, other.alphas, ALPHAS_APART):
            return "noise schedule"
        size = max(math.hypot(*self.picture), math.hypot(*other.picture))
        return None if _close(self.picture, other.picture, PICTURES_APART * size) else "autoencoder"


ALPHAS_APART = 1e-4
PICTURES_APART = 0.05
"""As a share of the larger picture's size. The embedded decoder in fp16 and bf16: 0.004 from fp32; two stages of its training: 0.35."""


@dataclass(frozen=True, eq=False)
class Handoff:
    """An intermediate latent on its way from the server to a device.

    Attributes:
        latent: z at the hand-off, shape (1, C, h, w), float32 on the CPU.
        plan: the plan under which the server ran.
        timestep: training timestep whose noise level the latent had when it was sent; -1 when the chain is already complete.
        prompt: the prompt that was denoised towards last.
        seed: seed of the initial noise.
        link: what the links did to the latent, or None while it is error-free and has not been sent.
        space: of the model that made it; a device whose model has another one refuses it. None: nobody knows, nobody refuses.
    """

    latent: torch.Tensor
    plan: SplitPlan
    timestep: int
    prompt: str
    seed: int
    link: LinkReport | None = None
    space: LatentSpace | None = None

    def save(self, path: str | Path) -> None:
        """Write it as one safetensors file, whole or not at all; the same hand-off gives the same bytes.

        Raises:
            InvalidArgument: `path` is none.
            UnusableFile: it cannot be written; what was there before is as it was.
        """
        path, data = _as_path(path), self.to_bytes()
        try:
            with whole(path) as place:
                place.write_bytes(data)
        except ValueError as error:  # what no operating system takes for a path
            raise InvalidArgument("path", path, f"one that can be written ({first_line(error)})") from error

    @classmethod
    def load(cls, path: str | Path, chain: Any = None) -> Handoff:
        """Read what `save` wrote.

        Args:
            chain: a `SplitDiffusion` that is to finish it; None leaves the look at its model to `device_denoise`.

        Raises:
            UnusableFile: it cannot be read, is damaged, or something else.
            InvalidArgument: `path` is none, or the chain's model cannot take it, as `device_denoise`.
        """
        path = _as_path(path)
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            raise UnusableFile(f"the hand-off {str(path)[:LONGEST_PATH]} cannot be read: {why(error)}") from error
        handoff = cls.from_bytes(data, str(path)[:LONGEST_PATH])
        if chain is not None:
            check_able("chain", chain, "restart_range", "a SplitDiffusion").restart_range(handoff)
        return handoff

    def to_bytes(self) -> bytes:
        """What `save` writes: the latent, and in the metadata the rest as JSON with a checksum of both."""
        latent = self.latent.detach().float().cpu().contiguous()
        rest = json.dumps({field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.name != "latent"})
        about = {"format": FORMAT, "version": VERSION, "handoff": rest, "sha256": _checksum(latent, rest)}
        return weights_bytes({"latent": latent}, about)

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "the hand-off") -> Handoff:
        """What `to_bytes` was called on.

        Args:
            source: what an error calls it.

        Raises:
            UnusableFile: damaged, of another version, or something else.
        """
        if len(check_type("data", data, bytes, "bytes")) > MOST_BYTES:
            raise UnusableFile(f"{source} is no hand-off: it has more than {MOST_BYTES >> 20} MiB")
        try:
            tensors = load_tensors(data)
            about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        except Exception as error:  # the library has several, and nesting as deep as one likes ends in RecursionError
            raise UnusableFile(f"{source} is damaged or no hand-off, get it again: {first_line(error)}") from error
        if about.get("format") != FORMAT:
            raise UnusableFile(f"{source} is no hand-off: it holds {shown(sorted(tensors))}")
        if about.get("version") != VERSION:
            remedy = f"this package reads version {VERSION}: install the same one on both machines"
            raise UnusableFile(f"{source} is a hand-off of version {shown(about.get('version'))}, and {remedy}")
        latent, rest = tensors.get("latent", torch.empty(0)), about.get("handoff", "")
        if _checksum(latent, rest) != about.get("sha256"):
            raise UnusableFile(f"{source} is damaged, get it again: its checksum does not fit")
        try:
            return _handoff(latent, **json.loads(rest))
        except (ValueError, TypeError, LookupError, RecursionError) as error:  # somebody else's, made to look like one
            raise UnusableFile(f"{source} is no hand-off that this package wrote: {first_line(error)}") from error


FORMAT, VERSION = "rlli hand-off", "1"
MOST_BYTES = 2**26
"""A hand-off's file is not larger; that of Stable Diffusion has 64 KiB."""
LONGEST_PATH = 500  # characters of it in an error
_SIGNED = ("low", "high", "bias", "offset")  # numbers of a `LinkReport` that may be below 0


def _close(one: Sequence[float], other: Sequence[float], distance: float) -> bool:
    return len(one) == len(other) and math.dist(one, other) <= distance


def _as_path(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidArgument("path", path, "a path")
    return Path(path)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _checksum(latent: torch.Tensor, rest: str) -> str:
    told = f"{latent.dtype} {tuple(latent.shape)} {rest}".encode("utf-8", "backslashreplace")
    return hashlib.sha256(told + latent.numpy().tobytes()).hexdigest()


def _handoff(latent: torch.Tensor, plan: Any, timestep: Any, prompt: Any, seed: Any, link: Any, space: Any) -> Handoff:
    """A hand-off out of what a file says; everything in it is looked at."""
    if latent.dtype != torch.float32 or latent.ndim != 4:
        raise InvalidArgument("latent", f"{latent.dtype} {tuple(latent.shape)}", "float32 of shape (1, C, h, w)")
    if link is not None:
        for field in fields(LinkReport):
            if (value := link[field.name]) is not None or "None" not in str(field.type):
                low = -math.inf if field.name in _SIGNED else 0
                check_integer(field.name, value, 0) if field.type == "int" else check_number(field.name, value, low)
        link = LinkReport(**link)
    if space is not None:
        space = LatentSpace(
            check_text("model", space["model"]),
            tuple(check_number("alphas", value, 0, 1) for value in check_list("alphas", space["alphas"])),
            tuple(check_number("picture", value, -1e6, 1e6) for value in check_list("picture", space["picture"])),
        )
    plan = SplitPlan(plan["shared_steps"], plan["device_steps"])
    timestep = check_integer("timestep", timestep, -1)
    return Handoff(latent, plan, timestep, check_text("prompt", prompt), check_seed("seed", seed), link, space)
