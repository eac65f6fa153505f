"""The embedded image autoencoder: 128x128 RGB <-> 16x16 latent, eqs. (1)-(2)."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderTiny

from .training import fit, rendered, share, to_tensor, worker

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


def train(steps: int, seed: int = 0, images: int = 24_000, batch: int = 24, crop: int = 64, **kwargs):
    """Train on random crops: L1 + SSIM, with a pull of the latent's mean to 0 and spread to 1."""
    torch.manual_seed(seed)
    model = build().to(memory_format=torch.channels_last)
    data, _ = rendered(seed, images)
    batch = share(batch)

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((seed, step, worker()))
        picks = np.sort(rng.integers(len(data), size=batch))
        corner = rng.integers(0, data.shape[1] // 8 - crop // 8 + 1, size=(batch, 2)) * 8
        x = to_tensor(np.stack([data[i, r : r + crop, c : c + crop] for i, (r, c) in zip(picks, corner)]))
        with torch.autocast("cpu", torch.bfloat16):
            z = model.encode(x).latents
            noisy = z + LATENT_NOISE * torch.randn_like(z) * torch.rand(batch, 1, 1, 1)
            y = model.decode(noisy).sample
        x, y, z = x / 2 + 0.5, y.float() / 2 + 0.5, z.float()
        spread = z.mean((0, 2, 3)).square().mean() + (z.std((0, 2, 3)) - 1).square().mean()
        pixel = (x - y).abs().mean() + 4 * (x - y).square().mean()
        return pixel + 0.25 * (1 - structural_similarity(x, y)) + 0.02 * spread

    return fit("autoencoder", model, loss, steps=steps, ema=0.998, **({"lr": 1e-3} | kwargs))
