"""Maximum pooling layers' functions, as PyTorch names them.

Takes: inputs [N, C, *S] or [C, *S]. Gives: [N, C, *out] or [C, *out], and where maxima lie.
The one idea: normalise what the user wrote, then call the primitive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, overload

from chainrule.core.errors import ArgumentError
from chainrule.core.shape import Shape
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.pooling import max_pool, max_pool_index
from chainrule.ops.spatial import Pairs, Sizes, as_batch, per_axis, pooling_padding
from chainrule.ops.windows import infer_windows

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d"]


def _samples(axes: int) -> Iterable[Sample]:
    size = (3, 4, 5)[-axes:]

    def input_of(*lead: int) -> In:
        return In((*lead, *size), distinct=True)

    return (
        sample(input_of(1, 1), kernel_size=2),
        sample(input_of(1), kernel_size=2, stride=1, name="one example"),
        sample(input_of(1, 1), kernel_size=3, stride=2, padding=1, name="padding"),
        sample(input_of(1, 1), kernel_size=2, stride=2, ceil_mode=True, name="ceil"),
        sample(input_of(1, 1), kernel_size=2, stride=1, dilation=2, name="dilation"),
        sample(In((0, 2, *size)), kernel_size=2, name="no examples"),
    )


@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor:
    """Return the maxima alone."""


@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]:
    """Return the maxima and where they lie."""


@composite(lambda: _samples(1))
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the maximum over windows of one spatial axis; see `max_pool2d`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool(1, input, sizes, ceil_mode, return_indices)


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor:
    """Return the maxima alone."""


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]:
    """Return the maxima and where they lie."""


@composite(lambda: _samples(2))
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the maximum over windows of images.

    The gradient goes to the first of equal maxima. Padding never wins; NaN always does.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        kernel_size: Size of the window; a number, or one for each spatial axis, as all below.
        stride: Distance of neighbouring windows (default: the window's size).
        padding: Positions added on every side, at most half a window.
        dilation: Distance of neighbouring elements of a window.
        ceil_mode: Keep a last window that reaches beyond the end.
        return_indices: Also return where the maxima lie, as flat positions in H x W.

    Returns:
        [N, C, H', W'] with H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
        (or ceil), or a pair of it and the int64 positions.

    Raises:
        ShapeError: The window is larger than the padded input.
        ArgumentError: The padding exceeds half a window.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[[1.0, 2.0], [4.0, 3.0]]])
        >>> F.max_pool2d(x, 2).tolist()
        [[[4.0]]]
    """
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool(2, input, sizes, ceil_mode, return_indices)


@overload
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor:
    """Return the maxima alone."""


@overload
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]:
    """Return the maxima and where they lie."""


@composite(lambda: _samples(3))
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the maximum over windows of three spatial axes; see `max_pool2d`."""
    sizes = (kernel_size, stride, padding, dilation)
    return _max_pool(3, input, sizes, ceil_mode, return_indices)


def _max_pool(
    axes: int,
    input: Tensor,
    sizes: tuple[Sizes, Sizes | None, Sizes, Sizes],
    ceil_mode: bool,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    op = f"max_pool{axes}d"
    x, batched = as_batch(op, input, axes)
    window, stride, around, dilation = sizes
    kernel = per_axis(op, "kernel_size", window, axes)
    unset = stride in (None, (), [])
    steps = kernel if stride is None or unset else per_axis(op, "stride", stride, axes)
    spread = per_axis(op, "dilation", dilation, axes)
    added = per_axis(op, "padding", around, axes, least=0)
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(added, kernel, spread, strict=True)):
        raise ArgumentError(
            f"{op}: padding={list(added)} exceeds half of the window {list(kernel)}, so that a "
            f"window could hold nothing but padding"
        )
    pairs = pooling_padding(x.shape[2:], kernel, steps, added, spread, ceil_mode)
    infer_windows(op, x.spec, kernel, steps, pairs, spread)
    result = max_pool(x, kernel, steps, pairs, spread)
    if not return_indices:
        return result if batched else result.squeeze(0)
    index = max_pool_index(x.detach(), kernel, steps, pairs, spread)
    flat = _flat_positions(index.long(), x.shape[2:], kernel, steps, pairs, spread)
    return (result, flat) if batched else (result.squeeze(0), flat.squeeze(0))


def _flat_positions(
    index: Tensor, size: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Tensor:
    """Return flat positions in the input for positions in windows."""
    axes = len(size)
    taps: list[Tensor] = []
    rest = index
    for width in reversed(kernel):
        taps.insert(0, rest % width)
        rest = rest // width
    flat = index * 0
    for axis in range(axes):
        starts = call("arange", index.shape[2 + axis]) * stride[axis] - padding[axis][0]
        along = starts.reshape((-1,) + (1,) * (axes - 1 - axis))
        flat = flat * size[axis] + along + taps[axis] * dilation[axis]
    return flat
