"""What is on this machine: the models that are here, how to get others, and an installation without a checkout."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from huggingface_hub.utils import filter_repo_objects

from rlli_core import files
from rlli_core.book import cli

ELSEWHERE = """
import contextlib, io, sys
from rlli_core.book import cli
for line in ("list", "models", "doctor", "run fig09", "sweep fig09 -g bep=0.1", "claims", "bench", "train --algorithm ddpg"):
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        status = cli.main(line.split())
    (wrong,) = told.getvalue().splitlines()
    assert status == 1 and "full checkout" in wrong and "pip install -e ." in wrong, (line, status, wrong)
from rlli_core import Persona
from rlli_core.allocation import Policy, ServiceEnv
from rlli_core.allocation.results import read
from rlli_core.errors import NoCheckout
for door in (lambda: Persona.named("GA1"), Policy.from_pretrained, ServiceEnv, read):
    with contextlib.suppress(NoCheckout):
        door()
        raise AssertionError(door)
assert cli.main(["list", "--help"]) == 0
"""


@pytest.mark.slow
def test_installed_without_a_checkout_every_command_and_door_says_so(tmp_path):
    shutil.copytree(files.DATA.parent / "rlli_core", tmp_path / "rlli_core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "empty").mkdir()
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE], cwd=tmp_path / "empty", env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "rlli_core"}  # nothing is written beside the package


# What the hub has beside the weights that are read: other precisions, formats, and a checker that no call here needs.
HUB = """unet/diffusion_pytorch_model.safetensors vae/diffusion_pytorch_model.safetensors text_encoder/model.safetensors model_index.json
unet/config.json vae/config.json text_encoder/config.json scheduler/scheduler_config.json tokenizer/vocab.json tokenizer/merges.txt
tokenizer/tokenizer_config.json""".split()
LEFT = """unet/diffusion_pytorch_model.fp16.safetensors unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.non_ema.safetensors
v1-5-pruned.ckpt v1-5-pruned.safetensors safety_checker/model.safetensors text_encoder/model.fp16.safetensors README.md""".split()


def test_the_advice_to_download_takes_what_is_read_and_no_more(capsys):
    cli.main(["models"])
    (advice,) = (line for line in capsys.readouterr().out.splitlines() if "hf download stable-diffusion" in line)
    words = shlex.split(advice)
    patterns = [after for word, after in zip(words, words[1:]) if word == "--include"]
    assert list(filter_repo_objects(HUB + LEFT, allow_patterns=patterns)) == HUB
