"""Timing: what the caller of a slow first call sees."""

import time

from rlli_core.compute import time_calls


def test_the_warm_up_does_not_count():
    calls = []

    def slow_at_first():
        time.sleep(0.01 if calls else 0.5)
        calls.append(1)

    seconds = time_calls(slow_at_first, 3, calls=2)
    assert len(seconds) == 3 and len(calls) > 6
    assert 0.01 <= min(seconds) and max(seconds) < 0.25


def test_the_clock_can_be_chosen():
    ticks = iter(range(0, 1000, 10))
    assert time_calls(lambda: None, 2, calls=5, timer=lambda: next(ticks)) == [2, 2]
