"""A channel of one's own, as an example: whole packets get lost, instead of single bits being flipped.

`SplitDiffusion.sweep` and `round.serve` ask nothing of a link but a method `transmit` that takes a hand-off and returns one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import check_integer, check_number
from ..records import Handoff


@dataclass(frozen=True)
class PacketLoss:
    """A link that delivers a packet of latent values untouched or not at all; what is missing is filled with the mean.

    Args:
        loss: probability that a packet is lost, 0 to 1.
        values: of the latent in a packet, 1 or more.
        interleaved: spread the values of a packet over the whole latent; else they are neighbours.
    """

    loss: float = 0.1
    values: int = 16
    interleaved: bool = True

    def __post_init__(self) -> None:
        check_number("loss", self.loss, 0, 1)
        check_integer("values", self.values, 1)

    def transmit(self, handoff: Handoff, *, seed: int, **_given: object) -> Handoff:
        """Send a hand-off; a bit error probability or power that a caller gives as well changes nothing here."""
        rng = np.random.default_rng((check_integer("seed", seed, 0), 5))
        count = handoff.latent.numel()
        packet = np.arange(count) // self.values
        if self.interleaved:
            packet = packet[rng.permutation(count)]
        lost = torch.from_numpy((rng.random(packet.max() + 1) < self.loss)[packet]).reshape(handoff.latent.shape)
        filling = handoff.latent[~lost].mean() if not lost.all() else 0.0
        return replace(handoff, latent=torch.where(lost, filling, handoff.latent))
