"""Windows: the pieces of an input that a moving frame shows, their sums, and the way back.

Takes: inputs [N, C, *S]. Gives: windows [N, C, *out, *K] without a copy, or sums over each.
The one idea: reading windows and adding them up where they overlap are transposes of each other,
so each is the other's derivative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from chainrule.core.dtype import Array
from chainrule.core.shape import Shape, Spec, expect
from chainrule.graph.op import Op, composite, register
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ir.definition import Formulas
from chainrule.ir.expr import Ref
from chainrule.ops.spatial import Pairs, Sizes, as_batch, per_axis, windows_along
from chainrule.ops.window_formulas import Frame, over_windows, overlapping_sum, sliding


def window_samples() -> list[Sample]:
    """Return samples of windows in one to three dimensions."""
    one = {"kernel": (2,), "stride": (1,), "padding": ((0, 0),), "dilation": (1,)}
    two = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    three = {"kernel": (2, 1, 2), "stride": (1, 1, 2), "dilation": (1, 2, 1)}
    return [
        sample((2, 2, 5), name="1d", **one),
        sample((1, 1, 7), name="gaps", **one | {"stride": (3,), "dilation": (2,)}),
        sample((1, 2, 4, 4), name="2d", **two),
        sample((1, 2, 5, 3), name="remainder", **two),
        sample((2, 1, 3, 3), name="overlap", **two | {"kernel": (3, 2), "stride": (1, 1)}),
        sample((1, 1, 3, 4), name="padding", **two | {"padding": ((1, 1), (0, 1))}),
        sample((1, 1, 3, 2, 4), name="3d", **three, padding=((1, 0), (0, 0), (0, 0))),
        sample((0, 2, 4, 4), name="no examples", **two),
        sample((2, 0, 4, 4), name="no channels", **two),
    ]


def padded(x: Array, padding: Pairs, value: float) -> Array:
    """Return an array with a constant around its spatial axes, in the same memory order."""
    if not any(lo or hi for lo, hi in padding):
        return x
    sizes = [s + lo + hi for s, (lo, hi) in zip(x.shape[2:], padding, strict=True)]
    result = np.empty_like(x, shape=(*x.shape[:2], *sizes))
    result[...] = value
    result[:, :, *inside(x.shape[2:], padding)] = x
    return result


def inside(size: Shape, padding: Pairs) -> tuple[slice, ...]:
    """Return where the input lies in its padded form."""
    return tuple(slice(lo, lo + s) for s, (lo, _) in zip(size, padding, strict=True))


def places(
    out: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> Iterator[tuple[slice, ...]]:
    """Yield for each kernel element, in order, where all windows have it in the padded input."""
    for tap in itertools.product(*(range(k) for k in kernel)):
        yield tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
        )


def expect_axes(op: str, x: Spec, spatial: int) -> None:
    """Raise `ShapeError` unless an input has so many spatial axes."""
    expect(
        len(x.shape) == spatial + 2,
        "{}: input {} must have the axes [N, C] and {} spatial ones",
        *(op, x, spatial),
    )


def infer_windows(
    op: str, x: Spec, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Shape:
    """Return the number of windows along each spatial axis.

    Raises:
        ShapeError: The window is larger than the padded input.
    """
    expect_axes(op, x, len(kernel))
    out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
    expect(
        min(out) >= 1,
        "{}: a window {} (dilation {}) is larger than the padded input {}",
        *(op, list(kernel), list(dilation)),
        [s + lo + hi for s, (lo, hi) in zip(x.shape[2:], padding, strict=True)],
        hint="a smaller window, or less pooling before",
    )
    return out


@register
class SlidingWindow(Op):
    """x [N, C, *S], zeros around it, to its windows [N, C, *out, *K]: a view without padding."""

    name = "sliding_window"

    def infer(
        self, x: Spec, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Spec:
        out = infer_windows(self.name, x, kernel, stride, padding, dilation)
        return Spec((*x.shape[:2], *out, *kernel), x.dtype)

    def eval(
        self, x: Array, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Array:
        out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
        wide = padded(x, padding, 0)
        batch, channel, *spatial = wide.strides
        steps = [s * step for s, step in zip(spatial, stride, strict=True)]
        taps = [s * step for s, step in zip(spatial, dilation, strict=True)]
        shape = (*x.shape[:2], *out, *kernel)
        return as_strided(wide, shape, (batch, channel, *steps, *taps), writeable=False)

    def lower(
        self, x: Ref, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Formulas | None:
        return sliding(x, Frame(kernel, stride, padding, dilation))

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> tuple[Tensor]:
        return (overlap_add(grad, x.shape[2:], stride, padding, dilation),)

    def samples(self) -> Iterable[Sample]:
        return window_samples()


@register
class OverlapAdd(Op):
    """Windows g [N, C, *out, *K] added up where they were read: [N, C, *size]."""

    name = "overlap_add"

    def infer(
        self, g: Spec, *, size: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Spec:
        axes = len(size)
        expect(
            len(g.shape) == 2 + 2 * axes,
            "overlap_add: windows {} must have the axes [N, C], {} of places and {} of windows",
            *(g, axes, axes),
        )
        out, kernel = g.shape[2 : 2 + axes], g.shape[2 + axes :]
        expected = windows_along(size, kernel, stride, padding, dilation)
        expect(
            out == expected,
            "overlap_add: windows {} do not come from an input of size {}, which has {} of them",
            *(g, list(size), list(expected)),
        )
        return Spec((*g.shape[:2], *size), g.dtype)

    def eval(
        self, g: Array, *, size: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Array:
        axes = len(size)
        out, kernel = g.shape[2 : 2 + axes], g.shape[2 + axes :]
        sizes = [s + lo + hi for s, (lo, hi) in zip(size, padding, strict=True)]
        by_tap = np.moveaxis(g, range(2 + axes, 2 + 2 * axes), range(axes))
        prototype = by_tap[(0,) * axes]
        result = np.zeros_like(prototype, shape=(*g.shape[:2], *sizes))
        taps = itertools.product(*(range(k) for k in kernel))
        for tap, place in zip(taps, places(out, kernel, stride, dilation), strict=True):
            target = result[:, :, *place]
            target += by_tap[tap]
        return result[:, :, *inside(size, padding)]

    def lower(
        self, g: Ref, *, size: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Formulas | None:
        kernel = g.shape[2 + len(size) :]
        return overlapping_sum(g, size, Frame(kernel, stride, padding, dilation))

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        g: Tensor,
        *,
        size: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> tuple[Tensor]:
        return (sliding_window(grad, g.shape[2 + len(size) :], stride, padding, dilation),)

    def samples(self) -> Iterable[Sample]:
        for s in window_samples():
            attrs = dict(s.attrs)
            kernel, size = attrs.pop("kernel"), s.inputs[0].shape[2:]
            out = windows_along(size, kernel, **attrs)
            yield sample((*s.inputs[0].shape[:2], *out, *kernel), name=s.name, size=size, **attrs)


@register
class WindowSum(Op):
    """The sum over each window of x [N, C, *S], zeros around it: [N, C, *out]."""

    name = "window_sum"

    def infer(
        self, x: Spec, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Spec:
        out = infer_windows(self.name, x, kernel, stride, padding, dilation)
        return Spec((*x.shape[:2], *out), x.dtype)

    def eval(
        self, x: Array, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Array:
        out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
        wide = padded(x, padding, 0)
        views = (wide[:, :, *place] for place in places(out, kernel, stride, dilation))
        result = np.copy(next(views), order="K")
        for view in views:
            result += view
        return result

    def lower(
        self, x: Ref, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Formulas | None:
        return (over_windows("add", x, Frame(kernel, stride, padding, dilation)),)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> tuple[Tensor]:
        spread = grad.reshape((*grad.shape, *(1,) * len(kernel)))
        windows = spread.expand((*grad.shape, *kernel))
        return (overlap_add(windows, x.shape[2:], stride, padding, dilation),)

    def samples(self) -> Iterable[Sample]:
        return window_samples()


_SLIDING_WINDOW, _OVERLAP_ADD, _WINDOW_SUM = SlidingWindow(), OverlapAdd(), WindowSum()


def sliding_window(
    x: Tensor, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Tensor:
    """Return the windows of an input, [N, C, *out, *kernel]."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return apply(_SLIDING_WINDOW, x, kernel=kernel, **attrs)


def overlap_add(
    windows: Tensor, size: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Tensor:
    """Return windows [N, C, *out, *kernel] added up where an input of the size has them."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return apply(_OVERLAP_ADD, windows, size=size, **attrs)


def window_sum(x: Tensor, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Tensor:
    """Return the sum over each window, [N, C, *out]."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return apply(_WINDOW_SUM, x, kernel=kernel, **attrs)


def _unfold_samples() -> Iterable[Sample]:
    return (
        sample((1, 2, 3, 4), kernel_size=(2, 3)),
        sample((2, 4, 4), kernel_size=2, stride=2, name="one example"),
        sample((1, 1, 3, 3), kernel_size=2, padding=1, dilation=2, name="dilation"),
    )


@composite(_unfold_samples)
def unfold(
    input: Tensor,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Return the windows of images as columns.

    Args:
        input: [N, C, H, W], or one image [C, H, W].
        kernel_size: Height and width of a window.
        dilation: Distance of neighbouring elements of a window.
        padding: Zeros on every side.
        stride: Distance of neighbouring windows.

    Returns:
        [N, C kernel height kernel width, number of windows].

    Raises:
        ShapeError: The window is larger than the padded input.

    Example:
        >>> import chainrule
        >>> chainrule.nn.functional.unfold(chainrule.ones((1, 3, 4, 4)), 2, stride=2).shape
        (1, 12, 4)
    """
    x, batched = as_batch("unfold", input, 2)
    kernel = per_axis("unfold", "kernel_size", kernel_size, 2)
    pairs = tuple((p, p) for p in per_axis("unfold", "padding", padding, 2, least=0))
    steps = per_axis("unfold", "stride", stride, 2)
    spread = per_axis("unfold", "dilation", dilation, 2)
    infer_windows("unfold", x.spec, kernel, steps, pairs, spread)
    windows = sliding_window(x, kernel, steps, pairs, spread)
    batch, channels, rows, columns = windows.shape[:4]
    ordered = windows.permute(0, 1, 4, 5, 2, 3)
    result = ordered.reshape(batch, channels * math.prod(kernel), rows * columns)
    return result if batched else result.squeeze(0)


def _fold_samples() -> Iterable[Sample]:
    return (
        sample((1, 8, 6), output_size=(3, 4), kernel_size=2),
        sample((4, 4), output_size=4, kernel_size=2, stride=2, name="one example"),
        sample((1, 4, 9), output_size=3, kernel_size=2, padding=1, dilation=2, name="dilation"),
    )


@composite(_fold_samples)
def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Return columns, as `unfold` makes them, added up to images where windows overlap.

    Args:
        input: [N, C kernel height kernel width, number of windows], or without N.
        output_size: Height and width of the images.
        kernel_size: Height and width of a window.
        dilation: Distance of neighbouring elements of a window.
        padding: Rows and columns around the images that are dropped.
        stride: Distance of neighbouring windows.

    Returns:
        [N, C, *output_size].

    Raises:
        ShapeError: The number of rows or columns does not fit the sizes.
    """
    x, batched = as_batch("fold", input, 1)
    size = per_axis("fold", "output_size", output_size, 2)
    kernel = per_axis("fold", "kernel_size", kernel_size, 2)
    pairs = tuple((p, p) for p in per_axis("fold", "padding", padding, 2, least=0))
    steps = per_axis("fold", "stride", stride, 2)
    spread = per_axis("fold", "dilation", dilation, 2)
    out = windows_along(size, kernel, steps, pairs, spread)
    elements = math.prod(kernel)
    expect(
        x.shape[1] % elements == 0 and x.shape[2] == math.prod(out),
        "fold: input {} must have a multiple of {} rows (kernel {}) and {} columns, one for each "
        "window of an image {}",
        *(x.spec, elements, list(kernel), math.prod(out), list(size)),
    )
    blocks = x.reshape((x.shape[0], x.shape[1] // elements, *kernel, *out))
    windows = blocks.permute(0, 1, 4, 5, 2, 3)
    result = overlap_add(windows, size, steps, pairs, spread)
    return result if batched else result.squeeze(0)
