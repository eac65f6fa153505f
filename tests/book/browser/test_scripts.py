"""The scripts of the engine, each in a headless Chromium against its Python twin."""

import json
import random
from itertools import product

import numpy as np
import pytest
import torch
import yaml

from rlli_core import Persona, SplitPlan
from rlli_core.book.browser.export_agent import _tokens
from rlli_core.channel import codec
from rlli_core.diffusion.schedule import ddim_step, device_steps, grid_steps, server_steps
from rlli_core.files import DATA
from rlli_core.qoe.persona import people

pytestmark = pytest.mark.browser

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


# What a prompt may be made of to lead the agent astray, or a script that splits and strips not quite as Python does.
PIECES = (
    "tiger", "Tigers", "BUSH", "stars", "star", "butterflys", "zebra", "rating", "quality:", "9", "9 9", '"', ".", ",", ":", ";", "?!",
    "(dog)", '"cat"', "dog.cat", "user:", "User :", "superuser:", "assistant\u2003:", "a\u017f\u017fistant:", "human", "_system:",
    "\u00e9user:", "\u00b2human:", "<image>", "<s>", "</s>", "<<s>image>", "<pad", ">", "\ufeff", "\u200b", "\x1c", "\x85", "\xa0",
    "\u2028", "\u3000", "duc\u212a", "\u0130", "dog\u0301", "\U0001f42f", "__proto__", "constructor", "toString", "\n", "\t", " ", " ", " ",
)  # fmt: skip


def test_the_agent_is_told_the_same(page, agent, settings):
    rng = random.Random(0)
    prompts = sum(yaml.safe_load((DATA / "prompts.yaml").read_text())["groups"], [])
    prompts += ["", " ", "tiger " * 100, "\U0001f42f" * 298 + " dog", "\U0001f42f" * 296 + " dog", *PIECES]
    prompts += ["".join(rng.choices(PIECES, k=rng.randrange(1, 12))) for _ in range(400)]
    prompts += [" ".join(rng.choices(PIECES, k=rng.randrange(1, 60))) for _ in range(100)]
    roles = (
        "user:",
        "USER :",
        "superuser:",
        "assistant\u2003:",
        "a\u017f\u017fistant:",
        "\u00e9user:",
        "\u00b2user:",
        "_user:",
        "-user:",
    )
    prompts += [f"{role} " * 20 + "cow " * 80 for role in roles]  # a colon less and more of what follows is read
    who = [*people(), [0, 1, 0.5, 0.005, 0.995], *([rng.random() for _ in range(5)] for _ in range(300))]
    who += [[(i + 1) % 100 / 99, i / 198, 0, 1, 0.5] for i in range(199)]  # on the edges between two digits
    cases = [[who[i % len(who)], prompts[i % len(prompts)]] for i in range(max(len(who), len(prompts)))]
    told = page.evaluate(
        """async ([cases, settings]) => {
            const { conversation } = await import("/engine/agent.mjs");
            return JSON.stringify(cases.map(([person, prompt]) => Array.from(conversation(person, prompt, settings))));
        }""",
        [cases, settings["agent"]],
    )
    for (person, prompt), tokens in zip(cases, json.loads(told), strict=True):
        persona = Persona.named(person) if isinstance(person, str) else Persona.of(person)
        assert tokens == _tokens(agent, persona, prompt), (person, prompt)


def test_a_score_is_what_python_makes_of_the_chances(page, agent):
    rng = np.random.default_rng(0)
    for mass in (1.0, 0.75, 0.5001):
        chances = mass * rng.dirichlet(np.ones(10))
        got = call(page, "agent", "rate", chances.tolist(), agent.least_mass)
        assert got["mass"] == pytest.approx(mass) and got["value"] == pytest.approx(chances @ np.arange(10) / 9 / mass)
        np.testing.assert_allclose(got["probabilities"], chances / mass)
    for chances, least in ((np.full(10, 0.0499), 0.5), (np.zeros(10), 0.0), (np.full(10, np.nan), 0.5)):
        said = page.evaluate(
            """async ([chances, least]) => {
                const { rate } = await import("/engine/agent.mjs");
                try { return rate(chances, least); } catch (error) { return error.name; }
            }""",
            [chances.tolist(), least],
        )
        assert said == "UnreadableScore", chances
