"""Nests: the loops of a kernel, in the order of memory.

Takes: passes over rows, as expressions over buffers. Gives: a kernel.
The one idea: axes that lie one behind the other in all memory become one; the innermost loop
runs along memory, in vectors; the outermost iterations are handed out to the processors.

The vector axis lies either inside the row (sums along memory) or across rows (sums of columns).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.compiler.columns import COLUMNS, block_of, by_rows
from chainrule.compiler.keep import keep
from chainrule.compiler.nodes import extent
from chainrule.compiler.stages import Form, Stage, rewritten, values_of
from chainrule.compiler.unroll import write_out
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
    Within,
    add,
    children,
    index_of,
    scale,
)
from chainrule.ir.kernel import Accumulate, Declare, Kernel, Loop, Statement, Store

# Elements of a light kernel in a chunk, the unit of parallel work: some 10 microseconds.
CHUNK = 24_576
CHUNKS = 256
# Elements of one grid iteration, so that finding its place does not count.
ITERATION = 512
# Elements of a vector that the choice of loops is made for.
LANES = 16
# Steps between elements of a vector up to which whole vectors are loaded, and their parts picked.
NEAR = 4


def arranged(form: Form, name: str) -> Kernel:
    """Return the kernel of a form."""
    form.rows = [axis for axis in form.rows if axis.extent != 1]
    form.inner = [axis for axis in form.inner if axis.extent != 1]
    write_out(form)
    indices = _indices(form)
    _sort(form, indices)
    _merge(form, indices)
    vector = _vector(form)
    along = vector if vector in form.inner else None
    keep(form, scratch=along is not None)
    wanted = _wanted_chunks(form)
    if along is not None:
        form.inner.remove(along)
        form.inner.append(along)
        _lengthen(form, extent(form.inner), wanted)
        return _kernel(form, name, None, along, wanted)
    if vector is not None:
        form.rows.remove(vector)
        block = block_of(form, vector, wanted)
        if block:
            vector = _cut(form, vector, block)
            return _kernel(form, name, vector, None, wanted, in_order=True)
        vector = _divide(form, vector, wanted)
        _lengthen(form, extent(form.inner) * vector.extent, wanted)
    return _kernel(form, name, vector, None, wanted)


def _lengthen(form: Form, size: int, wanted: int) -> None:
    """Cut a long last axis of the rows, so that one grid iteration does more than one row."""
    if not form.rows or size >= ITERATION // 2:
        return
    axis = form.rows[-1]
    most = min(ITERATION // size, extent(form.rows) // wanted)
    count = next((n for n in range(most, 1, -1) if axis.extent % n == 0), 1)
    if count == 1 or count == axis.extent:
        return
    outer, inner = Axis(axis.name + "0", axis.extent // count), Axis(axis.name + "1", count)
    place = add(scale(outer, count), index_of(inner))
    form.stages = rewritten(form, {axis: place})
    form.rows[-1:] = [outer, inner]


# --- the order of axes -------------------------------------------------------------------------


def _indices(form: Form) -> list[tuple[Index, bool]]:
    """Return all positions, and for each whether it is one in memory."""
    found: dict[tuple[Index, bool], None] = {}
    for statement in form.statements:
        if isinstance(statement, Store):
            found[statement.index, True] = None
            for bound in statement.guards:
                found[bound.index, False] = None
    for expr in form.parts:
        if isinstance(expr, Load):
            found[expr.indices[0], True] = None
            for bound in expr.guards:
                found[bound.index, False] = None
        elif isinstance(expr, Position):
            found[expr.index, False] = None
        elif isinstance(expr, Inside):
            for bound in expr.bounds:
                found[bound.index, False] = None
    return list(found)


def _sort(form: Form, indices: list[tuple[Index, bool]]) -> None:
    """Order axes from far to near in the memory of what depends on most of them."""
    best: dict[Axis, int] = {}
    every = {*form.rows, *form.inner}
    for index, memory in indices:
        terms = {a: abs(c) for a, c in index.terms}
        if memory and (not best or len(terms) > len(best)):
            best = terms
    if best:
        far = max(best.values()) * max((a.extent for a in every), default=1)
        form.rows.sort(key=lambda a: -best.get(a, far))
        form.inner.sort(key=lambda a: -best.get(a, far))


def _merge(form: Form, indices: list[tuple[Index, bool]]) -> None:
    """Make one axis of neighbouring ones that all positions run over as if they were one."""
    tables = [dict(index.terms) for index, _ in indices]
    replaced: dict[Axis, Index] = {}
    for axes in (form.rows, form.inner):
        n = len(axes) - 1
        while n > 0:
            outer, inner = axes[n - 1], axes[n]
            if all(t.get(outer, 0) == t.get(inner, 0) * inner.extent for t in tables):
                one = Axis(outer.name, outer.extent * inner.extent)
                axes[n - 1 : n + 1] = [one]
                for table in tables:
                    step = table.pop(inner, 0)
                    table.pop(outer, None)
                    if step:
                        table[one] = step
                replaced = {
                    a: index_of(one) if i == index_of(inner) else i for a, i in replaced.items()
                }
                replaced[outer], replaced[inner] = Index((), 0), index_of(one)
            n -= 1
    if replaced:
        form.stages = rewritten(form, replaced)


def _vector(form: Form) -> Axis | None:
    """Return the axis to run vectors along: the one that costs least."""
    inside = set(form.inner)
    tables = [dict(index.terms) for index, memory in _indices(form) if memory]
    near = NEAR if _fills(form) else 1
    sums = any(stage.sums for stage in form.stages)
    best: tuple[float, Axis] | None = None
    for axis in (*form.inner[::-1], *form.rows[::-1]):
        cost = 0.0
        for table in tables:
            step = abs(table.get(axis, 0))
            cost += 0.25 if step == 0 else 1.0 if step == 1 else 2.0 if step <= near else 6.0
        vectors = -(-axis.extent // LANES)
        if axis in inside and sums:
            cost += 2.0 / vectors
        cost *= vectors * LANES / axis.extent
        if best is None or cost < best[0]:
            best = (cost, axis)
    return None if best is None else best[1]


def _fills(form: Form) -> bool:
    """Return whether each store has neighbours, with which it fills a few elements in a row."""
    places: dict[object, set[int]] = {}
    stores = [s for s in form.statements if isinstance(s, Store)]
    for store in stores:
        places.setdefault((store.buffer, store.index.terms), set()).add(store.index.offset)
    return all(
        2 <= len(found) <= NEAR and max(found) - min(found) == len(found) - 1
        for found in places.values()
    )


# --- parallel work -----------------------------------------------------------------------------


def _wanted_chunks(form: Form) -> int:
    """Return into how many pieces the work should be divided."""
    work = 4
    for expr in form.parts:
        if isinstance(expr, Call):
            work += work_of(expr.fn)
        elif isinstance(expr, Load):
            work += 2
    elements = extent(form.rows) * extent(form.inner)
    total = elements * max(work, 8) // 8
    if total < CHUNK + CHUNK // 2:
        return 1
    # An even number, so that two threads are done at the same time.
    return min(max(1, (total + CHUNK) // (2 * CHUNK)) * 2, CHUNKS)


def _divide(form: Form, vector: Axis, wanted: int) -> Axis:
    """Cut a long vector axis so that the grid has enough iterations."""
    others = extent(form.rows)
    per_iteration = extent(form.inner)
    if wanted <= others or (wanted == 1 and not per_iteration > 1):
        return vector
    if per_iteration > 1:
        size = next((n for n in (COLUMNS, 32, LANES) if vector.extent % n == 0), 0)
        if not size or vector.extent == size:
            return vector
    else:
        size = _block(vector.extent, -(-wanted // others))
    return _cut(form, vector, size)


def _cut(form: Form, vector: Axis, size: int) -> Axis:
    """Let the vector axis run over blocks; return the axis within one."""
    count = -(-vector.extent // size)
    if count == 1:
        return vector
    block, within = Axis(vector.name + "0", count), Axis(vector.name + "1", size)
    place = add(scale(block, size), index_of(within))
    bounds = () if count * size == vector.extent else (Within(place, vector.extent),)
    form.stages = rewritten(form, {vector: place}, bounds)
    form.rows.append(block)
    return within


def _block(size: int, count: int) -> int:
    """Return the size of about ``count`` equal blocks, of whole vectors if possible."""
    least = max(count, 1)
    for multiple in (LANES, 1):
        for n in range(least, 2 * least + 1):
            if size % n == 0 and (size // n) % multiple == 0:
                return size // n
    each = -(-size // least)
    return -(-each // COLUMNS) * COLUMNS


# --- statements --------------------------------------------------------------------------------


def _kernel(
    form: Form,
    name: str,
    column: Axis | None,
    along: Axis | None,
    wanted: int,
    *,
    in_order: bool = False,
) -> Kernel:
    """Return the loops around the statements.

    Args:
        form: The work; rows are without ``column``.
        name: Of the kernel.
        column: The vector axis, if it lies across rows.
        along: The vector axis, if it lies inside the row.
        wanted: Number of chunks.
        in_order: Whether sums of columns are taken row by row.
    """
    narrow = column is not None and column.extent <= 2 * LANES
    size = extent(form.inner)
    if column is not None and in_order:
        body = by_rows(form, column, _unroll(form, column))
        size *= column.extent
        column = None
    else:
        body = _row(form, along, unroll=4 if narrow else 1)
    if column is not None:
        body = (Loop(column, body, vector=True, unroll=_unroll(form, column)),)
        size *= column.extent
    grid = list(form.rows)
    while grid and size < ITERATION and extent(grid[:-1]) >= wanted:
        axis = grid.pop()
        body = (Loop(axis, body),)
        size *= axis.extent
    iterations = extent(grid)
    grain = max(1, -(-iterations // wanted))
    buffers, written = buffers_of(body, form.scratch)
    return Kernel(name, buffers, tuple(grid), grain, body, tuple(form.scratch), frozenset(written))


def _row(form: Form, along: Axis | None, unroll: int) -> tuple[Statement, ...]:
    """Return the statements of one row; ``unroll`` is for sums across narrow columns."""
    result: list[Statement] = []
    for stage in form.stages:
        result.extend(stage.before)
        accs = [Declare(s.acc) for s in stage.sums]
        result.extend(accs)
        inside: tuple[Statement, ...] = (*stage.sums, *stage.stores)
        if not inside:
            continue
        for number, axis in enumerate(reversed(form.inner)):
            vector = axis is along
            times = (
                _unroll_row(stage, axis) if vector else 1 if number else min(unroll, axis.extent)
            )
            inside = (Loop(axis, inside, vector=vector, unroll=times),)
        result.extend(inside)
    return tuple(result)


def _unroll_row(stage: Stage, axis: Axis) -> int:
    most = 4 if stage.sums else 2
    return max(1, min(most, axis.extent // LANES))


def _unroll(form: Form, axis: Axis) -> int:
    most = 4 if any(stage.sums for stage in form.stages) or len(form.parts) < 6 else 2
    return max(1, min(most, axis.extent // LANES))


def buffers_of(
    body: Iterable[Statement], scratch: Sequence[Buffer] = ()
) -> tuple[tuple[Buffer, ...], set[Buffer]]:
    """Return the buffers that statements read or write, and those that they write."""
    found: dict[Buffer, None] = {}
    written: set[Buffer] = set()
    stack = list(body)[::-1]
    seen: set[int] = set()
    while stack:
        statement = stack.pop()
        if isinstance(statement, Loop):
            stack.extend(reversed(statement.body))
            continue
        if isinstance(statement, Declare):
            continue
        for expr in _parts(statement, seen):
            if isinstance(expr, Load):
                assert isinstance(expr.source, Buffer)
                found[expr.source] = None
        if isinstance(statement, Store):
            found[statement.buffer] = None
            written.add(statement.buffer)
    for buffer in scratch:
        found.pop(buffer, None)
        written.discard(buffer)
    return tuple(found), written


def _parts(statement: Accumulate | Store, seen: set[int]) -> list[Expr]:
    result: list[Expr] = []
    stack = list(values_of(statement))
    while stack:
        expr = stack.pop()
        if id(expr) not in seen:
            seen.add(id(expr))
            result.append(expr)
            stack.extend(children(expr))
    return result
