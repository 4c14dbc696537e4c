"""Convolution layers' functions: conv1d to conv3d and their transposes, as PyTorch names them.

Takes: inputs [N, C, *S] or [C, *S], weights, a bias. Gives: [N, O, *out] or [O, *out].
The one idea: normalise what the user wrote, then call one of the three primitives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from chainrule.core.errors import ArgumentError, ShapeError, unknown_word
from chainrule.core.shape import Shape, expect
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, common
from chainrule.ops.convolution import conv, conv_input_grad
from chainrule.ops.spatial import Pairs, Sizes, as_batch, expect_floating, per_axis

Padding = Sizes | Literal["same", "valid"]


def _samples(axes: int) -> Iterable[Sample]:
    size, kernel = (4, 3, 2)[-axes:], (2, 3, 2)[-axes:]
    return (
        sample((1, 2, *size), (2, 2, *kernel), (2,)),
        sample((2, *size), (1, 2, *kernel), name="one example"),
        sample((1, 2, *size), (2, 1, *kernel), (2,), padding="same", groups=2, name="same"),
        sample((1, 1, *size), (1, 1, *kernel), stride=2, padding=1, name="stride"),
    )


def _transposed_samples(axes: int) -> Iterable[Sample]:
    size, kernel = (2, 1, 2)[-axes:], (2, 3, 2)[-axes:]
    return (
        sample((1, 2, *size), (2, 2, *kernel), (2,)),
        sample((2, *size), (2, 1, *kernel), name="one example"),
        sample((1, 2, *size), (2, 1, *kernel), (2,), stride=2, groups=2, name="groups"),
        sample((1, 1, *size), (1, 1, *kernel), stride=2, padding=1, output_padding=1, name="edge"),
        sample((1, 1, *size), (1, 1, *kernel), output_padding=1, dilation=2, name="dilation"),
    )


@composite(lambda: _samples(1))
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the convolution over one spatial axis; see `conv2d`, with [N, C, L]."""
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@composite(lambda: _samples(2))
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the convolution of images with a set of kernels.

    Compiled, large ones whose kernels are 2 or 3 wide, or 2 or 3 strides, are made of transformed
    tiles (Winograd 1980; Lavin & Gray 2016): equal but for rounding, and NaN where an
    infinity takes part.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        weight: [O, C/groups, kernel height, kernel width].
        bias: [O], or None.
        stride: Step of the kernel; a number, or one for each spatial axis, as all below.
        padding: Zeros on every side; ``"valid"``: none; ``"same"``: as many as keep the size
            (stride 1; one more at the end where the number is odd).
        dilation: Distance of neighbouring kernel elements.
        groups: Number of independent parts that channels and outputs are split into.

    Returns:
        [N, O, H', W'] with H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Raises:
        ShapeError: Channels do not match the weight, or the kernel exceeds the padded image.
        DTypeError: The images hold integers.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> images, kernels = chainrule.ones((2, 3, 8, 8)), chainrule.ones((4, 3, 3, 3))
        >>> F.conv2d(images, kernels, padding=1).shape
        (2, 4, 8, 8)
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@composite(lambda: _samples(3))
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the convolution over three spatial axes; see `conv2d`, with [N, C, D, H, W]."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@composite(lambda: _transposed_samples(1))
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Return the transposed convolution over one spatial axis; see `conv_transpose2d`."""
    sizes = (stride, padding, output_padding, dilation)
    return _transposed("conv_transpose1d", 1, input, weight, bias, sizes, groups)


@composite(lambda: _transposed_samples(2))
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Return the transposed convolution: what `conv2d` does to gradients of its input.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        weight: [C, O/groups, kernel height, kernel width].
        bias: [O], or None.
        stride: Distance at which input elements are laid out in the output.
        padding: Rows and columns cut off on every side.
        output_padding: Rows and columns added at the end, below stride or dilation; several
            sizes convolve to one size, and this chooses among them.
        groups: Number of independent parts that channels and outputs are split into.
        dilation: Distance of neighbouring kernel elements.

    Returns:
        [N, O, H', W'] with
        H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    Raises:
        ShapeError: Channels do not match the weight, or nothing is left after the padding.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> images, kernels = chainrule.ones((2, 3, 4, 4)), chainrule.ones((3, 5, 2, 2))
        >>> F.conv_transpose2d(images, kernels, stride=2).shape
        (2, 5, 8, 8)
    """
    sizes = (stride, padding, output_padding, dilation)
    return _transposed("conv_transpose2d", 2, input, weight, bias, sizes, groups)


@composite(lambda: _transposed_samples(3))
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Return the transposed convolution over three spatial axes; see `conv_transpose2d`."""
    sizes = (stride, padding, output_padding, dilation)
    return _transposed("conv_transpose3d", 3, input, weight, bias, sizes, groups)


def _conv(
    op: str,
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    _check_groups(op, groups)
    x, w, batched = _operands(op, axes, input, weight)
    if not batched and x.shape[1] != w.shape[1] * groups:
        raise _one_example_error(op, input, weight, groups)
    steps = per_axis(op, "stride", stride, axes)
    spread = per_axis(op, "dilation", dilation, axes)
    pairs = _padding(op, padding, w.shape[2:], steps, spread)
    result = conv(x, w, steps, pairs, spread, groups)
    return _finish(op, result, bias, batched)


def _padding(op: str, padding: Padding, kernel: Shape, stride: Shape, dilation: Shape) -> Pairs:
    if not isinstance(padding, str):
        return tuple((p, p) for p in per_axis(op, "padding", padding, len(kernel), least=0))
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise unknown_word(f"padding of {op}", padding, ("same", "valid"))
    if max(stride) > 1:
        raise ArgumentError(
            f"{op}: padding='same' keeps the size only with stride 1, got stride={list(stride)}",
            hint=f"padding={[k // 2 for k in kernel]} halves it with stride 2",
        )
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _transposed(
    op: str,
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[Sizes, Sizes, Sizes, Sizes],
    groups: int,
) -> Tensor:
    _check_groups(op, groups)
    x, w, batched = _operands(op, axes, input, weight)
    stride, padding, output_padding, dilation = sizes
    steps = per_axis(op, "stride", stride, axes)
    cut = per_axis(op, "padding", padding, axes, least=0)
    added = per_axis(op, "output_padding", output_padding, axes, least=0)
    spread = per_axis(op, "dilation", dilation, axes)
    _check_transposed(op, x, w, groups)
    if any(a >= max(s, d) for a, s, d in zip(added, steps, spread, strict=True)):
        raise ArgumentError(
            f"{op}: output_padding={list(added)} must be smaller than stride {list(steps)} "
            f"or dilation {list(spread)}"
        )
    # Output padding undoes cutting at the end; where it exceeds that, nothing reaches the rest.
    pairs = tuple((p, max(p - a, 0)) for p, a in zip(cut, added, strict=True))
    beyond = [max(a - p, 0) for p, a in zip(cut, added, strict=True)]
    size = tuple(
        (s - 1) * step - lo - hi + d * (k - 1) + 1
        for s, step, (lo, hi), d, k in zip(
            x.shape[2:], steps, pairs, spread, w.shape[2:], strict=True
        )
    )
    expect(
        min(size) >= 1,
        "{}: nothing is left of the output: size {} for input {}, weight {}, padding {}",
        *(op, list(size), x.spec, w.spec, list(cut)),
    )
    result = conv_input_grad(x, w, size, steps, pairs, spread, groups)
    if any(beyond):
        ends = ((0, 0), (0, 0), *((0, extra) for extra in beyond))
        result = _pad_zeros(result, ends)
    return _finish(op, result, bias, batched)


def _pad_zeros(x: Tensor, ends: Any) -> Tensor:
    for axis, (_, extra) in enumerate(ends):
        if extra:
            shape = (*x.shape[:axis], extra, *x.shape[axis + 1 :])
            x = call("concat", [x, call("zeros", shape, dtype=x.dtype)], axis)
    return x


def _operands(op: str, axes: int, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, bool]:
    x, batched = as_batch(op, input, axes)
    expect_floating(op, x)
    expect(
        weight.ndim == axes + 2,
        "{}: weight {} must have {} axes: two of channels and one for each of {} spatial ones",
        *(op, weight.spec, axes + 2, axes),
    )
    x, w = common(x, weight)
    return x, w, batched


def _one_example_error(op: str, x: Tensor, weight: Tensor, groups: int) -> ShapeError:
    """Return the error for an input without batch axis whose channels are wrong."""
    channels = weight.shape[1] * groups
    order = ", ".join(map(str, (x.ndim - 1, *range(x.ndim - 1))))
    hint = f"nn.Conv{x.ndim - 1}d({x.shape[0]}, {weight.shape[0]}, ...)"
    if x.shape[-1] == channels:
        hint = f"channels come first, after the batch: x.permute({order}).unsqueeze(0)"
    elif channels == 1:
        hint = f"{x.shape[0]} examples of one channel need its axis: x.unsqueeze(1)"
    return ShapeError(
        f"{op}: input {x.spec} without a batch axis has {x.shape[0]} channels (axis 0), "
        f"weight {weight.spec} expects {channels}",
        hint=hint,
    )


def _check_groups(op: str, groups: int) -> None:
    if groups < 1:
        raise ArgumentError(f"{op}: groups={groups}, expected at least 1")


def _check_transposed(op: str, x: Tensor, w: Tensor, groups: int) -> None:
    channels = w.shape[0]
    if x.shape[1] != channels:
        hint = f"nn.ConvTranspose{x.ndim - 2}d({x.shape[1]}, {w.shape[1] * groups}, ...)"
        if x.shape[-1] == channels:
            order = ", ".join(map(str, (0, x.ndim - 1, *range(1, x.ndim - 1))))
            hint = f"input has {channels} channels in the last axis: x.permute({order})"
        raise ShapeError(
            f"{op}: input {x.spec} has {x.shape[1]} channels (axis 1), weight {w.spec} "
            f"expects {channels}",
            hint=hint,
        )
    expect(
        channels % groups == 0,
        "{}: groups={} must divide the input's {} channels (input {}, weight {})",
        *(op, groups, channels, x.spec, w.spec),
    )


def _finish(op: str, result: Tensor, bias: Tensor | None, batched: bool) -> Tensor:
    if bias is not None:
        channels = result.shape[1]
        expect(
            bias.shape == (channels,),
            "{}: bias {} must have one element for each of the {} output channels",
            *(op, bias.spec, channels),
        )
        result = result + bias.reshape((channels,) + (1,) * (result.ndim - 2))
    return result if batched else result.squeeze(0)


__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]
