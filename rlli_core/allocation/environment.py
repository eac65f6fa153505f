"""The service as a reinforcement-learning environment: problem (21)-(24), state (26), action and reward of Sec. IV-C.

`Service` works on batches, as numpy arrays; `ServiceEnv` is one user group at a time, as a gymnasium environment. A round
is a whole episode: the next group of users has nothing to do with the last allocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import gymnasium
import numpy as np

from ..channel import Link
from ..errors import InvalidArgument, check_integer, check_number
from ..qoe.persona import Persona
from ..records import Allocation, Outcome, States
from .reward import outcome

PENALTIES = ("corrected", "literal")
GAIN_DB = (-40.0, 30.0)  # channel gains are observed within these limits
Range = float | tuple[float, float]


@dataclass(frozen=True)
class ServiceConfig:
    """The setting of a service; the defaults are those of Fig. 11.

    Energies are in the paper's unit, in which a budget, steps times a step's energy, and `power_weight` times watts add up.

    Args:
        users: K, 1 to 8.
        server_step_energy, device_step_energy: delta_0 and delta_k of one denoising step, above 0; a pair (low, high) draws
            them anew in each state, one a device.
        server_budget, device_budget: E_T and E_Tk, above 0.
        power_weight: beta, energy of one watt of transmit power, above 0.
        threshold: Q_th, in [0, 1]; a pair draws it anew in each state.
        penalties: lambda_1, lambda_2, lambda_3 of eq. (27), 0 or more. The paper gives none. At lambda_3 = 1 a random action,
            which overspends by 13 on average, costs seven times what there is to gain, and learning begins late.
        penalty: "corrected" punishes a QoE below the threshold, as constraint (23) asks; "literal" one above it, as (27) is
            printed.
        max_shared_steps: T_s, 1 or more.
        link: to every device; its fading draws their channel gains.

    Raises:
        InvalidArgument: a field outside its range, or a device budget that does not pay for a single step.
    """

    users: int = 3
    server_step_energy: Range = 0.5
    device_step_energy: Range = 1.0
    server_budget: float = 20.0
    device_budget: float = 8.0
    power_weight: float = 0.1
    threshold: Range = 0.6
    penalties: tuple[float, float, float] = (1.0, 1.0, 0.2)
    penalty: str = "corrected"
    max_shared_steps: int = 10
    link: Link = field(default_factory=Link)

    def __post_init__(self) -> None:
        check_integer("users", self.users, 1, 8)
        check_integer("max_shared_steps", self.max_shared_steps, 1)
        for name in ("server_step_energy", "device_step_energy"):
            _check_range(name, getattr(self, name), 0.0, open_low=True)
        _check_range("threshold", self.threshold, 0.0, 1.0)
        for name in ("server_budget", "device_budget", "power_weight"):
            check_number(name, getattr(self, name), 0.0, open_low=True)
        if not isinstance(self.penalties, (tuple, list)) or len(self.penalties) != 3:
            raise InvalidArgument("penalties", self.penalties, "three numbers, lambda_1 to lambda_3")
        for i, weight in enumerate(self.penalties):
            check_number(f"penalties[{i}]", weight, 0.0)
        if self.penalty not in PENALTIES:
            raise InvalidArgument("penalty", self.penalty, f"one of {', '.join(PENALTIES)}")
        if not isinstance(self.link, Link):
            raise InvalidArgument("link", self.link, "a Link")
        if self.max_device_steps < 1:
            raise InvalidArgument("device_budget", self.device_budget, "enough for one step of device_step_energy")

    @property
    def max_device_steps(self) -> int:
        """T_e: steps that a device can pay for where they are cheapest."""
        return int(self.device_budget / np.min(self.device_step_energy) + 1e-9)

    @property
    def max_power_w(self) -> float:
        """Watts that the whole server budget pays for."""
        return self.server_budget / self.power_weight

    @property
    def action_size(self) -> int:
        """K + T_s + K T_e, Sec. IV-C."""
        return self.users + self.max_shared_steps + self.users * self.max_device_steps


class QoESource(Protocol):
    """Where the quality of experience comes from: the chain and the agent themselves, or a table of their results.

    Attributes:
        prompts: all prompts that users may have.
        embeddings: of each prompt, (P, E) float, within [-3, 3]: what a policy sees of it.
        groups: who may come together: indices of prompts, the server's first.
    """

    prompts: tuple[str, ...]
    embeddings: np.ndarray
    groups: tuple[tuple[int, ...], ...]

    def qoe(self, states: States, allocation: Allocation, bep: np.ndarray, longest: np.ndarray | None = None) -> np.ndarray:
        """Q_k in [0, 1], shape (B, K), of every user at bit error probabilities `bep` (B, K).

        `longest` (B,) are the steps of the longest chain after the hand-off, by default the largest t_k; `optimum` asks with
        others, of users one by one.
        """


class Service:
    """User groups that come to one edge server, many at a time.

    Args:
        config: the setting.
        source: of the QoE.

    Raises:
        InvalidArgument: a source that knows no group of prompts.
    """

    def __init__(self, config: ServiceConfig, source: QoESource):
        if not source.groups:
            raise InvalidArgument("source", type(source).__name__, "a source with at least one group of prompts")
        self.config, self.source = config, source
        low, high = self._limits()
        self.low, self.high = low.astype(np.float32), high.astype(np.float32)

    def draw(self, rng: np.random.Generator, count: int) -> States:
        """Draw `count` user groups: prompts that can share steps, people, energies and channel gains."""
        c = self.config
        groups = [self.source.groups[g] for g in rng.integers(len(self.source.groups), size=count)]
        prompts = np.array([[g[0], *rng.choice(g[1:] or g, c.users - 1)] for g in groups])
        seed = int(rng.integers(2**31))
        return States(
            prompts=prompts,
            personas=rng.random((count, c.users, 5)),
            server_step_energy=_draw(rng, c.server_step_energy, count),
            device_step_energy=_draw(rng, c.device_step_energy, (count, c.users)),
            gains=c.link.fading.sample((count, c.users), seed),
            threshold=_draw(rng, c.threshold, count),
        )

    def state(self, prompts: Sequence[str], personas: Sequence[Persona], gains: Sequence[float]) -> States:
        """One group by name: a prompt, person and linear channel gain a user; energies and threshold as low as they get.

        Raises:
            InvalidArgument: a prompt that the QoE source does not have, or not as many of each as there are users.
        """
        for prompt in prompts:
            if prompt not in self.source.prompts:
                raise InvalidArgument("prompts", prompt, f"among {', '.join(self.source.prompts)}")
        c = self.config
        return self.check(
            States(
                prompts=np.array([[self.source.prompts.index(prompt) for prompt in prompts]]),
                personas=np.array([[persona.vector for persona in personas]]),
                server_step_energy=np.array([np.min(c.server_step_energy)]),
                device_step_energy=np.full((1, c.users), np.min(c.device_step_energy)),
                gains=np.array([list(gains)], float),
                threshold=np.array([np.min(c.threshold)]),
            )
        )

    def check(self, states: States) -> States:
        """Return states as they are, or raise `InvalidArgument` where one cannot be."""
        c, shape = self.config, (len(states.prompts), self.config.users)
        allowed = {
            "prompts": (shape, 0, len(self.source.prompts) - 1),
            "personas": ((*shape, 5), 0, 1),
            "server_step_energy": (shape[:1], 0, c.server_budget),
            "device_step_energy": (shape, 0, c.device_budget),
            "gains": (shape, 0, np.inf),
            "threshold": (shape[:1], 0, 1),
        }
        for name, (expected, low, high) in allowed.items():
            value = np.asarray(getattr(states, name))
            if value.shape != expected or not (np.isfinite(value) & (value >= low) & (value <= high)).all():
                raise InvalidArgument(name, value.tolist(), f"finite, of shape {expected} and within [{low:g}, {high:g}]")
        return states

    def observe(self, states: States) -> np.ndarray:
        """State (26) as numbers, (B, n) float32: personas, prompt embeddings, step energies, gains in tens of dB, Q_th."""
        count = len(states.prompts)
        gain_db = 10 * np.log10(np.maximum(states.gains, 10 ** (GAIN_DB[0] / 10)))
        parts = (
            states.personas, self.source.embeddings[states.prompts], states.server_step_energy, states.device_step_energy,
            gain_db / 10, states.threshold,
        )  # fmt: skip
        seen = np.concatenate([np.reshape(part, (count, -1)) for part in parts], 1, dtype=np.float32)
        return np.clip(seen, self.low, self.high)

    def decode(self, actions: np.ndarray) -> Allocation:
        """Actions (B, K + T_s + K T_e) in [-1, 1] -> allocation: powers on a linear scale, steps by the largest entry."""
        c = self.config
        powers, shared, device = np.split(np.asarray(actions, float), [c.users, c.users + c.max_shared_steps], 1)
        return Allocation(
            shared_steps=shared.argmax(1) + 1,
            device_steps=device.reshape(len(actions), c.users, c.max_device_steps).argmax(2) + 1,
            power_w=(powers + 1) / 2 * c.max_power_w,
        )

    def encode(self, allocation: Allocation) -> np.ndarray:
        """An action that `decode` turns into this allocation."""
        c, count = self.config, len(allocation.shared_steps)
        shared, device = -np.ones((count, c.max_shared_steps)), -np.ones((count, c.users, c.max_device_steps))
        np.put_along_axis(shared, allocation.shared_steps[:, None] - 1, 1, 1)
        np.put_along_axis(device, allocation.device_steps[..., None] - 1, 1, 2)
        return np.concatenate([allocation.power_w / c.max_power_w * 2 - 1, shared, device.reshape(count, -1)], 1)

    def bep(self, states: States, allocation: Allocation) -> np.ndarray:
        """Bit error probabilities (B, K) at the powers of an allocation and the channel gains of the states."""
        return self.config.link.bep(allocation.power_w, states.gains)

    def within_budget(self, states: States, allocation: Allocation) -> Allocation:
        """The allocation cut to what (22) and (24) allow: steps to the budgets, then all powers by one factor."""
        c = self.config
        shared = np.minimum(allocation.shared_steps, (c.server_budget / states.server_step_energy + 1e-9).astype(int))
        left = np.maximum(c.server_budget - states.server_step_energy * shared, 0)
        factor = np.minimum(1, left / np.maximum(c.power_weight * allocation.power_w.sum(1), 1e-12))
        device = np.minimum(allocation.device_steps, self.affordable_steps(states))
        return Allocation(shared, device, allocation.power_w * factor[:, None])

    def affordable_steps(self, states: States) -> np.ndarray:
        """Most steps (B, K) that each device's budget (22) pays for, one at the least."""
        return np.maximum((self.config.device_budget / states.device_step_energy + 1e-9).astype(int), 1)

    def outcome(self, states: States, allocation: Allocation) -> Outcome:
        """Serve every group and return QoE, reward (27) and by how much each constraint is missed."""
        qoe = self.source.qoe(states, allocation, self.bep(states, allocation))
        return outcome(self.config, states, allocation, qoe)

    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        c, size = self.config, self.source.embeddings.shape[1]
        parts = [(0, 1, 5 * c.users), (-3, 3, size * c.users), (0, c.server_budget, 1), (0, c.device_budget, c.users)]
        parts += [(GAIN_DB[0] / 10, GAIN_DB[1] / 10, c.users), (0, 1, 1)]
        return tuple(np.concatenate([np.full(p[2], p[i], float) for p in parts]) for i in (0, 1))


class ServiceEnv(gymnasium.Env):
    """One user group an episode: `reset` shows its state, `step` takes the allocation and ends the episode.

    Args:
        config: the setting, by default that of Fig. 11.
        source: of the QoE; by default the table of results that ships with the package.

    `step` returns in `info` the allocation and what came of it: qoe, bep, shared_steps, device_steps, power_w, and by how much
    (22), (23) and (24) are missed (device_excess, shortfall, server_excess). `env.state` is the state.
    """

    metadata = {"render_modes": []}

    def __init__(self, config: ServiceConfig | None = None, source: QoESource | None = None):
        if source is None:
            from .table import TableQoE

            source = TableQoE.load()
        self.service = Service(config or ServiceConfig(), source)
        self.observation_space = gymnasium.spaces.Box(self.service.low, self.service.high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (self.service.config.action_size,), np.float32)
        self.state: States | None = None

    @property
    def config(self) -> ServiceConfig:
        """The setting."""
        return self.service.config

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Draw the next user group; `options={"state": states}` sets one instead, `States` of a batch of one."""
        super().reset(seed=seed)
        given = (options or {}).get("state")
        if given is not None and len(given.prompts) != 1:
            raise InvalidArgument("state", len(given.prompts), "a batch of one state")
        self.state = self.service.draw(self.np_random, 1) if given is None else self.service.check(given)
        return self.service.observe(self.state)[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Serve the group; the episode is over."""
        if self.state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        action = np.asarray(action)
        if action.shape != self.action_space.shape or not np.isfinite(action).all():
            raise InvalidArgument("action", action.shape, f"{self.action_space.shape[0]} finite numbers in [-1, 1]")
        allocation = self.service.decode(np.clip(action, -1, 1)[None])
        made = self.service.outcome(self.state, allocation)
        info = {
            "qoe": made.qoe[0],
            "bep": self.service.bep(self.state, allocation)[0],
            "shared_steps": int(allocation.shared_steps[0]),
            "device_steps": allocation.device_steps[0],
            "power_w": allocation.power_w[0],
            "device_excess": made.device_excess[0],
            "shortfall": made.shortfall[0],
            "server_excess": float(made.server_excess[0]),
        }
        return self.service.observe(self.state)[0], float(made.reward[0]), True, False, info


def _check_range(name: str, value: Range, low: float, high: float = float("inf"), **how) -> None:
    if isinstance(value, (tuple, list)):
        if len(value) != 2 or not value[0] <= value[1]:
            raise InvalidArgument(name, value, "a number, or a pair (low, high)")
        for one in value:
            check_number(name, one, low, high, **how)
    else:
        check_number(name, value, low, high, **how)


def _limits(value: Range) -> tuple[float, float]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _draw(rng: np.random.Generator, value: Range, size) -> np.ndarray:
    return rng.uniform(*_limits(value), size)

