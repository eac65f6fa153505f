"""The book's configuration: pages with mathematics and widgets build, and ask nothing of another site."""

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from sphinx.errors import ExtensionError

from rlli_core.book.runner.notebooks import names
from rlli_core.files import DATA

pytestmark = pytest.mark.slow

ROOT = DATA.parent
BUILT = ROOT / "build" / "html"
OFF_SITE = re.compile(r"(?:https?:)?//", re.I)
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
IN_CSS = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""", re.I)


class Pictures(HTMLParser):
    """Collects the pictures of a page that have no alternative text; Sphinx writes the file's name where none is given."""

    def __init__(self):
        super().__init__()
        self.count, self.found = 0, []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "img":
            self.count += 1
            if not (given.get("alt") or "").strip() or re.search(r"\.(png|svg|webp)$", given["alt"]):
                self.found.append(given.get("src"))


def pictures(page):
    parser = Pictures()
    parser.feed(page.read_text())
    return parser


class Requests(HTMLParser):
    """Collects the addresses that a browser fetches by itself when it shows a page."""

    def __init__(self):
        super().__init__()
        self.found, self.inside = [], ""

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.inside = tag
        if tag != "a":
            self.found += [given[name] for name in ("src", "srcset", "poster", "data") if given.get(name)]
        if tag == "link" and given.get("rel") not in ("canonical", "license", "author"):
            self.found.append(given.get("href") or "")
        self.found += IN_CSS.findall(given.get("style") or "")

    def handle_data(self, data):
        if self.inside == "style":
            self.found += IN_CSS.findall(data)
        if self.inside == "script":
            self.found += re.findall(r"""import\s*\(?\s*["']((?:https?:)?//[^"']+)""", data)


def off_site_requests(folder: Path) -> list[str]:
    found = []
    for page in folder.rglob("*.html"):
        requests = Requests()
        requests.feed(page.read_text())
        found += [f"{page.name}: {address}" for address in requests.found if OFF_SITE.match(address)]
    for sheet in folder.rglob("*.css"):
        comments_gone = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)
        found += [f"{sheet.name}: {address}" for address in IN_CSS.findall(comments_gone)]
    return found


def test_pages_with_mathematics_and_widgets_stay_on_the_site(site):
    assert off_site_requests(site) == []


def test_what_the_pages_need_is_there(site):
    page, static = (site / "notebooks" / "slider.html").read_text(), site / "_static"
    for script in ("requirejs/require.js", "html-manager/embed-amd.js"):
        assert f"_static/{script}" in page and (static / script).stat().st_size > 10_000
    assert "application/vnd.jupyter.widget-view+json" in page
    assert "_static/mathjax/tex-chtml-full.js" in (site / "book" / "intro.html").read_text()
    assert (static / "mathjax" / "output" / "chtml" / "fonts" / "woff-v2" / "MathJax_Main-Regular.woff").exists()


def test_pictures_of_notebooks_are_numbered_and_told_in_words(site):
    text = (site / "notebooks" / "slider.html").read_text()
    assert '<img alt="One black dot."' in text and '<span class="caption-number">Fig.\N{NO-BREAK SPACE}B1 </span>' in text
    assert 'href="../notebooks/slider.html#fig-dot"' in (site / "book" / "intro.html").read_text()


def test_a_notebook_says_how_to_run_it_and_what_that_needs(site):
    text = (site / "notebooks" / "slider.html").read_text()
    assert "2.5 min, 0.5 GiB of memory, no GPU" in text and "(profile smoke; &lt;M&gt;)" in text
    assert "<pre>.venv/bin/rlli run slider</pre>" in text and "<pre>.venv/bin/voila notebooks/slider.ipynb</pre>" in text
    given = re.search(r'<a href="([^"]+)" download>this notebook', text)[1]
    assert nbformat.read(site / "notebooks" / given, as_version=4).cells[3].outputs  # as executed
    assert "run-it" not in (site / "book" / "intro.html").read_text()


def test_code_is_folded_but_for_the_parameters_and_a_repeated_notice_is_a_line(site):
    text = (site / "notebooks" / "slider.html").read_text()
    cells = text.split('<div class="cell ')[1:]
    assert [("<details" in cell.split("cell_input")[0], "tag_parameters" in cell) for cell in cells] == [
        (False, True), (True, False), (True, False),
    ]  # fmt: skip
    assert '<details class="told"><summary>What the scores are</summary>' in text and "Those of an agent." in text
    assert text.count('class="code-switch"') == text.count('<div id="sliders"') == text.count("need JavaScript") == 1
    assert text.index('<div id="sliders"') < text.index("widget-view+json")
    assert all(
        word not in (site / "book" / "intro.html").read_text() for word in ("code-switch", "need JavaScript", "<details")
    )


def test_the_repository_is_linked_only_where_it_has_an_address():
    shelf = extension("shelf")
    for url, linked in (("https://code.example/me/book/", True), ("", False)):
        config = SimpleNamespace(html_theme_options={"repository_url": url})
        shelf.offer_repository(None, config)
        assert config.html_theme_options["use_repository_button"] is linked
        document = SimpleNamespace(settings=SimpleNamespace(env=SimpleNamespace(config=config)))
        (found,), _ = shelf.repository("repository", "", "the place", 1, SimpleNamespace(document=document))
        assert found.astext() == "the place" and (
            found.get("refuri") == url.rstrip("/") if linked else not hasattr(found, "get")
        )


def test_a_notebook_begins_with_the_verdicts_on_its_claims(site):
    text = (site / "notebooks" / "slider.html").read_text()
    told = text[text.index("</h1>") : text.index("run-it")]
    assert '<a href="../book/claims.html#c2">C2</a> It glides: <b>✗ not reproduced (0 of 2)</b>' in told
    assert told.count("<li>") == 2 and "rides" not in told
    assert 'class="verdicts"' not in (site / "book" / "intro.html").read_text()


def test_a_page_has_numbers_from_the_ledger(site):
    assert "It loses 25\N{NO-BREAK SPACE}% in three." in (site / "book" / "intro.html").read_text()


def extension(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "extensions" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_number_that_was_not_recorded_ends_the_build():
    recorded = extension("recorded")
    app = SimpleNamespace(rlli_numbers={"slider.lost": 0.25})
    env = SimpleNamespace(app=app, docname="book/intro", note_dependency=lambda _: None)
    inliner = SimpleNamespace(document=SimpleNamespace(settings=SimpleNamespace(env=env)))
    assert recorded.number("rec", "", "slider.lost:.2f", 3, inliner)[0][0].astext() == "0.25"
    with pytest.raises(ExtensionError, match=r"book/intro:3: .*slider\.gained"):
        recorded.number("rec", "", "slider.gained:.0%", 3, inliner)


def test_a_reference_to_a_page_has_the_short_title_of_the_contents(site):
    assert '<span class="doc">Slide</span></a>' in (site / "book" / "intro.html").read_text()


@pytest.mark.parametrize("alt", ["", ' alt=" "', ' alt="../_images/dot.png"'])
def test_a_picture_without_words_is_found(tmp_path, alt):
    (tmp_path / "page.html").write_text(f'<img{alt} src="dot.png"><img alt="A dot." src="dot.png">')
    assert (pictures(tmp_path / "page.html").count, pictures(tmp_path / "page.html").found) == (2, ["dot.png"])


@pytest.mark.skipif(not BUILT.exists(), reason="the book is not built here")
def test_every_picture_of_the_built_book_is_told_in_words():
    found = {page.name: pictures(page) for part in ("book", "notebooks") for page in (BUILT / part).glob("*.html")}
    assert {name: p.found for name, p in found.items() if p.found} == {}
    assert sum(p.count for p in found.values()) > 60


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<img src="http://example/x.png">',
        "<style>@import url('https://fonts.example/x');</style>",
        '<p style="background: url(https://example/x.png)">',
        '<script type="module">import("https://cdn.example/x.js")</script>',
    ],
)
def test_the_search_finds_requests_and_lets_links_be(tmp_path, html):
    (tmp_path / "page.html").write_text(html + '<a href="https://example.org">a link</a>')
    assert len(off_site_requests(tmp_path)) == 1


@pytest.mark.skipif(not BUILT.exists(), reason="the book is not built here")
def test_the_built_book_stays_on_the_site():
    assert off_site_requests(BUILT) == []


def test_contents_list_every_page_and_notebook_once():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    listed = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    there = [f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")] + [f"notebooks/{name}" for name in names()]
    assert sorted(listed) == sorted(there)
