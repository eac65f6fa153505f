"""The panels of single pages: what they show follows every control, and their stops are few and within range."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rlli_core import FisherSnedecorF, Link, Persona, PersonaAgent, SplitDiffusion, SplitPlan
from rlli_core.allocation import train
from rlli_core.book.panels.pages import (
    airtime_panel,
    allocation_panel,
    deployment_panel,
    link_panel,
    persona_panel,
    rounds_panel,
)
from rlli_core.book.teaching import peaks, toys
from rlli_core.book.teaching.panels import bit_panel, chain_panel, learning_panel, peaks_panel
from rlli_core.deployments import Device
from rlli_core.errors import InvalidArgument
from rlli_core.qoe import psnr

from ...allocation.conftest import service, source  # noqa: F401
from ...qoe import models

LINK = {"severity": 2.0, "shadowing": 1.5, "power_dbw": 18.0, "gain_db": -10.0}


def show(panel, **moved):
    """What the panel shows, as things that can be compared; each control at its start but those that are moved."""
    line, parts = panel.update(**{name: control.start for name, control in panel.controls.items()} | moved)
    return line, [(part.picture and part.picture.tobytes(), part.text) for part in parts]


def small_agent():
    return PersonaAgent(*models.llava(), device="cpu", least_mass=0)


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(2)]


def test_more_power_means_fewer_bit_errors():
    panel = link_panel(**LINK)
    (low, before), (high, after) = show(panel), show(panel, power_dbw=25.0)
    rate = [float(re.search(r"([\d.]+)%", line)[1]) for line in (low, high)]
    assert 0 < rate[1] < rate[0] / 2
    assert after != before


def test_every_trait_slider_changes_who_is_asked(photos):
    agent, calls = small_agent(), []
    panel, whole = persona_panel(agent, photos, ["a dog", "a <cat>"], Persona.named("GA1")), agent.scores
    agent.scores = lambda *given: calls.append(given[1]) or whole(*given)
    _, parts = show(panel)
    expected = [score.value for score in whole(photos, Persona.named("GA1"), ["a dog", "a <cat>"])]
    assert [float(re.search(r">(\d\.\d\d)<", text)[1]) for _, text in parts] == pytest.approx(expected, abs=0.006)
    assert "a &lt;cat&gt;" in parts[1][1]
    for trait in Persona.named("GA1").levels:
        show(panel, **{trait: 0.35})
        assert {getattr(person, trait) for person in calls[-1]} == {0.35}


def test_scores_of_many_people_at_once_are_those_of_each_alone(photos):
    panel = persona_panel(small_agent(), photos, ["a dog", "a cat"], Persona.named("GA2"))
    some = panel.settings()[::60]
    for values, (line, parts) in zip(some, panel.together(some), strict=True):
        assert (line, [part.text for part in parts]) == (
            show(panel, **values)[0],
            [text for _, text in show(panel, **values)[1]],
        )


def test_the_allocation_panel_shows_policies_beside_the_optimum_and_follows_every_control(service):  # noqa: F811
    policies = {"g-ddpg": train("g-ddpg", service, progress=False, interactions=200, hidden=8, batch=8, warmup=50)}
    panel = allocation_panel(policies, ["GA1", "GA2", "user 1"])
    line, parts = show(panel)
    assert [text.split("</b>")[0] for _, text in parts] == ["<b>g-ddpg", "<b>optimum"]
    assert re.search(r"sum QoE g-ddpg \d\.\d\d, optimum \d\.\d\d", line)
    moves = {"user_2": "user 3", "server_budget": 9.0, "device_budget": 3, "severity": 5.0, "shadowing": 4.0, "seed": 4}
    for name, value in (moves | {"group": list(panel.controls["group"].values)[1]}).items():
        assert show(panel, **{name: value})[1][1] != parts[1], name


def curves_of(*names):
    """Learning curves whose choices can be told apart."""
    marks = [0, 500, 1_000, 8_000, 16_000]
    tables = [
        pd.DataFrame({"name": name, "seed": seed, "interactions": marks, "t0": range(i + seed, i + seed + 5)}
                     | {f"t_{k}": [k, 2, 3, 4, 5] for k in (1, 2)} | {f"power_{k}": [0.0, 10 * k, 20, 30, 40 + i] for k in (1, 2)})
        for i, name in enumerate(names) for seed in (0, 1)
    ]  # fmt: skip
    return pd.concat(tables)


def test_the_panel_of_rounds_shows_what_each_learner_chose_then():
    panel = rounds_panel(curves_of("g-ddpg", "ddpg"))
    assert panel.controls["learner"].stops == ("g-ddpg", "ddpg") and len(panel.settings()) == 10
    line, parts = show(panel)
    assert line == "g-ddpg after 16,000 rounds: t0 = 4, own steps 5, 5, power 40, 40 W"
    assert show(panel, rounds=500)[0] == "g-ddpg after 500 rounds: t0 = 1, own steps 2, 2, power 10, 20 W"
    for moved in ({"rounds": 500}, {"learner": "ddpg"}):
        assert show(panel, **moved)[1] != parts, moved
    assert "t0 = 5" in show(rounds_panel(curves_of("ddpg"), seed=1))[0]
    with pytest.raises(InvalidArgument, match="seed=7.*0, 1"):
        rounds_panel(curves_of("ddpg"), seed=7)
    with pytest.raises(InvalidArgument, match="curves.*power_1"):
        rounds_panel(curves_of("ddpg").drop(columns="power_1"))


@pytest.mark.slow
def test_the_panels_of_the_first_pages_follow_every_control():
    trainings = {f"seed {seed}": toys.learn([0, 20, 40], 0.3, seed) for seed in range(2)}
    changes = {
        chain_panel(10, 3, 0.25): {"steps": 12, "shared": 5, "width": 0.5, "seed": 1},
        bit_panel(10.0, 2.0, 1.5): {"snr_db": 4.0, "severity": 1.0, "shadowing": 4.0, "seed": 1},
        learning_panel(trainings): {"rounds": 20, "training": "seed 1"},
        peaks_panel({"one": [peaks.learn(peaks.WAYS[0], 2, 4, 0.3, seed) for seed in (0, 1)]}, 4): {
            "training": 1,
            "closed": "number 1",
        },
        link_panel(**LINK): {"severity": 1.0, "shadowing": 4.0, "modulation": "dpsk", "power_dbw": 12.0, "gain_db": 0.0},
    }
    for panel, moves in changes.items():
        line, parts = show(panel)
        assert line and moves.keys() == panel.controls.keys()
        for name, value in moves.items():
            assert show(panel, **{name: value})[1] != parts, name


def test_a_chain_cannot_share_more_steps_than_it_has_and_one_step_draws_without_a_warning():
    panel = chain_panel(10, 3, 0.25)
    with pytest.raises(InvalidArgument, match=r"0\.\.10"):
        show(panel, shared=11)
    assert "100%" in show(panel, steps=1, shared=1)[0]


def test_a_lattice_is_small_and_every_slider_that_matters_moves_in_it(service, photos):  # noqa: F811
    policies = {"ddpg": train("ddpg", service, progress=False, interactions=200, hidden=8, batch=8, warmup=50)}
    fixed = {
        link_panel(**LINK): set(),
        persona_panel(small_agent(), photos, ["a dog", "a cat"], Persona.of([0.65, 0.3, 0.8, 0.4, 0.2])): set(),
        allocation_panel(policies, ["GA1", "GA2", "user 1"]): {"user_2", "user_3", "severity", "shadowing"},
        chain_panel(10, 3, 0.25): {"seed"},
        bit_panel(10.0, 2.0, 1.5): {"seed"},
        learning_panel({"seed 0": toys.learn([0, 20, 40], 0.3)}): {"training"},
    }
    for panel, still in fixed.items():
        assert {name for name, control in panel.controls.items() if len(control.stops) == 1} == still
        assert all({control.start, *control.stops} <= set(control.values) for control in panel.controls.values())
        assert 3 <= len(panel.settings()) <= 300
    # Parameters between the stops move a stop; the lattice keeps its size.
    assert len(link_panel(2.3, 1.7, 17.5, -9.5).settings()) == len(link_panel(**LINK).settings())


@pytest.mark.slow
def test_the_airtime_panel_shows_the_picture_whole_or_blank_and_latents_that_follow_the_link(tiny_pipeline):
    chain = SplitDiffusion(tiny_pipeline(), device="cpu")
    panel = airtime_panel(chain, small_agent(), SplitPlan(1, 2), "a", 0, FisherSnedecorF(2.0, 1.5))
    pictures = {snr: [part.picture for part in panel.update(snr, "no fading", "50% data")[1]] for snr in (-8, 0, 16)}
    assert [len(found) for found in pictures.values()] == [4, 4, 4]
    assert len(pictures[-8][0].getcolors()) == 1 < len(pictures[16][0].getcolors())
    whole = chain.device_denoise(chain.server_denoise("a", SplitPlan(1, 2), 0), "a")
    assert [psnr(found, whole) > 30 for found in pictures[16][1:]] == [True] * 3
    assert pictures[-8][1].tobytes() != pictures[-8][2].tobytes() != pictures[-8][3].tobytes()
    line, parts = show(panel, snr_db=2.0)
    for moved in ({"channel": panel.controls["channel"].values[2]}, {"code": "75% data"}):  # the picture is lost by that
        assert show(panel, snr_db=2.0, **moved)[1] != parts, moved
    assert 3 <= len(panel.settings()) <= 300


@pytest.mark.slow
def test_the_deployment_panel_follows_every_control(tiny_pipeline):
    chain = SplitDiffusion(tiny_pipeline(), device="cpu")
    users = {name: Device(name, 1, persona=Persona.named("GA1"), step_energy_mwh=e) for name, e in zip("abc", (1.0, 2.0, 4.0))}
    panel = deployment_panel(chain, small_agent(), users, 4, Link(), 0)
    line, parts = show(panel)
    assert len(parts) == 4 and "energy 11.0 mWh" in line  # 4 steps of a, and one of each
    for moved in ({"hops": 2}, {"first": "c"}, {"bep": 0.15}, {"receiver": "paper"}):
        assert show(panel, **moved)[1] != parts, moved
    assert "energy 23.0 mWh" in show(panel, first="c")[0] and "energy 13.0 mWh" in show(panel, hops=2)[0]
    assert 3 <= len(panel.settings()) <= 300
