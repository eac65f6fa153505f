"""One round of the service, one call an arrow: the map of the package.

prompt -> server denoises t0 shared steps -> latent becomes bits -> bits flip on a fading link -> each device denoises
t_k steps towards its own prompt -> image -> a persona agent scores it. Whoever runs a round walks this road: the notebooks,
the explorer and the atlas behind its page, and the live QoE that allocators learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from PIL import Image

from .errors import InvalidArgument, check_able, check_choice, check_integer, check_list, check_number, check_seed, check_type
from .records import RECEIVERS, Handoff, SplitPlan

if TYPE_CHECKING:
    from .channel import Link
    from .diffusion.split import SplitDiffusion
    from .qoe.agent import PersonaAgent, Score
    from .qoe.persona import Persona

STEP_ENERGY_MWH = (1.0, 2.0)
"""Energy of one denoising step on a phone, low and high, in mWh: the range the paper assumes in Sec. V-B1."""

JOULES_PER_MWH = 3.6


@dataclass(frozen=True)
class Scale:
    """Joules and seconds of Stable Diffusion 1.x at 512 x 512, guidance included: the one scale of this package.

    The paper has units of its own, in which a server's step costs half of a phone's (Fig. 11). Here it costs
    2.7 times as much: a card that draws 300 W is 18 times as fast as the phone, but not more sparing.

    Args:
        device_step_j: 1 mWh, the low end of what the paper takes for a phone (Sec. V-B1); 6 W over the next.
        device_step_s: 20 steps in 11.5 s on a Samsung S23 Ultra (Chen et al., "Speed Is All You Need", arXiv 2304.11267).
        server_step_j: 300 W, the most that an NVIDIA A100 PCIe draws, over the next; an upper end.
        server_step_s: 31 steps a second on an A100, one picture at a time, by diffusers in fp16
            (github.com/fal-ai/stable-diffusion-benchmarks, read in 2026).
        latent_values: of a latent sent, 4 x 64 x 64, with `Link.bits` a value at `Link.bit_rate_bps`; what a protection adds is
            not counted.

    Raises:
        InvalidArgument: a number below 0 or above 1e12.
    """

    device_step_j: float = STEP_ENERGY_MWH[0] * JOULES_PER_MWH
    device_step_s: float = 0.575
    server_step_j: float = 9.7
    server_step_s: float = 0.0323
    latent_values: float = 4 * 64 * 64

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(field.name, getattr(self, field.name), 0.0, 1e12)


@dataclass(frozen=True, eq=False)
class Stage:
    """What came out of one stage of a round.

    Attributes:
        name: "sent", "received", "image" or "score".
        device: counted from 0; None for the server's hand-off.
        result: a `Handoff`, an image or a `Score`; None where nothing was sent.
    """

    name: str
    device: int | None
    result: Handoff | Image.Image | Score | None


@dataclass(frozen=True, eq=False)
class Round:
    """Everything one round made.

    Attributes:
        sent: the server's hand-off; None where nothing was shared.
        received: what each device received; None where nothing was sent to it.
        images: one a device.
        scores: one a device; none where nobody was asked.
    """

    sent: Handoff | None
    received: tuple[Handoff | None, ...]
    images: tuple[Image.Image, ...]
    scores: tuple[Score, ...]


def serve(
    chain: SplitDiffusion,
    links: Sequence[Link],
    agent: PersonaAgent | None,
    server_prompt: str,
    device_prompts: Sequence[str],
    personas: Sequence[Persona],
    plan: SplitPlan,
    powers_w: Sequence[float | None] | None,
    seed: int,
    gains: Sequence[float | None] | None = None,
    *,
    beps: Sequence[float | None] | None = None,
    flip_seeds: Sequence[int] | None = None,
    batch_size: int = 1,
    on_stage: Callable[[Stage], None] | None = None,
    receiver: str = "paper",
    restarts: Sequence[int | None] | None = None,
    lift_restarts: bool = False,
) -> Round:
    """Serve one group of users with similar prompts, Algorithm 1.

    With t0 = 0 nothing is shared and nothing sent: every device denoises its own noise, that of `seed`, in the uncut chain
    of its t_k steps. So does a user who stays out of a round that shares; the server then plans for the others alone.

    Args:
        links: one a device.
        agent: plays each user in turn; None asks nobody.
        device_prompts: one a device, as many as the plan has device steps.
        personas: one a device, the user's; not looked at without an agent.
        powers_w: transmit power P_k of each device's packet in watts; None for a user who stays out, to whom nothing is sent
            (0 W sends a packet that arrives as chance has it). Instead of `beps`.
        seed: of the initial noise.
        gains: fading power gain of each device's channel during its packet; None averages over the fading.
        beps: instead of `powers_w`, the bit error probability of each device's packet; None for a user who stays out.
        flip_seeds: of each device's bit flips; by default seed + k for device k.
        batch_size: devices served at a time, which the denoiser takes together where they walk the same steps. 1 gives the
            numbers of the single calls exactly, more up to the rounding of larger batches.
        on_stage: called after each stage with a `Stage`, before the next one starts: sent; for each batch of devices what was
            received, then the images; at the end the scores. What it raises ends the round, and so does what
            `chain.on_step` raises between two denoising steps; a later round is not affected.
        receiver: "paper" or "noise-aware", of all devices; see `SplitDiffusion.device_denoise`.
        restarts: the timestep at which each device starts, or None for where the receiver does; for a device that is alone,
            with its own noise, its late start.
        lift_restarts: whether a restart that has less noise than what arrived is lifted to its effective timestep, not refused.

    Raises:
        InvalidArgument: unequal numbers of devices, neither or both of powers and BEPs, no step for a device that is alone, or
            as the single calls.
    """
    if beps is not None and powers_w is None:
        kind, levels = "bep", beps
    elif powers_w is not None and beps is None:
        kind, levels = "power_w", powers_w
    else:
        raise InvalidArgument("powers_w, beps", (powers_w, beps), "given one at a time: exactly one of the two")
    seed, batch_size = check_seed("seed", seed), check_integer("batch_size", batch_size, 1)
    check_able("chain", chain, "device_denoises", "a SplitDiffusion")
    if agent is not None:
        check_able("agent", agent, "scores", "a PersonaAgent or None")
        personas = check_list("personas", personas)
    check_type("plan", plan, SplitPlan, "a SplitPlan")
    check_choice("receiver", receiver, RECEIVERS)
    links = [check_able("links[...]", link, "transmit", "a Link") for link in check_list("links", links)]
    device_prompts, levels = check_list("device_prompts", device_prompts), check_list(kind, levels)
    seeds = [seed + k for k in range(len(links))] if flip_seeds is None else check_list("flip_seeds", flip_seeds)
    gains = [None] * len(links) if gains is None else check_list("gains", gains)
    steps = plan.steps_per_device
    restarts = [None] * len(links) if restarts is None else check_list("restarts", restarts)
    lists = (links, device_prompts, steps, levels, seeds, gains, restarts, *([] if agent is None else [personas]))
    if len(counts := set(map(len, lists))) != 1:
        raise InvalidArgument(
            "devices",
            sorted(counts),
            "one number: a link, prompt, persona, step count, power or BEP, seed, gain, restart a device",
        )
    tell = on_stage or (lambda stage: None)

    shares = [plan.shared_steps > 0 and level is not None for level in levels]
    plans = [SplitPlan(plan.shared_steps if shared else 0, count) for shared, count in zip(shares, steps)]
    sent = None
    if any(shares):
        others = plan if all(shares) else SplitPlan(plan.shared_steps, [count for k, count in enumerate(steps) if shares[k]])
        sent = chain.server_denoise(server_prompt, others, seed)
    tell(Stage("sent", None, sent))

    received: list[Handoff | None] = []
    images: list[Image.Image] = []
    for start in range(0, len(links), batch_size):
        batch = range(len(links))[start : start + batch_size]
        for k in batch:
            got = None
            if sent is not None and shares[k]:
                got = links[k].transmit(sent, seed=seeds[k], gain=gains[k], **{kind: levels[k]})
            received.append(got)
            tell(Stage("received", k, got))
        starts = [restarts[k] for k in batch]
        if lift_restarts:
            lowest = [0 if (got := received[k]) is None else chain.restart_range(got, receiver)[0] for k in batch]
            starts = [None if start is None else max(start, low) for start, low in zip(starts, lowest)]
        images += chain.device_denoises(
            [received[k] or chain.server_denoise(device_prompts[k], plans[k], seed) for k in batch],  # alone: its own noise
            [device_prompts[k] for k in batch],
            [plans[k] for k in batch],
            batch_size=batch_size,
            receiver=receiver,
            restarts=starts,
        )
        for k in batch:
            tell(Stage("image", k, images[k]))

    scores = () if agent is None else tuple(agent.scores(images, personas, device_prompts))
    for k, score in enumerate(scores):
        tell(Stage("score", k, score))
    return Round(sent, tuple(received), tuple(images), scores)
