"""The ledger as it is written in `data/claims.yaml`: claims and titles with their checks, and the paper's figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import LedgerError
from ...files import DATA, of_checkout, read_yaml
from .expressions import names_in

LEDGER = DATA / "claims.yaml"
OWN = {"own": True, "where": "this book", "paper": ""}  # what an own claim need not say


@dataclass(frozen=True)
class Check:
    """One measurable part of a claim or of a title; see the head of `data/claims.yaml`."""

    id: str
    says: str
    notebook: str
    value: str
    at_least: float | None = None
    at_most: float | None = None
    interval: tuple[str, str] | None = None
    timing: bool = False
    gpu: bool = False
    arithmetic: bool = False
    reading: str = ""
    untestable: "Check | None" = None

    @property
    def required(self) -> str:
        """The limits in words."""
        low, high = (None if limit is None else show(limit) for limit in (self.at_least, self.at_most))
        return f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"

    @property
    def compared(self) -> bool:
        """Whether another run must come to the same value: not where it is a time of this machine."""
        return not self.timing and not any(name.endswith(("_s", "_ms")) for name in names_in(self.value))

    def keeps(self, value: float) -> bool:
        """Whether `value` is within the limits."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: `where` it stands there, the `claim` in our words, what the `paper` has for it, and where it is
    measured here; `found` is one sentence of what came out, `reason` says what one has to know about the outcome, `reading` which of several the paper's text supports.

    An `own` claim is this book's, beyond the paper: it stands nowhere there.
    """

    id: str
    title: str
    where: str
    claim: str
    paper: str
    notebook: str
    section: str
    checks: tuple[Check, ...]
    reason: str = ""
    reading: str = ""
    own: bool = False
    found: str = ""


@dataclass(frozen=True)
class Title:
    """The first heading of a notebook, and the checks of what it states; with `topic` it states no result."""

    notebook: str
    title: str
    checks: tuple[Check, ...] = ()
    topic: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure of the paper, the notebooks that have it here, first the one to open, and whether the explorer turns it."""

    paper: str
    shows: str
    pages: tuple[str, ...]
    claims: tuple[str, ...] = ()
    note: str = ""
    explorer: bool = False


@dataclass(frozen=True)
class Ledger:
    """All claims of the paper, the book's own, titles and figures, and how near a recorded number must be to the one in the book."""

    claims: tuple[Claim, ...]
    titles: tuple[Title, ...]
    figures: tuple[Figure, ...]
    relative: float
    absolute: float
    own: tuple[Claim, ...] = ()

    @property
    def checks(self) -> list[Check]:
        """Those of all claims and titles."""
        entries: tuple[Claim | Title, ...] = (*self.claims, *self.own, *self.titles)
        return [check for entry in entries for check in entry.checks]


def read(path: Path = LEDGER) -> Ledger:
    """The ledger in `path`.

    Raises:
        UnusableFile: it is missing or damaged.
        LedgerError: an entry that is unknown or missing, one that is there twice, a check without limits, an unreadable
            expression, a reading that no check has, a title without a check that is not a topic.
    """
    text = read_yaml(of_checkout(path), "claims", "titles", "figures", "agreement")
    try:
        ledger = Ledger(
            tuple(map(_claim, text["claims"])), tuple(map(_title, text["titles"])),
            tuple(Figure(**entry | {key: tuple(entry.get(key, ())) for key in ("pages", "claims")}) for entry in text["figures"]),
            **text["agreement"], own=tuple(_claim(OWN | entry) for entry in text.get("own", ())),
        )  # fmt: skip
    except LedgerError:
        raise
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise LedgerError(f"{path.name}: {error}: is an entry missing or misspelt?") from error
    ids = [claim.id for claim in (*ledger.claims, *ledger.own)]
    for known in (ids, [title.notebook for title in ledger.titles], [figure.paper for figure in ledger.figures]):
        if twice := {name for name in known if known.count(name) > 1}:
            raise LedgerError(f"{path.name}: {', '.join(sorted(twice))} stands there twice")
    if strange := {name for figure in ledger.figures for name in figure.claims} - set(ids):
        raise LedgerError(f"{path.name}: a figure names {', '.join(sorted(strange))}, and the claims are {', '.join(ids)}")
    return ledger


def show(value: float) -> str:
    """A number as tables have it: three digits, no exponent where it can be helped."""
    if value == 0 or value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _claim(entry: Mapping) -> Claim:
    entry = dict(entry)
    given, untestable = entry.pop("checks"), entry.pop("untestable", None)
    checks = tuple(
        _check({"id": f"{entry['id']}.{k}", "notebook": entry["notebook"], "untestable": untestable} | check)
        for k, check in enumerate(given, start=1)
    )
    if not checks:
        raise LedgerError(f"{entry['id']} has no check")
    readings = {check.reading for check in checks} - {""}
    if readings and entry.get("reading") not in readings:
        raise LedgerError(f"{entry['id']} needs a reading that the paper's text supports, one of {', '.join(sorted(readings))}")
    return Claim(**entry, checks=checks)


def _title(entry: Mapping) -> Title:
    name, checks = entry["notebook"], entry.get("checks", ())
    if bool(checks) == bool(entry.get("topic")):
        raise LedgerError(f"the title of {name} needs a check of what it states, or else topic: true where it states no result")
    return Title(
        **{**entry, "checks": tuple(_check({"id": f"{name}, title", "notebook": name, "says": ""} | c) for c in checks)}
    )


def _check(given: Mapping) -> Check:
    given = dict(given)
    if given.get("untestable"):
        given["untestable"] = _check(given["untestable"] | {"id": f"{given['id']}, untestable", "notebook": given["notebook"]})
    if "interval" in given:
        given["interval"] = tuple(given["interval"])
    check = Check(**given)
    if check.at_least is None and check.at_most is None:
        raise LedgerError(f"{check.id} has neither at_least nor at_most, so it could not fail")
    if "|" in check.says:
        raise LedgerError(f"{check.id}: a sentence with | in it would break the table on the page")
    names_in(check.value)  # refuses what cannot be read
    return check
