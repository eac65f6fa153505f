"""Every public door, with hostile values in the place of each argument: it works, or it raises an error of ours at once."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rlli_core import FisherSnedecorF, Link, Persona, PersonaAgent, SplitDiffusion, SplitPlan
from rlli_core.allocation import Service, ServiceConfig, ServiceEnv, optimum, oracle
from rlli_core.book import intervals, percentiles, say
from rlli_core.channel import (
    Ldpc,
    Repetition,
    Retransmission,
    average_bep,
    best_packed_code,
    code_moments,
    conditional_bep,
    dbw_to_w,
    decode,
    encode,
    flip_bits,
    moments,
    read_header,
    w_to_dbw,
)
from rlli_core.errors import RlliError
from rlli_core.machines import Request, ask
from rlli_core.qoe import psnr, ssim
from rlli_core.qoe.favourites import read_favourites
from rlli_core.records import Handoff
from rlli_core.round import serve

from .allocation.madeup import FormulaQoE
from .qoe import models

PICTURE = Image.effect_noise((32, 32), 40).convert("RGB")
CLOSED = PICTURE.copy()
CLOSED.close()


class Hostile:
    """Equal to nothing, of no length, and even its name fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no name")


WILD = [
    None, True, False, -1, 0, 1, 2**31, 2**63, 2**70, -(2**70), 0.5, -0.0, math.nan, math.inf, -math.inf, 1e300, 1e-300, 1 + 2j, "", " ", "a\0b",
    "\ud800", "x" * 5000, b"bytes", [], (), {}, set(), [None], ["a", 1], [math.nan], [[1], [2, 3]], {"a": 1}, range(0), np.float64("nan"), np.int64(3),
    np.array([]), np.zeros((0, 4)), np.array([1 + 1j]), np.array(["a"]), np.array([None]), np.ones((2, 3)), torch.tensor(math.nan), torch.zeros(0),
    torch.ones(1, 4, 8, 8, dtype=torch.complex64), torch.ones(1, 4, 8, 8) * math.inf, Image.new("RGB", (0, 0)), CLOSED, object(), int, len, lambda: 1,
    10**400, -(10**400), Fraction(10**400), Fraction(1, 3), Decimal("0.5"), pd.NA, np.bool_(True), np.array(0.5), np.array([0.5]),
    Hostile(), SplitPlan(1, 1), Persona(0.5, 0.5, 0.5, 0.5, 0.5),
]  # fmt: skip
ANYTHING = st.one_of(
    st.sampled_from(WILD), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(-3, 3), max_size=3)
)


@pytest.fixture(scope="module")
def doors(tmp_path_factory, tiny_pipeline) -> dict[str, tuple[Callable, dict]]:
    """Name -> a public callable, and arguments with which it works."""
    chain = SplitDiffusion(tiny_pipeline(), device="cpu")
    agent = PersonaAgent(*models.llava(), device="cpu", least_mass=0)
    plan, link, fading = SplitPlan(1, 2), Link(), FisherSnedecorF(2.0, 1.5)
    sent = chain.server_denoise("a", plan, 0)
    packet = encode(sent.latent, plan)
    piloted = Link(pilots=100)
    received = piloted.transmit(sent, seed=0, bep=0.1)
    received.save(saved := tmp_path_factory.mktemp("saved") / "half")
    service = Service(ServiceConfig(users=2), FormulaQoE())
    states = service.draw(np.random.default_rng(0), 2)
    env = ServiceEnv(service.config, service.source)
    env.reset(seed=0)
    latents = torch.zeros(1, *chain.denoiser.latent_shape[1:])
    people = [Persona.named("GA1")]
    return {
        "SplitPlan": (SplitPlan, {"shared_steps": 1, "device_steps": 2}),
        "FisherSnedecorF": (FisherSnedecorF, {"severity": 2.0, "shadowing": 1.5}),
        "fading.sample": (fading.sample, {"size": 3, "seed": 0}),
        "Link": (Link, {"fading": fading, "modulation": "bpsk", "gain_db": 0.0, "bits": 8, "number_format": "uniform", "bit_rate_bps": 1e8, "pilots": 0, "protection": None}),
        "link.bep": (link.bep, {"power_w": 1.0, "gain": 1.0}),
        "link.mean_snr": (link.mean_snr, {"power_w": 1.0}),
        "link.power_for_bep": (link.power_for_bep, {"bep": 0.1, "gain": 1.0}),
        "link.transmit": (link.transmit, {"handoff": sent, "seed": 0, "bep": 0.1}),
        "link.transmit by power": (link.transmit, {"handoff": sent, "seed": 0, "power_w": 1.0, "gain": 1.0}),
        "link.estimate_bep": (piloted.estimate_bep, {"handoff": received, "method": "variance", "second_moment": 1.0}),
        "link.assume": (piloted.assume, {"handoff": received, "bep": 0.1}),
        "Repetition": (Repetition, {"counts": (3, 1)}),
        "Retransmission": (Retransmission, {"block_bits": 64}),
        "Ldpc": (Ldpc, {"rate": 0.5, "protected": 2, "length": 200, "iterations": 5, "seed": 0}),
        "best_packed_code": (best_packed_code, {"bep": 0.1, "channel_bits": 6, "receiver": "paper", "number_format": "gray", "width": 6.0}),
        "moments": (moments, {"bits": 4, "bep": 0.1, "number_format": "uniform", "low": 0.0, "high": 1.0}),
        "moments by bit": (moments, {"bits": 2, "bep": [0.1, None], "number_format": "gray"}),
        "code_moments": (code_moments, {"bits": 4, "bep": 0.1, "number_format": "gray", "low": 0.0, "high": 1.0}),
        "average_bep": (average_bep, {"modulation": "bpsk", "fading": fading, "mean_snr": 1.0}),
        "conditional_bep": (conditional_bep, {"modulation": "bpsk", "snr": 1.0}),
        "dbw_to_w": (dbw_to_w, {"power_dbw": 1.0}),
        "w_to_dbw": (w_to_dbw, {"power_w": 1.0}),
        "encode": (encode, {"latent": sent.latent, "plan": plan, "bits": 8, "number_format": "uniform"}),
        "decode": (decode, {"packet": packet}),
        "read_header": (read_header, {"header": packet.header}),
        "flip_bits": (flip_bits, {"payload": packet.payload, "bep": 0.1, "seed": 0}),
        "Persona": (Persona, dict.fromkeys(("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism"), 0.5)),
        "Persona.of": (Persona.of, {"vector": [0.5] * 5}),
        "Persona.named": (Persona.named, {"name": "GA1"}),
        "chain.server_denoise": (chain.server_denoise, {"prompt": "a", "plan": plan, "seed": 0, "guidance_scale": 2.0}),
        "chain.device_denoise": (chain.device_denoise, {"handoff": sent, "prompt": "a", "plan": plan, "device": 0, "output_type": "pil", "receiver": "noise-aware", "restart": 999}),
        "chain.generate": (chain.generate, {"prompt": "a", "steps": 1, "seed": 0, "guidance_scale": 2.0, "output_type": "pil", "start": 900}),
        "chain.generates": (chain.generates, {"prompts": ["a"], "steps": 1, "seeds": [0], "batch_size": 1, "start": 900}),
        "chain.path": (chain.path, {"prompt": "a", "steps": 2, "seed": 0, "switch": (1, "b")}),
        "chain.decode": (chain.decode, {"latents": latents, "batch_size": 1}),
        "chain.sweep": (
            chain.sweep,
            {
                "server_prompt": "a", "device_prompts": ["b"], "shared_steps": [1], "device_steps": [1], "bep": [0.1], "seeds": [0],
                "link": link, "batch_size": 1, "progress": False,
            },
        ),
        "from_pretrained": (SplitDiffusion.from_pretrained, {"name": "no such folder", "device": "cpu", "dtype": "fp32", "scheduler": "ddim"}),
        "agent.score": (agent.score, {"image": PICTURE, "persona": people[0], "prompt": "a", "seed": 0}),
        "agent.scores": (agent.scores, {"images": [PICTURE], "personas": people, "prompts": ["a"], "seeds": [0]}),
        "agent.descriptions": (agent.descriptions, {"images": [PICTURE]}),
        "psnr": (psnr, {"image": PICTURE, "reference": PICTURE}),
        "ssim": (ssim, {"image": PICTURE, "reference": PICTURE}),
        "read_favourites": (read_favourites, {"folder": str(tmp_path_factory.mktemp("nobody"))}),
        "Handoff.load": (Handoff.load, {"path": str(saved), "chain": chain}),
        "Handoff.from_bytes": (Handoff.from_bytes, {"data": received.to_bytes()}),
        "Request": (Request, {"prompt": "a", "shared_steps": 1, "device_steps": 2, "seed": 0, "bep": 0.1, "power_w": None, "flip_seed": 0}),
        "ask": (ask, {"url": "http://127.0.0.1:9/none", "request": Request("a", 1, 2, bep=0.1), "timeout_s": 1.0}),
        "serve": (
            serve,
            {
                "chain": chain, "links": [link], "agent": agent, "server_prompt": "a", "device_prompts": ["a"], "personas": people,
                "plan": SplitPlan(1, (1,)), "powers_w": [1.0], "seed": 0, "gains": [1.0],
            },
        ),
        "ServiceConfig": (
            ServiceConfig,
            {
                "users": 2, "server_step_energy": 0.5, "device_step_energy": 1.0, "server_budget": 20.0, "device_budget": 8.0,
                "power_weight": 0.1, "threshold": 0.6, "penalties": (1.0, 1.0, 1.0), "penalty": "corrected", "max_shared_steps": 5, "link": link,
            },
        ),
        "env.reset": (env.reset, {"seed": 0, "options": {"state": states[:1]}}),
        "env.step": (_fresh_step(env), {"action": np.zeros(env.action_space.shape)}),
        "service.state": (service.state, {"prompts": service.source.prompts[:2], "personas": people * 2, "gains": [1.0, 1.0]}),
        "service.draw": (lambda count: service.draw(np.random.default_rng(0), count), {"count": 2}),
        "optimum": (optimum, {"env": service, "state": states}),
        "no_sharing": (oracle.no_sharing, {"service": service, "states": states}),
        "intervals": (intervals, {"score": [0.1, 0.2]}),
        "percentiles": (percentiles, {"score": [0.1, 0.2]}),
        "say": (say, {"text": "{a:.1f}", "a": 1.0}),
    }  # fmt: skip


def _fresh_step(env: ServiceEnv) -> Callable:
    def step(action: object) -> object:
        env.reset(seed=0)
        return env.step(action)

    return step


def _call(door: Callable, arguments: dict) -> None:
    """Call it; only errors of ours may come out."""
    try:
        door(**arguments)
    except RlliError as error:
        assert "\n" not in str(error) and len(str(error)) < 2_000


SLOW = ("chain.", "agent.", "serve", "from_pretrained")


def test_every_door_works_as_it_should(doors):
    for name, (door, arguments) in doors.items():
        if name not in ("from_pretrained", "read_favourites", "ask"):
            door(**arguments)


NAMES = [
    "SplitPlan", "FisherSnedecorF", "fading.sample", "Link", "link.bep", "link.mean_snr", "link.power_for_bep", "link.transmit",
    "link.transmit by power", "link.estimate_bep", "link.assume", "Repetition", "Retransmission", "Ldpc", "best_packed_code", "moments", "moments by bit", "code_moments", "average_bep", "conditional_bep", "dbw_to_w", "w_to_dbw",
    "encode", "decode", "read_header", "flip_bits", "Persona",
    "Persona.of", "Persona.named", "chain.server_denoise", "chain.device_denoise", "chain.generate", "chain.generates", "chain.path", "chain.decode",
    "chain.sweep", "from_pretrained", "agent.score", "agent.scores", "agent.descriptions", "psnr", "ssim", "read_favourites",
    "Handoff.load", "Handoff.from_bytes", "Request", "ask", "serve", "ServiceConfig", "env.reset", "env.step", "service.state", "service.draw", "optimum", "no_sharing", "intervals", "percentiles", "say",
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_anything_at_all_meets_an_error_of_ours(doors, data):
    """Any arguments at once, of the doors that take microseconds."""
    door, arguments = doors[data.draw(st.sampled_from([name for name in NAMES if not name.startswith(SLOW)]))]
    _call(door, {name: data.draw(st.one_of(st.just(value), ANYTHING)) for name, value in arguments.items()})


@pytest.mark.parametrize("name", NAMES)
def test_hostile_values_meet_an_error_of_ours(doors, name):
    door, arguments = doors[name]
    wrong = []
    for argument in arguments:
        for value in WILD:
            try:
                _call(door, arguments | {argument: value})
            except Exception as error:
                wrong.append(
                    f"{argument}={type(value).__name__} {str(value)[:40] if not isinstance(value, Hostile) else ''}: {type(error).__name__}: {str(error)[:90]}"
                )
    assert not wrong, "\n".join(wrong)
