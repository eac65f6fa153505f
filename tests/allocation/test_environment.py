"""The environment is a gymnasium one, decodes actions as Sec. IV-C says and rewards as eq. (27) should."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlli_core import FisherSnedecorF, Link, Persona
from rlli_core.allocation import Service, ServiceConfig, ServiceEnv
from rlli_core.allocation.reward import outcome
from rlli_core.allocation.states import Allocation, States
from rlli_core.errors import InvalidArgument


def test_it_is_a_gymnasium_environment(source):
    check_env(ServiceEnv(source=source), skip_render_check=True)
    check_env(
        ServiceEnv(ServiceConfig(users=2, device_step_energy=(0.5, 2.0), threshold=(0, 1)), source), skip_render_check=True
    )


def test_the_defaults_are_those_of_fig_11():
    c = ServiceConfig()
    assert (c.users, c.server_step_energy, c.device_step_energy, c.server_budget, c.device_budget) == (3, 0.5, 1.0, 20.0, 8.0)
    assert (c.threshold, c.power_weight, c.link.fading) == (0.6, 0.1, FisherSnedecorF(2.0, 1.5))
    assert c.max_device_steps == 8 and c.action_size == 3 + 10 + 3 * 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_budget", -1.0), ("server_budget", 0.0), ("device_budget", float("nan")), ("device_budget", 0.5), ("threshold", 1.2),
        ("threshold", (0.8, 0.2)), ("users", 0), ("users", 2.5), ("power_weight", 0.0), ("penalty", "none"), ("penalties", (1, 2)),
        ("penalties", (1, -1, 1)), ("max_shared_steps", 0), ("link", 3), ("server_step_energy", (0.0, 1.0)),
        ("device_step_energy", 1e-9), ("server_step_energy", (1.0, 1e300)), ("server_budget", 1e300), ("power_weight", 1e-300),
        ("penalties", (1e300, 1, 1)), ("max_shared_steps", 10**13), ("device_budget", 1e4), ("server_budget", 0.4),
    ],
)  # fmt: skip
def test_a_bad_setting_gets_one_clear_error(name, value):
    with pytest.raises(InvalidArgument, match=f"^{name}") as caught:
        ServiceConfig(**{name: value})
    assert "must be" in str(caught.value)


def test_a_budget_pays_for_a_step_where_steps_are_dearest():
    """Else the groups drawn are none that `reset` and `optimum` take."""
    with pytest.raises(InvalidArgument, match="^device_budget.*one step of 9"):
        ServiceConfig(device_step_energy=(1.0, 9.0))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"max_shared_steps": 11}, "max_shared_steps=11.*at most 10"), ({"device_budget": 9.0}, "max_device_steps=9.*at most 8")],
)
def test_steps_beyond_the_table_are_refused_when_setting_and_table_meet(setting, message):
    with pytest.raises(InvalidArgument, match=message):
        ServiceEnv(ServiceConfig(**setting))


@pytest.mark.parametrize(("config", "source"), [("x", None), (None, "x"), (None, object()), (None, [])])
def test_what_is_no_setting_and_no_source_is_refused(config, source):
    with pytest.raises(InvalidArgument, match="config|source"):
        ServiceEnv(config, source)


def test_a_misspelt_option_is_no_option(source):
    env = ServiceEnv(source=source)
    env.reset(seed=0)
    for options in ({"sate": env.state}, {"state": env.state, "seed": 1}, "state", [], {"state": [env.state]}):
        with pytest.raises(InvalidArgument, match="options|state"):
            env.reset(options=options)


@pytest.mark.parametrize("gain", [float("nan"), -0.1, float("inf")])
def test_gains_that_cannot_be_are_refused(source, service, gain):
    state = service.draw(np.random.default_rng(0), 1)
    bad = replace(state, gains=np.full((1, 3), gain))
    with pytest.raises(InvalidArgument, match="gains"):
        ServiceEnv(source=source).reset(options={"state": bad})


def test_an_action_is_decoded_by_its_largest_entries(service):
    action = -np.ones(37)
    action[:3] = (-1, 0, 1)
    action[3 + 6] = 0.3
    for user, steps in enumerate((5, 7, 8)):
        action[13 + 8 * user + steps - 1] = -0.5
    made = service.decode(action[None])
    assert made.shared_steps.tolist() == [7] and made.device_steps.tolist() == [[5, 7, 8]]
    assert made.power_w[0] == pytest.approx([0, 100, 200])  # E_T / beta = 200 W


def test_encode_is_the_inverse_of_decode(service):
    rng = np.random.default_rng(0)
    made = service.decode(rng.uniform(-1, 1, (50, 37)))
    again = service.decode(service.encode(made))
    assert all(np.allclose(getattr(made, name), getattr(again, name)) for name in vars(made))


def a_state(**values) -> States:
    base = dict(
        prompts=np.array([[0, 1]]), personas=np.full((1, 2, 5), 0.5), server_step_energy=np.array([0.5]),
        device_step_energy=np.ones((1, 2)), gains=np.ones((1, 2)), threshold=np.array([0.6]),
        server_budget=np.array([20.0]), device_budget=np.full((1, 2), 8.0), present=np.ones((1, 2), bool),
    )  # fmt: skip
    return States(**base | values)


def test_the_reward_is_eq_27_by_hand():
    config = ServiceConfig(users=2, penalties=(2.0, 3.0, 5.0))
    allocation = Allocation(np.array([4]), np.array([[7, 9]]), np.array([[100.0, 90.0]]))
    qoe = np.array([[0.5, 0.9]])
    made = outcome(config, a_state(), allocation, qoe)
    # device 2 is 1 over its budget of 8, user 1 is 0.1 below the threshold, the server 0.5 * 4 + 0.1 * 190 - 20 = 1 over
    assert made.reward[0] == pytest.approx(1.4 - 2 * 1 - 3 * 0.1 - 5 * 1)
    assert made.device_excess.tolist() == [[0, 1]] and made.server_excess[0] == pytest.approx(1)
    assert made.shortfall[0] == pytest.approx([0.1, 0])
    literal = outcome(replace(config, penalty="literal"), a_state(), allocation, qoe)
    assert literal.reward[0] == pytest.approx(1.4 - 2 * 1 - 3 * 0.3 - 5 * 1)  # eq. (27) as printed punishes the happy user


def test_fig_12_spends_the_budget(source):
    """t0 = 3 and 18 and 21 dBW are the budget of 20 up to rounding (C12)."""
    config = ServiceConfig(users=2)
    allocation = Allocation(np.array([3]), np.array([[5, 7]]), 10 ** (np.array([[18.0, 21.0]]) / 10))
    made = outcome(config, a_state(), allocation, np.ones((1, 2)))
    assert made.server_excess[0] == pytest.approx(0.4, abs=0.01) and not made.device_excess.any()


def test_a_step_asks_the_link_once(source, monkeypatch):
    asked, bep = [], Link.bep
    monkeypatch.setattr(Link, "bep", lambda *given: asked.append(given) or bep(*given))
    env = ServiceEnv(source=source)
    env.reset(seed=0)
    *_, info = env.step(env.action_space.sample())
    assert len(asked) == 1 and info["bep"] == pytest.approx(bep(env.config.link, info["power_w"], env.state.gains[0]))


def test_an_episode_is_one_round(source):
    env = ServiceEnv(source=source)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(37))
    seen, _ = env.reset(seed=3)
    _, reward, ended, cut, info = env.step(env.action_space.sample())
    assert ended and not cut and info["qoe"].shape == info["bep"].shape == (3,)
    again, _ = ServiceEnv(source=source).reset(seed=3)
    assert (seen == again).all() and env.observation_space.contains(seen)
    with pytest.raises(InvalidArgument, match="action"):
        env.step(np.full(37, np.nan))
    state = env.state
    env.reset(options={"state": state})
    assert env.state is state


def test_states_are_drawn_from_what_the_config_says(source):
    config = ServiceConfig(device_step_energy=(1.0, 2.0), link=Link(fading=FisherSnedecorF(3.0, 4.0)))
    states = Service(config, source).draw(np.random.default_rng(0), 4000)
    assert {tuple(row) for row in states.prompts[:, :1]} == {(0,), (3,)}  # the servers' prompts
    assert states.device_step_energy.min() >= 1 and states.device_step_energy.max() > 1.99
    assert states.gains.mean() == pytest.approx(1, abs=4 * states.gains.std() / np.sqrt(12000))
    assert np.quantile(states.gains, [0.1, 0.5]) == pytest.approx(config.link.fading._law.ppf([0.1, 0.5]), rel=0.05)


def test_the_observation_holds_all_of_state_26(service):
    states = service.draw(np.random.default_rng(1), 1)
    seen = service.observe(states)[0]
    assert len(seen) == 3 * 5 + 3 * 2 + 4 + 3 + 1
    drawn = {"server_budget", "device_budget", "present"}  # not here; see test_choice
    for name, value in vars(states).items():
        if name in drawn:
            continue
        other = replace(states, **{name: value * 0 + (1 if name == "prompts" else 0.123)})
        assert (service.observe(other)[0] != seen).any(), name


def test_a_group_can_be_named(service):
    state = service.state(["a", "c", "b"], [Persona.named("GA1")] * 3, [1, 0.5, 2])
    assert state.prompts.tolist() == [[0, 2, 1]] and state.gains.tolist() == [[1, 0.5, 2]]
    assert state.threshold[0] == 0.6 and state.device_step_energy.tolist() == [[1, 1, 1]]
    with pytest.raises(InvalidArgument, match="prompts='z'.*a, b, c, d"):
        service.state(["z", "c", "b"], [Persona.named("GA1")] * 3, [1, 1, 1])
    with pytest.raises(InvalidArgument, match="gains"):
        service.state(["a", "c", "b"], [Persona.named("GA1")] * 3, [1, 1])


def test_cut_to_the_budget_nothing_is_over_and_what_fits_stays(service):
    rng = np.random.default_rng(2)
    states = service.draw(rng, 200)
    raw = service.decode(rng.uniform(-1, 1, (200, 37)))
    cut = service.within_budget(states, raw)
    made, before = service.outcome(states, cut), service.outcome(states, raw)
    assert made.server_excess.max() < 1e-9 and not made.device_excess.any()
    assert (before.server_excess > 0).any() and (before.server_excess == 0).any()
    fits = before.server_excess == 0
    assert np.allclose(cut.power_w[fits], raw.power_w[fits])
    poor = Service(replace(service.config, server_budget=2.0), service.source)  # pays for four shared steps and nothing else
    states = replace(states, server_budget=np.full(200, 2.0))
    cut = poor.within_budget(states, raw)
    assert cut.shared_steps.max() == 4 and poor.outcome(states, cut).server_excess.max() < 1e-9
