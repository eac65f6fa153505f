"""The service in time: against queueing theory where there is one, and by hand where few requests come."""

import numpy as np
import pytest
from scipy import stats

from rlli_core.allocation.handoffs import StartRule
from rlli_core.allocation.hit_rules import Curves, LimitRule
from rlli_core.allocation.in_time import Timing, Way, over_loads, simulate, step_seconds
from rlli_core.allocation.request_log import Request, zipf_log
from rlli_core.errors import InvalidArgument

from .test_hit_rules import made_up

ONE = Timing(shared_steps=5, device_steps=2, batch=1, step_fixed_s=0.2, step_each_s=0.0, device_step_s=0.5, airtime_s=0.25)
KEYS = {"a": np.array([0.0]), "b": np.array([1.0]), "z": np.array([9.0])}
DEEP = LimitRule("text", (((5, None), 0.5), ((2, None), 2.0)))


@pytest.fixture(scope="module")
def curves():
    return Curves(made_up(), StartRule(800.0, 0.0))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_is_that_of_a_queue_with_poisson_arrivals_and_fixed_service(load):
    """M/D/1: the mean wait is load / (2 (1 - load)) services of 1 s; here within what 99 % of ten runs allow."""
    waits = []
    for seed in range(10):
        log = zipf_log(["a"], 1_000, load * ONE.capacity_hz, users=1_000_000, seed=seed)
        waits.append(simulate(log, KEYS, ONE, Way("no cache")).waited_s.iloc[200:].mean())
    assert ONE.capacity_hz == 1.0
    assert abs(stats.ttest_1samp(waits, load / (2 * (1 - load))).statistic) < stats.t.ppf(0.995, 9)


def test_three_requests_by_hand(curves):
    log = [Request(0.0, "u", "a"), Request(0.4, "v", "b"), Request(0.4, "w", "z")]
    table = simulate(log, KEYS, ONE, Way("no cache"), curves)
    assert table.waited_s.tolist() == pytest.approx([0.0, 0.6, 1.6])
    assert table.latency_s.tolist() == pytest.approx([2.25, 2.85, 3.85])  # walk 1 s, air 0.25 s, device 1 s
    assert table.energy.tolist() == pytest.approx([5 * 0.5 + 1 + 2] * 3) and table.attrs["server_steps"] == 15
    assert table.qoe.tolist() == pytest.approx([0.9] * 3) and not table.hit.any()
    alone = simulate(log, KEYS, ONE, Way("alone"), curves)
    assert alone.latency_s.tolist() == pytest.approx([1.0] * 3) and alone.energy.tolist() == [2.0] * 3
    assert alone.qoe.tolist() == pytest.approx([0.7] * 3) and alone.attrs["server_steps"] == 0


def test_a_user_has_one_device():
    log = [Request(0.0, "u", "a"), Request(0.1, "u", "a")]
    assert simulate(log, KEYS, ONE, Way("alone")).latency_s.tolist() == pytest.approx([1.0, 1.9])


def test_a_batch_takes_those_who_wait_and_alike_ones_share_a_chain(curves):
    timing = Timing(shared_steps=5, batch=2, step_fixed_s=0.1, step_each_s=0.1)
    log = [
        Request(0.0, "u", "z"),
        Request(0.1, "v", "a"),
        Request(0.1, "w", "b"),
        Request(0.1, "x", "z"),
        Request(0.2, "y", "a"),
    ]
    apart = simulate(log, KEYS, timing, Way("no cache"), curves)
    assert apart.waited_s.tolist() == pytest.approx([0.0, 0.9, 0.9, 2.4, 2.3])  # a walk takes 1 s with one chain, 1.5 with two
    shared = simulate(log, KEYS, timing, Way("paper", within=1.0), curves)
    assert shared.waited_s.tolist() == pytest.approx([0.0, 0.9, 0.9, 0.9, 0.8]) and shared.attrs["server_steps"] == 15
    assert shared.distance.tolist() == [0, 0, 1, 0, 0] and shared.qoe.tolist() == pytest.approx([0.9, 0.9, 0.7, 0.9, 0.9])
    assert shared.energy.iloc[[1, 3]].tolist() == pytest.approx([5 * 0.5 / 3 + 3, 5 * 0.5 + 3])


def test_a_hit_skips_the_queue_and_scores_by_distance_and_depth(curves):
    log = [Request(0.0, "u", "a"), Request(5.0, "v", "a"), Request(6.0, "w", "b"), Request(7.0, "x", "z")]
    table = simulate(log, KEYS, ONE, Way("cache", rule=DEEP), curves)
    assert table.hit.tolist() == [False, True, True, False] and table.distance.tolist() == [0, 0, 1, 0]
    assert table.latency_s.tolist() == pytest.approx([2.25, 1.25, 1.25, 2.25])
    assert table.qoe.tolist() == pytest.approx([0.9, 0.9, 0.82, 0.9]) and table.attrs["server_steps"] == 10
    assert table.energy.tolist() == pytest.approx([5.5, 3.0, 3.0, 5.5])


def test_private_latents_serve_their_owner_alone():
    log = [Request(0.0, "u", "a"), Request(5.0, "v", "a"), Request(10.0, "u", "a")]
    assert simulate(log, KEYS, ONE, Way("cache", rule=DEEP, private=True)).hit.tolist() == [False, False, True]


def test_a_full_shelf_forgets(curves):
    log = [Request(10.0 * i, "u", prompt) for i, prompt in enumerate("azaz")]
    assert simulate(log, KEYS, ONE, Way("cache", rule=DEEP, entries=4), curves).hit.tolist() == [False, False, True, True]
    assert simulate(log, KEYS, ONE, Way("cache", rule=DEEP, entries=2, eviction="fifo"), curves).hit.tolist() == [False] * 4


def test_pictures_are_finished_by_the_server_at_its_cost(curves):
    rule = LimitRule("picture", (((10, 800), 0.5),))
    log = [Request(0.0, "u", "a"), Request(0.1, "v", "z"), Request(9.0, "w", "a")]
    table = simulate(log, KEYS, ONE, Way("cache", rule=rule, keys=(KEYS, KEYS)), curves)
    assert table.hit.tolist() == [False, False, True] and table.attrs["server_steps"] == 20
    assert table.waited_s.tolist() == pytest.approx([0.0, 1.9, 0.0])  # the second waits for ten steps
    assert table.energy.tolist() == pytest.approx([10 * 0.5 + 3, 10 * 0.5 + 3, 3.0])


def test_over_loads_and_seeds(curves):
    def logs(rate, seed):
        return zipf_log(["a", "b", "z"], 200, rate, users=20, seed=seed)

    ways = {"none": Way("no cache"), "cache": Way("cache", rule=DEEP)}
    table = over_loads(logs, [0.3, 3.0], ways, KEYS, ONE, curves, [0, 1])
    means = table.groupby(["load", "way"]).mean()
    assert len(table) == 8 and means.hit_rate[3.0, "none"] == 0 and means.hit_rate[3.0, "cache"] > 0.9
    assert means.waited_s[3.0, "none"] > 10 * means.waited_s[0.3, "none"] and means.waited_s[3.0, "cache"] < 1
    assert means.steps[0.3, "none"] == 5 and means.steps[0.3, "cache"] < 1


def test_more_wishes_wait_less_than_longer_ones():
    with pytest.raises(InvalidArgument, match="^shared_steps=4 .* a measured depth, one of"):
        simulate(
            [Request(0.0, "u", "a")], KEYS, Timing(shared_steps=4), Way("no cache"), Curves(made_up(), StartRule(800.0, 0.0))
        )


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: Way("best"), "way"), (lambda: Way("cache"), "rule"), (lambda: Way("paper", rule=DEEP), "rule"),
        (lambda: Way("paper", within=-1.0), "within"), (lambda: Way("cache", rule=DEEP, entries=0), "entries"),
        (lambda: Way("cache", rule=LimitRule("picture", ())), "keys"), (lambda: Timing(batch=0), "batch"),
        (lambda: Timing(airtime_s=-1.0), "airtime_s"), (lambda: Timing(step_fixed_s=0.0, step_each_s=0.0), "step_fixed_s"),
        (lambda: Timing(shared_steps=10), "shared_steps"),
    ],
)  # fmt: skip
def test_bad_arguments(build, name):
    with pytest.raises(InvalidArgument, match=f"^{name}"):
        build()


def test_measured_seconds_are_some(chain):
    fixed, each = step_seconds(chain, "a", (1, 3), repeats=1)
    assert fixed >= 0 and each >= 0 and fixed + each > 0
