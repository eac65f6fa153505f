"""The scripts of the engine, each in a headless Chromium against its Python twin."""

import json
import random
from itertools import product

import numpy as np
import pytest
import torch
import yaml

from rlli_core import Link, Persona, SplitPlan
from rlli_core.book.browser.export_agent import _tokens
from rlli_core.channel import codec, moments
from rlli_core.diffusion.receiver import RESTART_STREAM, effective_timestep, receive, restart_range
from rlli_core.diffusion.schedule import ddim_step, device_steps, grid_steps, handoff_timestep, server_steps
from rlli_core.errors import InvalidArgument
from rlli_core.files import DATA
from rlli_core.qoe.persona import people
from rlli_core.records import Handoff

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
        assert got["timestep"] == handoff_timestep(embedded.scheduler, plan), plan


@pytest.mark.parametrize("step", [(999, 874), (640, 3), (124, -1)])
def test_ddim_step_is_the_same(page, embedded, settings, step):
    output, latent = torch.randn(2, 2048, generator=torch.Generator().manual_seed(2))
    expected = ddim_step(embedded.scheduler, output, latent, *step)
    got = call(page, "schedule", "ddimStep", settings["schedule"], output.tolist(), {"floats": latent.tolist()}, list(step))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
def test_moments_are_the_same(page, bits):
    for bep, (low, high) in product((0.0, 1e-4, 0.03, 0.3, 0.5), ((-4.0, 4.0), (-3.25, 5.5), (2.0, 2.0))):
        got = call(page, "codec", "moments", {"low": low, "high": high, "codes": []}, bits, bep)
        expected = moments(bits, bep, "uniform", low, high)
        assert [got[name] for name in ("bias", "offset", "variance")] == pytest.approx(
            [expected.bias, expected.offset, expected.variance], rel=1e-12
        )


def test_effective_timesteps_are_the_same(page, embedded, settings):
    """Beside others, where the noise makes up exactly the step from one timestep to another."""
    alphas = embedded.scheduler.alphas_cumprod.tolist()
    cases = [*product((-1, 0, 1, 333, 500, 888, 999), (0.0, 1e-9, 1e-4, 0.03, 0.7, 40.0, 1e9))]
    cases += [(t, alphas[t] / alphas[later] - 1) for t, later in product(range(0, 900, 50), (901, 950, 998))]
    got = page.evaluate(
        """async ([schedule, cases]) => {
            const { effectiveTimestep } = await import("/engine/receiver.mjs");
            return cases.map(([timestep, noise]) => effectiveTimestep(schedule, timestep, noise));
        }""",
        [settings["schedule"], cases],
    )
    assert got == [effective_timestep(embedded.scheduler, *case) for case in cases]


RECEIVE = """async ([settings, cases]) => {
  const { moments } = await import("/engine/codec.mjs");
  const { planSteps } = await import("/engine/schedule.mjs");
  const { receive, restartRange } = await import("/engine/receiver.mjs");
  return JSON.stringify(cases.map(([shared, longest, steps, values, packet, bep, seed, receiver, restart]) => {
    const { timestep, devices } = planSteps(1000, shared, [longest, steps]);
    const damage = packet && moments(packet, 8, bep);
    const handoff = { latent: Float32Array.from(values), timestep, seed, damage, steps: devices[1] };
    const range = restartRange(settings.schedule, handoff, receiver);
    try {
      const { latent, walk } = receive(settings.schedule, handoff, steps, receiver, restart, settings.restart_stream);
      return { range, walk, latent: Array.from(latent) };
    } catch (error) {
      return { range, name: error.name, said: error.message };
    }
  }));
}"""


def test_what_is_received_is_the_same(page, embedded, settings):
    """Latent, walk and range of each receiver and restart, and what is refused."""
    assert settings["restart_stream"] == RESTART_STREAM and settings["receivers"] == ["paper", "noise-aware"]
    scheduler, asked, expected, refused = embedded.scheduler, [], [], 0
    plans = ((0, 4, 4), (0, 3, 1), (2, 8, 3), (3, 5, 5), (1, 8, 0), (5, 0, 0))
    starts = (None, 0, 2, 400, 800, 999, 1000, -1, 800.5)
    for (shared, longest, steps), bep, seed, receiver, restart in product(
        plans, (0.0, 0.03, 0.15, 0.5), (7, 2**32 + 3), settings["receivers"], starts
    ):
        plan = SplitPlan(shared, (longest, steps))
        noise = torch.randn((1, 8, 2, 2), generator=torch.Generator().manual_seed(seed))
        handoff = Handoff(noise, plan, handoff_timestep(scheduler, plan), "", seed)
        packet = None
        if shared:
            handoff = Link().transmit(handoff, bep=bep, seed=seed)
            packet = {"low": handoff.link.low, "high": handoff.link.high}

        def noise_of(some):
            return torch.randn((1, 8, 2, 2), generator=torch.Generator().manual_seed(some))

        values = handoff.latent.flatten().tolist()
        asked.append([shared, longest, steps, values, packet, bep, seed, receiver, restart])
        try:
            latent, walk = receive(scheduler, handoff, steps, receiver, restart, noise_of)
            made = (latent.flatten().numpy(), [list(step) for step in walk])
        except InvalidArgument:
            made, refused = None, refused + 1
        expected.append((list(restart_range(scheduler, handoff, receiver)), made))
    for case, here, (limits, made) in zip(asked, json.loads(page.evaluate(RECEIVE, [settings, asked])), expected, strict=True):
        assert here["range"] == limits, case
        if made is None:
            assert here["name"] == "EngineError", case
            if (restart := case[-1]) != 800.5 and not limits[0] <= restart <= limits[1]:
                assert f"must be a timestep from {limits[0]} to {limits[1]}" in here["said"], case
        else:
            np.testing.assert_allclose(here["latent"], made[0], atol=1e-5, err_msg=str(case))
            assert here["walk"] == made[1], case
    assert 100 < refused < len(asked) - 100


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
