"""Pieces: join tensors, part them, repeat them, shift them, read their diagonals.

Takes: one tensor or several. Gives: one tensor or several.
The one idea: all of these are `concat`, a slice or an `expand`, and so are their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import int64
from chainrule.core.errors import ArgumentError
from chainrule.core.shape import Axes, expect, many_axes, normalize_axis, one_axis
from chainrule.graph.op import composite, public
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor, common, make
from chainrule.ops.axes import moveaxis, unsqueeze
from chainrule.ops.joining import concat, expect_list
from chainrule.ops.movement import axis_or_dim, expand, listed, reshape
from chainrule.ops.selection import look_up
from chainrule.ops.slicing import cut, take_ranges

Repeats = int | Sequence[int] | Tensor


@public
def stack(tensors: Sequence[Any], axis: int = 0, *, dim: int | None = None) -> Tensor:
    """Return tensors of one shape joined along a new axis.

    Args:
        tensors: Tensors of equal shapes; dtypes are promoted.
        axis: Where the new axis stands in the result.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: Shapes differ, or there are no tensors.

    Example:
        >>> import chainrule
        >>> chainrule.stack([chainrule.tensor([1, 2]), chainrule.tensor([3, 4])]).tolist()
        [[1, 2], [3, 4]]
    """
    expect_list("stack", tensors, axis)
    parts = common(*(as_tensor(t) for t in tensors))
    for position, part in enumerate(parts):
        expect(
            part.shape == parts[0].shape,
            "stack: tensor 0 {} and tensor {} {} differ in shape",
            *(parts[0].spec, position, part.spec),
            hint="chainrule.concat joins tensors that differ along one axis",
        )
    where = normalize_axis("stack", axis_or_dim("stack", axis, dim, 0), parts[0].ndim + 1)
    return concat([unsqueeze(part, where) for part in parts], where)


@public
def split(
    x: Tensor, sizes: int | Sequence[int], axis: int = 0, *, dim: int | None = None
) -> tuple[Tensor, ...]:
    """Return the pieces of a tensor along an axis.

    Args:
        x: Any tensor.
        sizes: The size of every piece (the last one may be smaller), or one for each piece.
        axis: Along which axis.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: Given sizes do not add up to that of the axis.
        ArgumentError: A size is negative, or 0 as the size of every piece.

    Example:
        >>> import chainrule
        >>> [piece.tolist() for piece in chainrule.split(chainrule.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    x = as_tensor(x)
    where = normalize_axis("split", axis_or_dim("split", axis, dim, 0), x.ndim)
    total = x.shape[where]
    if isinstance(sizes, int):
        size = sizes
        if size < 0 or (size == 0 and total > 0):
            raise ArgumentError(f"split: pieces of size {size}, expected at least 1")
        parts = [size] * (total // size) if size else []
        parts += [total % size] if size and total % size else []
        parts = parts or [0]  # an empty axis has one empty piece
    else:
        parts = [int(size) for size in sizes]
        if min(parts, default=0) < 0:
            raise ArgumentError(f"split: negative size in {parts}")
        expect(
            sum(parts) == total,
            "split: sizes {} add up to {}, axis {} of {} has {}",
            *(parts, sum(parts), where, x.spec, total),
            hint="give one number to have all pieces of that size",
        )
    return _pieces(x, parts, where)


def _pieces(x: Tensor, sizes: Sequence[int], axis: int) -> tuple[Tensor, ...]:
    pieces = []
    start = 0
    for size in sizes:
        pieces.append(cut(x, axis, start, start + size) if size else cut(x, axis, 0, 0))
        start += size
    return tuple(pieces)


@public
def chunk(x: Tensor, chunks: int, axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """Return a tensor in at most so many pieces of equal size along an axis, as PyTorch does.

    Args:
        x: Any tensor.
        chunks: How many; the last piece may be smaller, and there may be fewer.
        axis: Along which axis.
        dim: Another name for ``axis``.

    Example:
        >>> import chainrule
        >>> [piece.tolist() for piece in chainrule.chunk(chainrule.arange(5), 2)]
        [[0, 1, 2], [3, 4]]
    """
    x = as_tensor(x)
    if chunks < 1:
        raise ArgumentError(f"chunk: {chunks} pieces, expected at least 1")
    where = normalize_axis("chunk", axis_or_dim("chunk", axis, dim, 0), x.ndim)
    if x.shape[where] == 0:
        return _pieces(x, [0] * chunks, where)
    return split(x, -(-x.shape[where] // chunks), where)


@public
def unstack(x: Tensor, axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """Return the slices of a tensor along an axis, which they lack; undoes `stack`.

    Example:
        >>> import chainrule
        >>> [row.tolist() for row in chainrule.unstack(chainrule.tensor([[1, 2], [3, 4]]))]
        [[1, 2], [3, 4]]
    """
    x = as_tensor(x)
    where = normalize_axis("unstack", axis_or_dim("unstack", axis, dim, 0), x.ndim)
    shape = (*x.shape[:where], *x.shape[where + 1 :])
    return tuple(reshape(cut(x, where, i, i + 1), shape) for i in range(x.shape[where]))


@public
def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the slices of a tensor along an axis; PyTorch's name for `unstack`."""
    return unstack(x, dim)


def _narrow_samples() -> list[Sample]:
    return [
        sample((3, 5), dim=1, start=1, length=3),
        sample((4,), dim=0, start=-2, length=2),
        sample((4, 2), dim=0, start=1, length=0),
    ]


@composite(_narrow_samples)
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return ``length`` neighbouring elements along an axis.

    Raises:
        ShapeError: They reach beyond the axis.

    Example:
        >>> import chainrule
        >>> chainrule.narrow(chainrule.arange(5), 0, 1, 3).tolist()
        [1, 2, 3]
    """
    x = as_tensor(x)
    axis = normalize_axis("narrow", dim, x.ndim)
    size = x.shape[axis]
    first = start + size if start < 0 else start
    expect(
        0 <= first <= first + length <= size,
        "narrow: {} elements from {} on reach beyond axis {} of {}",
        *(length, start, axis, x.spec),
    )
    return cut(x, axis, first, first + length) if length else cut(x, axis, 0, 0)


def _tile_samples() -> list[Sample]:
    return [
        sample((2, 3), repeats=(2, 2)),
        sample((3,), repeats=(2, 1, 2)),
        sample((2, 1, 2), repeats=(3,)),
        sample((), repeats=(2,)),
        sample((2, 2), repeats=(0, 1)),
    ]


@composite(_tile_samples)
def tile(x: Tensor, repeats: int | Sequence[int]) -> Tensor:
    """Return the tensor laid side by side along each axis.

    Args:
        x: Any tensor.
        repeats: How often for each axis, aligned from the last one.

    Raises:
        ArgumentError: A number is negative.

    Example:
        >>> import chainrule
        >>> chainrule.tile(chainrule.tensor([[1, 2]]), (2, 2)).tolist()
        [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    x = as_tensor(x)
    times = list(listed(repeats))
    if min(times, default=0) < 0:
        raise ArgumentError(f"tile: negative number of repeats in {times}")
    times = [1] * (x.ndim - len(times)) + times
    shape = (1,) * (len(times) - x.ndim) + x.shape
    split_shape = [n for size in shape for n in (1, size)]
    wide = [n for t, size in zip(times, shape, strict=True) for n in (t, size)]
    result = [t * size for t, size in zip(times, shape, strict=True)]
    return reshape(expand(reshape(x, split_shape), wide), result)


def _repeat_samples() -> list[Sample]:
    return [
        sample((2, 3), repeats=2),
        sample((2, 3), repeats=3, axis=1),
        sample((3, 2), repeats=(2, 0, 1), axis=0),
        sample((), repeats=2),
        sample((3,), repeats=0, axis=0),
    ]


@composite(_repeat_samples)
def repeat(
    x: Tensor, repeats: Repeats, axis: int | None = None, *, dim: int | None = None
) -> Tensor:
    """Return the tensor with each element repeated in place along an axis.

    Args:
        x: Any tensor.
        repeats: How often, for all elements or for each position along the axis.
        axis: Along which axis; None flattens first.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: There is not one number for each position.
        ArgumentError: A number is negative.

    Example:
        >>> import chainrule
        >>> chainrule.repeat(chainrule.tensor([1, 2]), 2).tolist()
        [1, 1, 2, 2]
    """
    return _repeat("repeat", x, repeats, one_axis("repeat", axis, dim, None))


@composite(_repeat_samples)
def repeat_interleave(
    x: Tensor, repeats: Repeats, axis: int | None = None, *, dim: int | None = None
) -> Tensor:
    """Return the tensor with each element repeated in place; PyTorch's name for `repeat`."""
    chosen = one_axis("repeat_interleave", axis, dim, None)
    return _repeat("repeat_interleave", x, repeats, chosen)


def _repeat(op: str, x: Tensor, repeats: Repeats, axis: int | None) -> Tensor:
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis(op, axis, x.ndim)
    size = x.shape[axis]
    counts = np.asarray(repeats)
    if counts.dtype.kind not in "iu" and counts.size:
        raise ArgumentError(f"{op}: repeats must be integers, got {repeats}")
    if counts.size and int(counts.min()) < 0:
        raise ArgumentError(f"{op}: negative number of repeats in {counts.tolist()}")
    if counts.size == 1:
        times = int(counts.reshape(()))
        wide = expand(unsqueeze(x, axis + 1), (*x.shape[: axis + 1], times, *x.shape[axis + 1 :]))
        return reshape(wide, (*x.shape[:axis], size * times, *x.shape[axis + 1 :]))
    expect(
        counts.shape == (size,),
        "{}: repeats of shape {} for axis {} of {}, expected one number or {}",
        *(op, list(counts.shape), axis, x.spec, size),
    )
    positions = np.repeat(np.arange(size), counts.astype(np.int64))
    return look_up(x, (make(positions, int64),), (axis,), axis, None)


def _roll_samples() -> list[Sample]:
    return [
        sample((5,), shift=2),
        sample((3, 4), shift=-1, axis=1),
        sample((3, 4), shift=(1, 6), axis=(0, 1)),
        sample((2, 3), shift=2),
        sample((0, 3), shift=1, axis=0),
    ]


@composite(_roll_samples)
def roll(x: Tensor, shift: int | Sequence[int], axis: Axes = None, *, dim: Axes = None) -> Tensor:
    """Return the elements shifted along axes; what leaves at one end comes in at the other.

    Args:
        x: Any tensor.
        shift: By how many places, one number or one for each axis.
        axis: Along which axes; None shifts the flattened tensor and keeps the shape.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: There is no such axis, or not one number for each.

    Example:
        >>> import chainrule
        >>> chainrule.roll(chainrule.tensor([1, 2, 3, 4]), 1).tolist()
        [4, 1, 2, 3]
    """
    x = as_tensor(x)
    chosen = many_axes("roll", axis, dim)
    shifts = list(listed(shift))
    if chosen is None:
        return reshape(_roll(reshape(x, -1), sum(shifts), 0), x.shape)
    axes = listed(chosen)
    if len(shifts) == 1:
        shifts *= len(axes)
    expect(
        len(shifts) == len(axes),
        "roll: {} shifts for {} axes",
        *(len(shifts), len(axes)),
        hint="give one shift, or one for each axis",
    )
    for places, a in zip(shifts, axes, strict=True):
        x = _roll(x, places, normalize_axis("roll", a, x.ndim))
    return x if axes else reshape(x, x.shape)


def _roll(x: Tensor, places: int, axis: int) -> Tensor:
    size = x.shape[axis]
    point = -places % size if size else 0
    if point == 0:
        return cut(x, axis, 0, size)
    return concat([cut(x, axis, point, size), cut(x, axis, 0, point)], axis)


def _diagonal_samples() -> list[Sample]:
    return [
        sample((3, 4)),
        sample((4, 3), offset=1),
        sample((3, 4), offset=-2),
        sample((2, 3, 3), offset=0, dim1=1, dim2=2),
        sample((3, 2, 4), offset=1, dim1=-1, dim2=0),
        sample((2, 2), offset=5, name="empty"),
    ]


@composite(_diagonal_samples)
def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a diagonal of the matrices formed by two axes, as the last axis of the result.

    Args:
        x: A tensor with at least two axes.
        offset: 0 for the main diagonal, k > 0 for the k-th above it, k < 0 below.
        dim1: The axis of rows.
        dim2: The axis of columns.

    Raises:
        ShapeError: The axes do not exist or are the same.

    Example:
        >>> import chainrule
        >>> chainrule.diagonal(chainrule.tensor([[1, 2], [3, 4]])).tolist()
        [1, 4]
    """
    x = as_tensor(x)
    matrices = moveaxis(x, (dim1, dim2), (-2, -1))
    rows, columns = matrices.shape[-2:]
    first = offset if offset >= 0 else -offset * columns
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    flat = reshape(matrices, (*matrices.shape[:-2], rows * columns))
    ranges = [(0, size, 1) for size in flat.shape]
    # One row down and one column on is a step of columns + 1 in memory order.
    ranges[-1] = (first, count, columns + 1) if count > 0 else (0, 0, 1)
    return take_ranges(flat, tuple(ranges))
