"""The normal form of a contraction: strides instead of indices, as few axes as possible.

Takes: an `ir.kernel.Contraction`. Gives: a `Form`, or the reason why there is none.
The one idea: neighbouring axes that every index walks as one are one axis; and since left and
right may change places, columns are the axes that make the better vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from chainrule.core.dtype import DType, float32, float64
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Within,
    replace_axes,
    substitute,
    walk,
)
from chainrule.ir.kernel import Contraction, Store

# Numbers of the groups of axes.
BATCH, ROWS, COLUMNS, DEPTH = range(4)
# Bytes between the steps of depth from which each lies in a page of its own.
PAGE = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """An axis, with how far a step along it moves in the left, right and stored elements."""

    axis: Axis
    left: int
    right: int
    out: int

    @property
    def extent(self) -> int:
        """Length of the axis."""
        return self.axis.extent


@dataclass(frozen=True, slots=True)
class Operand:
    """A factor: the number of its buffer and the offset of its first element."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Form:
    """A contraction in normal form; the fields are those of `Contraction`, as `Line` s.

    ``rows``, ``columns`` and ``depth`` have at least one line each. ``plain`` is the one store of
    nothing but the sum into a buffer of the same type, if that is all there is.
    """

    dtype: DType
    buffers: tuple[Buffer, ...]
    batch: tuple[Line, ...]
    rows: tuple[Line, ...]
    columns: tuple[Line, ...]
    depth: tuple[Line, ...]
    left: Operand
    right: Operand
    acc: Acc
    stores: tuple[Store, ...]

    @property
    def plain(self) -> Store | None:
        """The only store, if it writes the sum as it is."""
        if len(self.stores) != 1:
            return None
        store = self.stores[0]
        simple = isinstance(store.value, Read) and not store.guards and store.dynamic is None
        same = store.buffer.dtype is self.dtype and not store.adds
        return store if simple and same else None


def refusal(contraction: Contraction) -> str:
    """Return why a contraction cannot be emitted here, "" if it can."""
    left, right = contraction.left, contraction.right
    if left.dtype is not right.dtype or contraction.acc.dtype is not left.dtype:
        return "operands and sum have different dtypes"
    if left.dtype not in (float32, float64) or left.source.dtype is not left.dtype:
        return f"{left.source.dtype.name} is not float32 or float64"
    if right.source.dtype is not right.dtype or contraction.acc.fn != "add":
        return "not a sum of products of stored elements"
    if left.guards or right.guards or any(left.dynamic) or any(right.dynamic):
        return "an operand has guards or dynamic positions"
    axes = (*contraction.batch, *contraction.rows, *contraction.columns, *contraction.depth)
    if any(axis.extent == 0 for axis in axes):
        return "an axis is empty"
    return ""


def is_separate(contraction: Contraction) -> bool:
    """Return whether vectors would best run along a batch axis."""
    sizes = [prod(a.extent for a in axes) for axes in (contraction.rows, contraction.columns)]
    indices = [store.index for store in contraction.stores]
    batch = [a for a in contraction.batch if a.extent > 1]
    return min(sizes) == 1 and any(abs(coefficient(i, a)) == 1 for i in indices for a in batch)


def form_of(contraction: Contraction, lanes: int) -> Form:
    """Return the normal form of a contraction for vectors of so many lanes."""
    groups = [contraction.batch, contraction.rows, contraction.columns, contraction.depth]
    still = {a: Index(()) for group in groups for a in group if a.extent == 1}
    stores = tuple(moved_store(s, still) for s in contraction.stores)
    left = replace_axes(contraction.left.indices[0], still)
    right = replace_axes(contraction.right.indices[0], still)
    merged: list[tuple[Line, ...]] = []
    for number, group in enumerate(groups):
        indices = [left, right, *(i for s in stores for i in _indices(s))]
        lines = _ordered(group, left, right, stores, number)
        changes = _merge(lines, indices)
        left, right = replace_axes(left, changes), replace_axes(right, changes)
        stores = tuple(moved_store(s, changes) for s in stores)
        kept = [line.axis for line in lines if line.axis not in changes]
        kept += [i.terms[0][0] for i in changes.values() if i.terms]
        merged.append(_ordered(kept, left, right, stores, number))
    batch, rows, columns, depth = merged
    form = Form(
        left=_operand(contraction, contraction.left, left),
        right=_operand(contraction, contraction.right, right),
        dtype=contraction.acc.dtype,
        buffers=contraction.buffers,
        batch=batch,
        rows=rows or (_single("row"),),
        columns=columns or (_single("column"),),
        depth=depth or (_single("depth"),),
        acc=contraction.acc,
        stores=stores,
    )
    candidates = [c for f in (form, _swapped(form)) for c in _vector_axes(f)]
    return min(candidates, key=lambda candidate: _cost(candidate, lanes))


def _single(name: str) -> Line:
    return Line(Axis(name, 1), 0, 0, 0)


def _operand(contraction: Contraction, load: Load, index: Index) -> Operand:
    number = next(n for n, b in enumerate(contraction.buffers) if b is load.source)
    return Operand(number, index.offset, contraction.buffers[number].size)


def coefficient(index: Index, axis: Axis) -> int:
    """Return how far a step along an axis moves an index."""
    return next((c for a, c in index.terms if a is axis), 0)


def _indices(store: Store) -> Iterator[Index]:
    """Yield every index in a store: positions and conditions, of it and of what it reads."""
    yield store.index
    yield from (bound.index for bound in store.guards)
    for expr in walk(store.value, *(() if store.dynamic is None else (store.dynamic,))):
        if isinstance(expr, Load):
            yield from expr.indices
            yield from (bound.index for bound in expr.guards)
        elif isinstance(expr, Inside):
            yield from (bound.index for bound in expr.bounds)
        elif isinstance(expr, Position):
            yield expr.index


def _ordered(
    axes: Sequence[Axis], left: Index, right: Index, stores: Sequence[Store], group: int
) -> tuple[Line, ...]:
    """Return a group's axes with their strides, longest first, without those of one step.

    Rows are read over and over and stored once, so the left operand decides on their order; but
    columns become vectors, which should be stored as such.
    """
    out = stores[0].index if stores else Index(())
    lines = [
        Line(a, coefficient(left, a), coefficient(right, a), coefficient(out, a))
        for a in axes
        if a.extent > 1
    ]

    def key(line: Line) -> tuple[int, ...]:
        strides = (abs(line.left), abs(line.right), abs(line.out))
        return strides if group in (ROWS, DEPTH) else (strides[2], *strides[:2])

    return tuple(sorted(lines, key=key, reverse=True))


def _merge(lines: Sequence[Line], indices: Sequence[Index]) -> dict[Axis, Index]:
    """Return what becomes of axes that are walked as one: nothing, or the merged axis."""
    runs: list[list[Axis]] = []
    for line in lines:
        inner = line.axis
        if runs and all(
            coefficient(i, runs[-1][-1]) == coefficient(i, inner) * inner.extent for i in indices
        ):
            runs[-1].append(inner)
        else:
            runs.append([inner])
    changes: dict[Axis, Index] = {}
    for run in runs:
        if len(run) > 1:
            extent = prod(axis.extent for axis in run)
            changes |= dict.fromkeys(run[:-1], Index(()))
            changes[run[-1]] = Index(((Axis(run[-1].name, extent), 1),))
    return changes


def moved_store(store: Store, changes: dict[Axis, Index]) -> Store:
    """Return a store with axes replaced by indices."""
    if not changes:
        return store
    return Store(
        store.buffer,
        replace_axes(store.index, changes),
        substitute(store.value, changes),
        tuple(Within(replace_axes(b.index, changes), b.size) for b in store.guards),
        None if store.dynamic is None else substitute(store.dynamic, changes),
        store.adds,
    )


def _swapped(form: Form) -> Form:
    """Return the same contraction with left and right in each other's place."""

    def turn(lines: Sequence[Line]) -> tuple[Line, ...]:
        return tuple(Line(line.axis, line.right, line.left, line.out) for line in lines)

    rows, depth = (
        tuple(sorted(turn(x), key=lambda d: (abs(d.left), abs(d.right), abs(d.out)), reverse=True))
        for x in (form.columns, form.depth)
    )
    columns = tuple(sorted(turn(form.rows), key=lambda d: (abs(d.out), abs(d.right)), reverse=True))
    return Form(
        form.dtype,
        form.buffers,
        turn(form.batch),
        rows,
        columns,
        depth,
        form.right,
        form.left,
        form.acc,
        form.stores,
    )


def _vector_axes(form: Form) -> list[Form]:
    """Return a form with each of its column axes in the last place, which becomes vectors."""
    lines = form.columns
    orders = [(*lines[:n], *lines[n + 1 :], lines[n]) for n in reversed(range(len(lines)))]
    return [replace(form, columns=order) for order in orders]


def _cost(form: Form, lanes: int) -> float:
    """Return about how many times the least work it takes with these columns as vectors."""
    column = form.columns[-1]
    rows = product(form.rows)
    depth = product(form.depth)
    idle = -(-column.extent // lanes) * lanes / column.extent
    packing = 0.0 if column.right == 1 else 16 / rows
    scattering = 0.0 if column.out == 1 else 24 / depth * _touched(form)
    # Tiles of rows walk along the left operand again and again, panels of the right one stay near.
    inner = form.depth[-1]
    far = abs(inner.left) * form.dtype.itemsize >= PAGE and abs(inner.left) > abs(inner.right) > 0
    return idle * (1 + packing + scattering + 0.03 * far) + (0.0 if rows > 3 else 1 / rows)


def _touched(form: Form) -> int:
    """Return how many elements of memory are read and written for each element of the result."""
    loads = sum(isinstance(e, Load) for store in form.stores for e in walk(store.value))
    return loads + len(form.stores)


def product(lines: Sequence[Line]) -> int:
    """Return the number of positions of some axes."""
    return prod(line.extent for line in lines)


def merged_depth(lines: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Return (extent, left, right) steps with neighbours that both operands walk as one joined."""
    joined = [lines[0]]
    for inner in lines[1:]:
        outer = joined[-1]
        if outer[1] == inner[1] * inner[0] and outer[2] == inner[2] * inner[0]:
            joined[-1] = (outer[0] * inner[0], inner[1], inner[2])
        else:
            joined.append(inner)
    return tuple(joined)


def across(form: Form, lanes: int) -> int | None:
    """Return the number of a column axis that is contiguous where neither panels nor depth are.

    Whole squares of columns by this axis can then be transposed, one line for each of several
    panels. None if there is no such axis, or no need of one.
    """

    def contiguous(line: Line) -> bool:
        return line.right == 1 and line.extent >= lanes

    if lanes not in (2, 4, 8, 16) or form.columns[-1].right == 1 or contiguous(form.depth[-1]):
        return None
    return next((n for n, line in enumerate(form.columns[:-1]) if contiguous(line)), None)


def panel_strides(extents: Sequence[int], width: int) -> list[int]:
    """Return how far a step of each depth axis moves in a packed panel."""
    strides = [width]
    for extent in reversed(extents[1:]):
        strides.insert(0, strides[0] * extent)
    return strides
