"""Mean pooling, and pooling to a given output size, as PyTorch names them.

Takes: inputs [N, C, *S] or [C, *S]. Gives: [N, C, *out] or [C, *out].
The one idea: a mean is the sum over a window and a count that depends on its place alone;
windows of adaptive pooling are a product of ranges, so axes are pooled one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError
from chainrule.core.shape import Shape
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops.pooling import max_pool
from chainrule.ops.spatial import Sizes, as_batch, expect_floating, per_axis, pooling_padding
from chainrule.ops.windows import infer_windows, window_sum

OutputSizes = int | None | Sequence[int | None]


def _samples(axes: int) -> Iterable[Sample]:
    size = (3, 4, 5)[-axes:]
    edge = {"kernel_size": 3, "stride": 2, "padding": 1}
    return (
        sample((1, 2, *size), kernel_size=2),
        sample((1, *size), kernel_size=2, stride=1, name="one example"),
        sample((1, 1, *size), name="padding", **edge),
        sample((1, 1, *size), name="count inside", **edge, count_include_pad=False),
        sample((1, 1, *size), name="ceil", **edge | {"kernel_size": 2, "ceil_mode": True}),
        sample((0, 2, *size), kernel_size=2, name="no examples"),
        sample((1, 1, *size), kernel_size=2, stride=(), name="empty stride"),
    )


@composite(lambda: _samples(1))
def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean over windows of one spatial axis; see `avg_pool2d`, with [N, C, L]."""
    sizes = (kernel_size, stride, padding)
    return _avg_pool(1, input, sizes, ceil_mode, count_include_pad, None)


@composite(lambda: _samples(2))
def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean over windows of images.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        kernel_size: Size of the window; a number, or one for each spatial axis, as all below.
        stride: Distance of neighbouring windows (default: the window's size).
        padding: Zeros on every side, at most half a window.
        ceil_mode: Keep a last window that reaches beyond the end.
        count_include_pad: Count the padding's zeros as elements.
        divisor_override: Divide the sums by this number instead of the count.

    Returns:
        [N, C, H', W'] with H' = floor((H + 2 padding - kernel) / stride) + 1 (or ceil).

    Raises:
        ShapeError: The window is larger than the padded input.
        ArgumentError: The padding exceeds half a window, or the divisor is 0.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[[1.0, 2.0], [4.0, 3.0]]])
        >>> F.avg_pool2d(x, 2).tolist()
        [[[2.5]]]
    """
    sizes = (kernel_size, stride, padding)
    return _avg_pool(2, input, sizes, ceil_mode, count_include_pad, divisor_override)


@composite(lambda: _samples(3))
def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean over windows of three spatial axes; see `avg_pool2d`."""
    sizes = (kernel_size, stride, padding)
    return _avg_pool(3, input, sizes, ceil_mode, count_include_pad, divisor_override)


def _avg_pool(
    axes: int,
    input: Tensor,
    sizes: tuple[Sizes, Sizes | None, Sizes],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    op = f"avg_pool{axes}d"
    x, batched = as_batch(op, input, axes)
    expect_floating(op, x)
    if divisor == 0:
        raise ArgumentError(f"{op}: divisor_override=0, expected another number or None")
    window, stride, around = sizes
    kernel = per_axis(op, "kernel_size", window, axes)
    unset = stride in (None, (), [])  # an empty one, too, as PyTorch's own tests write it
    steps = kernel if stride is None or unset else per_axis(op, "stride", stride, axes)
    added = per_axis(op, "padding", around, axes, least=0)
    if any(2 * p > k for p, k in zip(added, kernel, strict=True)):
        raise ArgumentError(
            f"{op}: padding={list(added)} exceeds half of the window {list(kernel)}"
        )
    ones = (1,) * axes
    pairs = pooling_padding(x.shape[2:], kernel, steps, added, ones, ceil_mode)
    infer_windows(op, x.spec, kernel, steps, pairs, ones)
    total = window_sum(x, kernel, steps, pairs, ones)
    if divisor is None:
        counts = _counts(x.shape[2:], total.shape[2:], kernel, steps, added, count_include_pad)
        if counts.min() == counts.max():
            result = total * (1.0 / float(counts.flat[0]))
        else:
            result = total / tensor(counts, dtype=x.dtype)
    else:
        result = total * (1.0 / divisor)
    return result if batched else result.squeeze(0)


def _counts(
    size: Shape, out: Shape, kernel: Shape, stride: Shape, added: Shape, include_padding: bool
) -> Array:
    """Return how many elements each window counts, [*out]."""
    counts = np.ones((1,) * len(size))
    for axis, (s, o, k, step, p) in enumerate(zip(size, out, kernel, stride, added, strict=True)):
        start = np.arange(o) * step - p
        end = np.minimum(start + k, s + p)
        if not include_padding:
            start, end = np.maximum(start, 0), np.minimum(end, s)
        along = [1] * len(size)
        along[axis] = o
        counts = counts * (end - start).reshape(along)
    return counts


def _adaptive_samples(axes: int, *, distinct: bool = False) -> Iterable[Sample]:
    size = (3, 4, 5)[-axes:]
    return (
        sample(In((1, 2, *size), distinct=distinct), output_size=2),
        sample(In((1, *size), distinct=distinct), output_size=1, name="one example"),
        sample(In((1, 1, *size), distinct=distinct), output_size=(7, 4, 2)[-axes:], name="given"),
        sample(In((1, 1, *(4,) * axes), distinct=distinct), output_size=2, name="even"),
    )


@composite(lambda: _adaptive_samples(1))
def adaptive_avg_pool1d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Return means over windows laid out for a given length; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_avg_pool1d", 1, input, output_size)


@composite(lambda: _adaptive_samples(2))
def adaptive_avg_pool2d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Return means over windows that are laid out so as to give a chosen output size.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        output_size: H' and W', or one number for both; None keeps a size.

    Returns:
        [N, C, H', W']: window i spans the rows floor(i H / H') to ceil((i + 1) H / H').

    Raises:
        ArgumentError: The output size is not one or two positive numbers.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.adaptive_avg_pool2d(chainrule.ones((2, 3, 7, 5)), 1).shape
        (2, 3, 1, 1)
    """
    return _adaptive("adaptive_avg_pool2d", 2, input, output_size)


@composite(lambda: _adaptive_samples(3))
def adaptive_avg_pool3d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Return means over windows laid out for a given size; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_avg_pool3d", 3, input, output_size)


@composite(lambda: _adaptive_samples(1, distinct=True))
def adaptive_max_pool1d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Return maxima over windows laid out for a given length; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_max_pool1d", 1, input, output_size)


@composite(lambda: _adaptive_samples(2, distinct=True))
def adaptive_max_pool2d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Return maxima over windows laid out for a given size; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_max_pool2d", 2, input, output_size)


@composite(lambda: _adaptive_samples(3, distinct=True))
def adaptive_max_pool3d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Return maxima over windows laid out for a given size; see `adaptive_avg_pool2d`."""
    return _adaptive("adaptive_max_pool3d", 3, input, output_size)


def _adaptive(op: str, axes: int, input: Tensor, output_size: OutputSizes) -> Tensor:
    x, batched = as_batch(op, input, axes)
    expect_floating(op, x)
    given = (
        (output_size,) * axes
        if output_size is None or isinstance(output_size, int)
        else tuple(output_size)
    )
    if len(given) != axes or any(size is not None and size < 1 for size in given):
        raise ArgumentError(
            f"{op}: output_size={output_size!r}, expected a positive integer, or {axes} of them"
        )
    size = x.shape[2:]
    out = tuple(s if o is None else o for s, o in zip(size, given, strict=True))
    largest = "max" in op
    if all(s % o == 0 for s, o in zip(size, out, strict=True)):
        result = _even(x, out, largest)
    else:
        result = x
        for axis, target in enumerate(out, 2):
            result = _along(result, axis, target, largest)
    return result if batched else result.squeeze(0)


def _even(x: Tensor, out: Shape, largest: bool) -> Tensor:
    """Pool to sizes that divide the input's: windows of one size side by side."""
    kernel = tuple(s // o for s, o in zip(x.shape[2:], out, strict=True))
    if not largest and max(out, default=1) == 1:
        return x.mean(tuple(range(2, x.ndim)), keepdims=True)
    none, ones = ((0, 0),) * len(out), (1,) * len(out)
    if largest:
        return max_pool(x, kernel, kernel, none, ones)
    return window_sum(x, kernel, kernel, none, ones) * (1.0 / math.prod(kernel))


def _along(x: Tensor, axis: int, out: int, largest: bool) -> Tensor:
    """Pool one axis to a size that need not divide it."""
    size = x.shape[axis]
    if size == out:
        return x
    start = np.arange(out) * size // out
    end = -(-(np.arange(1, out + 1) * size) // out)
    width = int((end - start).max())
    index = start[:, None] + np.arange(width)
    missing = index >= end[:, None]  # windows shorter than the widest
    index = np.minimum(index, size - 1)
    taken = call("take", x, tensor(index.reshape(-1)), axis)
    windows = taken.reshape((*x.shape[:axis], out, width, *x.shape[axis + 1 :]))
    trailing = (1,) * (x.ndim - axis - 1)
    hole = tensor(missing.reshape(out, width, *trailing))
    if largest:
        filled = call("where", hole, -math.inf, windows)
        where = call("argmax", filled, axis + 1, keepdims=True)
        return call("take_along_axis", filled, where, axis + 1).squeeze(axis + 1)
    counts = tensor((end - start).reshape(out, *trailing), dtype=x.dtype)
    return call("where", hole, 0.0, windows).sum(axis + 1) / counts
