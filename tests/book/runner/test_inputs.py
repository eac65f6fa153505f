"""What makes a notebook stale: on the real notebooks, against other routes to the same answer, and on a made-up package."""

import json
import re
import subprocess
import sys
from functools import cache

import grimp
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.book.runner import inputs, notebooks, runs
from rlli_core.book.runner.inputs import Inputs
from rlli_core.files import DATA

ROOT = DATA.parent
NAMES = notebooks.names()


@cache
def source(name):
    return runs.read(notebooks.find(name))


@cache
def hashes(edited=None):
    """Of all notebooks; with `edited`, as if that file had a line more."""
    assert edited is None or (ROOT / edited).is_file()
    known = Inputs(read=lambda path: path.read_bytes() + (b"\n# edited\n" if edited and path == ROOT / edited else b""))
    return {name: known.hash(source(name)) for name in NAMES}


def stale(edited):
    return {name for name in NAMES if hashes(edited)[name] != hashes()[name]}


@pytest.mark.parametrize("path", ["book/cli.py", "book/runner/runs.py", "book/ledger/claims.py", "book/browser/site.py"])
def test_what_no_notebook_imports_makes_nothing_stale(path):
    assert stale(f"rlli_core/{path}") == set()


@pytest.mark.parametrize("path", ["claims.yaml", "README.md", "checksums.txt"])
def test_what_describes_results_makes_nothing_stale(path):
    assert stale(f"data/{path}") == set()


def test_what_all_notebooks_import_makes_all_stale():
    for path in ("book/runner/recording.py", "errors.py", "__init__.py"):
        assert stale(f"rlli_core/{path}") == set(NAMES)


@cache
def stub(package):
    """Name: module of a package's stub, by a regular expression."""
    path = ROOT / package.replace(".", "/") / "__init__.pyi"
    found = re.findall(r"^from \.([\w.]+) import (\w+)", path.read_text(), re.M) if path.exists() else []
    return {name: f"{package}.{module}" for module, name in found}


@cache
def reached_by_grimp(expand):
    """Modules that each notebook reaches, by grimp's graph of imports.

    Grimp sees no stub: an import from a package with one goes to the package alone, so that too little is reached; or, with
    `expand`, to all that the stub names, which is too much. The truth lies between.
    """
    graph = grimp.build_graph("rlli_core", exclude_type_checking_imports=True, cache_dir=None)
    found = {}
    for name in NAMES:
        code = "\n".join(cell.source for cell in source(name).cells if cell.cell_type == "code")
        waiting, reached = [], set()
        for base, names in re.findall(r"^ *from (rlli_core[\w.]*) import (.+)$", code, re.M):
            for one in re.split(r"[, ]+", names):
                inner = f"{base}.{one}"
                waiting += [base, stub(base).get(one, base), inner if inner in graph.modules else base]
        while waiting:
            module = waiting.pop()
            if module in graph.modules and module not in reached:
                reached.add(module)
                waiting += [*graph.find_modules_directly_imported_by(module), module.rpartition(".")[0]]
                waiting += stub(module).values() if expand else []
        found[name] = reached
    return found


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("channel.fading", "rlli_core/channel/fading.py"),
        ("qoe.judge", "data/models/judge/model.safetensors"),
        ("allocation.table", "data/results/qoe_table.npz"),
        ("embedded.scenes", "data/scenes/objects.json.gz"),
        ("book.panels.widget", "rlli_core/book/panels/static/panel.css"),
        ("embedded.cards", "data/results/embedded.json"),
    ],
)
def test_an_edit_makes_stale_exactly_the_notebooks_that_reach_it(module, file):
    least = {name for name, reached in reached_by_grimp(False).items() if f"rlli_core.{module}" in reached}
    most = {name for name, reached in reached_by_grimp(True).items() if f"rlli_core.{module}" in reached}
    assert least <= stale(file) <= most
    assert set() < stale(file) < set(NAMES)


@pytest.mark.slow
def test_what_is_loaded_is_known():
    """Run the imports of three notebooks, and look at what Python has loaded."""
    samples = ["learn_fading", "agent_card", "own_allocator"]
    code = {
        name: [
            line
            for cell in source(name).cells
            if cell.cell_type == "code"
            for line in cell.source.splitlines()
            if re.match(r"(from|import) ", line)
        ]
        for name in samples
    }
    script = """
import json, sys
found = {}
for name, lines in json.load(sys.stdin).items():
    exec("\\n".join(lines), {})
    ours = [module for module in sys.modules if module.split(".")[0] == "rlli_core"]
    found[name] = [sys.modules.pop(module).__file__ for module in ours]
print(json.dumps(found))
"""
    run = subprocess.run([sys.executable, "-c", script], input=json.dumps(code), capture_output=True, text=True, check=True)
    for name, loaded in json.loads(run.stdout).items():
        assert len(loaded) > 10
        assert set(loaded) <= {str(path) for path in Inputs().files(source(name))}


FILES = {
    "__init__.py": "",
    "files.py": "DATA = None\ndef model_folder(name):\n    return DATA / 'models' / name",
    "lazy/__init__.py": "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)",
    "lazy/__init__.pyi": "from .one import One as One\nfrom .two import Two as Two, other as same",
    "lazy/one.py": "def f():\n    from ..deep import below",
    "lazy/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..deep import types\nelse:\n    import rlli_core.deep.runtime",
    "lazy/words.txt": "words",
    "deep/__init__.py": "from .eager import x",
    "deep/eager.py": "",
    "deep/below.py": "from .. import plain",
    "deep/types.py": "",
    "deep/runtime.py": "",
    "plain.py": "",
    "reader.py": (
        "from pathlib import Path\nfrom .files import DATA, model_folder\nTABLE = DATA / 'results' / 'a.npz'\n"
        "def g(name, suffix):\n    return [model_folder('judge') / 'w.bin', DATA / 'runs' / f'{name}.json', TABLE.read_text(),\n"
        "        (DATA / 'sets' / 'b.csv').with_suffix('.json').open(), (DATA / 'kinds' / 'c.a').with_name(name),\n"
        "        Path(__file__).resolve().parent / 'texts' / 'hello.txt']"
    ),
    "texts/hello.txt": "hello",
    "any_model.py": "from . import files\ndef g(name):\n    return files.model_folder(name)",
    "all_data.py": "from .files import DATA as D\ndef g(name):\n    return D / name",
    "plugin.py": "import importlib\ndef g(name):\n    return importlib.import_module(name)",
}
THERE = ["models/judge/w.bin", "models/judge/x.bin", "models/sd/w.bin", "results/a.npz", "results/b.npz", "README.md"]
THERE += ["runs/1.json", "runs/2.json", "sets/b.csv", "sets/b.json", "kinds/c.a", "kinds/d.a", ".hidden"]


@pytest.fixture
def reach(tmp_path):
    """Call it with cells for the files that they reach in the made-up package: those of `data` and those of the package."""
    for name, text in FILES.items():
        (tmp_path / "rlli_core" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rlli_core" / name).write_text(text)
    for name in THERE:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)

    def find(*cells):
        notebook = new_notebook(cells=[new_markdown_cell("import rlli_core.plain"), *map(new_code_cell, cells)])
        found = {path.relative_to(tmp_path).as_posix() for path in Inputs(tmp_path).files(notebook)}
        data = {name.removeprefix("data/") for name in found if name.startswith("data/")}
        return data, {name.removeprefix("rlli_core/") for name in found if name.startswith("rlli_core/")} - {"__init__.py"}

    return find


@pytest.mark.parametrize(
    ("cell", "reached"),
    [
        ("x = 1", set()),
        ("from rlli_core.lazy import One", {"lazy/__init__.py", "lazy/one.py", "deep/__init__.py", "deep/eager.py", "deep/below.py", "plain.py"}),
        ("from rlli_core.lazy import same", {"lazy/__init__.py", "lazy/two.py", "deep/__init__.py", "deep/eager.py", "deep/runtime.py"}),
        ("from rlli_core.lazy import two", {"lazy/__init__.py", "lazy/two.py", "deep/__init__.py", "deep/eager.py", "deep/runtime.py"}),
        ("from rlli_core.deep import x", {"deep/__init__.py", "deep/eager.py"}),
        ("def f():\n    import rlli_core.plain as p", {"plain.py"}),
        ("import numpy, os.path", set()),
    ],
)  # fmt: skip
def test_names_lead_to_modules(reach, cell, reached):
    assert reach(cell) == (set(), reached)


def test_a_package_as_a_whole_is_all_that_its_stub_names(reach):
    for cell in ("from rlli_core import lazy\nlazy.One", "import rlli_core.lazy", "from rlli_core.lazy import *"):
        assert {"lazy/one.py", "lazy/two.py"} <= reach(cell)[1]


def test_paths_are_followed_as_far_as_they_are_constant(reach):
    data, package = reach("from rlli_core.reader import g")
    assert data == {
        "models/judge/w.bin",
        "runs/1.json",
        "runs/2.json",
        "results/a.npz",
        "sets/b.json",
        "kinds/c.a",
        "kinds/d.a",
    }
    assert package == {"reader.py", "files.py", "texts/hello.txt"}


def test_when_in_doubt_more_counts(reach):
    whole = {name for name in THERE if name not in ("README.md", ".hidden")}
    assert reach("from rlli_core import any_model")[0] == {name for name in THERE if name.startswith("models/")}
    assert reach("from rlli_core import all_data")[0] == whole
    assert reach("from rlli_core.files import DATA\nDATA / name")[0] == whole
    assert reach("from rlli_core.files import DATA\n(DATA / 'results' / 'b.npz').read_text()")[0] == {"results/b.npz"}
    assert {"lazy/one.py", "deep/types.py"} <= reach("from rlli_core.plugin import g")[1]
    data, package = reach("%run something")
    assert data == whole and "lazy/words.txt" in package and "plain.py" in package


def test_what_changes_the_hash(tmp_path, monkeypatch):
    cells = [new_markdown_cell("# Title"), new_code_cell("x = 1", metadata={"tags": ["a"]})]
    notebook = new_notebook(cells=cells)
    first = Inputs(tmp_path).hash(notebook)
    cells[1].metadata["papermill"], cells[1].outputs, cells[1].execution_count = {"duration": 1}, [], 3
    assert Inputs(tmp_path).hash(notebook) == first
    cells[1].metadata["tags"] = ["b"]
    assert Inputs(tmp_path).hash(notebook) != first
    cells[1].metadata["tags"] = ["a"]
    cells[0].source = "# Another"
    assert Inputs(tmp_path).hash(notebook) != first
    cells[0].source = "# Title"
    known = inputs.versions()
    for other, same in (
        ({"python": "3.11.99"}, True), ({"python": "3.99.1"}, False),
        ({"torch": known["torch"].split("+")[0] + "+cu999"}, True), ({"numpy": "99.0"}, False),
    ):  # fmt: skip
        monkeypatch.setattr(inputs, "versions", lambda other=other: known | {"python": "3.11.7"} | other)
        before = first if known["python"].startswith("3.11.") else Inputs(tmp_path).hash(notebook)
        assert (Inputs(tmp_path).hash(notebook) == before) == same
