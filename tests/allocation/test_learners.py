"""The learners beside G-DDPG and DDPG learn, on the same rounds; what they search they find, and what is linear they recover."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rlli_core.allocation import Service, ServiceConfig, bandit, search
from rlli_core.allocation.bandit import LinUCB
from rlli_core.allocation.ddpg import Learner, Training
from rlli_core.allocation.learners import ANEW, DRAWS, LEARNERS, BestOf, CriticArgmax, denoised, train_learner
from rlli_core.errors import InvalidArgument

SHORT = Training(interactions=3_000, collect=8, hidden=64, batch=64, evaluate_every=1_000, lr=1e-3, warmup=500)
GENERATOR = torch.Generator()


def learner(name, service, **changes):
    return LEARNERS[name](name, service, replace(SHORT, **changes), 0)


@pytest.mark.training
@pytest.mark.parametrize("name", LEARNERS)
def test_it_learns(service, name):
    policy = train_learner(name, service, 0, replace(SHORT, interactions=8_000, evaluate_every=4_000))
    states = service.draw(np.random.default_rng(9), 100)
    random = service.outcome(states, service.decode(np.random.default_rng(0).uniform(-1, 1, (100, 37)))).reward.mean()
    made = policy.act(states)
    reached = service.outcome(states, made).reward.mean()
    assert reached > random + 0.8
    assert (policy.act(states).power_w == made.power_w).all()  # nothing is drawn
    cut = service.outcome(states, service.within_budget(states, made))
    assert not cut.over_budget.any() and cut.qoe.shape == (100, 3)
    assert np.diff(policy.curve.interactions).min() >= 100 and policy.curve.interactions.iloc[[0, -1]].tolist() == [0, 8_000]


@pytest.mark.training
@pytest.mark.parametrize("name", LEARNERS)
def test_a_training_gone_on_with_ends_as_one_that_was_not_broken_off(service, name, tmp_path):
    short = replace(SHORT, interactions=1_200, warmup=200)
    first, again = LEARNERS[name](name, service, short, 4), LEARNERS[name](name, service, short, 4)
    while first.done < short.interactions:
        first.step()
        if first.done // 400 != again.done // 400:
            first.evaluate()
            first.save(tmp_path / "checkpoint.safetensors")
            again = LEARNERS[name](name, service, short, 4)
            again.load(tmp_path / "checkpoint.safetensors")
        else:
            again.step()
        assert again.done == first.done
    states = service.draw(np.random.default_rng(9), 20)
    for allocations in ("shared_steps", "device_steps", "power_w"):
        made, remade = (getattr(one.policy().act(states), allocations) for one in (first, again))
        assert (made == remade).all()
    with pytest.raises(InvalidArgument, match="folder"):
        LEARNERS[name](name, service, short, 5).load(tmp_path / "checkpoint.safetensors")


def test_the_picks_try_steps_that_the_actor_never_chooses(service):
    """An actor stuck at t0 = 1 and t_k = 1: its own draws have nothing else, those that are varied have."""
    one = learner("g-ddpg-best", service)
    with torch.no_grad():
        for layer, choice in ((one.actor.net.of_context, slice(-10, None)), (one.actor.net.of_each, slice(1, None))):
            layer.weight[choice], layer.bias[choice] = 0.0, -3.0
            layer.bias[choice][0] = 3.0
        draws = one.draws(torch.zeros(50, len(service.low)))
    assert draws.shape == (50, DRAWS, 37)
    own, redrawn = (service.decode(part.flatten(0, 1).numpy()) for part in draws.split(DRAWS // 2, 1))
    assert (own.shared_steps == 1).all() and (own.device_steps == 1).all()
    assert len(np.unique(redrawn.shared_steps)) == 10 and len(np.unique(redrawn.device_steps)) == 8
    assert ((redrawn.shared_steps == 1).mean()) > 0.5  # most are left


def test_the_critic_picks_and_the_actor_is_led_there(service):
    one = learner("g-ddpg-best", service, exploration=(0.0, 0.0), lr=3e-3)
    one.collect()
    index = torch.arange(8).repeat(8)
    seen, wanted = one.replay[0][index], torch.rand(8, 37, generator=GENERATOR.manual_seed(0)) * 1.6 - 0.8
    one.replay[3][:8] = wanted
    one.pick = lambda seen, actions: actions[:, 0]  # what is known stays the best
    for _ in range(400):
        one.improve(seen, index)
    assert torch.equal(one.replay[3][:8], wanted)
    made = one.actor(seen[:8], one.actor.noise(seen[:8], GENERATOR))
    assert (made - wanted).abs().mean() < 0.15 < (made - wanted.roll(1, 0)).abs().mean()


def test_a_pick_is_what_the_critic_expects_the_most_of_and_a_part_of_the_states_gets_new_ones(service):
    one = learner("g-ddpg-best", service)
    one.collect()
    seen, actions = one.replay[0][:4], torch.rand(4, 30, 37, generator=GENERATOR.manual_seed(0)) * 2 - 1
    each = torch.stack([one.critic(seen, one.shown(actions[:, i])).mean(1) for i in range(30)], 1)
    best = service.decode(actions[torch.arange(4), each.argmax(1)].numpy())
    assert np.allclose(one.pick(seen, actions), service.encode(best), atol=1e-6)
    before = one.replay[3].clone()
    assert np.allclose(
        before[:8], service.encode(service.decode(one.replay[1][:8].numpy())), atol=1e-6
    )  # first what was served
    one.improve(one.replay[0][:8], torch.arange(8))
    changed = (one.replay[3] != before).any(1)
    assert changed[: 8 // ANEW].any() and not changed[8 // ANEW :].any()


def test_an_actor_at_the_end_of_its_scale_is_pulled_back(service):
    """At a pre-activation of -14 the slope of tanh is 0 in float32: only the penalty pulls."""
    pull = {}
    for penalty in (0.0, 1e-3):
        one = learner("g-ddpg-best", service, action_penalty=penalty)
        with torch.no_grad():
            one.actor.net.of_each.weight[0] = 0.0
            one.actor.net.of_each.bias[0] = -14.0  # the powers
        one.collect()
        one.improve(one.replay[0][:8], torch.arange(8))
        pull[penalty] = -one.actor.net.of_each.bias.grad[0]
    assert pull[0.0].abs() < 1e-8 and pull[1e-3] > 1e-6


@pytest.mark.training
def test_actors_keep_off_the_ends_of_their_scale(service):
    one = learner("g-ddpg-best", service)
    while one.done < SHORT.interactions:
        one.step()
    _, pre_activations = denoised(one.actor, one.replay[0][:200], one.replay[3][:200], GENERATOR.manual_seed(0))
    assert pre_activations.abs().quantile(0.95) < 8  # where tanh still has a slope


@pytest.mark.parametrize("config", [ServiceConfig(), ServiceConfig(actions="choice", users=2)])
def test_no_draw_of_a_thousand_beats_the_search(source, config):
    service = Service(config, source)
    one = CriticArgmax("critic-argmax", service, SHORT, 0)
    with torch.no_grad():
        for net in one.critic.nets:
            net.of_each.weight *= 20  # a rugged one
        seen = torch.from_numpy(service.observe(service.draw(np.random.default_rng(0), 60)))
        found = one.policy().actor(seen)
        draws = 2 * torch.rand(1, 1_000, config.action_size, generator=GENERATOR.manual_seed(1)) - 1
        others = torch.cat([draws, search.drawn(config, 1_000, GENERATOR)[None]], 1)
        assert (one.value(seen, found[:, None])[:, 0] >= one.value(seen, others).max(1).values).all()
    assert np.allclose(found, service.encode(service.decode(found.numpy())), atol=1e-5)


def test_the_ascent_finds_a_known_top_and_never_goes_down():
    config = ServiceConfig()
    top = search.drawn(config, 5, GENERATOR.manual_seed(0))

    def value(actions):
        level = search.power_level(config, actions[..., :3]) - search.power_level(config, top[:, None, :3])
        return (actions[..., 3:] * top[:, None, 3:]).sum(2) - 10 * level.square().sum(2)

    start = search.drawn(config, 5, GENERATOR)
    once, found = (search.ascend(config, value, start, sweeps) for sweeps in (1, 6))
    assert (
        torch.equal(found[:, 3:], top[:, 3:])
        and (search.power_level(config, found[:, :3]) - search.power_level(config, top[:, :3])).abs().max() < 0.02
    )
    assert (value(once[:, None]) >= value(start[:, None])).all() and (value(found[:, None]) >= value(once[:, None])).all()


def test_draws_cover_all_steps_and_the_scale_of_powers():
    for config in (ServiceConfig(), ServiceConfig(actions="choice")):
        draws = search.drawn(config, 500, GENERATOR.manual_seed(0))
        assert draws.shape == (500, config.action_size) and draws.abs().max() <= 1
        level = search.power_level(config, draws[:, :3])
        assert abs(level.mean() - 0.5) < 0.05 and level.min() < 0.01 and level.max() > 0.99
        parts = draws.split(list(config.action_parts), 1)
        assert (parts[2].argmax(1).bincount() > 20).all() and (
            parts[3].unflatten(1, (3, 8)).argmax(2).flatten().bincount() > 100
        ).all()
    assert torch.allclose(search.power_level(config, torch.tensor([-1.0, 1.0])), torch.tensor([0.0, 1.0]))


def test_lines_recover_a_linear_reward_and_know_where_they_are_sure(service):
    one = learner("linucb", service)
    rng, lines = np.random.default_rng(0), one.lines
    seen = torch.from_numpy(service.observe(service.draw(rng, 3_000)))
    actions = search.drawn(service.config, 3_000, GENERATOR.manual_seed(0))[:, None]
    features = lines.features(seen, actions)
    truth = torch.randn(features.shape[2], generator=GENERATOR)
    reward = (features[:, 0] @ truth) + 0.1 * torch.randn(3_000, generator=GENERATOR)
    unsure = lines.bonus(features[2_500:]).mean()
    lines.learn(features[:2_500, 0], reward[:2_500])
    expected = lines.value(seen[2_500:], actions[2_500:])[:, 0]
    error = expected - features[2_500:, 0] @ truth
    assert error.square().mean() < 0.02 * reward.var() and torch.allclose(
        expected, features[2_500:, 0] @ lines.weights, atol=1e-2
    )
    assert lines.bonus(features[2_500:]).mean() < 0.3 * unsure


def test_the_bandit_does_what_has_the_highest_bound(service, monkeypatch):
    """Where everything is expected to bring the same, what is least known is done."""
    monkeypatch.setattr(bandit, "LIKELY", bandit.DRAWN)
    one = learner("linucb", service, exploration=(1.0, 1.0))
    seen = torch.from_numpy(service.observe(service.draw(np.random.default_rng(0), 1))).repeat(5, 1)
    known = search.drawn(service.config, 400, GENERATOR.manual_seed(3))
    known = known[known[:, 3:13].argmax(1) != 6]  # t0 = 7 was never tried
    states = seen[:1].expand(len(known), -1)
    one.lines.learn(one.lines.features(states, known[:, None])[:, 0], torch.zeros(len(known)))
    done = service.decode(one.explore(seen).numpy())
    assert (done.shared_steps == 7).all()


@pytest.mark.training
@pytest.mark.parametrize("name", LEARNERS)
def test_what_was_learnt_is_saved(service, tmp_path, name):
    policy = train_learner(name, service, 0, replace(SHORT, interactions=600))
    policy.save(tmp_path / "actor.safetensors", name=name)
    model = policy.actor if name == "g-ddpg-best" else policy.actor.model
    kept = load_file(tmp_path / "actor.safetensors")
    assert set(kept) == set(model.state_dict()) and all(
        torch.equal(kept[key], value) for key, value in model.state_dict().items()
    )


def test_they_are_learners_on_the_rounds_of_the_others_and_refuse_what_is_none(service):
    assert list(LEARNERS.values()) == [BestOf, CriticArgmax, LinUCB] and all(
        issubclass(kind, Learner) for kind in LEARNERS.values()
    )
    first, second = learner("g-ddpg-best", service), learner("critic-argmax", service)
    for one in (first, second):
        one.collect()
    assert torch.equal(first.replay[0], second.replay[0])
    with pytest.raises(InvalidArgument, match="algorithm='g-ddpg'.*g-ddpg-best, critic-argmax, linucb"):
        train_learner("g-ddpg", service, 0, SHORT)
    with pytest.raises(InvalidArgument, match="service"):
        train_learner("linucb", None, 0, SHORT)
    with pytest.raises(InvalidArgument, match="seed"):
        train_learner("linucb", service, -1, SHORT)
