"""The book run again, elsewhere or later: every recorded number beside the committed one, and a certificate of what came out.

`rlli reproduce` executes the notebooks into a folder of its own and touches nothing that is committed. A certificate that is put
into book/certificates is shown on the status page.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import Failure, LedgerError, RunFailed, first_line
from ...files import DATA, git_commit, read_json, write_text
from ..runner import notebooks, runs
from .claims import Claim, Ledger, Source, judge
from .expressions import names_in
from .sources import committed

AGAIN = DATA.parent / "build" / "reproduce"
KEPT = DATA.parent / "book" / "certificates"
IDENTICAL, AGREES, DIFFERS, FAILED, UNCOMPARED = "identical", "agrees", "differs", "failed", "nothing to compare"
_TIMES = ("_s", "_ms")
_NEEDS = ("commit", "date", "profile", "machines", "notebooks", "verdicts")


def reproduce(
    ledger: Ledger, wanted: Sequence[str] | None, profile: str, *, force: bool = False, jobs: int | None = None,
    ray: str | None = None, folder: Path = AGAIN,
) -> tuple[dict[str, Any], Path]:  # fmt: skip
    """Execute notebooks again and compare what they record with the committed notebooks; returns the certificate and its file.

    A notebook that was executed there with the present inputs is not executed again, so that a command which was broken off
    goes on where it stopped.

    Args:
        wanted: names of notebooks; None means all.
        profile, force, jobs, ray: as for `runs.run`.
        folder: results, records and the certificate go to `folder/profile`.

    Raises:
        InvalidArgument, UnusableFile: before anything runs, as `runs.run`.
    """
    place, failures = folder / profile, {}
    try:
        runs.run(wanted, profile, force=force, jobs=jobs, ray=ray, folder=place)
    except RunFailed as failed:
        if not failed.failures:
            raise
        failures = failed.failures
    names = notebooks.names() if wanted is None else [notebooks.find(name).stem for name in dict.fromkeys(wanted)]
    made = {name: found for name in names if name not in failures and (found := runs.read_record(name, profile, place))}
    content = certificate(ledger, committed(), made, failures, profile)
    path = place / f"{content['date']}-{profile}-{platform.system()}-{platform.machine()}.json".lower()
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return content, path


def certificate(
    ledger: Ledger, before: Mapping[str, Source], made: Mapping[str, Source], failures: Mapping[str, Failure], profile: str
) -> dict[str, Any]:
    """What is certified of notebooks that were `made` again or failed to be, beside those of `before`, as plain data.

    Each notebook has its outcome: `identical` (every number to the last digit), `agrees` (all as near as they have to be, see
    `compared`), `differs` (with the numbers, the committed one first), `failed` (with the reason), or `nothing to compare`.
    Verdicts are those of the claims whose notebooks were all made again.
    """
    setups = [{"machine": run.machine, "versions": dict(run.versions)} for run in made.values()]
    machines = [setup for k, setup in enumerate(setups) if setup not in setups[:k]]
    entries: dict[str, dict[str, Any]] = {}
    for (name, run), setup in zip(made.items(), setups):
        about = {"started": run.started, "wall_s": run.wall_s, "inputs": run.inputs, "machine": machines.index(setup) + 1}
        entries[name] = compared(ledger, before[name], run) | about
    entries |= {name: {"outcome": FAILED, "why": failure.message} for name, failure in failures.items()}
    verdicts = {
        claim.id: [_verdict(claim, before), _verdict(claim, {**before, **made})]
        for claim in (*ledger.claims, *ledger.own)
        if {check.notebook for check in claim.checks} <= set(made)
    }
    return {
        "commit": git_commit(), "date": datetime.now(UTC).date().isoformat(), "profile": profile, "machines": machines,
        "notebooks": dict(sorted(entries.items())), "verdicts": verdicts,
    }  # fmt: skip


def compared(ledger: Ledger, old: Source, new: Source) -> dict[str, Any]:
    """Compare the numbers of two runs of a notebook; times are left out.

    On the same kind of machine (processor, threads, libraries) and with the same parameters they have to be the same. On another
    kind a number is near enough within the ledger's agreement or the committed 95 % interval (`x_low` to `x_high`); the ends of
    intervals are then no numbers of their own. With other parameters, as in another profile, the two intervals have to overlap,
    and what has none is left out.
    """
    timed = {
        name for check in ledger.checks if check.timing and check.notebook == old.notebook for name in names_in(check.value)
    }
    same = old.parameters == new.parameters
    strict = same and kind(old) == kind(new) is not None
    ends = {f"{name}_{end}" for name in old.numbers if _interval(old, name) for end in ("low", "high")}
    outcome: dict[str, Any] = {"numbers": 0, "identical": 0, "differs": {}}
    for name in sorted(old.numbers.keys() | new.numbers.keys()):
        if name in timed or name.endswith(_TIMES) or name in ends and not strict or not same and not _interval(old, name):
            continue
        a, b = old.numbers.get(name), new.numbers.get(name)
        outcome["numbers"] += 1
        if a == b:
            outcome["identical"] += 1
        elif a is None or b is None or strict or not _near(ledger, old, new, name, same):
            outcome["differs"][name] = [a, b]
    numbers, identical = outcome["numbers"], outcome["identical"]
    word = DIFFERS if outcome["differs"] else UNCOMPARED if not numbers else IDENTICAL if identical == numbers else AGREES
    return {"outcome": word} | outcome


def kind(run: Source) -> tuple | None:
    """What has to be the same for the same numbers to the last digit: the machine as noted, and the versions; None if not noted."""
    return (run.machine, tuple(sorted(run.versions.items()))) if run.machine and run.versions else None


def read_kept(folder: Path = KEPT) -> list[dict[str, Any]]:
    """The committed certificates, in the order of their names, which begin with the date.

    Raises:
        UnusableFile: one that is damaged.
    """
    return [{"file": path.name} | read_json(path, *_NEEDS) for path in sorted(folder.glob("*.json"))]


def in_words(entry: Mapping[str, Any]) -> str:
    """What a certificate says of one notebook, in a few words."""
    if entry["outcome"] == FAILED:
        return f"failed: {entry['why']}"
    if entry["outcome"] in (AGREES, DIFFERS):
        differ = len(entry["differs"])
        more = f"{differ} differ" if differ else f"{entry['identical']} to the last digit"
        return f"{entry['outcome']} ({entry['numbers']} numbers, {more})"
    return entry["outcome"] + (f" ({entry['numbers']} numbers)" if entry["numbers"] else "")


def totals(content: Mapping[str, Any]) -> str:
    """How many notebooks came out how, and of how many claims the verdict is that of the book."""
    words = [entry["outcome"] for entry in content["notebooks"].values()]
    kept = sum(was == now for was, now in content["verdicts"].values())
    counted = [f"{words.count(word)} {word}" for word in (IDENTICAL, AGREES, DIFFERS, FAILED, UNCOMPARED) if word in words]
    return f"{', '.join(counted)}; verdicts as in the book: {kept} of {len(content['verdicts'])}"


def told(content: Mapping[str, Any]) -> list[str]:
    """A certificate for the command line: a line a notebook, number that differs, and verdict that is another."""
    lines = []
    for name, entry in content["notebooks"].items():
        lines.append(f"{name}: {in_words(entry)}")
        lines += [f"    {number}: {was} committed, {now} here" for number, (was, now) in entry.get("differs", {}).items()]
    lines.append(f"in all: {totals(content)}")
    return lines + [f"    {id}: {was} in the book, {now} here" for id, (was, now) in content["verdicts"].items() if was != now]


def good(content: Mapping[str, Any]) -> bool:
    """Whether every notebook was executed and nothing differs."""
    return not any(entry["outcome"] in (DIFFERS, FAILED) for entry in content["notebooks"].values())


def _verdict(claim: Claim, sources: Mapping[str, Source]) -> str:
    try:
        return judge(claim, sources).verdict
    except LedgerError as error:
        return f"none: {first_line(error)}"


def _interval(run: Source, name: str) -> tuple[float, float] | None:
    low, high = run.numbers.get(f"{name}_low"), run.numbers.get(f"{name}_high")
    return None if low is None or high is None else (low, high)


def _near(ledger: Ledger, old: Source, new: Source, name: str, same: bool) -> bool:
    a, b, was = old.numbers[name], new.numbers[name], _interval(old, name)
    if same:
        inside = was is not None and was[0] <= b <= was[1]
        return inside or abs(a - b) <= ledger.absolute + ledger.relative * abs(a)
    low, high = _interval(new, name) or (b, b)
    return was is not None and low <= was[1] and was[0] <= high
