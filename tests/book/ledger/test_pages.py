"""The generated parts of the book's pages, and that the committed pages are what would be generated."""

import re

import pytest

from rlli_core.book.ledger import claims, pages
from rlli_core.book.runner import notebooks
from rlli_core.errors import InvalidArgument, LedgerError


@pytest.fixture(scope="module")
def ledger():
    return claims.read()


@pytest.fixture(scope="module")
def committed():
    return claims.committed()


@pytest.fixture(scope="module")
def page(ledger, committed):
    return pages.claims_page(claims.findings(ledger, committed))


@pytest.mark.parametrize("name", ["claims.md", "figure_map.md", "figure_list.md", "status.md"])
def test_the_committed_pages_are_what_would_be_generated(name, ledger, committed):
    path = pages.BOOK / name
    assert path.read_text() == pages.filled(path, pages.generated(ledger, committed)[name]), "run `rlli claims --write`"


def test_the_page_holds_the_numbers_of_every_check(ledger, committed, page):
    found = claims.findings(ledger, committed)
    assert pages.differences(page, ledger, found) == []
    checks = [check.id for claim in ledger.claims for check in claim.checks]
    assert re.findall(r"^\| (C\d+\.\d+) \|", page, re.M) == [row[1] for row in pages._ROW.finditer(page)] == checks


def moved(committed, name, **numbers):
    source = committed[name]
    changed = claims.Source(name, source.numbers | numbers, "smoke", source.seeds, source.parameters, "latest run")
    return committed | {name: changed}


def test_a_number_that_moved_is_named(ledger, committed, page):
    value = committed["fig02_shared_paths"].numbers["missed_similar_early"]
    for factor, count in ((1.003, 0), (1.1, 1)):
        sources = moved(committed, "fig02_shared_paths", missed_similar_early=value * factor)
        different = pages.differences(page, ledger, claims.findings(ledger, sources))
        assert len(different) == count
    assert "missed_similar_early" in different[0] and re.match(r"C1\.\d: ", different[0])


def test_a_time_that_moved_is_not(ledger, committed, page):
    sources = moved(committed, "fig02_shared_paths", alone_s=1e3)
    assert pages.differences(page, ledger, claims.findings(ledger, sources)) == []
    sources = moved(committed, "ablations", linear_share=0.5)
    assert pages.differences(page, ledger, claims.findings(ledger, sources)) == []


def test_a_check_that_only_one_of_both_has_is_named(ledger, committed, page):
    found = claims.findings(ledger, committed)
    without = re.sub(r"^\| C3\.1 \|.*\n", "", page, flags=re.M)
    assert [line[:25] for line in pages.differences(without, ledger, found)] == ["C3.1: nothing on the page"]
    more = page + "\n| C99.1 | A claim | at least 1 | 2 | ✓ holds |"
    assert pages.differences(more, ledger, found) == ["C99.1: on the page, and not in the ledger"]


def test_links_lead_to_notebooks_pages_and_headings(ledger, committed):
    for name, text in pages.generated(ledger, committed).items():
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            if target.endswith(".ipynb"):
                path = (pages.BOOK / target).resolve()
                assert path.is_file(), f"{name}: {target}"
                assert not anchor or anchor in map(pages.slug, pages.headings_of(path.stem)), f"{name}: {target}#{anchor}"
            elif name == "figure_list.md":
                assert (pages.BOOK / target).is_file() and not anchor, f"{name}: {target}"
            else:
                assert target in ("", "claims.md") and re.fullmatch(r"c\d+", anchor), f"{name}: {target}#{anchor}"


def test_every_figure_has_a_page_and_those_with_a_panel_its_slider(ledger, committed):
    rows = pages.generated(ledger, committed)["figure_map.md"].splitlines()[2:]
    assert len(rows) == 14
    for figure, row in zip(ledger.figures, rows):
        assert f"notebooks/{figure.pages[0]}.ipynb" in row
        assert ("turn\N{NO-BREAK SPACE}it\N{NO-BREAK SPACE}here" in row) == any(pages.slider_of(name) for name in figure.pages)
        assert ("in the explorer" in row) == figure.explorer
        assert all(f"[{claim}](claims.md#{claim.lower()})" in row for claim in figure.claims)


def test_the_list_has_every_figure_once_in_the_order_of_the_contents():
    rows = pages.figure_list().splitlines()[2:]
    named = re.findall(r"\{numref\}`([^`]+)`", "\n".join(rows))
    assert len(rows) == len(named) == len(set(named)) > 60
    assert named[0] == "fig-system" and "One round. Solid arrows" in rows[0]
    assert (
        named.index("fig-diffusion-walks")
        < named.index("fig-08-images")
        < named.index("fig-11-curves")
        < named.index("fig-own-kept")
    )
    assert "| [Fig. 8: bit errors](../notebooks/fig08_bit_errors.ipynb) |" in rows[named.index("fig-08-images")]


def test_the_status_page_names_every_notebook(ledger, committed):
    text = pages.status_page(ledger.figures, committed)
    assert all(f"notebooks/{name}.ipynb" in text for name in notebooks.names())


def test_status_shows_what_a_run_noted_and_a_dash_for_what_it_did_not(ledger):
    about = {"wall_s": 75, "peak_memory_mib": 512, "started": "2026-01-02T03:04:05+00:00"}
    about |= {"machine": "M", "versions": {"torch": "2"}}
    new = claims.Source("fig09_steps", {}, "full", {}, {}, "latest run", about)
    old = claims.Source("channel", {}, "smoke", {}, {}, "committed notebook", {"wall_s": 150})
    text = pages.status_page(ledger.figures, {"fig09_steps": new, "channel": old})
    assert "| 9 | 75 s | 0.5 GiB | 2026-01-02 | full | 1 |" in text and "1. M; torch 2" in text
    assert "| 2.5 min | – | – | smoke | – |" in text and "A dash" in text


def test_writing_replaces_only_what_is_between_the_comments(tmp_path, ledger, committed):
    for name in ("claims.md", "figure_map.md", "figure_list.md", "status.md"):
        (tmp_path / name).write_text(f"# By hand\n\n{pages.BEGIN}\nold\n{pages.END}\n\nMore by hand.\n")
    assert len(pages.write(tmp_path, ledger, committed)) == 4
    text = (tmp_path / "status.md").read_text()
    assert text.startswith("# By hand\n\n") and text.endswith("\n\nMore by hand.\n") and "old" not in text
    assert pages.write(tmp_path, ledger, committed) == []
    (tmp_path / "status.md").write_text("# No comments\n")
    with pytest.raises(LedgerError, match="generated"):
        pages.write(tmp_path, ledger, committed)


def test_a_folder_without_the_pages_is_refused(tmp_path, ledger, committed):
    with pytest.raises(InvalidArgument, match="figure_map.md"):
        pages.write(tmp_path, ledger, committed)


def test_anchors_are_those_of_code_hosts():
    assert pages.slug("Distances: (14), (16), (17)") == "distances-14-16-17"
    assert pages.slug("Turn it yourself") == "turn-it-yourself"
