"""Expressions over recorded numbers."""

import pytest

from rlli_core.book.ledger.expressions import evaluate
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
        "__import__('os')", "min()", "max(a, key=b)", "abs(a, b)", "open(a)", "a / 0", "[a]", "f'{a}'", "1j",
    ],
)  # fmt: skip
def test_nothing_else_is_an_expression(expression):
    with pytest.raises(LedgerError):
        evaluate(expression, NUMBERS)
