"""What can be had: the best allocation by exact search, and rules of thumb that learn nothing.

All of them know the QoE table, except `equal_split` and `random`.
"""

from __future__ import annotations

import numpy as np

from ..errors import InvalidArgument, check_number
from ..records import Allocation, States
from .environment import Service, ServiceEnv

POWER_STEP_W = 1.0


def optimum(env: ServiceEnv | Service, state: States, power_step_w: float = POWER_STEP_W) -> Allocation:
    """Return the best allocation for each of the states by exact search over t0, t_k and powers on a grid.

    The best is the largest sum over users of Q_k - lambda_2 * max(0, Q_th - Q_k), the corrected reward (27), with (22) and
    (24) kept. Given t0, the users separate but for the power budget: each user's best value at each power comes first, then
    the powers are shared out user by user (a max-plus convolution), so that no combination is left out.

    Args:
        env: the environment, or its `service`.
        state: `States`, a batch of any size, such as `env.state`.
        power_step_w: grid of powers in watts.

    Returns:
        Allocation of the whole batch.

    Raises:
        InvalidArgument: a step not above 0, states that do not fit the environment, or a budget below one server step.
    """
    service = env if isinstance(env, Service) else env.service
    check_number("power_step_w", power_step_w, 0.0, open_low=True)
    service.check(state)
    parts = [_search(service, state[i : i + 32], power_step_w) for i in range(0, len(state.prompts), 32)]
    return Allocation(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def _search(service: Service, states: States, step_w: float) -> Allocation:
    c = service.config
    count, users = states.prompts.shape
    if (states.server_step_energy > c.server_budget).any():
        raise InvalidArgument("server_budget", c.server_budget, "enough for one step of server_step_energy")
    powers = np.arange(0, c.max_power_w + 1e-9, step_w)
    best = np.full(count, -np.inf)
    found = Allocation(np.ones(count, int), np.ones((count, users), int), np.zeros((count, users)))
    for shared in range(1, c.max_shared_steps + 1):
        left = (c.server_budget - states.server_step_energy * shared) / c.power_weight
        value, steps = _per_user(service, states, shared, powers)
        total, choices = value[:, 0], []
        for user in range(1, users):
            total, choice = _share_out(total, value[:, user])
            choices.append(choice)
        affordable = powers[None] <= left[:, None] + 1e-9
        total = np.where(affordable, total, -np.inf)
        level = total.argmax(1)
        reached = np.take_along_axis(total, level[:, None], 1)[:, 0]
        levels = np.zeros((count, users), int)
        rest = level
        for user in range(users - 1, 0, -1):
            levels[:, user] = np.take_along_axis(choices[user - 1], rest[:, None], 1)[:, 0]
            rest = rest - levels[:, user]
        levels[:, 0] = rest
        better = reached > best
        best = np.where(better, reached, best)
        found.shared_steps[better] = shared
        found.power_w[better] = powers[levels][better]
        found.device_steps[better] = np.take_along_axis(steps, levels[..., None], 2)[..., 0][better]
    return found


def _per_user(service: Service, states: States, shared: int, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best value of each user at each power, (B, K, W), and the device steps that give it."""
    c = service.config
    device = np.arange(1, c.max_device_steps + 1)
    bep = c.link.bep(powers[None, None], states.gains[..., None])
    shape = (*states.prompts.shape, len(powers))
    best, steps = np.full(shape, -np.inf), np.ones(shape, int)
    for count in device:
        qoe = _users_qoe(service, states, shared, count, bep)
        value = qoe - c.penalties[1] * np.maximum(0, states.threshold[:, None, None] - qoe)
        allowed = states.device_step_energy * count <= c.device_budget + 1e-9
        value = np.where(allowed[..., None], value, -np.inf)
        better = value > best
        best, steps = np.where(better, value, best), np.where(better, count, steps)
    return best, steps


def _users_qoe(service: Service, states: States, shared: int, device: int, bep: np.ndarray) -> np.ndarray:
    """QoE (B, K, W) at bit error probabilities (B, K, W), the same steps for all."""
    count, users, levels = bep.shape
    every = states[np.repeat(np.arange(count), levels)]
    flat = bep.transpose(0, 2, 1).reshape(-1, users)
    allocation = Allocation(np.full(len(flat), shared), np.full(flat.shape, device), np.zeros(flat.shape))
    return service.source.qoe(every, allocation, flat).reshape(count, levels, users).transpose(0, 2, 1)


def _share_out(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best sum of two users' values (B, W) at each total power level, and the second's level in it."""
    count, levels = first.shape
    total, choice = np.full((count, levels), -np.inf), np.zeros((count, levels), int)
    for given in range(levels):
        reached = first[:, : levels - given] + second[:, given, None]
        better = reached > total[:, given:]
        total[:, given:] = np.where(better, reached, total[:, given:])
        choice[:, given:] = np.where(better, given, choice[:, given:])
    return total, choice


def random(service: Service, states: States, rng: np.random.Generator) -> Allocation:
    """Uniform actions, cut to the budgets."""
    actions = rng.uniform(-1, 1, (len(states.prompts), service.config.action_size))
    return service.within_budget(states, service.decode(actions))


def equal_split(service: Service, states: States) -> Allocation:
    """Half of the server's energy for its steps, as far as it has any, the rest as equal powers; all steps of a device."""
    c, (count, users) = service.config, states.prompts.shape
    shared = np.clip((c.server_budget / 2 / states.server_step_energy).astype(int), 1, c.max_shared_steps)
    power = np.maximum(0, c.server_budget - states.server_step_energy * shared) / c.power_weight / users
    full = Allocation(shared, np.full((count, users), c.max_device_steps), np.repeat(power[:, None], users, 1))
    return service.within_budget(states, full)


def greedy(service: Service, states: States, step_w: float = 5.0) -> Allocation:
    """From one shared step and no power, spend quanta of energy, each where the sum of QoE gains most by it.

    A quantum is `step_w` watts for one user; a server step costs what it costs. The best gain for its energy is taken.
    """
    c, (count, users) = service.config, states.prompts.shape
    device = service.affordable_steps(states)
    shared, power = np.ones(count, int), np.zeros((count, users))
    cost = np.concatenate([states.server_step_energy[:, None], np.full((count, users), c.power_weight * step_w)], 1)

    def value(shared: np.ndarray, power: np.ndarray) -> np.ndarray:
        made = Allocation(shared, device, power)
        return service.source.qoe(states, made, service.bep(states, made)).sum(1)

    while True:
        left = c.server_budget - states.server_step_energy * shared - c.power_weight * power.sum(1)
        now = value(shared, power)
        gains = [np.where(shared < c.max_shared_steps, value(np.minimum(shared + 1, c.max_shared_steps), power), -np.inf)]
        gains += [value(shared, power + step_w * (np.arange(users) == user)) for user in range(users)]
        gain = np.where(cost <= left[:, None] + 1e-9, (np.stack(gains, 1) - now[:, None]) / cost, -np.inf)
        chosen, going = gain.argmax(1), np.isfinite(gain.max(1))
        if not going.any():
            return Allocation(shared, device, power)
        shared = shared + (going & (chosen == 0))
        power = power + step_w * (going[:, None] & (chosen[:, None] == np.arange(1, users + 1)))


def no_sharing(service: Service, states: States) -> Allocation:
    """Every device for itself: t0 = 0, nothing sent, all steps that its budget pays for."""
    shape = states.prompts.shape
    return Allocation(np.zeros(shape[0], int), service.affordable_steps(states), np.zeros(shape))
