"""Who a persona agent is: five traits, and the people of `data/personas.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

from ..errors import InvalidArgument, check_number
from ..files import DATA, of_checkout, read_yaml

LEVELS = ("very low", "low", "middling", "high", "very high")


@dataclass(frozen=True)
class Persona:
    """A Big Five vector u_k = [o, c, e, a, n], eq. (25).

    Args:
        openness, conscientiousness, extraversion, agreeableness, neuroticism: in [0, 1], 0.5 is the average person.

    Raises:
        InvalidArgument: a trait that is not a number in [0, 1].

    >>> Persona.of([0.9, 0.2, 0.1, 0.1, 0.5]).levels["openness"]
    'very high'
    """

    openness: float
    conscientiousness: float
    extraversion: float
    agreeableness: float
    neuroticism: float

    def __post_init__(self) -> None:
        for trait in TRAITS:
            object.__setattr__(self, trait, check_number(trait, getattr(self, trait), 0, 1))

    @classmethod
    def of(cls, vector: object) -> Persona:
        """Return the persona of five numbers in the paper's order O, C, E, A, N."""
        try:
            values = list(vector) if hasattr(vector, "__iter__") and not isinstance(vector, (str, dict)) else None
        except TypeError:  # an array without a dimension
            values = None
        if values is None or len(values) != len(TRAITS):
            raise InvalidArgument("vector", vector, "five numbers in the order " + ", ".join(TRAITS))
        return cls(*(float(v) if hasattr(v, "dtype") else v for v in values))

    @classmethod
    def named(cls, name: str) -> Persona:
        """Return a person of `data/personas.yaml`, such as "GA1"."""
        if not isinstance(name, str) or name not in people():
            raise InvalidArgument("name", name, "one of " + ", ".join(people()))
        return cls.of(people()[name]["traits"])

    @property
    def vector(self) -> tuple[float, ...]:
        """The five traits in the order O, C, E, A, N."""
        return tuple(getattr(self, trait) for trait in TRAITS)

    @property
    def levels(self) -> dict[str, str]:
        """Each trait in words, a fifth of the range each."""
        return {trait: LEVELS[min(4, int(5 * value))] for trait, value in zip(TRAITS, self.vector)}


TRAITS = tuple(field.name for field in fields(Persona))


@cache
def people() -> dict[str, dict]:
    """`data/personas.yaml`: name -> title, traits (O, C, E, A, N) and source."""
    return read_yaml(of_checkout(DATA / "personas.yaml"))
