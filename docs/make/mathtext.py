"""Mathematics as text that is both shown and computed.

Takes: a formula in Python's syntax (``x if x > 0 else alpha * (exp(x) - 1)``). Gives: LaTeX for
readers, and its value for the tests.
The one idea: a formula in the documentation is compared with the function that it describes, so
it cannot be wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

GREEK = frozenset(
    (
        *("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu"),
        *("nu", "pi", "rho", "sigma", "tau", "phi", "psi", "omega", "Phi", "Sigma", "Delta"),
    )
)
# Functions of the formulas: what they are, and how they are written (None: as an operator name).
FUNCTIONS: Mapping[str, tuple[Any, str]] = {
    "exp": (np.exp, r"\exp"),
    "log": (np.log, r"\ln"),
    "tanh": (np.tanh, r"\tanh"),
    "sin": (np.sin, r"\sin"),
    "cos": (np.cos, r"\cos"),
    "sigmoid": (special.expit, r"\sigma"),
    "softplus": (lambda x: np.logaddexp(0.0, x), r"\operatorname{softplus}"),
    "Phi": (special.ndtr, r"\Phi"),
    "phi": (lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi), r"\varphi"),
    "sign": (np.sign, r"\operatorname{sign}"),
    "max": (np.maximum, r"\max"),
    "min": (np.minimum, r"\min"),
    "softmax": (lambda x: special.softmax(x, axis=-1), r"\operatorname{softmax}"),
    "mean": (lambda x: np.mean(x, axis=-1, keepdims=True), r"\operatorname{mean}"),
    "var": (lambda x: np.var(x, axis=-1, keepdims=True), r"\operatorname{var}"),
    "norm": (lambda x: np.linalg.norm(x, axis=-1), ""),
    "sqrt": (np.sqrt, ""),
    "abs": (np.abs, ""),
    "sum": (lambda x: np.sum(x, axis=-1), ""),
}
_BINARY = {
    ast.Add: (1, np.add),
    ast.Sub: (1, np.subtract),
    ast.Mult: (2, np.multiply),
    ast.Div: (2, np.divide),
    ast.Pow: (4, np.power),
}
_COMPARISONS = {
    ast.Lt: ("<", np.less),
    ast.LtE: (r"\le", np.less_equal),
    ast.Gt: (">", np.greater),
    ast.GtE: (r"\ge", np.greater_equal),
    ast.Eq: ("=", np.equal),
    ast.NotEq: (r"\ne", np.not_equal),
}
_ATOM = 5


class FormulaError(ValueError):
    """A formula has something in it that has no meaning here."""


def latex(formula: str) -> str:
    """Return a formula, or an assignment ``a = b``, in LaTeX."""
    statement = _parsed(formula)
    if isinstance(statement, ast.Assign):
        (target,) = statement.targets
        return rf"{_write(target, 0)} \leftarrow {_write(statement.value, 0)}"
    return _write(statement.value, 0)


def value(formula: str, names: Mapping[str, Any]) -> Any:
    """Return what a formula gives for values of its names.

    Raises:
        FormulaError: A name has no value, or a function is not known.
    """
    statement = _parsed(formula)
    if isinstance(statement, ast.Assign):
        raise FormulaError(f"{formula!r} is an assignment: use run")
    with np.errstate(all="ignore"):
        return _compute(statement.value, names)


def run(formulas: Sequence[str], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all names after assignments, done in order."""
    known = dict(names)
    for formula in formulas:
        statement = _parsed(formula)
        if not isinstance(statement, ast.Assign):
            raise FormulaError(f"{formula!r} assigns nothing")
        (target,) = statement.targets
        if not isinstance(target, ast.Name):
            raise FormulaError(f"{formula!r} does not assign to a name")
        known[target.id] = _compute(statement.value, known)
    return known


def _parsed(formula: str) -> ast.Expr | ast.Assign:
    (statement,) = ast.parse(formula).body
    if not isinstance(statement, ast.Expr | ast.Assign):
        raise FormulaError(f"{formula!r} is neither an expression nor an assignment")
    return statement


# --- values --------------------------------------------------------------------------------------


def _compute(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id="pi"):
            return np.pi
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_compute(inner, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)][1](_compute(left, names), _compute(right, names))
        case ast.Compare(left=first, ops=ops, comparators=others):
            held: Any = True
            values = [_compute(part, names) for part in (first, *others)]
            for op, x, y in zip(ops, values[:-1], values[1:], strict=True):
                held = np.logical_and(held, _COMPARISONS[type(op)][1](x, y))
            return held
        case ast.IfExp(test=test, body=body, orelse=other):
            parts = (_compute(part, names) for part in (test, body, other))
            return np.where(*parts)
        case ast.Call(func=ast.Name(id=name), args=args) if name in FUNCTIONS:
            return FUNCTIONS[name][0](*(_compute(part, names) for part in args))
    raise FormulaError(f"no value for {ast.unparse(node)!r}")


# --- LaTeX ---------------------------------------------------------------------------------------


def _write(node: ast.expr, least: int) -> str:
    """Return LaTeX, in parentheses where it binds less than ``least``."""
    text, strength = _written(node)
    return rf"\left({text}\right)" if strength < least else text


def _written(node: ast.expr) -> tuple[str, int]:
    match node:
        case ast.Constant(value=number):
            return f"{number:g}", _ATOM
        case ast.Name(id=name):
            return _symbol(name), _ATOM
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return f"-{_write(inner, 2)}", 1
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return rf"\frac{{{_write(left, 0)}}}{{{_write(right, 0)}}}", 3
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base = _write(left, _ATOM)
            return f"{base}^{{{_write(right, 0)}}}", 4
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            between = r" \cdot " if _starts_with_digit(right) else r"\,"
            return f"{_write(left, 2)}{between}{_write(right, 2)}", 2
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return f"{_write(left, 1)} - {_write(right, 2)}", 1
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{_write(left, 1)} + {_write(right, 1)}", 1
        case ast.Compare(left=first, ops=ops, comparators=others):
            text = _write(first, 1)
            for op, other in zip(ops, others, strict=True):
                text += f" {_COMPARISONS[type(op)][0]} {_write(other, 1)}"
            return text, 0
        case ast.IfExp():
            return _cases(node), _ATOM
        case ast.Call(func=ast.Name(id=name), args=args) if name in FUNCTIONS:
            return _called(name, args)
    raise FormulaError(f"no LaTeX for {ast.unparse(node)!r}")


def _starts_with_digit(node: ast.expr) -> bool:
    return bool(re.match(r"[\d.]", _write(node, 2)))


def _cases(node: ast.expr) -> str:
    lines = []
    while isinstance(node, ast.IfExp):
        lines.append(rf"{_write(node.body, 0)} & \text{{if }} {_write(node.test, 0)}")
        node = node.orelse
    lines.append(rf"{_write(node, 0)} & \text{{otherwise}}")
    return r"\begin{cases}" + r" \\ ".join(lines) + r"\end{cases}"


def _called(name: str, args: Sequence[ast.expr]) -> tuple[str, int]:
    inside = ", ".join(_write(argument, 0) for argument in args)
    if name == "sqrt":
        return rf"\sqrt{{{inside}}}", _ATOM
    if name in ("abs", "norm"):
        bar = "|" if name == "abs" else r"\|"
        return rf"\left{bar}{inside}\right{bar}", _ATOM
    if name == "sum":
        return rf"\sum {_write(args[0], 2)}", 1
    if name == "exp" and "frac" not in inside and len(inside) < 12:
        return f"e^{{{inside}}}", 4
    return rf"{FUNCTIONS[name][1]}\left({inside}\right)", 4


def _symbol(name: str) -> str:
    """Return a name's symbol: ``beta_1`` has an index, ``v_hat`` a hat, ``p_mean`` a bar."""
    head, _, tail = name.partition("_")
    shown = rf"\{head}" if head in GREEK else head
    if len(head) > 1 and head not in GREEK:
        shown = rf"\mathit{{{head}}}"
    if tail == "hat":
        return rf"\hat{{{shown}}}"
    if tail == "mean":
        return rf"\bar{{{shown}}}"
    return f"{shown}_{{{tail}}}" if tail else shown
