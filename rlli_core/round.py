"""One round of the service, one call an arrow: the map of the package.

prompt -> server denoises t0 shared steps -> latent becomes bits -> bits flip on a fading link -> each device denoises
t_k steps towards its own prompt -> image -> a persona agent scores it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from .errors import InvalidArgument
from .records import Handoff, SplitPlan

if TYPE_CHECKING:
    from .channel import Link
    from .diffusion.split import SplitDiffusion
    from .qoe.agent import PersonaAgent, Score
    from .qoe.persona import Persona

STEP_ENERGY_MWH = (1.0, 2.0)
"""Energy of one denoising step on a phone, low and high, in mWh: the range the paper assumes in Sec. V-B1."""


@dataclass(frozen=True, eq=False)
class Round:
    """Everything one round made: the server's hand-off, and for each device what it received, its image and the score."""

    sent: Handoff
    received: tuple[Handoff, ...]
    images: tuple[Image.Image, ...]
    scores: tuple[Score, ...]


def serve(
    chain: SplitDiffusion,
    links: Sequence[Link],
    agent: PersonaAgent,
    server_prompt: str,
    device_prompts: Sequence[str],
    personas: Sequence[Persona],
    plan: SplitPlan,
    powers_w: Sequence[float],
    seed: int,
    gains: Sequence[float] | None = None,
) -> Round:
    """Serve one group of users with similar prompts, Algorithm 1.

    Args:
        links: one a device.
        agent: plays each user in turn.
        device_prompts: one a device, as many as the plan has device steps.
        personas: one a device, the user's.
        powers_w: transmit power P_k of each device's packet in watts.
        seed: of the initial noise; device k's bit flips take seed + k.
        gains: fading power gain of each device's channel during its packet; None averages over the fading.

    Raises:
        InvalidArgument: unequal numbers of devices.
    """
    gains = [None] * len(links) if gains is None else list(gains)
    counts = {len(links), len(device_prompts), len(personas), len(plan.steps_per_device), len(powers_w), len(gains)}
    if len(counts) != 1:
        raise InvalidArgument(
            "devices", sorted(counts), "one number: a link, prompt, persona, step count, power, gain a device"
        )
    sent = chain.server_denoise(server_prompt, plan, seed)
    received = tuple(
        link.transmit(sent, power_w=power, gain=gain, seed=seed + k)
        for k, (link, power, gain) in enumerate(zip(links, powers_w, gains))
    )
    images = tuple(
        chain.device_denoise(got, prompt, plan, device=k) for k, (got, prompt) in enumerate(zip(received, device_prompts))
    )
    return Round(sent, received, images, tuple(agent.scores(images, personas, device_prompts)))
