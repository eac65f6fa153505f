import ipywidgets
import numpy as np
import pytest
from PIL import Image

from rlli_core import Link, Persona, PersonaAgent
from rlli_core.allocation import train
from rlli_core.embedded.judge import Judge, build
from rlli_core.teaching import toys
from rlli_core.widgets import (
    allocation_panel,
    bit_panel,
    chain_panel,
    learning_panel,
    link_panel,
    persona_panel,
    split_panel,
)

from .allocation.conftest import service, source  # noqa: F401
from .qoe import models


def by_description(panel, text):
    controls = panel.children[0].children
    return next(control for control in controls if text in control.description)


def pictures(panel):
    shown = panel.children[1].children
    return [child.value if isinstance(child, ipywidgets.Image) else child.children[0].value for child in shown]


@pytest.fixture
def panel(chain):
    return split_panel(chain, Link(), Judge(build()), "a", "b", 2, 3, bep=0.03)


def test_every_slider_changes_a_picture(panel):
    for text, value in [("shared", 1), ("device steps", 2), ("seed", 4), ("bit error", 0.2), ("device prompt", "c")]:
        before = pictures(panel)
        by_description(panel, text).value = value
        assert pictures(panel) != before, text


def test_without_bit_errors_only_quantisation_is_left(panel):
    by_description(panel, "bit error").value = 0.0
    assert " 0 of " in panel.children[2].value


def test_a_plan_without_steps_is_explained_and_the_pictures_stay(panel):
    by_description(panel, "shared").value = 0
    before = pictures(panel)
    by_description(panel, "device steps").value = 0
    assert "at least 1 where shared_steps is 0" in panel.children[2].value
    assert pictures(panel) == before


def test_more_power_means_fewer_bit_errors():
    panel = link_panel(severity=2.0, shadowing=1.5, power_dbw=18.0, gain_db=-10.0)
    low, before = panel.children[2].value, pictures(panel)
    by_description(panel, "power").value = 25.0
    rate = [float(text.rsplit(" ", 1)[1].rstrip("%")) for text in (low, panel.children[2].value)]
    assert rate[1] < rate[0] / 2
    assert pictures(panel) != before


def test_with_an_agent_the_panel_tells_the_score_of_whoever_is_chosen(chain):
    agent = PersonaAgent(*models.llava(), device="cpu", least_mass=0)
    panel = split_panel(chain, Link(), Judge(build()), "a", "b", 2, 3, agent=agent)
    first = panel.children[2].value
    assert "GA1 scores 0." in first
    by_description(panel, "persona").value = "user 2"
    assert "user 2 scores 0." in panel.children[2].value
    assert first.split("scores")[1] != panel.children[2].value.split("scores")[1]


def test_every_trait_slider_changes_the_scores():
    agent = PersonaAgent(*models.llava(), device="cpu", least_mass=0)
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(2)]
    calls, whole = [], agent.scores
    agent.scores = lambda *given: calls.append(given[1]) or whole(*given)
    panel = persona_panel(agent, images, ["a dog", "a cat"], Persona.named("GA1"))
    notes = [box.children[2].value for box in panel.children[1].children]
    assert [float(note.split()[0]) for note in notes] == pytest.approx(
        [score.value for score in whole(images, Persona.named("GA1"), ["a dog", "a cat"])], abs=0.006
    )
    for trait in Persona.named("GA1").levels:
        by_description(panel, trait).value = 0.5
        assert getattr(calls[-1], trait) == 0.5


def test_the_allocation_panel_shows_policies_beside_the_optimum_and_follows_every_control(service):
    policies = {"g-ddpg": train("g-ddpg", service, progress=False, interactions=200, hidden=8, batch=8, warmup=50)}
    panel = allocation_panel(policies, ["GA1", "GA2", "user 1"])
    told = lambda: [child.value for child in panel.children[1].children]  # noqa: E731
    assert [text.split("</b>")[0] for text in told()] == ["<b>g-ddpg", "<b>optimum"]
    for text, value in [("user 2", "user 3"), ("server budget", 9.0), ("device", 3), ("severity", 5.0), ("draw", 4)]:
        before = told()[1]
        by_description(panel, text).value = value
        assert told()[1] != before, text
    assert "sum QoE" in panel.children[2].value


def test_the_panels_of_the_first_pages_follow_every_control():
    trainings = {f"seed {seed}": toys.learn([0, 20, 40], 0.3, seed) for seed in range(2)}
    changes = {
        chain_panel(10, 3, 0.25): [("steps", 12), ("shared", 5), ("open", 0.5), ("seed", 1)],
        bit_panel(10.0, 2.0, 1.5): [("SNR", 4.0), ("severity", 1.0), ("shadowing", 4.0), ("seed", 1)],
        learning_panel(trainings): [("rounds", 20), ("training", "seed 1")],
    }
    for panel, moves in changes.items():
        for text, value in moves:
            before = pictures(panel)
            by_description(panel, text).value = value
            assert pictures(panel) != before, text
            assert panel.children[2].value


def test_a_chain_cannot_share_more_steps_than_it_has():
    panel = chain_panel(10, 3, 0.25)
    by_description(panel, "shared").value = 11
    assert "0..10" in panel.children[2].value
