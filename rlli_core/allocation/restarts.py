"""Devices that know their link's noise, in the table: where such a device restarts, and its score there.

Bit errors are taken for noise (`channel.damage`), and noise for an earlier timestep (`diffusion.receiver`): a device that
received a latent with errors has the score of one that got it without and restarts at that effective timestep, or at the one
that the rule chooses, whichever is earlier. Between the restarts that were gathered the score is a straight line in the
timestep, from where the server stopped (the paper's hand-off) to 999 (the device alone, on the model's own grid).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..channel import Link
from ..errors import InvalidArgument
from .handoffs import RESTARTS, WHOLE, StartRule, fit_rule

LEVELS = np.array([*range(0, 700, 10), *RESTARTS[1:], WHOLE], float)  # timesteps at which the lines are kept
ROOTS = np.linspace(0, np.sqrt(0.5), 401)  # of the BEPs at which a link's moments are kept


@dataclass(frozen=True, eq=False)
class Restarts:
    """Restarts of a table.

    Attributes:
        fits: coefficients (pairs, T_s + 1, T_e + 1, LEVELS, 6) as in `TableQoE`, below where the server stopped those of there.
        widths: mean range of the latent sent, (pairs, T_s + 1, T_e + 1), t_k being that of the longest chain.
        stops: timestep at which the server stopped, (T_s + 1, T_e + 1).
        alphas: cumulative alpha of each timestep.
        distances: of the two prompts of a pair, (pairs,).
        rule: that chooses the timestep.
        moments: bias and variance of the link over a range of 1, at each BEP of `ROOTS`.
    """

    fits: np.ndarray
    widths: np.ndarray
    stops: np.ndarray
    alphas: np.ndarray
    distances: np.ndarray
    rule: StartRule
    moments: tuple[np.ndarray, np.ndarray] | None = None

    def over(self, link: Link) -> Restarts:
        """The same with the noise of this link.

        Raises:
            InvalidArgument: a number format whose bit errors have no variance.
        """
        made = [link.moments(float(root**2), 0.0, 1.0) for root in ROOTS]
        if any(one.variance is None for one in made):
            raise InvalidArgument("receiver", "noise-aware", f"'paper' with number_format={link.number_format!r}")
        return replace(self, moments=(np.array([one.bias for one in made]), np.array([one.variance for one in made], float)))

    def effective(self, pair: np.ndarray, shared_steps: np.ndarray, longest: np.ndarray, bep: np.ndarray) -> np.ndarray:
        """Effective timestep of what is received, as `receiver.effective_timestep`; all arguments broadcast."""
        if self.moments is None:
            raise InvalidArgument("link", None, "given to `over` first")
        bias, variance = (np.interp(np.sqrt(bep), ROOTS, values) for values in self.moments)
        kept = bias**2 / np.maximum(bias**2 + variance * self.widths[pair, shared_steps, longest] ** 2, 1e-300)
        wanted = self.alphas[self.stops[shared_steps, longest]] * kept
        first = np.searchsorted(-self.alphas, -wanted * (1 + 1e-12), side="left")
        return np.asarray(first.clip(max=len(self.alphas) - 1))

    def level(
        self, pair: np.ndarray, shared_steps: np.ndarray, longest: np.ndarray, device_steps: np.ndarray, bep: np.ndarray
    ) -> np.ndarray:
        """Timestep at which each device starts; all arguments broadcast."""
        options = levels(self.stops[shared_steps, longest])
        picked = self.rule.choose(options, device_steps, self.distances[pair])
        options = np.broadcast_to(options, (*picked.shape, options.shape[-1]))
        found = np.take_along_axis(options, picked[..., None], -1)[..., 0]
        return np.maximum(found, self.effective(pair, shared_steps, longest, bep))


def levels(stop: int | np.ndarray) -> np.ndarray:
    """What a rule chooses among, (..., 5): where the server stopped, and the restarts, none of them below that."""
    return np.maximum(np.asarray(stop)[..., None], [0, *RESTARTS[1:]])


def by_level(
    handoff: np.ndarray, restart: np.ndarray, alone: np.ndarray, stops: np.ndarray, steps: Sequence[Sequence[int]]
) -> np.ndarray:
    """Scores at each of `LEVELS`, (pairs, t0, t_k, LEVELS, people).

    Args:
        handoff: the paper's at BEP 0, (pairs, t0, t_k, people).
        restart, alone: (pairs, t0, t_k, restarts, people) and (pairs, t_k, starts, people).
        stops: as in `Restarts`.
        steps: t0 and t_k of the lattice; with t0 = 0 it is bare noise that is restarted, as by a device alone.
    """
    found = np.empty((*handoff.shape[:3], len(LEVELS), handoff.shape[3]), np.float32)
    for i, shared in enumerate(steps[0]):
        for j, device in enumerate(steps[1]):
            stop = stops[shared, device]
            above = [k for k, level in enumerate(RESTARTS[1:]) if shared == 0 or level > stop]
            at, values = [*np.array(RESTARTS[1:], float)[above]], alone[:, j, 1:]
            if shared:
                at, values = [float(stop), *at], np.concatenate([handoff[:, i, j, None], restart[:, i, j, above]], 1)
            values = np.concatenate([values, alone[:, j, :1]], 1)
            low, part = cell(LEVELS, [*at, WHOLE])
            part = part[:, None]
            found[:, i, j] = (1 - part) * values[:, low] + part * values[:, low + 1]
    return found


def fit_rules(content: Mapping[str, np.ndarray], pairs: np.ndarray, steps: Sequence[Sequence[int]]) -> dict[str, StartRule]:
    """The rules for restarts and for lone devices with the highest mean score over some of the pairs of a table.

    Args:
        content: arrays of the table, with the distance of each pair as `distances`.
        pairs: which of them, those that policies are trained on.
        steps: t0 and t_k of the lattice.
    """
    handoff, restart, alone = (content[name][pairs].astype(np.float32) for name in ("scores", "restart", "alone"))
    handoff, restart = handoff[:, :, 1:, :, 0].mean((1, -1)), restart[:, :, 1:].mean((1, -1))  # (pair, t0, t_k), and restarts
    means = np.concatenate([handoff[..., None], np.where(np.isnan(restart), handoff[..., None], restart)], -1)
    options = levels(np.asarray(content["stops"])[np.ix_(steps[0][1:], steps[1])])
    own, distances = np.asarray(steps[1]), content["distances"][pairs]
    return {
        "restart_rule": fit_rule(means, options, own, distances[:, None, None], shared=True),
        "start_rule": fit_rule(alone.mean((1, -1)), starts(), own, np.zeros((len(distances), 1)), shared=False),
    }


def starts() -> np.ndarray:
    """Timesteps among which a lone device's start is chosen, the model's own grid first."""
    return np.array([WHOLE, *RESTARTS[1:]])


def interpolate(values: np.ndarray, known: Sequence[int], wanted: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis; the nearest value outside of what is known."""
    low, part = cell(wanted, known)
    shape = [1] * values.ndim
    shape[axis] = -1
    part = part.reshape(shape)
    return np.asarray((1 - part) * values.take(low, axis) + part * values.take(low + 1, axis))


def cell(wanted: np.ndarray, known: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which two of the known values each wanted one lies: index of the lower, and how far on to the upper, 0 to 1."""
    position = np.interp(wanted, known, np.arange(len(known)))
    low = np.minimum(position.astype(int), len(known) - 2)
    return low, position - low
