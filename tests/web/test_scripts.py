"""The scripts of the engine, each in a headless Chromium against its Python twin."""

import json
import random
from itertools import product

import numpy as np
import pytest
import torch
import yaml

from rlli_core import SplitPlan
from rlli_core.channel import codec
from rlli_core.diffusion.schedule import ddim_step, device_steps, grid_steps, server_steps
from rlli_core.paths import DATA

SEEDS = (0, 7, 2**32 - 1, 2**32 + 5, 2**53 - 1)

# Calls a function of a script; as JSON, because playwright's own way takes seconds for long lists.
CALL = """async ([module, name, inputs]) => {
  const typed = (input) =>
    input?.floats ? Float32Array.from(input.floats) : input?.bytes ? Uint8Array.from(input.bytes) : input;
  const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  return JSON.stringify((await import(`/engine/${module}.mjs`))[name](...inputs.map(typed)), plain);
}"""


@pytest.fixture(scope="module")
def page(exported, serve, open_page):
    """A page that may import the scripts."""
    return open_page(serve(exported) + "/index.html")


def call(page, module, name, *inputs):
    return json.loads(page.evaluate(CALL, [module, name, list(inputs)]))


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_torchs(page, seed):
    expected = torch.randn(2048, generator=torch.Generator("cpu").manual_seed(seed))
    np.testing.assert_allclose(call(page, "random", "torchNormal", seed, 2048), expected, atol=2e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_exponential_draws_are_numpys(page, seed):
    draws = page.evaluate(
        """async ([entropy, count]) => {
            const draw = (await import("/engine/random.mjs")).numpyExponential(entropy);
            return Array.from({ length: count }, draw);
        }""",
        [[seed, codec.FLIP_STREAM], 50_000],
    )
    expected = np.random.default_rng((seed, codec.FLIP_STREAM)).standard_exponential(50_000)
    assert expected.max() > 7.7  # the tail, drawn in a way of its own
    np.testing.assert_allclose(draws, expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 300.0])
def test_quantised_latents_are_the_same(page, scale):
    latent = scale * torch.randn(2048, generator=torch.Generator().manual_seed(5))
    packet = codec.encode(latent)
    sent = call(page, "codec", "encode", {"floats": latent.tolist()})
    assert bytes(sent["codes"]) == packet.payload
    received = call(page, "codec", "decode", sent)
    assert np.array_equal(np.float32(received), codec.decode(packet).numpy())


@pytest.mark.parametrize(("bep", "seed"), [*product((0.0, 1e-4, 0.01, 0.1, 0.5), SEEDS)])
def test_the_same_bits_flip(page, settings, bep, seed):
    payload = np.random.default_rng(1).bytes(2048)
    got = call(page, "codec", "flipBits", {"bytes": list(payload)}, bep, seed, settings["link"]["stream"])
    expected = codec.flip_bits(payload, bep, seed)
    assert bytes(got["codes"]) == expected
    assert got["flippedBits"] == sum((a ^ b).bit_count() for a, b in zip(payload, expected))


def test_every_grid_is_the_same(page, embedded):
    grids = page.evaluate("""async () => {
        const { gridSteps } = await import("/engine/schedule.mjs");
        return JSON.stringify(Array.from({ length: 1000 }, (_, i) => gridSteps(1000, i + 1)));
    }""")
    for steps, grid in enumerate(json.loads(grids), 1):
        assert tuple(map(tuple, grid)) == grid_steps(embedded.scheduler, steps), steps


def test_every_plan_walks_the_same_steps(page, embedded):
    rng = random.Random(0)
    plans = list(product(range(1, 6), product(range(0, 9, 2), range(5), (0, 7)))) + [(0, (1, 4, 9))]
    plans += [(rng.randrange(1, 400), tuple(rng.randrange(1, 300) for _ in range(3))) for _ in range(30)]
    for shared, counts in plans:
        plan = SplitPlan(shared, counts)
        got = call(page, "schedule", "planSteps", 1000, shared, list(counts))
        assert [tuple(step) for step in got["server"]] == list(server_steps(embedded.scheduler, plan))
        for steps, walk in zip(counts, got["devices"]):
            assert [tuple(step) for step in walk] == list(device_steps(embedded.scheduler, plan, steps)), (plan, steps)


@pytest.mark.parametrize("step", [(999, 874), (640, 3), (124, -1)])
def test_ddim_step_is_the_same(page, embedded, settings, step):
    output, latent = torch.randn(2, 2048, generator=torch.Generator().manual_seed(2))
    expected = ddim_step(embedded.scheduler, output, latent, *step)
    got = call(page, "schedule", "ddimStep", settings["schedule"], output.tolist(), {"floats": latent.tolist()}, list(step))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_tokens_are_the_same(page, embedded, settings):
    prompts = sum(yaml.safe_load((DATA / "prompts.yaml").read_text())["groups"], [])
    prompts += ["", "A lemon on a table, glossy style", "  A  Tiger,in\tthe snow ,\nflat style ", "a " * 22]
    for prompt in prompts:
        expected = embedded.pipeline.tokenizer(prompt, padding="max_length", max_length=24).input_ids
        assert call(page, "tokenizer", "tokenize", prompt, settings["tokens"]) == expected, prompt
