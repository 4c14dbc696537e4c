"""Merging: whether two kernels that exist become one.

Takes: a group that stores a tensor, and another that reads it. Gives: what the axes of the second
stand for in the first, or None.
The one idea: if every position that the second reads of the first is the one that the same
iteration of the first computes, both can share their loops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chainrule.compiler.joining import ROWS, SMALL, paired
from chainrule.compiler.nodes import Access, Group, Root, extent, moved
from chainrule.ir.definition import Definition
from chainrule.ir.expr import Axis, Index, index_of


@dataclass(frozen=True, slots=True)
class Union:
    """How two groups become one.

    Attributes:
        axes: What the axes of the second stand for in the first.
        rows: Rows of both.
        inner: Inner axes of both.
    """

    axes: dict[Axis, Index]
    rows: list[Axis]
    inner: list[Axis]


def union(group: Group, other: Group) -> Union | None:
    """Return how a group that reads another one becomes part of it, or None.

    Args:
        group: The first.
        other: The second, which reads tensors that the first stores.
    """
    if group.kind != "loops" or other.kind != "loops":
        return None
    shared = [root for root in group.roots if root.node.target in other.reads]
    if any(root.node.target.dtype.is_half for root in shared):
        return None  # it has to be rounded in memory first
    axes: dict[Axis, Index] = {}
    for root in shared:
        for access in other.reads[root.node.target]:
            if not _align(access, positions(root), axes):
                return None
    found = _loops(group, other, axes)
    if found is None:
        return None
    for root in shared:
        mine = positions(root)
        for access in other.reads[root.node.target]:
            if moved(access, found.axes).indices != mine:
                return None
    return found


def positions(root: Root) -> tuple[Index, ...]:
    """Return where a root is stored, in the axes of its group."""
    formula = root.node.formula
    assert isinstance(formula, Definition)
    return tuple(root.axes[axis] for axis in formula.axes)


def _align(access: Access, mine: tuple[Index, ...], axes: dict[Axis, Index]) -> bool:
    """Note what axes stand for if two positions are to be the same; False if they cannot be."""
    if access.guards or access.gathers or access.plain or len(access.indices) != len(mine):
        return False
    for theirs, own in zip(access.indices, mine, strict=True):
        if len(theirs.terms) == 1 and not theirs.offset and theirs.terms[0][1] == 1:
            if axes.setdefault(theirs.terms[0][0], own) != own:
                return False
        elif len(theirs.terms) != len(own.terms) or theirs.offset != own.offset:
            return False
        else:
            for (axis, step), (other, other_step) in zip(
                _by_step(theirs), _by_step(own), strict=True
            ):
                place = index_of(other)
                if step != other_step or axes.setdefault(axis, place) != place:
                    return False
    return True


def _by_step(index: Index) -> list[tuple[Axis, int]]:
    return sorted(index.terms, key=lambda term: term[1])


def _used(axes: Iterable[Axis], known: dict[Axis, Index]) -> set[Axis] | None:
    """Return the axes that others run over exactly, or None."""
    used: set[Axis] = set()
    count = 1
    for axis in axes:
        for term, _ in known[axis].terms:
            if term in used:
                return None
            used.add(term)
        count *= axis.extent
    return used if extent(used) == count else None


def _loops(group: Group, other: Group, axes: dict[Axis, Index]) -> Union | None:
    rows, inner = set(group.rows), set(group.inner)
    known = [axis for axis in (*other.rows, *other.inner) if axis in axes]
    used = _used(known, axes)
    if used is None:
        return None
    free = [axis for axis in (*other.rows, *other.inner) if axis not in axes]
    if free:  # the other one loops over something more within each row
        if free != other.inner or used != rows:
            return None
        if not inner:
            found = {axis: index_of(axis) for axis in free}
            return Union(axes | found, group.rows, list(free))
        pairs = paired(free, group.inner)
        return None if pairs is None else Union(axes | pairs, group.rows, group.inner)
    kept = _used(other.rows, axes)
    if other.inner:
        reduced = _used(other.inner, axes)
        if kept == rows and reduced == inner:
            return Union(axes, group.rows, group.inner)
        if inner or kept is None or reduced is None or kept | reduced != rows:
            return None
        if not worth(group, kept):
            return None
        return Union(
            axes,
            [axis for axis in group.rows if axis in kept],
            [axis for axis in group.rows if axis in reduced],
        )
    if used == rows or used == rows | inner:
        return Union(axes, group.rows, group.inner)
    return None


def worth(group: Group, rows: set[Axis]) -> bool:
    """Return whether a map may be done row by row, where only the rows are independent."""
    if group.size <= SMALL:
        return True
    return group.rows[0] in rows and extent(rows) >= ROWS
