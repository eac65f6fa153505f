import json
import logging
import subprocess
import sys

import huggingface_hub
import pytest
import torch
from diffusers import PNDMScheduler

import rlli_core
from rlli_core import SplitDiffusion, files
from rlli_core.diffusion.split import EMBEDDED_GUIDANCE_SCALE
from rlli_core.errors import InvalidArgument, ModelNotFound, UnsupportedPipeline

LIBRARIES = [logging.getLogger(name) for name in ("diffusers", "transformers")]


@pytest.fixture
def folder(tiny_pipeline, tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_gives_the_chain_that_was_saved(folder, chain, caplog, capfd):
    for library in LIBRARIES:
        library.addHandler(caplog.handler)  # they do not hand their records to the root logger
    loaded = SplitDiffusion.from_pretrained(str(folder), device="cpu")
    for library in LIBRARIES:
        library.removeHandler(caplog.handler)
    theirs, ours = (c.generate("a cat", 3, 7, output_type="latent") for c in (chain, loaded))
    assert torch.equal(theirs, ours) and loaded.guidance_scale == 7.5
    assert not caplog.records and capfd.readouterr().err == ""  # no complaints, no progress bars


def test_embedded_is_the_folder_in_the_data(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "DATA", tmp_path)
    with pytest.raises(ModelNotFound, match="embedded-sd.*pip install -e"):
        SplitDiffusion.from_pretrained("embedded", device="cpu")
    (tmp_path / "models").mkdir()
    folder.rename(tmp_path / "models" / "embedded-sd")
    assert SplitDiffusion.from_pretrained(device="cpu").guidance_scale == EMBEDDED_GUIDANCE_SCALE
    assert SplitDiffusion.from_pretrained("embedded", device="cpu", guidance_scale=2).guidance_scale == 2


def test_a_saved_scheduler_with_history_needs_one_word(folder):
    PNDMScheduler(skip_prk_steps=True, steps_offset=1).save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "PNDMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UnsupportedPipeline, match='PNDMScheduler.*scheduler="ddim"'):
        SplitDiffusion.from_pretrained(folder, device="cpu")
    chain = SplitDiffusion.from_pretrained(folder, device="cpu", scheduler="ddim")
    assert type(chain.scheduler).__name__ == "DDIMScheduler"


@pytest.mark.parametrize(
    ("gone", "match"),
    [
        ("model_index.json", "no model_index.json"),
        ("unet", "unet missing"),
        ("tokenizer", "tokenizer.* missing"),
        ("scheduler/scheduler_config.json", "scheduler missing"),
        ("unet/diffusion_pytorch_model.safetensors", "does not load"),
        ("text_encoder/model.safetensors", "does not load"),
        ("vae/config.json", "does not load"),
    ],
)
def test_an_incomplete_folder_says_what_is_missing(folder, gone, match):
    target = folder / gone
    target.unlink() if target.is_file() else target.rename(folder.parent / "away")
    with pytest.raises(ModelNotFound, match=match):
        SplitDiffusion.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("unet/diffusion_pytorch_model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("vae/diffusion_pytorch_model.safetensors", b"<!doctype html><title>not found</title>" * 9, "a web page"),
        ("text_encoder/model.safetensors", None, "broken off"),
        ("model_index.json", b'{"unet": ["diffu', "model_index.json is damaged"),
        ("model_index.json", b"[]", "model_index.json is damaged"),
        ("model_index.json", b"[1]", "names no parts"),
        ("scheduler/scheduler_config.json", b"{}", "scheduler_config.json is damaged.*empty"),
        ("unet/config.json", b"\xff\xfe", "config.json is damaged"),
        ("tokenizer/tokenizer.json", b"{}", "tokenizer.json is damaged.*empty"),
    ],
)
def test_damaged_files_are_named_with_the_remedy(folder, file, content, match):
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:-100] if content is None else content)
    with pytest.raises(ModelNotFound, match=match) as refused:
        SplitDiffusion.from_pretrained(folder, device="cpu")
    assert "\n" not in str(refused.value)


def test_pickled_weights_are_not_opened(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelNotFound, match="does not load"):
        SplitDiffusion.from_pretrained(folder, device="cpu")


def test_a_folder_with_16_bits_only_is_loaded(folder, tiny_pipeline, tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "half", variant="fp16")
    theirs, ours = (
        SplitDiffusion.from_pretrained(f, device="cpu").generate("a", 2, 0, output_type="latent")
        for f in (folder, tmp_path / "half")
    )
    assert torch.equal(theirs, ours)


def test_networks_that_would_be_left_out_are_refused(tiny_pipeline):
    controlled = tiny_pipeline()
    controlled.controlnet = torch.nn.Identity()
    with pytest.raises(UnsupportedPipeline, match="controlnet"):
        SplitDiffusion(controlled, device="cpu")
    pictured = tiny_pipeline()
    pictured.unet.encoder_hid_proj = torch.nn.Identity()
    try:
        with pytest.raises(UnsupportedPipeline, match="IP-Adapter"):
            SplitDiffusion(pictured, device="cpu")
    finally:
        pictured.unet.encoder_hid_proj = None  # the networks are those of all tests


@pytest.mark.parametrize("name", ["nobody/no-such-model", "./no/such/folder"])
def test_neither_a_folder_nor_a_reachable_hub_id(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound, match="no folder here.*connect to the network"):
        SplitDiffusion.from_pretrained(name, device="cpu")


@pytest.mark.parametrize(("name", "dtype"), [("", "auto"), (None, "auto"), ("embedded", "fp64")])
def test_bad_arguments_come_before_any_loading(name, dtype):
    with pytest.raises(InvalidArgument):
        SplitDiffusion.from_pretrained(name, device="cpu", dtype=dtype)


def test_the_package_imports_without_torch_and_offers_its_names():
    code = "import sys, rlli_core; assert 'torch' not in sys.modules; print(*sorted(rlli_core.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert {"SplitDiffusion", "SplitPlan", "FisherSnedecorF", "Link"} <= set(done.stdout.split()) <= set(dir(rlli_core))
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(rlli_core, "no_such_name")  # noqa: B009
