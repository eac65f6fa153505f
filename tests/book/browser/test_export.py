"""The model for the browser: the same networks as in Python, small, and written only when they changed."""

import json
import os

import numpy as np
import onnxruntime
import pytest
import torch
import yaml

from rlli_core import SplitDiffusion
from rlli_core.book.browser import export as module
from rlli_core.book.browser import export_agent
from rlli_core.book.browser.export import export, fingerprint, networks, settings, to_onnx
from rlli_core.diffusion.schedule import ddim_step
from rlli_core.embedded import scenes
from rlli_core.errors import UnsupportedPipeline
from rlli_core.files import DATA

pytestmark = pytest.mark.slow

TIMESTEPS = (999, 640, 1)


@pytest.fixture(scope="module")
def engine(exported):
    return exported / "engine"


def sessions(engine, name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(engine / name, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", ["text_encoder.onnx", "unet.onnx", "decoder.onnx"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_networks_are_those_of_torch(engine, embedded, name, seed):
    network, example = networks(embedded.denoiser)[name]
    generator = torch.Generator().manual_seed(seed)
    inputs = {key: torch.randn(value.shape, generator=generator) for key, value in example.items()}
    if "tokens" in inputs:
        known = len(embedded.pipeline.tokenizer)
        inputs["tokens"] = torch.randint(known, example["tokens"].shape, generator=generator, dtype=torch.int32)
    if "timestep" in inputs:
        inputs["timestep"] = torch.tensor([float(TIMESTEPS[seed])])
        inputs["guidance"] = torch.tensor([embedded.guidance_scale])
    with torch.no_grad():
        expected = network(*inputs.values()).numpy()
    (computed,) = sessions(engine, name).run(None, {key: value.numpy() for key, value in inputs.items()})
    assert expected.std() > 0.05
    np.testing.assert_allclose(computed, expected, atol=1e-4)


def test_guidance_in_the_network_is_that_of_the_chain(embedded):
    prompt, latent = "a dog in front of a bush", embedded.denoiser.noise([3])
    unet, _ = networks(embedded.denoiser)["unet.onnx"]
    with embedded.denoiser.computing():
        texts = torch.cat([embedded.denoiser._embed(text) for text in ("", prompt)])
        output = unet(latent, torch.tensor([999.0]), texts, torch.tensor([embedded.guidance_scale]))
        landed = embedded.denoiser.advance(latent, [prompt], (999, 899), embedded.guidance_scale)
    expected = ddim_step(embedded.scheduler, output, latent, 999, 899)
    torch.testing.assert_close(landed, expected, atol=1e-5, rtol=0)


def test_files_are_small_and_of_no_machine(engine):
    sizes = {path.name: path.stat().st_size for path in engine.glob("*.onnx")}
    agent = {name: sizes[name] for name in ("agent_eye.onnx", "agent_mind.onnx")}
    assert set(sizes) - set(agent) == {"text_encoder.onnx", "unet.onnx", "decoder.onnx"}
    assert sum(agent.values()) < 15e6 and sum(sizes.values()) < 40e6
    assert json.loads((engine / "engine.json").read_text())["files"] == sizes
    for path in engine.iterdir():
        content = path.read_bytes()
        assert str(DATA.parent).encode() not in content and b"site-packages" not in content, path.name


def test_the_same_network_gives_the_same_bytes(engine, embedded, agent):
    assert to_onnx(*networks(embedded.denoiser)["decoder.onnx"]) == (engine / "decoder.onnx").read_bytes()
    assert to_onnx(*export_agent.networks(agent)["agent_mind.onnx"]) == (engine / "agent_mind.onnx").read_bytes()


def test_what_is_up_to_date_is_not_written_again(engine, embedded, agent, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(module, "to_onnx", lambda network, *_: written.append(network) or b"network")
    assert export(tmp_path, embedded, agent) and len(written) == 5
    assert not export(tmp_path, embedded, agent) and len(written) == 5
    os.truncate(tmp_path / "unet.onnx", 3)
    assert export(tmp_path, embedded, agent) and len(written) == 10
    monkeypatch.setattr(module, "fingerprint", lambda *models: "another model")
    assert export(tmp_path, embedded, agent) and len(written) == 15
    assert {path.name for path in module.STATIC.glob("*.mjs")} < {path.name for path in tmp_path.iterdir()}


def test_another_fingerprint_for_another_agent_or_model(tmp_path):
    folders = [tmp_path / name for name in ("model", "agent")]
    for folder in folders:
        (folder / "prompts").mkdir(parents=True)
        (folder / "prompts" / "question.j2").write_text("question")
    prints = {fingerprint(*folders)}
    for folder in folders:
        (folder / "prompts" / "question.j2").write_text("another question")
        prints.add(fingerprint(*folders))
    assert len(prints) == 3 and fingerprint(*folders) in prints


def test_words_are_those_of_the_captions(engine, embedded):
    words = json.loads((engine / "engine.json").read_text())["tokens"]["words"]
    tokenizer = embedded.pipeline.tokenizer
    for word, token in words.items():
        assert tokenizer(word).input_ids == [tokenizer.bos_token_id, token, tokenizer.eos_token_id], word
    prompts = sum(yaml.safe_load((DATA / "prompts.yaml").read_text())["groups"], [])
    rng = np.random.default_rng(0)
    captions = [
        scenes.caption(rng, str(name), place, style, relation, "umbrella")
        for name in scenes.NAMES
        for place in scenes.PLACES
        for style in scenes.STYLES
        for relation in ("alone", "under", "beside", "feeding")
    ]
    used = {word for text in (*prompts, *captions) for word in text.lower().replace(",", " ,").split()}
    assert used <= set(words)
    assert not {"zebra", "b", "!", ""} & set(words)


def test_another_schedule_is_refused(tiny_pipeline):
    with pytest.raises(UnsupportedPipeline, match="trailing"):
        settings(SplitDiffusion(tiny_pipeline("epsilon leading"), device="cpu"))
