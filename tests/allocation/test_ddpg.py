"""The learners learn, differ in their actor only, and a broken-off training ends as one that was not."""

import json
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from rlli_core.allocation import Policy, Service, ServiceConfig, TableQoE, train
from rlli_core.allocation.actors import LOW_POWER_W, Critic, DiffusionActor, PlainActor
from rlli_core.allocation.ddpg import ALGORITHMS, Learner, Training
from rlli_core.allocation.library import train_library
from rlli_core.allocation.policy import example, new_actor
from rlli_core.allocation.prompts import PAPER_GROUP
from rlli_core.allocation.sets import Layout
from rlli_core.errors import InvalidArgument, ModelNotFound

SEEN, ACTS = Layout(((2, True), (1, False))), Layout(((1, True), (2, False), (2, True)))
SHORT = {"interactions": 3_000, "collect": 8, "hidden": 64, "batch": 64, "evaluate_every": 1_000, "lr": 1e-3, "warmup": 500}


def test_the_chain_is_that_of_the_diffusion_posterior():
    """With an estimate that is always the truth, a chain from the noised action returns to it with the known variance."""
    torch.manual_seed(0)
    actor = DiffusionActor(SEEN, ACTS, 8, steps=6)
    assert actor.clean[0] == pytest.approx(1) and actor.noisy[0] == pytest.approx(0) and actor.std[0] == 0
    alpha = np.array([np.exp(-0.1 / 6 - 9.9 * (2 * i - 1) / 72) for i in range(1, 7)])
    left = alpha.cumprod()
    assert left[-1] == pytest.approx(np.exp(-0.1 - 9.9 / 2))
    # marginals of x_i given x_0: mean sqrt(left) x_0, variance 1 - left; the posterior step keeps them
    for i in range(1, 6):
        mean = actor.clean[i] + actor.noisy[i] * np.sqrt(left[i])
        variance = actor.noisy[i] ** 2 * (1 - left[i]) + actor.std[i] ** 2
        assert mean == pytest.approx(np.sqrt(left[i - 1])) and variance == pytest.approx(1 - left[i - 1])


def test_actors_give_actions_and_the_diffusion_chain_shows_its_steps():
    generator = torch.Generator().manual_seed(0)
    state = torch.rand(5, SEEN.width(3))
    for actor in (PlainActor(SEEN, ACTS, 16), DiffusionActor(SEEN, ACTS, 16, steps=3)):
        made = actor(state, actor.noise(state, generator))
        assert made.shape == (5, 11) and made.abs().max() <= 1
        assert torch.equal(actor(state), actor(state))
    chain, pre_activations = actor.chain(state, actor.noise(state, generator))
    assert chain.shape == (4, 5, 11) and pre_activations.shape == (3, 5, 11)
    assert Critic(SEEN, ACTS, 16)(state, made).shape == (5, 2)


def test_only_the_actor_differs(service):
    first, second = (Learner(name, service, Training(**SHORT), 0) for name in ALGORITHMS)
    assert type(first.actor) is DiffusionActor and type(second.actor) is PlainActor
    assert [p.shape for p in first.critic.parameters()] == [p.shape for p in second.critic.parameters()]
    for learner in (first, second):
        learner.collect()
    assert (first.replay[0] == second.replay[0]).all()  # the same groups


@pytest.mark.training
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_learns(service, algorithm):
    policy = train(algorithm, service, seed=0, progress=False, **SHORT | {"interactions": 12_000, "evaluate_every": 4_000})
    states = service.draw(np.random.default_rng(9), 200)
    random = service.outcome(states, service.decode(np.random.default_rng(0).uniform(-1, 1, (200, 37)))).reward.mean()
    reached = service.outcome(states, policy.act(states)).reward.mean()
    assert reached > random + 0.8  # random actions overspend by about 10, at lambda_3 = 0.2
    assert policy.curve.interactions.tolist() == [0, 128, 256, 504, 1_000, 2_000, 4_000, 8_000, 12_000]
    assert policy.curve.reward.iloc[-1] == pytest.approx(reached, abs=0.3)


def test_the_critic_sees_the_steps_and_the_actor_feels_which_entry_to_raise(service):
    learner = Learner("ddpg", service, Training(**SHORT), 0)
    actions = torch.rand(6, 37, generator=torch.Generator().manual_seed(0)) * 2 - 1
    actions.requires_grad_(True)
    shown = learner.shown(actions)
    decoded = service.decode(actions.detach().numpy())
    plain = shown[:, [0, 1, 2, *range(6, 40)]]
    assert np.allclose(plain.detach().numpy(), service.encode(decoded), atol=1e-6)
    assert np.allclose(shown[:, 3:6].detach().numpy(), np.log10(1 + decoded.power_w / LOW_POWER_W), atol=1e-5)
    plain[:, 5].sum().backward()  # to have more of t0 = 3
    assert (actions.grad[:, 5] > 0).all() and (actions.grad[:, 3:13].sum(1).abs() < 1e-5).all()
    assert Learner("ddpg", service, Training(**SHORT, critic_sees="action"), 0).shown(actions) is actions


@pytest.mark.training
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_actor_driven_to_the_end_of_its_scale_comes_back(service, algorithm):
    """At a pre-activation of -14 the slope of tanh is 0 in float32: without the penalty nothing pulls."""
    pull = {}
    for penalty in (0.0, 1e-3):
        learner = Learner(algorithm, service, Training(**SHORT, action_penalty=penalty), 0)
        with torch.no_grad():
            learner.actor.net.of_each.weight[0] = 0.0
            learner.actor.net.of_each.bias[0] = -14.0  # the powers
        learner.collect()
        learner.update(torch.arange(8))
        pull[penalty] = -learner.actor.net.of_each.bias.grad[0]
    assert pull[0.0].abs() < 1e-8 and pull[1e-3] > 1e-6


@pytest.mark.training
@pytest.mark.parametrize("algorithm", ["td3", "sac", "sb3-ddpg"])
def test_the_library_trains_on_the_same_rounds(service, algorithm):
    policy = train_library(algorithm, service, 0, Training(**SHORT | {"interactions": 1_600, "evaluate_every": 800}))
    assert policy.curve.interactions.tolist() == [0, 128, 256, 504, 800, 1_000, 1_600]
    states = service.draw(np.random.default_rng(9), 4)
    first, again = policy.act(states), policy.act(states)
    assert (first.power_w == again.power_w).all() and first.device_steps.shape == (4, 3)
    assert abs(policy.curve.updates.iloc[-1] - (1_600 - 500) / 8) < 3


@pytest.mark.parametrize(
    "config", [ServiceConfig(), ServiceConfig(users=2), ServiceConfig(users=5, fewest_users=2, actions="choice")]
)
def test_a_curve_tells_what_is_chosen_in_the_example(source, config):
    drawn = replace(config, server_budget=(10.0, 20.0), threshold=(0.2, 0.8), device_step_energy=(1.0, 2.0))
    service = Service(drawn, source)
    state, users = example(service), min(3, config.users)
    assert state.present.sum() == users and state.prompts[0, :users].tolist() == [0, 1, 2][:users]
    assert (state.server_budget, state.threshold) == (15, 0.5) and (state.device_step_energy == 1.5).all()
    assert (state.personas == 0.5).all() and (state.gains == 1).all()
    policy = train("ddpg", service, progress=False, **SHORT | {"interactions": 600})
    made, last = policy.act(state), policy.curve.iloc[-1]
    assert last.t0 == made.shared_steps[0] and last.t_2 == made.device_steps[0, 1]
    assert last.power_1 == pytest.approx(0 if made.alone[0, 0] else made.power_w[0, 0])
    expected = ["t0", *(f"{name}_{k + 1}" for name in ("t", "power") for k in range(users))]
    assert [column for column in policy.curve if column[:2] in ("t0", "t_") or column.startswith("power")] == expected


def test_the_example_has_the_paper_s_prompts_where_there_are_any():
    service = Service(ServiceConfig(), TableQoE.load())
    assert [service.source.prompts[prompt] for prompt in example(service).prompts[0]] == list(PAPER_GROUP)


def test_a_policy_is_saved_and_loaded_and_its_walk_ends_in_its_action(service, tmp_path):
    states = service.draw(np.random.default_rng(9), 4)
    for name in ALGORITHMS:
        policy = train(name, service, progress=False, **SHORT | {"interactions": 600})
        policy.save(tmp_path / "p.safetensors")
        again = Policy.from_pretrained(tmp_path / "p.safetensors", service)
        assert (again.act(states).power_w == policy.act(states).power_w).all() and type(again.actor) is type(policy.actor)
    policy = train("g-ddpg", service, progress=False, **SHORT | {"interactions": 600})
    walked = policy.walk(states, seed=0)
    assert walked.shape == (6, 4, 37) and abs(walked[0].std() - 1) < 0.2 and np.abs(walked[-1]).max() <= 1
    with pytest.raises(ModelNotFound, match="no policy .sac."):
        Policy.from_pretrained("sac", service)
    with pytest.raises(InvalidArgument, match="service"):
        Policy.from_pretrained(tmp_path / "p.safetensors", Service(ServiceConfig(actions="choice"), service.source))


KILLED = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from madeup import FormulaQoE
from rlli_core.allocation import Service, ServiceConfig, train
train("g-ddpg", Service(ServiceConfig(), FormulaQoE()), 4, Path({folder!r}), progress=False, **{options!r})
"""


@pytest.mark.training
def test_a_training_killed_and_resumed_ends_with_the_same_bytes(service, tmp_path):
    folder = tmp_path / "killed"
    code = KILLED.format(tests=str(__file__).rsplit("/", 1)[0], folder=str(folder), options=SHORT)
    process = subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and not (folder / "checkpoint.safetensors").exists():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with safe_open(folder / "checkpoint.safetensors", "pt") as file:
        assert 0 < json.loads(file.metadata()["progress"])["done"] < SHORT["interactions"]
    resumed = train("g-ddpg", service, 4, folder, progress=False, **SHORT)
    whole = train("g-ddpg", service, 4, progress=False, **SHORT)
    for a, b in zip(resumed.actor.parameters(), whole.actor.parameters()):
        assert torch.equal(a, b)
    columns = ["interactions", "updates", "reward", "sum_qoe", "over_budget", "below_threshold"]
    assert resumed.curve[columns].equals(whole.curve[columns])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interactions", 10**13), ("collect", 10**9), ("batch", 10**10), ("hidden", 10**6), ("denoising_steps", 10**8), ("lr", 1e300),
        ("exploration", (0.1,)), ("exploration", (1e300, 0)), ("exploration", None), ("action_penalty", 1e300),
    ],
)  # fmt: skip
@pytest.mark.parametrize("algorithm", ["g-ddpg", "td3"])
def test_what_would_take_the_machine_or_end_in_nan_is_refused_before_anything_is_allocated(service, algorithm, name, value):
    tracemalloc.start()
    with pytest.raises(InvalidArgument, match=rf"^{name}.*(at most|in |1\.\.|two|list)"):
        if algorithm == "td3":
            train_library(algorithm, service, 0, Training(**{name: value}))
        else:
            train(algorithm, service, **{name: value})
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda policy, others: policy.act(others.prompts), "States"),
        (lambda policy, others: policy.act(None), "States"),
        (lambda policy, others: policy.walk(policy.service.draw(np.random.default_rng(0), 1), 2**70), "seed"),
        (lambda policy, others: policy.save(None), "path"),
        (lambda policy, others: Policy.from_pretrained([]), "name"),
        (lambda policy, others: Policy.from_pretrained("g-ddpg", "service"), "service"),
    ],
)
def test_a_policy_refuses_what_it_was_not_trained_on(service, call, match):
    others = Service(ServiceConfig(users=2), service.source).draw(np.random.default_rng(0), 2)
    with pytest.raises(InvalidArgument, match=match):
        call(Policy(service, new_actor(service, 8, 2), pd.DataFrame()), others)


def test_what_cannot_be_is_refused(service, tmp_path):
    with pytest.raises(InvalidArgument, match="algorithm='ppo'.*g-ddpg, ddpg"):
        train("ppo", service)
    for name, value in {
        "lr": 0.0,
        "batch": 0,
        "tau": 1.5,
        "interactions": -1,
        "exploration": (0.1, float("nan")),
        "critic_sees": "x",
    }.items():
        with pytest.raises(InvalidArgument, match=name):
            train("ddpg", service, **{name: value})
    for arguments in (("ddpg", "env"), ("ddpg", service, 2**70), ("ddpg", service, 0, 5)):
        with pytest.raises(InvalidArgument, match="env|seed|folder"):
            train(*arguments)
    with pytest.raises(InvalidArgument, match="option='interaction'.*one of interactions, collect"):
        train("ddpg", service, interaction=3)
    train("ddpg", service, 0, tmp_path, progress=False, **SHORT | {"interactions": 1_000})
    with pytest.raises(InvalidArgument, match="folder"):
        train("ddpg", service, 1, tmp_path, progress=False, **SHORT | {"interactions": 1_000})
