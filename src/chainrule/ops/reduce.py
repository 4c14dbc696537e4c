"""Reductions: one number in the place of many, along axes.

Takes: a tensor and the axes to reduce. Gives: a tensor without these axes (or with size 1).
The one idea: the gradient of a reduction spreads the incoming gradient back along its axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array, DType, DTypeLike, as_dtype, float32, int64, uint64
from chainrule.core.shape import (
    Axes,
    Shape,
    Spec,
    expect,
    many_axes,
    normalize_axes,
    normalize_axis,
    scalar_axis,
)
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, Saves, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ir.definition import Formulas, compute, read, reduction
from chainrule.ir.expr import Axis, Expr, Load, Ref, cast
from chainrule.ops.elementwise import scalar_function
from chainrule.ops.folding import extreme, total
from chainrule.ops.movement import listed

AxisTuple = tuple[int, ...]


def reduced_shape(op: str, shape: Shape, axes: AxisTuple, keepdims: bool) -> Shape:
    """Return a shape with some axes taken out, or set to size 1."""
    if axes and not 0 <= axes[0] <= axes[-1] < len(shape):
        normalize_axes(op, axes, len(shape))  # says which of them does not exist
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def sum_dtype(dtype: DType) -> DType:
    """Return the dtype of a sum: integers and booleans add up in 64 bits."""
    if dtype.is_floating or dtype is uint64:
        return dtype
    return int64


def split_axes(
    kept: Sequence[Axis], inner: Sequence[Axis], ndim: int, axes: AxisTuple, keepdims: bool
) -> tuple[Axis, ...]:
    """Return for each axis of a tensor that of its reduction which runs along it."""
    outer, reduced = iter(kept), iter(inner)
    places = []
    for axis in range(ndim):
        if axis not in axes:
            places.append(next(outer))
            continue
        places.append(next(reduced))
        if keepdims:
            next(outer)
    return tuple(places)


def reduced(
    fn: str,
    x: Ref,
    dtype: DType,
    axes: AxisTuple,
    keepdims: bool,
    element: Callable[[Load], Expr] = lambda load: load,
) -> Formulas:
    """Return the formula of a reduction along axes; each element may be changed before it."""
    shape = reduced_shape(fn, x.shape, axes, keepdims)
    if not axes:
        return (compute(shape, dtype, lambda *at: element(read(x, *at))),)

    def body(kept: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Expr:
        return element(read(x, *split_axes(kept, inner, len(x.shape), axes, keepdims)))

    return (reduction(fn, dtype, shape, [x.shape[axis] for axis in axes], body),)


class Reduction(Op):
    """An op along axes whose result keeps the dtype."""

    def infer(self, x: Spec, *, axes: AxisTuple, keepdims: bool) -> Spec:
        return Spec(reduced_shape(self.name, x.shape, axes, keepdims), x.dtype)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((3, 4), axes=(1,), keepdims=False),
            sample((3, 4), axes=(0, 1), keepdims=True),
            sample((2, 3, 4), axes=(0, 2), keepdims=False),
            sample((), axes=(), keepdims=False),
            sample((7, 1), axes=(0,), keepdims=True),
            sample((3, 0), axes=(1,), keepdims=False, name="empty"),
        ]

    def back(self, value: Tensor, x: Tensor, axes: AxisTuple, keepdims: bool) -> Tensor:
        """Return a tensor of the result's shape with the reduced axes put back as size 1."""
        shape = reduced_shape(self.name, x.shape, axes, True)
        return value if keepdims else value.reshape(shape)


@register
class Sum(Reduction):
    """The sum; of integers and booleans in 64 bits."""

    name = "sum"
    onnx = "ReduceSum"

    def infer(self, x: Spec, *, axes: AxisTuple, keepdims: bool) -> Spec:
        return Spec(reduced_shape(self.name, x.shape, axes, keepdims), sum_dtype(x.dtype))

    def eval(self, x: Array, *, axes: AxisTuple, keepdims: bool) -> Array:
        if x.dtype.kind != "f" and x.dtype != np.uint64:
            return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.int64))
        return total(x, axes, keepdims)

    def lower(self, x: Ref, *, axes: AxisTuple, keepdims: bool) -> Formulas | None:
        dtype = sum_dtype(x.dtype)
        return reduced("add", x, dtype, axes, keepdims, lambda load: cast(load, dtype))

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, axes: AxisTuple, keepdims: bool
    ) -> tuple[Tensor]:
        return (self.back(grad, x, axes, keepdims).expand(x.shape),)


class Extremum(Reduction):
    """The largest or smallest element; elements that tie share the gradient evenly."""

    saves = Saves(inputs=(0,), output=True)

    def infer(self, x: Spec, *, axes: AxisTuple, keepdims: bool) -> Spec:
        shape = reduced_shape(self.name, x.shape, axes, keepdims)
        empty = [axis for axis in axes if x.shape[axis] == 0]
        expect(
            not empty,
            "{}: axis {} of {} has no elements to choose from",
            *(self.name, empty[0] if empty else 0, x),
            hint=f"skip empty tensors: `if x.numel(): x.a{self.name}(...)`",
        )
        return Spec(shape, x.dtype)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, axes: AxisTuple, keepdims: bool
    ) -> tuple[Tensor]:
        chosen = x.detach() == self.back(output.detach(), x, axes, keepdims)
        # Counted in float32 at least: in float16 more than 65504 ties would be infinitely many.
        wide = float32 if grad.dtype.is_half else grad.dtype
        share = self.back(grad, x, axes, keepdims) / chosen.sum(axes, keepdims=True).to(wide)
        return (share * chosen,)

    def lower(self, x: Ref, *, axes: AxisTuple, keepdims: bool) -> Formulas | None:
        fn = scalar_function(f"{self.name}imum", x.dtype)
        return reduced(fn, x, x.dtype, axes, keepdims)

    def samples(self) -> Iterable[Sample]:
        return [
            sample(In((3, 4), distinct=True), axes=(1,), keepdims=False),
            sample(In((3, 4), distinct=True), axes=(0, 1), keepdims=True),
            sample(In((2, 3, 4), distinct=True), axes=(0, 2), keepdims=False),
            sample((), axes=(), keepdims=False),
            sample(In((7, 1), distinct=True), axes=(0,), keepdims=True),
            sample((0, 3), axes=(1,), keepdims=False, name="empty"),
        ]


@register
class Max(Extremum):
    """The largest element, NaN if there is one."""

    name = "max"
    onnx = "ReduceMax"

    def eval(self, x: Array, *, axes: AxisTuple, keepdims: bool) -> Array:
        return extreme(np.maximum, x, axes, keepdims)


@register
class Min(Extremum):
    """The smallest element, NaN if there is one."""

    name = "min"
    onnx = "ReduceMin"

    def eval(self, x: Array, *, axes: AxisTuple, keepdims: bool) -> Array:
        return extreme(np.minimum, x, axes, keepdims)


@register
class Prod(Reduction):
    """The product; of integers and booleans in 64 bits."""

    name = "prod"
    onnx = "ReduceProd"
    saves = Saves(inputs=(0,))

    def infer(self, x: Spec, *, axes: AxisTuple, keepdims: bool) -> Spec:
        return Spec(reduced_shape(self.name, x.shape, axes, keepdims), sum_dtype(x.dtype))

    def eval(self, x: Array, *, axes: AxisTuple, keepdims: bool) -> Array:
        wide = None if x.dtype.kind == "f" or x.dtype == np.uint64 else np.int64
        return np.asarray(np.prod(x, axis=axes, keepdims=keepdims, dtype=wide))

    def lower(self, x: Ref, *, axes: AxisTuple, keepdims: bool) -> Formulas | None:
        dtype = sum_dtype(x.dtype)
        return reduced("multiply", x, dtype, axes, keepdims, lambda load: cast(load, dtype))

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, axes: AxisTuple, keepdims: bool
    ) -> tuple[Tensor]:
        rest = tuple(axis for axis in range(x.ndim) if axis not in axes)
        front = x.permute(*rest, *axes)
        kept = front.shape[: len(rest)]
        others = _products_of_others(front.reshape(*kept, math.prod(front.shape[len(rest) :])))
        back = sorted(range(x.ndim), key=(*rest, *axes).__getitem__)
        return (self.back(grad, x, axes, keepdims) * others.reshape(front.shape).permute(*back),)

    def samples(self) -> Iterable[Sample]:
        zeros = In(values=[[0.0, 2.0, 3.0], [0.0, 0.0, 1.5], [1.0, -2.0, 0.5]])
        return [
            *super().samples(),
            sample(zeros, axes=(1,), keepdims=False, name="zeros"),
            sample(zeros, axes=(0, 1), keepdims=False, name="all-zeros"),
        ]


def _products_of_others(x: Tensor) -> Tensor:
    """Return for each element the product of all others along the last axis.

    Dividing the product by the element fails at zeros, and so do its derivatives. Instead
    neighbours are multiplied in pairs up a binary tree; on the way down each element receives
    what its pair received times its partner: O(n), no division, derivatives of any order.
    """
    size = x.shape[-1]
    if size == 0:
        return x
    lead = x.shape[:-1]
    levels = []
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = call("pad", x, [(0, 0)] * len(lead) + [(0, 1)], 1.0)
        pairs = x.reshape(*lead, -1, 2) if x.spec.size else x.reshape(*lead, x.shape[-1] // 2, 2)
        levels.append(pairs)
        x = pairs[..., 0] * pairs[..., 1]
    others = call("ones_like", x)
    for pairs in reversed(levels):
        # A padded level is one element longer than what came from above it.
        above = others[..., : pairs.shape[-2]].unsqueeze(-1)
        others = (above * pairs.flip(-1)).reshape(*lead, 2 * pairs.shape[-2])
    return others[..., :size]


_SUM, _MAX, _MIN, _PROD = Sum(), Max(), Min(), Prod()


def prepared(op: str, x: Any, axis: Axes, dim: Axes) -> tuple[Tensor, AxisTuple]:
    """Return the tensor and its axes to reduce, as sorted numbers from 0."""
    value = x if isinstance(x, Tensor) else as_tensor(x)
    chosen = many_axes(op, axis, dim)
    ndim = len(value.spec.shape)
    if chosen is None or scalar_axis(chosen, ndim):
        return value, tuple(range(ndim))
    if isinstance(chosen, int):
        return value, (normalize_axis(op, chosen, ndim),)
    axes = tuple(sorted(normalize_axis(op, a, ndim) for a in listed(chosen)))
    if len(set(axes)) < len(axes):
        normalize_axes(op, chosen, ndim)  # says which one is named twice
    return value, axes


@public
def sum(
    x: Tensor,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
    dim: Axes = None,
) -> Tensor:
    """Return the sum of elements along axes (default: of all).

    Args:
        x: Any tensor; integers and booleans are added up in 64 bits.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dtype: Type to which elements are converted before they are added.
        dim: Another name for ``axis``.

    Returns:
        The sum; 0 where there is nothing to add. Floating results are added pairwise along
        contiguous axes, so that the rounding error grows with the logarithm of their number.

    Raises:
        ShapeError: An axis does not exist or is named twice.

    Example:
        >>> import chainrule
        >>> chainrule.sum(chainrule.tensor([[1, 2], [3, 4]]), axis=0).tolist()
        [4, 6]
    """
    x, axes = prepared("sum", x, axis, dim)
    if dtype is None:
        return apply(_SUM, x, axes=axes, keepdims=keepdims)
    wanted = as_dtype(dtype)
    result = apply(_SUM, x.to(wanted), axes=axes, keepdims=keepdims)
    return result if result.dtype is wanted else result.to(wanted)


@public
def prod(
    x: Tensor,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
    dim: Axes = None,
) -> Tensor:
    """Return the product of elements along axes (default: of all).

    Its derivatives of any order are right where elements are zero.

    Args:
        x: Any tensor; integers and booleans are multiplied in 64 bits.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dtype: Type to which elements are converted before they are multiplied.
        dim: Another name for ``axis``.

    Returns:
        The product; 1 where there is nothing to multiply.

    Raises:
        ShapeError: An axis does not exist or is named twice.

    Example:
        >>> import chainrule
        >>> chainrule.prod(chainrule.tensor([[1, 2], [3, 4]]), axis=0).tolist()
        [3, 8]
    """
    x, axes = prepared("prod", x, axis, dim)
    if dtype is None:
        return apply(_PROD, x, axes=axes, keepdims=keepdims)
    wanted = as_dtype(dtype)
    result = apply(_PROD, x.to(wanted), axes=axes, keepdims=keepdims)
    return result if result.dtype is wanted else result.to(wanted)


@public
def max(x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None) -> Tensor:
    """Return the largest element along axes (default: of all).

    NaN wins over every number. In the gradient elements that tie share evenly. The method
    ``x.max(dim)`` also gives positions, as in PyTorch.

    Args:
        x: Any tensor.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: An axis does not exist, or there are no elements to choose from.

    Example:
        >>> import chainrule
        >>> chainrule.max(chainrule.tensor([[1, 5], [3, 4]]), axis=1).tolist()
        [5, 4]
    """
    x, axes = prepared("max", x, axis, dim)
    return apply(_MAX, x, axes=axes, keepdims=keepdims)


@public
def min(x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None) -> Tensor:
    """Return the smallest element along axes (default: of all); see `max`.

    Raises:
        ShapeError: An axis does not exist, or there are no elements to choose from.

    Example:
        >>> import chainrule
        >>> chainrule.min(chainrule.tensor([[1, 5], [3, 4]]), axis=1).tolist()
        [1, 3]
    """
    x, axes = prepared("min", x, axis, dim)
    return apply(_MIN, x, axes=axes, keepdims=keepdims)


@public
def amax(x: Tensor, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None) -> Tensor:
    """Return the largest element along axes; PyTorch's name for `max` without positions."""
    return max(x, axis, keepdims=keepdims, dim=dim)


@public
def amin(x: Tensor, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None) -> Tensor:
    """Return the smallest element along axes; PyTorch's name for `min` without positions."""
    return min(x, axis, keepdims=keepdims, dim=dim)
