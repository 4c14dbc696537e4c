"""Formulas of windows: sums, maxima and elements of moving frames, and their ways back.

Takes: tensors [N, C, *S]. Gives: formulas.
The one idea: a frame is positions that are affine in the place of the frame and in the place
inside of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chainrule.core.dtype import DType, int32, int64, uint8
from chainrule.core.shape import Shape
from chainrule.ir.definition import (
    Definition,
    Formulas,
    axes_of,
    compute,
    read,
    read_padded,
    reduction,
)
from chainrule.ir.expr import (
    Axis,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Ref,
    Within,
    add,
    call,
    cast,
    const,
    needed,
    scale,
    where,
)
from chainrule.ops.elementwise import scalar_function
from chainrule.ops.phases import Phases, flat_shape, merged, phases_of, split
from chainrule.ops.positions import scattered_sum
from chainrule.ops.spatial import Pairs, windows_along

Element = Callable[[Sequence[Axis], Sequence[Within], Sequence[Within]], Expr]


class Frame(NamedTuple):
    """The sizes of a window along each spatial axis."""

    kernel: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape

    def out(self, size: Shape) -> Shape:
        """Return the number of windows along each axis."""
        return windows_along(size, *self)

    def places(self, at: Sequence[Axis], taps: Sequence[Axis]) -> list[Index]:
        """Return where in the input windows have their elements; it may be in the padding."""
        sizes = zip(at, taps, self.stride, self.padding, self.dilation, strict=True)
        return [add(scale(a, s), scale(t, d), -low) for a, t, s, (low, _), d in sizes]

    def number(self, taps: Sequence[Axis | Index]) -> Index:
        """Return the number of an element in its window, row by row."""
        result = Index((), 0)
        for tap, size in zip(taps, self.kernel, strict=True):
            result = add(scale(result, size), tap)
        return result

    def phases(self, size: Shape) -> list[Phases] | None:
        """Return the phases of each axis, if there are any."""
        return phases_of(size, *self, self.out(size))


def padded_copy(x: Ref, padding: Pairs) -> tuple[Formulas, Ref]:
    """Return the formula of a tensor with zeros around its spatial axes, and its result."""
    if not any(low or high for low, high in padding):
        return (), x
    spatial = zip(x.shape[2:], padding, strict=True)
    shape = (*x.shape[:2], *(n + low + high for n, (low, high) in spatial))

    def body(*at: Axis) -> Expr:
        inner = (add(a, -low) for a, (low, _) in zip(at[2:], padding, strict=True))
        return read_padded(x, *at[:2], *inner)

    made = compute(shape, x.dtype, body, "padded")
    return (made,), made.target


def sliding(x: Ref, frame: Frame) -> Formulas:
    """Return the formula of all windows, [N, C, *out, *kernel]."""
    axes = len(frame.kernel)

    def body(*at: Axis) -> Expr:
        return read_padded(x, *at[:2], *frame.places(at[2 : 2 + axes], at[2 + axes :]))

    return (compute((*x.shape[:2], *frame.out(x.shape[2:]), *frame.kernel), x.dtype, body),)


def over_windows(fn: str, x: Ref, frame: Frame, fill: float = 0) -> Definition:
    """Return the definition of a reduction over each window."""

    def body(at: tuple[Axis, ...], taps: tuple[Axis, ...]) -> Expr:
        return read_padded(x, *at[:2], *frame.places(at[2:], taps), fill=fill)

    shape = (*x.shape[:2], *frame.out(x.shape[2:]))
    return reduction(scalar_function(fn, x.dtype), x.dtype, shape, frame.kernel, body)


def overlapping_sum(g: Ref, size: Shape, frame: Frame) -> Formulas:
    """Return formulas of windows [N, C, *out, *kernel] added up where they were read."""
    phases = frame.phases(size)
    lead, axes = g.shape[:2], len(size)
    if phases is None:
        at = axes_of(g.shape)
        places = (*map(add, at[:2]), *frame.places(at[2 : 2 + axes], at[2 + axes :]))
        none = (None,) * len(places)
        return scattered_sum((*lead, *size), g.dtype, at, places, none, read(g, *at))

    def element(lead: Sequence[Axis], windows: Sequence[Within], taps: Sequence[Within]) -> Expr:
        return _guarded(g, lead, (*windows, *taps))

    return _gathered(g, lead, phases, element)


def put_back(g: Ref, index: Ref, size: Shape, frame: Frame) -> Formulas:
    """Return formulas of elements [N, C, *out] put back to given places in their windows."""
    phases = frame.phases(size)
    lead = g.shape[:2]
    if phases is None:
        at = axes_of(g.shape)
        taps = _taps(cast(read(index, *at), int64), frame)
        starts = frame.places(at[2:], [Axis("t", 1) for _ in size])
        dynamic = (None, None, *taps)
        places = (*map(add, at[:2]), *starts)
        return scattered_sum((*lead, *size), g.dtype, at, places, dynamic, read(g, *at))
    kind = int32 if index.dtype is uint8 else int64

    def element(lead: Sequence[Axis], windows: Sequence[Within], taps: Sequence[Within]) -> Expr:
        number = cast(Position(frame.number([t.index for t in taps])), kind)
        given = cast(_guarded(index, lead, windows), kind)
        bounds = needed((*windows, *taps))
        load = Load(g, (*map(add, lead), *(w.index for w in windows)), bounds)
        return where(call("equal", given, number), load, const(0, g.dtype))

    return _gathered(g, lead, phases, element)


def _guarded(x: Ref, lead: Sequence[Axis], bounds: Sequence[Within]) -> Load:
    return Load(x, (*map(add, lead), *(b.index for b in bounds)), needed(bounds))


def _gathered(g: Ref, lead: Shape, phases: list[Phases], element: Element) -> Formulas:
    """Return formulas of the sum, for each input position, over the windows that hold it."""

    def body(at: tuple[Axis, ...], taps: tuple[Axis, ...]) -> Expr:
        parts = list(zip(phases, split(at[2:], phases), taps, strict=True))
        windows = [Within(p.window(a, t), p.out) for p, a, t in parts]
        elements = [Within(p.element(a, t), p.kernel) for p, a, t in parts]
        return element(at[:2], windows, elements)

    shape = (*lead, *flat_shape(phases))
    counts = [p.taps for p in phases]
    if math.prod(counts) == 1:  # windows do not overlap: nothing is added
        single = tuple(Axis("r", 1) for _ in counts)
        made = compute(shape, g.dtype, lambda *at: body(at, single))
    else:
        made = reduction(scalar_function("add", g.dtype), g.dtype, shape, counts, body)
    if all(p.stride == 1 for p in phases):
        return (made,)
    return made, merged(made.target, lead, phases)


def _taps(number: Expr, frame: Frame) -> list[Expr]:
    """Return how far along each axis an element lies from the start of its window."""
    taps: list[Expr] = []
    for axis, (size, distance) in enumerate(zip(frame.kernel, frame.dilation, strict=True)):
        after = math.prod(frame.kernel[axis + 1 :])
        tap = call("floor_divide", number, const(after, int64)) if after > 1 else number
        if axis:
            tap = call("remainder", tap, const(size, int64))
        taps.append(call("multiply", tap, const(distance, int64)) if distance > 1 else tap)
    return taps


def element_of_windows(x: Ref, index: Ref, frame: Frame) -> Formulas:
    """Return formulas of the element of each window at a given place in it."""
    before, wide = padded_copy(x, frame.padding)

    def body(*at: Axis) -> Expr:
        dynamic = (None, None, *_taps(cast(read(index, *at), int64), frame))
        starts = (scale(a, s) for a, s in zip(at[2:], frame.stride, strict=True))
        return read(wide, *at[:2], *starts, dynamic=dynamic)

    return (*before, compute(index.shape, x.dtype, body))


def place_of_maximum(x: Ref, frame: Frame, fill: float, dtype: DType) -> Formulas:
    """Return formulas of the number of each window's maximum: the first one, the last NaN.

    Each element of a window gets a score: K - number if it is the maximum, K + 1 + number if it
    is NaN, else 1, which stands for the last element; the highest score tells the number.
    """
    largest = over_windows("maximum", x, frame, fill)
    count = math.prod(frame.kernel)

    def score(at: tuple[Axis, ...], taps: tuple[Axis, ...]) -> Expr:
        places = (*map(add, at[:2]), *frame.places(at[2:], taps))
        bounds = needed(Within(p, n) for p, n in zip(places, x.shape, strict=True))
        load = Load(x, places, bounds)
        number = cast(Position(frame.number(taps)), int32)
        one = const(1, int32)
        found = call("equal", load, read(largest.target, *at))
        result: Expr = where(found, call("subtract", const(count, int32), number), one)
        if x.dtype.is_floating:
            last = call("add", const(count + 1, int32), number)
            result = where(call("isnan", load), last, result)
        return where(Inside(bounds), result, one) if bounds else result

    shape = largest.target.shape
    best = reduction("maximum", int32, shape, frame.kernel, score, "score")

    def number(*at: Axis) -> Expr:
        value = read(best.target, *at)
        is_nan = call("less", const(count, int32), value)
        from_nan = call("subtract", value, const(count + 1, int32))
        return cast(where(is_nan, from_nan, call("subtract", const(count, int32), value)), dtype)

    return largest, best, compute(shape, dtype, number)
