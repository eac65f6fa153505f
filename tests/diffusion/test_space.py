"""Which models may finish what another one began: those whose latents mean the same, whatever denoises them."""

import copy

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel

from rlli_core import Link, SplitDiffusion, SplitPlan
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff

from ..conftest import tiny_scheduler

PLAN = SplitPlan(2, 3)


@pytest.fixture
def other(tiny_parts):
    """Call it with parts in the place of the tiny ones, and changes to the schedule, for another model."""

    def build(name="another-model", schedule="v trailing zero-snr", changes=(), **parts):
        model = StableDiffusionPipeline(
            **tiny_parts | parts, scheduler=tiny_scheduler(schedule, **dict(changes)), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        model.register_to_config(_name_or_path=name)
        return SplitDiffusion(model, device="cpu")

    return build


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make().eval()


def small_unet():
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(16,), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip


def other_vae():
    return AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)


def damaged_vae(parts, share):
    vae = copy.deepcopy(parts["vae"])
    with torch.no_grad():
        for weights in vae.decoder.parameters():
            weights += share * weights.abs().mean() * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    return vae


def test_a_smaller_denoiser_and_a_larger_one_go_on_for_each_other(tmp_path, chain, other):
    small = other(unet=seeded(small_unet))
    for server, device in ((chain, small), (small, chain)):
        sent = server.server_denoise("a cat", PLAN, seed=7)
        Link().transmit(sent, bep=0.05, seed=1).save(tmp_path / "half")
        got = Handoff.load(tmp_path / "half", device)
        image = device.device_denoise(got, "a dog")
        assert image.tobytes() == device.device_denoise(Link().transmit(sent, bep=0.05, seed=1), "a dog").tobytes()
        assert image.tobytes() != server.device_denoise(got, "a dog").tobytes()


def test_another_spelling_of_the_same_schedule_or_another_precision_is_the_same_space(chain, other, tiny_pipeline):
    epsilon = other(schedule="epsilon leading", changes={"timestep_spacing": "trailing", "set_alpha_to_one": True})
    plain = other(schedule="sample linspace", changes={"timestep_spacing": "trailing"})
    for server, device in ((epsilon, plain), (plain, epsilon)):  # what a network predicts is its own affair
        device.device_denoise(server.server_denoise("a cat", PLAN, seed=7), "a dog")
    half = SplitDiffusion(tiny_pipeline(), device="cpu", dtype="bf16")
    half.device_denoise(chain.server_denoise("a cat", PLAN, seed=7), "a dog")
    chain.device_denoise(half.server_denoise("a cat", PLAN, seed=7), "a dog")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (lambda parts: {"vae": seeded(other_vae)}, "another autoencoder"),
        (lambda parts: {"vae": damaged_vae(parts, 1.0)}, "another autoencoder"),
        (lambda parts: {"changes": {"beta_end": 0.013}}, "another noise schedule"),
        (lambda parts: {"changes": {"rescale_betas_zero_snr": False}}, "another noise schedule"),
        (lambda parts: {"changes": {"timestep_spacing": "leading"}}, "handoff.timestep="),
        (lambda parts: {"unet": seeded(lambda: UNet2DConditionModel(**parts["unet"].config | {"sample_size": 16}))}, "latent.shape="),
    ],
)  # fmt: skip
def test_another_space_is_refused_in_both_orders_with_both_names(tmp_path, chain, other, tiny_parts, changed, what):
    stranger = other(**changed(tiny_parts))
    for server, device, names in (
        (chain, stranger, "is of StableDiffusionPipeline, here is another-model"),
        (stranger, chain, "is of another-model, here is StableDiffusionPipeline"),
    ):
        sent = server.server_denoise("a cat", PLAN, seed=7)
        sent.save(tmp_path / "half")
        before = device.denoiser_calls
        for refuse in (lambda: device.device_denoise(sent, "a dog"), lambda: Handoff.load(tmp_path / "half", device)):  # noqa: B023
            with pytest.raises(InvalidArgument, match=f"{what}.*{names}") as raised:
                refuse()
            assert "\n" not in str(raised.value)
        assert device.denoiser_calls == before


def test_an_autoencoder_that_is_changed_in_place_is_noticed(chain, tiny_parts):
    before = chain.denoiser.space()
    chain.pipeline.vae = damaged_vae(tiny_parts, 1.0)
    assert before.differs_in(chain.denoiser.space()) == "autoencoder"
    chain.pipeline.vae = tiny_parts["vae"]
    assert before == chain.denoiser.space()
