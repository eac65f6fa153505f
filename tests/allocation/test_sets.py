"""Actors and critics treat all users alike, in any number; empty places change nothing; what is drawn is seen and acted on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from rlli_core.allocation import Policy, Service, ServiceConfig, train
from rlli_core.allocation.actors import allocation_shown
from rlli_core.allocation.ddpg import Learner, Training
from rlli_core.allocation.learners import LEARNERS, train_learner
from rlli_core.allocation.policy import new_actor
from rlli_core.allocation.sets import Layout, action_layout, seen_layout
from rlli_core.allocation.states import Allocation
from rlli_core.errors import InvalidArgument

SHORT = Training(interactions=400, collect=8, hidden=16, batch=16, evaluate_every=200, warmup=100)
DRAWN = ServiceConfig(
    users=4, fewest_users=2, server_budget=(2.0, 20.0), device_budget=(2.0, 8.0), threshold=(0.3, 0.8), server_step_energy=(0.2, 1.0),
    severity=(0.5, 4.0), shadowing=(1.1, 10.0), mean_gain_db=(-5.0, 5.0), actions="choice",
)  # fmt: skip
CONFIGS = [ServiceConfig(), ServiceConfig(users=4, actions="choice"), DRAWN]
OF_USERS = ("prompts", "personas", "device_step_energy", "gains", "device_budget", "present")


@pytest.fixture(params=CONFIGS, ids=["paper", "choice", "drawn"])
def any_service(request, source):
    return Service(request.param, source)


def learner(name, service):
    torch.manual_seed(0)
    kind = LEARNERS.get(name, Learner)
    return kind(name, service, SHORT, 0)


def moved(states, order):
    """The same groups with users in other places; the first stays, whose prompt is the server's."""
    return replace(states, **{name: getattr(states, name)[:, order] for name in OF_USERS})


def test_rows_are_taken_apart_and_put_together_again(any_service):
    states = any_service.draw(np.random.default_rng(0), 5)
    seen, acts = torch.from_numpy(any_service.observe(states)), torch.rand(5, any_service.config.action_size)
    for layout, rows in ((seen_layout(any_service), seen), (action_layout(any_service.config), acts)):
        common, each = layout.split(rows)
        assert layout.width(any_service.config.users) == rows.shape[1] and each.shape[1] == any_service.config.users
        assert torch.equal(layout.join(common, each), rows)
    shown = allocation_shown(any_service.config, acts)
    assert action_layout(any_service.config, shown=True).width(any_service.config.users) == shown.shape[1]
    common, users, present = seen_layout(any_service).look(seen)
    assert torch.allclose(common[:, -2:], torch.from_numpy(any_service.source.embeddings[states.prompts[:, 0]]).float())
    assert torch.equal(users[..., :5], torch.from_numpy(states.personas * states.present[..., None]).float())
    assert present is None or (present[..., 0].numpy() == states.present).all()


@pytest.mark.parametrize("name", ["g-ddpg", "ddpg"])
def test_who_stands_in_which_place_does_not_matter(any_service, name):
    one, users = learner(name, any_service), any_service.config.users
    states = any_service.draw(np.random.default_rng(0), 50)
    states = replace(states, present=np.ones_like(states.present))
    order = [0, *range(users - 1, 0, -1)]
    policy = one.policy()
    first, other = policy.act(states), policy.act(moved(states, order))
    assert np.ptp(first.power_w, axis=1).min() > 1e-4  # users differ
    assert np.allclose(other.power_w, first.power_w[:, order], atol=1e-3)
    assert (other.shared_steps == first.shared_steps).all() and (other.device_steps == first.device_steps[:, order]).all()
    assert (other.alone == first.alone[:, order]).all()
    made = any_service.decode(np.random.default_rng(1).uniform(-1, 1, (50, any_service.config.action_size)))
    swapped = Allocation(made.shared_steps, *(part[:, order] for part in (made.device_steps, made.power_w, made.alone)))
    values = [
        one.critic(torch.from_numpy(any_service.observe(group)), one.shown(torch.from_numpy(any_service.encode(allocation)).float()))
        for group, allocation in ((states, made), (moved(states, order), swapped), (states, swapped))
    ]  # fmt: skip
    assert torch.allclose(values[0], values[1], atol=1e-5) and not torch.allclose(values[0], values[2], atol=1e-5)


def test_users_with_the_same_wishes_change_places_with_the_first_one_too(service):
    states = replace(service.draw(np.random.default_rng(0), 20), prompts=np.ones((20, 3), int))
    policy, order = learner("g-ddpg", service).policy(), [2, 0, 1]
    assert np.allclose(policy.act(moved(states, order)).power_w, policy.act(states).power_w[:, order], atol=1e-3)


@pytest.mark.parametrize("name", ["g-ddpg", "ddpg", "critic-argmax"])
def test_empty_places_change_nothing(source, name):
    service = Service(DRAWN, source)
    one, fewer = learner(name, service), service.of_users(2)
    states = service.draw(np.random.default_rng(0), 40)
    states = replace(states, present=np.arange(4) < np.full((40, 1), 2))
    noisy = replace(states, **{name: np.where([True, True, False, False], getattr(states, name), getattr(other, name))
                    for other in [service.draw(np.random.default_rng(1), 40)] for name in ("gains", "prompts", "device_budget")})  # fmt: skip
    two = replace(states, **{name: getattr(states, name)[:, :2] for name in OF_USERS})
    policy = one.policy()
    full, same, small = policy.act(states), policy.act(noisy), policy.act(two)
    assert (full.shared_steps == same.shared_steps).all() and np.array_equal(full.power_w, same.power_w)
    if name != "critic-argmax":  # its search begins with other draws
        assert (full.shared_steps == small.shared_steps).all() and np.allclose(full.power_w[:, :2], small.power_w, atol=1e-3)
    acts = 2 * torch.rand(40, service.config.action_size, generator=torch.Generator().manual_seed(0)) - 1
    made = service.decode(acts.numpy())
    cut = replace(made, device_steps=made.device_steps[:, :2], power_w=made.power_w[:, :2], alone=made.alone[:, :2])
    values = [
        one.critic(torch.from_numpy(in_.observe(group)), one.shown(torch.from_numpy(in_.encode(allocation)).float()))
        for in_, group, allocation in ((service, states, made), (fewer, two, cut))
    ]
    assert torch.allclose(*values, atol=1e-5)


@pytest.mark.parametrize("name", ["g-ddpg", "ddpg", "g-ddpg-best", "critic-argmax"])
@pytest.mark.parametrize("config", [ServiceConfig(), DRAWN], ids=["paper", "drawn"])
def test_a_policy_acts_on_groups_of_other_numbers(source, name, config):
    service = Service(config, source)
    short = replace(SHORT, evaluate_every=10_000)
    policy = (
        train(name, service, progress=False, **vars(short)) if name not in LEARNERS else train_learner(name, service, 0, short)
    )
    for users in (2, 5, 8):
        other = service.of_users(users)
        states = other.draw(np.random.default_rng(0), 3)
        made = policy.act(states)
        assert made.power_w.shape == made.device_steps.shape == (3, users)
        assert np.isfinite(other.outcome(states, made).reward).all()
    assert service.of_users(config.users) is service and policy.service is service
    with pytest.raises(InvalidArgument, match="users=9"):
        service.of_users(9)


def test_lines_have_weights_of_each_place(service):
    policy = train_learner("linucb", service, 0, SHORT)
    with pytest.raises(InvalidArgument, match=r"states=\(3, 2\).*3 users"):
        policy.act(service.of_users(2).draw(np.random.default_rng(0), 3))


def test_a_walk_of_other_numbers_ends_in_an_action(service):
    policy = Policy(service, new_actor(service, 8, 3), pd.DataFrame())
    states = service.of_users(2).draw(np.random.default_rng(0), 4)
    assert policy.walk(states, 0).shape == (4, 4, 10 + 2 * 9)


def test_a_policy_of_drawn_settings_is_saved_and_loaded(source, tmp_path):
    service = Service(DRAWN, source)
    policy = train("g-ddpg", service, progress=False, **vars(SHORT))
    policy.save(tmp_path / "p.safetensors")
    states = service.draw(np.random.default_rng(9), 4)
    for loaded_for in (service, service.of_users(3)):
        again = Policy.from_pretrained(tmp_path / "p.safetensors", loaded_for)
        assert np.array_equal(again.act(states).power_w, policy.act(states).power_w)
    with pytest.raises(InvalidArgument, match="service"):
        Policy.from_pretrained(tmp_path / "p.safetensors", Service(ServiceConfig(), source))


@pytest.mark.training
def test_the_server_s_budget_is_seen_and_acted_on(source):
    service = Service(replace(DRAWN, users=3, fewest_users=None, actions="paper"), source)
    states = service.draw(np.random.default_rng(0), 100)
    low, high = (replace(states, server_budget=np.full(100, budget)) for budget in (4.0, 20.0))
    seen = service.observe(low), service.observe(high)
    assert (seen[0] != seen[1]).sum(1).tolist() == [1] * 100
    policy = train(
        "ddpg", service, 0, progress=False, **vars(replace(SHORT, interactions=8_000, hidden=64, batch=64, warmup=1_000))
    )
    spent = [service.config.power_weight * policy.act(some).power_w.sum(1).mean() for some in (low, high)]
    assert spent[1] > spent[0] + 1


def test_numbers_of_the_group_may_stand_between_those_of_users():
    layout = Layout(((1, True), (2, False), (0, True), (2, True)))
    common, each = layout.split(torch.arange(8.0)[None])
    assert common.tolist() == [[2, 3]] and each.tolist() == [[[0, 4, 5], [1, 6, 7]]]
    assert (layout.each, layout.common, layout.users(8), layout.width(3)) == (3, 2, 2, 11)
