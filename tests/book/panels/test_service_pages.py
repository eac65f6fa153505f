"""The panels of cache, groups and service in time: what they show follows every control."""

import numpy as np
import pandas as pd
import pytest

from rlli_core.allocation.handoffs import StartRule
from rlli_core.allocation.hit_rules import Curves, LimitRule
from rlli_core.allocation.in_time import Timing, Way
from rlli_core.book.panels.service_pages import groups_panel, hits_panel, service_panel

from ...allocation.test_hit_rules import made_up
from .test_pages import show, small_agent


def test_a_hit_follows_wish_depth_restart_and_steps_beside_the_device_alone(chain):
    panel = hits_panel(chain, small_agent(), "a b", {"a b": 0.0, "c d": 1.5}, 800, 0)
    line, parts = show(panel, depth=5, restart=0)
    assert line.startswith("cached: a b; at distance 0.0; the device goes on at 499, where it stopped") and len(parts) == 2
    for moved in ({"wish": "c d"}, {"depth": 2}, {"restart": 870}, {"steps": 2}):
        other, shown = show(panel, **{"depth": 5, "restart": 0} | moved)
        assert other != line and shown[0][0] != parts[0][0]
    assert show(panel, depth=5, restart=870)[1][1] == parts[1]  # the device alone has no part in it


def test_the_tree_says_what_a_threshold_saves_and_what_people_make_of_it():
    keys = np.array([[0.0], [1.0], [9.0]])
    rows = [(s, w, p, x) for s, x in (("0", 0.5), ("5", 0.4)) for w in ("as in the paper", "restart") for p in ("GA1", "GA2")]
    scores = pd.DataFrame([*rows, ("device alone", "late start", "GA1", 0.7), ("device alone", "late start", "GA2", 0.7)],
                          columns=["sharing", "way", "person", "score"])  # fmt: skip
    panel = groups_panel(keys, ["a", "b", "c"], 4, scores, [0.0, 5.0])
    assert show(panel, threshold=0.0)[0] == "threshold 0: 0% of the server's steps saved"
    line, parts = show(panel, threshold=5.0)
    assert line == "threshold 5: 33% of the server's steps saved"
    assert parts[0][0] is not None and "0.40" in parts[1][1].replace("0.4<", "0.40<") and "0.7" in parts[1][1]


def test_the_service_follows_every_control():
    curves, keys = Curves(made_up(), StartRule(800.0, 0.0)), {f"p{i}": np.array([9.0 * i]) for i in range(12)}
    ways = {"no cache": Way("no cache"), "cache": Way("cache", rule=LimitRule("text", (((5, None), 0.5), ((2, None), 2.0))))}
    timing = Timing(shared_steps=5, device_steps=2, batch=2)
    panel = service_panel([*keys], keys, timing, ways, curves, 60, 5, 0)
    line, parts = show(panel)
    assert line.startswith("highest mean QoE: ") and "no cache" in parts[1][1]
    for moved in ({"load": 2.0}, {"exponent": 0.0}, {"served": "their owner"}, {"entries": 2}):
        assert show(panel, **moved)[1] != parts


@pytest.mark.parametrize("name", ["load", "exponent", "entries", "served"])
def test_stops_are_few(name):
    curves = Curves(made_up(), StartRule(800.0, 0.0))
    panel = service_panel(["a"], {"a": np.array([0.0])}, Timing(), {"alone": Way("alone")}, curves, 20, 5, 0)
    assert 2 <= len(panel.controls[name].stops) <= 3
