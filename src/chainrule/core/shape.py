"""Shapes: what a tensor looks like from outside, and the rules that shapes obey.

Takes: shapes and axes as the user wrote them. Gives: normalised ones, or an error that prints
the violated rule with whole shapes.
The one idea: `expect` builds its text only on failure, so rules cost nothing when they hold.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple, SupportsIndex

from chainrule.core.dtype import DType
from chainrule.core.errors import ArgumentError, AxisError, ShapeError

Shape = tuple[int, ...]
Axes = int | Sequence[int] | None

# Larger element counts cannot be addressed; they come from a slip in a product of sizes.
MAX_ELEMENTS = 2**48


class Spec(NamedTuple):
    """What is known of a tensor before its elements are: shape and element type."""

    shape: Shape
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes that the elements occupy."""
        return self.size * self.dtype.itemsize


def expect(holds: bool, rule: str, *values: object, hint: str = "") -> None:
    """Raise `ShapeError` unless a rule holds.

    Args:
        holds: Whether the rule holds.
        rule: The rule with a ``{}`` for each value: ``"matmul: {} @ {} needs ..."``.
        values: What came; formatted only on failure.
        hint: The remedy.

    Raises:
        ShapeError: The rule does not hold.
    """
    if not holds:
        raise ShapeError(rule.format(*values), hint=hint)


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """Return the common shape of shapes that broadcast.

    Axes are aligned from the last one; sizes must be equal or 1.

    Raises:
        ShapeError: Two sizes differ and neither is 1.
    """
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        return shapes[0]
    ndim = max(map(len, shapes), default=0)
    result = [1] * ndim
    for shape in shapes:
        for axis, size in enumerate(shape, ndim - len(shape)):
            if size == 1 or size == result[axis]:
                continue
            if result[axis] != 1:
                raise _broadcast_error(op, shapes, axis - ndim)
            result[axis] = size
    return tuple(result)


def _broadcast_error(op: str, shapes: tuple[Shape, ...], axis: int) -> ShapeError:
    listing = " and ".join(str(list(shape)) for shape in shapes)
    sizes = ", ".join(str(s[axis]) for s in shapes if len(s) >= -axis)
    return ShapeError(
        f"{op}: shapes {listing} do not broadcast: axis {axis} has sizes {sizes}, "
        "which must be equal or 1",
        hint=_broadcast_remedy(shapes)
        or "insert an axis of size 1 with x.unsqueeze(axis), or reshape one of them",
    )


def _broadcast_remedy(shapes: tuple[Shape, ...]) -> str:
    """Return how to align a shape with the first axes of a longer one, if that is it."""
    short, long = min(shapes, key=len), max(shapes, key=len)
    if not short or len(short) == len(long) or long[: len(short)] != short:
        return ""
    axes = range(len(short), len(long))
    code = f"reshape({', '.join(map(str, (*short, *(1 for _ in axes))))})"
    if len(axes) == 1:
        code = "unsqueeze(-1)"
    return f"axes are aligned from the last one: {code} on the tensor of shape {list(short)}"


def normalize_axis(op: str, axis: SupportsIndex, ndim: int) -> int:
    """Return an axis as a number from 0 to ndim - 1; negative ones count from the end.

    Raises:
        ShapeError: There is no such axis.
    """
    index = operator.index(axis)
    if -ndim <= index < ndim:
        return index % ndim
    known = f"from {-ndim} to {ndim - 1}" if ndim else "none: the tensor has no axes"
    raise AxisError(f"{op}: axis {index} does not exist; axes of a {ndim}-d tensor: {known}")


def scalar_axis(axis: Axes, ndim: int) -> bool:
    """Return whether an axis of a 0-d tensor is named: 0 or -1.

    It stands for an axis of size 1, as in PyTorch and NumPy, so that ``loss.sum(0)`` works
    whatever the loss was reduced to before.
    """
    if ndim or axis is None:
        return False
    given = axis if isinstance(axis, Sequence) else (axis,)
    return bool(given) and all(each in (0, -1) for each in given)


def normalize_axes(op: str, axis: Axes, ndim: int) -> tuple[int, ...]:
    """Return axes as sorted distinct numbers from 0 to ndim - 1; None means all of them.

    Raises:
        ShapeError: An axis does not exist or is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    axes = sorted(normalize_axis(op, a, ndim) for a in given)
    expect(len(set(axes)) == len(axes), "{}: axis named twice in {}", op, list(given))
    return tuple(axes)


def normalize_shape(op: str, shape: Sequence[SupportsIndex] | SupportsIndex) -> Shape:
    """Return a shape as a tuple of Python integers.

    Raises:
        ShapeError: A size is negative, or the number of elements is absurd.
    """
    sizes = shape if isinstance(shape, Sequence) else (shape,)
    result = tuple(operator.index(size) for size in sizes)
    expect(min(result, default=0) >= 0, "{}: negative size in shape {}", op, list(result))
    expect(math.prod(result) <= MAX_ELEMENTS, "{}: shape {} is absurdly large", op, list(result))
    return result


def one_axis(op: str, axis: int | None, dim: int | None, default: int | None) -> int | None:
    """Return the axis given under either name (``axis``, or PyTorch's ``dim``).

    Raises:
        ArgumentError: Both names were given.
    """
    if dim is None:
        return default if axis is None else axis
    if axis is not None:
        raise ArgumentError(f"{op}: got axis={axis} and dim={dim}; they mean the same, give one")
    return dim


def many_axes(op: str, axis: Axes, dim: Axes) -> Axes:
    """Return the axes given under either name (``axis``, or PyTorch's ``dim``).

    Raises:
        ArgumentError: Both names were given.
    """
    if dim is None:
        return axis
    if axis is not None:
        raise ArgumentError(f"{op}: got axis={axis} and dim={dim}; they mean the same, give one")
    return dim
