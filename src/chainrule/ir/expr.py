"""Expressions: one element of a tensor, as a function of its position.

Takes: axes, and tensors or buffers to read. Gives: immutable trees (shared parts stay shared).
The one idea: positions are affine in the axes, so putting one expression into another is only
the substitution of axes, and views cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.core.dtype import DType, Scalar, bool_, float32, int64


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A loop variable that runs from 0 to ``extent - 1``; each object is an axis of its own."""

    name: str
    extent: int

    def __repr__(self) -> str:
        return f"{self.name}<{self.extent}>"


class Index(NamedTuple):
    """A position that is affine in the axes: ``offset + Σ coefficient · axis``."""

    terms: tuple[tuple[Axis, int], ...]
    offset: int = 0

    def __str__(self) -> str:
        parts = [a.name if c == 1 else f"{c}*{a.name}" for a, c in self.terms]
        if self.offset or not parts:
            parts.append(str(self.offset))
        return "+".join(parts).replace("+-", "-")


class Within(NamedTuple):
    """The condition ``0 <= index < size``."""

    index: Index  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Ref:
    """A tensor that definitions read: its shape and dtype; each object is a tensor of its own."""

    name: str
    shape: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A flat run of elements in memory that kernels read and write.

    ``size`` counts elements. Elements of 16-bit floating types are float32 when loaded and are
    rounded when stored.
    """

    name: str
    dtype: DType
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Acc:
    """A running reduction.

    ``fn`` is ``add``, ``multiply``, ``maximum``, ``minimum`` (NaN wins both) or for booleans
    ``logical_and``, ``logical_or``. ``dtype`` is the type it is kept in.
    """

    name: str
    fn: str
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A number."""

    value: Scalar
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """The value of an index, as int64."""

    index: Index
    dtype: DType = int64


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """Whether all conditions hold, as bool."""

    bounds: tuple[Within, ...]
    dtype: DType = bool_


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """An element of a tensor (one index for each dimension) or of a buffer (one flat index).

    A tensor that is not 1-d may be read with one index too: the row-major flat position.
    Where a guard does not hold nothing is read and the value is zero. ``dynamic`` holds for some
    dimensions an int64 expression that is added to the index (gather); it is clamped into the
    dimension when loaded, so that no kernel reads outside of a buffer. A buffer's load has in
    ``dynamic`` at most one expression, already an element offset and already clamped.
    """

    source: Ref | Buffer
    indices: tuple[Index, ...]
    guards: tuple[Within, ...] = ()
    dynamic: tuple[Expr | None, ...] = ()

    @property
    def dtype(self) -> DType:
        """Type of the loaded value."""
        return computed(self.source.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A scalar function of expressions; the functions are listed in `ir.scalar`."""

    fn: str
    args: tuple[Expr, ...]
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The value of a reduction."""

    acc: Acc

    @property
    def dtype(self) -> DType:
        """Type of the reduction."""
        return self.acc.dtype


Expr = Const | Position | Inside | Load | Call | Read


def computed(dtype: DType) -> DType:
    """Return the type that elements of a dtype are computed in: float32 for 16-bit floats."""
    return float32 if dtype.is_half else dtype


# --- indices -----------------------------------------------------------------------------------


def index_of(value: Axis | Index | int) -> Index:
    """Return an axis or a number as an index."""
    if isinstance(value, Axis):
        return Index(((value, 1),), 0) if value.extent != 1 else Index((), 0)
    return value if isinstance(value, Index) else Index((), value)


def add(*values: Axis | Index | int) -> Index:
    """Return the sum of indices."""
    offset = 0
    terms: dict[Axis, int] = {}
    for value in map(index_of, values):
        offset += value.offset
        for axis, coefficient in value.terms:
            terms[axis] = terms.get(axis, 0) + coefficient
    return Index(tuple((a, c) for a, c in terms.items() if c), offset)


def scale(value: Axis | Index | int, factor: int) -> Index:
    """Return an index times a number."""
    index = index_of(value)
    if not factor:
        return Index((), 0)
    return Index(tuple((a, c * factor) for a, c in index.terms), index.offset * factor)


def flat(indices: Iterable[Index], strides: Iterable[int]) -> Index:
    """Return the element offset of a position in memory with these strides."""
    return add(*(scale(i, s) for i, s in zip(indices, strides, strict=True)))


def replace_axes(index: Index, axes: Mapping[Axis, Index]) -> Index:
    """Return an index with axes replaced by indices."""
    if not any(axis in axes for axis, _ in index.terms):
        return index
    return add(index.offset, *(scale(axes.get(a, index_of(a)), c) for a, c in index.terms))


def extremes(index: Index) -> tuple[int, int]:
    """Return the smallest and the largest value that an index takes."""
    low = high = index.offset
    for axis, coefficient in index.terms:
        reach = coefficient * (axis.extent - 1)
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high


def needed(bounds: Iterable[Within]) -> tuple[Within, ...]:
    """Return the conditions that do not hold anyway."""
    kept = []
    for bound in bounds:
        low, high = extremes(bound.index)
        if low < 0 or high >= bound.size:
            kept.append(bound)
    return tuple(kept)


# --- walking -----------------------------------------------------------------------------------


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the expressions directly inside one."""
    if isinstance(expr, Call):
        return expr.args
    if isinstance(expr, Load):
        return tuple(e for e in expr.dynamic if e is not None)
    return ()


def walk(*roots: Expr) -> Iterator[Expr]:
    """Yield every expression in and below the roots once, arguments before their users."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        expr, done = stack.pop()
        if done:
            yield expr
        elif id(expr) not in seen:
            seen.add(id(expr))
            stack.append((expr, True))
            stack.extend((child, False) for child in reversed(children(expr)))


def rewrite(root: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """Return an expression rebuilt from below: ``change`` maps each part with new arguments.

    Shared parts are visited once and stay shared.
    """
    made: dict[int, Expr] = {}
    for expr in walk(root):
        new: Expr = expr
        if isinstance(expr, Call):
            args = tuple(made[id(a)] for a in expr.args)
            if any(a is not b for a, b in zip(args, expr.args, strict=True)):
                new = Call(expr.fn, args, expr.dtype)
        elif isinstance(expr, Load) and any(e is not None for e in expr.dynamic):
            dynamic = tuple(None if e is None else made[id(e)] for e in expr.dynamic)
            if any(a is not b for a, b in zip(dynamic, expr.dynamic, strict=True)):
                new = Load(expr.source, expr.indices, expr.guards, dynamic)
        made[id(expr)] = change(new)
    return made[id(root)]


def substitute(root: Expr, axes: Mapping[Axis, Index]) -> Expr:
    """Return an expression with axes replaced by indices, in all its positions."""

    def bounds(given: tuple[Within, ...]) -> tuple[Within, ...]:
        return tuple(Within(replace_axes(b.index, axes), b.size) for b in given)

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Position):
            return Position(replace_axes(expr.index, axes))
        if isinstance(expr, Inside):
            return Inside(bounds(expr.bounds))
        if isinstance(expr, Load):
            indices = tuple(replace_axes(i, axes) for i in expr.indices)
            return Load(expr.source, indices, bounds(expr.guards), expr.dynamic)
        return expr

    return rewrite(root, change)


# --- building ----------------------------------------------------------------------------------


def const(value: Scalar, dtype: DType) -> Const:
    """Return a number of a dtype (of the type that the dtype is computed in).

    Integers wrap into the range of the dtype; other numbers become integers as in NumPy.
    """
    kind = computed(dtype)
    if kind.kind == "bool":
        return Const(bool(value), kind)
    if kind.kind == "float":
        return Const(float(value), kind)
    if isinstance(value, float):
        with np.errstate(all="ignore"):
            return Const(int(np.asarray(value).astype(kind.compute)), kind)
    lowest = -(2 ** (kind.bits - 1)) if kind.kind == "int" else 0
    return Const((int(value) - lowest) % 2**kind.bits + lowest, kind)


def call(fn: str, *args: Expr, dtype: DType | None = None) -> Call:
    """Return a scalar function of expressions; by default of the type of the first argument.

    Comparisons need no dtype given: their result is bool.
    """
    if dtype is None:
        dtype = bool_ if fn in PREDICATES else args[0].dtype
    return Call(fn, args, dtype)


def cast(x: Expr, dtype: DType) -> Expr:
    """Return a number converted to another dtype (to the type that it is computed in)."""
    kind = computed(dtype)
    return x if x.dtype is kind else Call("cast", (x,), kind)


def where(condition: Expr, x: Expr, y: Expr) -> Call:
    """Return x where a condition holds, else y."""
    return Call("where", (condition, x, y), x.dtype)


PREDICATES = frozenset(
    (
        *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        *("isnan", "isinf", "isfinite", "signbit", "logical_not"),
    )
)
