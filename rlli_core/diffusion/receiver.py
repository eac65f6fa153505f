"""A device that knows its link's noise: where on the diffusion chain a damaged hand-off lies, and how it gets further up.

A latent of cumulative alpha a is sqrt(a) x + sqrt(1 - a) e for a clean x and unit noise e. A link that draws it towards a
point and adds noise leaves, with the bias undone, that latent plus noise of some variance s2; divided by sqrt(1 + s2) it is a
latent of alpha a / (1 + s2): an earlier, noisier timestep, the *effective* one, from which a chain may start as from any other.
Fresh noise moves it further up to any earlier timestep, the *restart* (as SDEdit does with pictures; Meng et al., 2022),
never down. Exact for Gaussian noise; for bit errors the first two moments are.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler

from ..errors import InvalidArgument, check_choice, check_integer
from ..records import RECEIVERS, Handoff, SplitPlan
from .schedule import COMPLETE, Step, device_steps, grid_steps, spread_steps, steps_between

RESTART_STREAM = zlib.crc32(b"diffusion.restart")  # the fresh noise is that of the seed xor this: torch looks at 32 bits


def check_receiver(receiver: object, handoff: Handoff) -> str:
    """Return "paper" or "noise-aware", the latter only where the link's damage has a variance.

    Raises:
        InvalidArgument: neither of them, or a number format in which one flipped bit may do anything.
    """
    receiver = check_choice("receiver", receiver, RECEIVERS)
    if receiver == "noise-aware" and handoff.link is not None and handoff.link.variance is None:
        raise InvalidArgument("receiver", receiver, "'paper' for a number format whose bit errors have no variance")
    return receiver


def known_noise(handoff: Handoff, receiver: str) -> float:
    """Return the variance s2 of the noise that this receiver knows to be in a hand-off once the bias is undone.

    The paper's receiver knows of none; it is infinite where the link left nothing of the latent (BEP 0.5).
    """
    if receiver == "paper" or handoff.link is None:
        return 0.0
    return handoff.link.noise_variance or 0.0


def effective_timestep(scheduler: DDIMScheduler, timestep: int, noise_variance: float) -> int:
    """Return the first timestep at which a chain has at least the noise of a latent of `timestep` plus so much more.

    >>> scheduler = DDIMScheduler(timestep_spacing="trailing")
    >>> effective_timestep(scheduler, 499, 0.0), effective_timestep(scheduler, 499, 0.5)
    (499, 538)
    """
    if noise_variance == 0:
        return timestep
    low_enough = scheduler.alphas_cumprod <= _alpha(scheduler, timestep) / (1 + noise_variance)
    return int(low_enough.int().argmax()) if low_enough.any() else len(low_enough) - 1


def restart_range(scheduler: DDIMScheduler, handoff: Handoff, receiver: str) -> tuple[int, int]:
    """Return the lowest and highest timestep from which this receiver may start: noise can be added, not taken away.

    Bare noise (nothing shared, or nothing left) belongs to no timestep and may be taken as a latent of any.
    """
    noise, highest = known_noise(handoff, receiver), scheduler.config.num_train_timesteps - 1
    bare = handoff.plan.shared_steps == 0 or math.isinf(noise)
    return 0 if bare else max(0, effective_timestep(scheduler, handoff.timestep, noise)), highest


def receive(
    scheduler: DDIMScheduler,
    handoff: Handoff,
    steps: int,
    receiver: str,
    restart: int | None,
    noise_of: Callable[[int], torch.Tensor],
) -> tuple[torch.Tensor, tuple[Step, ...]]:
    """Return the latent that a device starts from, and the steps that it walks.

    Args:
        handoff: as sent or received, checked.
        steps: t_k.
        receiver: one of `RECEIVERS`.
        restart: None, or the timestep to start from; from bare noise that is a lone device's late start.
        noise_of: unit noise of a seed, shaped as the latent.

    Raises:
        InvalidArgument: a restart outside `restart_range`, or more steps than there are timesteps left.
    """
    check_integer("device_steps", steps, 0)
    noise, alone = known_noise(handoff, receiver), handoff.plan.shared_steps == 0
    latent, link, walk = handoff.latent, handoff.link, None
    if math.isinf(noise):
        latent, alone = noise_of(handoff.seed), True
    elif noise and steps and link is not None:
        latent = (latent - link.offset) / (link.bias * math.sqrt(1 + noise))
        walk = spread_steps(scheduler, effective_timestep(scheduler, handoff.timestep, noise), steps)
    if restart is not None:
        walk = spread_steps(scheduler, check_integer("restart", restart, *restart_range(scheduler, handoff, receiver)), steps)
    if restart is not None and not alone:
        alpha = _alpha(scheduler, handoff.timestep) / (1 + noise)
        kept = min(1.0, float(scheduler.alphas_cumprod[restart]) / alpha)
        latent = math.sqrt(kept) * latent + math.sqrt(1 - kept) * noise_of(handoff.seed ^ RESTART_STREAM)
    if walk is None or (alone and restart is None):
        walk = (grid_steps(scheduler, steps) if steps else ()) if alone else device_steps(scheduler, handoff.plan, steps)
    return latent, walk


def go_on(
    scheduler: DDIMScheduler, handoff: Handoff, steps: int, receiver: str, noise_of: Callable[[int], torch.Tensor]
) -> tuple[torch.Tensor, tuple[Step, ...], SplitPlan]:
    """Return what one who hands on starts from, the steps that it walks, and the plan of its hand-off.

    It ends where the uncut chain is after so many steps. A noise-aware one that must start earlier makes longer strides, so that
    what it hands on is back on the grid and the link's noise is no longer in it.

    Args:
        steps: 1 or more; the others are as in `receive`.

    Raises:
        InvalidArgument: more steps than the plan has left.
    """
    shared, grid = handoff.plan.shared_steps, grid_steps(scheduler, handoff.plan.longest)
    steps = check_integer("steps", steps, 1, len(grid) - shared)
    plan, noise = SplitPlan(shared + steps, len(grid) - shared - steps), known_noise(handoff, receiver)
    latent, walk = receive(scheduler, handoff, steps, receiver, None, noise_of)
    if not noise:
        walk = grid[shared : shared + steps]
    elif plan.shared_steps < len(grid):
        bare = shared == 0 or math.isinf(noise)
        start = grid[0][0] if bare else effective_timestep(scheduler, handoff.timestep, noise)
        walk = steps_between(start, grid[plan.shared_steps - 1][1], steps)
    return latent, walk, plan


def _alpha(scheduler: DDIMScheduler, timestep: int) -> float:
    return float(scheduler.final_alpha_cumprod if timestep == COMPLETE else scheduler.alphas_cumprod[timestep])
