"""The parameters cell of a notebook: reading it, checking values against it, writing values into it."""

import ast
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat

from ...errors import InvalidArgument, RunFailed
from ...files import DATA, of_checkout

NOTEBOOKS = DATA.parent / "notebooks"

# The annotations a parameter may have, alone or as list[...].
_KINDS: dict[str, type | tuple[type, ...]] = {"bool": bool, "int": int, "float": (int, float), "str": str}


_LARGEST = 2.0**63


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell, `name: kind = value  # meaning`."""

    name: str
    kind: str
    value: object

    def check(self, value: object) -> object:
        """Return `value` as this parameter takes it, or raise `InvalidArgument`."""
        inner = re.fullmatch(r"list\[(\w+)\]", self.kind)
        if inner and isinstance(value, list):
            return [Parameter(f"{self.name}[{i}]", inner[1], None).check(item) for i, item in enumerate(value)]
        kind = _KINDS.get(self.kind)
        # A bool is an int to Python; to a reader who wrote True for a count it is a slip.
        if kind is None or not isinstance(value, kind) or isinstance(value, bool) != (self.kind == "bool"):
            raise InvalidArgument(self.name, value, f"of type {self.kind}")
        if isinstance(value, str) and ("\0" in value or not _encodes(value)):
            raise InvalidArgument(self.name, value, "text that can be written to a file")
        if isinstance(value, (int, float)) and not abs(value) < _LARGEST:
            raise InvalidArgument(self.name, value, "a finite number")
        return float(value) if isinstance(value, int) and self.kind == "float" else value


def _encodes(text: str) -> bool:
    """Whether UTF-8 can hold it: not so a lone half of a surrogate pair."""
    return text.encode("utf-8", "ignore").decode() == text


def names() -> list[str]:
    """Names of the notebooks of this checkout, in order.

    Raises:
        NoCheckout: the package does not run from one.
    """
    return sorted(path.stem for path in of_checkout(NOTEBOOKS).glob("*.ipynb"))


def find(name: str) -> Path:
    """The notebook called `name`; the part before the first underscore is enough (`fig09`).

    Raises:
        InvalidArgument: there is no such notebook, or more than one.
    """
    found = [known for known in names() if known == name] or [known for known in names() if known.split("_")[0] == name]
    if len(found) != 1:
        raise InvalidArgument("notebook", name, "one of " + ", ".join(names()))
    return NOTEBOOKS / f"{found[0]}.ipynb"


def title_of(notebook: nbformat.NotebookNode) -> str:
    """The first heading of the first markdown cell."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    return next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), "")


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, Parameter]:
    """The parameters of `notebook`, by name, in the order of the cell.

    Raises:
        RunFailed: the notebook has no parameters cell, or a line of it is not `name: kind = literal`.
    """
    return {
        name: Parameter(name, ast.unparse(kind), ast.literal_eval(value))
        for name, kind, value in _statements(_parameters_cell(notebook))
    }


def check_parameters(known: Mapping[str, Parameter], values: Mapping[str, object]) -> dict[str, object]:
    """Return `values` as the parameters take them.

    Raises:
        InvalidArgument: a name that is not known, or a value of another type.
    """
    for name, value in values.items():
        if name not in known:
            raise InvalidArgument(name, value, "one of the notebook's parameters: " + ", ".join(known))
    return {name: known[name].check(value) for name, value in values.items()}


def with_parameters(notebook: nbformat.NotebookNode, values: Mapping[str, object]) -> nbformat.NotebookNode:
    """A copy of `notebook` with `values` written into its parameters cell.

    The values replace the literals where they stand, so that the page shows one set of parameters, the one that ran, and a
    reader who edits the cell and runs it again is not overruled by a second, injected cell.

    Raises:
        InvalidArgument: a name that the notebook does not have, or a value of another type.
    """
    taken = check_parameters(parameters_of(notebook), values)
    notebook = copy.deepcopy(notebook)
    cell = _parameters_cell(notebook)
    source = cell.source.encode()  # the columns of a syntax tree count bytes
    starts = [0, *(i + 1 for i, byte in enumerate(source) if byte == ord("\n"))]
    for name, _, literal in reversed(_statements(cell)):
        if name in values:
            begin = starts[literal.lineno - 1] + literal.col_offset
            end = starts[(literal.end_lineno or 0) - 1] + (literal.end_col_offset or 0)
            source = source[:begin] + repr(taken[name]).encode() + source[end:]
    cell.source = source.decode()
    return notebook


def _parameters_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise RunFailed(f"a notebook needs one cell tagged 'parameters'; this one has {len(cells)}")
    return cells[0]


def _statements(cell: nbformat.NotebookNode) -> list[tuple[str, ast.expr, ast.expr]]:
    """Name, kind and literal of each parameter."""
    found = []
    for line in ast.parse(cell.source).body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name) or not line.value:
            raise RunFailed(f"line {line.lineno} of the parameters cell is not 'name: kind = literal'")
        found.append((line.target.id, line.annotation, line.value))
    return found
