"""Creation: tensors made from a shape, a number or a range.

Takes: shapes and numbers. Gives: new tensors.
The one idea: two primitives without inputs, `full` and `arange`; the rest is written with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chainrule.core.device import as_device
from chainrule.core.dtype import (
    Array,
    DType,
    DTypeLike,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)
from chainrule.core.errors import ArgumentError
from chainrule.core.shape import MAX_ELEMENTS, Shape, Spec, expect, normalize_shape
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, public, register
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ir.definition import Formulas, compute, filled
from chainrule.ir.expr import Axis, Expr, Position, add, cast, const, index_of, scale
from chainrule.ir.expr import call as function

Number = bool | int | float
Size = int | Sequence[int]


@register
class Full(Op):
    """One value everywhere."""

    name = "full"
    onnx = "ConstantOfShape"
    differentiable = False
    flops_per_element = 0

    def infer(self, *, shape: Shape, value: Number, dtype: DType) -> Spec:
        return Spec(shape, dtype)

    def eval(self, *, shape: Shape, value: Number, dtype: DType) -> Array:
        # Zeroed pages come from the operating system unwritten; -0.0 is not all zero bits.
        if value == 0 and math.copysign(1, value) > 0:
            return np.zeros(shape, dtype.compute)
        return np.full(shape, value, dtype.compute)

    def lower(self, *, shape: Shape, value: Number, dtype: DType) -> Formulas | None:
        return (filled(shape, value, dtype),)

    def samples(self) -> Iterable[Sample]:
        return [
            *(
                sample(shape=(2, 3), value=1.5, dtype=float32),
                sample(shape=(), value=7, dtype=int8),
            ),
            *(
                sample(shape=(0, 3), value=0, dtype=bool_),
                sample(shape=(2,), value=-0.0, dtype=float64),
            ),
            *(
                sample(shape=(3,), value=0.1, dtype=float16),
                sample(shape=(3,), value=0.1, dtype=bfloat16),
            ),
        ]


@register
class Arange(Op):
    """start + i step for i = 0, 1, ..., count - 1."""

    name = "arange"
    onnx = "Range"
    differentiable = False
    flops_per_element = 2

    def infer(self, *, start: Number, step: Number, count: int, dtype: DType) -> Spec:
        return Spec((count,), dtype)

    def eval(self, *, start: Number, step: Number, count: int, dtype: DType) -> Array:
        if isinstance(start, int) and isinstance(step, int) and not dtype.is_floating:
            # Modulo 2^64, so that unsigned and negative values come out right alike.
            index = np.arange(count, dtype=np.uint64)
            index *= np.uint64(step % 2**64)
            index += np.uint64(start % 2**64)
            return index.astype(dtype.compute)
        # In float64 whatever the result: one rounding, and whole numbers up to 2^53 exact.
        position = np.arange(count, dtype=np.float64)
        position *= step
        position += start
        return position.astype(dtype.compute)

    def lower(self, *, start: Number, step: Number, count: int, dtype: DType) -> Formulas | None:
        def body(at: Axis) -> Expr:
            if isinstance(start, int) and isinstance(step, int) and not dtype.is_floating:
                first, distance = _wrapped(start), _wrapped(step)
                return cast(Position(add(scale(at, distance), first)), dtype)
            place = cast(Position(index_of(at)), float64)
            product = function("multiply", place, const(step, float64))
            return cast(function("add", product, const(start, float64)), dtype)

        return (compute((count,), dtype, body),)

    def samples(self) -> Iterable[Sample]:
        return [
            *(
                sample(start=0, step=1, count=5, dtype=int64),
                sample(start=3, step=-2, count=4, dtype=int32),
            ),
            *(
                sample(start=0.5, step=0.25, count=6, dtype=float32),
                sample(start=0, step=1, count=0, dtype=int64),
            ),
            sample(start=-1.0, step=0.1, count=7, dtype=float64),
        ]


def _wrapped(value: int) -> int:
    """Return the signed 64-bit integer with the same low bits."""
    return (value + 2**63) % 2**64 - 2**63


_FULL, _ARANGE = Full(), Arange()


@public
def full(
    shape: Size,
    fill_value: Number | Tensor,
    dtype: DTypeLike | None = None,
    *,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return a tensor with one value everywhere.

    Args:
        shape: Sizes of its axes.
        fill_value: The value: a number, or a 0-d tensor.
        dtype: Type of the elements; by default that of the value (float32 for a Python float,
            int64 for an integer, bool for a boolean).
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Raises:
        ShapeError: A size is negative.
        ArgumentError: The value does not fit the integer dtype.

    Example:
        >>> import chainrule
        >>> chainrule.full((2, 2), 7).tolist()
        [[7, 7], [7, 7]]
    """
    as_device(device)
    sizes = normalize_shape("full", shape)
    if isinstance(fill_value, Tensor):
        value = fill_value if dtype is None else call("astype", fill_value, dtype)
        return leaf_if(call("expand", value, sizes), requires_grad)
    target = _default_dtype(fill_value) if dtype is None else as_dtype(dtype)
    if not isinstance(fill_value, bool | int | float):
        fill_value = fill_value.item()  # a NumPy scalar
    if target.kind in ("int", "uint"):
        fill_value = _fitting_integer(fill_value, target)
    return leaf_if(apply(_FULL, shape=sizes, value=fill_value, dtype=target), requires_grad)


def leaf_if(made: Tensor, requires_grad: bool) -> Tensor:
    """Return a new tensor as it is, or as a leaf that gradients arrive at."""
    if requires_grad:
        made = made.detach().requires_grad_()
    return made


def _default_dtype(value: Number) -> DType:
    if isinstance(value, bool | np.bool_):
        return bool_
    return int64 if isinstance(value, int | np.integer) else float32


def _fitting_integer(value: Number, dtype: DType) -> int:
    info = np.iinfo(dtype.storage)
    if not math.isfinite(value) or not info.min <= int(value) <= info.max:
        raise ArgumentError(
            f"full: the value {value} does not fit {dtype.name} ({info.min} to {info.max})",
            hint="choose another dtype",
        )
    return int(value)


@public
def zeros(
    *shape: Size,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return a tensor of zeros, ``zeros(2, 3)`` or ``zeros((2, 3))``.

    Args:
        shape: Sizes of its axes.
        dtype: Type of the elements (default: float32).
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.
    """
    as_device(device)
    return _filled("zeros", shape, 0, dtype, requires_grad)


@public
def ones(
    *shape: Size,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return a tensor of ones; see `zeros` for the arguments."""
    as_device(device)
    return _filled("ones", shape, 1, dtype, requires_grad)


@public
def empty(
    *shape: Size,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return a tensor to be filled later: zeros, so that no run depends on stale memory."""
    as_device(device)
    return _filled("empty", shape, 0, dtype, requires_grad)


def _filled(
    name: str, shape: tuple[Size, ...], value: int, dtype: DTypeLike | None, requires_grad: bool
) -> Tensor:
    target = float32 if dtype is None else as_dtype(dtype)
    sizes = size_from(name, shape)
    return leaf_if(apply(_FULL, shape=sizes, value=value, dtype=target), requires_grad)


def size_from(name: str, shape: tuple[Size, ...]) -> Shape:
    """Return the shape given as ``f(2, 3)`` or ``f((2, 3))``."""
    if len(shape) == 1 and not isinstance(shape[0], int):
        return normalize_shape(name, shape[0])
    return normalize_shape(name, [size for size in shape if isinstance(size, int)] if shape else ())


@public
def full_like(
    x: Tensor,
    fill_value: Number | Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return one value everywhere, in x's shape and dtype (unless another is given)."""
    target = x.dtype if dtype is None else as_dtype(dtype)
    return full(x.shape, fill_value, target, requires_grad=requires_grad, device=device)


@public
def zeros_like(
    x: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return zeros of x's shape and dtype (unless another is given)."""
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad, device=device)


@public
def ones_like(
    x: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return ones of x's shape and dtype (unless another is given)."""
    return full_like(x, 1, dtype=dtype, requires_grad=requires_grad, device=device)


@public
def empty_like(
    x: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return zeros of x's shape and dtype, to be filled later; see `empty`."""
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad, device=device)


@public
def arange(
    start: int | float,
    stop: int | float | None = None,
    step: int | float = 1,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return start, start + step, start + 2 step, ... below stop (above, if step is negative).

    Args:
        start: First number; with one argument alone it is the stop, and the start is 0.
        stop: Where to end, itself excluded.
        step: Distance, not 0.
        dtype: Type of the elements; by default int64 if all numbers are integers, else float32.
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Returns:
        A 1-d tensor of ⌈(stop - start) / step⌉ elements.

    Raises:
        ArgumentError: The step is 0, or a number is not finite.

    Example:
        >>> import chainrule
        >>> chainrule.arange(2, 8, 2).tolist()
        [2, 4, 6]
    """
    as_device(device)
    first, end = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(number, int) for number in (first, end, step))
    if not all(math.isfinite(number) for number in (first, end, step)) or step == 0:
        raise ArgumentError(
            f"arange: from {first} to {end} by {step}: expected finite numbers and a step, not 0"
        )
    count = -((first - end) // step) if whole else math.ceil((end - first) / step)
    expect(count <= MAX_ELEMENTS, "arange: from {} to {} by {} is absurdly long", first, end, step)
    target = (int64 if whole else float32) if dtype is None else as_dtype(dtype)
    made = apply(_ARANGE, start=first, step=step, count=max(int(count), 0), dtype=target)
    return leaf_if(made, requires_grad)
