"""Gathering: for each place of an index, one element along an axis; scattering, its way back.

Takes: a tensor and an integer tensor with as many axes. Gives: a tensor of the index's shape, or
a tensor with elements added or replaced where the index says.
The one idea: `gather` and `ungather` (add up where an index says) are each other's derivative.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array, int64
from chainrule.core.errors import ChainruleError, IndexRangeError, ShapeError
from chainrule.core.shape import Shape, Spec, broadcast_shapes, expect, normalize_axis, scalar_axis
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, Saves, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, make
from chainrule.ir.definition import Formulas, axes_of, compute, filled, read
from chainrule.ir.expr import Axis, Expr, Position, Ref, cast, const, index_of, where
from chainrule.ir.expr import call as function
from chainrule.ops.movement import axis_or_dim
from chainrule.ops.positions import (
    About,
    all_between,
    check_positions,
    expect_integers,
    from_start,
    inside_condition,
    position_in,
    scattered_sum,
    whole,
)
from chainrule.ops.selection import put
from chainrule.ops.slicing import take_ranges


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _check_shapes(op: str, x: Shape, index: Spec, axis: int) -> None:
    expect_integers(op, index)
    expect(
        len(x) == len(index.shape) and _without(x, axis) == _without(index.shape, axis),
        "{}: index {} for shape {}, which may differ along axis {} alone",
        *(op, index, list(x), axis),
    )


def _places(index: Array, shape: Shape, axis: int) -> Array:
    """Return where in the flattened array of a shape each place of an index points to."""
    inner = math.prod(shape[axis + 1 :])
    outer = np.arange(math.prod(shape[:axis])) * (shape[axis] * inner)
    base = (outer[:, None] + np.arange(inner)).reshape(*shape[:axis], 1, *shape[axis + 1 :])
    positions = from_start(index, shape[axis])
    return base + (positions if inner == 1 else positions * inner)


def _looked_up(
    index: Ref, at: Sequence[Axis], axis: int, size: int
) -> tuple[list[Axis | int], list[Expr | None]]:
    """Return for each axis where an element stands: a position, and what is added to it."""
    places: list[Axis | int] = list(at)
    dynamic: list[Expr | None] = [None] * len(at)
    places[axis], dynamic[axis] = 0, position_in(index, at, size)
    return places, dynamic


def _picked_up(x: Ref, index: Ref, at: Sequence[Axis], axis: int, size: int) -> Expr:
    """Return the element of a tensor into which one element a row was added, without scatter."""
    row: list[Axis | int] = [*at[:axis], 0, *at[axis + 1 :]]
    hit = function("equal", Position(index_of(at[axis])), position_in(index, row, size))
    element = read(x, *row)
    return where(hit, element, const(0, element.dtype))


@register
class Gather(Op):
    """The element at index[i, j, ...] along an axis, at the same place along all others."""

    name = "gather"
    onnx = "GatherElements"
    saves = Saves(inputs=(1,))
    flops_per_element = 0

    def infer(self, x: Spec, index: Spec, *, axis: int, about: About | None = None) -> Spec:
        normalize_axis("gather", axis, len(x.shape))
        _check_shapes("gather", x.shape, index, axis)
        return Spec(index.shape, x.dtype)

    def eval(self, x: Array, index: Array, *, axis: int, about: About | None = None) -> Array:
        function = about.function if about else self.name
        seen = about.spec if about else f"shape {list(x.shape)}"
        index = check_positions(index, x.shape[axis], function, axis, seen)
        return np.ascontiguousarray(x).reshape(-1).take(_places(index, x.shape, axis))

    def lower(
        self, x: Ref, index: Ref, *, axis: int, about: About | None = None
    ) -> Formulas | None:
        if 0 in x.shape:  # nothing to read, and nothing is read where the condition holds
            return (filled(index.shape, 0, x.dtype),)

        def body(*at: Axis) -> Expr:
            places, dynamic = _looked_up(index, at, axis, x.shape[axis])
            return read(x, *places, dynamic=dynamic)

        return (compute(index.shape, x.dtype, body),)

    def condition(
        self, x: Ref, index: Ref, *, axis: int, about: About | None = None
    ) -> tuple[Formulas, ChainruleError] | None:
        return inside_condition(self.name, (index,), x.shape, (axis,), about)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        index: Tensor,
        *,
        axis: int,
        about: About | None = None,
    ) -> tuple[Tensor, None]:
        return apply(_UNGATHER, grad, index, axis=axis, size=x.shape[axis]), None

    def samples(self) -> Iterable[Sample]:
        return [
            sample((4, 3), whole((5, 3), 4), axis=0),
            sample((2, 3, 4), whole((2, 3, 2), 4), axis=2),
            sample((6,), whole((4,), 6), axis=0),
            sample((3, 0), In((2, 0), kind="int"), axis=0, name="empty"),
        ]


@register
class Ungather(Op):
    """Zeros, with elements added where an index says; the derivative of `gather`."""

    name = "ungather"
    saves = Saves(inputs=(1,))

    def infer(
        self, x: Spec, index: Spec, *, axis: int, size: int, about: About | None = None
    ) -> Spec:
        normalize_axis("ungather", axis, len(x.shape))
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        _check_shapes("ungather", shape, index, axis)
        expect(x.shape == index.shape, "ungather: {} for an index {}", x, index)
        return Spec(shape, x.dtype)

    def eval(
        self, x: Array, index: Array, *, axis: int, size: int, about: About | None = None
    ) -> Array:
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        function = about.function if about else self.name
        seen = about.spec if about else f"shape {list(shape)}"
        index = check_positions(index, size, function, axis, seen)
        result = np.zeros(shape, dtype=x.dtype)
        places = _places(index, shape, axis)
        np.add.at(result.reshape(-1), places.reshape(-1), x.reshape(-1))
        return result

    def lower(
        self, x: Ref, index: Ref, *, axis: int, size: int, about: About | None = None
    ) -> Formulas | None:
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        if x.shape[axis] == 1:
            return (compute(shape, x.dtype, lambda *at: _picked_up(x, index, at, axis, size)),)
        at = axes_of(x.shape)
        places, dynamic = _looked_up(index, at, axis, size)
        return scattered_sum(shape, x.dtype, at, places, dynamic, read(x, *at))

    def condition(
        self, x: Ref, index: Ref, *, axis: int, size: int, about: About | None = None
    ) -> tuple[Formulas, ChainruleError] | None:
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        return inside_condition(self.name, (index,), shape, (axis,), about)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        index: Tensor,
        *,
        axis: int,
        size: int,
        about: About | None = None,
    ) -> tuple[Tensor, None]:
        return apply(_GATHER, grad, index, axis=axis), None

    def samples(self) -> Iterable[Sample]:
        return [
            sample((5, 3), whole((5, 3), 4), axis=0, size=4),
            sample((2, 3, 2), whole((2, 3, 2), 4), axis=2, size=4),
            sample((4,), whole((4,), 6), axis=0, size=6),
            sample((2, 0), In((2, 0), kind="int"), axis=0, size=3, name="empty"),
        ]


@register
class OneHot(Op):
    """A 1 at the place of each class among zeros."""

    name = "one_hot"
    onnx = "OneHot"
    differentiable = False
    flops_per_element = 0

    def infer(self, index: Spec, *, num_classes: int) -> Spec:
        expect_integers("one_hot", index)
        return Spec((*index.shape, num_classes), int64)

    def eval(self, index: Array, *, num_classes: int) -> Array:
        bad = (index < 0) | (index >= num_classes)
        if bad.any():
            place = np.unravel_index(int(np.argmax(bad)), index.shape)
            where = f" at position {[int(p) for p in place]}" if place else ""
            raise IndexRangeError(
                f"one_hot: class {int(index[place])}{where} is out of range for {num_classes} "
                f"classes; valid: from 0 to {num_classes - 1}",
                hint=f"num_classes={int(index.max()) + 1}"
                if index.min() >= 0
                else "count classes from 0",
            )
        result = np.zeros((index.size, num_classes), dtype=np.int64)
        result[np.arange(index.size), index.reshape(-1)] = 1
        return result.reshape(*index.shape, num_classes)

    def lower(self, index: Ref, *, num_classes: int) -> Formulas | None:
        def body(*at: Axis) -> Expr:
            given = cast(read(index, *at[:-1]), int64)
            return cast(function("equal", given, Position(index_of(at[-1]))), int64)

        return (compute((*index.shape, num_classes), int64, body),)

    def condition(self, index: Ref, *, num_classes: int) -> tuple[Formulas, ChainruleError] | None:
        error = IndexRangeError(
            f"one_hot: a class is out of range for {num_classes} classes; "
            f"valid: from 0 to {num_classes - 1}",
            hint="called without chainrule.compile the error names the class",
        )
        return all_between([index], [(0, num_classes)]), error

    def samples(self) -> Iterable[Sample]:
        return [
            sample(In((4,), low=0, high=3, kind="int"), num_classes=3),
            sample(In((2, 3), low=0, high=5, kind="int"), num_classes=6),
            sample(In((), low=0, high=2, kind="int"), num_classes=2),
            sample(In((0,), low=0, high=2, kind="int"), num_classes=2, name="empty"),
        ]


_GATHER, _UNGATHER, _ONE_HOT = Gather(), Ungather(), OneHot()


@public
def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return for each place of an index the element there along an axis.

    ``result[i, j] = x[index[i, j], j]`` for dim 0, ``x[i, index[i, j]]`` for dim 1.

    Args:
        x: Any tensor.
        dim: The axis.
        index: Integers, with as many axes as x; along other axes it may be smaller.

    Returns:
        A tensor of the index's shape.

    Raises:
        IndexRangeError: An index lies outside the axis.
        ShapeError: The index has other axes, or is larger than x along another axis.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([[1, 2], [3, 4]])
        >>> chainrule.gather(x, 1, chainrule.tensor([[1], [0]])).tolist()
        [[2], [3]]
    """
    x, index = as_tensor(x), as_tensor(index)
    if x.ndim == 0 and index.ndim <= 1:
        found = gather(x.reshape(1), dim, index.reshape(-1))
        return found.reshape(index.shape)
    if scalar_axis(dim, x.ndim):
        return gather(x.reshape(1), 0, index.reshape(-1)).reshape(index.shape)
    axis = _fit("gather", x, dim, index, "x")
    ranges = [(0, x.shape[a] if a == axis else n, 1) for a, n in enumerate(index.shape)]
    part = x if _sizes(ranges) == x.shape else take_ranges(x, tuple(ranges))
    return apply(_GATHER, part, index, axis=axis, about=About("gather", x.spec, (axis,)))


def _sizes(ranges: Iterable[tuple[int, int, int]]) -> Shape:
    return tuple(count for _, count, _ in ranges)


def _fit(op: str, x: Tensor, dim: int, index: Tensor, what: str) -> int:
    """Return the axis, after checking that an index fits x along all others."""
    expect_integers(op, index.spec)
    axis = normalize_axis(op, dim, x.ndim)
    fits = index.ndim == x.ndim and all(
        small <= large
        for a, (small, large) in enumerate(zip(index.shape, x.shape, strict=True))
        if a != axis
    )
    expect(
        fits,
        "{}: index {} for {} {}: it needs {} axes, and outside axis {} no size larger than there",
        *(op, index.spec, what, x.spec, x.ndim, axis),
        hint="chainrule.take(x, index, axis) looks up whole slices with an index of any shape",
    )
    return axis


@public
def take_along_axis(
    x: Tensor, indices: Tensor, axis: int = -1, *, dim: int | None = None
) -> Tensor:
    """Return for each place of an index the element there along an axis; others broadcast.

    Args:
        x: Any tensor.
        indices: Integers, with as many axes as x; sizes along other axes are equal or 1.
        axis: Along which axis.
        dim: Another name for ``axis``.

    Raises:
        IndexRangeError: An index lies outside the axis.
        ShapeError: Sizes do not broadcast.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([[3, 1], [2, 4]])
        >>> chainrule.take_along_axis(x, chainrule.argsort(x), -1).tolist()
        [[1, 3], [2, 4]]
    """
    x, indices = as_tensor(x), as_tensor(indices)
    expect_integers("take_along_axis", indices.spec)
    chosen = axis_or_dim("take_along_axis", axis, dim, -1)
    if scalar_axis(chosen, x.ndim):
        return gather(x, 0, indices)
    where = normalize_axis("take_along_axis", chosen, x.ndim)
    expect(
        x.ndim == indices.ndim,
        "take_along_axis: indices {} need as many axes as x {}",
        *(indices.spec, x.spec),
        hint="chainrule.take(x, indices, axis) looks up whole slices with an index of any shape",
    )
    about = About("take_along_axis", x.spec, (where,))
    rest = broadcast_shapes(
        "take_along_axis", _without(x.shape, where), _without(indices.shape, where)
    )

    def widened(t: Tensor) -> Tensor:
        shape = (*rest[:where], t.shape[where], *rest[where:])
        return t if t.shape == shape else t.expand(shape)

    return apply(_GATHER, widened(x), widened(indices), axis=where, about=about)


@public
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return x with elements of a source added where an index says along an axis.

    ``result[index[i, j], j] += src[i, j]`` for dim 0; an index that comes twice adds twice.

    Args:
        x: Any tensor.
        dim: The axis.
        index: Integers, with as many axes as x; along other axes it may be smaller.
        src: At least as large as the index along every axis.

    Raises:
        IndexRangeError: An index lies outside the axis.
        ShapeError: Sizes do not fit.

    Example:
        >>> import chainrule
        >>> index, ones = chainrule.tensor([0, 0, 2]), chainrule.ones((3,))
        >>> chainrule.scatter_add(chainrule.zeros((3,)), 0, index, ones).tolist()
        [2.0, 0.0, 1.0]
    """
    x, index, src = as_tensor(x), as_tensor(index), as_tensor(src)
    if scalar_axis(dim, x.ndim):
        return scatter_add(x.reshape(1), 0, index.reshape(-1), src.reshape(-1)).reshape(())
    axis = _fit("scatter_add", x, dim, index, "x")
    part = _source("scatter_add", src, index)
    about = About("scatter_add", x.spec, (axis,))
    added = apply(_UNGATHER, part, index, axis=axis, size=x.shape[axis], about=about)
    if added.shape != x.shape:
        margins = [(0, n - m) for n, m in zip(x.shape, added.shape, strict=True)]
        added = call("pad", added, margins)
    return x + added


def _source(op: str, src: Tensor, index: Tensor) -> Tensor:
    """Return the part of a source that an index covers."""
    if src.shape == index.shape:
        return src
    fits = src.ndim == index.ndim and all(
        m <= n for m, n in zip(index.shape, src.shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{op}: index {index.spec} is larger than the source {src.spec} in some axis",
            hint="give the source the shape of the index",
        )
    return take_ranges(src, tuple((0, size, 1) for size in index.shape))


@public
def scatter(x: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """Return x with elements of a source put where an index says along an axis.

    Args:
        x: Any tensor.
        dim: The axis.
        index: Integers, with as many axes as x; along other axes it may be smaller. Where one
            comes twice the last element stays.
        src: A number, or a tensor at least as large as the index along every axis.

    Raises:
        IndexRangeError: An index lies outside the axis.
        ShapeError: Sizes do not fit.

    Example:
        >>> import chainrule
        >>> zeros, index = chainrule.zeros((2, 3)), chainrule.tensor([[2], [0]])
        >>> chainrule.scatter(zeros, 1, index, 1.0).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    x, index = as_tensor(x), as_tensor(index)
    source = as_tensor(src, x)
    if scalar_axis(dim, x.ndim):
        return scatter(x.reshape(1), 0, index.reshape(-1), source.reshape(-1)).reshape(())
    axis = _fit("scatter", x, dim, index, "x")
    source = source.expand(index.shape) if source.ndim == 0 else _source("scatter", source, index)
    positions = []
    for a, size in enumerate(index.shape):
        along = np.arange(size).reshape((-1,) + (1,) * (index.ndim - 1 - a))
        positions.append(index if a == axis else make(along, int64))
    axes = tuple(range(x.ndim))
    value = source if source.dtype is x.dtype else source.to(x.dtype)
    about = About("scatter", x.spec, axes)
    return put(x, value, positions, axes=axes, position=0, unique=False, about=about)


@public
def one_hot(x: Tensor, num_classes: int = -1) -> Tensor:
    """Return for each class index a row with a 1 in its place and zeros elsewhere.

    Args:
        x: Integers of any shape, from 0 on.
        num_classes: Length of the rows; -1 takes one more than the largest class.

    Returns:
        int64, of the shape of x and an axis of classes more.

    Raises:
        IndexRangeError: A class is negative or not smaller than ``num_classes``.

    Example:
        >>> import chainrule
        >>> chainrule.one_hot(chainrule.tensor([2, 0]), 3).tolist()
        [[0, 0, 1], [1, 0, 0]]
    """
    x = as_tensor(x)
    expect_integers("one_hot", x.spec)
    if num_classes == -1:
        expect(x.spec.size > 0, "one_hot: no classes to count in {}", x.spec, hint="num_classes=10")
        num_classes = int(x.array.max()) + 1
    return apply(_ONE_HOT, x, num_classes=max(num_classes, 0))


@public
def nonzero(x: Tensor) -> tuple[Tensor, ...]:
    """Return the positions of all elements that are not zero, in row-major order.

    How many there are depends on the elements, so this has no shape rule and no gradient.

    Returns:
        For each axis a 1-d int64 tensor.

    Raises:
        ShapeError: The tensor is 0-d.

    Example:
        >>> import chainrule
        >>> [axis.tolist() for axis in chainrule.nonzero(chainrule.tensor([[0, 3], [2, 0]]))]
        [[0, 1], [1, 0]]
    """
    x = as_tensor(x)
    expect(x.ndim > 0, "nonzero: a 0-d tensor has no positions", hint="x.reshape(1)")
    with np.errstate(all="ignore"):
        return tuple(make(axis.astype(np.int64), int64) for axis in np.nonzero((x != 0).array))
