"""Spatial arguments: kernel sizes, strides and padding as users write them.

Takes: a number or one for each spatial axis. Gives: tuples with one entry for each axis.
The one idea: convolution and pooling share these rules, so they share their messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.dtype import bool_, uint8
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.core.shape import Shape
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.tensor import Tensor

Sizes = int | Sequence[int]
Pairs = tuple[tuple[int, int], ...]

_LAYOUTS = {1: "[N,C,L]", 2: "[N,C,H,W]", 3: "[N,C,D,H,W]"}


def per_axis(op: str, name: str, value: Sizes, axes: int, *, least: int = 1) -> Shape:
    """Return a size for each spatial axis.

    Args:
        op: The function, for messages.
        name: The argument, for messages.
        value: One number for all axes, or one for each.
        axes: Number of spatial axes.
        least: Smallest value allowed.

    Raises:
        ArgumentError: Too few or too many numbers, or one is too small.
    """
    sizes = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(sizes) == 1:
        sizes *= axes
    if len(sizes) != axes or any(not isinstance(size, int) or size < least for size in sizes):
        raise ArgumentError(
            f"{op}: {name}={value!r}, expected an integer from {least} on, or {axes} of them"
        )
    return sizes


def windows_along(
    size: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Shape:
    """Return how many places a window has along each axis; below 1 where it is too large."""
    return tuple(
        (s + lo + hi - d * (k - 1) - 1) // step + 1
        for s, k, step, (lo, hi), d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def as_batch(op: str, x: Tensor, axes: int) -> tuple[Tensor, bool]:
    """Return an input with a batch axis, and whether it had one.

    Raises:
        ShapeError: The number of axes is neither that of a batch nor that of one example.
    """
    expect_tensor(op, "input", x)
    if x.ndim == axes + 2:
        return x, True
    if x.ndim == axes + 1:
        return x.unsqueeze(0), False
    hint = ""
    if x.ndim == axes:
        hint = "add the axis of channels: x.unsqueeze(1) for a batch of one channel"
        if axes > 1:
            hint = "add the axes of batch and channels: x.unsqueeze(0).unsqueeze(0)"
    elif x.ndim == 2 and axes == 2:
        hint = "x.reshape(N, C, H, W)"
    raise ShapeError(
        f"{op}: input {x.spec} has {x.ndim} axes, expected {_LAYOUTS[axes]} or one example "
        f"without N",
        hint=hint,
    )


def pooling_padding(
    size: Shape, kernel: Shape, stride: Shape, added: Shape, dilation: Shape, ceil_mode: bool
) -> Pairs:
    """Return padding before and after each axis, enough for a last window that reaches over.

    With ``ceil_mode`` a window that starts inside the input, or in the padding before it, counts
    although it ends beyond the padding.
    """
    pairs = []
    for s, k, step, p, d in zip(size, kernel, stride, added, dilation, strict=True):
        span = d * (k - 1) + 1
        windows = (s + 2 * p - span) // step + 1
        if ceil_mode:
            windows = -((span - s - 2 * p) // step) + 1
            if (windows - 1) * step >= s + p:
                windows -= 1
        pairs.append((p, max(p, (windows - 1) * step + span - s - p)))
    return tuple(pairs)


def expect_floating(op: str, x: Tensor) -> None:
    """Raise `DTypeError` for an input of integers or Booleans.

    Raises:
        DTypeError: The input is not floating-point.
    """
    if x.dtype.is_floating:
        return
    kind = "Booleans" if x.dtype is bool_ else "integers"
    hint = "x.float()"
    if x.dtype is uint8:
        hint = "x.float() / 255 turns the bytes of an image into numbers from 0 to 1"
    raise DTypeError(f"{op}: input {x.spec} holds {kind}, expected real numbers", hint=hint)
