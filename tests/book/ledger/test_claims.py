"""The ledger: verdicts of made-up claims, and the real ledger against the committed notebooks."""

from dataclasses import replace

import pytest
import yaml

from rlli_core.book.ledger import claims, pages
from rlli_core.book.ledger.claims import Check, Claim, Result, Source
from rlli_core.book.runner import notebooks
from rlli_core.errors import LedgerError

NUMBERS = {"a": 2.0, "b": 0.5, "ssim_bep_0.03": 0.8, "g-ddpg_rounds": 30.0, "a_low": 1.0, "a_high": 3.0}


def source(numbers=NUMBERS, name="fig01_sum"):
    return {name: Source(name, numbers, "smoke", {"seeds": 8}, "committed notebook")}


def claim(*checks):
    numbered = [Check(id=f"C1.{k}", says="It is so", notebook="fig01_sum", **check) for k, check in enumerate(checks, start=1)]
    return Claim("C1", "Sums", "Fig. 1", "They add up.", "They do.", "fig01_sum", "Sums", tuple(numbered))


HOLDS, FAILS = {"value": "a", "at_least": 1}, {"value": "a", "at_most": 1}
OPEN = {"value": "clip_score", "at_least": 1, "gpu": True}
CANNOT = {"untestable": Check("u", "{b:.1f} is all there is", "fig01_sum", "b", at_most=0.5)}
CAN = {"untestable": Check("u", "{b:.1f} is all there is", "fig01_sum", "b", at_most=0.4)}


@pytest.mark.parametrize(
    ("checks", "verdict", "count"),
    [
        ([HOLDS, HOLDS], "reproduced", "2 of 2 checks hold"),
        ([HOLDS, FAILS], "partly", "1 of 2 checks hold"),
        ([FAILS], "not reproduced", "0 of 1 checks hold"),
        ([OPEN], "needs a GPU", "0 of 0 checks hold, 1 more need a GPU"),
        ([HOLDS, OPEN], "reproduced", "1 of 1 checks hold, 1 more need a GPU"),
        ([FAILS, OPEN], "not reproduced", "0 of 1 checks hold, 1 more need a GPU"),
        ([HOLDS | {"arithmetic": True}, FAILS], "not reproduced", "0 of 1 checks hold, 1 more by arithmetic"),
        ([HOLDS | {"arithmetic": True}], "by arithmetic only", "1 of 1 checks hold, by arithmetic"),
        ([FAILS | {"arithmetic": True}], "by arithmetic only", "0 of 1 checks hold, by arithmetic"),
        ([HOLDS | {"arithmetic": True}, HOLDS], "reproduced", "1 of 1 checks hold, 1 more by arithmetic"),
        ([HOLDS | CANNOT], "not testable here", "what its 1 checks give was settled beforehand"),
        ([FAILS | CANNOT, HOLDS | {"arithmetic": True}], "not testable here", "what its 1 checks give was settled beforehand"),
        ([FAILS | CANNOT, HOLDS], "reproduced", "1 of 1 checks hold, 1 more settled beforehand"),
        ([FAILS | CAN, HOLDS], "partly", "1 of 2 checks hold"),
    ],
)
def test_the_verdict_is_computed_from_the_checks(checks, verdict, count):
    finding = claims.judge(claim(*checks), source())
    assert (finding.verdict, finding.count) == (verdict, count)


def test_why_a_check_is_not_testable_is_told_with_its_numbers():
    cannot, can = claims.judge(claim(FAILS | CANNOT, FAILS | CAN), source()).results
    assert (cannot.untestable, cannot.outcome, cannot.value) == ("0.5 is all there is", "○ not testable here", 2.0)
    assert (can.untestable, can.outcome) == ("", "✗ fails")


def test_the_verdict_is_that_of_the_reading_which_the_text_supports():
    checks = [HOLDS | {"reading": "wide"}, FAILS | {"reading": "strict"}, HOLDS]
    for reading, verdict in (("wide", "reproduced"), ("strict", "partly")):
        finding = claims.judge(replace(claim(*checks), reading=reading), source())
        assert finding.verdict == verdict
        assert [(r["reading"], r["verdict"], r["count"]) for r in finding.readings] == [
            ("wide", "reproduced", "2 of 2 checks hold"), ("strict", "partly", "1 of 2 checks hold"),
        ]  # fmt: skip
    assert finding.summary == "◐ partly (1 of 2; ✓ 2 of 2 if read as “wide”)"


def test_a_reason_is_filled_from_the_numbers_of_its_notebook_and_of_others():
    both = source() | source({"a": 7.0}, "fig02_sum")
    told = replace(claim(HOLDS), reason="It has {b:.0%} of {fig02_sum.a:word}.")
    assert claims.judge(told, both).reason == "It has 50\N{NO-BREAK SPACE}% of seven."
    with pytest.raises(LedgerError, match=r"C1: no number 'fig02_sum\.a'"):
        claims.judge(told, source())


def test_a_number_that_needs_a_gpu_counts_where_it_was_recorded():
    assert claims.judge(claim(OPEN), source({"clip_score": 0.5})).verdict == "not reproduced"


def test_a_missing_number_is_no_verdict():
    with pytest.raises(LedgerError, match=r"C1\.2, committed notebook of fig01_sum: no number 'c'.*rlli run fig01_sum"):
        claims.judge(claim(HOLDS, {"value": "a + c", "at_least": 1}), source())


def test_a_notebook_that_is_not_there_is_named():
    with pytest.raises(LedgerError, match="'fig01_sum' among fig02_sum"):
        claims.judge(claim(HOLDS), source(name="fig02_sum"))


@pytest.mark.parametrize(
    ("limits", "holds", "clear"),
    [
        ({"at_least": 0}, True, True),
        ({"at_least": 2}, True, False),
        ({"at_most": 1.5}, False, False),
        ({"at_least": 4}, False, True),
        ({"at_least": 1.5, "at_most": 2.5}, True, False),
        ({"at_least": 0, "at_most": 9}, True, True),
        ({"at_least": 5, "at_most": 9}, False, True),
    ],
)
def test_limits_and_intervals(limits, holds, clear):
    (result,) = claims.judge(claim({"value": "a", "interval": ("a_low", "a_high")} | limits), source()).results
    assert (result.value, result.low, result.high, result.holds, result.clear) == (2, 1, 3, holds, clear)


def test_times_are_not_compared():
    assert Check("C1.1", "", "n", "a", 1).compared
    assert not Check("C1.1", "", "n", "1 - a / alone_s", 1).compared
    assert not Check("C1.1", "", "n", "update_ms", 1).compared
    assert not Check("C1.1", "", "n", "a", 1, timing=True).compared


ENTRY = {"id": "C1", "title": "T", "where": "Fig. 1", "claim": "It is.", "paper": "So.", "notebook": "n", "section": "S"}
CHECK = {"says": "x", "value": "a", "at_least": 1}
FIGURE = {"paper": "Fig. 1", "shows": "All", "pages": ["n"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checks": [{"says": "x", "value": "a"}]}, "could not fail"),
        ({"checks": []}, "no check"),
        ({"checks": [{"says": "x", "value": "a", "at_lest": 1}]}, "at_lest"),
        ({"checks": [{"says": "x", "value": "a +", "at_least": 1}]}, "no expression"),
        ({"checks": [{"says": "a | b", "value": "a", "at_least": 1}]}, "table"),
        ({"checks": [CHECK], "verdict": "reproduced"}, "verdict"),
        ({"checks": [CHECK | {"reading": "wide"}]}, "needs a reading"),
        ({"checks": [CHECK | {"reading": "wide"}], "reading": "narrow"}, "wide"),
        ({"checks": [CHECK | {"untestable": {"says": "x", "value": "a"}}]}, "could not fail"),
        ({"checks": [CHECK], "untestable": {"says": "x", "value": "a +", "at_most": 1}}, "no expression"),
        ({"checks": [{"says": "x", "value": "-" * 400 + "a", "at_least": 1}]}, "inside one another"),
    ],
)
def test_a_faulty_ledger_is_refused(tmp_path, changes, message):
    text = {"agreement": {"relative": 0.01, "absolute": 0.001}, "claims": [ENTRY | changes], "titles": [], "figures": [FIGURE]}
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(LedgerError, match=message):
        claims.read(tmp_path / "claims.yaml")


def test_ids_and_figures_must_fit(tmp_path):
    good = ENTRY | {"checks": [{"says": "x", "value": "a", "at_least": 1}]}
    agreement = {"relative": 0.01, "absolute": 0.001}
    for entries, figures, message in (
        ([good, good], [FIGURE], "C1 stands there twice"),
        ([good], [FIGURE, FIGURE], "Fig. 1 stands there twice"),
        ([good], [FIGURE | {"claims": ["C2"]}], "names C2"),
    ):
        (tmp_path / "claims.yaml").write_text(
            yaml.safe_dump({"agreement": agreement, "claims": entries, "titles": [], "figures": figures})
        )
        with pytest.raises(LedgerError, match=message):
            claims.read(tmp_path / "claims.yaml")


@pytest.fixture(scope="module")
def ledger():
    return claims.read()


def test_the_ledger_has_every_claim_and_every_figure(ledger):
    assert [claim.id for claim in ledger.claims] == [f"C{k}" for k in range(1, 16)]
    assert [figure.paper for figure in ledger.figures] == [f"Fig. {k}" for k in range(1, 15)]
    assert {name for figure in ledger.figures for name in figure.pages} <= set(notebooks.names())


def test_each_claim_is_measured_where_it_says(ledger):
    committed = claims.committed()
    for found in claims.findings(ledger, committed):  # raises where a number is missing
        assert found.claim.section in pages.headings_of(found.claim.notebook), found.claim.id
        assert found.verdict in claims.SYMBOLS and found.found and "{" not in found.found
        if found.verdict != "reproduced":
            assert found.claim.reason, f"{found.claim.id} needs a reason"


def test_the_books_own_claims_stand_apart_and_are_measured_where_they_say(ledger):
    assert [claim.id for claim in ledger.own] == [f"H{k}" for k in range(1, len(ledger.own) + 1)] and len(ledger.own) >= 5
    for found in claims.findings(ledger, claims.committed(), own=True):
        assert found.claim.own and not found.claim.paper
        assert found.claim.section in pages.headings_of(found.claim.notebook), found.claim.id
        words = {"✓": "holds", "◐": "holds in part", "✗": "does not hold"}
        assert found.verdict == words[found.symbol] and found.summary.startswith(f"{found.symbol} {found.verdict} (")
        assert found.claim.reason or found.symbol == "✓", f"{found.claim.id} needs a reason"


def test_every_check_can_fail(ledger):
    for check in (check for claim in (*ledger.claims, *ledger.own) for check in claim.checks):
        assert not all(check.keeps(value) for value in (-1e9, 0, 1e9)), check.id


def test_numbers_are_shown_short():
    assert [claims.show(x) for x in (0.00016384, 16000.0, 12362.2, 0.5, -0.0361, 0.0, 5)] == [
        "0.000164", "16000", "12362", "0.5", "-0.0361", "0", "5",
    ]  # fmt: skip


def test_as_data_is_whole():
    (data,) = claims.as_data([claims.judge(claim(HOLDS, OPEN), source())])
    assert data["verdict"] == "reproduced" and data["section"] == "Sums"
    (given,) = data["sources"]
    assert given == {
        "notebook": "fig01_sum",
        "origin": "committed notebook",
        "profile": "smoke",
        "seeds": {"seeds": 8},
        "started": "",
    }
    first, second = data["checks"]
    assert (first["value"], first["at_least"], first["measured"], first["holds"]) == ("a", 1, 2.0, True)
    assert second["measured"] is None and second["holds"] is None and second["outcome"] == "needs a GPU"
    assert (first["required"], first["compared"], first["outcome"], data["symbol"]) == ("at least 1", True, "✓ holds", "✓")
    assert Result(claim(OPEN).checks[0]).holds is None
