"""Unrolling: short axes whose elements are a choice of one from a few.

Takes: the passes over a row. Gives: the same with such an axis written out.
The one idea: what the choices share is computed once for all of them, if they are made side by
side: a block of random bits for its words, the sums of a tile for its elements.
"""

from __future__ import annotations

from chainrule.compiler.stages import Form, moved, values_of
from chainrule.core.dtype import bool_
from chainrule.ir.expr import (
    Axis,
    Call,
    Const,
    Expr,
    Index,
    Position,
    Within,
    replace_axes,
    walk,
)
from chainrule.ir.kernel import Store

# Choices along an axis, at most: words of a block, elements of a tile.
CHOICES = 5


def write_out(form: Form) -> None:
    """Write out the axes of a map whose elements differ in what they choose of one result."""
    if form.inner or len(form.stages) > 1 or form.stages[0].sums:
        return
    for axis in _choosing(form):
        stores = form.stages[0].stores
        form.stages[0].stores = [
            store for value in range(axis.extent) for store in _at(stores, axis, value)
        ]
        form.rows.remove(axis)


def _choosing(form: Form) -> list[Axis]:
    found = []
    for expr in form.parts:
        if isinstance(expr, Call) and expr.fn == "equal" and isinstance(expr.args[1], Const):
            position = expr.args[0]
            if isinstance(position, Position) and len(position.index.terms) == 1:
                axis, step = position.index.terms[0]
                if step == 1 and axis.extent <= CHOICES and axis in form.rows:
                    found.append(axis)
    return list(dict.fromkeys(found))


def _at(stores: list[Store], axis: Axis, value: int) -> list[Store]:
    """Return stores for one value of an axis; what does not depend on it stays shared."""
    axes = {axis: Index((), value)}
    made: dict[int, Expr] = {}
    for expr in walk(*(e for store in stores for e in values_of(store))):
        made[id(expr)] = _part(expr, axes, made)
    return [
        Store(
            store.buffer,
            replace_axes(store.index, axes),
            made[id(store.value)],
            tuple(Within(replace_axes(g.index, axes), g.size) for g in store.guards),
            None if store.dynamic is None else made[id(store.dynamic)],
            store.adds,
        )
        for store in stores
    ]


def _part(expr: Expr, axes: dict[Axis, Index], made: dict[int, Expr]) -> Expr:
    new = moved(expr, axes, (), made)
    if isinstance(new, Position) and not new.index.terms:
        return Const(new.index.offset, new.dtype)
    if isinstance(new, Call) and new.fn == "equal":
        first, second = new.args
        if isinstance(first, Const) and isinstance(second, Const):
            return Const(first.value == second.value, bool_)
    if isinstance(new, Call) and new.fn == "where" and isinstance(new.args[0], Const):
        return new.args[1] if new.args[0].value else new.args[2]
    return new
