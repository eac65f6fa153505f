"""The optimum is what brute force finds, and no rule of thumb beats it."""

import numpy as np
import pytest

from rlli_core.allocation import Service, ServiceConfig, ServiceEnv, optimum, oracle
from rlli_core.allocation.states import Allocation
from rlli_core.errors import InvalidArgument


def value(service, states, allocation):
    made = service.outcome(states, allocation)
    return made.qoe.sum(1) - service.config.penalties[1] * made.shortfall.sum(1)


@pytest.mark.parametrize("energy", [1.0, (0.9, 3.0)])
def test_it_is_what_brute_force_finds(source, energy):
    config = ServiceConfig(users=2, max_shared_steps=4, device_budget=3.0, device_step_energy=energy, server_budget=4.0)
    service = Service(config, source)
    states = service.draw(np.random.default_rng(0), 5)
    found = optimum(service, states, power_step_w=4.0)
    powers = np.arange(0, 41, 4.0)
    best = np.full(5, -np.inf)
    for shared in range(1, 5):
        for first in range(1, config.max_device_steps + 1):
            for second in range(1, config.max_device_steps + 1):
                for p in powers:
                    for q in powers:
                        tried = Allocation(np.full(5, shared), np.tile([first, second], (5, 1)), np.tile([p, q], (5, 1)))
                        made = service.outcome(states, tried)
                        allowed = (made.server_excess < 1e-9) & ~(made.device_excess > 1e-9).any(1)
                        best = np.where(allowed, np.maximum(best, value(service, states, tried)), best)
    assert value(service, states, found) == pytest.approx(best, abs=1e-12)


def test_nothing_beats_it_and_it_keeps_the_budgets(service):
    rng = np.random.default_rng(1)
    states = service.draw(rng, 40)
    best = optimum(service, states)
    made = service.outcome(states, best)
    assert made.server_excess.max() < 1e-9 and not made.device_excess.any()
    top = value(service, states, best)
    rules = {
        "random": oracle.random(service, states, rng), "equal": oracle.equal_split(service, states),
        "greedy": oracle.greedy(service, states),
    }  # fmt: skip
    reached = {}
    for name, allocation in rules.items():
        made = service.outcome(states, allocation)
        assert made.server_excess.max() < 1e-9 and not made.device_excess.any(), name
        got = value(service, states, allocation)
        assert (got <= top + 1e-2).all(), name  # powers off the grid may win a little
        reached[name] = got.mean()
    assert max(reached.values()) < top.mean() and reached["random"] < reached["greedy"]


def test_a_finer_grid_of_powers_gains_next_to_nothing(service):
    states = service.draw(np.random.default_rng(2), 8)
    coarse, fine = (value(service, states, optimum(service, states, step)) for step in (1.0, 0.25))
    assert (fine >= coarse - 1e-12).all() and (fine - coarse).max() < 0.005


def test_a_user_in_a_fade_gets_more_power(service):
    states = service.draw(np.random.default_rng(3), 1)
    states.gains[:], states.personas[:], states.prompts[:] = [[1.0, 0.3, 1.0]], 0.5, 1
    power = optimum(service, states).power_w[0]
    assert power[1] > 1.3 * power[0]


def test_it_takes_the_environment_and_its_state(source):
    env = ServiceEnv(source=source)
    env.reset(seed=0)
    one = optimum(env, env.state)
    assert one.shared_steps.shape == (1,) and one.power_w.shape == (1, 3)
    with pytest.raises(InvalidArgument, match="power_step_w"):
        optimum(env, env.state, 0)
    for search in (optimum, oracle.greedy):  # terabytes, hours
        with pytest.raises(InvalidArgument, match=r"step_w=1e-09.*0\.04"):
            search(env.service, env.state, 1e-9)


def test_no_sharing_sends_nothing(service):
    states = service.draw(np.random.default_rng(4), 3)
    alone = oracle.no_sharing(service, states)
    assert not alone.shared_steps.any() and not alone.power_w.any() and (alone.device_steps == 8).all()
