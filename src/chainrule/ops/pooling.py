"""Maximum over windows: the operation, where the maximum lies, and the way back to that place.

Takes: inputs [N, C, *S]. Gives: [N, C, *out].
The one idea: go through the few elements of a window one by one, each time for all windows at
once; the position in the window is a small number, and taking an element at it or putting one
back to it are each other's derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.core.dtype import Array, DType, as_dtype, bool_, int64, uint8
from chainrule.core.shape import Shape, Spec, expect
from chainrule.graph.op import INPUTS, Op, Saves, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ir.definition import Formulas
from chainrule.ir.expr import Ref
from chainrule.ops.spatial import Pairs, windows_along
from chainrule.ops.window_formulas import (
    Frame,
    element_of_windows,
    over_windows,
    place_of_maximum,
    put_back,
)
from chainrule.ops.windows import (
    expect_axes,
    infer_windows,
    inside,
    padded,
    places,
    window_samples,
)


def _distinct_samples() -> Iterable[Sample]:
    for s in window_samples():
        yield Sample((In(s.inputs[0].shape, distinct=True),), s.attrs, s.name)


def _indexed_samples() -> Iterable[tuple[Sample, Shape, Shape]]:
    """Yield samples whose input has as many elements as windows, with positions beside it."""
    for s in window_samples():
        x = s.inputs[0].shape
        out = (*x[:2], *windows_along(x[2:], **s.attrs))
        yield s, x, out


def _positions(x: Shape, out: Shape, attrs: dict[str, Any]) -> In:
    """Return positions in windows that do not lie in the padding."""
    rng = np.random.default_rng(0)
    wide = padded(np.ones(x), attrs["padding"], 0)
    spots = places(out[2:], attrs["kernel"], attrs["stride"], attrs["dilation"])
    weight = np.stack([wide[:, :, *spot] for spot in spots])
    best = (weight * rng.uniform(1, 2, weight.shape)).argmax(0) if weight.size else np.zeros(out)
    return In(out, kind="int", values=best)


@register
class MaxPool(Op):
    """The largest element of each window; padding counts as minus infinity, NaN as largest."""

    name = "max_pool"
    onnx = "MaxPool"
    saves = INPUTS

    def infer(
        self, x: Spec, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Spec:
        out = infer_windows(self.name, x, kernel, stride, padding, dilation)
        return Spec((*x.shape[:2], *out), x.dtype)

    def eval(
        self, x: Array, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Array:
        out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
        wide = padded(x, padding, _least(as_dtype(x.dtype)))
        return _largest(wide, list(places(out, kernel, stride, dilation)))

    def lower(
        self, x: Ref, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Formulas | None:
        frame = Frame(kernel, stride, padding, dilation)
        return (over_windows("maximum", x, frame, _least(x.dtype)),)

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
        index = max_pool_index(x, kernel, stride, padding, dilation)
        return (window_put(grad, index, x.shape[2:], kernel, stride, padding, dilation),)

    def samples(self) -> Iterable[Sample]:
        return _distinct_samples()


@register
class MaxPoolIndex(Op):
    """Where in its window each maximum lies, counted row by row; the first of equal ones."""

    name = "max_pool_index"
    differentiable = False

    def infer(
        self, x: Spec, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Spec:
        out = infer_windows(self.name, x, kernel, stride, padding, dilation)
        return Spec((*x.shape[:2], *out), uint8 if math.prod(kernel) <= 256 else int64)

    def eval(
        self, x: Array, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Array:
        out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
        wide = padded(x, padding, _least(as_dtype(x.dtype)))
        spots = list(places(out, kernel, stride, dilation))
        largest = _largest(wide, spots)
        real = None
        if wide is not x:  # all elements of a window may be -inf: never point into the padding
            real = padded(np.ones((1, 1, *x.shape[2:]), np.bool_), padding, False)
        index = np.zeros_like(largest, dtype=np.uint8 if len(spots) <= 256 else np.int64)
        later = np.ones_like(largest, dtype=np.bool_)  # the maximum comes after this element
        for spot in spots[:-1]:
            differs = wide[:, :, *spot] != largest
            if real is not None:
                differs |= ~real[:, :, *spot]
            later &= differs
            np.add(index, later, out=index)
        if largest.dtype.kind == "f" and np.isnan(largest).any():
            _point_to_nan(wide, spots, index)
        return index

    def lower(
        self, x: Ref, *, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
    ) -> Formulas | None:
        frame = Frame(kernel, stride, padding, dilation)
        dtype = uint8 if math.prod(kernel) <= 256 else int64
        return place_of_maximum(x, frame, _least(x.dtype), dtype)

    def samples(self) -> Iterable[Sample]:
        return _distinct_samples()


@register
class WindowTake(Op):
    """The element of each window of x [N, C, *S] at a given position in it: [N, C, *out]."""

    name = "window_take"
    saves = Saves(inputs=(1,))

    def infer(
        self,
        x: Spec,
        index: Spec,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> Spec:
        out = infer_windows(self.name, x, kernel, stride, padding, dilation)
        _expect_index(self.name, index, (*x.shape[:2], *out))
        return Spec(index.shape, x.dtype)

    def eval(
        self,
        x: Array,
        index: Array,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> Array:
        out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
        wide = padded(x, padding, 0)
        spots = enumerate(places(out, kernel, stride, dilation))
        result = np.copy(wide[:, :, *next(spots)[1]], order="K")
        for number, spot in spots:
            np.copyto(result, wide[:, :, *spot], where=index == number)
        return result

    def lower(
        self,
        x: Ref,
        index: Ref,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> Formulas | None:
        return element_of_windows(x, index, Frame(kernel, stride, padding, dilation))

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        index: Tensor,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> tuple[Tensor, None]:
        size = x.shape[2:]
        return window_put(grad, index, size, kernel, stride, padding, dilation), None

    def samples(self) -> Iterable[Sample]:
        for s, x, out in _indexed_samples():
            yield sample(In(x), _positions(x, out, s.attrs), name=s.name, **s.attrs)


@register
class WindowPut(Op):
    """The elements g [N, C, *out] put back to given positions in their windows: [N, C, *size]."""

    name = "window_put"
    saves = Saves(inputs=(1,))

    def infer(
        self,
        g: Spec,
        index: Spec,
        *,
        size: Shape,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> Spec:
        expect_axes(self.name, g, len(size))
        out = windows_along(size, kernel, stride, padding, dilation)
        expect(g.shape[2:] == out, "window_put: {} does not fit windows {}", g, list(out))
        _expect_index(self.name, index, g.shape)
        return Spec((*g.shape[:2], *size), g.dtype)

    def eval(
        self,
        g: Array,
        index: Array,
        *,
        size: Shape,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> Array:
        sizes = [s + lo + hi for s, (lo, hi) in zip(size, padding, strict=True)]
        apart = all(s >= (k - 1) * d + 1 for s, k, d in zip(stride, kernel, dilation, strict=True))
        result = np.zeros_like(g, shape=(*g.shape[:2], *sizes))
        for number, spot in enumerate(places(g.shape[2:], kernel, stride, dilation)):
            target = result[:, :, *spot]
            share = _masked(g, index == number)
            if apart:  # no two windows share an element, so there is nothing to add to
                target[...] = share
            else:
                target += share
        return result[:, :, *inside(size, padding)]

    def lower(
        self,
        g: Ref,
        index: Ref,
        *,
        size: Shape,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> Formulas | None:
        return put_back(g, index, size, Frame(kernel, stride, padding, dilation))

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        g: Tensor,
        index: Tensor,
        *,
        size: Shape,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
    ) -> tuple[Tensor, None]:
        attrs = {"stride": stride, "padding": padding, "dilation": dilation}
        return apply(_WINDOW_TAKE, grad, index, kernel=kernel, **attrs), None

    def samples(self) -> Iterable[Sample]:
        for s, x, out in _indexed_samples():
            index = _positions(x, out, s.attrs)
            yield sample(In(out), index, name=s.name, size=x[2:], **s.attrs)


_MAX_POOL, _MAX_POOL_INDEX = MaxPool(), MaxPoolIndex()
_WINDOW_TAKE, _WINDOW_PUT = WindowTake(), WindowPut()


def max_pool(x: Tensor, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Tensor:
    """Return the largest element of each window, [N, C, *out]."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return apply(_MAX_POOL, x, kernel=kernel, **attrs)


def max_pool_index(
    x: Tensor, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Tensor:
    """Return the position of the maximum in each window, counted row by row."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return apply(_MAX_POOL_INDEX, x, kernel=kernel, **attrs)


def window_put(
    g: Tensor,
    index: Tensor,
    size: Shape,
    kernel: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
) -> Tensor:
    """Return elements put back to given positions in their windows, [N, C, *size]."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    return apply(_WINDOW_PUT, g, index, size=size, kernel=kernel, **attrs)


def _least(dtype: DType) -> float:
    """Return the value that no element is smaller than."""
    if dtype.is_floating:
        return -math.inf
    return False if dtype is bool_ else int(np.iinfo(dtype.storage).min)


def _largest(wide: Array, spots: list[tuple[slice, ...]]) -> Array:
    first, *others = (wide[:, :, *spot] for spot in spots)
    result = np.copy(first, order="K")
    for view in others:
        np.maximum(result, view, out=result)
    return result


def _masked(g: Array, mask: Array) -> Array:
    """Return g where the mask holds, else 0: three times as fast as np.where.

    Bits are masked, not multiplied: 0 times infinity would be NaN.
    """
    bits = np.dtype(f"i{g.itemsize}")
    ones = np.negative(mask.view(np.int8)).astype(bits)  # 0, or -1: all bits set
    np.bitwise_and(g.view(bits), ones, out=ones)
    return ones.view(g.dtype)


def _point_to_nan(wide: Array, spots: list[tuple[slice, ...]], index: Array) -> None:
    # As in PyTorch, the last NaN of a window is the one that counts.
    for number, spot in enumerate(spots):
        np.copyto(index, number, where=np.isnan(wide[:, :, *spot]), casting="unsafe")


def _expect_index(op: str, index: Spec, shape: Shape) -> None:
    expect(
        index.shape == shape,
        "{}: positions {} must have one element for each window, {}",
        *(op, index, list(shape)),
    )
