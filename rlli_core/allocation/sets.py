"""Networks over sets of users: the same weights serve any number of them, and who stands in which place does not matter.

Deep sets (Zaheer et al., NeurIPS 2017): an encoder that all users share, the sum of what it says of those present, and from that sum and
what concerns the whole group a context, which a second layer that all users share sees beside its user. Attention would weigh
users in pairs. What couples users here are sums, the server's energy and the QoE, and the longest chain, which context and sum
tell well enough; a layer of attention costs four more matrices a user, half as much again as all of this.

One user differs from the others: the server denoises towards the first one's prompt. All see that prompt, and a user is told
from others by nothing else: with the server's prompt kept, users may change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .service import Service
from .setting import ServiceConfig

Seen = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]
OF_EACH = ("first", "second", "of_each")  # layers of a `SetNet` that work on every user
USUAL = 3  # users: weights of a sum over users begin as if it were their mean


@dataclass(frozen=True)
class Layout:
    """How numbers of a group stand in one row, for any number of users K.

    Attributes:
        parts: one after another, (numbers, whether so many of each user).
        lead: (first, last) of a user's own numbers, those that all see of the first user: its prompt, the server's.
        masked: whether the last of a user's own numbers says that it is present.
    """

    parts: tuple[tuple[int, bool], ...]
    lead: tuple[int, int] = (0, 0)
    masked: bool = False

    @property
    def each(self) -> int:
        """Numbers of one user."""
        return sum(size for size, of_each in self.parts if of_each)

    @property
    def common(self) -> int:
        """Numbers of the whole group."""
        return sum(size for size, of_each in self.parts if not of_each)

    @property
    def looked(self) -> int:
        """Numbers of the group as `look` gives them."""
        return self.common + self.lead[1] - self.lead[0]

    def width(self, users: int) -> int:
        """Numbers of a group of so many users."""
        return self.common + users * self.each

    def users(self, width: int) -> int:
        """K of a row of so many numbers."""
        return (width - self.common) // self.each

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (..., n) -> what concerns the group (..., c) and each user (..., K, u)."""
        users = self.users(rows.shape[-1])
        found = rows.split([size * (users if of_each else 1) for size, of_each in self.parts], -1)
        pairs = [(part, size, of_each) for part, (size, of_each) in zip(found, self.parts) if size]
        each = [part.unflatten(-1, (users, size)) for part, size, of_each in pairs if of_each]
        common = [part for part, _, of_each in pairs if not of_each]
        return common[0] if len(common) == 1 else torch.cat(common, -1), torch.cat(each, -1)

    def look(self, rows: torch.Tensor) -> Seen:
        """What `split` gives of states, the group's with what all see of the first user; and who is present (..., K, 1) or None."""
        common, users = self.split(rows)
        common = torch.cat([common, users[..., 0, slice(*self.lead)]], -1)
        return common, users, users[..., -1:] if self.masked else None

    def join(self, common: torch.Tensor, each: torch.Tensor) -> torch.Tensor:
        """What `split` has taken apart."""
        of_all = iter(common.split([size for size, of_each in self.parts if not of_each], -1))
        of_user = iter(each.split([size for size, of_each in self.parts if of_each], -1))
        return torch.cat([next(of_user).flatten(-2) if of_each else next(of_all) for _, of_each in self.parts], -1)


def seen_layout(service: Service) -> Layout:
    """Of what `Service.observe` shows."""
    traits, size = 5, service.source.embeddings.shape[1]
    parts = tuple((numbers, of_each) for _, _, numbers, of_each in service.observed())
    return Layout(parts, (traits, traits + size), service.config.fewest_users is not None)


def action_layout(config: ServiceConfig, shown: bool = False) -> Layout:
    """Of actions as `Service.decode` reads them, or as a critic sees them (`actors.allocation_shown`), powers twice."""
    _, stays, shared, device = config.action_parts
    powers = ((1, True),) * (2 if shown else 1)
    return Layout((*powers, (stays // config.users, True), (shared, False), (device // config.users, True)))


class SetNet(nn.Module):
    """Numbers of the group (..., c) and of each user (..., K, u) -> others of the group (..., p) and of each user (..., K, q).

    Two hidden layers, three eighths of `hidden` wide each, since there are several users to a group: an update costs as much as of a flat network.
    """

    def __init__(self, common: int, each: int, hidden: int, out: tuple[int, int]):
        super().__init__()
        self.hidden, width = hidden, max(1, 3 * hidden // 8)
        self.sizes = [width, out[0]]
        self.first, self.second = nn.Linear(common + each, width), nn.Linear(width, width)
        self.context, self.of_context = nn.Linear(width, width), nn.Linear(width, width + out[0])
        self.of_each = nn.Linear(width, out[1])
        with torch.no_grad():
            self.context.weight /= USUAL

    def forward(
        self, common: Sequence[torch.Tensor], users: Sequence[torch.Tensor], present: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the group, of the users, each in some parts, and who is present, see `Layout.look`.

        Of users who are not present the outcome means nothing.
        """
        size = users[0].shape[:-1]
        first = self.first(torch.cat([*users, *(part[..., None, :].expand(*size, -1) for part in common)], -1)).relu()
        context = self.context(total(first, present)).relu()
        told, of_all = self.of_context(context).split(self.sizes, -1)
        return of_all, self.of_each((self.second(first) + told[..., None, :]).relu())


def total(of_each: torch.Tensor, present: torch.Tensor | None) -> torch.Tensor:
    """Sum (..., q) over the users present, of (..., K, q) and (..., K, 1)."""
    return (of_each if present is None else of_each * present).sum(-2)
