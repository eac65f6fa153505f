"""QoE from the service itself: the split chain makes the pictures, the persona agent scores them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ..channel import Link
from ..diffusion.schedule import handoff_timestep
from ..diffusion.split import SplitDiffusion
from ..errors import InvalidArgument, check_integer
from ..qoe.agent import PersonaAgent
from ..qoe.persona import Persona
from ..records import SplitPlan
from ..round import serve
from .handoffs import StartRule
from .prompts import embed
from .restarts import levels, starts
from .setting import ServiceConfig
from .states import Allocation, States
from .table import read_rules


class LiveQoE:
    """A QoE source that serves every group, one `round.serve` each; seconds a group on a CPU.

    Args:
        chain, agent: who makes and who scores the pictures.
        link: that of the `ServiceConfig` it is used with.
        groups: prompts that may come together, the server's first.
        seed: the group in place i of a batch starts from noise `seed + i`; the same batch gives the same scores.
    """

    def __init__(self, chain: SplitDiffusion, agent: PersonaAgent, link: Link, groups: Sequence[Sequence[str]], seed: int = 0):
        self.chain, self.agent, self.link, self.seed = chain, agent, link, check_integer("seed", seed, 0)
        self.prompts = tuple(dict.fromkeys(prompt for group in groups for prompt in group))
        self.embeddings = embed(chain, list(self.prompts))
        self.groups = tuple(tuple(map(self.prompts.index, group)) for group in groups)
        self.config = ServiceConfig()
        self.rules: tuple[StartRule, StartRule] | None = None

    def under(self, config: ServiceConfig) -> LiveQoE:
        """The same with the receivers and lone devices of this setting; restarts and starts by the rules of the shipped table.

        Raises:
            ModelNotFound, InvalidArgument: no table there, or one without rules.
        """
        made = copy.copy(self)
        made.config, made.rules = config, None if config.receives_as_the_paper else read_rules()
        return made

    def qoe(self, states: States, allocation: Allocation, bep: np.ndarray, longest: np.ndarray | None = None) -> np.ndarray:
        """As in `QoESource`; the errors follow from powers and gains, so `bep` is not used.

        Raises:
            InvalidArgument: `longest` is given, as by `optimum`: a search would run the service a million times.
        """
        if longest is not None:
            raise InvalidArgument("longest", "given", "left out: search on a TableQoE and serve what was found")
        return np.array([self._serve(states[i : i + 1], allocation, i) for i in range(len(states.prompts))])

    def _serve(self, state: States, allocation: Allocation, i: int) -> list[float]:
        there = np.flatnonzero(state.present[0])
        prompts = [self.prompts[p] for p in state.prompts[0, there]]
        people = [Persona.of(traits) for traits in state.personas[0, there]]
        plan = SplitPlan(int(allocation.shared_steps[i]), tuple(map(int, allocation.device_steps[i, there])))
        shares, powers = ~allocation.alone[i, there], allocation.power_w[i, there].tolist()
        made = serve(
            self.chain, [self.link] * len(prompts), self.agent, prompts[0], prompts, people, plan,
            [power if shared else None for power, shared in zip(powers, shares)], self.seed + i, state.gains[0, there].tolist(),
            receiver=self.config.receiver, restarts=self._restarts(state.prompts[0, there], plan, shares), lift_restarts=True,
        )  # fmt: skip
        qoe = np.zeros(len(state.present[0]))
        qoe[there] = [score.value for score in made.scores]
        return qoe.tolist()

    def _restarts(self, prompts: np.ndarray, plan: SplitPlan, shares: np.ndarray) -> list[int | None]:
        """The timestep at which each device starts; None where the paper's does."""
        found: list[int | None] = []
        restart_rule, start_rule = self.rules or (None, None)
        longest = [steps for steps, shared in zip(plan.steps_per_device, shares) if shared]
        for prompt, steps, shared in zip(prompts, plan.steps_per_device, shares):
            if shared:
                rule = restart_rule if self.config.receiver == "noise-aware" else None
                options = levels(handoff_timestep(self.chain.scheduler, SplitPlan(plan.shared_steps, longest)))
                distance = float(np.linalg.norm(self.embeddings[prompt] - self.embeddings[prompts[0]]))
            else:
                rule, options, distance = start_rule if self.config.alone == "best" else None, starts(), 0.0
            level = options[0] if rule is None else options[rule.choose(options, steps, distance)]
            found.append(None if level == options[0] else int(level))
        return found
