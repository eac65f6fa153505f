"""What a model asks of a machine, counted on its architecture alone, without any weights; and what a machine can give."""

from __future__ import annotations

import time
from dataclasses import dataclass

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, LlavaConfig, LlavaForConditionalGeneration

from .devices import choose_device, choose_dtype, quiet
from .errors import check_integer

LLAVA_TOKENS = 1_000  # of a persona agent's question, rounded up: 576 of the picture and a few hundred of text


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


def of_pipeline(pipeline: diffusers.DiffusionPipeline) -> Size:
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


def matrix_tflops(device: str = "auto", dtype: str = "auto", side: int = 2048, repeats: int = 5) -> float:
    """Measure products of two large matrices on this machine, in TFLOP/s, the best of a few; networks reach less than that.

    On a CPU the time is that of the processor, so that what else runs on the machine does not count.
    """
    place = choose_device(device)
    clock = time.perf_counter if place.type != "cpu" else lambda: time.process_time() / torch.get_num_threads()
    factor = torch.ones(check_integer("side", side, 1), side, device=place, dtype=choose_dtype(dtype, place))
    seconds = []
    for _ in range(check_integer("repeats", repeats, 1) + 1):  # the first one warms up
        start = clock()
        (factor @ factor)[0, 0].item()  # waits until it is computed
        seconds.append(clock() - start)
    return 2 * side**3 / min(seconds[1:]) / 1e12


def _of_parts(unet: torch.nn.Module, vae: torch.nn.Module, text: torch.nn.Module, tokens: int) -> Size:
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
