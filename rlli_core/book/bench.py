"""What things cost: seconds on this machine, steps with sharing and without, operations and memory of a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from torch.utils.benchmark import timer
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, LlavaConfig, LlavaForConditionalGeneration

from ..allocation.ddpg import Learner, Training
from ..allocation.service import Service
from ..allocation.sets import OF_EACH
from ..allocation.setting import ServiceConfig
from ..allocation.table import TableQoE
from ..compute import choose_device, choose_dtype, quiet, time_calls
from ..diffusion.split import SplitDiffusion
from ..errors import check_integer
from ..qoe.agent import PersonaAgent
from ..qoe.persona import Persona
from ..records import SplitPlan

STEPS = 10  # of the image that `bench` times
BLOCKS = 5  # of updates; the least of them counts, since whatever else runs on the machine can only add
LLAVA_TOKENS = 1_000  # of a persona agent's question, rounded up: 576 of the picture and a few hundred of text


def bench(repeats: int = 3) -> dict[str, float]:
    """Time the embedded models, after a warm-up; each number is the least of `repeats`.

    Returns:
        Seconds, by what they are of: an image of ten steps, one denoising step, a rating of one picture by one agent,
        and one update of G-DDPG with the settings of `rlli train`.
    """
    chain, agent = SplitDiffusion.from_pretrained("embedded"), PersonaAgent.from_pretrained("embedded")
    prompt, persona = "a dog in front of a bush", Persona.named("GA1")
    image: Any = chain.generate(prompt, STEPS, 0)
    whole = min(time_calls(lambda: chain.generate(prompt, STEPS, 0), repeats))
    one = min(time_calls(lambda: chain.generate(prompt, 1, 0), repeats))
    rating = min(time_calls(lambda: agent.score(image, persona, prompt), repeats))
    steps = Training().denoising_steps
    update = updates_by_steps(Service(ServiceConfig(), TableQoE.load()), [steps], repeats=repeats).update_ms[steps] / 1e3
    # The difference of the two chains leaves out what an image costs once: reading the prompt, decoding.
    return {"image_s": whole, "denoising_step_s": (whole - one) / (STEPS - 1), "rating_s": rating, "allocator_update_s": update}


@dataclass(frozen=True)
class SharingCost:
    """What one group of users costs with shared first steps and without: denoiser steps and measured seconds."""

    shared_calls: int
    alone_calls: int
    shared_s: float
    alone_s: float


def sharing_cost(
    chain: SplitDiffusion, server_prompt: str, device_prompts: Sequence[str], plan: SplitPlan, seed: int, repeats: int = 3
) -> SharingCost:
    """Time one group served by shared steps, then each of its users served alone by a chain of the same length.

    Both run one latent at a time, in turns, after a warm-up; the least of `repeats` counts. The plan gives every device as many steps.
    """

    def shared() -> None:
        sent = chain.server_denoise(server_prompt, plan, seed)
        for prompt in device_prompts:
            chain.device_denoise(sent, prompt, plan)

    def alone() -> None:
        for prompt in device_prompts:
            chain.generate(prompt, plan.longest, seed)

    calls, seconds = [], []
    for way in (shared, alone):
        before = chain.denoiser_calls
        way()
        calls.append(chain.denoiser_calls - before)
    for _ in range(repeats):
        seconds.append([time_calls(way, 1)[0] for way in (shared, alone)])
    shared_s, alone_s = map(min, zip(*seconds))
    return SharingCost(calls[0], calls[1], shared_s, alone_s)


def updates_by_steps(service: Service, steps: list[int], training: Training | None = None, repeats: int = 30) -> pd.DataFrame:
    """Milliseconds an update of G-DDPG takes for each number D of denoising steps, and those of its matrix products alone.

    On one thread; each number is the least of `BLOCKS` blocks of `repeats`.

    Returns:
        Indexed by D; columns update_ms, products_ms.
    """
    base, rows = vars(training or Training()), {}
    for count in steps:
        learner = Learner("g-ddpg", service, Training(**base | {"denoising_steps": count}), 0)
        while learner.done < learner.training.batch:
            learner.collect()
        update = partial(learner.update, torch.arange(learner.training.batch))
        timed: dict[str, Callable[[], object]] = {"update_ms": update, "products_ms": _products(learner)}
        rows[count] = {name: 1e3 * min(time_calls(what, BLOCKS, repeats, threads=1)) for name, what in timed.items()}
    return pd.DataFrame(rows).T.rename_axis("D")


def _products(learner: Learner) -> Callable[[], None]:
    """A function that does the matrix products of one update, and nothing else."""
    pairs, actor = [], learner.actor
    for network, passes, learns in (
        (learner.critic, 1, True),
        (learner.critic, 1, False),
        (actor, learner.training.denoising_steps, True),
    ):
        for name, weight in [named for named in network.named_parameters() if named[1].ndim == 2] * passes:
            layer = name.split(".")[-2]
            rows = learner.training.batch * (learner.service.config.users if layer in OF_EACH else 1)
            x, g = torch.randn(rows, weight.shape[1]), torch.randn(rows, weight.shape[0])
            # forward, gradient of the input, gradient of the weight; a critic that learns needs none of its own input
            pairs.append((x, weight.detach().t()))
            if network is actor or not learns or layer != "first":
                pairs.append((g, weight.detach()))
            if learns:
                pairs.append((g.t(), x))

    @torch.no_grad()
    def run() -> None:
        for a, b in pairs:
            a @ b

    return run


def matrix_tflops(device: str = "auto", dtype: str = "auto", side: int = 2048, repeats: int = 5) -> float:
    """Measure products of two large matrices on this machine, in TFLOP/s, the best of a few; networks reach less than that.

    On a CPU the time is that of the processor, so that what else runs on the machine does not count.
    """
    place = choose_device(device)
    clock = timer if place.type != "cpu" else lambda: time.process_time() / torch.get_num_threads()
    factor = torch.ones(check_integer("side", side, 1), side, device=place, dtype=choose_dtype(dtype, place))
    return 2 * side**3 / min(time_calls(lambda: factor @ factor, check_integer("repeats", repeats, 1), timer=clock)) / 1e12


@dataclass(frozen=True)
class Size:
    """Size of a model.

    Attributes:
        weights: numbers in it.
        step_flops: floating-point operations of one denoising step of one image with guidance, or of one rating.
        decode_flops: of decoding the latent to the image; 0 for an agent.
    """

    weights: int
    step_flops: float
    decode_flops: float = 0.0

    @property
    def memory_gb(self) -> float:
        """Gigabytes of the weights in 16 bits. What runs beside them (activations, a cache) comes on top."""
        return 2 * self.weights / 1e9

    def seconds(self, steps: int, tflops: float) -> float:
        """Seconds of an image of so many steps (or of so many ratings) at a sustained rate in TFLOP/s."""
        return (check_integer("steps", steps, 1) * self.step_flops + self.decode_flops) / (1e12 * tflops)


def of_pipeline(pipeline: DiffusionPipeline) -> Size:
    """Count a pipeline of the Stable Diffusion type that is loaded, such as `SplitDiffusion.pipeline`."""
    unet, vae, text = pipeline.unet, pipeline.vae, pipeline.text_encoder
    with torch.device("meta"), quiet():
        copies = type(unet).from_config(unet.config), type(vae).from_config(vae.config)
    return _of_parts(*copies, text, pipeline.tokenizer.model_max_length)


def stable_diffusion() -> Size:
    """Count Stable Diffusion 1.x at 512 x 512 pixels, from its published configuration."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
            )
        )
    return _of_parts(unet, vae, text, tokens=77)


def llava() -> Size:
    """Count LLaVA 1.5 with 7 billion weights: two operations a weight and token, which neglects attention itself."""
    with torch.device("meta"):
        weights = _weights(LlavaForConditionalGeneration(LlavaConfig()))
    return Size(weights, 2.0 * weights * LLAVA_TOKENS)


def _of_parts(unet: Any, vae: Any, text: torch.nn.Module, tokens: int) -> Size:
    """Unet and vae on the meta device; the text encoder is counted in the weights, it runs once an image."""
    side, channels = unet.config.sample_size, unet.config.in_channels
    with torch.device("meta"), torch.no_grad():
        with FlopCounterMode(display=False) as step:
            unet(torch.empty(2, channels, side, side), torch.tensor(1), torch.empty(2, tokens, unet.config.cross_attention_dim))
        with FlopCounterMode(display=False) as decode:
            vae.decode(torch.empty(1, channels, side, side))
    return Size(sum(map(_weights, (unet, vae, text))), step.get_total_flops(), decode.get_total_flops())


def _weights(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
