"""Tiny random Stable Diffusion pipelines out of diffusers' own classes, for every test that needs a chain."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from rlli_core import SplitDiffusion

LENGTH = 8  # tokens a prompt may have, with its two ends
SCHEDULES = {
    "v trailing zero-snr": {
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
    },
    "epsilon leading": {"prediction_type": "epsilon", "timestep_spacing": "leading", "set_alpha_to_one": False},
    "sample linspace": {"prediction_type": "sample", "timestep_spacing": "linspace"},
}


def tiny_scheduler(schedule: str = "v trailing zero-snr", **changes: object) -> DDIMScheduler:
    """Return a DDIM scheduler as Stable Diffusion pipelines have it."""
    common = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**common | {"clip_sample": False, "steps_offset": 1} | SCHEDULES[schedule] | changes)


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """Return a CLIP tokenizer that knows single letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH)


@pytest.fixture(scope="session")
def tiny_parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The networks and the tokenizer, random with a fixed seed; 8x8 latents of 4 channels, 64x64 images."""
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        )
        vae = AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4)
        return {"tokenizer": tokenizer, "text_encoder": CLIPTextModel(text), "unet": unet, "vae": vae}


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_parts: dict[str, object]) -> Callable[..., StableDiffusionPipeline]:
    """Call it with a scheduler, or a name in `SCHEDULES` and changes to it, for a pipeline of the tiny parts."""

    def build(scheduler: object = "v trailing zero-snr", **changes: object) -> StableDiffusionPipeline:
        if isinstance(scheduler, str):
            scheduler = tiny_scheduler(scheduler, **changes)
        pipeline = StableDiffusionPipeline(
            **tiny_parts,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        for part in ("text_encoder", "unet", "vae"):
            getattr(pipeline, part).eval()
        return pipeline

    return build


@pytest.fixture
def kill() -> Callable[[subprocess.Popen], None]:
    """Call it with a process to kill it by SIGKILL; those that it had started must then end by themselves."""

    def now(process: subprocess.Popen) -> None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(family, timeout=10)[1]

    return now


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user may not mount a small disk: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def chain(tiny_pipeline: Callable[..., StableDiffusionPipeline]) -> SplitDiffusion:
    """A chain over the tiny pipeline, v-prediction, zero terminal SNR, trailing spacing; on the CPU in fp32."""
    return SplitDiffusion(tiny_pipeline(), device="cpu")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines of Ray on this one, of a core each; a test may stop the second."""
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "300")  # as pytest's other processes may have all cores
        from ray.cluster_utils import Cluster

        machines = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, "num_cpus": 1})
        try:
            machines.second = machines.add_node(num_cpus=1)
            yield machines
        finally:
            machines.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a browser, or a notebook's kernel."""
    for item in items:
        if {"browser", "exported"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")
        if item.path.suffix == ".ipynb":
            item.add_marker("kernel")
