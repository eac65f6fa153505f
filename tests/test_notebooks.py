"""Each committed notebook keeps the house style and shows a smoke run; nbval executes them again in `make test`."""

import ast
import re

import pytest

from rlli_core.book.runner import notebooks, runs

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


def test_every_picture_has_an_alternative_text_a_caption_and_a_name():
    names, texts, captions = [], [], []
    for name in NAMES:
        for cell in runs.read(notebooks.find(name)).cells:
            shown = [output.data for output in cell.get("outputs", []) if "data" in output]
            if not any("image/png" in data for data in shown):
                continue
            assert len(shown) == 1, f"{name}, {cell.id}: a caption is put under everything that a cell shows, so show one thing"
            told = cell.metadata.get("mystnb", {})
            figure, alt = told.get("figure", {}), told.get("image", {}).get("alt", "")
            assert len(alt.split()) >= 12 and alt.endswith("."), (
                f"{name}, {cell.id}: say what can be seen, for one who cannot see it"
            )
            assert figure.get("caption", "").endswith("."), f"{name}, {cell.id}: no caption"
            assert re.fullmatch(r"fig(-[a-z0-9]+)+", figure.get("name", "")), f"{name}, {cell.id}: no name"
            names, texts, captions = [*names, figure["name"]], [*texts, alt], [*captions, figure["caption"]]
    assert len(names) > 60
    assert len(set(names)) == len(set(texts)) == len(set(captions)) == len(names)


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
