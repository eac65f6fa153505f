"""The claims ledger: what the paper says, checked on the numbers that the notebooks recorded.

`data/claims.yaml` holds the paper's claims C1 to C15 and the book's own from H1 on, each with checks: a sentence, an expression over recorded numbers, and the
limits that it has to keep. The verdict of a claim is computed here from its checks and stands nowhere else. The same file
ties the title of each notebook to checks of what it states.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from ...errors import LedgerError
from .entries import Check, Claim, Ledger, read, show
from .expressions import evaluate, filled, names_in
from .sources import Source, committed, latest, numbers_for

__all__ = ["SYMBOLS", "Check", "Claim", "Finding", "Ledger", "Result", "Source", "as_data", "check_titles", "committed"]
__all__ += ["findings", "judge", "latest", "read", "show"]

REPRODUCED, PARTLY, NOT_REPRODUCED, NEEDS_GPU = "reproduced", "partly", "not reproduced", "needs a GPU"
UNTESTABLE, ARITHMETIC = "not testable here", "by arithmetic only"
OWN_WORDS = {REPRODUCED: "holds", PARTLY: "holds in part", NOT_REPRODUCED: "does not hold"}  # of a claim that is the book's own
SYMBOLS = {REPRODUCED: "✓", PARTLY: "◐", NOT_REPRODUCED: "✗", NEEDS_GPU: "…", UNTESTABLE: "○", ARITHMETIC: "="}


@dataclass(frozen=True)
class Result:
    """A check with what was measured. All are None where the number needs a GPU and was not recorded.

    `clear` is whether the whole interval is on the same side of the limits as the value; None without an interval.
    `untestable` is why the check could not have come out otherwise here, with the numbers that say so; else empty.
    """

    check: Check
    value: float | None = None
    low: float | None = None
    high: float | None = None
    holds: bool | None = None
    clear: bool | None = None
    untestable: str = ""

    @property
    def outcome(self) -> str:
        """In words, as the table of a claim has it."""
        if self.holds is None:
            return NEEDS_GPU
        if self.untestable:
            return f"{SYMBOLS[UNTESTABLE]} {UNTESTABLE}"
        kind = ", by arithmetic" if self.check.arithmetic else ", within its spread" if self.clear is False else ""
        return f"{'✓ holds' if self.holds else '✗ fails'}{kind}"


@dataclass(frozen=True)
class Finding:
    """A claim, the results of its checks, the runs that they come from, by notebook, and reason and finding with their numbers."""

    claim: Claim
    results: tuple[Result, ...]
    sources: Mapping[str, Source]
    reason: str = ""
    found: str = ""

    @property
    def verdict(self) -> str:
        """Computed from the checks, of several readings from those of the one that the paper's text supports."""
        found = verdict(self._read_as(self.claim.reading))
        return OWN_WORDS.get(found, found) if self.claim.own else found

    @property
    def symbol(self) -> str:
        """Of the verdict."""
        return SYMBOLS[verdict(self._read_as(self.claim.reading))]

    @property
    def count(self) -> str:
        """How many checks hold, in words."""
        return count(self._read_as(self.claim.reading))

    @property
    def readings(self) -> list[dict[str, str]]:
        """For each reading of the claim its verdict; none where it can be read in one way only."""
        names = list(dict.fromkeys(result.check.reading for result in self.results if result.check.reading))
        kept = {name: self._read_as(name) for name in names}
        return [
            {"reading": name, "verdict": verdict(rs), "symbol": SYMBOLS[verdict(rs)], "count": count(rs)}
            for name, rs in kept.items()
        ]

    @property
    def summary(self) -> str:
        """Verdict and count in one line, the other readings beside them."""
        others = [r for r in self.readings if r["reading"] != self.claim.reading]
        beside = [f"{r['symbol']} {r['count']} if read as “{r['reading']}”" for r in others]
        counts = "; ".join([self.count, *beside]).replace(" checks hold", "")
        return f"{self.symbol} {self.verdict} ({counts})"

    def _read_as(self, reading: str) -> list[Result]:
        return [result for result in self.results if result.check.reading in ("", reading)]


def _sorted(results: Iterable[Result]) -> tuple[list[bool], list[bool], int, int]:
    """Which of the measured checks hold, and of those by arithmetic; how many are not testable here, and need a GPU."""
    known = [result for result in results if result.holds is not None]
    able = [result for result in known if not result.untestable]
    measured = [bool(result.holds) for result in able if not result.check.arithmetic]
    return (
        measured,
        [bool(r.holds) for r in able if r.check.arithmetic],
        len(known) - len(able),
        len(list(results)) - len(known),
    )


def verdict(results: Sequence[Result]) -> str:
    """All measured checks hold, some, or none. Where nothing counts: why, since arithmetic alone makes no verdict."""
    measured, by_arithmetic, untestable, _ = _sorted(results)
    if measured:
        return REPRODUCED if all(measured) else PARTLY if any(measured) else NOT_REPRODUCED
    return UNTESTABLE if untestable else ARITHMETIC if by_arithmetic else NEEDS_GPU


def count(results: Sequence[Result]) -> str:
    """How many checks hold, and how many do not count, in words."""
    measured, by_arithmetic, untestable, waiting = _sorted(results)
    if not measured and untestable:
        return f"what its {untestable} checks give was settled beforehand"
    if not measured and by_arithmetic:
        return f"{sum(by_arithmetic)} of {len(by_arithmetic)} checks hold, by arithmetic"
    more = {"by arithmetic": len(by_arithmetic), "settled beforehand": untestable, "need a GPU": waiting}
    return f"{sum(measured)} of {len(measured)} checks hold" + "".join(f", {n} more {what}" for what, n in more.items() if n)


def judge(claim: Claim, sources: Mapping[str, Source]) -> Finding:
    """Compute the checks of `claim` from the numbers of each notebook.

    Raises:
        LedgerError: no such notebook, or a number that is needed was not recorded and is not one that needs a GPU.
    """
    results = tuple(_result(check, sources) for check in claim.checks)
    reason = _filled(claim.reason.strip(), claim.id, claim.notebook, sources)
    found = _filled(claim.found.strip(), claim.id, claim.notebook, sources)
    return Finding(claim, results, {check.notebook: sources[check.notebook] for check in claim.checks}, reason, found)


def findings(ledger: Ledger, sources: Mapping[str, Source], own: bool = False) -> list[Finding]:
    """Every claim of the paper, or else of the book itself, judged."""
    return [judge(claim, sources) for claim in (ledger.own if own else ledger.claims)]


def check_titles(ledger: Ledger, sources: Mapping[str, Source], headings: Mapping[str, str]) -> None:
    """Refuse titles that are not those of the ledger, or that state what the recorded numbers do not.

    Args:
        headings: the first heading of each notebook, by name.

    Raises:
        LedgerError: a notebook without an entry, another heading, or a check that fails; all of them are named.
    """
    wrong, entries = [], {title.notebook: title for title in ledger.titles}
    for name in sorted(entries.keys() | headings):
        if name not in entries or name not in headings:
            wrong.append(f"{name}: {'no such notebook' if name in entries else 'its title has no entry'}")
            continue
        title = entries[name]
        if headings[name] != title.title:
            wrong.append(f"{name}: its heading is {headings[name]!r}, its entry {title.title!r}")
        for check in title.checks:
            try:
                result = _result(check, sources)
            except LedgerError as error:
                wrong.append(str(error))
                continue
            if not result.holds:
                says = check.says or title.title
                measured = "not recorded" if result.value is None else show(result.value)
                wrong.append(f"{name}: {says!r} needs {check.value} {check.required}, and it is {measured}")
    if wrong:
        raise LedgerError("\n  ".join(["titles that do not fit (data/claims.yaml, titles):", *wrong]))


def as_data(found: Sequence[Finding]) -> list[dict]:
    """The findings as plain data, for claims.json, its pages and `rlli claims --json`."""
    return [
        {
            **{key: value for key, value in asdict(finding.claim).items() if key != "checks"},
            "reason": finding.reason,
            "found": finding.found,
            "verdict": finding.verdict,
            "symbol": finding.symbol,
            "count": finding.count,
            "summary": finding.summary,
            "readings": finding.readings,
            "sources": [
                {
                    "notebook": s.notebook, "origin": s.origin, "profile": s.profile, "seeds": dict(s.seeds),
                    "started": str(s.about.get("started", ""))[:10],
                }
                for s in finding.sources.values()
            ],
            "checks": [
                asdict(r.check)
                | {key: getattr(r, key) for key in ("low", "high", "holds", "clear", "untestable", "outcome")}
                | {"measured": r.value, "required": r.check.required, "compared": r.check.compared}
                for r in finding.results
            ],
        }
        for finding in found
    ]  # fmt: skip


def _result(check: Check, sources: Mapping[str, Source]) -> Result:
    if check.notebook not in sources:
        raise LedgerError(f"{check.id}: there is no notebook {check.notebook!r} among {', '.join(sources)}")
    numbers = numbers_for(check.notebook, sources)
    if check.gpu and not names_in(check.value) <= set(numbers):
        return Result(check)
    low = high = clear = None
    try:
        value = evaluate(check.value, numbers)
        holds = check.keeps(value)
        if check.interval:
            low, high = (evaluate(repr(name), numbers) for name in check.interval)
            clear = check.keeps(low) == check.keeps(high) == holds
    except LedgerError as error:
        raise LedgerError(
            f"{check.id}, {sources[check.notebook].origin} of {check.notebook}: {error}; rlli run {check.notebook} makes it anew"
        ) from error
    why = check.untestable
    untestable = _filled(why.says, why.id, check.notebook, sources) if why and _result(why, sources).holds else ""
    return Result(check, value, low, high, holds, clear, untestable)


def _filled(text: str, what: str, notebook: str, sources: Mapping[str, Source]) -> str:
    try:
        return filled(text, numbers_for(notebook, sources)) if "{" in text else text
    except LedgerError as error:
        raise LedgerError(f"{what}: {error}") from error
