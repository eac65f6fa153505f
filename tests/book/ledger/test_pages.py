"""claims.json and the generated parts of the book's pages, and that the committed ones are what would be generated."""

import copy
import json
import re
from dataclasses import replace

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
def data(ledger, committed):
    return pages.as_json(ledger, committed)


@pytest.fixture(scope="module")
def parts(ledger, committed, data):
    return pages.generated(ledger, committed, data)


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_committed_pages_are_what_would_be_generated(name, parts):
    path = pages.BOOK / name
    assert path.read_text() == pages.filled(path, parts[name]), "run `rlli claims --write`"


def test_the_committed_numbers_are_those_of_the_committed_notebooks(data):
    assert pages.read_numbers(pages.BOOK / "claims.json") == json.loads(json.dumps(data)), "run `rlli claims --write`"


def test_the_page_holds_the_numbers_of_every_check(ledger, data, parts):
    page = parts["claims.md"]
    assert pages.differences(data, data) == []
    rows = {row[0]: row for row in re.findall(r"^\| ([CH]\d+\.\d+) \| .* \| (.*) \| (.*) \| (.*) \|$", page, re.M)}
    checks = [check for claim in data["claims"] + data["own"] for check in claim["checks"]]
    known = [check.id for claim in (*ledger.claims, *ledger.own) for check in claim.checks]
    assert list(rows) == [check["id"] for check in checks] == known
    for check in checks:
        _, required, measured, outcome = rows[check["id"]]
        assert (required, outcome) == (check["required"], check["outcome"])
        assert measured.split(" ")[0] == claims.show(check["measured"])
        assert measured.count(" to ") == (check["low"] is not None)


def moved(committed, name, **numbers):
    source = committed[name]
    changed = replace(source, numbers=source.numbers | numbers, origin="latest run")
    return committed | {name: changed}


def test_a_number_that_moved_is_named(ledger, committed, data):
    value = committed["fig02_shared_paths"].numbers["missed_similar_early"]
    for factor, count in ((1.003, 0), (1.1, 1)):
        sources = moved(committed, "fig02_shared_paths", missed_similar_early=value * factor)
        different = pages.differences(data, pages.as_json(ledger, sources))
        assert len(different) == count
    assert "missed_similar_early" in different[0] and re.match(r"C1\.\d: ", different[0])


def test_a_time_that_moved_is_not(ledger, committed, data):
    sources = moved(committed, "fig02_shared_paths", alone_s=1e3)
    assert pages.differences(data, pages.as_json(ledger, sources)) == []
    sources = moved(committed, "ablations", linear_share=0.5)
    assert pages.differences(data, pages.as_json(ledger, sources)) == []


def test_a_check_that_only_one_of_both_has_is_named(data):
    less, more = copy.deepcopy(data), copy.deepcopy(data)
    del less["claims"][2]["checks"][0]
    assert [line[:25] for line in pages.differences(less, data)] == ["C3.1: nothing in the book"]
    more["claims"][0]["checks"].append({"id": "C99.1"})
    assert pages.differences(more, data) == ["C99.1: in the book, and not in the ledger"]


def test_an_interval_that_is_gone_is_named(data):
    other = copy.deepcopy(data)
    other["claims"][0]["checks"][0]["low"] = other["claims"][0]["checks"][0]["high"] = None
    assert len(pages.differences(other, data)) == len(pages.differences(data, other)) == 1


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"claims": []}'])
def test_a_file_without_numbers_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "claims.json").write_text(content)
    with pytest.raises(InvalidArgument, match="book/claims.json"):
        pages.read_numbers(tmp_path / "claims.json")


def test_a_claim_with_readings_and_without_a_test_says_so(data):
    claim = copy.deepcopy(next(claim for claim in data["claims"] if claim["readings"]))
    page = pages.rendered("claims.md", claims=[claim])
    wide, strict = claim["readings"]
    assert f"**{claim['symbol']} {claim['verdict']}**: {claim['count']}, read as “{wide['reading']}”, measured in" in page
    assert f"Read as “{strict['reading']}”: {strict['symbol']} {strict['verdict']}, {strict['count']}." in page
    claim["checks"][0] |= {"untestable": "There is no room."}
    assert f"Not testable here ({claim['checks'][0]['id']}): There is no room." in pages.rendered("claims.md", claims=[claim])
    for check in claim["checks"]:
        check["untestable"] = "There is no room."
    page = pages.rendered("claims.md", claims=[claim])
    assert page.count("There is no room.") == 1 and "Not testable here: There" in page


def test_links_lead_to_notebooks_pages_and_headings(parts):
    for name, text in parts.items():
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            if target.endswith(".ipynb"):
                path = (pages.BOOK / target).resolve()
                assert path.is_file(), f"{name}: {target}"
                assert not anchor or anchor in map(pages.slug, pages.headings_of(path.stem)), f"{name}: {target}#{anchor}"
            elif name == "figure_list.md":
                assert (pages.BOOK / target).is_file() and not anchor, f"{name}: {target}"
            elif not target.startswith("certificates/"):
                assert target in ("", "claims.md") and re.fullmatch(r"[ch]\d+", anchor), f"{name}: {target}#{anchor}"


def test_the_findings_have_a_line_a_claim_with_verdict_link_and_page(ledger, data, parts):
    lines = [line for line in parts["findings.md"].splitlines() if "](claims.md#" in line]
    assert len(lines) == len(ledger.claims) + len(ledger.own) < 30  # one screen
    for claim, line in zip(data["claims"] + data["own"], lines):
        kept = f"{claim['symbol']} {claim['verdict']}".replace(" ", "\N{NO-BREAK SPACE}")
        assert line.startswith(f"| {kept} | [{claim['title']}](claims.md#{claim['id'].lower()}) | {claim['found']} | [")
        assert f"notebooks/{claim['notebook']}.ipynb" in line
    assert parts["intro.md"].count(" · ") == parts["findings.md"].count(" · ")


def test_every_figure_has_a_page_and_those_with_a_panel_its_slider(ledger, parts):
    rows = parts["figure_map.md"].splitlines()[2:]
    assert len(rows) == 14
    for figure, row in zip(ledger.figures, rows):
        assert f"notebooks/{figure.pages[0]}.ipynb" in row
        assert ("turn\N{NO-BREAK SPACE}it\N{NO-BREAK SPACE}here" in row) == any(pages.slider_of(name) for name in figure.pages)
        assert ("in the explorer" in row) == figure.explorer
        assert all(f"[{claim}](claims.md#{claim.lower()})" in row for claim in figure.claims)


def test_the_list_has_every_figure_once_in_the_order_of_the_contents(parts):
    rows = parts["figure_list.md"].splitlines()[2:]
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


def test_the_status_page_names_every_notebook(parts):
    text = parts["status.md"]
    assert all(f"notebooks/{name}.ipynb" in text for name in notebooks.names())


def test_status_shows_what_a_run_noted_and_a_dash_for_what_it_did_not(ledger, data):
    about = {"wall_s": 75, "peak_memory_mib": 512, "started": "2026-01-02T03:04:05+00:00"}
    about |= {"machine": "M", "versions": {"torch": "2"}}
    new = claims.Source("fig09_steps", {}, "full", **about)
    old = claims.Source("channel", {}, "smoke", wall_s=150)
    text = pages.generated(ledger, {"fig09_steps": new, "channel": old}, data)["status.md"]
    assert "| 9 | 75 s | 0.5 GiB | 2026-01-02 | full | 1 |" in text and "1. M; torch 2" in text
    assert "| 2.5 min | – | – | smoke | – |" in text and "A dash" in text


def test_writing_replaces_only_what_is_between_the_comments(tmp_path, ledger, committed):
    for name in pages.PAGES:
        (tmp_path / name).write_text(f"# By hand\n\n{pages.BEGIN}\nold\n{pages.END}\n\nMore by hand.\n")
    assert len(pages.write(tmp_path, ledger, committed)) == 1 + len(pages.PAGES)
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
