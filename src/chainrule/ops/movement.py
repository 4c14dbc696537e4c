"""Movement: the same elements in another arrangement.

Takes: tensors and shapes or axes. Gives: tensors whose elements are the given ones, moved.
The one idea: a movement is linear, and its derivative is the movement back.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError
from chainrule.core.shape import (
    MAX_ELEMENTS,
    Axes,
    Shape,
    Spec,
    expect,
    many_axes,
    normalize_axes,
    normalize_axis,
    normalize_shape,
    scalar_axis,
)
from chainrule.graph.op import Op, public, register
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ir.definition import Formulas, broadcast, compute, read, read_padded, reshaped
from chainrule.ir.expr import Axis, Expr, Ref, add, scale

Sizes = Sequence[SupportsIndex] | SupportsIndex
Widths = tuple[tuple[int, int], ...]  # for each axis: how many before, how many after


@register
class Reshape(Op):
    """The elements in row-major order, in another shape."""

    name = "reshape"
    onnx = "Reshape"
    flops_per_element = 0

    def infer(self, x: Spec, *, shape: Shape) -> Spec:
        size = math.prod(shape)
        expect(
            size == x.size,
            "reshape: {} has {} elements, the shape {} holds {}",
            *(x, x.size, list(shape), size),
            hint="pass -1 for one size to have it computed: x.reshape(x.shape[0], -1)",
        )
        return Spec(shape, x.dtype)

    def eval(self, x: Array, *, shape: Shape) -> Array:
        return x.reshape(shape)

    def lower(self, x: Ref, *, shape: Shape) -> Formulas | None:
        return (reshaped(x, shape),)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, shape: Shape) -> tuple[Tensor]:
        return (apply(_RESHAPE, grad, shape=x.shape),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((2, 3, 4), shape=(6, 4)),
            sample((6,), shape=(1, 2, 3, 1)),
            sample((), shape=(1, 1)),
            sample((1,), shape=()),
            sample((0, 3), shape=(5, 0)),
        ]


@register
class Permute(Op):
    """The axes in another order."""

    name = "permute"
    onnx = "Transpose"
    flops_per_element = 0

    def infer(self, x: Spec, *, axes: tuple[int, ...]) -> Spec:
        expect(
            sorted(axes) == list(range(len(x.shape))),
            "permute: axes {} are not an order of the {} axes of {}",
            *(list(axes), len(x.shape), x),
            hint="name every axis once, or exchange two: x.transpose(0, 1)",
        )
        return Spec(tuple(x.shape[axis] for axis in axes), x.dtype)

    def eval(self, x: Array, *, axes: tuple[int, ...]) -> Array:
        return x.transpose(axes)

    def lower(self, x: Ref, *, axes: tuple[int, ...]) -> Formulas | None:
        shape = tuple(x.shape[axis] for axis in axes)
        back = sorted(range(len(axes)), key=axes.__getitem__)
        return (compute(shape, x.dtype, lambda *at: read(x, *(at[k] for k in back))),)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, axes: tuple[int, ...]
    ) -> tuple[Tensor]:
        back = tuple(sorted(range(len(axes)), key=axes.__getitem__))
        return (apply(_PERMUTE, grad, axes=back),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((2, 3, 4), axes=(2, 0, 1)),
            sample((3, 2), axes=(1, 0)),
            sample((2, 1, 3, 2), axes=(0, 3, 2, 1)),
            sample((), axes=()),
            sample((0, 3), axes=(1, 0)),
        ]


@register
class Expand(Op):
    """The elements repeated along new axes and along axes of size 1."""

    name = "expand"
    onnx = "Expand"
    flops_per_element = 0

    def infer(self, x: Spec, *, shape: Shape) -> Spec:
        extra = len(shape) - len(x.shape)
        fits = extra >= 0 and all(
            old in (1, new) for old, new in zip(x.shape, shape[extra:], strict=True)
        )
        expect(
            fits,
            "expand: {} does not broadcast to {}; aligned from the last axis, "
            "each size must be equal or 1",
            *(x, list(shape)),
            hint="insert an axis of size 1 with x.unsqueeze(axis), or repeat with x.tile(...)",
        )
        return Spec(shape, x.dtype)

    def eval(self, x: Array, *, shape: Shape) -> Array:
        return np.broadcast_to(x, shape)

    def lower(self, x: Ref, *, shape: Shape) -> Formulas | None:
        return (compute(shape, x.dtype, lambda *at: broadcast(x, at)),)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, shape: Shape) -> tuple[Tensor]:
        return (grad,)  # of the broadcast shape: the caller sums it back

    def samples(self) -> Iterable[Sample]:
        return [
            sample((3, 1), shape=(3, 4)),
            sample((), shape=(2, 3)),
            sample((2, 1, 3), shape=(2, 2, 2, 3)),
            sample((3,), shape=(3,)),
            sample((1, 2), shape=(0, 2)),
        ]


@register
class Flip(Op):
    """The elements in reverse order along axes."""

    name = "flip"
    flops_per_element = 0

    def infer(self, x: Spec, *, axes: tuple[int, ...]) -> Spec:
        normalize_axes("flip", axes, len(x.shape))
        return x

    def eval(self, x: Array, *, axes: tuple[int, ...]) -> Array:
        return np.flip(x, axes)

    def lower(self, x: Ref, *, axes: tuple[int, ...]) -> Formulas | None:
        def body(*at: Axis) -> Expr:
            mirrored = (add(scale(a, -1), a.extent - 1) for a in at)
            return read(x, *(m if k in axes else at[k] for k, m in enumerate(mirrored)))

        return (compute(x.shape, x.dtype, body),)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, axes: tuple[int, ...]
    ) -> tuple[Tensor]:
        return (apply(_FLIP, grad, axes=axes),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((2, 3, 4), axes=(0, 2)),
            sample((5,), axes=(0,)),
            sample((), axes=()),
            sample((0, 2), axes=(1,)),
        ]


@register
class Pad(Op):
    """The elements with a margin of a constant; a negative width crops."""

    name = "pad"
    onnx = "Pad"
    flops_per_element = 0

    def infer(self, x: Spec, *, widths: Widths, value: float) -> Spec:
        expect(
            len(widths) == len(x.shape),
            "pad: {} widths for the {} axes of {}",
            *(len(widths), len(x.shape), x),
            hint="give (before, after) for every axis, (0, 0) where nothing is added",
        )
        shape = tuple(n + low + high for n, (low, high) in zip(x.shape, widths, strict=True))
        expect(
            min(shape, default=0) >= 0 and _crops_fit(x.shape, widths),
            "pad: widths {} take more from {} than there is",
            *(list(widths), x),
            hint="make negative widths smaller",
        )
        return Spec(shape, x.dtype)

    def eval(self, x: Array, *, widths: Widths, value: float) -> Array:
        kept = x[tuple(slice(max(-low, 0), min(high, 0) or None) for low, high in widths)]
        if all(low <= 0 and high <= 0 for low, high in widths):
            return kept
        shape = tuple(n + low + high for n, (low, high) in zip(x.shape, widths, strict=True))
        result = np.full(shape, value, dtype=x.dtype)
        inner = tuple(
            slice(max(low, 0), max(low, 0) + n)
            for n, (low, _) in zip(kept.shape, widths, strict=True)
        )
        result[inner] = kept
        return result

    def lower(self, x: Ref, *, widths: Widths, value: float) -> Formulas | None:
        def body(*at: Axis) -> Expr:
            places = (add(a, -low) for a, (low, _) in zip(at, widths, strict=True))
            return read_padded(x, *places, fill=value)

        shape = tuple(n + low + high for n, (low, high) in zip(x.shape, widths, strict=True))
        return (compute(shape, x.dtype, body),)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, widths: Widths, value: float
    ) -> tuple[Tensor]:
        back = tuple((-low, -high) for low, high in widths)
        return (apply(_PAD, grad, widths=back, value=0.0),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((2, 3), widths=((1, 2), (0, 1)), value=0.0),
            sample((5,), widths=((2, -1),), value=1.5),
            sample((3, 4), widths=((-1, 0), (-2, -1)), value=0.0),
            sample((), widths=(), value=3.0),
            sample((0, 2), widths=((1, 1), (0, 0)), value=-1.0),
        ]


def _crops_fit(shape: Shape, widths: Widths) -> bool:
    return all(
        max(-low, 0) + max(-high, 0) <= n for n, (low, high) in zip(shape, widths, strict=True)
    )


def without(shape: Shape, axis: int) -> Shape:
    """Return a shape with one axis taken out."""
    return shape[:axis] + shape[axis + 1 :]


_RESHAPE, _PERMUTE, _EXPAND = Reshape(), Permute(), Expand()
_FLIP, _PAD = Flip(), Pad()


def axis_or_dim(op: str, axis: int, dim: int | None, default: int) -> int:
    """Return the axis given under either name, where ``axis`` has a default.

    Raises:
        ArgumentError: Both names were given, with different axes.
    """
    if dim is None:
        return axis
    if axis not in (default, dim):
        raise ArgumentError(f"{op}: got axis={axis} and dim={dim}; they mean the same, give one")
    return dim


@public
def reshape(x: Tensor, shape: Sizes) -> Tensor:
    """Return the elements in row-major order, in another shape.

    Args:
        x: Any tensor.
        shape: The shape; one size may be -1 and is then computed.

    Returns:
        A tensor of that shape with the dtype of x.

    Raises:
        ShapeError: The shape does not hold as many elements as x has.

    Example:
        >>> import chainrule
        >>> chainrule.reshape(chainrule.arange(6), (2, -1)).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    x = as_tensor(x)
    return apply(_RESHAPE, x, shape=_resolve(x, shape))


def listed(sizes: Sizes) -> Shape:
    """Return one number or several as a tuple of Python integers."""
    # A check against the protocol SupportsIndex would take longer than the rest of the call.
    if isinstance(sizes, tuple | list):
        return tuple(map(operator.index, sizes))
    if isinstance(sizes, int) or hasattr(sizes, "__index__"):
        return (operator.index(sizes),)
    return tuple(map(operator.index, sizes))


def _resolve(x: Tensor, shape: Sizes) -> Shape:
    wanted = listed(shape)
    if -1 not in wanted:
        expect(min(wanted, default=0) >= 0, "reshape: negative size in shape {}", list(wanted))
        return wanted
    place = wanted.index(-1)
    rest = without(wanted, place)
    expect(
        min(rest, default=0) >= 0,
        "reshape: shape {} has more than one unknown size",
        list(wanted),
        hint="-1 may stand for one size alone",
    )
    known = math.prod(rest)
    expect(
        known > 0 and x.spec.size % known == 0,
        "reshape: {} has {} elements, which no size at -1 in {} can hold",
        *(x.spec, x.spec.size, list(wanted)),
        hint="the product of the other sizes must divide the number of elements"
        if known
        else "write the size in full: beside a 0 any size would do",
    )
    return (*rest[:place], x.spec.size // known, *rest[place:])


@public
def permute(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the tensor with its axes in another order.

    Args:
        x: Any tensor.
        axes: For each axis of the result the axis of x that it is; negative ones count from
            the end.

    Raises:
        ShapeError: An axis is missing, named twice or does not exist.

    Example:
        >>> import chainrule
        >>> chainrule.permute(chainrule.zeros((2, 3, 4)), (2, 0, 1)).shape
        (4, 2, 3)
    """
    x = as_tensor(x)
    order = tuple(normalize_axis("permute", axis, x.ndim) for axis in axes)
    return apply(_PERMUTE, x, axes=order)


@public
def expand(x: Tensor, shape: Sizes) -> Tensor:
    """Return the tensor broadcast to a shape.

    Args:
        x: Any tensor.
        shape: The shape; -1 keeps the size that the axis has.

    Raises:
        ShapeError: A size of x is neither 1 nor the wanted one.

    Example:
        >>> import chainrule
        >>> chainrule.expand(chainrule.tensor([[1], [2]]), (-1, 3)).tolist()
        [[1, 1, 1], [2, 2, 2]]
    """
    x = as_tensor(x)
    sizes = listed(shape)
    extra = len(sizes) - x.ndim
    wanted = tuple(
        x.shape[axis] if size == -1 and axis >= 0 else size
        for axis, size in enumerate(sizes, -extra)
    )
    if min(wanted, default=0) < 0 or math.prod(wanted) > MAX_ELEMENTS:
        normalize_shape("expand", wanted)  # says what is wrong
    return apply(_EXPAND, x, shape=wanted)


@public
def flip(x: Tensor, axis: Axes = None, *, dim: Axes = None) -> Tensor:
    """Return the elements in reverse order along axes (default: along all).

    Raises:
        ShapeError: An axis does not exist or is named twice.

    Example:
        >>> import chainrule
        >>> chainrule.flip(chainrule.tensor([[1, 2], [3, 4]]), axis=1).tolist()
        [[2, 1], [4, 3]]
    """
    x = as_tensor(x)
    chosen = many_axes("flip", axis, dim)
    if scalar_axis(chosen, x.ndim):
        return x
    return apply(_FLIP, x, axes=normalize_axes("flip", chosen, x.ndim))


@public
def pad(x: Tensor, widths: Sequence[Sequence[int]], value: float = 0.0) -> Tensor:
    """Return the tensor with a margin of a constant.

    Args:
        x: Any tensor.
        widths: For each axis how many elements are added before and after; negative: removed.
        value: The constant.

    Raises:
        ShapeError: There is not one pair for each axis, or more is removed than there is.

    Example:
        >>> import chainrule
        >>> chainrule.pad(chainrule.tensor([1, 2]), [(1, 2)]).tolist()
        [0, 1, 2, 0, 0]
    """
    x = as_tensor(x)
    pairs = []
    for width in widths:
        expect(len(width) == 2, "pad: widths {} are not (before, after) pairs", list(widths))
        pairs.append((int(width[0]), int(width[1])))
    return apply(_PAD, x, widths=tuple(pairs), value=value)
