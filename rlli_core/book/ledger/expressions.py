"""Arithmetic over recorded numbers, as the checks of the claims ledger have it, and numbers in texts."""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

from ...errors import LedgerError

LONGEST, DEEPEST = 500, 50
"""An expression's most characters, and the most operations inside one another."""

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max, "abs": abs}
# A name in an expression: in quotes, or a word that may have dots in it, as in ssim_bep_0.03.
_NAME = re.compile(r"'([^']*)'|\b([A-Za-z_][\w.]*)")
_FIELD = re.compile(r"\{([^{}]*)\}")
_WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()


def evaluate(expression: str, numbers: Mapping[str, float]) -> float:
    """The value of `expression`: names of `numbers`, numbers, + - * /, and min, max, abs; nothing else is allowed.

    Raises:
        LedgerError: something else stands in it, it is too long or too deep (`LONGEST`, `DEEPEST`), a name is not among
            `numbers`, or the value is not finite.

    >>> evaluate("max(a, ssim_bep_0.1) - 'g-ddpg' / 2", {"a": 1.0, "ssim_bep_0.1": 3.0, "g-ddpg": 4.0})
    1.0
    """
    try:
        value = float(_value(_tree(expression), numbers))
    except ArithmeticError as error:
        raise LedgerError(f"{expression}: {error}") from error
    if not math.isfinite(value):
        raise LedgerError(f"{expression} is {value}, not a finite number")
    return value


def names_in(expression: str) -> set[str]:
    """The recorded numbers that `expression` uses."""
    constants = (node.value for node in ast.walk(_tree(expression)) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def written(field: str, numbers: Mapping[str, float]) -> str:
    """What stands in a text for `field`, an expression and after a colon how to write its value.

    That is a format of Python's `format`, or `word` for a whole number in words up to twelve. A sign of a percentage and
    a minus are set as in the rest of the book.

    Raises:
        LedgerError: as `evaluate`; an unknown format; a value that is not whole where `d` or `word` asks for it.

    >>> written("1 - lost:.0%", {"lost": 0.25}), written("won:word", {"won": 8}), written("a - b:+.2f", {"a": 1, "b": 3})
    ('75\\xa0%', 'eight', '−2.00')
    """
    expression, _, form = field.partition(":")
    value = evaluate(expression, numbers)
    if form in ("word", "d"):
        if value != int(value):
            raise LedgerError(f"{field}: {value} is not a whole number")
        value = int(value)
        if form == "word" and 0 <= value < len(_WORDS):
            return _WORDS[value]
        form = "d"
    try:
        text = format(value, form or ".3g")
    except ValueError as error:
        raise LedgerError(f"{field}: {error}") from error
    return text.replace("%", "\N{NO-BREAK SPACE}%").replace("-", "\N{MINUS SIGN}")


def filled(text: str, numbers: Mapping[str, float]) -> str:
    """`text` with every field in braces written out.

    >>> filled("All lose at most {max(a, b):.2f}.", {"a": 0.031, "b": 0.012})
    'All lose at most 0.03.'
    """
    return _FIELD.sub(lambda found: written(found[1], numbers), text)


def _tree(expression: str) -> ast.expr:
    if len(expression) > LONGEST:
        raise LedgerError(f"{expression[:40]}... has more than {LONGEST} characters")
    quoted = _NAME.sub(lambda found: found[0] if found[2] in _FUNCTIONS else repr(found[1] or found[2]), expression)
    try:
        tree = ast.parse(quoted, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise LedgerError(f"{expression!r} is no expression over recorded numbers") from error
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise LedgerError(f"{expression[:40]}... has more than {DEEPEST} operations inside one another")
    return tree


def _value(node: ast.expr, numbers: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=str(name)):
            if name not in numbers:
                raise LedgerError(f"no number {name!r} was recorded")
            return numbers[name]
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.BinOp(left, kind, right) if type(kind) in _OPERATORS:
            return _OPERATORS[type(kind)](_value(left, numbers), _value(right, numbers))
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, numbers)
        case ast.Call(ast.Name("abs"), [argument], []):
            return abs(_value(argument, numbers))
        case ast.Call(ast.Name(name), [_, *_] as arguments, []) if name in ("min", "max"):
            return _FUNCTIONS[name](_value(argument, numbers) for argument in arguments)
    raise LedgerError(f"{ast.unparse(node)} may not stand in an expression: names, numbers, + - * /, min, max, abs")
