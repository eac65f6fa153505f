"""Rules fitted on scores made up so that the right answer is known, and the measurement itself on a tiny model."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlli_core import SplitPlan
from rlli_core.allocation import hits
from rlli_core.allocation.handoffs import StartRule
from rlli_core.allocation.hit_rules import (
    Curves,
    LimitRule,
    by_alone,
    by_rule,
    falling,
    fit_alone,
    fit_modm,
    fit_nirvana,
    fit_ours,
    steps_needed,
    worth_up_to,
)
from rlli_core.allocation.hits import GRID, HitScores, measure, text_key
from rlli_core.errors import InvalidArgument, UnusableFile

STEPS, LEVELS, DEPTHS, STOPS = (1, 2, 4, 8), (-1, 800, 900), (2, 5, GRID), (799, 499, -1)


def made_up(pairs=24, noise=0.0, seed=0):
    """Sharing is worth 0.9 at distance 0 and falls by 0.2 a unit, steeper the deeper; a device alone goes from 0.5 to 0.8."""
    rng = np.random.default_rng(seed)
    distances = np.tile([0.0, 1.0, 2.0, 4.0], pairs // 4)
    shared = np.full((pairs, 2, len(DEPTHS), len(STEPS), len(LEVELS)), np.nan)
    for d, depth in enumerate(DEPTHS):
        for r, level in enumerate(LEVELS):
            if STOPS[d] >= 0 if level < 0 else level >= STOPS[d]:
                steep = {-1: depth / 25, 800: 0.1, 900: 0.02}[level]
                shared[:, :, d, :, r] = (0.9 - 0.05 * (level == 900) - steep * distances)[:, None, None]
    alone = np.full((pairs, 2, len(STEPS), len(LEVELS)), 0.0)
    alone += np.array([0.5, 0.7, 0.8, 0.8])[:, None] - np.array([0.1, 0.0, 0.05])
    shared, alone = shared + rng.normal(0, noise, shared.shape), alone + rng.normal(0, noise, alone.shape)
    names = tuple((f"c{i // 4}", f"w{i}") for i in range(pairs))
    return HitScores(
        names, distances, np.tile(distances[:, None] / 4, 2), np.array(DEPTHS), np.array(STOPS), np.array(STEPS), np.array(LEVELS),
        np.array(LEVELS), shared, alone,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scores():
    return made_up()


def test_options_are_the_starts_that_there_are(scores):
    assert scores.options == {
        (5, None): 499, (2, None): 799, (10, 800): 800, (5, 800): 800, (2, 800): 800, (10, 900): 900, (5, 900): 900, (2, 900): 900,
    }  # fmt: skip
    assert next(iter(scores.options)) == (5, None)
    assert all(np.isfinite(scores.at(start)).all() for start in scores.options)


def test_files_come_back_whole_or_are_refused(scores, tmp_path):
    scores.save(tmp_path / "some.npz")
    again = HitScores.load(tmp_path / "some.npz")
    assert again.pairs == scores.pairs and all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(list(vars(again).values())[1:10], list(vars(scores).values())[1:10])
    )
    (tmp_path / "some.npz").write_bytes(b"PK")
    with pytest.raises(UnusableFile):
        HitScores.load(tmp_path / "some.npz")


def test_the_halves_share_no_pair(scores):
    one, other = scores.half(False), scores.half(True)
    assert len(one.pairs) == len(other.pairs) == 12 and not {*one.pairs} & {*other.pairs}
    assert np.array_equal(np.concatenate([one.shared, other.shared]), scores.shared, equal_nan=True)


def test_nirvana_goes_deeper_the_more_alike_the_prompts(scores):
    rule = fit_nirvana(scores, quality=0.8)
    # 80 % of 0.9 is left up to 0.9 distance at 5 steps (0.2 a unit), and up to 2.25 at 2 steps (0.08 a unit)
    assert rule.limits == (((5, None), 0.0), ((2, None), 2.0))
    assert [rule.choose(x, (2, 5), 1) for x in (0.0, 0.1, 2.0, 2.1)] == [(5, None), (2, None), (2, None), None]
    assert rule.choose(0.0, (2,), 1) == (2, None) and rule.choose(0.0, (), 1) is None
    limits = [dict(fit_nirvana(scores, q).limits)[2, None] for q in (0.99, 0.9, 0.8, 0.3)]
    assert limits == sorted(limits) and limits[0] == 0 and limits[-1] == 4


def test_modm_adds_more_noise_the_less_alike_picture_and_text(scores):
    rule = fit_modm(scores, quality=0.85)
    assert rule.by == "picture" and rule.limits == (((10, 800), 0.25), ((10, 900), 1.0))
    assert rule.choose(0.2, (10,), 1) == (10, 800) and rule.choose(0.9, (10,), 1) == (10, 900)
    with pytest.raises(InvalidArgument, match="scores.depths"):
        fit_modm(replace(scores, depths=np.array([2, 5, 9])))


def test_ours_restarts_where_it_pays_and_leaves_alone_what_is_too_far():
    scores = made_up(noise=0.01)
    alone = fit_alone(scores)
    assert by_alone(scores, alone).mean(0) == pytest.approx([0.5, 0.7, 0.8, 0.8], abs=0.02)
    rule = fit_ours(scores, alone)
    got, used = by_rule(scores, rule, alone)
    for other in (fit_nirvana(scores), fit_nirvana(scores, 0.5), fit_modm(scores), LimitRule("text", (((5, None), 9.0),))):
        assert got.mean() > by_rule(scores, other, alone)[0].mean() - 1e-9
    assert (got.mean(0) > by_alone(scores, alone).mean(0) - 0.02).all()
    unused = replace(rule, limits=((1, -1.0),))
    assert (
        np.array_equal(by_rule(scores, unused, alone)[0], by_alone(scores, alone))
        and not by_rule(scores, unused, alone)[1].any()
    )
    bad = replace(scores, shared=scores.shared - 0.6)
    assert {limit for _, limit in fit_ours(bad, alone).limits} == {-1.0}
    few = replace(scores, shared=scores.shared - np.array([0.0, 0.0, 0.6, 0.6])[:, None])  # harm from four own steps on
    told = fit_ours(few, alone)
    assert told.limit(1) > 0 and told.limit(3) > 0 and told.limit(4) == told.limit(9) == -1.0
    assert told.choose(0.0, (2, 5), 1) and told.choose(0.0, (2, 5), 8) is None


def test_falling_curves_and_from_where_on_a_hit_is_worth_anything():
    where, curve = falling(np.array([2.0, 0.0, 1.0, 1.0]), np.array([0.0, 3.0, 1.0, 3.0]))
    assert where.tolist() == [0, 1, 2] and curve.tolist() == [3, 2, 0]
    x = np.repeat(np.arange(5.0), 40)
    gains = 0.3 - 0.2 * x + np.random.default_rng(0).normal(0, 0.1, x.size)
    assert worth_up_to(x, gains) == 1.0 and worth_up_to(x, gains - 1) == -1.0 and worth_up_to(x, gains + 9) == 4.0


def test_curves_give_what_was_measured_and_stretch_with_the_steps_that_a_model_needs(scores):
    alone = StartRule(800.0, 0.0)
    curves, slow = Curves(scores, alone), Curves(scores, alone, slower=3.0)
    assert curves.score(1.0, (5, None), 2) == pytest.approx(0.7) and curves.score(0.5, (2, None), 8) == pytest.approx(0.86)
    assert curves.lone_score(2) == pytest.approx(0.7) and curves.lone_score(2**0.5) == pytest.approx(0.6)
    assert slow.lone_score(6) == pytest.approx(0.7) and slow.least_steps() == 3
    with pytest.raises(InvalidArgument, match="device_steps=2"):
        slow.lone_score(2)
    assert steps_needed(scores, alone, left=0.0) == 4 and 2 < steps_needed(scores, alone, left=0.1) < 4


def test_easy_prompts_at_one_distance_are_no_gain_there():
    scores, alone = made_up(pairs=48), StartRule(800.0, 0.0)
    ease = np.where(scores.distances == 0, 0.1, -0.2)[:, None, None]
    uneven = replace(scores, alone=scores.alone + ease[..., None], shared=scores.shared + ease[..., None, None])
    even, got = Curves(scores, alone), Curves(uneven, alone)
    for distance, start in ((0.0, (5, None)), (1.0, (2, None)), (4.0, (5, 900))):
        gain = even.score(distance, start, 2) - even.lone_score(2)
        assert got.score(distance, start, 2) - got.lone_score(2) == pytest.approx(gain)


def test_curves_through_prompts_drawn_anew_scatter_around_the_curve():
    scores, alone = made_up(pairs=96, noise=0.1), StartRule(800.0, 0.0)
    curves = Curves(scores, alone)
    drawn = [curves.resampled(seed).score(1.0, (5, None), 2) for seed in range(200)]
    assert drawn[0] == curves.resampled(0).score(1.0, (5, None), 2)
    assert np.mean(drawn) == pytest.approx(curves.score(1.0, (5, None), 2), abs=0.01)
    assert 0.3 < np.std(drawn) / (0.1 / (24 * 2) ** 0.5) < 2  # two seeds of 24 prompts; the falling curve pools some


class Agent:
    def scores(self, images, personas, prompt):
        return [SimpleNamespace(value=np.asarray(image).mean() / 255) for image in images]


class Judge:
    objects, places = ("tiger", "dog"), ("bush", "snow")

    def verdicts(self, images):
        return [SimpleNamespace(objects={"tiger": 0.5, "dog": 0.5}, places={"bush": 1.0, "snow": 0.0}) for _ in images]


def test_text_and_pictures_meet_in_one_space():
    key = text_key(Judge(), "a tiger before a bush")
    assert key == pytest.approx([0.5**0.5, 0, 0.5**0.5, 0]) and not text_key(Judge(), "a cat").any()
    assert hits.picture_keys(Judge(), [None])[0] @ key == pytest.approx(1.5 / (2 * 1.5) ** 0.5)


def test_measured_scores_are_those_of_single_calls(chain, monkeypatch):
    monkeypatch.setattr(hits, "embed", lambda chain, prompts: np.array([[float(len(prompt))] for prompt in prompts]))
    pairs = [("a b", "a b"), ("a b", "c d e")]
    got = measure(chain, Agent(), Judge(), pairs, (4, GRID), (1, 2), (600, 900), folder=None)
    assert got.distances.tolist() == [0, 2] and got.shared.shape == (2, 1, 2, 2, 3) and got.stops.tolist() == [599, -1]
    assert np.isnan(got.shared[:, :, 1, :, 0]).all() and np.isfinite(got.shared[:, :, 0]).all()
    sent = chain.server_denoise("a b", SplitPlan(4, 6), 0)
    image = chain.device_denoise(sent, "c d e", SplitPlan(4, 2), restart=900)
    assert got.shared[1, 0, 0, 1, 2] == pytest.approx(np.asarray(image).mean() / 255, abs=2e-3)
    done = chain.server_denoise("a b", SplitPlan(GRID, 0), 0)
    image = chain.device_denoise(done, "c d e", SplitPlan(GRID, 1), restart=600)
    assert got.shared[1, 0, 1, 0, 1] == pytest.approx(np.asarray(image).mean() / 255, abs=2e-3)
    image = chain.generate("c d e", 2, 0, start=900)
    assert got.alone[1, 0, 1, 2] == pytest.approx(np.asarray(image).mean() / 255, abs=2e-3)
    with pytest.raises(InvalidArgument, match="depths"):
        measure(chain, Agent(), Judge(), pairs, (GRID + 1,), folder=None)
