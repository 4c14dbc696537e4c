"""Spaces: axes laid out as dimensions of arrays, so that NumPy computes all positions at once.

Takes: axes with the values they run over. Gives: for each expression the array of its values.
The one idea: each axis is an array along a dimension of its own; broadcasting does the loops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.core.dtype import Array, DType, to_compute
from chainrule.core.errors import StateError
from chainrule.ir.expr import (
    Acc,
    Axis,
    Call,
    Const,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Ref,
    Within,
    walk,
)
from chainrule.ir.scalar import apply_function

# So many elements are computed at a time, which bounds the memory for temporary arrays.
LIMIT = 2**21

_REDUCTIONS: dict[str, np.ufunc] = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
}


@dataclass(frozen=True, slots=True)
class Space:
    """Positions at which expressions are evaluated.

    Attributes:
        axes: Values of each axis: an array that varies along the axis's own dimension, or a
            single number for an axis that is stepped through from outside.
        shape: Number of positions along each dimension.
    """

    axes: Mapping[Axis, Array]
    shape: tuple[int, ...] = ()

    def along(self, axis: Axis, values: range) -> Space:
        """Return the space with one more dimension, along which an axis runs over values."""
        axes = {a: v[..., None] if v.ndim else v for a, v in self.axes.items()}
        run = np.arange(values.start, values.stop, dtype=np.int64)
        axes[axis] = run.reshape((1,) * len(self.shape) + (-1,))
        return Space(axes, (*self.shape, len(values)))

    def at(self, axis: Axis, value: int) -> Space:
        """Return the space with an axis held at one value."""
        return Space({**self.axes, axis: np.asarray(value, np.int64)}, self.shape)

    def position(self, index: Index) -> Array:
        """Return the values of an index."""
        total = np.asarray(index.offset, np.int64)
        for axis, coefficient in index.terms:
            total = total + self.axes[axis] * coefficient
        return total

    def inside(self, bounds: Sequence[Within]) -> Array:
        """Return where all conditions hold."""
        holds = np.asarray(True)
        for index, size in bounds:
            position = self.position(index)
            holds = holds & (position >= 0) & (position < size)
        return holds

    def full(self, values: Array) -> Array:
        """Return values at every position."""
        return np.broadcast_to(values, self.shape)


class Source(NamedTuple):
    """What a load reads from.

    Attributes:
        elements: 1-d, in storage form or in the type that the dtype is computed in.
        dtype: Of the elements.
        sizes: Of the dimensions that the load's indices address.
        start: Where the first element lies, at each position.
    """

    elements: Array
    dtype: DType
    sizes: tuple[int, ...]
    start: Array | int = 0


Find = Callable[[Load], Source]


def values_of(
    expr: Expr, space: Space, find: Find, accs: Mapping[Acc, Array] | None = None
) -> Array:
    """Return the values of an expression, which broadcast to the space's shape.

    Args:
        expr: The expression.
        space: Where it is evaluated.
        find: Returns what a load reads from.
        accs: Values of reductions, over the first dimensions of the space.
    """
    known: dict[int, Array] = {}
    for part in walk(expr):
        known[id(part)] = _value(part, space, find, accs or {}, known)
    return known[id(expr)]


def _value(
    expr: Expr, space: Space, find: Find, accs: Mapping[Acc, Array], known: dict[int, Array]
) -> Array:
    if isinstance(expr, Const):
        return np.asarray(expr.value, expr.dtype.compute)
    if isinstance(expr, Position):
        return space.position(expr.index)
    if isinstance(expr, Inside):
        return space.inside(expr.bounds)
    if isinstance(expr, Read):
        acc = accs[expr.acc]
        return acc.reshape(acc.shape + (1,) * (len(space.shape) - acc.ndim))
    if isinstance(expr, Call):
        return apply_function(expr.fn, [known[id(a)] for a in expr.args], expr.dtype)
    added = [None if e is None else known[id(e)] for e in expr.dynamic]
    return _gathered(expr, space, find(expr), added)


def _gathered(load: Load, space: Space, source: Source, added: Sequence[Array | None]) -> Array:
    """Return the loaded elements, 0 where a guard does not hold."""
    holds = space.inside(load.guards)
    offset = np.asarray(0, np.int64)
    for n, (index, size) in enumerate(zip(load.indices, source.sizes, strict=True)):
        position = space.position(index)
        extra = added[n] if n < len(added) else None
        if extra is not None:
            position = position + extra
            if isinstance(load.source, Ref):  # a kernel's load comes with its clamp
                position = np.clip(position, 0, max(size - 1, 0))
        offset = offset * size + checked(position, size, holds, space, load.source.name)
    if not source.elements.size:
        return np.zeros((), source.dtype.compute)
    loaded = np.asarray(np.take(source.elements, np.where(holds, offset + source.start, 0)))
    if loaded.dtype != source.dtype.compute:
        loaded = to_compute(loaded, source.dtype)
    return loaded if not load.guards else np.where(holds, loaded, loaded.dtype.type(0))


def checked(position: Array, size: int, holds: Array, space: Space, name: str) -> Array:
    """Return positions, after making sure that they are in range wherever they are used.

    Raises:
        StateError: One is not.
    """
    wrong = holds & ((position < 0) | (position >= size))
    if math.prod(space.shape) and np.any(wrong):
        bad = np.broadcast_to(position, np.shape(wrong))[wrong]
        raise StateError(f"{name}: position {bad[0]} is outside of its {size} elements")
    return position


def neutral(fn: str, dtype: DType) -> Array:
    """Return what a reduction of nothing gives."""
    kind = dtype.compute
    if fn in ("maximum", "minimum") and dtype.kind != "bool":
        if dtype.is_floating:
            return np.asarray(-np.inf if fn == "maximum" else np.inf, kind)
        info = np.iinfo(kind)
        return np.asarray(info.min if fn == "maximum" else info.max, kind)
    return np.asarray(fn in ("multiply", "minimum", "logical_and"), kind)


def combine(fn: str, x: Array, y: Array, dtype: DType) -> Array:
    """Return a reduction of two values."""
    with np.errstate(all="ignore"):
        return np.asarray(_REDUCTIONS[fn](x, y), dtype.compute)


def reduce_last(fn: str, values: Array, count: int, dtype: DType) -> Array:
    """Return values reduced over the last dimensions.

    Sums of float32 are added up in float64 and rounded once: the order is nobody's promise, so
    the definition is the number that every order approximates.
    """
    if not count:
        return values.astype(dtype.compute)
    wide = np.dtype(np.float64) if fn == "add" and dtype.is_floating else dtype.compute
    flat = values.reshape(*values.shape[: values.ndim - count], math.prod(values.shape[-count:]))
    with np.errstate(all="ignore"):
        start = neutral(fn, dtype).astype(wide)
        total = _REDUCTIONS[fn].reduce(flat, axis=-1, dtype=wide, initial=start[()])
        return np.asarray(total).astype(dtype.compute)


def running(fn: str, values: Array, axis: int) -> Array:
    """Return all partial results of a reduction along an axis."""
    with np.errstate(all="ignore"):
        return np.asarray(_REDUCTIONS[fn].accumulate(values, axis=axis, dtype=values.dtype))


def blocks(axes: Sequence[Axis], inner: int) -> Iterator[tuple[Space, tuple[slice, ...]]]:
    """Split a grid, in row-major order, into spaces of bounded size.

    Args:
        axes: Of the grid; each becomes a dimension.
        inner: Number of elements computed at each position.

    Yields:
        A space, and where it lies in the grid.
    """
    runs: list[list[range]] = []
    for axis in reversed(axes):
        step = min(max(LIMIT // max(inner, 1), 1), max(axis.extent, 1))
        inner *= step
        starts = range(0, axis.extent, step)
        runs.insert(0, [range(s, min(s + step, axis.extent)) for s in starts])
    for chosen in itertools.product(*runs):
        space = Space({})
        for axis, run in zip(axes, chosen, strict=True):
            space = space.along(axis, run)
        yield space, tuple(slice(run.start, run.stop) for run in chosen)
