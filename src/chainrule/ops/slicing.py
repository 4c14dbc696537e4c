"""Slicing: every n-th element between two places, along each axis.

Takes: a tensor and for each axis a range. Gives: those elements, or a tensor with them replaced.
The one idea: a range is (start, count, step) with every index inside the axis; so forward and
backward steps are one case, and the derivative writes through the range that the value read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.shape import Shape, Spec, expect
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, register
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ir.definition import Formulas, Scatter, axes_of, compute, filled, read
from chainrule.ir.expr import (
    Axis,
    Expr,
    Index,
    Inside,
    Load,
    Ref,
    Within,
    add,
    needed,
    scale,
    where,
)

Range = tuple[int, int, int]  # first index, number of indices, distance between them
Ranges = tuple[Range, ...]


def _check(op: str, spec: Spec, ranges: Ranges) -> Shape:
    """Return the shape that ranges select from a tensor."""
    expect(
        len(ranges) == len(spec.shape),
        "{}: {} ranges for the {} axes of {}",
        *(op, len(ranges), len(spec.shape), spec),
    )
    for axis, (size, (start, count, step)) in enumerate(zip(spec.shape, ranges, strict=True)):
        last = start + (count - 1) * step
        expect(
            step != 0 and count >= 0 and (count == 0 or (0 <= start < size and 0 <= last < size)),
            "{}: range (start {}, count {}, step {}) leaves axis {} of {}",
            *(op, start, count, step, axis, spec),
        )
    return tuple(count for _, count, _ in ranges)


def _key(ranges: Ranges) -> tuple[slice, ...]:
    """Return ranges as Python slices."""
    key = []
    for start, count, step in ranges:
        stop = start + count * step
        # A stop of -1 would count from the end; None is the place before the first element.
        key.append(slice(start, None if stop < 0 else stop, step) if count else slice(0, 0))
    return tuple(key)


def _places(axes: Sequence[Axis], ranges: Ranges) -> tuple[Index, ...]:
    """Return where the elements of a slice stand in the whole tensor."""
    return tuple(
        add(scale(a, step), start) for a, (start, _, step) in zip(axes, ranges, strict=True)
    )


def _is_block(ranges: Ranges) -> bool:
    """Return whether neighbours in a slice are neighbours in the tensor, too."""
    return all(abs(step) == 1 or count < 2 for _, count, step in ranges)


def _from_block(source: Ref, axes: Sequence[Axis], ranges: Ranges) -> Load:
    """Return the slice's element that stands at a place of the whole tensor, 0 outside of it."""
    bounds = []
    for axis, (start, count, step) in zip(axes, ranges, strict=True):
        back = add(axis, -start)
        bounds.append(Within(scale(back, -1) if step < 0 else back, count))
    return Load(source, tuple(b.index for b in bounds), needed(bounds))


def _put(initial: Ref, source: Ref, ranges: Ranges) -> Scatter:
    axes = axes_of(source.shape)
    target = Ref("out", initial.shape, initial.dtype)
    none = (None,) * len(axes)
    return Scatter(target, initial, axes, _places(axes, ranges), none, read(source, *axes))


@register
class Slice(Op):
    """Every step-th element from a start, along each axis."""

    name = "slice"
    onnx = "Slice"
    flops_per_element = 0

    def infer(self, x: Spec, *, ranges: Ranges) -> Spec:
        return Spec(_check(self.name, x, ranges), x.dtype)

    def eval(self, x: Array, *, ranges: Ranges) -> Array:
        return x[_key(ranges)]

    def lower(self, x: Ref, *, ranges: Ranges) -> Formulas | None:
        shape = tuple(count for _, count, _ in ranges)
        return (compute(shape, x.dtype, lambda *at: read(x, *_places(at, ranges))),)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, ranges: Ranges) -> tuple[Tensor]:
        return (apply(_UNSLICE, grad, shape=x.shape, ranges=ranges),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((3, 4), ranges=((1, 2, 1), (0, 2, 2))),
            sample((5,), ranges=((4, 3, -2),)),
            sample((2, 3, 4), ranges=((1, 2, -1), (0, 3, 1), (3, 4, -1))),
            sample((), ranges=()),
            sample((4, 2), ranges=((0, 0, 1), (0, 2, 1))),
        ]


@register
class Unslice(Op):
    """A tensor of zeros with given elements at the places of a slice."""

    name = "unslice"
    flops_per_element = 0

    def infer(self, x: Spec, *, shape: Shape, ranges: Ranges) -> Spec:
        whole = Spec(shape, x.dtype)
        selected = _check(self.name, whole, ranges)
        expect(selected == x.shape, "unslice: {} for a slice of shape {}", x, list(selected))
        return whole

    def eval(self, x: Array, *, shape: Shape, ranges: Ranges) -> Array:
        result = np.zeros(shape, dtype=x.dtype)
        result[_key(ranges)] = x
        return result

    def lower(self, x: Ref, *, shape: Shape, ranges: Ranges) -> Formulas | None:
        if _is_block(ranges):
            return (compute(shape, x.dtype, lambda *at: _from_block(x, at, ranges)),)
        zeros = filled(shape, 0, x.dtype, "zeros")
        return zeros, _put(zeros.target, x, ranges)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, *, shape: Shape, ranges: Ranges
    ) -> tuple[Tensor]:
        return (apply(_SLICE, grad, ranges=ranges),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((2, 2), shape=(3, 4), ranges=((1, 2, 1), (0, 2, 2))),
            sample((3,), shape=(5,), ranges=((4, 3, -2),)),
            sample((), shape=(), ranges=()),
            sample((0, 2), shape=(4, 2), ranges=((0, 0, 1), (0, 2, 1))),
        ]


@register
class SliceScatter(Op):
    """The first tensor with the elements of a slice replaced by the second one's."""

    name = "slice_scatter"
    flops_per_element = 0

    def infer(self, x: Spec, source: Spec, *, ranges: Ranges) -> Spec:
        selected = _check(self.name, x, ranges)
        expect(
            selected == source.shape,
            "slice_scatter: {} for a slice of shape {} of {}",
            *(source, list(selected), x),
        )
        return x

    def eval(self, x: Array, source: Array, *, ranges: Ranges) -> Array:
        result = x.copy()
        result[_key(ranges)] = source
        return result

    def lower(self, x: Ref, source: Ref, *, ranges: Ranges) -> Formulas | None:
        if not _is_block(ranges):
            return (_put(x, source, ranges),)

        def body(*at: Axis) -> Expr:
            load = _from_block(source, at, ranges)
            return where(Inside(load.guards), load, read(x, *at)) if load.guards else load

        return (compute(x.shape, x.dtype, body),)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, source: Tensor, *, ranges: Ranges
    ) -> tuple[Tensor, Tensor]:
        nothing = call("zeros", source.shape, dtype=grad.dtype)
        kept = apply(_SLICE_SCATTER, grad, nothing, ranges=ranges)
        return kept, apply(_SLICE, grad, ranges=ranges)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((3, 4), (2, 2), ranges=((1, 2, 1), (0, 2, 2))),
            sample((5,), (3,), ranges=((4, 3, -2),)),
            sample((), (), ranges=()),
            sample((2, 3), (2, 0), ranges=((0, 2, 1), (1, 0, 1))),
        ]


_SLICE, _UNSLICE, _SLICE_SCATTER = Slice(), Unslice(), SliceScatter()


def take_ranges(x: Tensor, ranges: Ranges) -> Tensor:
    """Return the elements in the ranges, one range for each axis."""
    return apply(_SLICE, x, ranges=ranges)


def put_ranges(x: Tensor, source: Tensor, ranges: Ranges) -> Tensor:
    """Return x with the elements in the ranges replaced by the source's."""
    return apply(_SLICE_SCATTER, x, source, ranges=ranges)


def cut(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Return the elements from start to stop (exclusive) along one axis."""
    ranges = [(0, size, 1) for size in x.shape]
    ranges[axis] = (start, stop - start, 1)
    return apply(_SLICE, x, ranges=tuple(ranges))
