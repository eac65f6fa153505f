"""The service as a gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from ..errors import InvalidArgument, check_integer, check_type
from .service import QoESource, Service
from .setting import ServiceConfig
from .states import States
from .table import TableQoE


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
        self.service = Service(ServiceConfig() if config is None else config, TableQoE.load() if source is None else source)
        self.observation_space = gymnasium.spaces.Box(self.service.low, self.service.high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (self.service.config.action_size,), np.float32)
        self.state: States | None = None

    @property
    def config(self) -> ServiceConfig:
        """The setting."""
        return self.service.config

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw the next user group; `options={"state": states}` sets one instead, `States` of a batch of one."""
        if seed is not None:
            seed = check_integer("seed", seed, 0)
        if options is not None and (not isinstance(options, dict) or not set(options) <= {"state"}):
            raise InvalidArgument("options", options, 'None or {"state": states}')
        super().reset(seed=seed)
        given = (options or {}).get("state")
        if given is not None and len(check_type("state", given, States, "`States`").prompts) != 1:
            raise InvalidArgument("state", len(given.prompts), "a batch of one state")
        self.state = self.service.draw(self.np_random, 1) if given is None else self.service.check(given)
        return self.service.observe(self.state)[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Serve the group; the episode is over."""
        if self.state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        wanted = f"{self.config.action_size} finite numbers in [-1, 1]"
        try:
            action = np.asarray(action)
        except (ValueError, TypeError, RuntimeError) as error:  # lists of unequal length, what cannot be an array
            raise InvalidArgument("action", type(action).__name__, wanted) from error
        if action.shape != self.action_space.shape or action.dtype.kind not in "iuf" or not np.isfinite(action).all():
            raise InvalidArgument("action", action.shape, wanted)
        allocation = self.service.decode(np.clip(action, -1, 1)[None])
        bep = self.service.bep(self.state, allocation)
        made = self.service.outcome(self.state, allocation, bep)
        info = {
            "qoe": made.qoe[0],
            "bep": bep[0],
            "shared_steps": int(allocation.shared_steps[0]),
            "device_steps": allocation.device_steps[0],
            "power_w": allocation.power_w[0],
            "device_excess": made.device_excess[0],
            "shortfall": made.shortfall[0],
            "server_excess": float(made.server_excess[0]),
        }
        return self.service.observe(self.state)[0], float(made.reward[0]), True, False, info
