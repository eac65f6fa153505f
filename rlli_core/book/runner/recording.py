"""The numbers of a notebook: told in its prose, recorded in the output of its last cell, and read back from there."""

import math
import numbers as numeric
import string
from collections.abc import Iterable

import nbformat
import numpy as np

from ...errors import InvalidArgument, check_number, check_text

NUMBERS = "application/vnd.rlli.numbers+json"


def record(**numbers: float) -> None:
    """Show `numbers` as a table under the cell and attach them to it, for the run record and the claims ledger.

    Args:
        numbers: name=value; names end in their unit (`_s`, `_mwh`, `_db`) where they have one, values are finite.

    Raises:
        InvalidArgument: no number, or a value that is not one.
    """
    from IPython.display import display

    if not numbers:
        raise InvalidArgument("numbers", numbers, "at least one name=value")
    for name, value in numbers.items():
        if not isinstance(value, numeric.Real) or not math.isfinite(value):
            raise InvalidArgument(name, value, "a finite number")
    plain = {name: int(v) if isinstance(v, numeric.Integral) else float(v) for name, v in numbers.items()}
    rows = "".join(f"<tr><td>{name}</td><td>{value:.6g}</td></tr>" for name, value in plain.items())
    table = {
        NUMBERS: plain,
        "text/html": f"<table><thead><tr><th>number</th><th>value</th></tr></thead><tbody>{rows}</tbody></table>",
        "text/plain": "\n".join(f"{name} = {value:.6g}" for name, value in plain.items()),
    }
    display(table, raw=True)


class _Prose(str):
    """Markdown where it can be shown, and the same text elsewhere."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


def say(text: str, **values: float | str) -> None:
    """Show `text` with `values` put in, as Markdown: prose that tells what was measured.

    Args:
        text: Markdown with fields of `str.format`, such as `{lost:.2f}`; each is one of `values` by its name.
        values: name=value, finite numbers and words; each is used.

    Raises:
        InvalidArgument: a number that is not finite, neither number nor word, or a name that is missing or not used.

    >>> say("All lose at most {lost:.2f} up to {limit:.0%}.", lost=0.0213, limit=0.03)
    All lose at most 0.02 up to 3%.
    """
    from IPython.display import display

    check_text("text", text)
    fields = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    for name in sorted(fields ^ set(values)):
        raise InvalidArgument(name, values.get(name), "both a field of the text and the name of a value")
    for name, value in values.items():
        if not isinstance(value, str) and not (isinstance(value, numeric.Real) and abs(value) < math.inf):
            raise InvalidArgument(name, value, "a finite number or a word")
    try:
        told = text.format(**values)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument("text", text, f"with formats that fit its values ({error})") from error
    display(_Prose(told))


def intervals(**samples: Iterable[float]) -> dict[str, float]:
    """The mean of each sample as `name`, and the ends of its 95 % interval as `name_low` and `name_high`; for `record`.

    The interval is Student's, so the values are to come from independent seeds. For a difference of two measurements on
    the same seeds pass the differences.

    Args:
        samples: name=values, two or more each.

    Raises:
        InvalidArgument: a sample of fewer than two values.

    >>> {name: round(value, 2) for name, value in intervals(score=[0.4, 0.5, 0.6]).items()}
    {'score': 0.5, 'score_low': 0.25, 'score_high': 0.75}
    """
    from scipy.stats import sem, t

    found: dict[str, float] = {}
    for name, sample in samples.items():
        values = _values(name, sample)
        mean = math.fsum(values) / len(values)
        half = float(t.ppf(0.975, len(values) - 1) * sem(values))
        found |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    return found


def percentiles(**samples: Iterable[float]) -> dict[str, float]:
    """The mean of each sample as `name`, and the ends of its middle 95 % as `name_low` and `name_high`; for `record`.

    For values of a bootstrap, each from data drawn anew: there the spread itself is the interval.

    Args:
        samples: name=values, two or more each.

    Raises:
        InvalidArgument: a sample of fewer than two values.

    >>> {name: round(value, 1) for name, value in percentiles(score=[0.4, 0.5, 0.6]).items()}
    {'score': 0.5, 'score_low': 0.4, 'score_high': 0.6}
    """
    found: dict[str, float] = {}
    for name, sample in samples.items():
        values = _values(name, sample)
        low, high = (float(np.quantile(values, share)) for share in (0.025, 0.975))
        found |= {name: math.fsum(values) / len(values), f"{name}_low": low, f"{name}_high": high}
    return found


def _values(name: str, sample: Iterable[float]) -> list[float]:
    """A sample checked."""
    try:
        values = [check_number(name, value, -math.inf) for value in sample]
    except TypeError as error:  # nothing to go through
        raise InvalidArgument(name, sample, "two numbers or more") from error
    if len(values) < 2:
        raise InvalidArgument(name, values, "two values or more: one has no spread")
    return values


def numbers_of(notebook: nbformat.NotebookNode) -> dict[str, float]:
    """The named numbers in the outputs of an executed notebook."""
    found: dict[str, float] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found.update(output.get("data", {}).get(NUMBERS, {}))
    return found
