"""What the result of a notebook depends on: its cells, the modules they import, what those read, and the libraries' versions.

Found in the source without importing anything. A module of this package counts, transitively, where a cell or a module imports
it, at the top or inside a function, but not under `TYPE_CHECKING`; so do the packages it lies in. A name taken from a package
counts for the module that its stub `__init__.pyi` (lazy_loader) names, else for the submodule or `__init__.py` that has it.

A file counts where a module that counts spells out its path: from `DATA`, `model_folder(...)` or `__file__` on, as far as the
parts are constants. A folder stands for all that is in it, so a path that goes on with a variable counts for the folder before
it. A path that is given a name counts once, where it is spelled out, whatever is done with the name: so name files, and let
what a module writes begin at a name (`RUNS.parent`). `files.py` itself says where things lie and reads none of them.
"""

import ast
import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import nbformat

from ...files import DATA
from .checksums import DESCRIPTIONS
from .execution import NOTES, versions

PACKAGE = "rlli_core"
_TYPES_ONLY = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


class Inputs:
    """Looks up inputs in a checkout as it is now; what was read once is remembered, so make a new one for each command.

    Args:
        root: the checkout.
        read: how a file is read, such as with a change that is not on the disk.
    """

    def __init__(self, root: Path = DATA.parent, read: Callable[[Path], bytes] = Path.read_bytes):
        self.root, self._read = root, read
        self._imports: dict[Path, set[str]] = {}
        self._reads: dict[Path, set[Path]] = {}
        self._digests: dict[Path, str] = {}
        self._stubs: dict[str, dict[str, tuple[str, str]]] = {}

    def hash(self, notebook: nbformat.NotebookNode) -> str:
        """Hash of all that the result of `notebook` depends on.

        Of the libraries, the release counts and not the build (2.6.0 for 2.6.0+cpu), of Python 3.11 and not 3.11.7, so that
        another machine comes to the same hash. Metadata of cells count, since the executed notebook carries them to the
        book: captions and alternative texts of figures.
        """
        cells = [
            [cell.cell_type, cell.source, {key: value for key, value in cell.metadata.items() if value and key not in NOTES}]
            for cell in notebook.cells
        ]
        releases = {name: version.split("+")[0] for name, version in versions().items()}
        releases["python"] = releases["python"].rpartition(".")[0]
        files = {path.relative_to(self.root).as_posix(): self._digest(path) for path in self.files(notebook)}
        return hashlib.sha256(json.dumps([cells, releases, files], sort_keys=True).encode()).hexdigest()

    def files(self, notebook: nbformat.NotebookNode) -> set[Path]:
        """The modules of this package that `notebook` reaches and the files that they and its cells read."""
        modules: set[str] = set()
        read: set[Path] = set()
        for cell in notebook.cells:
            if cell.cell_type == "code":
                try:
                    tree = ast.parse(cell.source)
                except SyntaxError:  # such as a line with % or !, which may do anything
                    return self._below(self.root / PACKAGE) | self._below(self.root / "data")
                modules |= set(self._imported(tree, ""))
                read |= set(self._named(tree, None))
        waiting, reached = list(modules), set[Path]()
        while waiting:
            # The packages that a module lies in are run before it.
            for name in accumulate(waiting.pop().split("."), "{}.{}".format):
                path = self._module(name)
                if path and path not in reached:
                    reached.add(path)
                    waiting += self._imports_of(path, name)
                    read |= self._reads[path]
        return reached | {file for path in read for file in self._below(path)}

    def _module(self, name: str) -> Path | None:
        """The file of a module or package, or None if it is none of ours."""
        if name.split(".")[0] != PACKAGE:
            return None
        place = self.root / name.replace(".", "/")
        return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)

    def _imports_of(self, path: Path, name: str) -> set[str]:
        if path not in self._imports:
            tree = ast.parse(self._read(path))
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            self._imports[path] = set(self._imported(tree, package))
            self._reads[path] = set() if name == f"{PACKAGE}.files" else set(self._named(tree, path))
        return self._imports[path]

    def _imported(self, tree: ast.AST, package: str) -> Iterator[str]:
        """Modules that `tree`, of a module in `package`, imports."""
        for node in _that_run(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    for prefix in accumulate(alias.name.split("."), "{}.{}".format):
                        yield from self._whole(prefix)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                for alias in node.names:
                    yield from self._whole(base) if alias.name == "*" else self._from(base, alias.name)
            elif getattr(node, "id", getattr(node, "attr", None)) in ("import_module", "__import__"):
                yield from self._all()  # a name that only a run knows

    def _all(self) -> Iterator[str]:
        for path in (self.root / PACKAGE).rglob("*.py"):
            yield ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")

    def _from(self, base: str, name: str) -> Iterator[str]:
        """Where `name` of the module or package `base` comes from."""
        yield base
        if name in (stub := self._stub(base)):
            yield from self._from(*stub[name])
        if self._module(f"{base}.{name}"):
            yield from self._whole(f"{base}.{name}")

    def _whole(self, name: str) -> Iterator[str]:
        """A module or package of which any name may be used."""
        yield name
        for base, inner in self._stub(name).values():
            yield from self._from(base, inner)

    def _stub(self, package: str) -> dict[str, tuple[str, str]]:
        """The names in the stub of a package, each with the module and the name there; empty without a stub."""
        if package not in self._stubs:
            path = self.root / package.replace(".", "/") / "__init__.pyi"
            found = ast.parse(self._read(path)).body if self._module(package) and path.is_file() else []
            self._stubs[package] = {
                alias.asname or alias.name: (f"{package}.{node.module}", alias.name)
                for node in found
                if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
                for alias in node.names
            }
        return self._stubs[package]

    def _named(self, tree: ast.AST, module: Path | None) -> Iterator[Path]:
        """The longest constant paths that are spelled out in `tree`."""
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            if known := self._path(node, module):
                yield known[0]
            elif isinstance(node, ast.alias) and node.name in ("DATA", "model_folder") and node.asname:
                yield self.root / "data"  # under a name that is not looked for
            waiting += _arguments(node) if known else ast.iter_child_nodes(node)

    def _path(self, node: ast.AST, module: Path | None) -> tuple[Path, bool] | None:
        """The constant path that an expression begins with, and whether it ends there; None if it is no path."""
        match node:
            case ast.Name(id="DATA") | ast.Attribute(attr="DATA"):
                return self.root / "data", False
            case ast.Name(id="__file__") if module:
                return module, False
            case ast.Call(func=ast.Name(id="Path"), args=[ast.Name(id="__file__")]) if module:
                return module, False
            case ast.Call(
                func=ast.Name(id="model_folder") | ast.Attribute(attr="model_folder"), args=[ast.Constant(value=str(name))]
            ):
                return self.root / "data" / "models" / name, False
            case ast.Name(id="model_folder") | ast.Attribute(attr="model_folder"):
                return self.root / "data" / "models", True
            case ast.BinOp(left=left, op=ast.Div(), right=part) if known := self._path(left, module):
                path, ended = known
                if not ended and isinstance(part, ast.Constant) and isinstance(part.value, str):
                    return path / part.value, False
                return path, True
            case ast.Attribute(value=value, attr=attribute) if known := self._path(value, module):
                path, ended = known
                return (path.parent, ended) if attribute == "parent" else (path, True)
            case ast.Call(func=ast.Attribute(value=value, attr=method), args=given) if known := self._path(value, module):
                path, ended = known
                if method in ("with_name", "with_suffix") and not ended:
                    match given:
                        case [ast.Constant(value=str(text))]:
                            return path.with_name(text) if method == "with_name" else path.with_suffix(text), False
                    return path.parent, True
                return path, ended or method not in ("resolve", "absolute")
        return None

    def _below(self, path: Path) -> set[Path]:
        """The file, or the files in the folder, that a run may read: not what was built, nor what describes results."""
        if path.is_file():
            return {path}
        return {
            file
            for file in path.rglob("*")
            if file.is_file()
            and not any(part.startswith((".", "__pycache__")) for part in file.relative_to(self.root).parts)
            and file.relative_to(self.root).parts[0] != "build"
            and not (file.parent == self.root / "data" and file.name in DESCRIPTIONS)
        }

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(self._read(path)).hexdigest()
        return self._digests[path]


def _that_run(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree but those that only type checkers look at."""
    yield node
    skipped = node.body if isinstance(node, ast.If) and ast.unparse(node.test) in _TYPES_ONLY else []
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _that_run(child)


def _arguments(node: ast.AST) -> Iterator[ast.AST]:
    """What is given to the calls of a path expression, and its parts that are no constants: it may spell out another path."""
    match node:
        case ast.BinOp(left=left, right=right):
            yield right
            yield from _arguments(left)
        case ast.Call(func=function, args=given, keywords=named):
            yield from given
            yield from (keyword.value for keyword in named)
            yield from _arguments(function)
        case ast.Attribute(value=value):
            yield from _arguments(value)
