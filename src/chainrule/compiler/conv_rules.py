"""Convolutions that are better something else: with one window, few channels, or depthwise.

Takes: an instruction and what made its inputs. Gives: another op of the same result, or None.
The one idea: with one window there is nothing to slide, with one channel no vector of channels
to compute at once, and channels by themselves have nothing to multiply but their own kernel.
Results are equal up to the order of sums.
"""

from __future__ import annotations

import math
from typing import Any

from chainrule.compiler.program import Instruction, Value
from chainrule.compiler.rewriting import Made, Rewriter, Rule, made
from chainrule.core.shape import Shape

Answer = Value | Made | None

# With up to so many channels the product of all windows is made and added up afterwards. A vector
# holds eight; a convolution with three channels is as fast either way.
_FEW = 2
# So many numbers a window at most: each is written once and read once more than needed.
_SMALL_WINDOW = 64


def _fills(size: Shape, kernel: Shape, attrs: dict[str, Any]) -> bool:
    """Return whether one window covers the whole input, element on element."""
    bare = not any(map(any, attrs["padding"])) and max(attrs["dilation"], default=1) == 1
    return bare and attrs["groups"] == 1 and size == kernel


def one_window_to_input(at: Instruction, program: Rewriter) -> Answer:
    """The transpose of a convolution with one window is a product: [N, O] by [O, C K]."""
    g, w = at.inputs
    if not _fills(at.attrs["size"], w.spec.shape[2:], at.attrs):
        return None
    batch, outputs = g.spec.shape[:2]
    rows = program.new("reshape", g, shape=(batch, outputs))
    matrix = program.new("reshape", w, shape=(outputs, math.prod(w.spec.shape[1:])))
    return made("reshape", program.new("matmul", rows, matrix), shape=at.output.spec.shape)


def one_window_to_weights(at: Instruction, program: Rewriter) -> Answer:
    """The weights' derivative of a convolution with one window is a product: [O, N] by [N, C K]."""
    x, g = at.inputs
    if not _fills(x.spec.shape[2:], at.attrs["kernel"], at.attrs):
        return None
    batch, outputs = g.spec.shape[:2]
    rows = program.new("permute", program.new("reshape", g, shape=(batch, outputs)), axes=(1, 0))
    matrix = program.new("reshape", x, shape=(batch, math.prod(x.spec.shape[1:])))
    return made("reshape", program.new("matmul", rows, matrix), shape=at.output.spec.shape)


def few_channels_to_input(at: Instruction, program: Rewriter) -> Answer:
    """With few channels: all windows by one product, [N P, O] by [O, C K], then added up."""
    g, w = at.inputs
    attrs = at.attrs
    outputs, channels, *kernel = w.spec.shape
    window = channels * math.prod(kernel)
    wanted = channels <= _FEW < outputs and window <= _SMALL_WINDOW
    if not wanted or attrs["groups"] != 1 or 0 in (*g.spec.shape, *at.output.spec.shape):
        return None
    batch, out = g.spec.shape[0], g.spec.shape[2:]
    axes = len(kernel)
    last = program.new("permute", g, axes=(0, *range(2, 2 + axes), 1))
    rows = program.new("reshape", last, shape=(batch * math.prod(out), outputs))
    matrix = program.new("reshape", w, shape=(outputs, window))
    product = program.new("matmul", rows, matrix)
    split = program.new("reshape", product, shape=(batch, *out, channels, *kernel))
    order = (0, 1 + axes, *range(1, 1 + axes), *range(2 + axes, 2 + 2 * axes))
    windows = program.new("permute", split, axes=order)
    kept = {name: attrs[name] for name in ("size", "stride", "padding", "dilation")}
    return made("overlap_add", windows, **kept)


def _is_depthwise(w: Shape, groups: int) -> bool:
    return groups == w[0] > 1 and w[1] == 1


def depthwise_to_input(at: Instruction, program: Rewriter) -> Answer:
    """Without stride the transpose of a depthwise convolution is one with mirrored kernels."""
    g, w = at.inputs
    attrs = at.attrs
    if not _is_depthwise(w.spec.shape, attrs["groups"]) or max(attrs["stride"]) > 1:
        return None
    sides = zip(w.spec.shape[2:], attrs["dilation"], attrs["padding"], strict=True)
    padding = tuple((d * (k - 1) - lo, d * (k - 1) - hi) for k, d, (lo, hi) in sides)
    if min(map(min, padding)) < 0:
        return None
    mirrored = program.new("flip", w, axes=tuple(range(2, len(w.spec.shape))))
    kept = {name: attrs[name] for name in ("stride", "dilation", "groups")}
    return made("conv", g, mirrored, padding=padding, **kept)


RULES: dict[str, tuple[Rule, ...]] = {
    "conv_input_grad": (one_window_to_input, few_channels_to_input, depthwise_to_input),
    "conv_weight_grad": (one_window_to_weights,),
}
