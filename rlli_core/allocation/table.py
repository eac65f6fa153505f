"""QoE from a table: what the split chain and the persona agent gave on a lattice of allocations, gathered once.

`python -m rlli_core.allocation.gather` gathers it (about 120 core-minutes; resumes). For each pair of prompts (server's,
device's) and each image seed, rated by `PERSONAS` people:

- the paper's hand-off: t0 x t_k x BEP;
- restarts of what was sent without bit errors: t0 x t_k x `RESTARTS`, as far as the server stopped below that timestep;
- the device alone: t_k x `STARTS`.

A device that knows its link's noise needs no axis for the BEP: the noise is taken for its effective timestep (`receiver`), and
the device for one that got the latent without errors and restarts there. The range of each latent sent is kept, which is what
the exact moments of `channel.damage` need to say what its noise is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import qmc

from ..errors import InvalidArgument, ModelNotFound
from ..files import DATA, of_checkout, read_arrays
from . import handoffs
from .states import Allocation, States

TABLE = DATA / "results" / "qoe_table.npz"
SHARED_STEPS = (0, 1, 2, 3, 5, 7, 10)  # at 0 the noise itself is sent, which is where short chains beside long ones tend to
DEVICE_STEPS = (1, 2, 3, 4, 6, 8)
BEPS = (0.0, 0.02, 0.06, 0.13, 0.25, 0.5)  # about even in the square root, in which the QoE is interpolated
ROOTS = np.linspace(0, np.sqrt(BEPS[-1]), 41)  # of the BEPs at which the smooth curve through the lattice is kept
RESTARTS = handoffs.RESTARTS[1:]  # the first, where the server stopped, is the paper's hand-off at BEP 0
STARTS = handoffs.STARTS
PERSONAS = 12  # for the linear fit as good as 16 points of a Sobol sequence: mean leverage .51 against .47
SEEDS = 3


def asked_traits() -> np.ndarray:
    """Traits (PERSONAS, 5) of the people asked, which cover the cube of personas evenly."""
    return np.asarray(qmc.LatinHypercube(5, optimization="random-cd", rng=np.random.default_rng(0)).random(PERSONAS))


@dataclass(frozen=True, eq=False)
class TableQoE:
    """A QoE source that reads the table.

    The mean over image seeds is interpolated linearly in t0 and t_k, by a monotone cubic in the square root of the BEP, and is
    linear in the traits (least squares over the personas asked). Values outside [0, 1] are cut off.

    The table was gathered one device at a time. With several, the server walks the grid of the longest chain, t0 + M steps
    with M the largest t_k, so a device with t_k steps receives a latent of which M / (t0 + M) is still to be walked. It is
    looked up where its own grid leaves as much: at t0' = t0 t_k / M.

    Attributes:
        prompts, embeddings, groups: as in `QoESource`.
        fits: coefficients (pairs, T_s + 1, T_e + 1, ROOTS, 6) of 1 and the five traits; in row t0 = 0 the noise is sent.
        alone: the same without sharing, when nothing is sent, (pairs, T_e + 1, 6).
        pairs: number of the pair (server prompt, device prompt) in `fits`, (P, P) int, -1 where it was not gathered.
    """

    prompts: tuple[str, ...]
    embeddings: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    fits: np.ndarray
    alone: np.ndarray
    pairs: np.ndarray

    @property
    def most_steps(self) -> tuple[int, int]:
        """The most shared and device steps that the lattice has."""
        return self.fits.shape[1] - 1, self.fits.shape[2] - 1

    @classmethod
    def load(cls, path: Path = TABLE, held_out: bool = False) -> TableQoE:
        """Read the shipped table, with the groups that policies are trained on, or those that they never see.

        Raises:
            ModelNotFound: no table there.
            UnusableFile: it is damaged.
        """
        if not path.is_file():
            of_checkout()
            raise ModelNotFound(f"no table of QoE at {path}; make it with: python -m rlli_core.allocation.gather")
        content = _read(path)
        raw, alone = content["scores"].astype(np.float32), content["alone"].astype(np.float32)
        prompts, embeddings = tuple(content["prompts"].tolist()), content["embeddings"]
        by_group = [tuple(int(member) for member in members if member >= 0) for members in content["groups"]]
        pairs = np.full((len(prompts),) * 2, -1)
        gathered = [(members[0], member) for members in by_group for member in members]
        pairs[tuple(np.transpose(gathered))] = np.arange(len(gathered))
        chosen = tuple(group for group, unseen in zip(by_group, content["held_out"]) if unseen == held_out)
        return cls(
            prompts,
            embeddings,
            chosen,
            *_fits(raw.mean(1), alone.mean(1)[:, :, 0], content["traits"], content["device_steps"]),
            pairs,
        )

    def qoe(self, states: States, allocation: Allocation, bep: np.ndarray, longest: np.ndarray | None = None) -> np.ndarray:
        """As in `QoESource`.

        Raises:
            InvalidArgument: a pair of prompts that was not gathered, or more steps than the lattice has.
        """
        longest = allocation.device_steps.max(1) if longest is None else longest
        shared = allocation.shared_steps[:, None] * allocation.device_steps / longest[:, None]
        return self.lookup(states.prompts[:, :1], states.prompts, states.personas, shared, allocation.device_steps, bep)

    def lookup(
        self,
        server: np.ndarray,
        device: np.ndarray,
        personas: np.ndarray,
        shared_steps: np.ndarray,
        device_steps: np.ndarray,
        bep: np.ndarray,
    ) -> np.ndarray:
        """QoE of single users on grids of their own; all arguments broadcast, `personas` with five more at the end.

        `shared_steps` need not be whole; where they are 0 nothing is shared and nothing sent.
        """
        pair = self.pairs[server, device]
        if (pair < 0).any():
            raise InvalidArgument(
                "prompts", "a pair", "one of a group that was gathered; see rlli_core.allocation.prompts.groups"
            )
        for name, value, most in zip(("shared_steps", "device_steps"), (shared_steps, device_steps), self.most_steps):
            if np.min(value) < 0 or np.max(value) > most:
                raise InvalidArgument(name, float(np.max(value)), f"0 to {most}, where the table was gathered")
        step, on = _cell(shared_steps, np.arange(self.fits.shape[1]))
        root, along = _cell(np.sqrt(bep), ROOTS)
        weights = np.zeros(1)
        for row, left in ((step, 1 - on), (step + 1, on)):
            for column, part in ((root, 1 - along), (root + 1, along)):
                weights = weights + (left * part)[..., None] * self.fits[pair, row, device_steps, column]
        weights = np.where(np.asarray(shared_steps)[..., None] == 0, self.alone[pair, device_steps], weights)
        qoe: np.ndarray = weights[..., 0] + (weights[..., 1:] * personas).sum(-1)
        return qoe.clip(0, 1)


def _read(path: Path) -> dict[str, Any]:
    """The arrays of a table as `gather.assemble_table` writes them; also of one that has only the paper's lattice."""
    content = read_arrays(path, "scores", "alone", "prompts", "embeddings", "groups")
    if content["alone"].ndim == 5:
        return content | read_arrays(path, "restart", "ranges", "stops", "alphas", "traits", "device_steps", "held_out")
    content["alone"] = content["alone"][:, :, :, None]
    first = content["prompts"][content["groups"][:, 0]]
    unseen = np.isin(first, ["a tiger at night", "a crocodile in the street"])
    return content | {"held_out": unseen, "traits": qmc.Sobol(5, seed=0).random(16), "device_steps": (1, 2, 4, 6, 8)}


def _fits(
    scores: np.ndarray, alone: np.ndarray, traits: np.ndarray, steps: Sequence[int] = DEVICE_STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (pairs, t0, t_k, BEPs, people) and unshared ones (pairs, t_k, people) -> coefficients at every whole step."""
    asked = np.concatenate([np.ones((len(traits), 1)), traits], 1)
    solve = np.linalg.pinv(asked).T  # (people, 6)
    smooth = PchipInterpolator(np.sqrt(BEPS), scores, axis=3)(ROOTS) @ solve
    shared, device = np.arange(SHARED_STEPS[-1] + 1), np.arange(DEVICE_STEPS[-1] + 1)
    fits = _interpolate(_interpolate(smooth, SHARED_STEPS, shared, 1), steps, device, 2)
    return fits, _interpolate(alone @ solve, steps, device, 1)


def _interpolate(values: np.ndarray, known: Sequence[int], wanted: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis; the nearest value outside of what is known."""
    low, part = _cell(wanted, known)
    shape = [1] * values.ndim
    shape[axis] = -1
    part = part.reshape(shape)
    return np.asarray((1 - part) * values.take(low, axis) + part * values.take(low + 1, axis))


def _cell(wanted: np.ndarray, known: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which two of the known values each wanted one lies: index of the lower, and how far on to the upper, 0 to 1."""
    position = np.interp(wanted, known, np.arange(len(known)))
    low = np.minimum(position.astype(int), len(known) - 2)
    return low, position - low
