"""Convolution over 1, 2 or 3 spatial axes: the operation and its two derivatives.

Takes: inputs [N, C, *S], weights [O, C/g, *K]. Gives: [N, O, *out].
The one idea: y = w * x is linear in x and in w, so three primitives (the product, its transpose
to the input, its transpose to the weights) are each other's derivatives, to any order.

    y[n, o, p] = sum over c, k of  w[o, c, k]  x[n, c, p stride + k dilation - padding]

As everywhere in deep learning the kernel is not mirrored (a cross-correlation). Dumoulin &
Visin 2016, "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from chainrule.core.dtype import Array
from chainrule.core.errors import ShapeError
from chainrule.core.shape import Shape, Spec, expect
from chainrule.graph.op import INPUTS, Cost, Op, register
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ir.definition import Formulas
from chainrule.ir.expr import Ref
from chainrule.ops.columns import Geometry, forward, input_grad, weight_grad
from chainrule.ops.conv_formulas import convolution, input_gradient, weight_gradient
from chainrule.ops.spatial import Pairs, windows_along
from chainrule.ops.window_formulas import Frame

_AXES = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
_CHANNELS_FIRST = {1: "0, 2, 1", 2: "0, 3, 1, 2", 3: "0, 4, 1, 2, 3"}


def _samples() -> list[Sample]:
    """Return samples of every feature, few elements each."""
    one = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    two: dict[str, Any] = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    two["groups"] = 1
    three = {"stride": (1, 2, 1), "padding": ((0, 1), (0, 0), (1, 0)), "dilation": (1, 1, 1)}
    same = ((1, 1), (1, 1))
    return [
        sample((2, 1, 5), (2, 1, 3), name="1d", **one),
        sample((1, 2, 6), (2, 2, 2), name="1d spread", **one | {"stride": (2,), "dilation": (2,)}),
        sample((1, 1, 4, 4), (2, 1, 3, 3), name="2d", **two),
        sample((1, 3, 3, 2), (2, 3, 3, 3), name="2d same", **two | {"padding": same}),
        sample((2, 2, 3, 2), (3, 2, 1, 1), name="pointwise", **two),
        sample((1, 2, 5, 4), (1, 2, 2, 3), name="stride", **two | {"stride": (2, 1)}),
        sample((1, 1, 5, 6), (1, 1, 2, 2), name="dilation", **two | {"dilation": (3, 2)}),
        sample((1, 4, 2, 3), (4, 2, 2, 2), name="groups", **two | {"groups": 2}),
        sample((1, 3, 3, 3), (3, 1, 2, 2), name="depthwise", **two | {"groups": 3}),
        sample((1, 2, 3, 3), (4, 1, 2, 2), name="multiplied", **two | {"groups": 2}),
        sample((1, 2, 3, 3), (2, 2, 2, 2), name="one side", **two | {"padding": ((0, 1), (2, 0))}),
        sample((1, 1, 2, 4, 2), (2, 1, 2, 2, 2), name="3d", **three | {"groups": 1}),
        sample((0, 2, 3, 3), (2, 2, 2, 2), name="no examples", **two),
    ]


@register
class Conv(Op):
    """The convolution of x [N, C, *S] with w [O, C/g, *K]."""

    name = "conv"
    onnx = "Conv"
    saves = INPUTS

    def infer(
        self, x: Spec, w: Spec, *, stride: Shape, padding: Pairs, dilation: Shape, groups: int
    ) -> Spec:
        name = f"conv{len(w.shape) - 2}d"
        _check_channels(name, x, w, groups)
        out = windows_along(x.shape[2:], w.shape[2:], stride, padding, dilation)
        if min(out) < 1:
            raise _kernel_error(name, x, w, padding, dilation)
        return Spec((x.shape[0], w.shape[0], *out), x.dtype)

    def eval(
        self, x: Array, w: Array, *, stride: Shape, padding: Pairs, dilation: Shape, groups: int
    ) -> Array:
        size = x.shape[2:]
        return forward(
            x, w, _geometry(x.shape[0], size, w.shape, stride, padding, dilation, groups)
        )

    def lower(
        self, x: Ref, w: Ref, *, stride: Shape, padding: Pairs, dilation: Shape, groups: int
    ) -> Formulas | None:
        frame = Frame(w.shape[2:], stride, padding, dilation)
        return convolution(x, w, frame, groups)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        w: Tensor,
        *,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        to_x = to_w = None
        if x.node is not None:  # the first layer's input needs no gradient
            to_x = conv_input_grad(grad, w, x.shape[2:], stride, padding, dilation, groups)
        if w.node is not None:
            to_w = conv_weight_grad(x, grad, w.shape[2:], stride, padding, dilation, groups)
        return to_x, to_w

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        return _cost(self.infer(*inputs, **attrs), inputs[1], inputs)

    def samples(self) -> Iterable[Sample]:
        return _samples()


@register
class ConvInputGrad(Op):
    """The transpose of `Conv` to its input: g [N, O, *out] and w [O, C/g, *K] to [N, C, *size]."""

    name = "conv_input_grad"
    onnx = "ConvTranspose"
    saves = INPUTS

    def infer(
        self,
        g: Spec,
        w: Spec,
        *,
        size: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> Spec:
        _expect_axes(self.name, g, w.shape[2:], size)
        out = windows_along(size, w.shape[2:], stride, padding, dilation)
        expect(
            g.shape[1] == w.shape[0] and g.shape[2:] == out,
            "conv_input_grad: {} is not the output of a convolution of size {} with weight {}, "
            "which has the shape [N,{},{}]",
            *(g, list(size), w, w.shape[0], ",".join(map(str, out))),
        )
        return Spec((g.shape[0], w.shape[1] * groups, *size), g.dtype)

    def eval(
        self,
        g: Array,
        w: Array,
        *,
        size: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> Array:
        geometry = _geometry(g.shape[0], size, w.shape, stride, padding, dilation, groups)
        return input_grad(g, w, geometry)

    def lower(
        self,
        g: Ref,
        w: Ref,
        *,
        size: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> Formulas | None:
        frame = Frame(w.shape[2:], stride, padding, dilation)
        return input_gradient(g, w, size, frame, groups)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        g: Tensor,
        w: Tensor,
        *,
        size: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        to_g = to_w = None
        if g.node is not None:
            to_g = conv(grad, w, stride, padding, dilation, groups)
        if w.node is not None:
            to_w = conv_weight_grad(grad, g, w.shape[2:], stride, padding, dilation, groups)
        return to_g, to_w

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        return _cost(inputs[0], inputs[1], (*inputs, self.infer(*inputs, **attrs)))

    def samples(self) -> Iterable[Sample]:
        for s in _samples():
            x, w = (i.shape for i in s.inputs)
            attrs = {key: value for key, value in s.attrs.items() if key != "groups"}
            out = windows_along(x[2:], w[2:], **attrs)
            yield sample((x[0], w[0], *out), w, name=s.name, size=x[2:], **s.attrs)


@register
class ConvWeightGrad(Op):
    """The transpose of `Conv` to its weights: x [N, C, *S], g [N, O, *out] to [O, C/g, *kernel]."""

    name = "conv_weight_grad"
    saves = INPUTS

    def infer(
        self,
        x: Spec,
        g: Spec,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> Spec:
        _expect_axes(self.name, x, kernel, kernel)
        out = windows_along(x.shape[2:], kernel, stride, padding, dilation)
        expect(
            g.shape[0] == x.shape[0] and g.shape[2:] == out,
            "conv_weight_grad: {} is not the output of a convolution of {} with a kernel {}",
            *(g, x, list(kernel)),
        )
        return Spec((g.shape[1], x.shape[1] // groups, *kernel), x.dtype)

    def eval(
        self,
        x: Array,
        g: Array,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> Array:
        shape = (g.shape[1], x.shape[1] // groups, *kernel)
        geometry = _geometry(x.shape[0], x.shape[2:], shape, stride, padding, dilation, groups)
        return weight_grad(x, g, geometry)

    def lower(
        self,
        x: Ref,
        g: Ref,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> Formulas | None:
        frame = Frame(kernel, stride, padding, dilation)
        return weight_gradient(x, g, frame, groups)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        g: Tensor,
        *,
        kernel: Shape,
        stride: Shape,
        padding: Pairs,
        dilation: Shape,
        groups: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        to_x = to_g = None
        if x.node is not None:
            to_x = conv_input_grad(g, grad, x.shape[2:], stride, padding, dilation, groups)
        if g.node is not None:
            to_g = conv(x, grad, stride, padding, dilation, groups)
        return to_x, to_g

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        output = self.infer(*inputs, **attrs)
        return _cost(inputs[1], output, (*inputs, output))

    def samples(self) -> Iterable[Sample]:
        for s in _samples():
            x, w = (i.shape for i in s.inputs)
            attrs = {key: value for key, value in s.attrs.items() if key != "groups"}
            out = windows_along(x[2:], w[2:], **attrs)
            yield sample(x, (x[0], w[0], *out), name=s.name, kernel=w[2:], **s.attrs)


_CONV, _CONV_INPUT_GRAD, _CONV_WEIGHT_GRAD = Conv(), ConvInputGrad(), ConvWeightGrad()


def conv(
    x: Tensor, w: Tensor, stride: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Tensor:
    """Return the convolution; sizes are given for each spatial axis, padding as (before, after)."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return apply(_CONV, x, w, **attrs)


def conv_input_grad(
    g: Tensor,
    w: Tensor,
    size: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
    groups: int,
) -> Tensor:
    """Return the transposed convolution: the gradient to an input of the given spatial size."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return apply(_CONV_INPUT_GRAD, g, w, size=size, **attrs)


def conv_weight_grad(
    x: Tensor,
    g: Tensor,
    kernel: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
    groups: int,
) -> Tensor:
    """Return the gradient to weights of the given spatial size."""
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return apply(_CONV_WEIGHT_GRAD, x, g, kernel=kernel, **attrs)


def _geometry(
    batch: int,
    size: Shape,
    weight: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
    groups: int,
) -> Geometry:
    outputs, inputs, *kernel = weight
    out = windows_along(size, tuple(kernel), stride, padding, dilation)
    return Geometry(
        batch=batch,
        groups=groups,
        inputs=inputs,
        outputs=outputs // groups,
        size=size,
        kernel=tuple(kernel),
        out=out,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


def _cost(output: Spec, weight: Spec, moved: Iterable[Spec]) -> Cost:
    return Cost(
        2 * output.size * math.prod(weight.shape[1:]), sum(s.nbytes for s in moved) + output.nbytes
    )


def _expect_axes(op: str, x: Spec, kernel: Shape, size: Shape) -> None:
    expect(
        len(x.shape) - 2 == len(kernel) == len(size),
        "{}: {} must have the axes [N, C] and {} spatial ones, as many as the kernel {}",
        *(op, x, len(size), list(kernel)),
    )


def _check_channels(name: str, x: Spec, w: Spec, groups: int) -> None:
    spatial = len(w.shape) - 2
    expect(
        len(x.shape) == len(w.shape),
        "{}: input {} must have {} axes ({}) for weight {}",
        *(name, x, len(w.shape), _AXES.get(spatial, "NC..."), w),
        hint="a single image needs a batch axis: x.unsqueeze(0)",
    )
    divides = groups >= 1 and x.shape[1] % groups == 0 == w.shape[0] % groups
    expected = w.shape[1] * groups
    if x.shape[1] != expected:
        raise _channels_error(name, x, w, groups)
    expect(
        divides,
        "{}: groups={} must divide the input's {} channels and the weight's {} outputs "
        "(input {}, weight {})",
        *(name, groups, x.shape[1], w.shape[0], x, w),
    )


def _channels_error(name: str, x: Spec, w: Spec, groups: int) -> ShapeError:
    spatial = len(w.shape) - 2
    expected = w.shape[1] * groups
    rule = f"{name}: input {x} has {x.shape[1]} channels (axis 1), weight {w} expects {expected}"
    if groups != 1:
        rule += f" ({w.shape[1]} x {groups} groups)"
    if groups > 1 and x.shape[1] == w.shape[1]:
        hint = f"weight.shape[1] must be channels / groups = {x.shape[1]} / {groups}"
    elif x.shape[-1] == expected:
        hint = (
            f"input has {expected} channels in the last axis - {_AXES[spatial]} expected: "
            f"x.permute({_CHANNELS_FIRST[spatial]})"
        )
    else:
        hint = f"nn.Conv{spatial}d({x.shape[1]}, {w.shape[0]}, ...)"
    return ShapeError(rule, hint=hint)


def _kernel_error(name: str, x: Spec, w: Spec, padding: Pairs, dilation: Shape) -> ShapeError:
    padded = [s + lo + hi for s, (lo, hi) in zip(x.shape[2:], padding, strict=True)]
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    dilated = f" (dilation {list(dilation)})" if max(dilation) > 1 else ""
    return ShapeError(
        f"{name}: the kernel spans {spans}{dilated} but the padded input only {padded} "
        f"(input {x}, weight {w})",
        hint="a smaller kernel, more padding, or less pooling before this layer",
    )
