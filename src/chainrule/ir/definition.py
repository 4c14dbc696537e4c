"""Definitions: what a tensor is, element by element, before anything is said about loops.

Takes: tensors. Gives: for each position of a result an expression, perhaps reduced over further
axes.
The one idea: every op is a small set of such formulas; matrix product, convolution, pooling and
sums differ only in the positions that they read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chainrule.core.dtype import DType
from chainrule.ir.expr import (
    Axis,
    Const,
    Expr,
    Index,
    Inside,
    Load,
    Ref,
    Within,
    add,
    call,
    cast,
    computed,
    const,
    extremes,
    index_of,
    needed,
    scale,
    where,
)


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """``target[axes] = fn over reduced of body``; without ``fn`` it is ``body`` itself.

    Attributes:
        target: The tensor that is defined.
        axes: One axis for each of its dimensions.
        body: The element.
        fn: Name of the reduction (see `Acc`), "" for none.
        reduced: Axes that are reduced over; an empty range gives the reduction's neutral element.
    """

    target: Ref
    axes: tuple[Axis, ...]
    body: Expr
    fn: str = ""
    reduced: tuple[Axis, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """``target`` starts as ``initial``; then for all axes in order, target[position] is updated.

    Attributes:
        target: The tensor that is defined.
        initial: The tensor that it starts as, of the same shape and dtype.
        axes: Axes that the updates run over, in row-major order: later ones win.
        position: For each dimension of the target an index, and in ``dynamic`` an int64
            expression that is added to it, or None. Positions out of range are skipped.
        dynamic: See ``position``.
        body: The element that is written or added.
        fn: "" to write, "add" to add.
    """

    target: Ref
    initial: Ref
    axes: tuple[Axis, ...]
    position: tuple[Index, ...]
    dynamic: tuple[Expr | None, ...]
    body: Expr
    fn: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """``target[.., k, ..] = fn over body[.., 0], .., body[.., k]``: a running reduction.

    Attributes:
        target: The tensor that is defined.
        axes: One axis for each of its dimensions.
        body: The element that is taken in, one after the other, in the body's type.
        fn: Name of the reduction (see `Acc`).
        axis: Number of the axis that it runs along.
    """

    target: Ref
    axes: tuple[Axis, ...]
    body: Expr
    fn: str
    axis: int


# What an op lowers to: definitions in order; the last one defines its result.
Formula = Definition | Scatter | Prefix
Formulas = tuple[Formula, ...]

Position = Axis | Index | int


def axes_of(shape: Sequence[int], names: str = "ijklmnpq") -> tuple[Axis, ...]:
    """Return an axis for each size of a shape."""
    return tuple(Axis(names[n % len(names)], size) for n, size in enumerate(shape))


def read(source: Ref, *indices: Position, dynamic: Sequence[Expr | None] = ()) -> Load:
    """Return an element of a tensor; positions must be in range."""
    return Load(source, tuple(map(index_of, indices)), (), tuple(dynamic))


def row_major(positions: Sequence[Position], shape: Sequence[int]) -> Index:
    """Return the flat position of an element in a tensor of a shape."""
    found = Index((), 0)
    for position, size in zip(positions, shape, strict=True):
        found = add(scale(found, size), position)
    return found


def read_flat(source: Ref, position: Position) -> Load:
    """Return the element of a tensor at a row-major flat position, which must be in range.

    Where this is affine along each dimension it is an ordinary element, which fuses better.
    """
    flat = index_of(position)
    terms = list(flat.terms)
    rest = flat.offset
    places = []
    for axis in range(len(source.shape)):
        stride = max(1, math.prod(source.shape[axis + 1 :]))
        taken = [(a, c // stride) for a, c in terms if c % stride == 0]
        terms = [(a, c) for a, c in terms if c % stride]
        place = Index(tuple(taken), rest // stride)
        rest %= stride
        low, high = extremes(place)
        if low < 0 or high >= source.shape[axis]:
            return Load(source, (flat,))
        places.append(place)
    return Load(source, tuple(places))


def read_padded(source: Ref, *indices: Position, fill: float = 0.0) -> Expr:
    """Return an element of a tensor, or ``fill`` where the position lies outside of it."""
    places = tuple(map(index_of, indices))
    guards = needed(Within(i, s) for i, s in zip(places, source.shape, strict=True))
    load = Load(source, places, guards)
    if not guards or (fill == 0 and math.copysign(1, fill) > 0):
        return load
    return where(Inside(guards), load, const(fill, load.dtype))


def broadcast(source: Ref, axes: Sequence[Axis | int]) -> Load:
    """Return the element of a tensor that belongs to a position of a shape it broadcasts to."""
    last = axes[len(axes) - len(source.shape) :]
    return read(source, *(0 if s == 1 else a for a, s in zip(last, source.shape, strict=True)))


def compute(
    shape: Sequence[int], dtype: DType, body: Callable[..., Expr], name: str = "out"
) -> Definition:
    """Return the definition of a tensor from a function of one axis for each dimension."""
    axes = axes_of(shape)
    return Definition(Ref(name, tuple(shape), dtype), axes, body(*axes))


def pointwise(fn: str, dtype: DType, shape: Sequence[int], *inputs: Ref) -> Definition:
    """Return the definition of a scalar function applied to broadcast inputs."""

    def body(*axes: Axis) -> Expr:
        return call(fn, *(broadcast(x, axes) for x in inputs), dtype=computed(dtype))

    return compute(shape, dtype, body)


def converted(source: Ref, dtype: DType) -> Definition:
    """Return the definition of a tensor in another dtype."""

    def body(*axes: Axis) -> Expr:
        return cast(read(source, *axes), dtype)

    return compute(source.shape, dtype, body)


def reshaped(source: Ref, shape: Sequence[int]) -> Definition:
    """Return the definition of a tensor with the source's elements in row-major order."""

    def body(*axes: Axis) -> Expr:
        return read_flat(source, row_major(axes, shape))

    return compute(shape, source.dtype, body)


def reduction(
    fn: str,
    dtype: DType,
    shape: Sequence[int],
    reduced: Sequence[int],
    body: Callable[[tuple[Axis, ...], tuple[Axis, ...]], Expr],
    name: str = "out",
) -> Definition:
    """Return the definition of a reduction.

    Args:
        fn: Name of the reduction (see `Acc`).
        dtype: Of the result.
        shape: Of the result.
        reduced: Sizes of the axes that are reduced over.
        body: From the axes of the result and the reduced axes to the reduced element.
        name: Of the result.
    """
    axes, inner = axes_of(shape), axes_of(reduced, "rstuvwxy")
    return Definition(Ref(name, tuple(shape), dtype), axes, body(axes, inner), fn, inner)


def filled(shape: Sequence[int], value: float, dtype: DType, name: str = "out") -> Definition:
    """Return the definition of a tensor of one number."""
    number: Const = const(value, dtype)
    return compute(shape, dtype, lambda *_: number, name)
