"""Each committed notebook keeps the house style and shows a smoke run; nbval executes them again in `make test`."""

import ast
import re

import pytest

from rlli_core import notebooks, runs

NAMES = notebooks.names()
PACKAGES = {"rlli_core", "matplotlib", "seaborn", "ipywidgets", "IPython", "numpy", "pandas"}


@pytest.fixture(params=NAMES)
def notebook(request):
    return runs.read(notebooks.find(request.param))


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert NAMES


def test_title_parameters_and_kernel(notebook):
    assert notebooks.title_of(notebook)
    assert notebooks.parameters_of(notebook)  # refuses anything but typed literals
    for parameter in notebooks.parameters_of(notebook).values():
        assert parameter.check(parameter.value) == parameter.value
    assert notebook.metadata["kernelspec"]["name"] == "python3"


def test_cells_are_short_and_plain(code):
    for cell in code:
        lines = [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]
        assert len(lines) <= 8 or "parameters" in cell.metadata.get("tags", []), cell.source
        assert not cell.source.rstrip().endswith(";"), "nbval misreads a trailing semicolon"
        assert not re.search(r"^\s*[%!]", cell.source, re.M), cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)), cell.source
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= PACKAGES, cell.source
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in PACKAGES, cell.source


def test_outputs_are_those_of_a_whole_smoke_run(notebook, code):
    assert notebook.metadata.get("rlli", {}).get("profile") == "smoke", "run `make notebooks`"
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
    assert runs.numbers_of(notebook), "a notebook ends by recording its named numbers"


@pytest.mark.parametrize("profile", runs.PROFILES)
def test_profiles_name_real_notebooks_and_parameters(profile):
    for name, values in runs.load_profile(profile).items():
        assert name in NAMES
        notebook = runs.read(notebooks.find(name))
        executed = notebooks.with_parameters(notebook, values)  # refuses an unknown name and another type
        if profile == "smoke":
            assert executed.cells == notebook.cells, f"{name} does not carry the smoke values; run `make notebooks`"


def test_where_an_agent_scores_the_page_says_what_it_is(notebook, code):
    if any("PersonaAgent" in cell.source for cell in code):
        prose = " ".join(" ".join(c.source for c in notebook.cells if c.cell_type == "markdown").split())
        assert "not a human" in prose and "published correlations" in prose and "emergent behaviour" in prose
