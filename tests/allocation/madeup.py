"""A source of QoE that is a formula; a small table of scores in which all lines are straight: two groups, one of two prompts."""

import numpy as np

from rlli_core.allocation import restarts, table

ALPHAS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)  # of Stable Diffusion
LOW, HIGH = -3.0, 3.0  # of every latent sent
BUMP = np.array([0.02, 0.12, 0.05, 0.01])  # that a restart or late start gains, at each of `table.RESTARTS`


class FormulaQoE:
    """A QoE source that is a formula: rises with device steps, falls with bit errors, has its best share of t0 by the prompt."""

    prompts = ("a", "b", "c", "d")
    embeddings = np.array([[-1.0, 0], [1, 0], [0, 1], [2, -2]])
    groups = ((0, 1, 2), (3, 1, 2))

    def qoe(self, states, allocation, bep, longest=None):
        longest = np.where(allocation.alone, 1, allocation.device_steps).max(1) if longest is None else longest
        shared = allocation.shared_steps[:, None] * allocation.device_steps / longest[:, None]
        steps = np.exp(-(((shared - 1 - 2 * states.prompts) / 6) ** 2)) * (allocation.device_steps / 8) ** 0.3
        alone = 0.55 * (allocation.device_steps / 8) ** 0.6
        return np.where(allocation.alone, alone, steps * (1 - 2 * bep)) * (0.7 + 0.3 * states.personas.mean(2))


def truth(shared, device, root, traits):
    """Linear along every axis, so that the table must give it back exactly."""
    return 0.2 + 0.02 * shared + 0.03 * device - 0.2 * root + 0.1 * traits[..., 0] - 0.05 * traits[..., 4]


def stop(shared, device):
    """Timestep at which a server stops on a "trailing" grid."""
    return int(round(1000 * device / (shared + device))) - 1 if shared else 999


def started(shared, device, level, traits):
    """Score at a timestep: a line from where the server stopped to the device alone, and the bump at 800."""
    line = (level - stop(shared, device)) / (999 - stop(shared, device)) if shared else 0.0
    ends = truth(shared, device, 0, traits), truth(0, device, 0, traits)
    return (1 - line) * ends[0] + line * ends[1] + dict(zip(table.RESTARTS, BUMP)).get(level, 0.0)


def write(path):
    """Write it as the gatherer does."""
    shared, device, root = np.meshgrid(table.SHARED_STEPS, table.DEVICE_STEPS, np.sqrt(table.BEPS), indexing="ij")
    traits, seeds = table.asked_traits(), np.array([-0.05, 0, 0.05])[:, None, None, None, None]
    scores = truth(shared[..., None], device[..., None], root[..., None], traits) + seeds
    grid = [[t0, t] for t0 in table.SHARED_STEPS for t in table.DEVICE_STEPS]
    possible = [[level if t0 and level >= stop(t0, t) else None for level in table.RESTARTS] for t0, t in grid]
    nothing = np.full(len(traits), np.nan)
    restart = [
        [nothing if level is None else started(t0, t, level, traits) for level in row] for (t0, t), row in zip(grid, possible)
    ]
    restart = np.reshape(restart, (*scores.shape[1:3], len(table.RESTARTS), len(traits)))
    alone = truth(0, np.array(table.DEVICE_STEPS)[:, None], 0, traits)[:, None] + np.array([0, *BUMP])[:, None]
    content = {
        "scores": np.stack([scores] * 5),
        "restart": np.tile(restart, (5, 3, 1, 1, 1, 1)),
        "alone": np.tile(alone, (5, 3, 1, 1, 1)),
        "ranges": np.tile(np.array([LOW, HIGH]), (5, 3, *scores.shape[1:3], 1)),
        "stops": np.array([[stop(t0, max(t, 1)) for t in range(9)] for t0 in range(11)]),
    }
    close = np.array([0.0, 0.5, 1.0, 0.0, 0.5])  # of the pairs 0-0, 0-1, 0-4, 2-2, 2-3
    rules = restarts.fit_rules(content | {"distances": close}, np.full(5, True), (table.SHARED_STEPS, table.DEVICE_STEPS))
    np.savez(
        path, **content, prompts=["z", "b", "c", "y", "d"], groups=[[0, 1, 4], [2, 3, -1]], held_out=[True, False],
        embeddings=np.eye(5), traits=traits, device_steps=table.DEVICE_STEPS, alphas=ALPHAS,
        **{name: [rule.base, rule.by_steps, rule.by_distance, rule.near] for name, rule in rules.items()},
    )  # fmt: skip
    return path
