"""How long an update takes, and how long its matrix products alone would: claim C15 and the floor that it cannot go below."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch

from ..bench import least
from .ddpg import Learner, Training
from .environment import Service

BLOCKS = 5


def updates_by_steps(service: Service, steps: list[int], training: Training | None = None, repeats: int = 30) -> pd.DataFrame:
    """Milliseconds an update of G-DDPG takes for each number D of denoising steps, and those of its matrix products alone.

    On one thread. Each number is the least of `BLOCKS` blocks of `repeats`, since whatever else runs can only add to it.

    Returns:
        Indexed by D; columns update_ms, products_ms.
    """
    base, threads = vars(training or Training()), torch.get_num_threads()
    torch.set_num_threads(1)
    rows = {}
    for count in steps:
        learner = Learner("g-ddpg", service, Training(**base | {"denoising_steps": count}), 0)
        for _ in range(-(-learner.training.batch // learner.training.collect)):
            learner.collect()
        index = torch.arange(learner.training.batch) % learner.done
        update = 1e3 * least(lambda learner=learner, index=index: learner.update(index), BLOCKS, repeats)
        rows[count] = {"update_ms": update, "products_ms": 1e3 * least(_products(learner), BLOCKS, repeats)}
    torch.set_num_threads(threads)
    return pd.DataFrame(rows).T.rename_axis("D")


def _products(learner: Learner) -> Callable[[], None]:
    """A function that does the matrix products of one update, and nothing else."""
    batch, pairs = learner.training.batch, []
    critic = [layer.weight for net in learner.critic.nets for layer in net[::2]]
    actor = [layer.weight for layer in learner.actor.net[::2]]
    for weights, passes, learns in ((critic, 1, True), (critic, 1, False), (actor, learner.actor.steps, True)):
        for weight in weights * passes:
            rows, columns = weight.shape
            x, g = torch.randn(batch, columns), torch.randn(batch, rows)
            # forward, gradient of the input, gradient of the weight; a critic that learns needs none of its own input
            pairs.append((x, weight.detach().t()))
            if weights is actor or not learns or columns == learner.training.hidden:
                pairs.append((g, weight.detach()))
            if learns:
                pairs.append((g.t(), x))

    @torch.no_grad()
    def run() -> None:
        for a, b in pairs:
            a @ b

    return run
