import numpy as np
import yaml

from rlli_core.embedded import prompts, scenes, tastes
from rlli_core.files import DATA


def test_every_object_is_asked_for_at_a_place_it_was_trained_at():
    made = prompts.combine()
    asked = [tastes.asked_for(text) for text in made]
    assert {names[0] for names, _ in asked} == set(scenes.NAMES) and len(set(made)) == len(made)
    assert not any(scenes.held_out(names[0], place) for names, place in asked)
    assert made[:2] == list(prompts.SIMILAR)


def test_groups_hold_prompts_no_farther_apart_than_the_similar_pair():
    texts = [*prompts.SIMILAR, "a", "b", "c", "d"]
    rng = np.random.default_rng(0)
    points = np.array([[0, 0], [1, 0], [0.5, 0.2], [5, 5], [5.4, 5], [9, 0]]) + rng.normal(0, 1e-6, (6, 2))
    table = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found = prompts.cluster(texts, table)
    assert sorted(map(len, found), reverse=True) == list(map(len, found)) == [3, 2, 1]
    assert set(found[0]) == {*prompts.SIMILAR, "a"} and set(found[1]) == {"b", "c"}


def test_the_shipped_prompts_are_the_combined_ones_in_groups():
    shipped = yaml.safe_load((DATA / "prompts.yaml").read_text())
    assert tuple(shipped["objects"]) == scenes.NAMES
    grouped = [text for group in shipped["groups"] for text in group]
    assert sorted(grouped) == sorted(prompts.combine())
    assert max(map(len, shipped["groups"])) >= 3, "a group of users for the allocator to serve"


def test_groups_take_a_limit_of_ones_own():
    table = np.array([[0, 2.0, 9], [2, 0, 8], [9, 8, 0]])
    assert prompts.cluster(["x", "y", "z"], table, limit=3.0) == [["x", "y"], ["z"]]
    assert prompts.cluster(["x", "y", "z"], table, limit=1.0) == [["x"], ["y"], ["z"]]
    assert prompts.similar_distance() == yaml.safe_load((DATA / "prompts.yaml").read_text())["similar_distance"]
