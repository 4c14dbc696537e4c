"""Shape of loops: what statements read and change, and how many lanes suit them.

Takes: statements. Gives: facts that decide how they are written.
The one idea: decisions are made from the statements alone, never from a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chainrule.codegen.loops_context import Changed
from chainrule.codegen.target import Target
from chainrule.ir.expr import (
    Acc,
    Axis,
    Call,
    Expr,
    Index,
    Load,
    Read,
    Within,
    extremes,
    walk,
)
from chainrule.ir.kernel import Accumulate, Declare, Loop, Statement, Store
from chainrule.ir.scalar import FUNCTIONS

# Functions of so many operations are written as about twice as many instructions.
_LONG_FUNCTION = 10


def each(body: Sequence[Statement]) -> Iterator[Statement]:
    """Yield statements and those inside of them."""
    for statement in body:
        yield statement
        if isinstance(statement, Loop):
            yield from each(statement.body)


def loops_in(statement: Statement) -> list[Loop]:
    """Return the loops that a statement is or contains."""
    return [inner for inner in each((statement,)) if isinstance(inner, Loop)]


def expressions(body: Sequence[Statement]) -> list[Expr]:
    """Return all expressions of statements, shared ones once for each statement."""
    found: list[Expr] = []
    for statement in each(body):
        if isinstance(statement, Store):
            found.extend(walk(statement.value))
            if statement.dynamic is not None:
                found.extend(walk(statement.dynamic))
        elif isinstance(statement, Accumulate):
            found.extend(walk(statement.value))
    return found


def weight(body: Sequence[Statement], lane: Axis | None, width: int) -> int:
    """Return about how many instructions statements become, for one vector.

    Args:
        body: The statements; of loops in it one iteration counts.
        lane: The vector axis, if any.
        width: Number of lanes.
    """
    total = 0
    for expr in {id(expr): expr for expr in expressions(body)}.values():
        if isinstance(expr, Load):
            total += len(expr.guards) + _moves(expr.indices[0], lane, width)
            total += width * any(e is not None for e in expr.dynamic)
        elif isinstance(expr, Call):
            flops = FUNCTIONS[expr.fn].flops
            total += 2 * flops if flops >= _LONG_FUNCTION else 1
    for statement in each(body):
        total += 1
        if isinstance(statement, Store):
            in_order = statement.dynamic is not None or statement.adds
            total += 3 * width if in_order else 2 * _moves(statement.index, lane, width)
    return total


def _moves(index: Index, lane: Axis | None, width: int) -> int:
    """Return about how many instructions a load takes."""
    step = abs(dict(index.terms).get(lane, 0)) if lane is not None else 0
    return 1 if step <= 1 else 2 * width


def changed_by(body: Sequence[Statement]) -> Changed:
    """Return the reductions and buffers that statements change."""
    return frozenset(
        inner.buffer if isinstance(inner, Store) else inner.acc
        for inner in each(body)
        if not isinstance(inner, Loop)
    )


def accumulated(statement: Statement) -> list[Acc]:
    """Return the reductions that a statement updates but does not declare."""
    inside = list(each((statement,)))
    own = {inner.acc for inner in inside if isinstance(inner, Declare)}
    updated = (inner.acc for inner in inside if isinstance(inner, Accumulate))
    return [acc for acc in dict.fromkeys(updated) if acc not in own]


def reads(statement: Statement) -> set[Acc]:
    """Return the reductions whose values a statement uses."""
    return {expr.acc for expr in expressions((statement,)) if isinstance(expr, Read)}


def vector_width(loop: Loop, target: Target) -> int:
    """Return how many lanes fill a register with the type that a loop computes with.

    That is its widest floating type, or without one its widest type; whole numbers beside
    floating ones (positions, random bits) take several registers.
    """
    dtypes = {expr.dtype for expr in expressions(loop.body)}
    real = [dtype.itemsize for dtype in dtypes if dtype.is_floating]
    return target.lanes(max(real or [dtype.itemsize for dtype in dtypes] or [4]))


def always_guarded(loop: Loop) -> Within | None:
    """Return a condition on a loop's axis under which alone the loop has any effect."""
    if accumulated(loop):
        return None
    inside = list(each(loop.body))
    stores = [inner for inner in inside if isinstance(inner, Store)]
    inner_axes = {inner.axis for inner in inside if isinstance(inner, Loop)}
    if not stores:
        return None
    for guard in stores[0].guards:
        if _moves_by_one(guard, loop.axis, inner_axes) and all(
            guard in store.guards for store in stores
        ):
            return guard
    return None


def _moves_by_one(guard: Within, axis: Axis, inner_axes: set[Axis]) -> bool:
    low, high = extremes(guard.index)
    terms = dict(guard.index.terms)
    decides = low < 0 or high >= guard.size
    return decides and terms.get(axis) == 1 and inner_axes.isdisjoint(terms)
