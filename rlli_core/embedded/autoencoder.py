"""The embedded image autoencoder: 128x128 RGB <-> 16x16 latent, eqs. (1)-(2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderTiny

from .scenes import CELL, WORLD
from .training import fit, rendered, share, to_tensor, workers

LATENT_CHANNELS = 8
LATENT_NOISE = 0.12  # makes the decoder forgive small latent errors, of the sampler and of the channel


def build() -> AutoencoderTiny:
    """An untrained autoencoder, f = 8; no block at full resolution, which halves its cost."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(64, 64, 64, 64),
        decoder_block_out_channels=(64, 64, 64, 64),
        num_encoder_blocks=(0, 2, 3, 3),
        num_decoder_blocks=(3, 3, 3, 0),
        scaling_factor=1.0,
    )


def structural_similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of two image batches in [0, 1], with a uniform 7x7 window; differentiable."""

    def blur(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 7, 1)

    mean1, mean2 = blur(first), blur(second)
    var1, var2 = blur(first * first) - mean1**2, blur(second * second) - mean2**2
    cov = blur(first * second) - mean1 * mean2
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean1 * mean2 + c1) * (2 * cov + c2) / ((mean1**2 + mean2**2 + c1) * (var1 + var2 + c2))).mean()


def train(steps: int, seed: int = 0, start: AutoencoderTiny | None = None, **kwargs) -> tuple[AutoencoderTiny, int]:
    """Train encoder and decoder, with a pull of the latent's mean to 0 and spread to 1; `start` to go on from its weights."""
    torch.manual_seed(seed)
    model = (start or build()).to(memory_format=torch.channels_last)

    def loss(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            z = model.encode(x).latents
            y = model.decode(add_noise(z)).sample
        z = z.float()
        spread = z.mean((0, 2, 3)).square().mean() + (z.std((0, 2, 3)) - 1).square().mean()
        return image_loss(x, y.float()) + 0.02 * spread

    return _fit("autoencoder", model, loss, steps, seed, **({"lr": 1.5e-3, "warmup": 50} | kwargs))


def train_decoder(model: AutoencoderTiny, steps: int, seed: int = 0, **kwargs) -> tuple[AutoencoderTiny, int]:
    """Train the decoder alone for longer: the latents, on which the generator depends, stay as they are."""
    model = model.to(memory_format=torch.channels_last)
    model.encoder.requires_grad_(False)

    def loss(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                z = model.encode(x).latents
            y = model.decode(add_noise(z)).sample
        return image_loss(x, y.float())

    return _fit("decoder", model, loss, steps, seed + 1, **({"lr": 1e-3} | kwargs))


def add_noise(latent: torch.Tensor) -> torch.Tensor:
    """Add noise of a random strength up to LATENT_NOISE to each image's latent."""
    return latent + LATENT_NOISE * torch.randn_like(latent) * torch.rand(len(latent), 1, 1, 1)


def image_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """L1, four times the squared error, 1 - SSIM at a quarter, and L1 of the slopes, of images in [-1, 1].

    The slopes count where the drawing has a hard edge: without them the decoder spreads it over several pixels.
    """
    error = (x - y) / 2
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return (
        error.abs().mean() + 4 * error.square().mean() + 0.25 * (1 - structural_similarity(x / 2 + 0.5, y / 2 + 0.5)) + slopes
    )


def _fit(
    name: str,
    model: AutoencoderTiny,
    loss: Callable,
    steps: int,
    seed: int,
    images: int = 24_000,
    batch: int = 24,
    crop: int = 64,
    world: str = WORLD,
    **kwargs,
) -> tuple[AutoencoderTiny, int]:
    """Minimise `loss` of crops of the rendered scenes, on whole latent cells, around the middle of an object."""
    data, labels = rendered(0, images, world=world)
    middles = np.array(
        [[(top + bottom) / 2, (left + right) / 2] for left, top, right, bottom in (x["boxes"][-1] for x in labels)]
    )
    batch = share(batch)

    def of_step(step: int) -> torch.Tensor:
        rng = np.random.default_rng((seed, step, workers().process_index))
        picks = np.sort(rng.integers(len(data), size=batch))
        corner = CELL * np.round((middles[picks] - crop / 2 + rng.uniform(-32, 32, (batch, 2))) / CELL).astype(int)
        corner = corner.clip(0, data.shape[1] - crop)
        return loss(to_tensor(np.stack([data[i, r : r + crop, c : c + crop] for i, (r, c) in zip(picks, corner)])))

    return fit(name, model, of_step, steps=steps, ema=0.998, **kwargs)
