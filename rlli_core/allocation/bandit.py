"""LinUCB: a contextual bandit whose reward is linear in features of state and allocation (Li et al., WWW 2010).

It has no network. A ridge regression over all rounds so far gives the expected reward and how sure that is; what is done is the
best sum of the two among drawn actions and refinements of the best of them.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from . import search
from .actors import allocation_shown
from .ddpg import Learner
from .policy import Policy
from .setting import ServiceConfig

RIDGE = 1.0
DRAWN = 256  # actions drawn for a chunk of states
LIKELY = 16  # of them in each state those of the highest expected reward, whose bounds are compared
CHUNK = 256  # rounds between two regressions, at most; at first an eighth of those served


class Lines(nn.Module):
    """Ridge regression of rewards, with its uncertainty.

    Features are: 1; the allocation as a critic sees it (`actors.allocation_shown`); products of two of its summary, which are t0, t_k,
    the powers' levels and who stays out; the server energy beyond the budget; the state; products of state and summary.

    Attributes:
        precision: (p, p) float64, ridge and sum of products of features.
        moment: (p,) float64, sum of features times reward.
        weights, inverse: (p,) and (p, p) float32, made of the two by `solve`.
    """

    precision: torch.Tensor
    moment: torch.Tensor
    weights: torch.Tensor
    inverse: torch.Tensor

    def __init__(self, config: ServiceConfig, observation: int):
        super().__init__()
        self.config = config
        plain, summary = self.parts(torch.zeros(1, 1, config.action_size))
        self.sizes = plain.shape[2], observation, summary.shape[2] * observation
        total = sum(self.sizes)
        self.register_buffer("precision", RIDGE * torch.eye(total, dtype=torch.float64))
        self.register_buffer("moment", torch.zeros(total, dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(total))
        self.register_buffer("inverse", torch.eye(total) / RIDGE)

    def parts(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of actions (B, C, m) the features without the state (B, C, q), and the summary (B, C, s)."""
        c, (count, many) = self.config, actions.shape[:2]
        actions = actions.flatten(0, 1)
        power, out, shared, device = actions.split(list(c.action_parts), 1)
        steps = [shared.argmax(1, keepdim=True) / max(1, c.most_shared_steps - 1)]
        steps.append(device.unflatten(1, (c.users, -1)).argmax(2) / max(1, c.max_device_steps - 1))
        summary = torch.cat([*steps, search.power_level(c, power), (out > 0).float()], 1)
        first, second = torch.triu_indices(summary.shape[1], summary.shape[1])
        energy = (power + 1).sum(1, keepdim=True) / 2 * c.max_power_w * c.power_weight
        energy = energy + float(np.mean(c.server_step_energy)) * (shared.argmax(1, keepdim=True) + (c.actions == "paper"))
        beyond = (energy - float(np.mean(c.server_budget))).clamp(min=0) / c.max_power_w / c.power_weight
        parts = [torch.ones(len(actions), 1), allocation_shown(c, actions), summary[:, first] * summary[:, second], beyond]
        return torch.cat(parts, 1).unflatten(0, (count, many)), summary.unflatten(0, (count, many))

    def features(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Features (B, C, p) of actions (B, C, m) in states (B, n)."""
        plain, summary = self.parts(actions)
        states = seen[:, None].expand(-1, actions.shape[1], -1)
        return torch.cat([plain, states, (summary[..., None] * states[:, :, None]).flatten(2)], 2)

    def value(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Expected rewards (B, C) of actions (B or 1, C, m) in states (B, n), without making all the features."""
        plain, summary = self.parts(actions)
        own, state, both = self.weights.split(list(self.sizes))
        slopes = seen @ both.unflatten(0, (-1, seen.shape[1])).T
        return plain @ own + (summary * slopes[:, None]).sum(2) + (seen @ state)[:, None]

    def bonus(self, features: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the expected reward in units of the noise's, (B, C), of features (B, C, p)."""
        return ((features @ self.inverse) * features).sum(2).clamp(min=0).sqrt()

    def learn(self, features: torch.Tensor, reward: torch.Tensor) -> None:
        """Take in features (B, p) and rewards (B,)."""
        rows = features.double()
        self.precision += rows.T @ rows
        self.moment += rows.T @ reward.double()
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self.precision))
        self.weights.copy_(inverse @ self.moment)
        self.inverse.copy_(inverse)


class LinUCB(Learner):
    """The bandit on the rounds of the other learners; the exploration noise of `Training` is the weight of the bonus."""

    networks = ("lines",)

    def build(self) -> None:
        """The regression; rounds need not be kept."""
        self.lines = Lines(self.service.config, len(self.service.low))
        self.replay, self.optimizers = [], []

    @torch.no_grad()
    def step(self) -> None:
        """Serve a chunk of groups, with random actions in the warm-up, and learn from it."""
        start, t, c = time.perf_counter(), self.training, self.service.config
        count = min(max(t.collect, min(self.done // 8, CHUNK)), t.interactions - self.done)
        states = self.service.draw(self.rng, count)
        seen = torch.from_numpy(self.service.observe(states))
        if self.done < t.warmup:
            actions = 2 * torch.rand(count, c.action_size, generator=self.generator) - 1
        else:
            actions = self.explore(seen)
        reward = self.service.outcome(states, self.service.decode(actions.numpy())).reward
        self.lines.learn(self.lines.features(seen, actions[:, None])[:, 0], torch.from_numpy(reward))
        self.done, self.updates = self.done + count, self.updates + 1
        self.seconds += time.perf_counter() - start

    def explore(self, seen: torch.Tensor) -> torch.Tensor:
        """Of drawn actions and a refinement of the best of them, those of the highest upper bound of the reward."""
        c, pool = self.service.config, search.drawn(self.service.config, DRAWN, self.generator)
        likely = pool[self.lines.value(seen, pool[None]).topk(LIKELY, 1).indices]
        refined = search.ascend(c, partial(self.lines.value, seen), likely[:, 0], 1)
        tried = torch.cat([likely, refined[:, None]], 1)
        bound = self.lines.value(seen, tried) + self.spread * self.lines.bonus(self.lines.features(seen, tried))
        return tried[torch.arange(len(seen)), bound.argmax(1)]

    def policy(self) -> Policy:
        """What has been learnt so far: the highest expected reward."""
        searcher = search.Searcher(self.service.config, self.lines, self.lines.value)
        return search.SearchPolicy(self.service, searcher, pd.DataFrame(self.rows))  # type: ignore[arg-type]
