"""Bounds: which positions an index takes, and whether two indices ever meet.

Takes: indices with guards. Gives: ranges and yes or no.
The one idea: what intervals cannot decide is decided by trying all positions, if they are few.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from chainrule.core.dtype import Array
from chainrule.ir.expr import Axis, Index, Within, add, scale
from chainrule.ir.space import Space

Range = tuple[int, int]

# Trying so many positions takes some ten milliseconds.
FEW = 2**20
FEW_PAIRS = 2**16


def reach(index: Index, guards: Sequence[Within] = ()) -> Range:
    """Return bounds of the values of an index where all guards hold.

    The range is empty (high below low) if they never do.
    """
    ranges = _axis_ranges(index, guards)
    if any(low > high for low, high in ranges.values()):
        return 0, -1
    low, high = _span(index, ranges)
    shown = list(guards)[:4]
    for order in itertools.permutations(shown):
        other = _in_terms_of(index, order, ranges)
        low, high = max(low, other[0]), min(high, other[1])
    return low, high


def _axis_ranges(index: Index, guards: Sequence[Within]) -> dict[Axis, Range]:
    """Return for each axis which values it takes, as far as guards of that axis alone tell."""
    ranges: dict[Axis, Range] = {}
    for used in (index, *(guard.index for guard in guards)):
        ranges.update({axis: (0, axis.extent - 1) for axis, _ in used.terms})
    for guard, size in guards:
        if len(guard.terms) == 1:
            axis, factor = guard.terms[0]
            ends = sorted((-guard.offset / factor, (size - 1 - guard.offset) / factor))
            low, high = ranges[axis]
            ranges[axis] = max(low, math.ceil(ends[0])), min(high, math.floor(ends[1]))
        elif not guard.terms and not 0 <= guard.offset < size:
            return {Axis("never", 0): (0, -1)}
    return ranges


def _span(index: Index, ranges: Mapping[Axis, Range]) -> Range:
    low = high = index.offset
    for axis, factor in index.terms:
        ends = sorted((factor * ranges[axis][0], factor * ranges[axis][1]))
        low, high = low + ends[0], high + ends[1]
    return low, high


def _in_terms_of(index: Index, guards: Sequence[Within], ranges: Mapping[Axis, Range]) -> Range:
    """Return bounds from writing an index as a sum of multiples of guarded ones, and a rest."""
    low = high = 0
    for guard, size in guards:
        factors = dict(index.terms)
        if not guard.terms or any(factors.get(a, 0) % c for a, c in guard.terms):
            continue
        axis, coefficient = guard.terms[0]
        factor = factors.get(axis, 0) // coefficient
        rest = add(index, scale(guard, -factor))
        if factor and len(rest.terms) + len(guard.terms) == len(index.terms):
            least, most = _span(guard, ranges)
            ends = sorted((factor * max(least, 0), factor * min(most, size - 1)))
            low, high, index = low + ends[0], high + ends[1], rest
    own = _span(index, ranges)
    return low + own[0], high + own[1]


def stays_inside(index: Index, guards: Sequence[Within], size: int) -> bool:
    """Return whether an index is in ``[0, size)`` wherever all guards hold."""
    low, high = reach(index, guards)
    if low > high or (low >= 0 and high < size):
        return True
    axes = _axes(index, guards)
    if math.prod(axis.extent for axis in axes) > FEW:
        return False
    space = _everywhere(axes)
    values = space.full(space.position(index))[space.full(space.inside(guards))]
    return bool(np.all((values >= 0) & (values < size)))


def meet(
    first: tuple[Index, Sequence[Within]],
    second: tuple[Index, Sequence[Within]],
    apart: Sequence[Axis],
    shared: Sequence[Axis] = (),
) -> bool | None:
    """Return whether two accesses in different iterations touch one element; None: not known.

    Args:
        first: Index and guards of one access.
        second: Of the other.
        apart: Axes whose iterations run side by side; two iterations differ in one of them.
        shared: Axes around those, which have one value in both.
    """
    apart = [axis for axis in apart if axis.extent > 1]
    if not apart or any(axis.extent == 0 for axis in (*apart, *shared)):
        return False
    fixed = [*apart, *shared]
    one, two = dict(first[0].terms), dict(second[0].terms)
    if all(one.get(a, 0) == two.get(a, 0) for a in fixed):
        factors = [abs(one.get(axis, 0)) for axis in apart]
        rests = [_without(index, fixed) for index, _ in (first, second)]
        if _digits_differ(factors, apart, rests[0], rests[1]):
            return False
        ranges = [reach(r, g) for r, (_, g) in zip(rests, (first, second), strict=True)]
        if _steps_differ(factors, apart, ranges):
            return False
    everything = [_axes(*access, *fixed) for access in (first, second)]
    if any(math.prod(axis.extent for axis in axes) > FEW_PAIRS for axes in everything):
        return None
    owners, visitors = (
        _visits(access, axes, apart, shared)
        for access, axes in zip((first, second), everything, strict=True)
    )
    return _clash(owners, visitors)


def _without(index: Index, axes: Sequence[Axis]) -> Index:
    return Index(tuple((a, c) for a, c in index.terms if a not in axes), index.offset)


def _digits_differ(
    factors: Sequence[int], apart: Sequence[Axis], first: Index, second: Index
) -> bool:
    """Return whether axes are like digits: equal sums need equal digits from the highest down.

    Args:
        factors: Of the axes whose iterations are apart.
        apart: Those axes.
        first: What else one access adds.
        second: What else the other one adds.
    """
    most: dict[int, list[int]] = {}
    for side, rest in enumerate((first, second)):
        for axis, factor in rest.terms:
            most.setdefault(factor, [0, 0])[side] += axis.extent - 1
    digits = [(abs(factor), max(reached), False) for factor, reached in most.items()]
    digits += [(f, axis.extent - 1, True) for f, axis in zip(factors, apart, strict=True)]
    width, seen = abs(first.offset - second.offset), False
    for factor, extent, is_apart in sorted(digits):
        if factor <= width and (is_apart or seen):
            return False
        width += factor * extent
        seen = seen or is_apart
    return True


def _steps_differ(factors: Sequence[int], apart: Sequence[Axis], ranges: Sequence[Range]) -> bool:
    """Return whether iterations visibly address disjoint ranges."""
    width = max(high for _, high in ranges) - min(low for low, _ in ranges)
    for factor, axis in sorted(zip(factors, apart, strict=True), key=lambda pair: pair[0]):
        if factor <= width:
            return False
        width += factor * (axis.extent - 1)
    return True


def _visits(
    access: tuple[Index, Sequence[Within]],
    axes: Sequence[Axis],
    apart: Sequence[Axis],
    shared: Sequence[Axis],
) -> tuple[Array, Array]:
    """Return all elements, as numbers that differ between outer iterations, and who visits."""
    space = _everywhere(axes)
    index, guards = access
    numbers = []
    for group in (apart, shared):
        number = np.asarray(0, np.int64)
        for axis in group:
            number = number * axis.extent + space.axes[axis]
        numbers.append(number)
    # No two outer iterations get one number: positions lie within 2^31 of 0.
    place = numbers[1] * 2**32 + space.position(index)
    chosen = space.full(space.inside(guards))
    return space.full(place)[chosen], space.full(numbers[0])[chosen]


def _clash(owners: tuple[Array, Array], visitors: tuple[Array, Array]) -> bool:
    """Return whether an element has an owner, and a visitor from another iteration."""
    places, where = np.unique(owners[0], return_inverse=True)
    least = np.full(places.size, np.iinfo(np.int64).max)
    most = np.full(places.size, -1, np.int64)
    np.minimum.at(least, where, owners[1])
    np.maximum.at(most, where, owners[1])
    if not places.size:
        return False
    found = np.searchsorted(places, visitors[0]).clip(0, places.size - 1)
    owned = places[found] == visitors[0]
    other = (least[found] != visitors[1]) | (most[found] != visitors[1])
    return bool(np.any(owned & other))


def _axes(index: Index, guards: Sequence[Within], *others: Axis) -> list[Axis]:
    used = [axis for i in (index, *(g.index for g in guards)) for axis, _ in i.terms]
    return list(dict.fromkeys((*used, *others)))


def _everywhere(axes: Sequence[Axis]) -> Space:
    space = Space({})
    for axis in axes:
        space = space.along(axis, range(axis.extent))
    return space
