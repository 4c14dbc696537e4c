"""Cumulative reductions: every partial sum or product along an axis.

Takes: a tensor and an axis. Gives: a tensor of the same shape.
The one idea: the gradient of a running sum is a running sum from the other end.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array, DTypeLike, as_dtype
from chainrule.core.shape import Spec, expect, normalize_axis, one_axis, scalar_axis
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ir.definition import Formulas, Prefix, axes_of, read
from chainrule.ir.expr import Ref, cast
from chainrule.ops.joining import concat
from chainrule.ops.reduce import sum_dtype
from chainrule.ops.slicing import cut


@register
class CumSum(Op):
    """The sum of all elements up to each one along an axis."""

    name = "cumsum"
    onnx = "CumSum"

    def infer(self, x: Spec, *, axis: int) -> Spec:
        normalize_axis("cumsum", axis, len(x.shape))
        return Spec(x.shape, sum_dtype(x.dtype))

    def eval(self, x: Array, *, axis: int) -> Array:
        wide = None if x.dtype.kind == "f" or x.dtype == np.uint64 else np.int64
        return np.asarray(np.cumsum(x, axis=axis, dtype=wide))

    def lower(self, x: Ref, *, axis: int) -> Formulas | None:
        axes = axes_of(x.shape)
        target = Ref("out", x.shape, sum_dtype(x.dtype))
        return (Prefix(target, axes, cast(read(x, *axes), target.dtype), "add", axis),)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, axis: int) -> tuple[Tensor]:
        return (apply(_CUMSUM, grad.flip(axis), axis=axis).flip(axis),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((3, 4), axis=1),
            sample((2, 3, 2), axis=0),
            sample((5,), axis=0),
            sample((2, 0), axis=1, name="empty"),
        ]


_CUMSUM = CumSum()


def _axis(op: str, x: Tensor, axis: int | None, dim: int | None) -> int:
    wanted = one_axis(op, axis, dim, None)
    expect(
        wanted is not None or x.ndim == 1,
        "{}: {} has {} axes, so one must be named",
        *(op, x.spec, x.ndim),
        hint=f"x.{op}(0), or x.flatten().{op}(0)",
    )
    return normalize_axis(op, 0 if wanted is None else wanted, x.ndim)


@public
def cumsum(
    x: Tensor,
    axis: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    dim: int | None = None,
) -> Tensor:
    """Return the sum of all elements up to each one (inclusive) along an axis.

    Args:
        x: Any tensor; integers and booleans are added up in 64 bits.
        axis: Along which axis; may be left out if there is only one.
        dtype: Type to which elements are converted before they are added.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: The axis does not exist, or is left out where there are several.

    Example:
        >>> import chainrule
        >>> chainrule.cumsum(chainrule.tensor([1, 2, 3])).tolist()
        [1, 3, 6]
    """
    x = as_tensor(x)
    if scalar_axis(one_axis("cumsum", axis, dim, None), x.ndim):
        return cumsum(x.reshape(1), 0, dtype=dtype).reshape(())
    where = _axis("cumsum", x, axis, dim)
    if dtype is None:
        return apply(_CUMSUM, x, axis=where)
    wanted = as_dtype(dtype)
    result = apply(_CUMSUM, x.to(wanted), axis=where)
    return result if result.dtype is wanted else result.to(wanted)


def _product_samples() -> list[Sample]:
    zeros = In(values=[[0.0, 2.0, 3.0], [1.5, 0.0, 0.0], [1.0, -2.0, 0.5]])
    return [
        sample((3, 5), axis=1),
        sample((2, 3, 2), axis=0),
        sample(zeros, axis=1, name="zeros"),
        sample((2, 0), axis=1, name="empty"),
    ]


@composite(_product_samples)
def cumprod(
    x: Tensor,
    axis: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    dim: int | None = None,
) -> Tensor:
    """Return the product of all elements up to each one (inclusive) along an axis.

    Partial products of 2, 4, 8, ... neighbours are combined (Hillis & Steele 1986), so that
    derivatives of any order are right where elements are zero; arguments as in `cumsum`.

    Example:
        >>> import chainrule
        >>> chainrule.cumprod(chainrule.tensor([2, 3, 4])).tolist()
        [2, 6, 24]
    """
    x = as_tensor(x)
    if scalar_axis(one_axis("cumprod", axis, dim, None), x.ndim):
        return cumprod(x.reshape(1), 0, dtype=dtype).reshape(())
    where = _axis("cumprod", x, axis, dim)
    wanted = sum_dtype(x.dtype) if dtype is None else as_dtype(dtype)
    result = x.to(wanted)
    size, reach = x.shape[where], 1
    while reach < size:
        start = cut(result, where, 0, reach)
        later = cut(result, where, reach, size) * cut(result, where, 0, size - reach)
        result = concat([start, later], where)
        reach *= 2
    return result


@public
def cumulative_sum(
    x: Tensor,
    *,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Return running sums; the array API's name for `cumsum`.

    Args:
        x: Any tensor.
        axis: Along which axis; may be left out if there is only one.
        dtype: Type to which elements are converted before they are added.
        include_initial: Begin with 0, the sum of no elements.
    """
    return _started(cumsum(x, axis, dtype=dtype), x, axis, 0 if include_initial else None)


@public
def cumulative_prod(
    x: Tensor,
    *,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Return running products; the array API's name for `cumprod`.

    Args:
        x: Any tensor.
        axis: Along which axis; may be left out if there is only one.
        dtype: Type to which elements are converted before they are multiplied.
        include_initial: Begin with 1, the product of no elements.
    """
    return _started(cumprod(x, axis, dtype=dtype), x, axis, 1 if include_initial else None)


def _started(result: Tensor, x: Tensor, axis: int | None, initial: int | None) -> Tensor:
    if initial is None:
        return result
    widths = [(0, 0)] * result.ndim
    widths[_axis("cumulative", result, axis, None)] = (1, 0)
    return call("pad", result, widths, initial)
