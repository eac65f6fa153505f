"""What the public calls of the chain accept; each check raises `InvalidArgument` before any work."""

from __future__ import annotations

from collections.abc import Callable

from diffusers import DDIMScheduler

from .. import errors
from ..errors import InvalidArgument
from ..records import Handoff, LatentSpace, SplitPlan
from .schedule import handoff_timestep


def check_prompt(prompt: object, name: str = "prompt") -> str:
    """Return `prompt` if it is a string; the empty one is allowed and means no condition."""
    return errors.check_text(name, prompt)


def check_list(name: str, values: object) -> list:
    """Return a non-empty list or tuple (or range) as a list."""
    return errors.check_list(name, values)


def check_prompts(prompts: object, name: str = "prompts") -> list[str]:
    """Return a non-empty list of strings."""
    return [check_prompt(prompt, f"{name}[...]") for prompt in check_list(name, prompts)]


def check_seed(seed: object, name: str = "seed") -> int:
    """Return a seed that torch takes, 0 or more."""
    return errors.check_seed(name, seed)


def check_seeds(seeds: object) -> list[int]:
    """Return a non-empty list of seeds."""
    return [check_seed(seed, "seeds[...]") for seed in check_list("seeds", seeds)]


def check_output(output_type: object) -> str:
    """Return "pil" or "latent"."""
    return errors.check_choice("output_type", output_type, ("pil", "latent"))


def check_plan(plan: object) -> SplitPlan:
    """Return `plan` if it is a `SplitPlan`."""
    if not isinstance(plan, SplitPlan):
        raise InvalidArgument("plan", plan, "a SplitPlan")
    return plan


def check_handoff(
    handoff: object,
    plan: object,
    scheduler: DDIMScheduler,
    shape: tuple[int, ...],
    space_here: Callable[[], LatentSpace] | None = None,
) -> SplitPlan:
    """Return the plan of a device that goes on from `handoff`: its own, or by default the server's.

    Args:
        scheduler: the device's schedule, which must give the hand-off's timestep.
        shape: of the device's latents, (1, C, h, w).
        space_here: gives the device's latent space; None takes the hand-off for one of its own.
    """
    if not isinstance(handoff, Handoff):
        raise InvalidArgument("handoff", handoff, "what server_denoise or a link's transmit returned")
    sent, received = handoff.plan, tuple(handoff.latent.shape)
    plan = sent if plan is None else check_plan(plan)
    if plan.shared_steps != sent.shared_steps:
        raise InvalidArgument("plan.shared_steps", plan.shared_steps, f"{sent.shared_steps}, as in the hand-off")
    whose, other = "", None
    if handoff.space is not None and space_here is not None:
        here = space_here()
        whose, other = f"; the hand-off is of {handoff.space.model}, here is {here.model}", handoff.space.differs_in(here)
    if received != shape:
        raise InvalidArgument("handoff.latent.shape", received, f"{shape}, as this model's latents{whose}")
    if not handoff.latent.isfinite().all():
        bad = int((~handoff.latent.isfinite()).sum())
        raise InvalidArgument("handoff.latent", f"{bad} infinite or NaN values", "finite")
    expected = handoff_timestep(scheduler, sent)
    if handoff.timestep != expected:
        raise InvalidArgument("handoff.timestep", handoff.timestep, f"{expected}, by this model's schedule{whose}")
    if other is not None:
        raise InvalidArgument("handoff.space", f"of another {other}", f"this model's{whose}")
    return plan
