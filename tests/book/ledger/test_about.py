"""What is made of the ledger and the settings: codecheck.yml, Containerfile, citations, the address, the tally."""

import pytest
import yaml

from rlli_core.book.ledger import about, claims, pages
from rlli_core.book.ledger.claims import Source
from rlli_core.book.runner import notebooks
from rlli_core.errors import UnusableFile


@pytest.fixture(scope="module")
def made():
    return pages.beside(claims.read(), claims.committed())


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Call it with an address to have it set."""

    def write(url):
        monkeypatch.setattr(about, "CONFIG", tmp_path / "_config.yml")
        about.CONFIG.write_text(f'copyright: "2031"\nrepository: {{url: "{url}", branch: main}}\n')

    return write


@pytest.mark.parametrize("name", ["codecheck.yml", "Containerfile", "CITATION.cff", "README.md"])
def test_what_is_committed_is_what_would_be_made(name, made):
    assert (about.ROOT / name).read_text() == made[name], "run `rlli claims --write`"


def test_the_manifest_has_every_notebook_of_a_figure_or_claim(made):
    content, ledger = yaml.safe_load(made["codecheck.yml"]), claims.read()
    files = [entry["file"] for entry in content["manifest"]]
    wanted = {name for figure in ledger.figures for name in figure.pages} | {claim.notebook for claim in ledger.claims}
    assert {f"build/reproduce/smoke/{name}.ipynb" for name in wanted} <= set(files) and len(files) == len(set(files))
    assert wanted <= set(notebooks.names())
    assert content["paper"]["reference"].endswith("10.1109/TPAMI.2025.3584698") and len(content["paper"]["authors"]) == 8
    assert "Fig. 9" in next(entry["comment"] for entry in content["manifest"] if "fig09" in entry["file"])


def test_the_container_has_the_python_and_the_torch_of_the_runs():
    runs = {k: Source(k, {}, versions={"python": f"3.1{k}.7", "torch": "2.13.0+cpu"}) for k in ("1", "2")}
    runs["3"] = Source("3", {}, versions={"python": "3.12.1", "torch": "2.13.0+cpu"})
    text = pages.rendered("Containerfile", **about.setup(runs))
    assert "python:3.12-slim" in text and "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" in text
    runs["4"] = Source("4", {}, versions={"python": "3.12.1", "torch": "2.13.0"})
    assert "PIP_EXTRA_INDEX_URL" not in pages.rendered("Containerfile", **about.setup(runs))


def test_an_address_goes_everywhere_and_none_leaves_no_link(settings):
    citation = about.CITATION.read_text()
    for url in ("https://code.example/me/book", ""):
        settings(url)
        texts = [pages.rendered(name, about=about.about()) for name in ("README.md", "references.md")]
        assert [("https://" in text, "_config.yml" in text) for text in texts] == [(bool(url), not url)] * 2
        citation = about.cited(citation)
        assert yaml.safe_load(citation).get("repository-code", "") == url
    assert citation == about.CITATION.read_text() and "year    = {2031}" in texts[1]


def test_what_is_no_address_is_refused(settings):
    settings("github.com/me")
    with pytest.raises(UnusableFile, match="OWNER/NAME"):
        about.about()


def test_the_tally_counts_verdicts_in_their_order():
    found = [{"symbol": s, "verdict": v} for s, v in (("✗", "not reproduced"), ("✓", "reproduced"), ("✓", "reproduced"))]
    assert about.tally(found) == "✓ 2 reproduced · ✗ 1 not reproduced"
    assert about.tally([{"symbol": "✗", "verdict": "does not hold"}] * 2) == "✗ 2 do not hold"
