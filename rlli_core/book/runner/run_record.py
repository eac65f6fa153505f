"""What is known about one run of one notebook: the one shape of it, in memory, as JSON beside the result, and in the notebook."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import nbformat

from ...errors import Failure
from ...files import write_text
from .notebooks import parameters_of
from .recording import numbers_of

RUN, COMMITTED = "latest run", "committed notebook"
# What an executed notebook carries as `metadata.rlli`; the rest of the record is told by the notebook itself.
_ABOUT = ("profile", "inputs", "panels", "wall_s", "peak_memory_mib", "versions", "machine", "git_commit", "started")


@dataclass(frozen=True)
class RunRecord:
    """One run of one notebook; what is None was not noted.

    Attributes:
        notebook: its name.
        numbers: the named numbers that it recorded.
        profile: with which profile's values it ran, "smoke" or "full"; "not run" if it was not.
        parameters: every parameter of the notebook with the value it ran with.
        origin: "latest run", or "committed notebook" where the record was read from one.
        error: what went wrong, or None.
        inputs: hash of all that the result depends on; see `inputs.Inputs`.
        panels: how many panels have frames, which lie beside the result.
        wall_s: wall time in seconds.
        peak_memory_mib: largest resident set of the kernel in MiB; see `execution.PeakMemory`.
        versions, machine, git_commit, started: where the result comes from. The commit ends in "+" where the checkout
            had uncommitted changes and is None outside a checkout; `started` is UTC, ISO 8601.
    """

    notebook: str
    numbers: dict
    profile: str = "not run"
    parameters: dict = field(default_factory=dict)
    origin: str = RUN
    error: Failure | None = None
    inputs: str | None = None
    panels: int = 0
    wall_s: float | int | None = None
    peak_memory_mib: int | None = None
    versions: dict = field(default_factory=dict)
    machine: str | None = None
    git_commit: str | None = None
    started: str | None = None

    @property
    def seeds(self) -> dict[str, object]:
        """Those of the parameters that are seeds, or numbers of seeds."""
        return {key: value for key, value in self.parameters.items() if {"seed", "seeds"} & set(key.split("_"))}

    @property
    def about(self) -> dict[str, Any]:
        """What was noted of the run beside what the notebook itself tells; an executed notebook has it as `metadata.rlli`."""
        return {name: value for name in _ABOUT if (value := getattr(self, name)) not in (None, {})}

    @classmethod
    def of(cls, name: str, notebook: nbformat.NotebookNode) -> "RunRecord":
        """What the executed notebook `name` tells of its run; an older one may tell less.

        Raises:
            RunFailed: it has no proper parameters cell.
        """
        parameters = {key: parameter.value for key, parameter in parameters_of(notebook).items()}
        noted = json.loads(json.dumps(notebook.metadata.get("rlli", {})))  # plain dictionaries
        about = {key: noted[key] for key in _ABOUT if key in noted}
        return cls(name, numbers_of(notebook), parameters=parameters, origin=COMMITTED, **about)

    @classmethod
    def read(cls, path: Path) -> "RunRecord | None":
        """The record in the file at `path`; None if there is none, or one that is damaged or of another shape."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            record = cls(**{**known, "error": known["error"] and Failure(**known["error"])})
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        right = set(known) == {entry.name for entry in fields(cls)}
        return record if right and all(isinstance(getattr(record, e.name), cast(type, e.type)) for e in fields(cls)) else None

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
