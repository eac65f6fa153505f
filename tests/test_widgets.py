import ipywidgets
import pytest

from rlli_core import Link
from rlli_core.embedded.judge import Judge, build
from rlli_core.widgets import link_panel, split_panel


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
