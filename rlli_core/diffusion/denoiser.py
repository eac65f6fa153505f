"""The networks of one pipeline on one device: text to embedding, one denoising step of a batch, latent to image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from ..compute import fingerprint, keep_memory
from ..errors import InvalidArgument
from ..records import LatentSpace
from .schedule import Step, ddim_step

CACHED_PROMPTS = 64  # the sliders of a notebook come back to the same few prompts


class Denoiser:
    """Runs a pipeline's networks exactly as diffusers' `StableDiffusionPipeline` does, a step at a time.

    Args:
        pipeline: of the Stable Diffusion type; moved to `device` and `dtype` in place.
        scheduler: DDIM.
        dtype: of weights and latents; bf16 on the CPU keeps both in fp32 and runs the networks under autocast.

    Attributes:
        calls: evaluations of the UNet so far, see `SplitDiffusion.denoiser_calls`.
        on_step: None, or called as `on_step(timestep, latents)` after every step of so many latents.
    """

    def __init__(self, pipeline: DiffusionPipeline, scheduler: DDIMScheduler, device: torch.device, dtype: torch.dtype):
        self.scheduler, self.device = scheduler, device
        if device.type == "cpu":
            keep_memory()
        self._autocasts = device.type == "cpu" and dtype == torch.bfloat16
        self._dtype = torch.float32 if self._autocasts else dtype
        self.pipeline = pipeline.to(device)
        if any(part.dtype != self._dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)):
            pipeline.to(self._dtype)
        self.calls = 0
        self.on_step: Callable[[int, int], None] | None = None
        self._embed, self._embedded_by = lru_cache(CACHED_PROMPTS)(self._encode), 0
        self._picture, self._decoded_by = (), 0

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Shape of one latent, (1, C, h, w)."""
        config = self.pipeline.unet.config
        size = config.sample_size if isinstance(config.sample_size, (list, tuple)) else (config.sample_size,) * 2
        return (1, config.in_channels, *size)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """No gradients; autocast where the precision asks for it. Around whole walks: weights are cast once in each.

        Embeddings of prompts are kept for as long as the text encoder, its adapters and the vocabulary stay as they are.
        """
        read_by = hash((fingerprint(self.pipeline.text_encoder), len(self.pipeline.tokenizer)))
        if read_by != self._embedded_by:
            self._embed.cache_clear()
            self._embedded_by = read_by
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocasts):
            yield

    def noise(self, seeds: Sequence[int]) -> torch.Tensor:
        """Return the initial noise z_T of each seed, shape (S, C, h, w); drawn on the CPU, so the same everywhere."""
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        shape = (len(generators), *self.latent_shape[1:])
        return randn_tensor(shape, generator=generators, device=self.device, dtype=self._dtype)

    def place(self, latents: torch.Tensor) -> torch.Tensor:
        """Return received latents on this device and in this precision."""
        return latents.to(self.device, self._dtype)

    def advance(
        self, latents: torch.Tensor, prompts: Sequence[str], step: Step | Sequence[Step], guidance: float
    ) -> torch.Tensor:
        """Take one step, each latent towards its own prompt, eq. (13); latents in and out (B, C, h, w).

        Args:
            step: of all latents, or one each.
        """
        t, t_prev = step if isinstance(step[0], int) else zip(*step)
        texts = torch.cat([self._embed(prompt) for prompt in prompts])
        inputs = latents
        if guidance > 1:
            texts = torch.cat([self._embed("").expand_as(texts), texts])
            inputs = torch.cat([latents, latents])
        timestep = torch.tensor(t, device=self.device)
        if timestep.ndim and guidance > 1:
            timestep = torch.cat([timestep, timestep])
        output = self.pipeline.unet(inputs, timestep, encoder_hidden_states=texts, return_dict=False)[0]
        output = output.to(latents.dtype)
        if guidance > 1:
            without, towards = output.chunk(2)
            output = without + guidance * (towards - without)
        self.calls += len(latents)
        if self.on_step is not None:
            for one, count in Counter([t] * len(latents) if isinstance(t, int) else t).items():
                self.on_step(one, count)
        return ddim_step(self.scheduler, output, latents, t, t_prev)

    def walk(
        self, latents: torch.Tensor, prompts: Sequence[str], steps: Sequence[Step | Sequence[Step]], guidance: float
    ) -> torch.Tensor:
        """Take `steps` one after another, as `advance` takes each."""
        for step in steps:
            latents = self.advance(latents, prompts, step, guidance)
        return latents

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Return the images of clean latents (B, C, h, w), eq. (18), as diffusers' pipeline makes them.

        Raises:
            InvalidArgument: the latents are so large that the decoder overflows.
        """
        pixels = self._pixels(latents)
        if not pixels.isfinite().all():
            raise InvalidArgument("latent", f"values up to {latents.abs().max():g}", "small enough to decode")
        return self.pipeline.image_processor.postprocess(pixels, output_type="pil", do_denormalize=[True] * len(pixels))

    def space(self) -> LatentSpace:
        """Return what tells this model's latents from another's; the decoder is asked once."""
        vae = self.pipeline.vae
        decoded_by = hash((fingerprint(vae), vae.config.scaling_factor))
        if decoded_by != self._decoded_by:
            latent = randn_tensor((1, self.latent_shape[1], 8, 8), generator=torch.Generator("cpu").manual_seed(0))
            with self.computing():
                fields = torch.nn.functional.adaptive_avg_pool2d(self._pixels(self.place(latent)).float(), 4).nan_to_num()
            self._picture, self._decoded_by = tuple(fields.flatten().tolist()), decoded_by
        alphas = (*self.scheduler.alphas_cumprod.flip(0)[::100].tolist(), float(self.scheduler.final_alpha_cumprod))
        name = str(self.pipeline.name_or_path or type(self.pipeline).__name__)
        return LatentSpace(Path(name).name if Path(name).is_dir() else name, alphas, self._picture)

    def finish(self, latents: torch.Tensor, output_type: str) -> list[Image.Image] | torch.Tensor:
        """Return the images ("pil") of the latents, or the latents themselves as float32 on the CPU ("latent")."""
        return latents.float().cpu() if output_type == "latent" else self.decode(latents)

    def _pixels(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self.pipeline.vae
        return vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0].to(latents.dtype)

    def _encode(self, prompt: str) -> torch.Tensor:
        """Return the text embedding of one prompt, shape (1, L, E); `_embed` is this with a small cache."""
        return self.pipeline.encode_prompt(prompt, self.device, 1, False)[0]
