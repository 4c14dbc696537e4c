"""Searching reductions: where the largest element stands, and whether any or all hold.

Takes: a tensor and the axes to reduce. Gives: integers or booleans, which have no gradient.
The one idea: these answer questions about elements; nothing flows back through an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any as AnyType
from typing import ClassVar

import numpy as np

from chainrule.core.dtype import Array, bool_, int64
from chainrule.core.shape import Axes, Spec, expect, normalize_axis, one_axis, scalar_axis
from chainrule.graph.op import Op, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ir.definition import Formulas, read, reduction
from chainrule.ir.expr import Axis, Expr, Index, Position, Ref, call, cast, const, where
from chainrule.ops.elementwise import scalar_function
from chainrule.ops.reduce import (
    AxisTuple,
    Reduction,
    prepared,
    reduced,
    reduced_shape,
    split_axes,
)


class Where(Op):
    """The position of an extreme element along an axis, of the first one if several are equal."""

    differentiable = False
    extremum: ClassVar[str]

    def infer(self, x: Spec, *, axis: int, keepdims: bool) -> Spec:
        shape = reduced_shape(self.name, x.shape, (axis,), keepdims)
        expect(
            x.shape[axis] > 0,
            "{}: axis {} of {} has no elements to choose from",
            *(self.name, axis, x),
            hint=f"skip empty tensors: `if x.numel(): x.{self.name}(...)`",
        )
        return Spec(shape, int64)

    def lower(self, x: Ref, *, axis: int, keepdims: bool) -> Formulas | None:
        (extreme,) = reduced(scalar_function(self.extremum, x.dtype), x, x.dtype, (axis,), keepdims)

        def body(kept: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Expr:
            element = read(x, *split_axes(kept, inner, len(x.shape), (axis,), keepdims))
            found: Expr = call("equal", element, read(extreme.target, *kept))
            if x.dtype.is_floating:  # NaN is the extreme element, but equals nothing
                found = call("logical_or", found, call("isnan", element))
            place = Position(Index(((inner[0], 1),)))
            return where(found, place, const(x.shape[axis], int64))

        shape = reduced_shape(self.name, x.shape, (axis,), keepdims)
        return extreme, reduction("minimum", int64, shape, [x.shape[axis]], body)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((3, 4), axis=1, keepdims=False),
            sample((2, 3, 4), axis=0, keepdims=True),
            sample(In(values=[1.0, 3.0, 3.0, 1.0]), axis=0, keepdims=False, name="ties"),
            sample((0, 3), axis=1, keepdims=False, name="empty"),
        ]


@register
class ArgMax(Where):
    """The position of the largest element; of the first NaN if there is one."""

    name = "argmax"
    onnx = "ArgMax"
    extremum = "maximum"

    def eval(self, x: Array, *, axis: int, keepdims: bool) -> Array:
        return np.asarray(np.argmax(x, axis=axis, keepdims=keepdims), dtype=np.int64)


@register
class ArgMin(Where):
    """The position of the smallest element; of the first NaN if there is one."""

    name = "argmin"
    onnx = "ArgMin"
    extremum = "minimum"

    def eval(self, x: Array, *, axis: int, keepdims: bool) -> Array:
        return np.asarray(np.argmin(x, axis=axis, keepdims=keepdims), dtype=np.int64)


class Truth(Reduction):
    """A logical connection of elements; all but zero count as true."""

    differentiable = False

    def infer(self, x: Spec, *, axes: AxisTuple, keepdims: bool) -> Spec:
        return Spec(reduced_shape(self.name, x.shape, axes, keepdims), bool_)

    def lower(self, x: Ref, *, axes: AxisTuple, keepdims: bool) -> Formulas | None:
        fn = "logical_or" if self.name == "any" else "logical_and"
        return reduced(fn, x, bool_, axes, keepdims, lambda load: cast(load, bool_))

    def samples(self) -> Iterable[Sample]:
        some = In(values=[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, -3.0]])
        return [
            sample(some, axes=(1,), keepdims=False),
            sample(some, axes=(0, 1), keepdims=True),
            sample(In((2, 3, 4), kind="bool"), axes=(0, 2), keepdims=False),
            sample(In((), kind="bool"), axes=(), keepdims=False),
            sample((3, 0), axes=(1,), keepdims=False, name="empty"),
        ]


@register
class Any(Truth):
    """Whether any element is not zero."""

    name = "any"

    def eval(self, x: Array, *, axes: AxisTuple, keepdims: bool) -> Array:
        return np.asarray(np.any(x, axis=axes, keepdims=keepdims))


@register
class All(Truth):
    """Whether no element is zero."""

    name = "all"

    def eval(self, x: Array, *, axes: AxisTuple, keepdims: bool) -> Array:
        return np.asarray(np.all(x, axis=axes, keepdims=keepdims))


_ARGMAX, _ARGMIN, _ANY, _ALL = ArgMax(), ArgMin(), Any(), All()


@public
def argmax(
    x: Tensor, axis: int | None = None, *, keepdims: bool = False, dim: int | None = None
) -> Tensor:
    """Return the position of the largest element along an axis, the first one of equals.

    Args:
        x: Any tensor; NaN counts as largest.
        axis: Along which axis; None counts in the flattened tensor.
        keepdims: Keep the axis, with size 1.
        dim: Another name for ``axis``.

    Returns:
        Positions as int64.

    Raises:
        ShapeError: The axis does not exist or has no elements.

    Example:
        >>> import chainrule
        >>> chainrule.argmax(chainrule.tensor([[1, 5], [3, 4]]), axis=1).tolist()
        [1, 1]
    """
    return _where(_ARGMAX, x, one_axis("argmax", axis, dim, None), keepdims)


@public
def argmin(
    x: Tensor, axis: int | None = None, *, keepdims: bool = False, dim: int | None = None
) -> Tensor:
    """Return the position of the smallest element along an axis; see `argmax`.

    Raises:
        ShapeError: The axis does not exist or has no elements.

    Example:
        >>> import chainrule
        >>> chainrule.argmin(chainrule.tensor([[1, 5], [3, 4]]), axis=1).tolist()
        [0, 0]
    """
    return _where(_ARGMIN, x, one_axis("argmin", axis, dim, None), keepdims)


def _where(op: Where, x: AnyType, axis: int | None, keepdims: bool) -> Tensor:
    value = as_tensor(x)
    if axis is None or scalar_axis(axis, value.ndim):
        found = apply(op, value.reshape(-1), axis=0, keepdims=False)
        return found.reshape((1,) * value.ndim) if keepdims else found
    return apply(op, value, axis=normalize_axis(op.name, axis, value.ndim), keepdims=keepdims)


@public
def any(x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None) -> Tensor:
    """Return whether any element along axes (default: of all) is true, that is not zero.

    Args:
        x: Any tensor; NaN is not zero.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dim: Another name for ``axis``.

    Returns:
        Booleans; False where there are no elements.

    Example:
        >>> import chainrule
        >>> chainrule.any(chainrule.tensor([[0, 1], [0, 0]]), axis=1).tolist()
        [True, False]
    """
    x, axes = prepared("any", x, axis, dim)
    return apply(_ANY, x, axes=axes, keepdims=keepdims)


@public
def all(x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None) -> Tensor:
    """Return whether all elements along axes (default: all there are) are true; see `any`.

    Returns:
        Booleans; True where there are no elements.

    Example:
        >>> import chainrule
        >>> chainrule.all(chainrule.tensor([[2, 1], [0, 1]]), axis=1).tolist()
        [True, False]
    """
    x, axes = prepared("all", x, axis, dim)
    return apply(_ALL, x, axes=axes, keepdims=keepdims)


def _count_samples() -> list[Sample]:
    some = In(values=[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, -3.0]])
    return [sample(some, axis=1), sample(some), sample((3, 0), axis=(1,), keepdims=True)]


@composite(_count_samples, differentiable=False)
def count_nonzero(
    x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None
) -> Tensor:
    """Return how many elements along axes (default: of all) are not zero, as int64.

    Example:
        >>> import chainrule
        >>> chainrule.count_nonzero(chainrule.tensor([0.0, 3.0, -1.0])).item()
        2
    """
    x, axes = prepared("count_nonzero", x, axis, dim)
    return (x != 0).sum(axes, keepdims)
