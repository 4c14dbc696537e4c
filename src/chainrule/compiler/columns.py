"""Columns: sums of columns in rows that come from memory, taken row by row.

Takes: a pass that reduces columns. Gives: loops that run along memory, with the running sums in a
buffer that stays in the first-level cache.
The one idea: memory is fast where it is read in order; a few columns of each row, whose sums fit
into registers, would make the processor wait for every row.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.compiler.lower import neutral
from chainrule.compiler.nodes import extent
from chainrule.compiler.stages import Form
from chainrule.ir.expr import Acc, Axis, Buffer, Call, Expr, Load, Read, index_of, walk
from chainrule.ir.kernel import Loop, Statement, Store

# Bytes that are read from memory rather than from the caches of one processor.
FAR = 2**22
# Bytes of running sums: some of the first-level cache.
SUMS = 2**13
# Columns whose sums fit into registers: four vectors.
COLUMNS = 64
# Elements of a row that are read in order before the next one, at least, where rows are cut.
RUN = 256
# Iterations of the grid for as many processors.
PIECES = 64


def block_of(form: Form, column: Axis, wanted: int) -> int:
    """Return how many columns to sum side by side, row by row; 0 where that does not pay.

    Args:
        form: The work; rows are without ``column``.
        column: The vector axis.
        wanted: Number of chunks.
    """
    stage = form.stages[0]
    finals = [store.value for later in form.stages[1:] for store in later.before]
    if len(form.inner) != 1 or not stage.sums or stage.before:
        return 0
    if any(later.sums or later.stores for later in form.stages[1:]) or any(
        isinstance(expr, Load) for expr in walk(*finals)
    ):
        return 0
    if _read(form, column) < FAR:
        return 0
    most = SUMS // sum(acc.dtype.itemsize for acc in (s.acc for s in stage.sums))
    sizes = [n for n in range(most, RUN - 1, -RUN) if column.extent % n == 0]
    if COLUMNS < column.extent <= most:
        sizes.insert(0, column.extent)
    pieces = min(wanted, PIECES) // extent(form.rows)
    return next((n for n in sizes if column.extent // n >= pieces), min(sizes, default=0))


def by_rows(form: Form, column: Axis, unroll: int) -> tuple[Statement, ...]:
    """Return the loops over a block of columns; the form gets the buffers of the sums."""
    stage, place, (row,) = form.stages[0], index_of(column), form.inner
    buffers = [Buffer(f"sum{n}", s.acc.dtype, column.extent) for n, s in enumerate(stage.sums)]
    sums = {s.acc: Load(b, (place,)) for s, b in zip(stage.sums, buffers, strict=True)}
    form.scratch.extend(buffers)
    first = [_stored(load, neutral(acc.fn, acc.dtype)) for acc, load in sums.items()]
    steps = [
        _stored(sums[s.acc], Call(s.acc.fn, (sums[s.acc], s.value), s.acc.dtype))
        for s in stage.sums
    ]
    last = [
        replace(s, value=_with(s.value, sums)) for later in form.stages[1:] for s in later.before
    ]
    within = Loop(column, (*steps, *stage.stores), vector=True, unroll=unroll)
    return (
        Loop(column, tuple(first), vector=True, unroll=4),
        Loop(row, (within,)),
        Loop(column, tuple(last), vector=True, unroll=4),
    )


def _read(form: Form, column: Axis) -> int:
    """Return the bytes that are read of what has all rows and all columns."""
    every, axes = {*form.rows, *form.inner, column}, {column, *form.inner}
    places = {
        (expr.source, expr.indices[0])
        for expr in form.parts
        if isinstance(expr, Load) and axes <= {axis for axis, _ in expr.indices[0].terms}
    }
    return extent(every) * sum(source.dtype.itemsize for source, _ in places)


def _stored(load: Load, value: Expr) -> Store:
    assert isinstance(load.source, Buffer)
    return Store(load.source, load.indices[0], value)


def _with(expr: Expr, sums: dict[Acc, Load]) -> Expr:
    """Return an expression of sums that are in memory."""
    if isinstance(expr, Read):
        return sums[expr.acc]
    if isinstance(expr, Call):
        return Call(expr.fn, tuple(_with(arg, sums) for arg in expr.args), expr.dtype)
    return expr
