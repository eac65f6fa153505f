"""Where recorded numbers come from: the committed, executed notebooks, or the latest runs on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..runner import notebooks, runs


@dataclass(frozen=True)
class Source:
    """Numbers of one notebook, and the run that they come from; `origin` is "committed notebook" or "latest run"."""

    notebook: str
    numbers: Mapping[str, float]
    profile: str
    seeds: Mapping[str, object]
    parameters: Mapping[str, object]
    origin: str
    about: Mapping[str, Any] = field(default_factory=dict)


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


def numbers_for(notebook: str, sources: Mapping[str, Source]) -> dict[str, float]:
    """The numbers that an expression about `notebook` may use: its own by their names, all others as `notebook.name`."""
    everything = {f"{source.notebook}.{name}": value for source in sources.values() for name, value in source.numbers.items()}
    return everything | dict(sources[notebook].numbers if notebook in sources else {})


def titles() -> dict[str, str]:
    """The first headings of the committed notebooks, by name."""
    return {name: notebooks.title_of(runs.read(notebooks.find(name))) for name in notebooks.names()}
