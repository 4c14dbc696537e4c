"""Margins: the zeros around an image that a convolution slides over.

Takes: a copy with margins whose inside another kernel writes. Gives: the kernel that writes the
margins.
The one idea: the image is computed in its place in the padded memory, so padding copies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.compiler.assemble import Place
from chainrule.compiler.nodes import Node, extent, size_of
from chainrule.ir.expr import Axis, Index, Ref, add, const
from chainrule.ir.kernel import Kernel, Loop, Statement, Store

# Elements in a chunk, the unit of parallel work.
CHUNK = 24_576


def margin(node: Node, starts: Sequence[int], places: dict[Ref, Place]) -> Kernel:
    """Return the kernel that writes zeros around what lies inside of a copy.

    Args:
        node: The copy.
        starts: Where it begins along each axis of what is copied: 0, or less for a margin.
        places: Where tensors lie.
    """
    target, source = node.target, node.loads[0].source
    assert isinstance(source, Ref)
    place = places[target]
    order = sorted(range(len(starts)), key=lambda n: -place.strides[n])
    inside = [(-start, size - start) for start, size in zip(starts, source.shape, strict=True)]
    wide = [n for n in order if target.shape[n] != source.shape[n]]
    outer = {n: Axis(f"g{n}", target.shape[n]) for n in order[: order.index(wide[0])]}
    zero = const(0, target.dtype)
    body: list[Statement] = []
    spans = [(0, size) for size in target.shape]
    for n in wide:
        for span in ((0, inside[n][0]), (inside[n][1], target.shape[n])):
            if span[0] < span[1]:
                axes = [(m, span if m == n else spans[m]) for m in order if m not in outer]
                index, loops = _slab(place, outer, axes)
                body.append(_nest(Store(place.buffer, index, zero), loops))
        spans[n] = inside[n]  # slabs of further axes lie between those of this one
    count = extent(outer.values())
    chunks = max(1, min(count, (size_of(target) - size_of(source)) // CHUNK))
    grid = tuple(axis for axis in outer.values() if axis.extent != 1)
    written = frozenset((place.buffer,))
    return Kernel("margin", (place.buffer,), grid, -(-count // chunks), tuple(body), (), written)


def _slab(
    place: Place, outer: dict[int, Axis], axes: Sequence[tuple[int, tuple[int, int]]]
) -> tuple[Index, list[Axis]]:
    """Return the position of an element of a slab, and the axes it runs over, innermost first.

    Args:
        place: Where the tensor lies.
        outer: Axes of the grid, by dimension.
        axes: Other dimensions from far to near in memory, with the positions that are covered.
    """
    index = add(
        place.offset, *(Index(((a, place.strides[n]),)) for n, a in outer.items() if a.extent != 1)
    )
    loops: list[tuple[Axis, int]] = []
    for n, (first, last) in reversed(axes):
        step, size = place.strides[n], last - first
        index = add(index, first * step)
        if loops and step == loops[-1][1] * loops[-1][0].extent:  # they are one behind the other
            before, step = loops.pop()
            size *= before.extent
        if size != 1:
            loops.append((Axis(f"m{n}", size), step))
    return add(index, *(Index(((a, step),)) for a, step in loops)), [a for a, _ in loops]


def _nest(store: Store, loops: Sequence[Axis]) -> Statement:
    result: Statement = store
    for number, axis in enumerate(loops):
        result = Loop(axis, (result,), vector=number == 0)
    return result
