"""Joining: whether a kernel that exists can store one more tensor.

Takes: a node and a group that reads it, or that reads what it reads. Gives: what the node's
axes stand for in the group, or None.
The one idea: a group is a set of rows, and loops within each row; a node joins it as an element
of the whole, as a number of each row, or as a reduction of each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.compiler.access import ORIGIN, matched, one_to_one
from chainrule.compiler.nodes import Access, Group, Node, Root, canonical, extent
from chainrule.ir.definition import Definition
from chainrule.ir.expr import Axis, Index, Load, add, index_of, scale

# Iterations up to which a kernel may do without many independent rows.
SMALL = 32768
# Independent rows from which a kernel of rows keeps all processors busy.
ROWS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is stored.

    Attributes:
        group: The group.
        axes: What the node's axes stand for.
        inner: What the group's inner axes become, or None if they stay.
    """

    group: Group
    axes: dict[Axis, Index]
    inner: list[Axis] | None = None


def into_reader(node: Node, group: Group, access: Access) -> Place | None:
    """Return how a group that reads a node can store it too.

    Args:
        node: The node.
        group: Reads it.
        access: The only place where it reads it.
    """
    formula = node.formula
    assert isinstance(formula, Definition)
    if access.plain or group.kind not in ("loops", "contraction"):
        return None
    used = one_to_one(access, formula.axes)
    if used is None:
        return None
    axes = dict(zip(formula.axes, access.indices, strict=True))
    if node.contracted is not None:
        if group.kind != "loops" or group.inner or used != set(group.rows):
            return None
        if group.draws:  # loops make all words of a block at once, a product's store each by itself
            return None
        depth = [axis for axis in formula.reduced if axis.extent != 1]
        return Place(group, axes | {a: index_of(a) for a in formula.reduced}, depth)
    if not formula.fn:
        return Place(group, axes) if _covers(group, used) else None
    if group.kind != "loops":
        return None
    return _reduction_into_reader(formula, group, used, axes)


def _covers(group: Group, used: set[Axis]) -> bool:
    """Return whether axes are those of a group's rows, or of all its iterations."""
    rows = set(group.rows)
    if group.kind == "contraction":
        return used == rows
    return used == rows or used == rows | set(group.inner)


def _reduction_into_reader(
    formula: Definition, group: Group, used: set[Axis], axes: dict[Axis, Index]
) -> Place | None:
    rows = set(group.rows)
    if group.inner:
        found = paired(formula.reduced, group.inner) if used == rows else None
        return None if found is None else Place(group, axes | found)
    if used == rows:  # the group works on one number of each row so far
        reduced = [axis for axis in formula.reduced if axis.extent != 1]
        return Place(group, axes | {a: index_of(a) for a in formula.reduced}, reduced)
    rest = [axis for axis in group.rows if axis not in used]
    found = paired(formula.reduced, rest)
    if found is None or not _worth_rows(group, used):
        return None
    return Place(group, axes | found, rest)


def _worth_rows(group: Group, rows: set[Axis]) -> bool:
    """Return whether a map may be done row by row, where only the rows are independent."""
    if group.size <= SMALL:
        return True
    return group.rows[0] in rows and extent(rows) >= ROWS


def paired(own: Sequence[Axis], theirs: Sequence[Axis]) -> dict[Axis, Index] | None:
    """Return what axes stand for in terms of others that run over as many positions, or None."""
    found: dict[Axis, Index] = {}
    rest = [axis for axis in theirs if axis.extent != 1]
    for axis in own:
        place, reach = ORIGIN, 1
        while reach < axis.extent and rest:
            taken = rest.pop(0)
            place, reach = add(scale(place, taken.extent), taken), reach * taken.extent
        if reach != axis.extent:
            return None
        found[axis] = canonical(place)
    return None if rest else found


def beside(node: Node, load: Load, group: Group, access: Access) -> Place | None:
    """Return how a group can store a node that reads the same tensor at the same positions.

    Args:
        node: The node.
        load: What it reads.
        group: Another reader of the tensor.
        access: Where that reads it.
    """
    formula = node.formula
    assert isinstance(formula, Definition)
    if group.kind != "loops" or access.plain:
        return None
    axes = matched(load, access)
    if axes is None:
        return None
    for axis in (*formula.axes, *formula.reduced):
        if axis.extent == 1:
            axes.setdefault(axis, ORIGIN)
        elif axis not in axes:
            return None
    kept = one_to_one(Access(tuple(axes[a] for a in formula.axes)), formula.axes)
    reduced = one_to_one(Access(tuple(axes[a] for a in formula.reduced)), formula.reduced)
    if kept is None or reduced is None or kept & reduced:
        return None
    if not formula.fn:
        return Place(group, axes) if _covers(group, kept) else None
    if group.inner:
        if kept == set(group.rows) and reduced == set(group.inner):
            return Place(group, axes)
        return None
    if kept | reduced != set(group.rows) or not reduced or not _worth_rows(group, kept):
        return None
    return Place(group, axes, [axis for axis in group.rows if axis in reduced])


def alongside(node: Node, group: Group, root: Root) -> Place | None:
    """Return how a group can store a map of the shape of one that it stores.

    Args:
        node: The map.
        group: The group.
        root: What it stores.
    """
    formula, known = node.formula, root.node.formula
    if group.kind != "loops" or not isinstance(formula, Definition) or formula.fn:
        return None
    if not isinstance(known, Definition) or known.fn:
        return None
    return Place(group, {a: root.axes[b] for a, b in zip(formula.axes, known.axes, strict=True)})
