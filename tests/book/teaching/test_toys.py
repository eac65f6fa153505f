import numpy as np
import pytest
from scipy import stats

from rlli_core import FisherSnedecorF
from rlli_core.book.teaching import toys
from rlli_core.channel import average_bep, conditional_bep
from rlli_core.errors import InvalidArgument


def test_the_guess_is_the_conditional_mean():
    rng, time, width = np.random.default_rng(0), 0.6, 0.4
    clean = toys.WISHES["dog"] + width * rng.standard_normal(400_000)
    alpha = toys.signal(time)
    noisy = alpha * clean + np.sqrt(1 - alpha**2) * rng.standard_normal(len(clean))
    near = np.abs(noisy - 0.3) < 0.02
    error = clean[near].std() / np.sqrt(near.sum())
    assert toys.guess(0.3, time, "dog", width) == pytest.approx(clean[near].mean(), abs=4 * error)


def test_a_whole_chain_draws_from_the_wish():
    ends = toys.walk(np.random.default_rng(1).standard_normal(4000), 200, 0, 0.3)[-1]
    assert stats.kstest(ends, stats.norm(1, 0.3).cdf).pvalue > 0.001


def test_a_chain_without_change_of_wish_does_not_depend_on_where_it_is_cut():
    noise = np.linspace(-2, 2, 9)
    assert np.array_equal(toys.walk(noise, 10, 4, 0.2, "dog", "dog"), toys.walk(noise, 10, 0, 0.2))


def test_the_later_the_change_and_the_wider_the_wish_the_more_is_left():
    noise = np.random.default_rng(2).standard_normal(500)
    left = np.array([[1 - toys.walk(noise, 20, shared, width)[-1].mean() for shared in (2, 8, 14)] for width in (0.1, 0.3)])
    assert (np.diff(left, axis=0) > 0).all() and (np.diff(left, axis=1) > 0).all()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"shared": 11}, {"width": 0.0}, {"device": "cat"}])
def test_a_walk_refuses_what_it_cannot_do(wrong):
    with pytest.raises(InvalidArgument):
        toys.walk(np.zeros(2), **{"steps": 10, "shared": 2, "width": 0.2} | wrong)


@pytest.mark.parametrize("fading", [None, FisherSnedecorF(2.0, 1.5)])
def test_bits_go_wrong_as_often_as_the_formula_says(fading):
    count, snr = 400_000, 10**0.4
    wrong = (toys.received(count, 4.0, fading, 3)[1] < 0).sum()
    expected = conditional_bep("bpsk", snr) if fading is None else average_bep("bpsk", fading, snr)
    assert stats.binomtest(int(wrong), count, float(expected)).pvalue > 0.001


def test_all_errors_fall_into_all_moments_and_most_into_the_weakest():
    fading = FisherSnedecorF(2.0, 1.5)
    assert toys.share_of_errors(fading, 10.0, 1.0) == pytest.approx(1)
    assert toys.share_of_errors(fading, 10.0, 0.0) == 0
    assert 0.5 < toys.share_of_errors(fading, 10.0, 0.2) > toys.share_of_errors(fading, -20.0, 0.2)


def test_equal_channels_deserve_equal_power_and_the_users_are_alike():
    shares = np.linspace(0, 1, 101)
    assert shares[toys.reward(0.0, shares).argmax()] == pytest.approx(0.5)
    assert toys.reward(6.0, 0.3) == pytest.approx(toys.reward(-6.0, 0.7))
    assert toys.reward(0.0, 0.0) == pytest.approx(0.5, abs=1e-3)  # one user gets nothing, the other nearly all right


def test_learning_ends_better_than_it_starts_and_repeats_itself():
    start, end = toys.learn([0, 600], 0.3, seed=1)
    assert toys.regret(end.shares) < 0.7 * toys.regret(start.shares)
    assert end.believed.shape == (len(toys.LEADS), len(toys.SHARES)) and end.rounds == 600
    assert np.array_equal(end.shares, toys.learn([600], 0.3, seed=1)[0].shares)
    assert toys.regret(toys.SHARES[toys.reward(toys.LEADS[:, None], toys.SHARES).argmax(1)]) == 0


def test_learning_refuses_rounds_that_do_not_rise():
    with pytest.raises(InvalidArgument):
        toys.learn([100, 50], 0.3)
