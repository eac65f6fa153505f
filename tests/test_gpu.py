"""What only a GPU can show: `pytest -m gpu`, in under two minutes on one card."""

import numpy as np
import pytest
import torch

from rlli_core.channel import Link
from rlli_core.diffusion.split import SplitDiffusion
from rlli_core.embedded import generator, training
from rlli_core.qoe.agent import PersonaAgent
from rlli_core.qoe.persona import Persona
from rlli_core.records import SplitPlan

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
TIGER, DOG = "a tiger in front of a bush", "a dog in front of a bush"


@pytest.fixture(scope="module", params=["fp32", "fp16", "bf16"])
def chain(request):
    return SplitDiffusion.from_pretrained("embedded", "cuda", request.param)


def test_the_cut_chain_is_the_uncut_one_bit_for_bit(chain):
    whole = chain.generate(TIGER, 10, 3, output_type="latent")
    sent = chain.server_denoise(TIGER, SplitPlan(4, 6), 3)
    assert torch.equal(chain.device_denoise(sent, TIGER, output_type="latent"), whole)


def test_it_draws_what_diffusers_draws(chain):
    chain.pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator("cpu").manual_seed(5)
    theirs = chain.pipeline(
        TIGER, num_inference_steps=6, guidance_scale=chain.guidance_scale, generator=noise, output_type="latent"
    ).images
    assert torch.equal(chain.generate(TIGER, 6, 5, output_type="latent"), theirs.float().cpu())


def test_a_hand_off_goes_through_the_link_and_back(chain):
    sent = chain.server_denoise(TIGER, SplitPlan(4, 6), 3)
    arrived = Link().transmit(sent, bep=0.1, seed=1)
    made = chain.device_denoise(arrived, DOG, receiver="noise-aware", output_type="latent")
    assert made.isfinite().all() and made.device.type == "cpu"


def test_in_fp32_a_gpu_draws_what_a_cpu_draws():
    latents = [
        SplitDiffusion.from_pretrained("embedded", device, "fp32").generate(TIGER, 10, 3, output_type="latent")
        for device in ("cpu", "cuda")
    ]
    assert (latents[0] - latents[1]).square().mean().sqrt() < 0.02


def test_in_fp32_a_gpu_scores_as_a_cpu_does():
    images = SplitDiffusion.from_pretrained("embedded", "cuda", "fp32").generates([TIGER, DOG], 6, [0, 1])
    scores = [
        [
            score.value
            for score in PersonaAgent.from_pretrained("embedded", device, "fp32").scores(images, Persona.named("GA1"), DOG)
        ]
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*scores, atol=0.01)


def test_the_generator_learns_on_it(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    for module in (generator, training):
        monkeypatch.setattr(module, "WORK", tmp_path)
    vae = SplitDiffusion.from_pretrained("embedded", "cpu").pipeline.vae
    model, steps = generator.train(vae, 3, images=64, batch=16)
    assert steps == 3 and all(p.isfinite().all() and p.device.type == "cpu" for p in model.parameters())
    again, steps = generator.train(vae, 4, images=64, batch=16)  # goes on from the checkpoint
    assert steps == 4
