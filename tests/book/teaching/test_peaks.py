import numpy as np
import pytest

from rlli_core.book.teaching import peaks
from rlli_core.errors import InvalidArgument


def test_every_peak_is_as_high_as_the_others_and_a_closed_one_brings_nothing():
    for count in (1, 2, 5):
        tops = peaks.places(count)
        assert np.allclose(np.hypot(*tops.T), peaks.RADIUS) and np.allclose(peaks.reward(tops, count), 1)
        left = peaks.reward(tops, count, closed=count - 1)
        assert np.allclose(left[:-1], 1) and left[-1] < 0.5
    values = peaks.landscape(2)
    row, column = np.unravel_index(values[len(peaks.GRID) // 2 :].argmax(), (41, 81))
    assert np.allclose([peaks.GRID[column], peaks.GRID[row + 40]], peaks.places(2)[0], atol=0.02)


def test_peaks_kept_and_what_is_left_are_counted():
    first, second = peaks.places(2)
    draws = np.concatenate([np.tile(first, (90, 1)), np.tile(second, (8, 1)), np.zeros((2, 2))])
    made = peaks.Learnt(draws, np.zeros(2), 2)
    assert made.shares.tolist() == pytest.approx([0.9, 0.08]) and made.kept == 2
    assert made.left(1, 1) == pytest.approx(0.9) and made.left(0, 3) == pytest.approx(1 - 0.92**3)
    assert made.left(None, 1) == pytest.approx(0.98)
    one = peaks.Learnt(np.tile(first, (5, 1)), first, 2)
    assert one.kept == 1 and (one.left(0, 4), one.left(1, 4)) == (0.0, 1.0)
    area = np.pi * 2 * peaks.WIDTH**2 * np.log(1 / peaks.GOOD) / 4  # of a peak's disc, of the square's
    assert peaks.by_chance(2, 1) == pytest.approx(area, rel=0.05)


@pytest.mark.training
def test_draws_keep_more_peaks_than_the_slope():
    made = {way: peaks.learn(way, 2, 200, 0.3, seed=2) for way in peaks.WAYS}
    assert made["plain, slope"].kept == made["diffusion, slope"].kept == 1 < made["diffusion, draws"].kept == 2
    assert np.ptp(made["plain, draws"].draws, 0).max() == 0 and np.ptp(made["diffusion, draws"].draws, 0).max() > 1
    again = peaks.learn("diffusion, draws", 2, 200, 0.3, seed=2)
    assert np.array_equal(again.draws, made["diffusion, draws"].draws)
    assert not np.array_equal(again.draws, peaks.learn("diffusion, draws", 2, 200, 0.3, seed=3).draws)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"way": "slope"}, "way"),
        ({"peaks": 0}, "peaks"),
        ({"updates": 0}, "updates"),
        ({"exploration": -1.0}, "exploration"),
        ({"seed": -1}, "seed"),
    ],
)
def test_learning_refuses_what_it_cannot_do(wrong, name):
    with pytest.raises(InvalidArgument, match=name):
        peaks.learn(**{"way": peaks.WAYS[0], "peaks": 2, "updates": 4, "exploration": 0.3} | wrong)
