"""Expressions over recorded numbers."""

import pytest

from rlli_core.book.ledger.expressions import DEEPEST, LONGEST, evaluate, filled, names_in, written
from rlli_core.errors import LedgerError

NUMBERS = {"a": 2.0, "b": 0.5, "ssim_bep_0.03": 0.8, "g-ddpg_rounds": 30.0}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a - b / 2", 1.75),
        ("-a * b", -1.0),
        ("max(a, b, 'g-ddpg_rounds')", 30.0),
        ("min(a, ssim_bep_0.03)", 0.8),
        ("abs(b - 3) + 1e-1", 2.6),
        ("(a + b) * 2", 5.0),
    ],
)
def test_expressions(expression, value):
    assert evaluate(expression, NUMBERS) == pytest.approx(value)


@pytest.mark.parametrize(
    "expression",
    [
        "", "a b", "a.real ** 2", "a ** 2", "a if b else a", "sum(a, b)", "a[0]", "lambda: 1", "True", "a < b", "'a' 'b'",
        "__import__('os')", "min()", "max(a, key=b)", "abs(a, b)", "open(a)", "a / 0", "[a]", "f'{a}'", "1j", "1e999", "1e300 * 1e300", "a\0b",
        "9**9**9", "9" * 400, "9" * 499 + "a", "*".join(["9" * 90] * 5), f"[{', '.join(['1'] * 150)}]", "'" * 499, "{a}", "a := 9", "1 << 999",
    ],
)  # fmt: skip
def test_nothing_else_is_an_expression(expression):
    with pytest.raises(LedgerError):
        evaluate(expression, NUMBERS)


@pytest.mark.parametrize(
    "nested", ["(" * 240 + "a" + ")" * 240, "-" * 5000 + "a", "-" * 499 + "a", "abs(" * 120 + "a" + ")" * 120]
)
def test_what_is_nested_too_deep_is_refused(nested):
    for door in (lambda: evaluate(nested, NUMBERS), lambda: names_in(nested)):
        with pytest.raises(LedgerError):
            door()


def test_what_is_long_and_flat_is_not():
    assert evaluate("+".join(["a"] * (DEEPEST - 5)), NUMBERS) == 2 * (DEEPEST - 5)
    assert evaluate(f"max({', '.join(['a'] * 100)})", NUMBERS) == 2
    with pytest.raises(LedgerError, match=str(LONGEST)):
        evaluate("a" + " " * LONGEST, NUMBERS)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("b:.0%", "50\N{NO-BREAK SPACE}%"), ("a:d", "2"), ("a:word", "two"), ("a * 10:word", "20"), ("-a:.1f", "−2.0"),
        ("b - a:+.2f", "−1.50"), ("'g-ddpg_rounds' * 1000:,.0f", "30,000"), ("ssim_bep_0.03", "0.8"), ("a - 2:word", "no"),
    ],
)  # fmt: skip
def test_a_field_is_written_out(field, text):
    assert written(field, NUMBERS) == text
    assert filled(f"It is {{{field}}}!", NUMBERS) == f"It is {text}!"


@pytest.mark.parametrize("field", ["b:d", "b:word", "c:.2f", "a:.2q", ":.2f", "", "a:{b}"])
def test_a_field_that_cannot_be_written_is_refused(field):
    with pytest.raises(LedgerError):
        written(field, NUMBERS)
