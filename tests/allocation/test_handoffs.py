"""Scores of hand-offs: the cases, the halves, the rules; on made-up scores whose best start is known."""

from dataclasses import replace

import numpy as np
import pytest

from rlli_core.allocation import handoffs
from rlli_core.allocation.handoffs import DEVICE_STEPS, KINDS, RESTARTS, STARTS, HandoffScores, StartRule
from rlli_core.errors import ModelNotFound

LEVELS = np.array([166.0, 285.0, 374.0, 444.0, 615.0])


@pytest.fixture
def made_up() -> HandoffScores:
    """Devices that share do best from 700 towards the same prompt and from 930 towards a distant one; alone from 800."""
    rng, lead, people = np.random.default_rng(0), (handoffs.CASES, handoffs.SEEDS), 2
    distances = np.tile([0.0, 1.0, 4.0], (handoffs.CASES, 1))
    shape = (*lead, len(KINDS), len(DEVICE_STEPS))
    at = np.array([[[t, *RESTARTS[1:]] for t in LEVELS]] * len(KINDS), float)
    wanted = np.array([700.0, 800.0, 930.0])[:, None, None]
    restart = np.broadcast_to((1 - np.abs(at - wanted) / 1000)[..., None], (*shape, len(RESTARTS), people))
    starts = 1 - np.abs(np.array([999.0, *STARTS[1:]]) - 800) / 1000
    alone = np.broadcast_to(starts[:, None], (*shape, len(STARTS), people))
    noise = rng.random((*lead, 3, 3, 3, 2, people))
    link = rng.random((*lead, 3, len(handoffs.BEPS), 4, people))
    return HandoffScores(tuple(handoffs.cases()), ("a", "b"), distances, LEVELS, link, np.zeros(lead), restart, alone, noise)


def test_the_cases_are_of_two_halves_without_a_common_prompt():
    cases = handoffs.cases()
    fitting, held_out = ({prompt for case in half for prompt in case} for half in (cases[0::2], cases[1::2]))
    assert len(cases) == len(set(cases)) == handoffs.CASES == 48 and not fitting & held_out
    for server, similar, distant in cases:
        assert len({server, similar, distant}) == 3
        assert server.split()[1] != distant.split()[1] and server.split()[-2:] != distant.split()[-2:]


def test_the_halves_are_kept_apart(made_up):
    fitting, held_out = made_up.half(False), made_up.half(True)
    assert fitting.cases == made_up.cases[0::2] and held_out.cases == made_up.cases[1::2]
    assert fitting.link.shape[:2] == (24, handoffs.FITTING_SEEDS) and held_out.link.shape[:2] == (24, handoffs.SEEDS)
    assert np.array_equal(held_out.link, made_up.link[1::2])


def test_the_fit_finds_the_start_that_is_best(made_up):
    fitting, held_out = made_up.half(False), made_up.half(True)
    shared, alone = handoffs.fit(fitting, shared=True), handoffs.fit(fitting, shared=False)
    assert shared.by_distance > 0 == alone.by_distance
    levels = [0, *RESTARTS[1:]]
    assert [levels[k] for k in shared.choose(levels, 3, np.array([0.0, 1.0, 4.0]))] == [700, 800, 930]
    assert np.allclose(handoffs.chosen(held_out, shared, shared=True), handoffs.best(held_out, shared=True))
    assert np.allclose(handoffs.chosen(held_out, alone, shared=False), 1.0)
    # Where a hand-off is worth less than being alone, it is ignored: here towards distant prompts.
    worth = np.array([0.0, 0.0, 0.5])[:, None, None, None]
    spoilt = replace(fitting, restart=fitting.restart - worth, alone=fitting.alone - 0.1)
    limit = handoffs.fit_limit(spoilt, shared, alone)
    assert 1.0 <= limit < 4.0
    kept = handoffs.used_up_to(spoilt, shared, alone, limit)
    assert np.allclose(kept[:, :, :2], 1.0) and np.allclose(kept[:, :, 2], 0.9)
    late = StartRule(999.0, 0.0)
    assert np.allclose(handoffs.chosen(held_out, late, shared=False), 1 - 0.199)  # the own grid begins at 999


def test_scores_that_are_not_there_are_said_with_the_command(tmp_path):
    with pytest.raises(ModelNotFound, match="allocation.gather handoffs"):
        HandoffScores.load(tmp_path / "none.npz")


def test_the_shipped_scores_are_whole():
    scores = HandoffScores.load()
    held_out = scores.half(True)
    assert scores.cases == tuple(handoffs.cases()) and len(scores.people) == 7
    for array in (held_out.link[..., :2, :], held_out.restart, held_out.alone, held_out.noise[:, : handoffs.FEW_SEEDS]):
        assert np.isfinite(array).all() and 0 <= array.min() <= array.max() <= 1
    assert np.array_equal(held_out.link[:, :, :, 0, 0], held_out.link[:, :, :, 0, 1])  # without bit errors receivers are alike
    assert (np.diff(scores.half(True).effective, axis=-1) >= 0).all()
    assert (scores.distances[:, 0] == 0).all() and (scores.distances[:, 1:] > 0).all()
