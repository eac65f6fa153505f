"""Where checkpoints and rendered data sets go."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from rlli_core import files


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is Linux's")
@pytest.mark.parametrize("told", [True, False])
def test_work_is_where_the_variable_says_else_in_the_folder_for_caches(tmp_path, told):
    env = {key: value for key, value in os.environ.items() if key != "RLLI_WORK"} | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    env |= {"RLLI_WORK": str(tmp_path / "work")} if told else {}
    code = "from rlli_core.files import WORK; print(WORK)"
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert shown == str(tmp_path / ("work" if told else "cache/rlli"))


def test_the_same_weights_and_metadata_give_the_same_bytes(tmp_path):
    tensors = {name: torch.full((3, 2), i, dtype=torch.float16) for i, name in enumerate("cab")}
    about = {key: key * 3 for key in "the quick brown fox jumps over it".split()}
    written = set()
    for i in range(6):
        files.write_weights(tmp_path / f"{i}.safetensors", dict(reversed(tensors.items())) if i % 2 else tensors, about)
        written.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(written) == 1 and len(list(tmp_path.iterdir())) == 6
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == about and all(torch.equal(file.get_tensor(name), tensors[name]) for name in tensors)
