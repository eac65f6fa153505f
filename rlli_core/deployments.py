"""The deployments of Sec. III-B: who denoises the shared steps, and to whom the latent goes next.

`round.serve` is one server and many devices. Here whoever denoises may hand on, itself included: a *star* around a server or
around one of the devices, a *line* through a cluster; any tree will do. The stages are those of a round.

All shares of the chain lie on one grid, that of the longest way through the tree; a device with fewer own steps spreads them
over what is left, as in a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from PIL import Image

from .errors import InvalidArgument, check_able, check_choice, check_integer, check_list, check_number, check_seed, check_type
from .records import RECEIVERS, Handoff, SplitPlan
from .round import JOULES_PER_MWH, Scale

if TYPE_CHECKING:
    from .channel import Link
    from .diffusion.split import SplitDiffusion
    from .qoe.agent import PersonaAgent, Score
    from .qoe.persona import Persona

SCALE = Scale()


@dataclass(frozen=True)
class Device:
    """Who denoises: a phone by default, whose steps take what `round.Scale` says.

    Args:
        prompt: towards which it denoises, the steps that it shares as well as its own.
        own_steps: that finish its own picture, 0 or more; None for one that wants no picture.
        link: over which it receives; None where it is handed the latent itself, at no cost.
        power_w: of the packets sent to it, watts, 0 or more; with a link. `link.power_for_bep` gives that of a BEP.
        persona: the user's, where an agent is asked.
        step_energy_mwh: of one denoising step, mWh, 0 or more.
        step_s: seconds of one denoising step, 0 or more.
        ready_s: when it is ready to receive or to begin, in seconds after the round was asked for.

    Raises:
        InvalidArgument: a number outside its range, or one of link and power without the other.
    """

    prompt: str
    own_steps: int | None
    _: KW_ONLY
    link: Link | None = None
    power_w: float | None = None
    persona: Persona | None = None
    step_energy_mwh: float = SCALE.device_step_j / JOULES_PER_MWH
    step_s: float = SCALE.device_step_s
    ready_s: float = 0.0

    def __post_init__(self) -> None:
        if self.own_steps is not None:
            check_integer("own_steps", self.own_steps, 0)
        if self.link is not None:
            check_able("link", self.link, "transmit", "a Link or None")
        if (self.link is None) != (self.power_w is None):
            raise InvalidArgument("power_w", self.power_w, "given with a link, and only then")
        if self.power_w is not None:
            check_number("power_w", self.power_w, 0)
        for name in ("step_energy_mwh", "step_s", "ready_s"):
            check_number(name, getattr(self, name), 0)

    @classmethod
    def server(cls, prompt: str) -> Device:
        """Return an edge server, which wants no picture."""
        return cls(prompt, None, step_energy_mwh=SCALE.server_step_j / JOULES_PER_MWH, step_s=SCALE.server_step_s)


@dataclass(frozen=True)
class Topology:
    """Who hands the latent on to whom: a tree.

    Args:
        parents: of each device the number of the one it receives from, counted from 0; None for the one that begins.
        shared_steps: that each denoises before it hands on, 0 or more; the steps of its own picture come after them.

    Raises:
        InvalidArgument: unequal numbers, not exactly one that begins, or devices that are not reached from there.

    >>> Topology.star(3, 4, first=1).parents, Topology.line([2, 1, 0]).parents
    ((1, None, 1), (None, 0, 1))
    """

    parents: tuple[int | None, ...]
    shared_steps: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parents", tuple(check_list("parents", self.parents)))
        object.__setattr__(self, "shared_steps", tuple(check_list("shared_steps", self.shared_steps)))
        if len(self.shared_steps) != len(self.parents):
            raise InvalidArgument("shared_steps", self.shared_steps, f"as many as the parents, {len(self.parents)}")
        for steps in self.shared_steps:
            check_integer("shared_steps", steps, 0)
        for parent in self.parents:
            if parent is not None:
                check_integer("parents", parent, 0, len(self.parents) - 1)
        if self.parents.count(None) != 1 or len(self.order) < len(self.parents):
            raise InvalidArgument(
                "parents", self.parents, "a tree: None for one of them, from which all the others are reached"
            )

    @classmethod
    def star(cls, count: int, shared_steps: int, first: int = 0) -> Topology:
        """One of `count` denoises the shared steps and hands on to all the others: a server, or a device."""
        return cls.relayed(count, shared_steps, 1, first)

    @classmethod
    def relayed(cls, count: int, shared_steps: int, hops: int, first: int = 0) -> Topology:
        """The latent is handed on `hops` times: 1 is a star, count - 1 a line; the last relay serves all who are left.

        Args:
            count: devices, 1 or more; they follow on `first` in the order in which they are counted.
            shared_steps: of all relays together, spread evenly, the earlier ones taking what does not divide.
            hops: 1 to count - 1; a single device hands on to nobody.

        >>> Topology.relayed(4, 5, 2, first=3)
        Topology(parents=(3, 0, 0, None), shared_steps=(2, 0, 0, 3))
        """
        check_integer("first", first, 0, check_integer("count", count, 1) - 1)
        check_integer("hops", hops, 1, max(1, count - 1))
        check_integer("shared_steps", shared_steps, 0)
        others = [k for k in range(count) if k != first]
        relays = [first, *others[: hops - 1]]
        before = dict(zip(relays[1:], relays)) | dict.fromkeys(others[hops - 1 :], relays[-1])
        each, rest = divmod(shared_steps, hops)
        shares = {k: each + (place < rest) for place, k in enumerate(relays)}
        return cls(tuple(before.get(k) for k in range(count)), tuple(shares.get(k, 0) for k in range(count)))

    @classmethod
    def line(cls, shared_steps: Sequence[int], order: Sequence[int] | None = None) -> Topology:
        """Each denoises its share and hands on to the next: a cluster.

        Args:
            shared_steps: one a device.
            order: the devices in the order of the line; by default as they are counted.
        """
        count = len(check_list("shared_steps", shared_steps))
        order = list(range(count)) if order is None else check_list("order", order)
        if sorted(order) != list(range(count)):
            raise InvalidArgument("order", order, f"each of the {count} devices once")
        before = dict(zip(order[1:], order))
        return cls(tuple(before.get(k) for k in range(count)), tuple(shared_steps))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The devices, each after the one it receives from."""
        found = [k for k, parent in enumerate(self.parents) if parent is None]
        for k in found:  # grows on the way
            found += [child for child, parent in enumerate(self.parents) if parent == k]
        return tuple(found)

    @cached_property
    def steps_until(self) -> tuple[int, ...]:
        """Shared steps behind each device's own picture: those of all on the way to it, and its own."""
        until: dict[int | None, int] = {None: 0}
        for k in self.order:
            until[k] = until[self.parents[k]] + self.shared_steps[k]
        return tuple(until[k] for k in range(len(self.parents)))


@dataclass(frozen=True, eq=False)
class Share:
    """What one device got, made and spent.

    Attributes:
        received: what arrived; None where it began, or nothing was shared.
        image: None where it wants none.
        score: None without an agent or a picture.
        step_energy_mwh: of all steps that it denoised.
        transmit_energy_mwh: of all packets that it sent.
    """

    received: Handoff | None
    image: Image.Image | None
    score: Score | None
    step_energy_mwh: float
    transmit_energy_mwh: float

    @property
    def energy_mwh(self) -> float:
        """All that the device spent."""
        return self.step_energy_mwh + self.transmit_energy_mwh


@dataclass(frozen=True)
class Times:
    """When things happened to one device, in seconds after the round was asked for.

    Attributes:
        arrived_s: the latent was there; 0 where nothing was sent.
        started_s: it began to denoise; until then the latent lay in a store.
        handed_on_s: its shared steps were done.
        done_s: its own picture was done, or it had nothing more to do.
        served_s: its user had the picture: with all the others where the round is synchronous.
    """

    arrived_s: float
    started_s: float
    handed_on_s: float
    done_s: float
    served_s: float


@dataclass(frozen=True, eq=False)
class Deployed:
    """A round in one topology: the devices, and the share of each."""

    devices: tuple[Device, ...]
    topology: Topology
    shares: tuple[Share, ...]

    @property
    def qoe(self) -> float:
        """Sum of the scores, the first term of (27)."""
        return sum(share.score.value for share in self.shares if share.score is not None)

    @property
    def energy_mwh(self) -> float:
        """Sum over all devices, those that only serve included."""
        return sum(share.energy_mwh for share in self.shares)

    def worth(self, price_per_mwh: float) -> float:
        """Sum of the scores less the price of the energy: (27) with a price in place of its budgets."""
        return self.qoe - check_number("price_per_mwh", price_per_mwh, 0) * self.energy_mwh

    def times(self, synchronous: bool = True) -> tuple[Times, ...]:
        """When each device was served: steps times seconds a step, and the packets' airtime.

        Packets to several devices have a channel each; a device hands on before it turns to its own picture.

        Args:
            synchronous: there is no store, so that nobody begins before all are ready, and everybody waits for the slowest.
                Otherwise latents wait until a device is ready, and each is served when its own picture is done.
        """
        begin = (
            max(device.ready_s for device in self.devices) if check_type("synchronous", synchronous, bool, "a bool") else 0.0
        )
        found: dict[int | None, tuple[float, float, float, float]] = {}
        for k in self.topology.order:
            device, got, arrived = self.devices[k], self.shares[k].received, 0.0
            if got is not None:
                airtime = got.link.airtime_s if device.link is not None and got.link is not None else 0.0
                arrived = found[self.topology.parents[k]][2] + airtime
            started = max(arrived, begin, device.ready_s)
            handed = started + self.topology.shared_steps[k] * device.step_s
            found[k] = (arrived, started, handed, handed + (device.own_steps or 0) * device.step_s)
        last = max(done for *_, done in found.values())
        return tuple(Times(*found[k], last if synchronous else found[k][3]) for k in range(len(found)))

    def latency_s(self, synchronous: bool = True) -> float:
        """Mean over those who want a picture of the time from the request until they have it."""
        return fmean(t.served_s for t, device in zip(self.times(synchronous), self.devices) if device.own_steps is not None)


def deploy(
    chain: SplitDiffusion,
    devices: Sequence[Device],
    topology: Topology,
    seed: int,
    *,
    agent: PersonaAgent | None = None,
    receiver: str = "paper",
    flip_seeds: Sequence[int] | None = None,
) -> Deployed:
    """Run one round in a topology. Nothing is sent before the first shared step, and who receives nothing is alone.

    Without links and towards one prompt, the pictures at the ends of the longest ways are the uncut chain's, bit for bit.

    Args:
        devices: one a place of the topology; at least one wants a picture.
        seed: of the initial noise.
        agent: plays each user who has a picture; None asks nobody.
        receiver: "paper" or "noise-aware", of all, relays included; see `SplitDiffusion.go_on`.
        flip_seeds: of the bit flips on the way to each device; by default seed + k for device k.

    Raises:
        InvalidArgument: other numbers of devices, none who wants a picture, or as the single calls.
    """
    check_able("chain", chain, "go_on", "a SplitDiffusion")
    devices = [check_type("devices[...]", device, Device, "a Device") for device in check_list("devices", devices)]
    topology = check_type("topology", topology, Topology, "a Topology")
    seed, receiver = check_seed("seed", seed), check_choice("receiver", receiver, RECEIVERS)
    flips = [seed + k for k in range(len(devices))] if flip_seeds is None else check_list("flip_seeds", flip_seeds)
    if len(counts := {len(devices), len(topology.parents), len(flips)}) != 1:
        raise InvalidArgument("devices", sorted(counts), "one number: a device, a place of the topology, a seed each")
    drawn = [k for k, device in enumerate(devices) if device.own_steps is not None]
    if not drawn:
        raise InvalidArgument("devices", "own_steps None for all", "at least one who wants a picture")
    personas = [person for k in drawn if (person := devices[k].persona) is not None]
    if agent is not None:
        check_able("agent", agent, "scores", "a PersonaAgent or None")
        if len(personas) < len(drawn):
            raise InvalidArgument("persona", None, "given for each device that wants a picture, where an agent is asked")
    until = topology.steps_until
    longest = max(steps + (device.own_steps or 0) for steps, device in zip(until, devices))

    received: list[Handoff | None] = [None] * len(devices)
    handed: list[Handoff | None] = [None] * len(devices)
    sending = [0.0] * len(devices)
    for k in topology.order:
        device, parent, steps = devices[k], topology.parents[k], topology.shared_steps[k]
        got = None if parent is None else handed[parent]
        if got is not None and parent is not None:
            if device.link is not None:
                got = device.link.transmit(got, power_w=device.power_w, seed=flips[k])
                sending[parent] += got.link.energy_mwh or 0.0 if got.link is not None else 0.0
            received[k], handed[k] = got, chain.go_on(got, device.prompt, steps, receiver=receiver)
        elif steps:
            handed[k] = chain.server_denoise(device.prompt, SplitPlan(steps, longest - steps), seed)

    plans = [SplitPlan(until[k], devices[k].own_steps or 0) for k in drawn]
    prompts = [devices[k].prompt for k in drawn]
    starts = [handed[k] or chain.server_denoise(devices[k].prompt, plan, seed) for k, plan in zip(drawn, plans)]
    images = dict(zip(drawn, chain.device_denoises(starts, prompts, plans, batch_size=1, receiver=receiver)))
    scores: dict[int, Score] = {}
    if agent is not None:
        scores |= zip(drawn, agent.scores(list(images.values()), personas, prompts))
    done = [shared + (device.own_steps or 0) for shared, device in zip(topology.shared_steps, devices)]
    spent = [count * device.step_energy_mwh for count, device in zip(done, devices)]
    shares = tuple(Share(received[k], images.get(k), scores.get(k), spent[k], sending[k]) for k in range(len(devices)))
    return Deployed(tuple(devices), topology, shares)


def starters(
    chain: SplitDiffusion, devices: Sequence[Device], shared_steps: int, seed: int, **options: Any
) -> tuple[Deployed, ...]:
    """Device to device: the round of each who may begin; by `Deployed.worth`, for one, it can be said who should.

    Args:
        shared_steps: of whoever begins, before it hands on to all the others.
        options: those of `deploy`.
    """
    stars = [Topology.star(len(devices), shared_steps, first) for first in range(len(check_list("devices", devices)))]
    return tuple(deploy(chain, devices, star, seed, **options) for star in stars)
