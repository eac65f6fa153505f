"""What the explorer and its panel tell each other, declared once a language: here, and in `static/sources.mjs`.

One rule for names: a field that is `shared_steps` in Python is `sharedSteps` in JavaScript and on the way there. Files that
Python writes, such as `atlas.json`, keep Python's names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

from ...errors import InvalidArgument


@dataclass(frozen=True)
class Message:
    """A record that crosses between Python and JavaScript."""

    @classmethod
    def of(cls, message: Mapping[str, object]) -> Self:
        """The record that JavaScript sent; what its fields hold is checked by the stage that takes it.

        Raises:
            InvalidArgument: a field too many or too few.
        """
        names = {camel_case(field.name): field.name for field in fields(cls)}
        if message.keys() != names.keys():
            raise InvalidArgument(cls.__name__, sorted(message), f"the fields {', '.join(names)}")
        return cls(**{names[name]: value for name, value in message.items()})

    def told(self) -> dict[str, object]:
        """The record as JavaScript takes it."""
        return {camel_case(field.name): _told(getattr(self, field.name)) for field in fields(self)}


def camel_case(name: str) -> str:
    """JavaScript's form of a name.

    >>> camel_case("shared_steps")
    'sharedSteps'
    """
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _told(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_told(one) for one in value]
    return value.told() if isinstance(value, Message) else value


@dataclass(frozen=True)
class User(Message):
    """Where the controls of one device stand.

    Attributes:
        prompt: what the user wants.
        device_steps: t_k.
        bep: bit error probability on the way to the device, in [0, 0.5].
        restart: timestep at which the device starts, lifted to the noise of what arrived; None where the receiver leaves it, or
            for a device that is alone where its grid begins.
        person: who judges: a name of `data/personas.yaml`, or five traits.
        alone: whether the user stays out of the sharing.
    """

    prompt: str
    device_steps: int
    bep: float
    restart: int | None
    person: str | Sequence[float]
    alone: bool


@dataclass(frozen=True)
class State(Message):
    """Where all controls stand.

    Attributes:
        server_prompt: what the server draws.
        shared_steps: t0.
        channel: number of the channel to all devices, in `Config.channels`; says what power a bit error probability takes.
        seed: of the initial noise, and of the bit flips of all devices, so that they differ in nothing else.
        receiver: of all devices, one of `records.RECEIVERS`.
        users: one a device.
    """

    server_prompt: str
    shared_steps: int
    channel: int
    seed: int
    receiver: str
    users: tuple[User, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "users", tuple(u if isinstance(u, User) else User.of(u) for u in self.users))


@dataclass(frozen=True)
class Picture(Message):
    """One picture of a round, a PNG in the message's buffer; no buffer where nothing was sent.

    Attributes:
        stage: "sent", "received" or "image", as in `round.Stage`; "lone" is the device alone at its best start.
        device: counted from 0; None for the server's.
        lowest: the lowest timestep from which the device may start on what it received; None for the other stages.
        flipped: bits that arrived wrong; None for the other stages.
        scores: name of a person to the score, as far as they are known, with "" for the judge; none but for "image" and "lone".
    """

    stage: str
    device: int | None
    lowest: int | None
    flipped: int | None
    scores: dict[str, float]


@dataclass(frozen=True)
class Choice(Message):
    """What the policy or the optimum chooses.

    Attributes:
        shared_steps: t0.
        device_steps: t_k, one a device, as are the next.
        powers_w: transmit powers in watts.
        beps: the bit error probabilities that follow on the state's channel.
    """

    shared_steps: int
    device_steps: tuple[int, ...]
    powers_w: tuple[float, ...]
    beps: tuple[float, ...]


@dataclass(frozen=True)
class Channel(Message):
    """A channel to the devices.

    Attributes:
        name: in words.
        gain_db: gain during the packet, in dB; None averages over the fading.
        bep_by_power: pairs of transmit power in watts and BEP, see `atlas.bep_by_power`.
    """

    name: str
    gain_db: float | None
    bep_by_power: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Config(Message):
    """What the panel is made of.

    Attributes:
        groups: prompts that may come together and were worked out, the server's first.
        prompts: all that may come together, to suggest some.
        people: name to title and traits of all who can judge.
        traits: their names, in that order.
        beps, restarts: places of the sliders.
        channels: that there are.
        receivers: the paper's first.
        max_shared_steps, max_device_steps: their ends.
        start: where they stand at first.
        whole_page: whether the panel takes the width of its page.
        best_starts: pairs of own steps, rising, and the start that serves a device alone best; None is its own grid.
        step_energy_mwh, server_step_energy_mwh: of one denoising step.
        step_s, server_step_s: seconds of one denoising step.
        airtime_s: seconds that a latent is on air.
        payload_bits: bits of a latent.
        latent_shape: (1, C, h, w).
        flip_stream: number that keeps the draws of bit flips apart from others of the same seed.
    """

    groups: tuple[tuple[str, ...], ...]
    prompts: tuple[str, ...]
    people: dict[str, dict]
    traits: tuple[str, ...]
    beps: tuple[float, ...]
    restarts: tuple[int, ...]
    channels: tuple[Channel, ...]
    receivers: tuple[str, ...]
    max_shared_steps: int
    max_device_steps: int
    start: State
    whole_page: bool
    best_starts: tuple[tuple[int, int | None], ...]
    step_energy_mwh: float
    server_step_energy_mwh: float
    step_s: float
    server_step_s: float
    airtime_s: float
    payload_bits: int
    latent_shape: tuple[int, ...]
    flip_stream: int
