"""The explorer in a live kernel, shown by Voila: dragging ends with the last setting's pictures, and the policy answers."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from rlli_core import Link, SplitPlan
from rlli_core.book.browser import atlas
from rlli_core.book.runner.notebooks import find

from ..conftest import PATIENCE_MS
from .test_explorer_page import picture, settle, slide, slider, value

pytestmark = pytest.mark.kernel

pytest.importorskip("voila", reason="Voila is not installed")
# Voila's page asks a content network for icons that it can do without.
VOILAS_OWN = ("fontawesome", "net::ERR_FAILED")


@pytest.fixture(scope="module")
def shown(open_page, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("voila") / "log"
    command = [sys.executable, "-m", "voila", str(find("explorer")), "--no-browser", f"--port={port}"]
    with (
        log.open("w") as told,
        subprocess.Popen(command, stdout=told, stderr=told, env=os.environ | {"OMP_NUM_THREADS": "1"}) as server,
    ):
        try:
            end = time.monotonic() + PATIENCE_MS / 1000
            while "is running at" not in log.read_text():
                assert server.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            page = open_page(f"http://127.0.0.1:{port}/")
            page.set_default_timeout(PATIENCE_MS)
            page.locator(".rlli").wait_for()
            settle(page)
            yield page
        finally:
            server.terminate()


def test_the_kernel_follows_the_sliders_and_the_policy(shown, embedded):
    control = slider(shown, "shared steps")
    for k in range(20):  # twenty settings in about a second, of which the kernel needs to finish the last one only
        control.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })); }", 1 + 7 * k % 9)
        shown.wait_for_timeout(40)
    begun = time.monotonic()
    slide(shown, "shared steps", 4)
    assert time.monotonic() - begun < 20, "the kernel works off what is stale"  # about a second on an idle machine
    steps = [int(value(shown, f"own steps t{k}")) for k in "₁₂"]
    plan, prompt = SplitPlan(4, tuple(steps)), "a tiger in front of a bush"
    got = Link().transmit(embedded.server_denoise(prompt, plan, 0), bep=0.03, seed=0)
    expected = np.asarray(embedded.device_denoise(got, prompt, plan, device=0)).astype(float)
    shown.wait_for_timeout(1000)  # pictures are decoded after they have come, and a stale one would still come now
    assert np.abs(picture(shown, "made") - expected).mean() < 1
    assert "Computed by the kernel" in shown.locator(".rlli .note").inner_text()

    index = atlas.read()
    chosen = index["groups"][0]["policy"]["-".join(map(str, (1, 0, 1, index["gains_db"].index(0.0))))]
    shown.get_by_role("button", name="Policy").click()
    shown.wait_for_function("document.querySelector('.rlli .note').innerText.startsWith('The policy chose')")
    settle(shown)
    labels = ("shared steps", "own steps t₁", "own steps t₂")
    assert [value(shown, label) for label in labels] == [f"{value:g}" for value in chosen[:3]]
    assert [problem for problem in shown.problems if not any(own in problem for own in VOILAS_OWN)] == []
