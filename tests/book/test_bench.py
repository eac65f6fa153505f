"""Times of the machine: all four are there, positive, and one of them is less than another."""

import pytest

from rlli_core.book import bench

pytestmark = pytest.mark.slow


def test_bench_times_the_embedded_models():
    times = bench.bench(repeats=1)
    assert list(times) == ["image_s", "denoising_step_s", "rating_s", "allocator_update_s"]
    assert all(0 < seconds < 60 for seconds in times.values())
    assert times["denoising_step_s"] < times["image_s"]


def test_the_warm_up_does_not_count():
    calls = []
    assert bench.least(lambda: calls.append(1), 3, calls=2) < 1 and len(calls) == 7
