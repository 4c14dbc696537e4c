"""Keeping: what a later pass over a row needs of an earlier one and is dear to compute again.

Takes: the passes over a row. Gives: the same, with later ones reading what an earlier one wrote.
The one idea: a row fits into the first-level cache, so a function that takes longer than a load
is evaluated once.
"""

from __future__ import annotations

from chainrule.compiler.nodes import extent
from chainrule.compiler.stages import Form, values_of
from chainrule.compiler.work import work_of
from chainrule.ir.expr import (
    Axis,
    Buffer,
    Call,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    add,
    children,
    scale,
    walk,
)
from chainrule.ir.kernel import Accumulate, Store

# Work from which a value is written to memory and read again.
DEAR = 8
# Bytes of a row that is worth keeping.
ROW = 2**18


def keep(form: Form, *, scratch: bool) -> None:
    """Let later passes read what earlier ones computed.

    Args:
        form: The passes; they are changed.
        scratch: Whether rows may be kept in buffers of their own.
    """
    if len(form.stages) < 2 or not form.inner:
        return
    keeper = _Keeper(form, scratch)
    for number in range(len(form.stages)):
        keeper.take(number)


class _Keeper:
    """What the passes so far have computed.

    Args:
        form: The passes.
        scratch: Whether rows may be kept in buffers of their own.
    """

    def __init__(self, form: Form, scratch: bool) -> None:
        self.form = form
        self.scratch = scratch
        # Of each expression as it was given: the pass that computes it, and where it is kept.
        self.known: dict[int, int] = {}
        self.work: dict[int, int] = {}
        self.loads: dict[int, Load] = {}
        self.made: list[dict[int, Expr]] = []
        self.inner = set(form.inner)
        self.varies: dict[int, bool] = {}

    def take(self, number: int) -> None:
        """Replace what a pass would compute again, and note what it computes."""
        stage = self.form.stages[number]
        given = (stage.sums, stage.stores)
        self.made.append({})
        stage.sums = [Accumulate(s.acc, self.changed(s.value)) for s in stage.sums]
        stage.stores = [
            Store(
                s.buffer,
                s.index,
                self.changed(s.value),
                s.guards,
                None if s.dynamic is None else self.changed(s.dynamic),
                s.adds,
            )
            for s in stage.stores
        ]
        values = [s.value for s in given[0]]
        values.extend(e for s in given[1] for e in values_of(s))
        for expr in walk(*values):
            self.note(expr, number)
        for store in given[1]:
            value, buffer = store.value, store.buffer
            if not store.guards and store.dynamic is None and buffer.dtype is value.dtype:
                self.loads.setdefault(id(value), Load(buffer, (store.index,)))

    def note(self, expr: Expr, number: int) -> None:
        """Note which pass computes an expression."""
        if id(expr) in self.work:
            return
        below = children(expr)
        own = work_of(expr.fn) if isinstance(expr, Call) else 0
        self.work[id(expr)] = own + sum(self.work[id(e)] for e in below)
        varies = _depends(expr, self.inner) or any(self.varies[id(e)] for e in below)
        self.varies[id(expr)] = varies
        if varies and isinstance(expr, Call):
            self.known[id(expr)] = number

    def changed(self, expr: Expr) -> Expr:
        """Return an expression of the last pass with what earlier ones computed replaced."""
        made = self.made[-1]
        found = made.get(id(expr))
        if found is None:
            found = self.kept(expr)
            if found is None:
                found = _with(expr, tuple(self.changed(e) for e in children(expr)))
            made[id(expr)] = found
        return found

    def kept(self, expr: Expr) -> Load | None:
        """Return where a value was kept, if it is worth that."""
        if id(expr) not in self.known or self.work[id(expr)] < DEAR:
            return None
        load = self.loads.get(id(expr))
        size = extent(self.form.inner)
        if load is None and self.scratch and size * expr.dtype.itemsize <= ROW:
            buffer = Buffer(f"row{len(self.form.scratch)}", expr.dtype, size)
            self.form.scratch.append(buffer)
            index = _position(self.form.inner)
            number = self.known[id(expr)]
            value = self.made[number].get(id(expr), expr)
            self.form.stages[number].stores.append(Store(buffer, index, value))
            load = self.loads[id(expr)] = Load(buffer, (index,))
        return load


def _position(axes: list[Axis]) -> Index:
    index = Index((), 0)
    for axis in axes:
        index = add(scale(index, axis.extent), axis)
    return index


def _depends(expr: Expr, axes: set[Axis]) -> bool:
    if isinstance(expr, Load):
        indices = [*expr.indices, *(g.index for g in expr.guards)]
    elif isinstance(expr, Inside):
        indices = [bound.index for bound in expr.bounds]
    elif isinstance(expr, Position):
        indices = [expr.index]
    else:
        return False
    return any(axis in axes for index in indices for axis, _ in index.terms)


def _with(expr: Expr, below: tuple[Expr, ...]) -> Expr:
    if all(a is b for a, b in zip(below, children(expr), strict=True)):
        return expr
    if isinstance(expr, Call):
        return Call(expr.fn, below, expr.dtype)
    assert isinstance(expr, Load)
    return Load(expr.source, expr.indices, expr.guards, below)
