"""What can be had: the best allocation by exact search, and rules of thumb that learn nothing.

All of them know the QoE table, except `equal_split` and `random`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from ..errors import InvalidArgument, check_number, check_type
from .environment import ServiceEnv
from .reward import objective, server_energy
from .service import Service
from .states import Allocation, States

Allocator = Callable[[Service, States], Allocation]
POWER_STEP_W = 1.0
MOST_POWERS = 5_000  # of a search; its time grows with their square


def optimum(env: ServiceEnv | Service, state: States, power_step_w: float = POWER_STEP_W) -> Allocation:
    """Return the best allocation for each of the states by exact search over t0, t_k, who stays out, and powers on a grid.

    The best is the largest `reward.objective`, the sum over users of Q_k - lambda_2 * max(0, Q_th - Q_k), with (22) and (24)
    kept. Given t0, the steps of the longest chain that is handed over and whose it is, the users separate but for the power
    budget: each user's best value at each power comes first (with the choice, no less than alone), then the powers are shared
    out user by user (a max-plus convolution), so that no combination is left out but those that cannot beat what was found even
    if everybody had all the power.

    Args:
        env: the environment, or its `service`.
        state: `States`, a batch of any size, such as `env.state`.
        power_step_w: grid of powers in watts, at most 5,000 of them.

    Returns:
        Allocation of the whole batch.

    Raises:
        InvalidArgument: a step not above 0, states that do not fit the environment, or without the choice a budget below one
            server step.
    """
    service = _checked(env.service if isinstance(env, ServiceEnv) else env, state)
    _check_step("power_step_w", power_step_w, service)
    parts = [_search(service, state[i : i + 32], power_step_w) for i in range(0, len(state.prompts), 32)]
    return Allocation(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def _search(service: Service, states: States, step_w: float) -> Allocation:
    c = service.config
    count, users = states.prompts.shape
    if c.actions == "paper" and (states.server_step_energy > states.server_budget).any():
        raise InvalidArgument("server_budget", states.server_budget.min(), "enough for one step of server_step_energy")
    powers = np.arange(0, c.max_power_w + 1e-9, step_w)
    best = np.full(count, -np.inf)
    found = Allocation(np.ones(count, int), np.ones((count, users), int), np.zeros((count, users)))
    if c.actions == "choice":  # to begin with: nobody shares
        lone = _values(service, states, 0, c.max_device_steps, powers[:1])[..., 0]  # (steps, B, K)
        found = Allocation(np.zeros(count, int), lone.argmax(0) + 1, np.zeros((count, users)))
        best = lone.max(0).sum(1)
    for shared, longest in product(range(1, c.most_shared_steps + 1), range(c.max_device_steps, 0, -1)):
        left = (states.server_budget - states.server_step_energy * shared) / c.power_weight
        affordable = powers <= left[:, None] + 1e-9
        if not affordable.any():
            continue
        values = _values(service, states, shared, longest, powers)
        free, free_steps = values.max(0), values.argmax(0) + 1  # (B, K, W)
        out = np.zeros(free.shape, bool)
        if c.actions == "choice":
            alone, alone_steps = lone.max(0)[..., None], lone.argmax(0)[..., None] + 1
            out = alone > free
            free, free_steps = np.where(out, alone, free), np.where(out, alone_steps, free_steps)
        for user in range(users):  # this one has the longest chain of those who share, the others at most as long a one
            value, steps, stays = free.copy(), free_steps.copy(), out.copy()
            value[:, user], steps[:, user], stays[:, user] = values[-1][:, user], longest, False
            hope = np.where(affordable[:, None], value, -np.inf).max(2).sum(1)
            some = np.flatnonzero((hope > best + 1e-12) & states.present[:, user])
            if len(some) == 0:
                continue
            reached, levels = _spend(value[some], affordable[some])
            better = reached > best[some]
            some, levels = some[better], levels[better]
            best[some], found.shared_steps[some], found.power_w[some] = reached[better], shared, powers[levels]
            for kept, of in ((found.device_steps, steps), (found.alone, stays)):
                kept[some] = np.take_along_axis(of[some], levels[..., None], 2)[..., 0]
    found.power_w[found.alone | ~states.present] = 0.0
    return found


def _values(service: Service, states: States, shared: int, longest: int, powers: np.ndarray) -> np.ndarray:
    """Value of each number of device steps from 1 to `longest` for each user at each power, (steps, B, K, W); 0 in empty places.

    -inf where a device's budget does not pay for the steps.
    """
    c, (count, users), width = service.config, states.prompts.shape, len(powers)
    bep = np.asarray(c.link.bep(powers[None, :, None], states.gains[:, None])).reshape(-1, users)
    every = states[np.repeat(np.arange(count), width)]
    rows, found = len(bep), []
    for steps in range(1, longest + 1):
        allocation = Allocation(np.full(rows, shared), np.full((rows, users), steps), np.zeros((rows, users)))
        qoe = service.source.qoe(every, allocation, bep, np.full(rows, longest))
        value = qoe - c.penalties[1] * np.maximum(0, every.threshold[:, None] - qoe)
        allowed = every.device_step_energy * steps <= every.device_budget + 1e-9
        value = np.where(every.present, np.where(allowed, value, -np.inf), 0.0)
        found.append(value.reshape(count, width, users).transpose(0, 2, 1))
    return np.stack(found)


def _spend(value: np.ndarray, affordable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best sum (B,) of users' values (B, K, W) whose power levels add up to an affordable one (B, W), and the levels (B, K)."""
    total, choices = value[:, 0], []
    for user in range(1, value.shape[1]):
        total, choice = _share_out(total, value[:, user])
        choices.append(choice)
    total = np.where(affordable, total, -np.inf)
    rest = total.argmax(1)[:, None]
    reached, levels = np.take_along_axis(total, rest, 1)[:, 0], []
    for choice in reversed(choices):
        levels.append(np.take_along_axis(choice, rest, 1))
        rest = rest - levels[-1]
    return reached, np.concatenate([rest, *reversed(levels)], 1)


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


def _check_step(name: str, step_w: float, service: Service) -> None:
    check_number(name, step_w, service.config.max_power_w / MOST_POWERS)


def _checked(service: Service, states: States) -> Service:
    """Return the service, or raise `InvalidArgument` unless it is one and the states fit it."""
    check_type("service", service, Service, "a Service, or its ServiceEnv for `optimum`").check(states)
    return service


def random(service: Service, states: States, rng: np.random.Generator) -> Allocation:
    """Uniform actions, cut to the budgets."""
    _checked(service, states)
    actions = rng.uniform(-1, 1, (len(states.prompts), service.config.action_size))
    return service.within_budget(states, service.decode(actions))


def equal_split(service: Service, states: States) -> Allocation:
    """Half of the server's energy for its steps, as far as it has any, the rest as equal powers; all steps of a device."""
    c, (count, users) = _checked(service, states).config, states.prompts.shape
    shared = np.clip((states.server_budget / 2 / states.server_step_energy).astype(int), 1, c.most_shared_steps)
    power = np.maximum(0, states.server_budget - states.server_step_energy * shared) / c.power_weight / states.present.sum(1)
    full = Allocation(shared, np.full((count, users), c.max_device_steps), np.repeat(power[:, None], users, 1))
    return service.within_budget(states, full)


def greedy(service: Service, states: States, step_w: float = 5.0) -> Allocation:
    """From one shared step and no power, spend quanta of energy, each where the sum of QoE gains most by it.

    A quantum is `step_w` watts for one user; a server step costs what it costs. The best gain for its energy is taken. With the
    choice, whoever is better off alone stays out in the end.
    """
    c, (count, users) = _checked(service, states).config, states.prompts.shape
    _check_step("step_w", step_w, service)
    device = service.affordable_steps(states)
    shared, power = np.ones(count, int), np.zeros((count, users))
    cost = np.concatenate([states.server_step_energy[:, None], np.full((count, users), c.power_weight * step_w)], 1)

    def value(shared: np.ndarray, power: np.ndarray) -> np.ndarray:
        made = Allocation(shared, device, power)
        return np.asarray(service.outcome(states, made).qoe.sum(1))

    while True:
        left = states.server_budget - states.server_step_energy * shared - c.power_weight * power.sum(1)
        now, most = value(shared, power), c.most_shared_steps
        gains = [np.where(shared < most, value(np.minimum(shared + 1, most), power), -np.inf)]
        gains += [
            np.where(states.present[:, user], value(shared, power + step_w * (np.arange(users) == user)), -np.inf)
            for user in range(users)
        ]
        gain = np.where(cost <= left[:, None] + 1e-9, (np.stack(gains, 1) - now[:, None]) / cost, -np.inf)
        chosen, going = gain.argmax(1), np.isfinite(gain.max(1))
        if not going.any():
            break
        shared = shared + (going & (chosen == 0))
        power = power + step_w * (going[:, None] & (chosen[:, None] == np.arange(1, users + 1)))
    made = Allocation(shared, device, power)
    if c.actions == "choice":
        lone = no_sharing(service, states)
        made = replace(made, alone=service.outcome(states, lone).qoe > service.outcome(states, made).qoe)
        made = service.within_budget(states, made)
    return made


def no_sharing(service: Service, states: States) -> Allocation:
    """Every device for itself: t0 = 0, nothing sent, all steps that its budget pays for."""
    _checked(service, states)
    shape = states.prompts.shape
    return Allocation(np.zeros(shape[0], int), service.affordable_steps(states), np.zeros(shape))


def compare(service: Service, states: States, allocators: Mapping[str, Allocator | Allocation]) -> pd.DataFrame:
    """Serve the same groups with several allocators, and with the optimum.

    What an allocator asks for beyond a budget is cut before it is served (`Service.within_budget`), so all of them spend from
    the same budgets.

    Args:
        allocators: by name, what they do with these states, or a function of (service, states) that says it, such as those of
            `rlli_core.allocation.oracle`, or `lambda service, states: policy.act(states)`.

    Returns:
        A row an allocator and one for the optimum: sum_qoe a group; share, of the optimum's `reward.objective`; reward (27);
        below_threshold (share of users); server_energy spent; and over_budget (share of groups that had to be cut).
    """
    rows = {}
    for name, allocator in {**allocators, "optimum": optimum}.items():
        asked = allocator if isinstance(allocator, Allocation) else allocator(service, states)
        served = service.within_budget(states, asked)
        made = service.outcome(states, served)
        rows[name] = {
            "sum_qoe": made.qoe.sum(1).mean(),
            "share": objective(service.config, made).sum(),
            "reward": made.reward.mean(),
            "below_threshold": (made.shortfall > 0)[states.present].mean(),
            "server_energy": server_energy(service.config, states, served).mean(),
            "over_budget": service.outcome(states, asked).over_budget.mean(),
        }
    table = pd.DataFrame(rows).T
    table["share"] /= table.share["optimum"]
    return table
