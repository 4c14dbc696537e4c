"""Formulas of convolution and of its two derivatives.

Takes: tensors [N, C, *S] and [O, C/g, *K]. Gives: formulas, one of them a contraction.
The one idea: a contraction reads its two factors at affine positions without conditions, so
padding is a copy made before it, and what lies between strides (`phases`) is sorted out after it.

Zeros of the padding are multiplied as all elements are: where a weight is not finite, the input's
derivative is NaN in reach of its edges.
"""

from __future__ import annotations

from chainrule.core.shape import Shape
from chainrule.ir.definition import (
    Definition,
    Formulas,
    compute,
    read,
    read_padded,
    reduction,
    reshaped,
)
from chainrule.ir.expr import (
    Axis,
    Expr,
    Load,
    Ref,
    Within,
    add,
    call,
    extremes,
    index_of,
    scale,
)
from chainrule.ops.phases import Phases, flat_shape, merged, phases_of, split
from chainrule.ops.window_formulas import Frame, padded_copy


def convolution(x: Ref, w: Ref, frame: Frame, groups: int) -> Formulas:
    """Return formulas of the convolution, [N, O, *out]."""
    outputs, inputs, *_ = w.shape
    before, wide = padded_copy(x, frame.padding)
    plain = frame._replace(padding=((0, 0),) * len(frame.kernel))
    out = frame.out(x.shape[2:])

    def body(at: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Expr:
        group, channel = at[1:3] if groups > 1 else (Axis("g", 1), at[1])
        places = plain.places(at[-len(out) :], inner[1:])
        left = read(wide, at[0], add(scale(group, inputs), inner[0]), *places)
        return call(
            "multiply", left, read(w, add(scale(group, outputs // groups), channel), *inner)
        )

    channels = (groups, outputs // groups) if groups > 1 else (outputs,)
    shape = (x.shape[0], *channels, *out)
    made = reduction("add", x.dtype, shape, (inputs, *frame.kernel), body)
    return *before, *_joined(made, groups, (x.shape[0], outputs, *out))


def weight_gradient(x: Ref, g: Ref, frame: Frame, groups: int) -> Formulas:
    """Return formulas of the derivative to the weights, [O, C/g, *kernel]."""
    outputs, inputs = g.shape[1], x.shape[1] // groups
    before, wide = padded_copy(x, frame.padding)
    plain = frame._replace(padding=((0, 0),) * len(frame.kernel))

    def body(at: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Expr:
        group, output, channel = at[:3] if groups > 1 else (Axis("g", 1), *at[:2])
        taps = at[-len(frame.kernel) :]
        left = read(g, inner[0], add(scale(group, outputs // groups), output), *inner[1:])
        places = plain.places(inner[1:], taps)
        right = read(wide, inner[0], add(scale(group, inputs), channel), *places)
        return call("multiply", left, right)

    channels = (groups, outputs // groups) if groups > 1 else (outputs,)
    shape = (*channels, inputs, *frame.kernel)
    made = reduction("add", x.dtype, shape, (g.shape[0], *g.shape[2:]), body)
    return *before, *_joined(made, groups, (outputs, inputs, *frame.kernel))


def _joined(made: Definition, groups: int, shape: Shape) -> Formulas:
    """Return formulas of a contraction with the axis of groups merged into the next one."""
    return (made,) if groups == 1 else (made, reshaped(made.target, shape))


def input_gradient(g: Ref, w: Ref, size: Shape, frame: Frame, groups: int) -> Formulas:
    """Return formulas of the derivative to the input, [N, C, *size]."""
    phases = phases_of(size, *frame, g.shape[2:])
    if phases is None:
        before, spread = _spread(g, frame.stride)
        apart = frame._replace(stride=(1,) * len(size))
        return *before, *input_gradient(spread, w, size, apart, groups)
    batch, (outputs, inputs, *_) = g.shape[0], w.shape
    before_g, wide, starts = _reachable(g, phases)
    before_w, weights = _whole_strides(w, phases)

    def body(at: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Expr:
        group, channel = at[1:3] if groups > 1 else (Axis("g", 1), at[1])
        spatial = split(at[3 if groups > 1 else 2 :], phases)
        parts = list(zip(phases, spatial, inner[1:], strict=True))
        output = add(scale(group, outputs // groups), inner[0])
        windows = (add(p.window(a, t), s) for (p, a, t), s in zip(parts, starts, strict=True))
        taps = (p.element(a, t) for p, a, t in parts)
        left = read(wide, at[0], output, *windows)
        return call("multiply", left, read(weights, output, channel, *taps))

    channels = (groups, inputs) if groups > 1 else (inputs,)
    shape = (batch, *channels, *(n for p in phases for n in _covered(p)))
    reduced = (outputs // groups, *(p.taps for p in phases))
    made = reduction("add", g.dtype, shape, reduced, body)
    formulas = (*before_g, *before_w, made)
    lead = (batch, groups * inputs)
    if all(p.stride == 1 for p in phases):
        return *formulas[:-1], *_joined(made, groups, (*lead, *size))
    full = (batch, *channels, *flat_shape(phases))
    if shape != full:  # phases that no kernel element reaches
        made = _padded_to(full, made.target)
        formulas = (*formulas, made)
    return *formulas, merged(made.target, lead, phases)


def _padded_to(shape: Shape, x: Ref) -> Definition:
    return compute(shape, x.dtype, lambda *at: read_padded(x, *at), "phases")


def _covered(phase: Phases) -> Shape:
    """Return the sizes of the axes of the positions that a kernel element may reach."""
    if phase.stride == 1:
        return phase.shape
    return phase.shape[0], min(phase.stride, phase.kernel)


def _reachable(g: Ref, phases: list[Phases]) -> tuple[Formulas, Ref, list[int]]:
    """Return the gradient with zeros for windows that do not exist, and where it starts."""
    padding = []
    for phase in phases:
        at = [Axis("q", n) for n in phase.shape]
        low, high = extremes(phase.window(at, Axis("t", phase.taps)))
        padding.append((max(0, -low), max(0, high - phase.out + 1)))
    before, wide = padded_copy(g, tuple(padding))
    return before, wide, [low for low, _ in padding]


def _whole_strides(w: Ref, phases: list[Phases]) -> tuple[Formulas, Ref]:
    """Return the weights with zeros up to a whole number of strides."""
    extra = [max(0, p.taps * p.stride - p.kernel) if p.kernel > p.stride else 0 for p in phases]
    return padded_copy(w, tuple((0, n) for n in extra))


def _spread(g: Ref, stride: Shape) -> tuple[Formulas, Ref]:
    """Return the gradient with zeros between its elements, ``stride`` apart."""
    apart = (n for size, s in zip(g.shape[2:], stride, strict=True) for n in (size, s))

    def body(*at: Axis) -> Expr:
        bounds = tuple(Within(index_of(r), 1) for r in at[3::2] if r.extent > 1)
        return Load(g, tuple(map(index_of, (*at[:2], *at[2::2]))), bounds)

    made = compute((*g.shape[:2], *apart), g.dtype, body, "apart")
    shape = (*g.shape[:2], *(n * s for n, s in zip(g.shape[2:], stride, strict=True)))
    joined = reshaped(made.target, shape)
    return (made, joined), joined.target
