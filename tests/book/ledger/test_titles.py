"""Titles of notebooks are tied to checks: made-up ones, and those of the book against the committed notebooks."""

import pytest
import yaml

from rlli_core.book.ledger import claims, pages
from rlli_core.book.ledger.claims import Check, Ledger, Source, check_titles
from rlli_core.book.ledger.entries import Title
from rlli_core.book.ledger.sources import titles
from rlli_core.errors import LedgerError

WON = Check("won, title", "It won", "won", "a - lost.b", at_least=1)
ENTRIES = (Title("won", "It won", (WON,)), Title("lost", "On losing", topic=True))
WORDS = 10


def sources(**numbers):
    return {name: Source(name, found, "smoke", {}, "committed notebook") for name, found in numbers.items()}


def checked(a=3.0, heading="It won", entries=ENTRIES):
    ledger = Ledger((), tuple(entries), (), 0.01, 0.001)
    check_titles(ledger, sources(won={"a": a}, lost={"b": 1.0}), {"won": heading, "lost": "On losing"})


def test_a_title_that_the_numbers_bear_out_passes():
    checked()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 1.5}, "won: 'It won' needs a - lost.b at least 1, and it is 0.5"),
        ({"heading": "It lost"}, "won: its heading is 'It lost', its entry 'It won'"),
        ({"entries": [Title("won", "It won", (WON,))]}, "lost: its title has no entry"),
        ({"entries": [Title(n, t, topic=True) for n, t in (("won", "It won"), ("lost", "On losing"), ("gone", "Gone"))]}, "gone: no such"),
        ({"entries": [Title("won", "It won", (Check("w", "", "won", "c", 1),)), Title("lost", "On losing", topic=True)]}, "no number 'c'"),
    ],
)  # fmt: skip
def test_a_title_that_does_not_fit_is_refused(given, message):
    with pytest.raises(LedgerError, match=message):
        checked(**given)


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(LedgerError) as refused:
        checked(a=0.0, heading="It lost")
    assert "its heading is" in str(refused.value) and "it is -1" in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"title": "It won"}, "n needs a check"),
        ({"title": "It won", "topic": True, "checks": [{"value": "a", "at_least": 1}]}, "n needs a check"),
        ({"title": "It won", "checks": [{"value": "a"}]}, "could not fail"),
        ({"title": "It won", "checks": [{"value": "a +", "at_least": 1}]}, "no expression"),
        ({"checks": [{"value": "a", "at_least": 1}]}, "title"),
    ],
)
def test_a_faulty_entry_is_refused(tmp_path, entry, message):
    text = {
        "agreement": {"relative": 0.01, "absolute": 0.001},
        "claims": [],
        "titles": [{"notebook": "n"} | entry],
        "figures": [],
    }
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(LedgerError, match=message):
        claims.read(tmp_path / "claims.yaml")


def test_nothing_is_written_where_a_title_does_not_fit(tmp_path, monkeypatch):
    for name in pages.PAGES:
        (tmp_path / name).write_text(f"# Head\n\n{pages.BEGIN}\n{pages.END}\n")
    monkeypatch.setattr(pages, "titles", lambda: titles() | {"channel": "Another"})
    with pytest.raises(LedgerError, match="channel: its heading is 'Another'"):
        pages.write(tmp_path, claims.read(), claims.committed())
    assert not (tmp_path / "claims.json").exists() and "C1" not in (tmp_path / "claims.md").read_text()


def test_the_titles_of_the_book_are_borne_out_by_its_numbers():
    check_titles(claims.read(), claims.committed(), titles())


def test_titles_are_short():
    for title in claims.read().titles:
        words = title.title.split(":")[-1].split() if title.title.startswith("Fig") else title.title.split()
        assert len(words) <= WORDS, title.title


def test_every_check_of_a_title_can_fail():
    for check in (check for title in claims.read().titles for check in title.checks):
        assert not all(check.keeps(value) for value in (-1e9, 0, 1e9)), check.id
