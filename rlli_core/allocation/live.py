"""QoE from the service itself: the split chain makes the pictures, the persona agent scores them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..channel import Link
from ..diffusion.split import SplitDiffusion
from ..errors import InvalidArgument, check_integer
from ..qoe.agent import PersonaAgent
from ..qoe.persona import Persona
from ..records import SplitPlan
from ..round import serve
from .prompts import embed
from .states import Allocation, States


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

    def qoe(self, states: States, allocation: Allocation, bep: np.ndarray, longest: np.ndarray | None = None) -> np.ndarray:
        """As in `QoESource`; the errors follow from powers and gains, so `bep` is not used.

        Raises:
            InvalidArgument: `longest` is given, as by `optimum`: a search would run the service a million times.
        """
        if longest is not None:
            raise InvalidArgument("longest", "given", "left out: search on a TableQoE and serve what was found")
        return np.array([self._serve(states[i : i + 1], allocation, i) for i in range(len(states.prompts))])

    def _serve(self, state: States, allocation: Allocation, i: int) -> list[float]:
        prompts = [self.prompts[p] for p in state.prompts[0]]
        people = [Persona.of(traits) for traits in state.personas[0]]
        plan = SplitPlan(int(allocation.shared_steps[i]), tuple(map(int, allocation.device_steps[i])))
        made = serve(
            self.chain, [self.link] * len(prompts), self.agent, prompts[0], prompts, people, plan,
            allocation.power_w[i].tolist(), self.seed + i, state.gains[0].tolist(),
        )  # fmt: skip
        return [score.value for score in made.scores]
