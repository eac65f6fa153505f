"""Exceptions raised at the public doors of `rlli_core`.

Each message says what was wrong, the value received, and what is allowed.
"""

import math
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
LONGEST_SHOWN = 120  # characters of a refused value


class RlliError(Exception):
    """Base class of every error this package raises on purpose."""


def shown(value: object) -> str:
    """A value on one short line, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # what cannot even be shown
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


class InvalidArgument(RlliError, ValueError):
    """An argument is of the wrong type or outside its range."""

    def __init__(self, name: str, value: object, allowed: str):
        self.name, self.value, self.allowed = name, value, allowed
        super().__init__(f"{name}={shown(value)} is not allowed: {name} must be {allowed}")


class ModelNotFound(RlliError, OSError):
    """A model folder is missing, incomplete, or a hub id cannot be reached."""


class NoCheckout(RlliError, OSError):
    """What comes with the repository is not there: the package was installed without it."""


class UnusableFile(RlliError, OSError):
    """A file is damaged, or a file or folder cannot be read or written."""


class NoAnswer(RlliError, OSError):
    """Another machine cannot be reached, breaks off, or refuses what it was asked for."""


class UnsupportedPipeline(RlliError, TypeError):
    """A diffusion pipeline cannot be cut (for example: its scheduler keeps history)."""


class UnsupportedModel(RlliError, TypeError):
    """A vision-language model cannot be asked for a rating (for example: it has no chat template)."""


class UnreadableScore(RlliError, ValueError):
    """A persona agent did not answer with a rating."""


class CorruptPacket(RlliError, ValueError):
    """A received packet's protected header fails its checksum or does not parse."""


@dataclass(frozen=True)
class Failure:
    """Why a notebook failed: the exception's type by its name, and what there is to say."""

    error_type: str
    message: str


class RunFailed(RlliError, RuntimeError):
    """A run ended without doing its work.

    Attributes:
        failures: what failed, by the name of the notebook, or of the point of a sweep; empty where nothing was started.
    """

    def __init__(self, message: str = "", failures: Mapping[str, Failure] | None = None):
        self.failures = dict(failures or {})
        super().__init__(message or "\n".join(f"{name}: {failure.message}" for name, failure in self.failures.items()))

    @property
    def bad_argument(self) -> bool:
        """Whether a notebook refused the value of a parameter."""
        return any(failure.error_type == InvalidArgument.__name__ for failure in self.failures.values())


class LedgerError(RlliError, ValueError):
    """The claims ledger says something that cannot be computed from the recorded numbers."""


def first_line(error: BaseException) -> str:
    """What an error says, on one line; its type where it says nothing."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if len(line) <= 4 * LONGEST_SHOWN else f"{line[: 4 * LONGEST_SHOWN]}..."


def told(work: Callable[[], object]) -> int:
    """Do the work of a program; returns its exit status, with the error told in one line on standard error."""
    try:
        work()
    except (RlliError, OSError) as error:
        said = str(error) if isinstance(error, RlliError) else f"{type(error).__name__}: {first_line(error)}"
        print(f"rlli: {said}", file=sys.stderr)
        return 2 if isinstance(error, InvalidArgument) else 1
    except KeyboardInterrupt:
        print("rlli: interrupted; what was done is kept", file=sys.stderr)
        return 130
    return 0


MAX_SEED = 2**63 - 1  # what torch takes


def check_seed(name: str, value: object) -> int:
    """Return a seed that torch takes, 0 or more, or raise `InvalidArgument`."""
    return check_integer(name, value, 0, MAX_SEED)


def check_type(name: str, value: object, kind: type[T] | tuple[type[T], ...], allowed: str) -> T:
    """Return `value` if it is of that type, or raise `InvalidArgument`."""
    if not isinstance(value, kind):
        raise InvalidArgument(name, value, allowed)
    return value


def check_choice(name: str, value: object, options: Iterable[str]) -> str:
    """Return `value` if it is one of some words, or raise `InvalidArgument`."""
    if not isinstance(value, str) or value not in options:
        raise InvalidArgument(name, value, f"one of {', '.join(options)}")
    return value


def check_text(name: str, value: object) -> str:
    """Return `value` if it is a string that UTF-8 can hold (no lone half of a surrogate pair), or raise `InvalidArgument`."""
    if not isinstance(value, str) or value.encode("utf-8", "ignore").decode() != value:
        raise InvalidArgument(name, value, "a string")
    return value


def check_list(name: str, values: object, least: int = 1) -> list:
    """Return a list, tuple or range of at least so many entries as a list, or raise `InvalidArgument`."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) < least:
        raise InvalidArgument(
            name, values, "a list" + (f" of at least {least} entr{'y' if least == 1 else 'ies'}" if least else "")
        )
    return list(values)


def check_able(name: str, value: T, method: str, allowed: str) -> T:
    """Return `value` if it can do what is asked of it, has that method, or raise `InvalidArgument`."""
    if not callable(getattr(value, method, None)):
        raise InvalidArgument(name, value, allowed)
    return value


def check_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int, or raise `InvalidArgument` unless low <= value <= high."""
    if type(value) is int or (isinstance(value, numbers.Integral) and not isinstance(value, bool)):
        whole = int(value)
        if low <= whole and (high is None or whole <= high):
            return whole
    raise InvalidArgument(
        name, value, f"a whole number of at least {low}" if high is None else f"a whole number in {low}..{high}"
    )


def check_number(
    name: str, value: object, low: float, high: float = float("inf"), *, open_low: bool = False, open_high: bool = False
) -> float:
    """Return `value` as a finite float in [low, high] (ends excluded where said), or raise `InvalidArgument`."""
    if type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool)):
        try:
            number = float(value)
        except OverflowError:  # an integer or a fraction beyond all floats
            number = math.nan
        above = low < number if open_low else low <= number
        if above and (number < high if open_high else number <= high) and math.isfinite(number):
            return number
    ends = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high or high == math.inf else ']'}"
    raise InvalidArgument(name, value, f"a finite number in {ends}")
