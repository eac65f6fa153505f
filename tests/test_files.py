"""Where checkpoints and rendered data sets go."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is Linux's")
@pytest.mark.parametrize("told", [True, False])
def test_work_is_where_the_variable_says_else_in_the_folder_for_caches(tmp_path, told):
    env = {key: value for key, value in os.environ.items() if key != "RLLI_WORK"} | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    env |= {"RLLI_WORK": str(tmp_path / "work")} if told else {}
    code = "from rlli_core.files import WORK; print(WORK)"
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert shown == str(tmp_path / ("work" if told else "cache/rlli"))
