"""The claims ledger: what the paper says, checked on the numbers that the notebooks recorded.

`data/claims.yaml` holds the claims C1 to C15, each with checks: a sentence, an expression over recorded numbers, and the
limits that it has to keep. The verdict of a claim is computed here from its checks and stands nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from ...errors import LedgerError
from ...files import DATA
from ..runner import notebooks, runs
from .expressions import evaluate, names_in

LEDGER = DATA / "claims.yaml"
REPRODUCED, PARTLY, NOT_REPRODUCED, NEEDS_GPU = "reproduced", "partly", "not reproduced", "needs a GPU"
SYMBOLS = {REPRODUCED: "✓", PARTLY: "◐", NOT_REPRODUCED: "✗", NEEDS_GPU: "…"}


@dataclass(frozen=True)
class Check:
    """One measurable part of a claim; see the head of `data/claims.yaml`."""

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

    @property
    def required(self) -> str:
        """The limits in words."""
        if self.at_least is not None and self.at_most is not None:
            return f"{show(self.at_least)} to {show(self.at_most)}"
        return f"at least {show(self.at_least)}" if self.at_least is not None else f"at most {show(self.at_most)}"

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
    measured here; `reason` says what one has to know about the outcome."""

    id: str
    title: str
    where: str
    claim: str
    paper: str
    notebook: str
    section: str
    checks: tuple[Check, ...]
    reason: str = ""


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
    """All claims and figures, and how near a recorded number must be to the one on the page."""

    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    relative: float
    absolute: float


@dataclass(frozen=True)
class Source:
    """Numbers of one notebook, and the run that they come from; `origin` is "committed notebook" or "latest run"."""

    notebook: str
    numbers: Mapping[str, float]
    profile: str
    seeds: Mapping[str, object]
    parameters: Mapping[str, object]
    origin: str
    about: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A check with what was measured. All are None where the number needs a GPU and was not recorded.

    `clear` is whether the whole interval is on the same side of the limits as the value; None without an interval.
    """

    check: Check
    value: float | None = None
    low: float | None = None
    high: float | None = None
    holds: bool | None = None
    clear: bool | None = None


@dataclass(frozen=True)
class Finding:
    """A claim, the results of its checks, and the runs that they come from, by notebook."""

    claim: Claim
    results: tuple[Result, ...]
    sources: Mapping[str, Source]

    @property
    def verdict(self) -> str:
        """Computed from the checks: all hold, some, none; or nothing can be said without a GPU.

        What follows from assumed numbers by arithmetic counts only where nothing was measured.
        """
        known = [result for result in self.results if result.holds is not None]
        counted = [result.holds for result in known if not result.check.arithmetic] or [result.holds for result in known]
        if not counted:
            return NEEDS_GPU
        return REPRODUCED if all(counted) else PARTLY if any(counted) else NOT_REPRODUCED

    @property
    def count(self) -> str:
        """How many checks hold, in words."""
        known = [result for result in self.results if result.holds is not None]
        holding = [result for result in known if result.holds]
        waiting = len(self.results) - len(known)
        only = ", by arithmetic" if holding and all(result.check.arithmetic for result in holding) else ""
        return f"{len(holding)} of {len(known)} checks hold{only}" + (f", {waiting} more need a GPU" if waiting else "")


def read(path: Path = LEDGER) -> Ledger:
    """The ledger in `path`.

    Raises:
        LedgerError: an entry that is unknown or missing, an id twice, a check without limits, an unreadable expression.
    """
    text = yaml.safe_load(path.read_text())
    try:
        claims = tuple(_claim(entry) for entry in text["claims"])
        figures = tuple(
            Figure(**entry | {key: tuple(entry.get(key, ())) for key in ("pages", "claims")}) for entry in text["figures"]
        )
        ledger = Ledger(claims, figures, **text["agreement"])
    except (TypeError, KeyError) as error:
        raise LedgerError(f"{path.name}: {error}: is an entry missing or misspelt?") from error
    ids = [claim.id for claim in claims]
    for known in (ids, [figure.paper for figure in figures]):
        if twice := {name for name in known if known.count(name) > 1}:
            raise LedgerError(f"{path.name}: {', '.join(sorted(twice))} stands there twice")
    if strange := {name for figure in figures for name in figure.claims} - set(ids):
        raise LedgerError(f"{path.name}: a figure names {', '.join(sorted(strange))}, and the claims are {', '.join(ids)}")
    return ledger


def _claim(entry: Mapping) -> Claim:
    checks = []
    for k, given in enumerate(entry["checks"], start=1):
        given = {"notebook": entry["notebook"], **given}
        if "interval" in given:
            given["interval"] = tuple(given["interval"])
        check = Check(id=f"{entry['id']}.{k}", **given)
        if check.at_least is None and check.at_most is None:
            raise LedgerError(f"{check.id} has neither at_least nor at_most, so it could not fail")
        if "|" in check.says:
            raise LedgerError(f"{check.id}: a sentence with | in it would break the table on the page")
        names_in(check.value)  # refuses what cannot be read
        checks.append(check)
    if not checks:
        raise LedgerError(f"{entry['id']} has no check")
    return Claim(**{**entry, "checks": tuple(checks)})


def judge(claim: Claim, sources: Mapping[str, Source]) -> Finding:
    """Compute the checks of `claim` from the numbers of each notebook.

    Raises:
        LedgerError: no such notebook, or a number that is needed was not recorded and is not one that needs a GPU.
    """
    results = []
    for check in claim.checks:
        if check.notebook not in sources:
            raise LedgerError(f"{check.id}: there is no notebook {check.notebook!r} among {', '.join(sources)}")
        numbers = sources[check.notebook].numbers
        if check.gpu and not names_in(check.value) <= set(numbers):
            results.append(Result(check))
            continue
        try:
            value = evaluate(check.value, numbers)
            low, high = (evaluate(repr(name), numbers) for name in check.interval) if check.interval else (None, None)
        except LedgerError as error:
            raise LedgerError(
                f"{check.id}, {sources[check.notebook].origin} of {check.notebook}: {error}; "
                f"rlli run {check.notebook} makes it anew"
            ) from error
        holds = check.keeps(value)
        clear = check.keeps(low) == check.keeps(high) == holds if check.interval else None
        results.append(Result(check, value, low, high, holds, clear))
    return Finding(claim, tuple(results), {check.notebook: sources[check.notebook] for check in claim.checks})


def findings(ledger: Ledger, sources: Mapping[str, Source]) -> list[Finding]:
    """Every claim, judged."""
    return [judge(claim, sources) for claim in ledger.claims]


def committed() -> dict[str, Source]:
    """What the committed, executed notebooks hold, by name."""
    found = {}
    for name in notebooks.names():
        notebook = runs.read(notebooks.find(name))
        about = dict(notebook.metadata.get("rlli", {}))
        parameters = {key: parameter.value for key, parameter in notebooks.parameters_of(notebook).items()}
        found[name] = Source(
            name, runs.numbers_of(notebook), about.get("profile", "not run"), runs.seeds_of(parameters), parameters,
            "committed notebook", about,
        )  # fmt: skip
    return found


def latest(profile: str) -> dict[str, Source]:
    """What the latest runs of `profile` on this machine recorded; where a notebook was not run, what is committed."""
    found = committed()
    for name in found:
        record = runs.read_record(name, profile)
        if record:
            about = record | {"peak_memory_mib": round(record["peak_memory_bytes"] / 2**20)}
            found[name] = Source(
                name, record["numbers"], profile, record["seeds"], record["parameters"], "latest run", about
            )  # fmt: skip
    return found


def show(value: float) -> str:
    """A number as tables have it: three digits, no exponent where it can be helped."""
    if value == 0 or value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def as_data(found: Sequence[Finding]) -> list[dict]:
    """The findings as plain data, for `rlli claims --json`."""
    return [
        {
            **{key: value for key, value in asdict(finding.claim).items() if key != "checks"},
            "verdict": finding.verdict,
            "sources": [
                {"notebook": s.notebook, "origin": s.origin, "profile": s.profile, "seeds": dict(s.seeds)}
                for s in finding.sources.values()
            ],
            "checks": [
                asdict(r.check) | {"measured": r.value, "low": r.low, "high": r.high, "holds": r.holds, "clear": r.clear}
                for r in finding.results
            ],
        }
        for finding in found
    ]
