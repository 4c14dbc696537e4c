"""Pooling by other means, and its way back: power means, and maxima put where they came from.

Takes: inputs [N, C, *S] or [C, *S]. Gives: [N, C, *out] or [C, *out].
The one idea: between the mean (p = 1) and the maximum (p = inf) lie the power means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from chainrule.core.errors import ArgumentError, IndexRangeError
from chainrule.core.shape import Shape, expect
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops.positions import expect_integers
from chainrule.ops.spatial import Sizes, as_batch, expect_floating, per_axis, pooling_padding
from chainrule.ops.windows import infer_windows, window_sum

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


def _power_samples(axes: int) -> Iterable[Sample]:
    size = (3, 4, 5)[-axes:]
    positive = In((1, 2, *size), 0.2, 2.0)
    return (
        sample(positive, norm_type=2.0, kernel_size=2),
        sample(
            In((1, *size), 0.2, 2.0), norm_type=3.0, kernel_size=2, stride=1, name="one example"
        ),
        sample(positive, norm_type=1.5, kernel_size=2, stride=2, ceil_mode=True, name="ceil"),
    )


@composite(lambda: _power_samples(1))
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Return power sums over windows of one spatial axis; see `lp_pool2d`, with [N, C, L]."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@composite(lambda: _power_samples(2))
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Return (Σ x^p)^(1/p) over windows of images: between a sum (p = 1) and a maximum.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        norm_type: p, not 0.
        kernel_size: Size of the window; a number, or one for each spatial axis, as all below.
        stride: Distance of neighbouring windows (default: the window's size).
        ceil_mode: Keep a last window that reaches beyond the end; its sum is scaled up to a
            whole window's, as PyTorch does.

    Returns:
        [N, C, H', W']; NaN where the sum of powers is negative (p odd, as PyTorch's).

    Raises:
        ArgumentError: p is 0 or no number.
        ShapeError: The window is larger than the input.

    Source: Sermanet, Chintala & LeCun 2012, "Convolutional neural networks applied to house
    numbers digit classification".
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@composite(lambda: _power_samples(3))
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Return power sums over windows of three spatial axes; see `lp_pool2d`."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    axes: int,
    input: Tensor,
    p: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
) -> Tensor:
    op = f"lp_pool{axes}d"
    if not isinstance(p, int | float) or p == 0 or not math.isfinite(p):
        raise ArgumentError(f"{op}: norm_type={p!r}, expected a number other than 0")
    x, batched = as_batch(op, input, axes)
    expect_floating(op, x)
    kernel = per_axis(op, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else per_axis(op, "stride", stride, axes)
    ones, none = (1,) * axes, (0,) * axes
    pairs = pooling_padding(x.shape[2:], kernel, steps, none, ones, ceil_mode)
    infer_windows(op, x.spec, kernel, steps, pairs, ones)
    total = window_sum(x**p, kernel, steps, pairs, ones)
    if any(hi for _, hi in pairs):
        total = total * _missing(x.shape[2:], total.shape[2:], kernel, steps, x)
    result = total ** (1.0 / p) if p < 0 else _root(total, p)
    return result if batched else result.squeeze(0)


def _root(total: Tensor, p: float) -> Tensor:
    """Return the p-th root; its gradient where all elements are 0 is 0, not infinite."""
    nothing = total == 0.0
    return call("where", nothing, 0.0, call("where", nothing, 1.0, total) ** (1.0 / p))


def _missing(size: Shape, out: Shape, kernel: Shape, steps: Shape, like: Tensor) -> Tensor:
    """Return for each window its size divided by the part of it that lies inside."""
    rows: list[Tensor] = []
    for axis, (s, o, k, step) in enumerate(zip(size, out, kernel, steps, strict=True)):
        inside = [k / (min(place * step + k, s) - place * step) for place in range(o)]
        shape = [1] * len(size)
        shape[axis] = o
        rows.append(tensor(inside, dtype=like.dtype).reshape(shape))
    result = rows[0]
    for row in rows[1:]:
        result = result * row
    return result


def _places(axes: int) -> In:
    """Return positions that are all different, as pooling with windows side by side gives."""
    values = {1: [[[1, 2]]], 2: [[[[0, 3], [9, 14]]]], 3: [[[[[0, 3], [9, 14]]]]]}
    return In(kind="int", values=values[axes])


def _back_samples(axes: int) -> Iterable[Sample]:
    shape = {1: (1, 1, 2), 2: (1, 1, 2, 2), 3: (1, 1, 1, 2, 2)}[axes]
    larger = {1: (5,), 2: (5, 4), 3: (2, 4, 5)}[axes]
    return (
        sample(shape, _places(axes), kernel_size=2),
        sample(shape, _places(axes), kernel_size=2, output_size=larger, name="size"),
    )


@composite(lambda: _back_samples(1))
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Return maxima put back where they lay along one spatial axis; see `max_unpool2d`."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@composite(lambda: _back_samples(2))
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Return maxima put back where they lay in images, zeros elsewhere.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        indices: Flat positions in H' x W', of the same shape: what ``max_pool2d`` returns with
            ``return_indices=True``. Where one comes twice the last element stays.
        kernel_size: Size of the pooling's window.
        stride: Its stride (default: the window's size).
        padding: Its padding.
        output_size: H' and W' (a whole shape is accepted too); default: the smallest size that
            is pooled to the input's.

    Returns:
        [N, C, H', W'] with H' = (H - 1) stride - 2 padding + kernel.

    Raises:
        ShapeError: Indices and input differ in shape.
        IndexRangeError: A position lies outside the output.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[[1.0, 2.0], [4.0, 3.0]]])
        >>> F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2).tolist()
        [[[0.0, 0.0], [4.0, 0.0]]]

    Source: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks".
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@composite(lambda: _back_samples(3))
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Return maxima put back where they lay in volumes; see `max_unpool2d`."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _unpool(
    axes: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Sequence[int] | None,
) -> Tensor:
    op = f"max_unpool{axes}d"
    x, batched = as_batch(op, input, axes)
    expect_integers(op, indices.spec)
    expect(
        indices.shape == input.shape,
        "{}: indices {} and input {} must have the same shape",
        *(op, indices.spec, input.spec),
    )
    kernel = per_axis(op, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else per_axis(op, "stride", stride, axes)
    added = per_axis(op, "padding", padding, axes, least=0)
    if output_size is None:
        out = tuple(
            (s - 1) * step - 2 * p + k
            for s, step, p, k in zip(x.shape[2:], steps, added, kernel, strict=True)
        )
    else:
        out = tuple(output_size)[-axes:]
    expect(
        len(out) == axes and min(out) >= 1,
        "{}: output size {} for input {}: expected {} positive sizes",
        *(op, list(out), input.spec, axes),
    )
    lead, count = x.shape[:2], math.prod(x.shape[2:])
    places = indices.reshape(*lead, count)
    empty = call("zeros", (*lead, math.prod(out)), dtype=x.dtype)
    try:
        flat = call("scatter", empty, 2, places.long(), x.reshape(*lead, count))
    except IndexRangeError as error:
        raise IndexRangeError(
            f"{op}: a position of indices {indices.spec} lies outside the output {list(out)}",
            hint="output_size=x.shape of what was pooled",
        ) from error
    result = flat.reshape(*lead, *out)
    return result if batched else result.squeeze(0)
