"""The small frozen records that the stages hand to each other.

No stage imports another stage: the diffusion chain makes a `Handoff`, the link returns a `Handoff`, and the device
denoises a `Handoff`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .errors import InvalidArgument, check_integer

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
        return self.variance / self.bias**2 if self.bias else math.inf


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
    """

    latent: torch.Tensor
    plan: SplitPlan
    timestep: int
    prompt: str
    seed: int
    link: LinkReport | None = None
