"""Networks of the learners: the diffusion actor of G-DDPG, the plain one of DDPG, and the critic."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from .sets import Layout, Seen, SetNet, action_layout, total
from .setting import ServiceConfig

TEMPERATURE = 0.25  # of the soft choice whose gradient stands in for that of the largest entry
LOW_POWER_W = 2.0  # where the critic's second scale of powers turns from linear to logarithmic


class PlainActor(nn.Module):
    """State -> action in [-1, 1], the actor of DDPG.

    Args:
        seen, acts: layouts of states and actions (`sets.Layout`).
        hidden: width of the network.
    """

    def __init__(self, seen: Layout, acts: Layout, hidden: int):
        super().__init__()
        self.seen, self.acts = seen, acts
        self.net = SetNet(seen.looked, seen.each, hidden, (acts.common, acts.each))

    def forward(self, state: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """States (B, n) -> actions (B, m); `noise` is not used."""
        return self.decide(state, noise)[0]

    def decide(self, state: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (B, m), and the pre-activations of their tanh, (1, B, m)."""
        common, users, present = self.seen.look(state)
        pre_activation = self.acts.join(*self.net([common], [users], present))
        return pre_activation.tanh(), pre_activation[None]

    def noise(self, state: torch.Tensor, generator: torch.Generator) -> None:
        """None: this actor draws nothing."""


class DiffusionActor(nn.Module):
    """State -> action in [-1, 1] by D denoising steps, eq. (7) with the state as the condition.

    The network estimates the clean action from a noisy one, the step and the state; a step goes to the mean of the
    diffusion posterior, plus its noise except at the end. The noise schedule is that of a variance-preserving process
    whose rate grows linearly from `rate[0]` to `rate[1]` over the chain, cut into D steps. Noisy entries go in with their user.

    Args:
        seen, acts: layouts of states and actions (`sets.Layout`).
        hidden: width of the network.
    """

    def __init__(self, seen: Layout, acts: Layout, hidden: int, steps: int = 5, rate: tuple[float, float] = (0.1, 10.0)):
        super().__init__()
        self.seen, self.acts, self.steps = seen, acts, steps
        self.net = SetNet(seen.looked + acts.common + 1, seen.each + acts.each, hidden, (acts.common, acts.each))
        i = torch.arange(1, steps + 1, dtype=torch.float64)
        log_alpha = -rate[0] / steps - (rate[1] - rate[0]) * (2 * i - 1) / (2 * steps**2)
        alpha = log_alpha.exp()
        alpha_bar = alpha.cumprod(0)
        self.kept = alpha_bar.tolist()  # share of the clean action's variance that is left at each step
        previous = torch.cat([alpha.new_ones(1), alpha_bar[:-1]])
        self.clean = (previous.sqrt() * (1 - alpha) / (1 - alpha_bar)).tolist()  # weight of the estimate in the posterior mean
        self.noisy = (alpha.sqrt() * (1 - previous) / (1 - alpha_bar)).tolist()  # and of the noisy action
        self.std = ((1 - alpha) * (1 - previous) / (1 - alpha_bar)).sqrt().tolist()  # of the posterior

    def forward(self, state: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """States (B, n) -> actions (B, m).

        Args:
            noise: (B, D, m) standard normal: the start of the chain, then what each step adds; None is no noise at all.
        """
        return self.decide(state, noise)[0]

    def decide(self, state: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (B, m), and the pre-activations of the tanh of each step's estimate, (D, B, m)."""
        trajectory, pre_activations = self.chain(state, noise)
        return trajectory[-1], pre_activations

    def chain(self, state: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The noisy start and the action after each of the D steps, (D + 1, B, m), and the pre-activations of `decide`."""
        noise = state.new_zeros(self._shape(state)) if noise is None else noise
        seen, trajectory, pre_activations = self.seen.look(state), [noise[:, 0]], []
        for i in reversed(range(self.steps)):
            time = state.new_full((len(state), 1), (i + 1) / self.steps)
            pre_activations.append(self.estimate(seen, trajectory[-1], time))
            mean = self.clean[i] * pre_activations[-1].tanh() + self.noisy[i] * trajectory[-1]
            trajectory.append(mean + self.std[i] * noise[:, self.steps - i] if i else mean)
        return torch.stack(trajectory), torch.stack(pre_activations)

    def estimate(self, seen: Seen, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Pre-activations (B, m) of the clean action's estimate from a noisy one (B, m) at times (B, 1), the last one 1."""
        (common, users, present), (of_all, of_each) = seen, self.acts.split(noisy)
        return self.acts.join(*self.net([common, of_all, time], [users, of_each], present))

    def noise(self, state: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Noise (B, D, m) for `forward` in states (B, n)."""
        return torch.randn(self._shape(state), generator=generator)

    def _shape(self, state: torch.Tensor) -> tuple[int, int, int]:
        return len(state), self.steps, self.acts.width(self.seen.users(state.shape[1]))


Actor = PlainActor | DiffusionActor


class Critic(nn.Module):
    """Two estimates of the reward of an action in a state; the "double" of Algorithm 3's title.

    Each is a sum over the users present, and a term of the whole group.

    Args:
        seen, acts: layouts of states and of actions as they are shown (`sets.Layout`).
        hidden: width of the networks.
    """

    def __init__(self, seen: Layout, acts: Layout, hidden: int):
        super().__init__()
        self.seen, self.acts = seen, acts
        sizes = seen.looked + acts.common, seen.each + acts.each
        self.nets = nn.ModuleList(SetNet(*sizes, hidden, (1, 1)) for _ in range(2))

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """States (B, n), actions (B, m) -> rewards (B, 2)."""
        (common, users, present), (of_all, of_each) = self.seen.look(state), self.acts.split(action)
        found = [net([common, of_all], [users, of_each], present) for net in self.nets]
        return torch.cat([of_all + total(of_each, present) for of_all, of_each in found], 1)


def allocation_shown(config: ServiceConfig, actions: torch.Tensor) -> torch.Tensor:
    """Actions (B, m) as a critic sees them: of each choice of steps, 1 at the largest entry and -1 elsewhere; of staying out
    1, else -1.

    Powers stand there twice, (B, m + K) in all, as they are and on a scale that is logarithmic from a few watts on. The gradient
    through a choice is that of a soft one (a straight-through estimator), so an actor learns which entry to raise.
    """
    if (users := action_layout(config).users(actions.shape[1])) != config.users:
        config = replace(config, users=users, fewest_users=None)
    powers, out, shared, device = actions.split(list(config.action_parts), 1)
    seen = [powers, torch.log10(1 + (powers + 1) / 2 * config.max_power_w / LOW_POWER_W)]
    seen.append(torch.where(out > 0, 1.0, -1.0) + out - out.detach())
    for choice in (shared[:, None], device.unflatten(1, (config.users, config.max_device_steps))):
        soft = (choice / TEMPERATURE).softmax(2)
        hard = torch.zeros_like(soft).scatter_(2, choice.argmax(2, keepdim=True), 1.0)
        seen.append((2 * (hard + soft - soft.detach()) - 1).flatten(1))
    return torch.cat(seen, 1)
