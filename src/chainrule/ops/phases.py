"""Phases: which windows of a moving frame an input position belongs to, without division.

Takes: the sizes of a window along one axis. Gives: positions that are affine in loop axes.
The one idea: counted with the padding, position q stride + r lies in the windows q - t at the
kernel elements r + t stride; so the phase r gets an axis of its own, and is merged with q by
reading both as one axis in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.core.shape import Shape
from chainrule.ir.definition import Definition, compute, read_flat, row_major
from chainrule.ir.expr import Axis, Expr, Index, Ref, add, scale
from chainrule.ops.spatial import Pairs


@dataclass(frozen=True)
class Phases:
    """One spatial axis; its stride or its dilation must be 1.

    Attributes:
        size: Size of the input.
        before: Padding before it.
        stride: Distance of windows.
        dilation: Distance of neighbouring elements of a window.
        kernel: Size of the window.
        out: Number of windows.
    """

    size: int
    before: int
    stride: int
    dilation: int
    kernel: int
    out: int

    @property
    def shape(self) -> Shape:
        """Sizes of the axes that stand for the input's: one, or two with the phase."""
        if self.stride == 1:
            return (self.size,)
        return ((self.size - 1 + self.before) // self.stride + 1, self.stride)

    @property
    def taps(self) -> int:
        """At most so many windows hold a position."""
        return -(-self.kernel // self.stride)

    def window(self, at: Sequence[Axis], tap: Axis) -> Index:
        """Return which window it is; it may be none of those that there are."""
        if self.stride == 1:
            return add(at[0], self.before, scale(tap, -self.dilation))
        return add(at[0], scale(tap, -1))

    def element(self, at: Sequence[Axis], tap: Axis) -> Index:
        """Return which element of that window it is; it may be none of those that there are."""
        if self.stride == 1:
            return add(tap)
        return add(at[1], scale(tap, self.stride))


def phases_of(
    size: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape, out: Shape
) -> list[Phases] | None:
    """Return the phases of each axis; None where windows are both apart and spread."""
    if any(s > 1 and d > 1 for s, d in zip(stride, dilation, strict=True)):
        return None
    befores = (low for low, _ in padding)
    return [
        Phases(*numbers)
        for numbers in zip(size, befores, stride, dilation, kernel, out, strict=True)
    ]


def flat_shape(phases: Sequence[Phases]) -> Shape:
    """Return the sizes of all axes that stand for the input's."""
    return tuple(size for phase in phases for size in phase.shape)


def split(at: Sequence[Axis], phases: Sequence[Phases]) -> list[Sequence[Axis]]:
    """Return for each spatial axis those that stand for it."""
    parts = []
    start = 0
    for phase in phases:
        parts.append(at[start : start + len(phase.shape)])
        start += len(phase.shape)
    return parts


def merged(source: Ref, lead: Shape, phases: Sequence[Phases]) -> Definition:
    """Return the definition of [*lead, *size] from [*lead, *flat_shape(phases)]."""
    sizes = [p.size if p.stride == 1 else p.shape[0] * p.stride for p in phases]

    def body(*at: Axis) -> Expr:
        spatial = at[len(lead) :]
        places = [
            add(a) if p.stride == 1 else add(a, p.before)
            for a, p in zip(spatial, phases, strict=True)
        ]
        return read_flat(source, row_major((*at[: len(lead)], *places), (*lead, *sizes)))

    return compute((*lead, *(p.size for p in phases)), source.dtype, body)
