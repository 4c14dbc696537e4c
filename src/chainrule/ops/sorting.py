"""Sorting: order elements along an axis.

Takes: a tensor and an axis. Gives: elements in order, or their positions.
The one idea: sorting is a `gather` by the order that `argsort` finds, and so is its gradient.

NaN counts as largest: last in ascending order (NumPy), first in descending order (PyTorch).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np

from chainrule.core.dtype import Array, int64
from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.core.shape import Spec, expect, normalize_axis, scalar_axis
from chainrule.graph.op import Op, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ops.gathering import take_along_axis
from chainrule.ops.movement import axis_or_dim
from chainrule.ops.slicing import cut


class TopK(NamedTuple):
    """The first elements in order and their positions."""

    values: Tensor
    indices: Tensor


@register
class ArgSort(Op):
    """Positions of elements in order along an axis; equal ones keep theirs."""

    name = "argsort"
    differentiable = False

    def infer(self, x: Spec, *, axis: int, descending: bool) -> Spec:
        normalize_axis("argsort", axis, len(x.shape))
        return Spec(x.shape, int64)

    def eval(self, x: Array, *, axis: int, descending: bool) -> Array:
        if not descending:
            return np.asarray(np.argsort(x, axis=axis, kind="stable"), dtype=np.int64)
        # Sorting from the back and reading backwards keeps equal elements in their order.
        order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
        return np.asarray(x.shape[axis] - 1 - np.flip(order, axis), dtype=np.int64)

    def samples(self) -> Iterable[Sample]:
        ties = In(values=[1.0, 0.0, 1.0, 0.0, 2.0])
        return [
            sample((3, 5), axis=1, descending=False),
            sample((4, 2), axis=0, descending=True),
            sample(ties, axis=0, descending=True, name="ties"),
            sample((0, 2), axis=1, descending=True, name="empty"),
        ]


@register
class SearchSorted(Op):
    """The place of each value in a sorted 1-d tensor, or in the row of its own of several."""

    name = "searchsorted"
    differentiable = False

    def infer(self, x: Spec, values: Spec, *, side: Literal["left", "right"]) -> Spec:
        expect(
            len(x.shape) == 1 or (len(x.shape) > 1 and x.shape[:-1] == values.shape[:-1]),
            "searchsorted: the sorted tensor must be 1-d, or rows [..., K] for values [..., M]; "
            "got {} for {}",
            *(x, values),
        )
        return Spec(values.shape, int64)

    def eval(self, x: Array, values: Array, *, side: Literal["left", "right"]) -> Array:
        if x.ndim == 1:
            return np.asarray(np.searchsorted(x, values, side=side), dtype=np.int64)
        result = np.empty(values.shape, dtype=np.int64)
        for row in np.ndindex(x.shape[:-1]):
            result[row] = np.searchsorted(x[row], values[row], side=side)
        return result

    def samples(self) -> Iterable[Sample]:
        grid = In(values=[-1.0, 0.0, 0.0, 1.5])
        return [
            sample(grid, (2, 3), side="left"),
            sample(grid, In(values=[0.0, -2.0, 9.0]), side="right"),
            sample(grid, (), side="left"),
            sample(
                In(values=[[-1.0, 0.0, 2.0], [0.5, 0.5, 1.0]]), (2, 4), side="left", name="rows"
            ),
        ]


_ARGSORT, _SEARCHSORTED = ArgSort(), SearchSorted()


@public
def argsort(
    x: Tensor,
    axis: int = -1,
    *,
    descending: bool = False,
    stable: bool = True,
    dim: int | None = None,
) -> Tensor:
    """Return the positions of elements in order along an axis.

    Args:
        x: Any tensor; NaN counts as largest.
        axis: Along which axis.
        descending: Largest first.
        stable: Whether equal elements must keep their order; here they always do.
        dim: Another name for ``axis``.

    Returns:
        Positions as int64, of the shape of x.

    Raises:
        ShapeError: There is no such axis.

    Example:
        >>> import chainrule
        >>> chainrule.argsort(chainrule.tensor([3, 1, 2])).tolist()
        [1, 2, 0]
    """
    x = as_tensor(x)
    chosen = axis_or_dim("argsort", axis, dim, -1)
    if scalar_axis(chosen, x.ndim):
        return argsort(x.reshape(1)).reshape(())
    where = normalize_axis("argsort", chosen, x.ndim)
    return apply(_ARGSORT, x, axis=where, descending=descending)


def _samples() -> list[Sample]:
    return [
        sample(In((3, 4), distinct=True)),
        sample(In((3, 4), distinct=True), axis=0, descending=True),
        sample(In((5,), distinct=True), descending=True),
        sample((2, 0), name="empty"),
    ]


@composite(_samples)
def sort(
    x: Tensor,
    axis: int = -1,
    *,
    descending: bool = False,
    stable: bool = True,
    dim: int | None = None,
) -> Tensor:
    """Return the elements in order along an axis; the method also gives positions.

    Args:
        x: Any tensor; NaN counts as largest.
        axis: Along which axis.
        descending: Largest first.
        stable: Whether equal elements must keep their order; here they always do.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: There is no such axis.

    Example:
        >>> import chainrule
        >>> chainrule.sort(chainrule.tensor([3, 1, 2])).tolist()
        [1, 2, 3]
    """
    x = as_tensor(x)
    chosen = axis_or_dim("sort", axis, dim, -1)
    if scalar_axis(chosen, x.ndim):
        return sort(x.reshape(1)).reshape(())
    where = normalize_axis("sort", chosen, x.ndim)
    return take_along_axis(x, apply(_ARGSORT, x, axis=where, descending=descending), where)


@public
def topk(
    x: Tensor, k: int, axis: int = -1, largest: bool = True, *, dim: int | None = None
) -> TopK:
    """Return the k largest elements along an axis, largest first, and their positions.

    Args:
        x: Any tensor; NaN counts as largest.
        k: How many.
        axis: Along which axis.
        largest: False gives the smallest ones, smallest first.
        dim: Another name for ``axis``.

    Returns:
        ``values``, with gradient, and ``indices``; of equal elements the first ones.

    Raises:
        ArgumentError: There are not k elements along the axis.

    Example:
        >>> import chainrule
        >>> values, indices = chainrule.topk(chainrule.tensor([3, 1, 2]), 2)
        >>> values.tolist(), indices.tolist()
        ([3, 2], [0, 2])
    """
    x = as_tensor(x)
    chosen = axis_or_dim("topk", axis, dim, -1)
    if scalar_axis(chosen, x.ndim):
        found = topk(x.reshape(1), k, 0, largest)
        return TopK(*(each.reshape(()) for each in found)) if k else found
    where = normalize_axis("topk", chosen, x.ndim)
    if not 0 <= k <= x.shape[where]:
        raise ArgumentError(
            f"topk: k = {k} elements along axis {where} of {x.spec}, which has {x.shape[where]}",
            hint=f"k from 0 to {x.shape[where]}",
        )
    order = apply(_ARGSORT, x, axis=where, descending=largest)
    first = cut(order, where, 0, k)
    return TopK(take_along_axis(x, first, where), first)


@public
def searchsorted(
    x: Tensor, values: Tensor, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Return where values would be inserted into a sorted tensor to keep it sorted.

    Args:
        x: A tensor with one axis, in ascending order; or several sorted rows [..., K].
        values: What is looked for, of any shape; [..., M] for rows, each in its own.
        side: ``left``: before equal elements, ``right``: after them.
        sorter: Positions that sort x, if it is not sorted.

    Returns:
        Positions as int64, of the shape of the values.

    Raises:
        ShapeError: x is neither 1-d nor has a row for each row of the values.
        ArgumentError: The side is unknown.

    Example:
        >>> import chainrule
        >>> grid = chainrule.tensor([1.0, 2.0, 3.0])
        >>> chainrule.searchsorted(grid, chainrule.tensor([0.5, 2.0])).tolist()
        [0, 1]
    """
    if side not in ("left", "right"):
        raise unknown_word("side", side, ("left", "right"))
    x, values = common(as_tensor(x), as_tensor(values))
    if sorter is not None:
        x = take_along_axis(x, sorter, -1)
    return apply(_SEARCHSORTED, x, values, side=side)
