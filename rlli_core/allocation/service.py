"""The service: draws groups of users, shows and serves them, many at a time, eqs. (19) to (27)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..errors import InvalidArgument, check_choice, check_integer, check_list, check_number, check_type
from ..qoe.persona import Persona
from .reward import outcome, sharing
from .setting import MOST, Range, ServiceConfig
from .states import Allocation, Outcome, States

MOST_STATES = 10**6  # groups drawn at once
GAIN_DB = (-40.0, 30.0)  # channel gains are observed within these limits


class QoESource(Protocol):
    """Where the quality of experience comes from: the chain and the agent themselves, or a table of their results.

    Attributes:
        prompts: all prompts that users may have.
        embeddings: of each prompt, (P, E) float, within [-3, 3]: what a policy sees of it.
        groups: who may come together: indices of prompts, the server's first.

    A source that knows no more than so many shared and device steps has them as `most_steps`. One that knows other receivers and
    lone devices than the paper's has `under(config)`, the source with those of the setting.
    """

    @property
    def prompts(self) -> tuple[str, ...]: ...
    @property
    def embeddings(self) -> np.ndarray: ...
    @property
    def groups(self) -> tuple[tuple[int, ...], ...]: ...

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
        InvalidArgument: a source that knows no group of prompts, or fewer steps than the setting allows.
    """

    def __init__(self, config: ServiceConfig, source: QoESource):
        check_type("config", config, ServiceConfig, "a ServiceConfig")
        if not (callable(getattr(source, "qoe", None)) and hasattr(source, "embeddings") and getattr(source, "groups", None)):
            raise InvalidArgument("source", type(source).__name__, "a QoESource with at least one group of prompts")
        most_steps: tuple[int, ...] = getattr(source, "most_steps", None) or ()
        if config.max_shared_steps is None:
            config = replace(config, max_shared_steps=min([config.most_shared_steps, *most_steps[:1]]))
        if hasattr(source, "under"):
            source = source.under(config)
        elif not config.receives_as_the_paper:
            raise InvalidArgument("receiver, alone", (config.receiver, config.alone), "'paper' and 'grid' for this source")
        for name, most in zip(("max_shared_steps", "max_device_steps"), most_steps):
            if getattr(config, name) > most:
                raise InvalidArgument(name, getattr(config, name), f"at most {most}: the source of QoE knows no more")
        self.config, self.source = config, source
        self.low, self.high = self._observation_limits()

    def draw(self, rng: np.random.Generator, count: int) -> States:
        """Draw `count` user groups: prompts that can share steps, people, energies and channel gains."""
        c, count = self.config, check_integer("count", count, 1, MOST_STATES)
        check_type("rng", rng, np.random.Generator, "a numpy.random.Generator")
        groups = [self.source.groups[g] for g in rng.integers(len(self.source.groups), size=count)]
        prompts = np.array([[g[0], *rng.choice(g[1:] or g, c.users - 1)] for g in groups])
        seed, shape = int(rng.integers(2**31)), (count, c.users)
        return States(
            prompts=prompts,
            personas=rng.random((*shape, 5)),
            server_step_energy=_draw(rng, c.server_step_energy, count),
            device_step_energy=_draw(rng, c.device_step_energy, shape),
            gains=self._draw_gains(rng, shape, seed),
            threshold=_draw(rng, c.threshold, count),
            server_budget=_draw(rng, c.server_budget, count) if _is_drawn(c.server_budget) else np.full(count, c.server_budget),
            device_budget=_draw(rng, c.device_budget, shape) if _is_drawn(c.device_budget) else np.full(shape, c.device_budget),
            present=np.arange(c.users)
            < (rng.integers(c.fewest_users, c.users + 1, (count, 1)) if c.fewest_users else c.users) | np.zeros(shape, bool),
        )

    def _draw_gains(self, rng: np.random.Generator, shape: tuple[int, int], seed: int) -> np.ndarray:
        c, fading = self.config, self.config.link.fading
        if c.severity is None and c.shadowing is None:
            gains = fading.sample(shape, seed)
        else:
            m = _draw(rng, fading.severity if c.severity is None else c.severity, (shape[0], 1))
            m_s = _draw(rng, fading.shadowing if c.shadowing is None else c.shadowing, (shape[0], 1))
            gains = (m_s - 1) / m_s * rng.f(2 * m, 2 * m_s, shape)
        return gains if c.mean_gain_db == 0 else gains * 10 ** (_draw(rng, c.mean_gain_db, shape) / 10)

    def state(self, prompts: Sequence[str], personas: Sequence[Persona], gains: Sequence[float]) -> States:
        """One group by name: a prompt, person and linear channel gain a user.

        Energies and threshold are as low, budgets as high as they get.

        Raises:
            InvalidArgument: a prompt that the QoE source does not have, or not as many of each as there may be users.
        """
        prompts = [check_choice("prompts", prompt, self.source.prompts) for prompt in check_list("prompts", prompts)]
        personas = [check_type("personas", persona, Persona, "a Persona each") for persona in check_list("personas", personas)]
        gains = [check_number("gains", gain, 0.0) for gain in check_list("gains", gains)]
        c, count = self.config, len(prompts)
        if {len(personas), len(gains)} == {count} and (c.fewest_users or c.users) <= count:  # else `check` says what is wrong
            prompts, personas, gains = ([*some, *[some[0]] * (c.users - count)] for some in (prompts, personas, gains))
        return self.check(
            States(
                prompts=np.array([[self.source.prompts.index(prompt) for prompt in prompts]]),
                personas=np.array([[persona.vector for persona in personas]]),
                server_step_energy=np.array([np.min(c.server_step_energy)]),
                device_step_energy=np.full((1, c.users), np.min(c.device_step_energy)),
                gains=np.array([list(gains)], float),
                threshold=np.array([np.min(c.threshold)]),
                server_budget=np.array([np.max(c.server_budget)], float),
                device_budget=np.full((1, c.users), np.max(c.device_budget), float),
                present=np.arange(c.users)[None] < count,
            )
        )

    def check(self, states: States) -> States:
        """Return states as they are, or raise `InvalidArgument` where one cannot be."""
        check_type("state", states, States, "`States`, as `draw` and `state` make them")
        c, shape = self.config, (len(states.prompts), self.config.users)
        allowed = {
            "prompts": (shape, 0, len(self.source.prompts) - 1),
            "personas": ((*shape, 5), 0, 1),
            "server_step_energy": (shape[:1], 0, np.max(c.server_budget) if c.actions == "paper" else MOST),
            "device_step_energy": (shape, 0, np.max(c.device_budget)),
            "gains": (shape, 0, 1e100),
            "threshold": (shape[:1], 0, 1),
            "server_budget": (shape[:1], np.min(c.server_budget), np.max(c.server_budget)),
            "device_budget": (shape, np.min(c.device_budget), np.max(c.device_budget)),
            "present": (shape, 0, 1),
        }
        for name, (expected, low, high) in allowed.items():
            value = np.asarray(getattr(states, name))
            fits = value.shape == expected and value.dtype.kind in ("b" if name == "present" else "iuf")
            if not fits or (value.size and not (low <= value.min() and value.max() <= high)):  # NaN is neither
                raise InvalidArgument(name, value.tolist(), f"finite, of shape {expected} and within [{low:g}, {high:g}]")
        return states

    def observe(self, states: States) -> np.ndarray:
        """State (26) as numbers, (B, n) float32: personas, prompt embeddings, step energies, gains in tens of dB, Q_th.

        Where these differ between states, then also E_T and E_Tk, as shares of the largest, and who is present. Empty places are 0,
        their gains the lowest. Fading that differs is seen by the gains, on which alone the outcome depends.
        """
        count, there = len(states.prompts), states.present
        gain_db = 10 * np.log10(np.maximum(states.gains * there, 10 ** (GAIN_DB[0] / 10)))
        parts = [
            states.personas * there[..., None], self.source.embeddings[states.prompts] * there[..., None],
            states.server_step_energy, states.device_step_energy * there, gain_db / 10, states.threshold,
        ]  # fmt: skip
        if _is_drawn(self.config.server_budget):
            parts.append(states.server_budget / np.max(self.config.server_budget))
        if _is_drawn(self.config.device_budget):
            parts.append(states.device_budget * there / np.max(self.config.device_budget))
        if self.config.fewest_users:
            parts.append(there)
        seen = np.concatenate([np.reshape(part, (count, -1)) for part in parts], 1, dtype=np.float32)
        return np.clip(seen, self.low, self.high)

    def decode(self, actions: np.ndarray) -> Allocation:
        """Actions (B, m) in [-1, 1] -> allocation: powers on a linear scale, steps by the largest entry; who is above 0 stays out.

        The paper's has no entry for staying out, and none for t0 = 0.
        """
        c = self.config
        powers, out, shared, device = np.split(np.asarray(actions, float), np.cumsum(c.action_parts)[:-1], 1)
        return Allocation(
            shared_steps=shared.argmax(1) + (c.actions == "paper"),
            device_steps=device.reshape(len(actions), c.users, c.max_device_steps).argmax(2) + 1,
            power_w=(powers + 1) / 2 * c.max_power_w,
            alone=None if c.actions == "paper" else out > 0,
        )

    def encode(self, allocation: Allocation) -> np.ndarray:
        """An action that `decode` turns into this allocation."""
        c, count = self.config, len(allocation.shared_steps)
        _, stays, rows, _ = c.action_parts
        shared, device = -np.ones((count, rows)), -np.ones((count, c.users, c.max_device_steps))
        np.put_along_axis(shared, allocation.shared_steps[:, None] - (c.actions == "paper"), 1, 1)
        np.put_along_axis(device, allocation.device_steps[..., None] - 1, 1, 2)
        out = np.where(allocation.alone, 1.0, -1.0)[:, :stays]
        return np.concatenate([allocation.power_w / c.max_power_w * 2 - 1, out, shared, device.reshape(count, -1)], 1)

    def bep(self, states: States, allocation: Allocation) -> np.ndarray:
        """Bit error probabilities (B, K) at the powers of an allocation and the channel gains of the states."""
        return np.asarray(self.config.link.bep(allocation.power_w, states.gains))

    def within_budget(self, states: States, allocation: Allocation) -> Allocation:
        """The allocation cut to what (22) and (24) allow: steps to the budgets, then all powers by one factor.

        Nobody who is alone has any power.
        """
        c = self.config
        shared = np.minimum(allocation.shared_steps, (states.server_budget / states.server_step_energy + 1e-9).astype(int))
        device = np.minimum(allocation.device_steps, self.affordable_steps(states))
        cut = Allocation(shared, device, allocation.power_w, allocation.alone)
        power = np.where(sharing(states, cut), cut.power_w, 0.0)
        left = np.maximum(states.server_budget - states.server_step_energy * shared, 0)
        factor = np.minimum(1, left / np.maximum(c.power_weight * power.sum(1), 1e-12))
        return replace(cut, power_w=power * factor[:, None])

    def affordable_steps(self, states: States) -> np.ndarray:
        """Most steps (B, K) that each device's budget (22) pays for, one at the least."""
        affordable: np.ndarray = states.device_budget / states.device_step_energy + 1e-9
        return affordable.astype(int).clip(1)

    def outcome(self, states: States, allocation: Allocation, bep: np.ndarray | None = None) -> Outcome:
        """Serve every group and return QoE, reward (27) and by how much each constraint is missed.

        `bep` is what the method of that name gives, where it is known.
        """
        allocation = replace(allocation, alone=allocation.alone | ~states.present)  # empty places receive nothing
        qoe = self.source.qoe(states, allocation, self.bep(states, allocation) if bep is None else bep)
        return outcome(self.config, states, allocation, qoe)

    def observed(self) -> list[tuple[float, float, int, bool]]:
        """Part by part of what `observe` gives: lowest, highest, numbers, and whether so many of each user."""
        c = self.config
        most = float(np.max(c.server_budget)), float(np.max(c.device_budget))
        steps = most[0] if c.actions == "paper" else float(np.max(c.server_step_energy))
        parts = [(0.0, 1.0, 5, True), (-3.0, 3.0, self.source.embeddings.shape[1], True)]
        parts += [(0.0, steps, 1, False), (0.0, most[1], 1, True)]
        parts += [(GAIN_DB[0] / 10, GAIN_DB[1] / 10, 1, True), (0.0, 1.0, 1, False)]
        parts += [(0.0, 1.0, 1, False)] * _is_drawn(c.server_budget) + [(0.0, 1.0, 1, True)] * _is_drawn(c.device_budget)
        return parts + [(0.0, 1.0, 1, True)] * bool(c.fewest_users)

    def _observation_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest of what `observe` gives, each (n,) float32."""
        low, high, sizes, each = zip(*self.observed())
        counts = np.multiply(sizes, np.where(each, self.config.users, 1))
        return np.repeat(low, counts).astype(np.float32), np.repeat(high, counts).astype(np.float32)

    def of_users(self, users: int) -> Service:
        """The same service for groups of another number of users, or of at most so many where it differs; 1 to 8."""
        if users == self.config.users:
            return self
        fewest = self.config.fewest_users
        made = copy.copy(self)
        made.config = replace(self.config, users=users, fewest_users=None if fewest is None else min(fewest, users))
        made.low, made.high = made._observation_limits()
        return made


def _is_drawn(value: Range) -> bool:
    return isinstance(value, (tuple, list))


def _draw(rng: np.random.Generator, value: Range, size: int | tuple[int, ...]) -> np.ndarray:
    """Uniform between the ends of a range; a single number is drawn as it is."""
    return rng.uniform(np.min(value), np.max(value), size)
