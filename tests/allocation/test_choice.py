"""The service with a choice: who shares, who stays out, what is drawn and seen, and the exact optimum over all of it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlli_core.allocation import Service, ServiceConfig, ServiceEnv, compare, optimum, oracle, train
from rlli_core.allocation.reward import objective, server_energy
from rlli_core.allocation.states import Allocation
from rlli_core.allocation.table import TableQoE
from rlli_core.errors import InvalidArgument
from rlli_core.qoe.persona import Persona

CHOICE = ServiceConfig(actions="choice")
DRAWN = ServiceConfig(
    users=4, fewest_users=2, server_budget=(0.3, 20.0), device_budget=(1.0, 8.0), threshold=(0.3, 0.8), severity=(0.5, 4.0),
    shadowing=(1.1, 10.0), mean_gain_db=(-5.0, 5.0), server_step_energy=(0.2, 1.0), actions="choice", max_shared_steps=None,
    device_step_energy=1.0,
)  # fmt: skip


def value(service, states, allocation):
    return objective(service.config, service.outcome(states, allocation))


def kept(service, states, allocation):
    made = service.outcome(states, allocation)
    return (made.server_excess < 1e-9) & (made.device_excess < 1e-9).all(1)


def test_the_setting_of_the_paper_is_the_default():
    c = ServiceConfig()
    assert (c.actions, c.receiver, c.alone, c.fewest_users, c.severity) == ("paper", "paper", "grid", None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fewest_users", 0), ("fewest_users", 4), ("actions", "all"), ("receiver", "x"), ("alone", None), ("severity", (0.1, 1)),
        ("shadowing", 1.0), ("mean_gain_db", (3, -3)), ("device_budget", (0.5, 8.0)), ("server_budget", (0.4, 20.0)),
        ("max_shared_steps", 0),
    ],
)  # fmt: skip
def test_a_bad_setting_gets_one_clear_error(name, value):
    with pytest.raises(InvalidArgument, match=f"^{name}"):
        ServiceConfig(**{name: value})


def test_with_the_choice_a_server_may_have_too_little_for_a_step(source):
    service = Service(replace(CHOICE, server_budget=0.4), source)
    states = service.draw(np.random.default_rng(0), 3)
    assert not optimum(service, states).shared_steps.any()


def test_shared_steps_go_as_far_as_energy_and_table_allow(made, source):
    open_end = replace(CHOICE, max_shared_steps=None)
    assert open_end.most_shared_steps == 40 and Service(open_end, source).config.max_shared_steps == 40
    assert Service(open_end, TableQoE.load(made)).config.max_shared_steps == 10
    assert Service(replace(open_end, server_budget=3.0), TableQoE.load(made)).config.max_shared_steps == 6


def test_the_first_entry_shares_nothing_and_who_is_above_zero_stays_out(source):
    service = Service(CHOICE, source)
    action = -np.ones(3 + 3 + 11 + 24)
    action[4], action[6 + 3], action[6 + 11 :: 8] = 0.1, 1.0, 1.0
    made = service.decode(np.stack([action, np.roll(action, 0)]))
    assert made.shared_steps.tolist() == [3, 3] and made.alone.tolist() == [[False, True, False]] * 2
    action[6] = 2.0
    made = service.decode(action[None])
    assert made.shared_steps.tolist() == [0] and made.alone.all()
    raw = service.decode(np.random.default_rng(0).uniform(-1, 1, (50, service.config.action_size)))
    again = service.decode(service.encode(raw))
    assert all(np.allclose(getattr(raw, name), getattr(again, name)) for name in vars(raw))


def test_only_who_shares_costs_the_server_anything(source):
    service = Service(CHOICE, source)
    states = service.draw(np.random.default_rng(0), 3)
    out = np.array([[False] * 3, [False, True, False], [True] * 3])
    made = Allocation(np.full(3, 4), np.full((3, 3), 5), np.full((3, 3), 10.0), out)
    assert server_energy(CHOICE, states, made) == pytest.approx([2 + 3, 2 + 2, 0])
    cut = service.within_budget(states, replace(made, power_w=made.power_w * 100))
    assert server_energy(CHOICE, states, cut)[:2] == pytest.approx([20, 20]) and not cut.power_w[out].any()


def test_what_may_differ_is_drawn_and_seen(source):
    service = Service(DRAWN, source)
    states = service.draw(np.random.default_rng(0), 2000)
    assert set(states.present.sum(1)) == {2, 3, 4} and states.present[:, :2].all()
    for name, (low, high) in {"server_budget": (0.3, 20), "device_budget": (1, 8), "threshold": (0.3, 0.8)}.items():
        values = getattr(states, name)
        assert low <= values.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < values.max() <= high
    seen = service.observe(states[:1])[0]
    assert len(seen) == len(service.low) == 4 * 5 + 4 * 2 + 1 + 4 + 4 + 1 + 1 + 4 + 4
    for name, given in vars(states[:1]).items():
        other = ~given if name == "present" else given * 0 + (1 if name == "prompts" else 0.523)
        assert (service.observe(replace(states[:1], **{name: other}))[0] != seen).any(), name
    full = replace(states, present=np.ones_like(states.present))
    places = ~states.present.all(1)
    assert (service.observe(full)[places] != service.observe(states)[places]).any(1).all()
    check_env(ServiceEnv(DRAWN, source), skip_render_check=True)


def test_fading_is_drawn_from_its_range(source):
    rng, plain = np.random.default_rng(0), replace(CHOICE, severity=50.0, shadowing=1000.0)
    calm = Service(plain, source).draw(rng, 3000).gains
    assert calm.mean() == pytest.approx(1, abs=0.02) and calm.std() == pytest.approx(1 / 50**0.5, rel=0.1)
    far = Service(replace(plain, mean_gain_db=(-13.0, -7.0)), source).draw(rng, 3000).gains
    assert 10 * np.log10(far).mean() == pytest.approx(-10.1, abs=0.2)
    given = ServiceConfig(severity=2.0, shadowing=1.5).link.fading
    assert np.quantile(Service(replace(CHOICE, severity=2.0), source).draw(rng, 9000).gains, 0.5) == pytest.approx(
        given._law.ppf(0.5), rel=0.05
    )


def test_empty_places_change_nothing(source):
    """A group of two in four places has the outcome of two in two."""
    four, two = Service(replace(CHOICE, users=4, fewest_users=1), source), Service(replace(CHOICE, users=2), source)
    group = ["a", "b"], [Persona.named("GA1"), Persona.named("GA2")], [1.0, 0.3]
    padded, plain = four.state(*group), two.state(*group)
    assert padded.present.tolist() == [[True, True, False, False]]
    big = Allocation(np.array([2]), np.array([[5, 7, 8, 8]]), np.array([[30.0, 40, 90, 100]]))
    first, second = (
        four.outcome(padded, big),
        two.outcome(plain, Allocation(big.shared_steps, *(x[:, :2] for x in (big.device_steps, big.power_w)))),
    )
    assert first.reward == pytest.approx(second.reward) and first.qoe[0, 2:].tolist() == [0, 0]
    best, less = optimum(four, padded), optimum(two, plain)
    assert value(four, padded, best) == pytest.approx(value(two, plain, less))
    with pytest.raises(InvalidArgument, match="prompts"):
        two.state(["a"], group[1][:1], [1.0])


def every_allocation(config, powers, count):
    """All of a small space, each as a batch of `count` equal ones."""
    users, most = config.users, config.max_device_steps
    for steps in product(range(1, most + 1), repeat=users):
        yield np.full(count, 0), np.tile(steps, (count, 1)), np.zeros((count, users)), None
        for shared, out in product(range(1, config.most_shared_steps + 1), product((False, True), repeat=users)):
            for power in product(powers, repeat=users):
                yield np.full(count, shared), np.tile(steps, (count, 1)), np.tile(power, (count, 1)), np.tile(out, (count, 1))


@pytest.mark.slow
@pytest.mark.parametrize("receiver", [None, "paper", "noise-aware"])
def test_the_optimum_is_what_brute_force_finds(source, made, receiver):
    config = replace(
        DRAWN, users=2, max_shared_steps=3, device_budget=(1.0, 3.0), server_budget=(0.3, 4.0), fewest_users=1,
        receiver=receiver or "paper", alone="best" if receiver else "grid",
    )  # fmt: skip
    service = Service(config, TableQoE.load(made) if receiver else source)
    states = service.draw(np.random.default_rng(1), 8)
    found = optimum(service, states, power_step_w=8.0)
    best = np.full(8, -np.inf)
    for tried in every_allocation(config, np.arange(0, 41, 8.0), 8):
        allocation = Allocation(*tried)
        best = np.where(kept(service, states, allocation), np.maximum(best, value(service, states, allocation)), best)
    assert value(service, states, found) == pytest.approx(best, abs=1e-9) and kept(service, states, found).all()
    if receiver is None:  # the formula's users differ: some share beside some who do not
        assert len({*found.shared_steps}) > 1 and found.alone.any() and not found.alone.all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "receiver", "alone"),
    [(CHOICE, "paper", "grid"), (CHOICE, "noise-aware", "best"), (DRAWN, "paper", "best"), (DRAWN, "noise-aware", "best")],
)
def test_nothing_beats_it_on_the_table(made, setting, receiver, alone):
    """Not by more than powers off its grid of 1 W bring, a thousandth of QoE."""
    service = Service(replace(setting, receiver=receiver, alone=alone), TableQoE.load(made))
    rng = np.random.default_rng(2)
    states = service.draw(rng, 8)
    best = optimum(service, states)
    assert kept(service, states, best).all()
    top = value(service, states, best)
    rules = {name: getattr(oracle, name) for name in ("equal_split", "greedy", "no_sharing")}
    rules |= {f"random {i}": lambda service, states: oracle.random(service, states, rng) for i in range(200)}
    if setting.fewest_users is None:
        policy = train("ddpg", service, 0, progress=False, interactions=64, warmup=16, hidden=8, batch=8, evaluate_every=64)
        rules["learner"] = lambda service, states: policy.act(states)
    for name, rule in rules.items():
        served = service.within_budget(states, rule(service, states))
        assert kept(service, states, served).all(), name
        assert (value(service, states, served) <= top + 1e-3).all(), name
    paper = Service(replace(service.config, actions="paper", server_budget=20.0, server_step_energy=0.5), TableQoE.load(made))
    if setting is CHOICE:
        assert (top >= value(paper, states, optimum(paper, states)) - 1e-12).all()
        assert compare(service, states, rules).share.max() <= 1 + 1e-6


def test_a_learner_trains_in_the_larger_space(source):
    service = Service(DRAWN, source)
    policy = train("g-ddpg", service, 0, progress=False, interactions=64, warmup=16, hidden=8, batch=8, evaluate_every=64)
    made = policy.act(service.draw(np.random.default_rng(0), 5))
    assert made.alone.shape == (5, 4) and np.isfinite(policy.curve.reward).all()
