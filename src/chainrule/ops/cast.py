"""Casts: the same elements in another dtype, or behind another handle.

Takes: a tensor and a dtype. Gives: a tensor of that dtype.
The one idea: a cast between floating types is differentiable, its gradient is the cast back.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import (
    Array,
    DType,
    DTypeLike,
    as_dtype,
    bool_,
    float16,
    float32,
    float64,
    int32,
    uint8,
)
from chainrule.core.shape import Spec
from chainrule.graph.op import Op, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ir.definition import Formulas, converted
from chainrule.ir.expr import Ref
from chainrule.ops.elementwise import ANY, Operand, Unary


@register
class Cast(Op):
    """The elements of x in another dtype."""

    name = "astype"
    onnx = "Cast"
    flops_per_element = 0

    def infer(self, x: Spec, *, dtype: DType) -> Spec:
        return Spec(x.shape, dtype)

    def eval(self, x: Array, *, dtype: DType) -> Array:
        if dtype is bool_:
            return np.not_equal(x, 0)
        # A 16-bit result is computed in float32; `apply` rounds it once, to storage.
        return x.astype(dtype.compute, copy=False)

    def lower(self, x: Ref, *, dtype: DType) -> Formulas | None:
        return (converted(x, dtype),)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, dtype: DType) -> tuple[Tensor | None]:
        return (astype(grad, x.dtype) if x.dtype.is_floating else None,)

    def samples(self) -> Iterable[Sample]:
        whole = In((5,), -9, 9, kind="int")
        return [
            *(sample((2, 3), dtype=float64), sample((0, 2), dtype=float64)),
            *(sample(In((4,), -3, 3), dtype=int32), sample((4,), dtype=bool_)),
            *(sample(whole, dtype=float32), sample(whole, dtype=bool_), sample(whole, dtype=int32)),
            *(sample(In((), kind="bool"), dtype=uint8), sample(whole, dtype=float16)),
        ]


@register
class Clone(Unary):
    """x."""

    name = "clone"
    onnx = "Identity"
    kinds = ANY
    flops_per_element = 0

    def eval(self, x: Array) -> Array:
        return x

    def lower(self, x: Ref) -> Formulas | None:
        return (converted(x, x.dtype),)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad,)


_CAST, _CLONE = Cast(), Clone()


@public
def astype(x: Operand, dtype: DTypeLike, *, copy: bool = False) -> Tensor:
    """Return the elements of x in another dtype.

    Floating to integer truncates towards zero; NaN and values beyond the integer type's range
    give an unspecified integer (they depend on the machine, as in NumPy and PyTorch). Integer
    to a shorter integer keeps the low bits. To bool: whether the element is not 0 (NaN is not).

    Args:
        x: Tensor or number.
        dtype: The new dtype.
        copy: Return a new handle even if the dtype is the same already. By default x itself is
            returned then, as PyTorch's ``x.to`` does; elements never change, so the difference
            shows only if the handle is later updated in place.

    Returns:
        A tensor of the same shape; gradients pass between floating types.

    Example:
        >>> import chainrule
        >>> chainrule.astype(chainrule.tensor([1.7, -1.7]), "int64").tolist()
        [1, -1]
    """
    made = as_tensor(x)
    target = as_dtype(dtype)
    if made.spec.dtype is target:
        return apply(_CLONE, made) if copy else made
    return apply(_CAST, made, dtype=target)


@public
def clone(x: Operand) -> Tensor:
    """Return a new tensor with the elements of x; gradients pass through it.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([1.0])
        >>> y = chainrule.clone(x)
        >>> y += 1
        >>> x.tolist()
        [1.0]
    """
    return apply(_CLONE, as_tensor(x))


def _positive_samples() -> Iterable[Sample]:
    return [sample((2, 3)), sample(()), sample(In((4,), -5, 5, kind="int"))]


@composite(_positive_samples)
def positive(x: Operand) -> Tensor:
    """Return +x: the elements unchanged."""
    return clone(x)
