"""The validated, frozen configuration that a notebook builds from its parameters cell.

    config = NotebookConfig.of(
        globals(),
        shared_steps=whole(0, 50),
        prompts=each(text()),
        bep=number(0, 0.5),
    )
    config.bep

The rules stand in the notebook, next to the parameters they are about, so that a reader who tweaks a value sees its range.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace

from ...errors import InvalidArgument, check_integer, check_number

Rule = Callable[[str, object], object]  # (name, value) -> the checked value, or InvalidArgument

# What IPython itself puts into a notebook's namespace.
_IPYTHON = {"In", "Out", "exit", "quit", "get_ipython", "open"}


def whole(low: int = 0, high: int | None = None) -> Rule:
    """A whole number in low..high."""
    return partial(check_integer, low=low, high=high)


def number(low: float, high: float = float("inf"), *, open_low: bool = False, open_high: bool = False) -> Rule:
    """A finite number in [low, high], ends excluded where said."""
    return partial(check_number, low=low, high=high, open_low=open_low, open_high=open_high)


def text(*, empty: bool = False) -> Rule:
    """A string, that says something unless it may be empty."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or not (empty or value.strip()):
            raise InvalidArgument(name, value, "a string" if empty else "a non-empty string")
        return value

    return check


def choice(*allowed: object) -> Rule:
    """One of `allowed`."""

    def check(name: str, value: object) -> object:
        if value not in allowed:
            raise InvalidArgument(name, value, "one of " + ", ".join(map(repr, allowed)))
        return value

    return check


def each(rule: Rule) -> Rule:
    """A list or tuple with at least one entry, each of which keeps `rule`; comes back as a tuple."""

    def check(name: str, value: object) -> tuple:
        if not isinstance(value, (list, tuple)) or not value:
            raise InvalidArgument(name, value, "a list with at least one entry")
        return tuple(rule(f"{name}[{i}]", item) for i, item in enumerate(value))

    return check


class NotebookConfig(SimpleNamespace):
    """Checked values as attributes; made by `of`, never changed afterwards."""

    @classmethod
    def of(cls, values: Mapping[str, object], **rules: Rule) -> "NotebookConfig":
        """Check `values` against one rule a name.

        Args:
            values: a mapping of parameters, or a notebook's `globals()`. Names that start with an underscore or are
                constants (all upper case), modules, functions and classes are not parameters.
            rules: what each parameter must be.

        Raises:
            InvalidArgument: a value breaks its rule, a parameter is missing, or there is one that no rule names. In a
                kernel where the cell ran before, later cells have left names of their own, so the last check is made
                on the first run only.

        >>> NotebookConfig.of({"bep": 0.03}, bep=number(0, 0.5)).bep
        0.03
        >>> NotebookConfig.of({"bep": 0.03, "sede": 7}, bep=number(0, 0.5))
        Traceback (most recent call last):
        rlli_core.errors.InvalidArgument: sede=7 is not allowed: sede must be absent; the parameters are: bep
        """
        names = ", ".join(rules)
        first_run = not any(isinstance(value, cls) for value in values.values())
        for name in _data_names(values) - set(rules) if first_run else ():
            raise InvalidArgument(name, values[name], f"absent; the parameters are: {names}")
        for name in rules:
            if name not in values:
                raise InvalidArgument(name, None, f"given; the parameters are: {names}")
        return cls(**{name: rule(name, values[name]) for name, rule in rules.items()})

    def __setattr__(self, name: str, value: object = None) -> None:
        raise AttributeError(f"{name}: a NotebookConfig is frozen; change the parameters cell and run it again")

    __delattr__ = __setattr__


def _data_names(values: Mapping[str, object]) -> set[str]:
    """Names in `values` that hold plain data and that neither Python nor IPython made."""
    plain = (bool, int, float, str, list, tuple, dict, set, type(None))
    return {
        name
        for name, value in values.items()
        if isinstance(value, plain) and not name.startswith("_") and not name.isupper() and name not in _IPYTHON
    }
