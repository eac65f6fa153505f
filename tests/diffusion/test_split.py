import copy
import dataclasses

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler

from rlli_core import SplitDiffusion, SplitPlan
from rlli_core.diffusion.schedule import device_steps, grid_steps, server_steps
from rlli_core.errors import InvalidArgument, UnsupportedPipeline

SCHEDULES = ("v trailing zero-snr", "epsilon leading", "sample linspace")
CAT, DOG = "a cat", "a dog"


def pixels(image) -> np.ndarray:
    return np.asarray(image)


def visited(chain: SplitDiffusion, run) -> list[tuple[int, int]]:
    """Return (timestep, batch with its guidance halves) of every call of the UNet itself while `run` runs."""
    seen = []

    def hook(_, args, __):
        seen.append((int(args[1]), len(args[0])))

    handle = chain.pipeline.unet.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_uncut_chain_is_the_diffusers_pipeline_bit_for_bit(tiny_pipeline, schedule, guidance):
    pipeline = tiny_pipeline(schedule)
    chain = SplitDiffusion(pipeline, device="cpu")
    for steps, seed in [(1, 0), (7, 3), (10, 2**40)]:
        asked = {"num_inference_steps": steps, "guidance_scale": guidance}
        for kind in ("latent", "pil"):
            theirs = pipeline(CAT, **asked, generator=torch.Generator("cpu").manual_seed(seed), output_type=kind).images
            ours = chain.generate(CAT, steps, seed, guidance, output_type=kind)
            if kind == "latent":
                assert torch.equal(ours, theirs)
            else:
                assert np.array_equal(pixels(ours), pixels(theirs[0])) and ours.size == (64, 64)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("total", [1, 5, 7])
def test_cut_and_uncut_agree_bit_for_bit_wherever_the_cut(tiny_pipeline, schedule, total):
    chain = SplitDiffusion(tiny_pipeline(schedule), device="cpu")
    whole, image = (chain.generate(CAT, total, 7, output_type=kind) for kind in ("latent", "pil"))
    path = chain.path(CAT, total, 7)
    for shared in range(total + 1):
        sent = chain.server_denoise(CAT, SplitPlan(shared, total - shared), seed=7)
        assert torch.equal(sent.latent, path[shared : shared + 1]) and sent.latent.dtype == torch.float32
        assert torch.equal(chain.device_denoise(sent, CAT, output_type="latent"), whole)
        assert np.array_equal(pixels(chain.device_denoise(sent, CAT)), pixels(image))
    assert sent.timestep == -1 and (sent.prompt, sent.seed, sent.link) == (CAT, 7, None)


def test_a_scaled_autoencoder_decodes_as_in_the_pipeline(tiny_pipeline):
    pipeline = tiny_pipeline("epsilon leading")
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline.vae = AutoencoderKL(**kinds, block_out_channels=(8,) * 4, norm_num_groups=2, latent_channels=4).eval()
    assert pipeline.vae.config.scaling_factor == 0.18215
    theirs = pipeline(CAT, num_inference_steps=3, generator=torch.Generator("cpu").manual_seed(7)).images[0]
    assert np.array_equal(pixels(SplitDiffusion(pipeline, device="cpu").generate(CAT, 3, 7)), pixels(theirs))


def test_the_prompt_the_seed_and_the_guidance_matter(chain):
    base = chain.generate(CAT, 3, 7, 3.0, output_type="latent")
    for prompt, seed, guidance in [(DOG, 7, 3.0), (CAT, 8, 3.0), (CAT, 7, 4.0)]:
        assert not torch.allclose(chain.generate(prompt, 3, seed, guidance, output_type="latent"), base, atol=1e-4)
    sent = chain.server_denoise(CAT, SplitPlan(1, 2), seed=7, guidance_scale=3.0)
    switched = chain.device_denoise(sent, DOG, guidance_scale=3.0, output_type="latent")
    assert torch.equal(switched, chain.path(CAT, 3, 7, switch=(1, DOG), guidance_scale=3.0)[-1:])
    assert not torch.allclose(switched, base, atol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_call_visits_exactly_the_planned_timesteps(tiny_pipeline, schedule):
    chain = SplitDiffusion(tiny_pipeline(schedule), device="cpu")
    plan, s = SplitPlan(3, (5, 7)), chain.scheduler
    sent = chain.server_denoise(CAT, plan, seed=7)
    seen = visited(chain, lambda: chain.server_denoise(CAT, plan, seed=7))
    assert seen == [(t, 2) for t, _ in server_steps(s, plan)] and len(seen) == 3
    for device, steps in enumerate((5, 7)):
        seen = visited(chain, lambda device=device: chain.device_denoise(sent, DOG, plan, device, guidance_scale=1.0))
        assert seen == [(t, 1) for t, _ in device_steps(s, plan, steps)] and len(seen) == steps
        assert seen[0][0] == grid_steps(s, 10)[3][0] and sent.timestep == grid_steps(s, 10)[2][1]
        assert seen[0][0] == sent.timestep or schedule == "sample linspace"  # there diffusers lands above where it looks next
    seen = visited(chain, lambda: chain.generate(CAT, 6, 7))
    assert seen == [(t, 2) for t, _ in grid_steps(s, 6)] and len(seen) == 6


def test_devices_share_one_server_run(chain):
    plan, steps = SplitPlan(2, (3, 6)), []
    chain.on_step = lambda timestep, latents: steps.append((timestep, latents))
    sent = chain.server_denoise(CAT, plan, seed=7)
    made = [chain.device_denoise(sent, DOG, plan, device, output_type="latent") for device in (0, 1)]
    assert chain.denoiser_calls == 2 + 3 + 6 == len(steps)
    assert [t for t, _ in steps[:2]] == [999, 874] and {count for _, count in steps} == {1}
    # The device on the longest chain gets what it would get alone; so does one that names its steps itself.
    alone = chain.server_denoise(CAT, SplitPlan(2, 6), seed=7)
    assert torch.equal(alone.latent, sent.latent)
    assert torch.equal(chain.device_denoise(alone, DOG, output_type="latent"), made[1])
    assert torch.equal(chain.device_denoise(alone, DOG, SplitPlan(2, 3), output_type="latent"), made[0])


def test_no_shared_step_leaves_each_device_its_own_chain(chain):
    sent = chain.server_denoise(CAT, SplitPlan(0, (3, 6)), seed=7)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(sent.latent, noise) and chain.denoiser_calls == 0
    for device, steps in enumerate((3, 6)):
        made = chain.device_denoise(sent, DOG, device=device, output_type="latent")
        assert torch.equal(made, chain.generate(DOG, steps, 7, output_type="latent"))


def test_no_device_step_decodes_the_handoff_as_it_is(chain):
    sent = chain.server_denoise(CAT, SplitPlan(3, (0, 4)), seed=7)
    before = chain.denoiser_calls
    assert torch.equal(chain.device_denoise(sent, DOG, output_type="latent"), sent.latent)
    image = chain.device_denoise(sent, DOG)
    assert chain.denoiser_calls == before
    with torch.no_grad():
        by_hand = chain.pipeline.vae.decode(sent.latent).sample[0].permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(image), ((by_hand / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8))


def test_a_batch_gives_what_single_calls_give(chain):
    prompts, seeds = [CAT, DOG, "", CAT, DOG], [3, 1, 4, 1, 5]
    singles = [chain.generate(p, 4, s, output_type="latent") for p, s in zip(prompts, seeds)]
    batch = chain.generates(prompts, 4, seeds, output_type="latent", batch_size=3)
    torch.testing.assert_close(batch, torch.cat(singles), atol=2e-5, rtol=1e-5)
    images = chain.generates(prompts, 4, seeds, batch_size=3)
    for image, prompt, seed in zip(images, prompts, seeds, strict=True):
        assert np.abs(pixels(image).astype(int) - pixels(chain.generate(prompt, 4, seed))).max() <= 1
    walked = chain.paths(CAT, 4, seeds, switch=(2, DOG), batch_size=2)
    single = torch.stack([chain.path(CAT, 4, seed, switch=(2, DOG)) for seed in seeds])
    assert walked.shape == (5, 5, 4, 8, 8)
    torch.testing.assert_close(walked, single, atol=2e-5, rtol=1e-5)


def test_many_handoffs_give_what_single_calls_give(chain):
    """Of several servers, plans and lengths, in the order in which they were given."""
    first, second = (chain.server_denoise(CAT, SplitPlan(2, (3, 6)), seed=seed) for seed in (7, 8))
    alone, complete = chain.server_denoise(CAT, SplitPlan(0, 3), seed=9), chain.server_denoise(DOG, SplitPlan(3, 0), seed=9)
    handoffs, prompts = [first, second, alone, complete, first, second], [DOG, CAT, "", DOG, CAT, DOG]
    plans, devices = [None, SplitPlan(2, (1, 3)), SplitPlan(0, 5), None, None, None], [0, 1, 0, 0, 1, 0]
    singles = [chain.device_denoise(*one, output_type="latent") for one in zip(handoffs, prompts, plans, devices)]
    exact = chain.device_denoises(handoffs, prompts, plans, devices, output_type="latent", batch_size=1)
    assert torch.equal(exact, torch.cat(singles))
    batches = visited(chain, lambda: chain.device_denoises(handoffs, prompts, plans, devices, guidance_scale=1.0))
    assert sorted(count for _, count in batches) == [1] * (5 + 6) + [3] * 3  # three walk the same three steps
    batch = chain.device_denoises(handoffs, prompts, plans, devices, output_type="latent")
    torch.testing.assert_close(batch, torch.cat(singles), atol=2e-5, rtol=1e-5)
    images = chain.device_denoises(handoffs, prompts, plans, devices, batch_size=1)
    assert [i.tobytes() for i in images] == [
        chain.device_denoise(*one).tobytes() for one in zip(handoffs, prompts, plans, devices)
    ]
    assert torch.equal(chain.device_denoises([first], [DOG], output_type="latent"), singles[0])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"handoffs": []}, "handoffs=0"),
        ({"prompts": [CAT]}, "handoffs=2"),
        ({"plans": [None]}, "handoffs=2"),
        ({"devices": [0, 1]}, "device=1"),
        ({"prompts": [CAT, 3]}, "prompt=3"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_lists_that_do_not_fit_are_refused_before_any_work(chain, arguments, match):
    sent = chain.server_denoise(CAT, SplitPlan(2, 2), seed=7)
    before = chain.denoiser_calls
    with pytest.raises(InvalidArgument, match=match):
        chain.device_denoises(**{"handoffs": [sent, sent], "prompts": [CAT, DOG]} | arguments)
    assert chain.denoiser_calls == before


def test_an_empty_prompt_is_no_condition_and_a_long_one_is_cut_off(chain):
    unguided, guided = (chain.generate("", 4, 7, g, output_type="latent") for g in (1.0, 9.0))
    torch.testing.assert_close(guided, unguided, atol=1e-4, rtol=1e-4)
    long = chain.generate("a b c d e f g h i j", 4, 7, output_type="latent")
    assert torch.equal(long, chain.generate("a b c d e f", 4, 7, output_type="latent"))  # 8 tokens with both ends


def test_embeddings_are_computed_once_per_prompt(chain):
    encoded = []
    handle = chain.pipeline.text_encoder.register_forward_hook(lambda *_: encoded.append(1))
    for seed in range(3):
        chain.generates([CAT, DOG], 2, [seed, seed])
    handle.remove()
    assert len(encoded) == 3  # CAT, DOG and the empty prompt of guidance


def test_bf16_on_the_cpu_is_close_and_repeats(tiny_pipeline):
    exact = SplitDiffusion(tiny_pipeline(), device="cpu", guidance_scale=2.0)
    rough = SplitDiffusion(tiny_pipeline(), device="cpu", dtype="bf16", guidance_scale=2.0)
    fp32, bf16 = (c.generate(CAT, 4, 7, output_type="latent") for c in (exact, rough))
    assert bf16.dtype == torch.float32 and rough.pipeline.unet.dtype == torch.float32
    assert 0 < (bf16 - fp32).abs().max() < 0.1 * fp32.std()
    sent = rough.server_denoise(CAT, SplitPlan(1, 3), seed=7)
    assert torch.equal(rough.device_denoise(sent, CAT, output_type="latent"), bf16)
    assert pixels(rough.generate(CAT, 4, 7)).std() > 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda c: c.server_denoise(None, SplitPlan(1, 1), seed=0), "prompt=None"),
        (lambda c: c.server_denoise([CAT], SplitPlan(1, 1), seed=0), "prompt="),
        (lambda c: c.server_denoise(CAT, (1, 1), seed=0), "plan="),
        (lambda c: c.server_denoise(CAT, SplitPlan(1, 1), seed=-1), "seed=-1"),
        (lambda c: c.server_denoise(CAT, SplitPlan(1, 1), seed=1.5), "seed=1.5"),
        (lambda c: c.server_denoise(CAT, SplitPlan(900, 101), seed=0), "steps=1001"),
        (lambda c: c.server_denoise(CAT, SplitPlan(1, 1), seed=0, guidance_scale=-1), "guidance_scale=-1"),
        (lambda c: c.generate(CAT, 0, 0), "steps=0"),
        (lambda c: c.generate(CAT, 2, 0, output_type="np"), "output_type='np'"),
        (lambda c: c.generates([], 2, []), "prompts="),
        (lambda c: c.generates(CAT, 2, [0]), "prompts="),
        (lambda c: c.generates([CAT], 2, [0, 1]), "seeds="),
        (lambda c: c.generates([CAT], 2, [0], batch_size=0), "batch_size=0"),
        (lambda c: c.path(CAT, 2, 0, switch=(3, DOG)), r"switch\[0\]=3"),
        (lambda c: c.path(CAT, 2, 0, switch=(1, None)), r"switch\[1\]=None"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(chain, call, match):
    with pytest.raises(InvalidArgument, match=match):
        call(chain)
    assert chain.denoiser_calls == 0


@pytest.mark.parametrize(
    ("change", "arguments", "match"),
    [
        ({}, {"prompt": 3}, "prompt=3"),
        ({}, {"device": 1}, "device=1"),
        ({}, {"plan": 4}, "plan=4"),
        ({}, {"plan": SplitPlan(3, 2)}, "plan.shared_steps=3"),
        ({}, {"plan": SplitPlan(2, 900)}, "device_steps=900"),
        ({"timestep": 12}, {}, "handoff.timestep=12"),
        ({"latent": torch.zeros(1, 4, 8, 16)}, {}, "handoff.latent.shape="),
        ({"latent": torch.full((1, 4, 8, 8), float("nan"))}, {}, "256 infinite or NaN"),
        ({"plan": SplitPlan(4, 0), "timestep": -1}, {"plan": SplitPlan(4, 1)}, "complete"),
    ],
)
def test_handoffs_that_no_device_can_take(chain, change, arguments, match):
    sent = dataclasses.replace(chain.server_denoise(CAT, SplitPlan(2, 2), seed=7), **change)
    before = chain.denoiser_calls
    with pytest.raises(InvalidArgument, match=match):
        chain.device_denoise(sent, **{"prompt": DOG} | arguments)
    assert chain.denoiser_calls == before
    with pytest.raises(InvalidArgument, match="handoff="):
        chain.device_denoise(sent.latent, DOG)


def test_a_pipeline_with_history_is_refused_and_one_word_helps(tiny_pipeline):
    pndm = PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    with pytest.raises(UnsupportedPipeline, match='scheduler="ddim"'):
        SplitDiffusion(tiny_pipeline(pndm), device="cpu")
    chain = SplitDiffusion(tiny_pipeline(pndm), device="cpu", scheduler="ddim")
    sent = chain.server_denoise(CAT, SplitPlan(2, 3), seed=7)
    cut = chain.device_denoise(sent, CAT, output_type="latent")
    assert torch.equal(cut, chain.generate(CAT, 5, 7, output_type="latent"))


def test_pipelines_of_another_type_are_refused(tiny_pipeline):
    with pytest.raises(UnsupportedPipeline, match="has no unet"):
        SplitDiffusion("embedded")
    inpainting = tiny_pipeline()
    inpainting.unet = type(inpainting.unet).from_config(inpainting.unet.config, in_channels=9)
    with pytest.raises(UnsupportedPipeline, match="9 channels"):
        SplitDiffusion(inpainting, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"device": "abacus"}, "device='abacus'"),
        ({"device": "cpu", "dtype": "fp16"}, "dtype='fp16'"),
        ({"device": "cpu", "dtype": "int8"}, "dtype='int8'"),
        ({"device": "cpu", "scheduler": "pndm"}, "scheduler='pndm'"),
        ({"device": "cpu", "guidance_scale": "high"}, "guidance_scale='high'"),
    ],
)
def test_bad_settings_are_refused(tiny_pipeline, arguments, match):
    with pytest.raises(InvalidArgument, match=match):
        SplitDiffusion(tiny_pipeline(), **arguments)


def test_latents_too_large_to_decode_are_an_error_not_an_image(chain, monkeypatch):
    sent = chain.server_denoise(CAT, SplitPlan(2, (0, 2)), seed=7)
    huge = dataclasses.replace(sent, latent=torch.full_like(sent.latent, 3e38))
    monkeypatch.setattr(chain.pipeline.vae, "decode", lambda latent, **_: (latent * 10,))  # as an AutoencoderKL would
    with pytest.raises(InvalidArgument, match="small enough to decode"):
        chain.device_denoise(huge, DOG)


def test_decode_gives_the_images_of_the_chain(chain):
    latents = chain.generates(["a", "b", "c"], 3, [0, 1, 2], output_type="latent")
    images = chain.generates(["a", "b", "c"], 3, [0, 1, 2])
    assert [image.tobytes() for image in chain.decode(latents)] == [image.tobytes() for image in images]


@pytest.mark.parametrize("latents", [torch.zeros(4, 8, 8), torch.zeros(1, 4, 8, 9), None])
def test_decode_refuses_other_shapes(chain, latents):
    with pytest.raises(InvalidArgument, match="latents"):
        chain.decode(latents)


def test_decode_refuses_what_is_not_finite(chain):
    with pytest.raises(InvalidArgument, match="finite"):
        chain.decode(torch.full((1, 4, 8, 8), float("nan")))


def test_a_text_encoder_that_changed_reads_a_prompt_anew(tiny_parts, tiny_pipeline):
    pipeline = tiny_pipeline()
    pipeline.text_encoder = copy.deepcopy(tiny_parts["text_encoder"])
    chain = SplitDiffusion(pipeline, device="cpu")
    before = chain.generate("a cat", 2, 0, output_type="latent")
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight.mul_(2)  # as a textual inversion or a fused adapter does
    changed = chain.generate("a cat", 2, 0, output_type="latent")
    assert torch.equal(changed, SplitDiffusion(pipeline, device="cpu").generate("a cat", 2, 0, output_type="latent"))
    assert not torch.equal(changed, before)
    pipeline.text_encoder = tiny_parts["text_encoder"]  # swapped
    assert torch.equal(chain.generate("a cat", 2, 0, output_type="latent"), before)


def test_a_word_learnt_by_textual_inversion_is_read_anew(tiny_parts, tiny_pipeline):
    pipeline = tiny_pipeline()
    pipeline.text_encoder, pipeline.tokenizer = map(copy.deepcopy, (tiny_parts["text_encoder"], tiny_parts["tokenizer"]))
    chain = SplitDiffusion(pipeline, device="cpu")
    before = {prompt: chain.generate(prompt, 2, 0, output_type="latent") for prompt in ("a <q>", "a cat")}
    pipeline.load_textual_inversion({"<q>": 5 * torch.ones(1, 32)}, token="<q>")
    after = {prompt: chain.generate(prompt, 2, 0, output_type="latent") for prompt in before}
    assert not torch.equal(before["a <q>"], after["a <q>"]) and torch.equal(before["a cat"], after["a cat"])
    whole = SplitDiffusion(pipeline, device="cpu").generate("a <q>", 2, 0, output_type="latent")
    assert torch.equal(after["a <q>"], whole)
