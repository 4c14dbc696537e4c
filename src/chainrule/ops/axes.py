"""Axes: exchange, insert, remove, merge and part them.

Takes: a tensor and axes. Gives: a tensor with the same elements.
The one idea: all of these are a `permute`, a `reshape` or an `expand`, and so are their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.core.shape import (
    Axes,
    broadcast_shapes,
    expect,
    many_axes,
    normalize_axes,
    normalize_axis,
    normalize_shape,
    one_axis,
    scalar_axis,
)
from chainrule.graph.op import composite, public
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.ops.movement import Sizes, expand, listed, permute, reshape


def _permute_samples() -> list[Sample]:
    return [sample((2, 3, 4), axes=(2, 0, 1)), sample((2, 3), axes=(-1, 0)), sample((), axes=())]


@composite(_permute_samples)
def permute_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the tensor with its axes in another order; the array API's name for `permute`."""
    return permute(x, axes)


def _exchange_samples() -> list[Sample]:
    return [
        sample((2, 3, 4), axis0=0, axis1=-1),
        sample((2, 3), axis0=0, axis1=1),
        sample((4, 2), axis0=1, axis1=1),
    ]


@composite(_exchange_samples)
def transpose(x: Tensor, axis0: int, axis1: int) -> Tensor:
    """Return the tensor with two axes exchanged.

    Args:
        x: Any tensor.
        axis0: One axis.
        axis1: The other.

    Raises:
        ShapeError: There is no such axis.

    Example:
        >>> import chainrule
        >>> chainrule.transpose(chainrule.zeros((2, 3, 4)), 0, -1).shape
        (4, 3, 2)
    """
    x = as_tensor(x)
    if scalar_axis((axis0, axis1), x.ndim):
        return x
    order = list(range(x.ndim))
    first = normalize_axis("transpose", axis0, x.ndim)
    second = normalize_axis("transpose", axis1, x.ndim)
    order[first], order[second] = second, first
    return permute(x, order)


@composite(lambda: [sample((2, 3)), sample((2, 3, 4)), sample((2, 0, 3), name="empty")])
def matrix_transpose(x: Tensor) -> Tensor:
    """Return the tensor with its last two axes exchanged.

    Raises:
        ShapeError: There are fewer than two axes.
    """
    x = as_tensor(x)
    expect(x.ndim >= 2, "matrix_transpose: at least two axes are needed, got {}", x.spec)
    return transpose(x, -1, -2)


def _move_samples() -> list[Sample]:
    return [
        sample((2, 3, 4), source=0, destination=-1),
        sample((2, 3, 4), source=(0, 1), destination=(1, 2)),
        sample((2, 3), source=(), destination=()),
    ]


@composite(_move_samples)
def moveaxis(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Return the tensor with axes moved to other places; the rest keep their order.

    Args:
        x: Any tensor.
        source: Where the axes are.
        destination: Where each of them goes.

    Raises:
        ShapeError: There is no such axis, one is named twice, or the counts differ.

    Example:
        >>> import chainrule
        >>> chainrule.moveaxis(chainrule.zeros((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    x = as_tensor(x)
    start = _each("moveaxis", source, x.ndim)
    end = _each("moveaxis", destination, x.ndim)
    expect(
        len(start) == len(end),
        "moveaxis: {} axes to move, {} places for them",
        *(len(start), len(end)),
    )
    order = [axis for axis in range(x.ndim) if axis not in start]
    for place, axis in sorted(zip(end, start, strict=True)):
        order.insert(place, axis)
    return permute(x, order)


def _each(op: str, axes: int | Sequence[int], ndim: int) -> list[int]:
    """Return axes as numbers from 0, in the order in which they were given."""
    normalize_axes(op, axes, ndim)
    return [normalize_axis(op, axis, ndim) for axis in listed(axes)]


@composite(_move_samples)
def movedim(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Return the tensor with axes moved; PyTorch's name for `moveaxis`."""
    return moveaxis(x, source, destination)


def _squeeze_samples() -> list[Sample]:
    return [sample((1, 3, 1), axis=0), sample((1, 3, 1), axis=(0, -1)), sample((1, 2, 1))]


@composite(_squeeze_samples)
def squeeze(x: Tensor, axis: Axes = None, *, dim: Axes = None) -> Tensor:
    """Return the tensor without axes of size 1.

    Args:
        x: Any tensor.
        axis: Which ones (default: all of size 1).
        dim: Another name for ``axis``.

    Raises:
        ShapeError: A named axis is not of size 1 (as the array API has it; PyTorch would leave
            it as it is).

    Example:
        >>> import chainrule
        >>> chainrule.squeeze(chainrule.zeros((1, 3, 1))).shape
        (3,)
    """
    x = as_tensor(x)
    wanted = many_axes("squeeze", axis, dim)
    if scalar_axis(wanted, x.ndim):
        return x
    gone = normalize_axes("squeeze", wanted, x.ndim)
    if wanted is None:
        gone = tuple(a for a in gone if x.shape[a] == 1)
    for a in gone:
        expect(
            x.shape[a] == 1,
            "squeeze: axis {} of {} has size {}, only axes of size 1 can be taken out",
            *(a, x.spec, x.shape[a]),
            hint="reduce it (x.mean(axis)), or pick one element of it: x[:, 0]",
        )
    return reshape(x, [size for a, size in enumerate(x.shape) if a not in gone])


def _unsqueeze_samples() -> list[Sample]:
    return [sample((2, 3), axis=0), sample((2, 3), axis=-1), sample((), axis=0)]


@composite(_unsqueeze_samples)
def unsqueeze(x: Tensor, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """Return the tensor with an axis of size 1 inserted.

    Args:
        x: Any tensor.
        axis: Where it stands in the result; -1 is the end.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: The place lies outside the result.
        ArgumentError: No place is given.

    Example:
        >>> import chainrule
        >>> chainrule.unsqueeze(chainrule.zeros((2, 3)), 1).shape
        (2, 1, 3)
    """
    x = as_tensor(x)
    wanted = one_axis("unsqueeze", axis, dim, None)
    if wanted is None:
        raise ArgumentError("unsqueeze: no axis is given", hint="x.unsqueeze(0)")
    place = normalize_axis("unsqueeze", wanted, x.ndim + 1)
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


@composite(lambda: [sample((2, 3)), sample((2, 3), axis=-1), sample((), axis=0)])
def expand_dims(x: Tensor, axis: int = 0) -> Tensor:
    """Return the tensor with an axis of size 1; the array API's name for `unsqueeze`."""
    return unsqueeze(x, axis)


def _flatten_samples() -> list[Sample]:
    return [
        sample((2, 3, 4)),
        sample((2, 3, 4), start_dim=1),
        sample((2, 3, 4), start_dim=0, end_dim=-2),
        sample(()),
        sample((2, 0, 3), start_dim=1, name="empty"),
    ]


@composite(_flatten_samples)
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the tensor with neighbouring axes merged into one.

    Args:
        x: Any tensor; a 0-d one becomes 1-d.
        start_dim: The first axis that is merged.
        end_dim: The last one.

    Raises:
        ShapeError: There is no such axis, or the last comes before the first.

    Example:
        >>> import chainrule
        >>> chainrule.flatten(chainrule.zeros((2, 3, 4)), start_dim=1).shape
        (2, 12)
    """
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, (1,))
    first = normalize_axis("flatten", start_dim, x.ndim)
    last = normalize_axis("flatten", end_dim, x.ndim)
    expect(
        first <= last,
        "flatten: start_dim {} comes after end_dim {} of {}",
        *(start_dim, end_dim, x.spec),
    )
    merged = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


def _unflatten_samples() -> list[Sample]:
    return [
        sample((2, 12), dim=1, sizes=(3, 4)),
        sample((12, 2), dim=0, sizes=(2, -1, 3)),
        sample((3, 4), dim=-1, sizes=(4, 1)),
    ]


@composite(_unflatten_samples)
def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return the tensor with one axis parted into several.

    Args:
        x: Any tensor.
        dim: The axis.
        sizes: Sizes of the axes that take its place; one may be -1 and is then computed.

    Raises:
        ShapeError: The sizes do not multiply to that of the axis.

    Example:
        >>> import chainrule
        >>> chainrule.unflatten(chainrule.zeros((2, 12)), 1, (3, -1)).shape
        (2, 3, 4)
    """
    x = as_tensor(x)
    axis = normalize_axis("unflatten", dim, x.ndim)
    size, parts = x.shape[axis], list(sizes)
    if parts.count(-1) == 1:
        known = math.prod(part for part in parts if part != -1)
        if known > 0 and size % known == 0:
            parts[parts.index(-1)] = size // known
    expect(
        math.prod(parts) == size and min(parts, default=0) >= 0,
        "unflatten: sizes {} do not multiply to {}, the size of axis {} of {}",
        *(list(sizes), size, axis, x.spec),
        hint="pass -1 for one of them to have it computed",
    )
    return reshape(x, (*x.shape[:axis], *parts, *x.shape[axis + 1 :]))


def _broadcast_samples() -> list[Sample]:
    return [sample((3, 1), shape=(3, 4)), sample((), shape=(2, 3)), sample((3,), shape=(0, 3))]


@composite(_broadcast_samples)
def broadcast_to(x: Tensor, shape: Sizes) -> Tensor:
    """Return the tensor broadcast to a shape; unlike `expand` takes no -1.

    Raises:
        ShapeError: A size of x is neither 1 nor the wanted one.
    """
    return expand(x, normalize_shape("broadcast_to", shape))


@public
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Return all tensors broadcast to their common shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> a, b = chainrule.broadcast_tensors(chainrule.zeros((3, 1)), chainrule.zeros((4,)))
        >>> a.shape, b.shape
        ((3, 4), (3, 4))
    """
    made = [as_tensor(t) for t in tensors]
    shape = broadcast_shapes("broadcast_tensors", *(t.shape for t in made))
    return tuple(expand(t, shape) for t in made)


@public
def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Return all tensors broadcast to their common shape; see `broadcast_tensors`."""
    return broadcast_tensors(*arrays)
