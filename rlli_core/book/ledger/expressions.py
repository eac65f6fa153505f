"""Arithmetic over recorded numbers, as the checks of the claims ledger have it."""

import ast
import operator
import re
from collections.abc import Mapping

from ...errors import LedgerError

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_FUNCTIONS = {"min": min, "max": max, "abs": abs}
# A name in an expression: in quotes, or a word that may have dots in it, as in ssim_bep_0.03.
_NAME = re.compile(r"'([^']*)'|\b([A-Za-z_][\w.]*)")


def evaluate(expression: str, numbers: Mapping[str, float]) -> float:
    """The value of `expression`: names of `numbers`, numbers, + - * /, and min, max, abs; nothing else is allowed.

    Raises:
        LedgerError: something else stands in it, a name is not among `numbers`, or a division by zero.

    >>> evaluate("max(a, ssim_bep_0.1) - 'g-ddpg' / 2", {"a": 1.0, "ssim_bep_0.1": 3.0, "g-ddpg": 4.0})
    1.0
    """
    try:
        return float(_value(_tree(expression), numbers))
    except ZeroDivisionError as error:
        raise LedgerError(f"{expression}: division by zero") from error


def names_in(expression: str) -> set[str]:
    """The recorded numbers that `expression` uses."""
    constants = (node.value for node in ast.walk(_tree(expression)) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def _tree(expression: str) -> ast.expr:
    quoted = _NAME.sub(lambda found: found[0] if found[2] in _FUNCTIONS else repr(found[1] or found[2]), expression)
    try:
        return ast.parse(quoted, mode="eval").body
    except SyntaxError as error:
        raise LedgerError(f"{expression!r} is no expression over recorded numbers") from error


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
