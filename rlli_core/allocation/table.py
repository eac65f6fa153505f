"""QoE from a table: what the split chain and the persona agent gave on a lattice of allocations, gathered once.

`python -m rlli_core.allocation.gather` gathers it (about 150 core-minutes; resumes). For each pair of prompts (server's,
device's) and each image seed, rated by `PERSONAS` people:

- the paper's hand-off: t0 x t_k x BEP;
- restarts of what was sent without bit errors: t0 x t_k x `RESTARTS`, as far as the server stopped below that timestep;
- the device alone: t_k x `STARTS`.

A device that knows its link's noise needs no axis for the BEP, see `restarts`. The range of each latent sent is kept, which is
what the exact moments of `channel.damage` need to say what its noise is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import qmc

from ..errors import InvalidArgument, ModelNotFound, check_integer
from ..files import DATA, of_checkout, read_arrays
from . import handoffs, restarts
from .handoffs import StartRule
from .restarts import LEVELS, Restarts, cell, interpolate
from .reward import sharing
from .setting import ServiceConfig
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
ARRAYS = (
    "scores", "restart", "alone", "ranges", "restart_rule", "start_rule", "stops", "alphas", "traits", "device_steps", "prompts",
    "groups", "held_out", "embeddings",
)  # fmt: skip


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
        starts: `alone` at each of `STARTS`, (pairs, T_e + 1, starts, 6); at the first, the model's own grid, it is `alone`.
        best_alone: `alone` of devices with the fitted start.
        restarts: of devices that know their link's noise.
        receiver, start: as `receiver` and `alone` of the setting.
    """

    prompts: tuple[str, ...]
    embeddings: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    fits: np.ndarray
    alone: np.ndarray
    starts: np.ndarray
    pairs: np.ndarray
    best_alone: np.ndarray
    restarts: Restarts
    receiver: str = "paper"
    start: str = "grid"

    @property
    def most_steps(self) -> tuple[int, int]:
        """The most shared and device steps that the lattice has."""
        return self.fits.shape[1] - 1, self.fits.shape[2] - 1

    @classmethod
    def load(cls, path: Path = TABLE, held_out: bool = False, seeds: Sequence[int] | None = None) -> TableQoE:
        """Read the shipped table.

        Args:
            path: where it is.
            held_out: the groups that policies never see instead of those that they are trained on.
            seeds: image seeds whose mean is taken; None for all. What is chosen by the scores of some seeds and scored by others
                does not profit from pictures that turned out well by luck.

        Raises:
            InvalidArgument: seeds that the table does not have.
            ModelNotFound: no table there.
            UnusableFile: it is damaged.
        """
        content = _read(path)
        prompts, embeddings = tuple(content["prompts"].tolist()), content["embeddings"]
        by_group = [tuple(int(member) for member in members if member >= 0) for members in content["groups"]]
        pairs = np.full((len(prompts),) * 2, -1)
        gathered = [(members[0], member) for members in by_group for member in members]
        pairs[tuple(np.transpose(gathered))] = np.arange(len(gathered))
        chosen = tuple(group for group, unseen in zip(by_group, content["held_out"]) if unseen == held_out)
        for seed in () if seeds is None else seeds:
            check_integer("seeds", seed, 0, content["scores"].shape[1] - 1)
        raw, restart, lone, widths = (
            content[name][:, slice(None) if seeds is None else list(seeds)].astype(np.float32).mean(1)
            for name in ("scores", "restart", "alone", "ranges")
        )
        solve, steps = _solve(content["traits"]), content["device_steps"]
        fits = _fits(raw, solve, steps)
        rule, start_rule = (StartRule(*content[name].tolist()) for name in ("restart_rule", "start_rule"))
        best = lone[:, np.arange(len(steps)), start_rule.choose(restarts.starts(), steps)]
        stops, widths = content["stops"], np.diff(widths, axis=-1)[..., 0]
        curves = restarts.by_level(raw[:, :, :, 0], restart, lone, stops, (SHARED_STEPS, steps)) @ solve
        again = Restarts(
            _every_step(curves, steps, shared=True), _every_step(widths, steps, shared=True), stops, content["alphas"],
            distances(embeddings, gathered), rule,
        )  # fmt: skip
        starts, at_best = (_every_step(one @ solve, steps) for one in (lone, best))
        return cls(prompts, embeddings, chosen, fits, starts[:, :, 0], starts, pairs, at_best, again)

    def chosen_starts(self) -> np.ndarray:
        """The number of the start that is best for the mean person, by pair and own steps, (pairs, T_e + 1)."""
        return np.asarray((self.starts[..., 0] + self.starts[..., 1:].mean(-1)).argmax(-1))

    def with_starts(self, numbers: np.ndarray) -> TableQoE:
        """The table whose lone devices start as `numbers` say, see `chosen_starts`, instead of by the fitted rule."""
        return replace(self, best_alone=np.take_along_axis(self.starts, numbers[..., None, None], 2)[:, :, 0])

    def under(self, config: ServiceConfig) -> TableQoE:
        """The table of this setting's receivers and lone devices."""
        if config.receives_as_the_paper and (self.receiver, self.start) == ("paper", "grid"):
            return self
        again = self.restarts.over(config.link) if config.receiver == "noise-aware" else self.restarts
        return replace(self, receiver=config.receiver, start=config.alone, restarts=again)

    def qoe(self, states: States, allocation: Allocation, bep: np.ndarray, longest: np.ndarray | None = None) -> np.ndarray:
        """As in `QoESource`.

        Raises:
            InvalidArgument: a pair of prompts that was not gathered, or more steps than the lattice has.
        """
        own, shares = allocation.device_steps, sharing(states, allocation)
        longest = np.where(shares, own, 1).max(1) if longest is None else longest
        shared = np.where(shares, allocation.shared_steps[:, None] * own / longest[:, None], 0)
        server, level = states.prompts[:, :1], None
        if self.receiver == "noise-aware":
            self._check_steps(allocation.shared_steps, longest)
            pair = self.pairs[server, states.prompts]
            level = self.restarts.level(pair, allocation.shared_steps[:, None], longest[:, None], own, bep)
        return self.lookup(server, states.prompts, states.personas, shared, own, bep, level)

    def lookup(
        self,
        server: np.ndarray,
        device: np.ndarray,
        personas: np.ndarray,
        shared_steps: np.ndarray,
        device_steps: np.ndarray,
        bep: np.ndarray,
        level: np.ndarray | None = None,
    ) -> np.ndarray:
        """QoE of single users on grids of their own; all arguments broadcast, `personas` with five more at the end.

        `shared_steps` need not be whole; where they are 0 nothing is shared and nothing sent. With a `level` the device restarts
        at that timestep, without bit errors.
        """
        pair = self.pairs[server, device]
        if (pair < 0).any():
            raise InvalidArgument(
                "prompts", "a pair", "one of a group that was gathered; see rlli_core.allocation.prompts.groups"
            )
        self._check_steps(shared_steps, device_steps)
        step, on = cell(shared_steps, np.arange(self.fits.shape[1]))
        table, root, along = self.fits, *cell(np.sqrt(bep), ROOTS)
        if level is not None:
            table, root, along = self.restarts.fits, *cell(level, LEVELS)
        weights = np.zeros(1)
        for row, left in ((step, 1 - on), (step + 1, on)):
            for column, part in ((root, 1 - along), (root + 1, along)):
                weights = weights + (left * part)[..., None] * table[pair, row, device_steps, column]
        lone = self.alone if self.start == "grid" else self.best_alone
        weights = np.where(np.asarray(shared_steps)[..., None] == 0, lone[pair, device_steps], weights)
        qoe: np.ndarray = weights[..., 0] + (weights[..., 1:] * personas).sum(-1)
        return qoe.clip(0, 1)

    def _check_steps(self, shared_steps: np.ndarray, device_steps: np.ndarray) -> None:
        for name, value, most in zip(("shared_steps", "device_steps"), (shared_steps, device_steps), self.most_steps):
            if np.min(value) < 0 or np.max(value) > most:
                raise InvalidArgument(name, float(np.max(value)), f"0 to {most}, where the table was gathered")


def read_rules(path: Path = TABLE) -> tuple[StartRule, StartRule]:
    """The rules of a table for restarts and for the starts of lone devices, fitted on the prompts that policies are trained on.

    Raises:
        ModelNotFound: no table there.
    """
    content = _read(path)
    return StartRule(*content["restart_rule"].tolist()), StartRule(*content["start_rule"].tolist())


def distances(embeddings: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """How far apart the two prompts of each pair are for a rule, (pairs,)."""
    server, device = np.transpose(pairs)
    return np.asarray(np.linalg.norm(embeddings[device] - embeddings[server], axis=-1))


def _read(path: Path) -> dict[str, Any]:
    """The arrays of a table as `gather.assemble_table` writes them."""
    if not path.is_file():
        of_checkout()
        raise ModelNotFound(f"no table of QoE at {path}; make it with: python -m rlli_core.allocation.gather")
    return read_arrays(path, *ARRAYS)


def _solve(traits: np.ndarray) -> np.ndarray:
    """Scores (..., people) times this, (people, 6), are the coefficients of 1 and the five traits (least squares)."""
    return np.asarray(np.linalg.pinv(np.concatenate([np.ones((len(traits), 1)), traits], 1)).T)


def _fits(scores: np.ndarray, solve: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Scores (pairs, t0, t_k, BEPs, people) -> coefficients at every whole step."""
    return _every_step(PchipInterpolator(np.sqrt(BEPS), scores, axis=3)(ROOTS) @ solve, steps, shared=True)


def _every_step(values: np.ndarray, steps: Sequence[int], shared: bool = False) -> np.ndarray:
    """Values (pairs, [t0,] t_k, ...) at every whole step from 0 on."""
    if shared:
        values = interpolate(values, SHARED_STEPS, np.arange(SHARED_STEPS[-1] + 1), 1)
    return interpolate(values, steps, np.arange(steps[-1] + 1), 1 + shared)
