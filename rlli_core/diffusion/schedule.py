"""Which timesteps the server and each device visit, and the memoryless DDIM step between two of them.

A `Step` is a pair (t, t_prev) of training timesteps: the denoiser looks at t, the latent lands on t_prev; below zero
t_prev means the clean end. Everything is a function of the scheduler's configuration; nothing here keeps state.

For one device the grid is diffusers' own grid of t0 + t_k steps, and the hand-off comes after t0 of them. Several
devices share one latent: the server walks the first t0 steps of the grid of the longest chain, and a device with a
shorter chain spreads its own t_k steps over what is left.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler

from ..errors import InvalidArgument, UnsupportedPipeline, check_choice, check_integer
from ..records import SplitPlan

Step = tuple[int, int]
COMPLETE = -1  # the `timestep` of a hand-off whose chain has no step left


def memoryless(scheduler: Any, choice: str = "pipeline") -> DDIMScheduler:
    """Return a scheduler that a receiver can continue from the latent alone.

    Args:
        scheduler: the pipeline's scheduler.
        choice: "pipeline" takes it as it is and refuses all but DDIM; "ddim" converts it to DDIM.

    Raises:
        InvalidArgument: an unknown choice.
        UnsupportedPipeline: the scheduler keeps history or adds noise of its own, thresholds pixels, or asks the
            denoiser for the noise of a latent that is nothing but noise.
    """
    check_choice("scheduler", choice, ("pipeline", "ddim"))
    if choice == "ddim":
        # Latents are not bounded by 1, so the clipping that DDIM takes by default must be off.
        scheduler = DDIMScheduler.from_config(scheduler.config, clip_sample=False, thresholding=False)
    if not isinstance(scheduler, DDIMScheduler):
        raise UnsupportedPipeline(
            f"{type(scheduler).__name__} cannot be cut: a device receives the latent but not the scheduler's history "
            'or noise. Pass scheduler="ddim" to use DDIM with the same noise schedule'
        )
    if scheduler.config.thresholding:
        raise UnsupportedPipeline('dynamic thresholding is for pixels, not latents. Pass scheduler="ddim" to drop it')
    if scheduler.alphas_cumprod[-1] == 0 and scheduler.config.prediction_type == "epsilon":
        raise UnsupportedPipeline(
            "with rescale_betas_zero_snr the first latent is pure noise, from which an epsilon prediction cannot be "
            "turned into an image: use a v_prediction model or turn rescale_betas_zero_snr off"
        )
    return scheduler


def grid_steps(scheduler: DDIMScheduler, steps: int) -> tuple[Step, ...]:
    """Return the `steps` steps of the uncut chain, those of diffusers' `DDIMScheduler.set_timesteps` and `step`.

    Raises:
        InvalidArgument: fewer than 1 or more steps than the schedule has.
    """
    total = scheduler.config.num_train_timesteps
    steps = check_integer("steps", steps, 1, total)
    asked = copy.copy(scheduler)  # set_timesteps rebinds two attributes; the caller's scheduler stays as it was
    asked.set_timesteps(steps)
    # "trailing" counts down with a float step, which for some counts (61 of 1000) yields one entry too many, t = -1.
    timesteps = asked.timesteps.tolist()[:steps]
    if timesteps[0] >= total:  # "leading" adds its offset after filling the schedule
        raise InvalidArgument("steps", steps, f"less than {total} with steps_offset={scheduler.config.steps_offset}")
    # diffusers lands T // N below t, also where the next timestep of a rounded grid lies a little beside that.
    return tuple((t, t - total // steps) for t in timesteps)


def spread_steps(scheduler: DDIMScheduler, start: int, steps: int) -> tuple[Step, ...]:
    """Return `steps` steps spread evenly from timestep `start` to the clean end.

    As in the scheduler's own spacing, "trailing" makes all hops equal up to the clean end, while "leading" and
    "linspace" put their last look at the lowest timestep of their grids.

    Raises:
        InvalidArgument: more steps than there are timesteps left.
    """
    trailing = scheduler.config.timestep_spacing == "trailing"
    lowest = scheduler.config.steps_offset if scheduler.config.timestep_spacing == "leading" else 0
    steps = check_integer("device_steps", steps, 1, start - lowest + 1)
    if trailing:
        timesteps = np.round((start + 1) * (1 - np.arange(steps) / steps)).astype(int) - 1
    else:
        timesteps = np.linspace(start, lowest, steps).round().astype(int)
    timesteps = timesteps.tolist()
    return tuple(zip(timesteps, [*timesteps[1:], COMPLETE]))


def steps_between(start: int, stop: int, steps: int) -> tuple[Step, ...]:
    """Return `steps` steps spread evenly from timestep `start` to timestep `stop`, at least as far below it.

    >>> steps_between(700, 400, 3)
    ((700, 600), (600, 500), (500, 400))
    """
    timesteps = np.linspace(start, stop, steps + 1).round().astype(int).tolist()
    return tuple(zip(timesteps, timesteps[1:]))


def start_steps(scheduler: DDIMScheduler, steps: int, start: int | None) -> tuple[Step, ...]:
    """Return the steps of a device alone: the uncut chain's, or `steps` of them spread evenly from timestep `start`."""
    if start is None:
        return grid_steps(scheduler, steps)
    check_integer("steps", steps, 1)
    return spread_steps(scheduler, check_integer("start", start, 0, scheduler.config.num_train_timesteps - 1), steps)


def together(walks: Sequence[tuple[Step, ...]]) -> Sequence[Step | tuple[Step, ...]]:
    """Turn one walk a latent, all equally long, into what `Denoiser.walk` takes: a step for all, or one each."""
    return walks[0] if len(set(walks)) == 1 else list(zip(*walks))


def server_steps(scheduler: DDIMScheduler, plan: SplitPlan) -> tuple[Step, ...]:
    """Return the t0 steps of the server: the first of the grid of the longest chain."""
    return grid_steps(scheduler, plan.longest)[: plan.shared_steps]


def handoff_timestep(scheduler: DDIMScheduler, plan: SplitPlan) -> int:
    """Return the timestep whose noise level the latent has after the server's steps; -1 if its chain is complete.

    It is the one at which the last step landed. On rounded grids the device looks next a timestep beside that, and on
    "linspace" grids, whose hops are longer than the T // N that diffusers lands below t, well below it.
    """
    walk = grid_steps(scheduler, plan.longest)
    if plan.shared_steps == 0:
        return walk[0][0]
    return walk[plan.shared_steps - 1][1] if plan.shared_steps < len(walk) else COMPLETE


def device_steps(scheduler: DDIMScheduler, plan: SplitPlan, steps: int) -> tuple[Step, ...]:
    """Return the `steps` steps of one device on a hand-off that the server made under `plan`.

    A device whose chain is as long as the grid of the server stays on it. So does every device when nothing was
    shared (t0 = 0): pure noise belongs to no grid yet, and the device walks the uncut chain of its own length.

    Raises:
        InvalidArgument: more steps than there are timesteps left, or any step after a complete chain.
    """
    check_integer("device_steps", steps, 0)
    if steps == 0:
        return ()
    if plan.shared_steps == 0:
        return grid_steps(scheduler, steps)
    left = grid_steps(scheduler, plan.longest)[plan.shared_steps :]
    if not left:
        raise InvalidArgument("device_steps", steps, "0 on a hand-off whose chain is complete")
    return left if steps == len(left) else spread_steps(scheduler, left[0][0], steps)


def ddim_step(
    scheduler: DDIMScheduler,
    output: torch.Tensor,
    latent: torch.Tensor,
    t: int | Sequence[int],
    t_prev: int | Sequence[int],
) -> torch.Tensor:
    """Take one deterministic DDIM step (eta = 0) from timestep t to t_prev; below 0, t_prev is the clean end.

    Song et al., "Denoising Diffusion Implicit Models", eq. (12); (7)-(10) of the paper. diffusers' own `step` only
    knows hops of T // N; on those both agree bit for bit, for which the order of operations here is theirs.

    Args:
        output: what the denoiser predicts (noise, v, or the clean latent), shape of `latent`.
        latent: z_t, shape (B, C, h, w).
        t, t_prev: of all latents, or one each.

    Returns:
        z at t_prev, shape (B, C, h, w).
    """
    alpha, alpha_prev = _alphas(scheduler, t, latent), _alphas(scheduler, t_prev, latent)
    beta = 1 - alpha
    if scheduler.config.prediction_type == "epsilon":
        clean = (latent - beta**0.5 * output) / alpha**0.5
        noise = output
    elif scheduler.config.prediction_type == "sample":
        clean = output
        noise = (latent - alpha**0.5 * clean) / beta**0.5
    else:
        clean = alpha**0.5 * latent - beta**0.5 * output
        noise = alpha**0.5 * output + beta**0.5 * latent
    if scheduler.config.clip_sample:
        clean = clean.clamp(-scheduler.config.clip_sample_range, scheduler.config.clip_sample_range)
    return (alpha_prev**0.5 * clean + (1 - alpha_prev) ** 0.5 * noise).to(latent.dtype)


def _alphas(scheduler: DDIMScheduler, t: int | Sequence[int], latent: torch.Tensor) -> torch.Tensor:
    """Cumulative alpha of one timestep, or of one a latent in a shape that multiplies latents; below 0, of the clean end."""
    if isinstance(t, int):
        return scheduler.alphas_cumprod[t] if t >= 0 else scheduler.final_alpha_cumprod
    return torch.stack([_alphas(scheduler, one, latent) for one in t]).to(latent.device).reshape(-1, 1, 1, 1)
