"""Where recorded numbers come from: the committed, executed notebooks, or the latest runs on this machine."""

from collections.abc import Mapping

from ..runner import notebooks, runs
from ..runner.run_record import RunRecord as Source


def committed() -> dict[str, Source]:
    """What the committed, executed notebooks hold, by name."""
    return {name: Source.of(name, runs.read(notebooks.find(name))) for name in notebooks.names()}


def latest(profile: str) -> dict[str, Source]:
    """What the latest runs of `profile` on this machine recorded; where a notebook was not run, what is committed."""
    found = committed()
    return found | {name: record for name in found if (record := runs.read_record(name, profile))}


def numbers_for(notebook: str, sources: Mapping[str, Source]) -> dict[str, float]:
    """The numbers that an expression about `notebook` may use: its own by their names, all others as `notebook.name`."""
    everything = {f"{source.notebook}.{name}": value for source in sources.values() for name, value in source.numbers.items()}
    return everything | dict(sources[notebook].numbers if notebook in sources else {})


def titles() -> dict[str, str]:
    """The first headings of the committed notebooks, by name."""
    return {name: notebooks.title_of(runs.read(notebooks.find(name))) for name in notebooks.names()}
