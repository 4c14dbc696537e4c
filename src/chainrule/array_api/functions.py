"""Functions whose signature or meaning differs from `chainrule`'s own, as the standard has them.

Takes: tensors. Gives: tensors.
The one idea: thin; each calls the function of `chainrule` that does the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.dtype import DType, uint64
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.core.shape import Axes, Shape, normalize_axis
from chainrule.core.shape import broadcast_shapes as _broadcast_shapes
from chainrule.graph.op import public
from chainrule.graph.tensor import Tensor, as_tensor, common, make
from chainrule.ops import (
    arithmetic,
    axes,
    creation,
    cumulative,
    differences,
    reduce,
    selection,
    sorting,
)
from chainrule.ops.cast import clone
from chainrule.ops.movement import reshape as _reshape


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the common shape of shapes that broadcast.

    Raises:
        ShapeError: Two sizes differ and neither is 1.

    Example:
        >>> import chainrule
        >>> chainrule.array_api.broadcast_shapes((2, 1), (3,))
        (2, 3)
    """
    return _broadcast_shapes("broadcast_shapes", *(tuple(shape) for shape in shapes))


@public
def nextafter(x1: Any, x2: Any, /) -> Tensor:
    """Return the number next to each element, towards another.

    It has no derivative and is not for compiled functions.

    Args:
        x1: Floating elements, float32 or float64.
        x2: Where to go, broadcast with x1.

    Raises:
        DTypeError: The dtype is another.

    Example:
        >>> import chainrule
        >>> one = chainrule.tensor(1.0)
        >>> (chainrule.array_api.nextafter(one, 2.0) - one).item() == chainrule.finfo(one).eps
        True
    """
    x, y = common(x1, x2)
    if not x.dtype.is_floating or x.dtype.is_half:
        raise DTypeError(f"nextafter: got {x.spec}, expected float32 or float64")
    return make(np.asarray(np.nextafter(x.array, y.array)), x.dtype)


@public
def conj(x: Tensor, /) -> Tensor:
    """Return the complex conjugate: a real tensor is its own."""
    return clone(as_tensor(x))


@public
def real(x: Tensor, /) -> Tensor:
    """Return the real part: all there is of a real tensor."""
    return clone(as_tensor(x))


@public
def imag(x: Tensor, /) -> Tensor:
    """Return the imaginary part: of a real tensor zeros."""
    return creation.zeros_like(as_tensor(x))


def clip(
    x: Tensor,
    /,
    min: int | float | Tensor | None = None,
    max: int | float | Tensor | None = None,
) -> Tensor:
    """Return x limited to a range, in its dtype; see `chainrule.clip`."""
    if min is None and max is None:
        return clone(as_tensor(x))
    result = arithmetic.clip(x, min, max)
    return result if result.dtype is x.dtype else result.to(x.dtype)


def reshape(x: Tensor, /, shape: Shape, *, copy: bool | None = None) -> Tensor:
    """Return the elements in another shape; see `chainrule.reshape`.

    Args:
        x: Any tensor.
        shape: The shape; one size may be -1.
        copy: Elements never change, so whether they are copied makes no difference.
    """
    return _reshape(x, shape)


def expand_dims(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Return the tensor with axes of size 1 at given places of the result.

    Raises:
        ShapeError: A place lies outside the result, or is named twice.
    """
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    ndim = x.ndim + len(given)
    places = sorted(normalize_axis("expand_dims", each, ndim) for each in given)
    if len(set(places)) < len(places):
        raise ArgumentError(f"expand_dims: a place is named twice in {given}")
    for place in places:
        x = axes.unsqueeze(x, place)
    return x


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Return the tensor without axes of size 1; see `chainrule.squeeze`."""
    return axes.squeeze(x, axis)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return the elements at positions along an axis; see `chainrule.take`.

    Raises:
        ArgumentError: x has several axes and none is named.
    """
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"take: {x.spec} has {x.ndim} axes: name one", hint="axis=0")
    return selection.take(x, indices, 0 if axis is None else axis)


def searchsorted(
    x1: Tensor,
    x2: Tensor | int | float,
    /,
    *,
    side: str = "left",
    sorter: Tensor | None = None,
) -> Tensor:
    """Return where elements would be inserted to keep the order; see `chainrule.searchsorted`."""
    return sorting.searchsorted(x1, as_tensor(x2, x1), side=side, sorter=sorter)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Return the differences of neighbours along an axis; see `chainrule.diff`."""
    return differences.diff(x, n, axis, prepend=prepend, append=append)


def _wide(x: Tensor, dtype: DType | None) -> DType | None:
    """Return the type in which the standard adds up: uint64 for unsigned integers."""
    return uint64 if dtype is None and x.dtype.kind == "uint" else dtype


def sum(
    x: Tensor, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    """Return the sum along axes, of unsigned integers as uint64; see `chainrule.sum`."""
    return reduce.sum(x, axis, keepdims=keepdims, dtype=_wide(x, dtype))


def prod(
    x: Tensor, /, *, axis: Axes = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    """Return the product along axes, of unsigned integers as uint64; see `chainrule.prod`."""
    return reduce.prod(x, axis, keepdims=keepdims, dtype=_wide(x, dtype))


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DType | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Return running sums, of unsigned integers as uint64; see `chainrule.cumulative_sum`."""
    return cumulative.cumulative_sum(
        x, axis=axis, dtype=_wide(x, dtype), include_initial=include_initial
    )


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DType | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Return running products, of unsigned integers as uint64; see `cumulative_sum`."""
    return cumulative.cumulative_prod(
        x, axis=axis, dtype=_wide(x, dtype), include_initial=include_initial
    )
