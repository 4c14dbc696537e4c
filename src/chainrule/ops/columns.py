"""Columns: convolution and its two derivatives in NumPy, by matrix products.

Takes: arrays [N, C, *S] and [O, C/g, *K], and a `Geometry`. Gives: arrays.
The one idea: lay all the input elements that one output element reads side by side ("columns",
Chellapilla, Puri & Simard 2006) and multiply by the weights as one matrix, a cache-full of
columns at a time.

Two layouts of the columns are used, whichever copies longer runs of memory. *Pixel layout*:
a row for each output position holds kernel x channels; its runs are kernel width x channels.
*Tap layout*: a row for each kernel element holds all output positions; its runs are output
rows, so it suits images of few channels. Results come in channels-last memory order (the shape
is [N, C, *S] all the same): the next layer then reads long runs without rearranging.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

from chainrule.core.dtype import Array
from chainrule.core.shape import Shape
from chainrule.ops.spatial import Pairs

Window = tuple[slice, ...]

# Bytes of columns made at a time. They should stay in the second-level caches: of 1, 2, 4 and
# 8 MB, 2 MB was best or near it on all shapes tried (64 x 32 x 28 x 28, 3 x 3: 15, 15, 14-22,
# 19-32 ms).
CHUNK_BYTES = 2 * 2**20


@dataclass(frozen=True)
class Geometry:
    """The sizes of one convolution.

    Attributes:
        batch: N.
        groups: g; channels are split into so many independent parts.
        inputs: Input channels of one group.
        outputs: Output channels of one group.
        size: Spatial sizes of the input.
        kernel: Spatial sizes of the kernel.
        out: Spatial sizes of the output.
        stride: Step of the kernel along each axis.
        padding: Zeros before and after each axis.
        dilation: Distance of neighbouring kernel elements along each axis.
    """

    batch: int
    groups: int
    inputs: int
    outputs: int
    size: Shape
    kernel: Shape
    out: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape

    @property
    def padded(self) -> Shape:
        """Spatial sizes of the input with its padding."""
        return tuple(s + lo + hi for s, (lo, hi) in zip(self.size, self.padding, strict=True))

    @property
    def is_depthwise(self) -> bool:
        """Whether each group has a single input channel, so that there is nothing to sum."""
        return self.groups > 1 and self.inputs == 1

    @property
    def is_pointwise(self) -> bool:
        """Whether each output position reads the one input position of the same place."""
        plain = all(lo == hi == 0 for lo, hi in self.padding) and set(self.stride) <= {1}
        return plain and self.groups == 1 and math.prod(self.kernel) == 1

    @property
    def taps_first(self) -> bool:
        """Whether the tap layout copies longer runs than the pixel layout."""
        pixel_run = self.inputs * (self.kernel[-1] if self.dilation[-1] == 1 else 1)
        # A strided read moves about a quarter as many elements in the same time.
        tap_run = self.out[-1] if self.stride[-1] == 1 else self.out[-1] // 4
        return tap_run > pixel_run

    @property
    def mirror_pays(self) -> bool:
        """Whether the input's derivative is cheaper as a convolution with mirrored weights.

        That copies columns of the output channels, where the direct way adds up (reading and
        writing) columns of the input channels; measured: 17 against 24 ms for 32 to 64 channels.
        """
        reach = (d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True))
        fits = all(max(pair) <= r for pair, r in zip(self.padding, reach, strict=True))
        plain = set(self.stride) <= {1} and not self.taps_first and not self.is_depthwise
        return fits and plain and self.outputs <= 2 * self.inputs

    def chunks(self, itemsize: int, elements: int) -> Iterator[tuple[slice, slice]]:
        """Yield ranges of examples and of the first spatial output axis, a cache-full each.

        Args:
            itemsize: Bytes of an element.
            elements: Column elements of one output position.
        """
        rows = self.out[0]
        row_bytes = max(1, itemsize * elements * math.prod(self.out[1:]))
        step = max(1, CHUNK_BYTES // (row_bytes * max(rows, 1)))
        if row_bytes * rows <= CHUNK_BYTES:
            for start in range(0, self.batch, step):
                yield slice(start, min(start + step, self.batch)), slice(0, rows)
            return
        step = max(1, CHUNK_BYTES // row_bytes)
        for example in range(self.batch):
            for start in range(0, rows, step):
                yield slice(example, example + 1), slice(start, min(start + step, rows))

    def window(self, tap: Shape, rows: slice) -> Window:
        """Return where the output rows read the padded input at one kernel element."""
        starts = [t * d for t, d in zip(tap, self.dilation, strict=True)]
        ranges = [rows, *(slice(0, size) for size in self.out[1:])]
        return tuple(
            slice(start + r.start * step, start + (r.stop - 1) * step + 1, step)
            for start, step, r in zip(starts, self.stride, ranges, strict=True)
        )

    def taps(self) -> Iterator[Shape]:
        """Yield the position of each kernel element."""
        return itertools.product(*(range(k) for k in self.kernel))


def forward(x: Array, w: Array, geometry: Geometry) -> Array:
    """Return the convolution, [N, O, *out]."""
    g = geometry
    result = np.empty((g.batch, *g.out, g.groups, g.outputs), x.dtype)
    if g.is_pointwise:
        pixels = _pixels(x)
        out = result.reshape(*pixels.shape[:-1], g.outputs)
        np.matmul(pixels, w.reshape(w.shape[:2]).T, out=out)
    elif g.is_depthwise:
        _depthwise_forward(_padded_last(x, g), w, result, g)
    else:
        weights = _weight_matrix(w, g)
        for (examples, rows), columns in _columns(x, g):
            chunk = _rows_of(result, examples, rows, g)
            np.matmul(columns, weights, out=chunk)
    return _channels_second(result)


def weight_grad(x: Array, grad: Array, geometry: Geometry) -> Array:
    """Return the derivative to the weights, [O, C/g, *K]."""
    g = geometry
    last = _channels_last(grad, g.outputs)  # [N, *out, g, O/g]
    if g.is_depthwise:
        return _depthwise_weight_grad(_padded_last(x, g), last, g)
    taps = math.prod(g.kernel)
    total = np.zeros((g.groups, g.inputs * taps, g.outputs), x.dtype)
    if g.is_pointwise:
        positions = g.batch * math.prod(g.size)
        flat = _channels_last(x, g.inputs).reshape(positions, g.inputs)
        total[0] = flat.T @ last.reshape(positions, g.outputs)
        return np.ascontiguousarray(total[0].T).reshape(g.outputs, g.inputs, *g.kernel)
    for (examples, rows), columns in _columns(x, g):
        total += np.matmul(columns.swapaxes(1, 2), _rows_of(last, examples, rows, g))
    if g.taps_first:
        by_tap = total.reshape(g.groups, g.inputs, *g.kernel, g.outputs)
    else:
        by_tap = np.moveaxis(total.reshape(g.groups, *g.kernel, g.inputs, g.outputs), -2, 1)
    result = np.moveaxis(by_tap, -1, 1)  # [g, O/g, C/g, *K]
    return np.ascontiguousarray(result).reshape(-1, g.inputs, *g.kernel)


def input_grad(grad: Array, w: Array, geometry: Geometry) -> Array:
    """Return the derivative to the input, [N, C, *S]: the transposed convolution."""
    g = geometry
    if g.is_pointwise:
        pixels = _pixels(grad)
        flat = np.matmul(pixels, w.reshape(w.shape[:2]))
        return _channels_second(flat.reshape(g.batch, *g.size, 1, g.inputs))
    # Mirrored weights also meet zeros beyond the edge, where inf and NaN must not reach.
    if g.mirror_pays and np.isfinite(w).all():
        return forward(grad, *_mirrored(w, g))
    last = _channels_last(grad, g.outputs)
    if g.taps_first and not g.is_depthwise:
        return _spread_taps(last, w, g)[:, :, *_inside(g)].swapaxes(0, 1)
    result = np.zeros((g.batch, *g.padded, g.groups, g.inputs), grad.dtype)
    if g.is_depthwise:
        _depthwise_input_grad(last, w, result, g)
    else:
        _spread_pixels(last, w, result, g)
    return _channels_second(result[:, *_inside(g)])


def _mirrored(w: Array, g: Geometry) -> tuple[Array, Geometry]:
    """Return weights and sizes of the convolution that the input's gradient is of the output's."""
    split = w.reshape(g.groups, g.outputs, g.inputs, *g.kernel).swapaxes(1, 2)
    mirrored = np.flip(split, tuple(range(3, split.ndim)))
    reach = [d * (k - 1) for d, k in zip(g.dilation, g.kernel, strict=True)]
    padding = tuple((r - lo, r - hi) for r, (lo, hi) in zip(reach, g.padding, strict=True))
    sizes = replace(g, inputs=g.outputs, outputs=g.inputs, size=g.out, out=g.size, padding=padding)
    return np.ascontiguousarray(mirrored).reshape(-1, g.outputs, *g.kernel), sizes


def _columns(x: Array, g: Geometry) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """Yield columns [g, positions, elements] chunk by chunk, in one buffer that is reused."""
    per_position = g.inputs * math.prod(g.kernel)
    buffer = np.empty(0, x.dtype)
    view = _tap_view(x, g) if g.taps_first else _pixel_view(x, g)
    spatial = len(g.kernel)
    for examples, rows in g.chunks(x.itemsize, per_position * g.groups):
        if g.taps_first:
            source = view[(slice(None),) * (2 + spatial) + (examples, rows)]
        else:
            source = view[:, examples, rows]
        if buffer.size < source.size:
            buffer = np.empty(source.size, x.dtype)
        copy = buffer[: source.size].reshape(source.shape)
        np.copyto(copy, source)
        if g.taps_first:
            positions = math.prod(source.shape[2 + spatial :])
            yield (examples, rows), copy.reshape(g.groups, per_position, positions).swapaxes(1, 2)
        else:
            positions = math.prod(source.shape[1 : 2 + spatial])
            yield (examples, rows), copy.reshape(g.groups, positions, per_position)


def _pixel_view(x: Array, g: Geometry) -> Array:
    """Return [g, N, *out, *K, C/g], a view into the padded input."""
    padded = _padded_last(x, g)
    batch, *spatial, group, channel = padded.strides
    steps = [s * step for s, step in zip(spatial, g.stride, strict=True)]
    taps = [s * step for s, step in zip(spatial, g.dilation, strict=True)]
    shape = (g.groups, g.batch, *g.out, *g.kernel, g.inputs)
    strides = (group, batch, *steps, *taps, channel)
    return as_strided(padded, shape, strides, writeable=False)


def _tap_view(x: Array, g: Geometry) -> Array:
    """Return [g, C/g, *K, N, *out], a view into the padded input."""
    channels = g.groups * g.inputs
    first = x.swapaxes(0, 1)
    if any(lo or hi for lo, hi in g.padding):
        padded = np.zeros((channels, g.batch, *g.padded), x.dtype)
        padded[:, :, *_inside(g)] = first
    else:
        padded = np.ascontiguousarray(first)
    split = padded.reshape(g.groups, g.inputs, g.batch, *g.padded)
    group, channel, batch, *spatial = split.strides
    steps = [s * step for s, step in zip(spatial, g.stride, strict=True)]
    taps = [s * step for s, step in zip(spatial, g.dilation, strict=True)]
    shape = (g.groups, g.inputs, *g.kernel, g.batch, *g.out)
    strides = (group, channel, *taps, batch, *steps)
    return as_strided(split, shape, strides, writeable=False)


def _weight_matrix(w: Array, g: Geometry) -> Array:
    """Return the weights as [g, elements, O/g], elements in the order of the columns."""
    split = w.reshape(g.groups, g.outputs, g.inputs, *g.kernel)
    if not g.taps_first:
        split = np.moveaxis(split, 2, -1)
    elements = g.inputs * math.prod(g.kernel)
    return np.ascontiguousarray(split).reshape(g.groups, g.outputs, elements).swapaxes(1, 2)


def _spread_pixels(last: Array, w: Array, result: Array, g: Geometry) -> None:
    """Add each output position's share to the input positions that it was read from."""
    split = w.reshape(g.groups, g.outputs, g.inputs, *g.kernel)
    by_tap = np.moveaxis(split, (0, 1, 2), (-3, -2, -1))  # [*K, g, O/g, C/g]
    for examples, rows in g.chunks(last.itemsize, g.groups * g.inputs * math.prod(g.kernel)):
        chunk = _rows_of(last, examples, rows, g)  # [g, positions, O/g]
        shape = (examples.stop - examples.start, rows.stop - rows.start, *g.out[1:])
        share = np.empty((chunk.shape[1], g.groups, g.inputs), last.dtype)
        for tap in g.taps():
            np.matmul(chunk, by_tap[tap], out=share.swapaxes(0, 1))
            target = result[examples, *g.window(tap, rows)]
            target += share.reshape(*shape, g.groups, g.inputs)


def _spread_taps(last: Array, w: Array, g: Geometry) -> Array:
    """Return the padded derivative to the input, [C, N, *S]."""
    channels, taps = g.groups * g.inputs, math.prod(g.kernel)
    result = np.zeros((channels, g.batch, *g.padded), last.dtype)
    split = np.moveaxis(w.reshape(g.groups, g.outputs, g.inputs, taps), 1, 3)
    # [taps, g, C/g, O/g], so that the share of one tap is a contiguous block below.
    by_tap = np.ascontiguousarray(np.moveaxis(split, 2, 1))
    weights = by_tap.reshape(g.groups, taps * g.inputs, g.outputs)
    for examples, rows in g.chunks(last.itemsize, channels * taps):
        chunk = _rows_of(last, examples, rows, g)
        share = np.matmul(weights, chunk.swapaxes(1, 2))
        shape = (examples.stop - examples.start, rows.stop - rows.start, *g.out[1:])
        blocks = share.reshape(g.groups, taps, g.inputs, *shape)
        for number, tap in enumerate(g.taps()):
            target = result[:, examples, *g.window(tap, rows)]
            target += blocks[:, number].reshape(channels, *shape)
    return result


def _depthwise_forward(padded: Array, w: Array, result: Array, g: Geometry) -> None:
    by_tap = np.moveaxis(w.reshape(g.groups, g.outputs, *g.kernel), (0, 1), (-2, -1))
    by_tap = np.ascontiguousarray(by_tap)  # [*K, g, O/g]
    result[...] = 0
    for examples, rows in g.chunks(padded.itemsize, g.groups * g.outputs * 2):
        target = result[examples, rows]
        product = np.empty_like(target)
        for tap in g.taps():
            source = padded[examples, *g.window(tap, rows)]
            np.multiply(source, by_tap[tap], out=product)
            target += product


def _depthwise_weight_grad(padded: Array, last: Array, g: Geometry) -> Array:
    total = np.zeros((*g.kernel, g.groups, g.outputs), last.dtype)
    for examples, rows in g.chunks(padded.itemsize, g.groups * g.outputs * 2):
        chunk = last[examples, rows]
        product = np.empty_like(chunk)
        ones = np.ones(math.prod(chunk.shape[:-2]), last.dtype)
        flat = product.reshape(len(ones), g.groups * g.outputs)
        for tap in g.taps():
            np.multiply(padded[examples, *g.window(tap, rows)], chunk, out=product)
            total[tap] += (ones @ flat).reshape(g.groups, g.outputs)
    by_channel = np.moveaxis(total, (-2, -1), (0, 1))
    return np.ascontiguousarray(by_channel).reshape(g.groups * g.outputs, 1, *g.kernel)


def _depthwise_input_grad(last: Array, w: Array, result: Array, g: Geometry) -> None:
    by_tap = np.moveaxis(w.reshape(g.groups, g.outputs, *g.kernel), (0, 1), (-2, -1))
    by_tap = np.ascontiguousarray(by_tap)
    for examples, rows in g.chunks(last.itemsize, g.groups * g.outputs * 2):
        chunk = last[examples, rows]
        for tap in g.taps():
            product = chunk * by_tap[tap]
            share = product if g.outputs == 1 else product.sum(-1, keepdims=True)
            target = result[examples, *g.window(tap, rows)]
            target += share


def _inside(g: Geometry) -> Window:
    return tuple(slice(lo, lo + s) for (lo, _), s in zip(g.padding, g.size, strict=True))


def _padded_last(x: Array, g: Geometry) -> Array:
    """Return the padded input as contiguous [N, *S, g, C/g]."""
    last = np.moveaxis(x, 1, -1)
    if any(lo or hi for lo, hi in g.padding):
        padded = np.zeros((g.batch, *g.padded, x.shape[1]), x.dtype)
        padded[:, *_inside(g)] = last
    else:
        padded = np.ascontiguousarray(last)
    return padded.reshape(g.batch, *g.padded, g.groups, g.inputs)


def _channels_last(x: Array, per_group: int) -> Array:
    """Return contiguous [N, *S, g, C/g]."""
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    return last.reshape(*last.shape[:-1], x.shape[1] // max(per_group, 1), per_group)


def _channels_second(last: Array) -> Array:
    """Return [N, C, *S] for [N, *S, g, C/g]: the same memory, another order of axes."""
    merged = last.reshape(*last.shape[:-2], last.shape[-2] * last.shape[-1])
    return np.moveaxis(merged, -1, 1)


def _pixels(x: Array) -> Array:
    """Return [N, positions, C], or [N positions, C] if memory is channels-last."""
    last = np.moveaxis(x, 1, -1)
    positions = math.prod(last.shape[1:-1])
    if last.flags.c_contiguous:
        return last.reshape(last.shape[0] * positions, last.shape[-1])
    return last.reshape(last.shape[0], positions, last.shape[-1])


def _rows_of(last: Array, examples: slice, rows: slice, g: Geometry) -> Array:
    """Return a chunk of contiguous [N, *out, g, O/g] as [g, positions, O/g], a view."""
    chunk = last[examples, rows]
    positions = math.prod(chunk.shape[:-2])
    return chunk.reshape(positions, g.groups, g.outputs).swapaxes(0, 1)
