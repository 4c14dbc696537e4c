"""Layout: in which order the axes of each tensor lie in memory.

Takes: groups in order. Gives: a place in memory for each tensor that is stored.
The one idea: positions are kept for each dimension, so a layout is only a choice of strides, and
transposes disappear by themselves.

What the caller or host code sees is row-major. Results of contractions have their columns last,
images that a convolution slides over have their channels last, and everything else follows the
largest tensor that it is computed from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chainrule.compiler.assemble import Place
from chainrule.compiler.fuse import Fusion
from chainrule.compiler.laying import Part
from chainrule.compiler.nodes import Access, Group, Root, size_of
from chainrule.ir.expr import Axis, Buffer, Index, Ref

Order = tuple[int, ...]


def places(fusion: Fusion, groups: Iterable[Group]) -> dict[Ref, Place]:
    """Return where tensors lie: a buffer and its strides for each one that is in memory."""
    graph = fusion.graph
    groups = list(groups)
    fixed = {*graph.inputs, *graph.constants, *graph.outputs, *fusion.row_major}
    orders: dict[Ref, Order] = {}
    for group in groups:
        for ref in (*group.reads, *(root.node.target for root in group.stored)):
            if ref in fixed or group.kind in ("host", "scatter", "prefix"):
                orders.setdefault(ref, tuple(range(len(ref.shape))))
    for group in groups:
        if group.core is not None:
            _image(group, group.core, orders, fusion.glued)
    for copy, (inside, _) in fusion.margins.items():
        if copy in orders:
            orders[inside] = orders[copy]
    # What lies inside of a copy has its order, so that the copy's dimensions may be bound too.
    outer = {inside: copy for copy, (inside, _) in fusion.margins.items()}
    outer.update((part, whole) for part, (whole, _) in fusion.parts.items())
    decided = dict(orders)
    for group in groups:
        if group.kind in ("loops", "contraction"):
            if group.core is not None:
                _turn(group, group.core, groups, orders, decided, fusion.glued, outer)
            _follow(group, orders, fusion.glued, outer)
    for copy, (inside, _) in reversed(fusion.margins.items()):
        orders[copy] = orders[inside]
    found: dict[Ref, Place] = {}
    for number, ref in enumerate((*graph.inputs, *graph.constants)):
        found[ref] = _place(ref, f"in{number}", tuple(range(len(ref.shape))))
    for number, group in enumerate(groups):
        for root in group.stored:
            ref = root.node.target
            found[ref] = _place(ref, f"{root.node.name}{number}", orders[ref])
    for copy, (inside, starts) in fusion.margins.items():
        found[inside] = _inside(found[copy], [-start for start in starts])
    put_parts(found, fusion.parts)
    return found


def put_parts(places: dict[Ref, Place], parts: Mapping[Ref, Part]) -> None:
    """Let what is laid side by side lie in its places there, wherever the whole lies."""
    for part, (whole, starts) in parts.items():
        places[part] = _inside(places[whole], starts)


def _inside(place: Place, starts: Sequence[int]) -> Place:
    """Return the place of what begins at some position of a tensor."""
    offset = sum(start * step for start, step in zip(starts, place.strides, strict=True))
    return Place(place.buffer, place.strides, place.offset + offset)


def _place(ref: Ref, name: str, order: Order) -> Place:
    strides = [0] * len(ref.shape)
    step = 1
    for n in reversed(order):
        strides[n] = step
        step *= ref.shape[n]
    return Place(Buffer(name, ref.dtype, size_of(ref)), tuple(strides))


def _image(group: Group, core: Root, orders: dict[Ref, Order], glued: dict[Ref, set[int]]) -> None:
    """Put the channels of what a convolution slides over last."""
    roles = core.node.contracted
    assert roles is not None
    depth = set(group.inner)
    for ref, accesses in group.reads.items():
        for access in accesses:
            if ref in orders or not access.plain:
                continue
            sliding = [n for n, i in enumerate(access.indices) if _slides(i, depth, core)]
            if sliding and len(sliding) < len(ref.shape) and 0 not in sliding:
                rest = [n for n in range(1, len(ref.shape)) if n not in sliding]
                orders[ref] = _glue(ref, [0, *sliding, *rest], glued.get(ref, set()))


def _slides(index: Index, depth: set[Axis], core: Root) -> bool:
    """Return whether a position is a sum of one of the result's and one of the depth."""
    roles = core.node.contracted
    assert roles is not None
    batch = {axis for a in roles.batch for axis, _ in core.axes[a].terms}
    inside = [axis in depth for axis, _ in index.terms if axis not in batch]
    return any(inside) and not all(inside)


def _turn(
    group: Group,
    core: Root,
    groups: Iterable[Group],
    orders: dict[Ref, Order],
    decided: dict[Ref, Order],
    glued: dict[Ref, set[int]],
    outer: dict[Ref, Ref],
) -> None:
    """Put the rows of a product last if all that read it go through memory in that order.

    So the gradient of a weight lies as the weight does, and its update walks along both.
    """
    ref, roles = core.node.target, core.node.contracted
    assert roles is not None
    if ref in orders or ref in outer or group.stored != [core] or glued.get(ref):
        return
    axes = [
        a for b in (*roles.batch, *roles.columns, *roles.rows) for a in _by_stride(core.axes[b])
    ]
    turned = _order(core, axes)
    readers = [(other, access) for other in groups for access in other.reads.get(ref, ())]
    if turned == _order(core, _axes_in_order(group, orders)):
        return
    wished = False
    for other, access in readers:
        if access.plain or access.gathers or len(access.indices) != len(ref.shape):
            return
        votes = _votes(other, decided)
        if not votes:
            continue  # it goes through nothing else of this size
        at = {axis: n for n, axis in enumerate(_first(votes))}
        keys = [min((at[a] for a, _ in i.terms), default=-1) for i in access.indices]
        if tuple(sorted(range(len(keys)), key=lambda n: keys[n])) != turned:
            return
        wished = True
    if wished:
        orders[ref] = turned


def _order(root: Root, axes: Sequence[Axis]) -> Order:
    """Return the order of a root's dimensions if a group's axes lie in this order."""
    at = {axis: n for n, axis in enumerate(axes)}
    where = [root.axes[axis] for axis in root.node.formula.axes]  # type: ignore[union-attr]
    keys = [min((at[a] for a, _ in index.terms), default=-1) for index in where]
    return tuple(sorted(range(len(keys)), key=lambda n: keys[n]))


def _follow(
    group: Group, orders: dict[Ref, Order], glued: dict[Ref, set[int]], outer: dict[Ref, Ref]
) -> None:
    """Choose the order of what a group stores."""
    axes = _axes_in_order(group, orders)
    for root in group.stored:
        ref = root.node.target
        if ref in orders:
            continue
        whole = ref
        while whole in outer:
            whole = outer[whole]
        if whole not in orders:
            orders[whole] = _glue(whole, list(_order(root, axes)), glued.get(whole, set()))
        orders[ref] = orders[whole]


def _glue(ref: Ref, order: list[int], glued: set[int]) -> Order:
    """Move dimensions that must follow the one before them behind it."""
    wide = [n for n, size in enumerate(ref.shape) if size != 1]
    for n in sorted(glued):
        if n in wide and wide.index(n):
            before = wide[wide.index(n) - 1]
            order.remove(n)
            order.insert(order.index(before) + 1, n)
    return tuple(order)


def _axes_in_order(group: Group, orders: dict[Ref, Order]) -> list[Axis]:
    """Return the axes of a group from the slowest in memory to the fastest."""
    if group.core is not None:
        roles = group.core.node.contracted
        assert roles is not None
        kept = (*roles.batch, *roles.rows, *roles.columns)
        return [axis for a in kept for axis in _by_stride(group.core.axes[a])]
    votes = _votes(group, orders)
    if votes:
        return list(_first(votes))
    return [*group.rows, *group.inner]


def _votes(group: Group, orders: dict[Ref, Order]) -> dict[tuple[Axis, ...], int]:
    """Return orders of a group's axes in which it goes through tensors, with their elements."""
    every = {*group.rows, *group.inner} if group.core is None else _kept_axes(group.core)
    votes: dict[tuple[Axis, ...], int] = {}
    for ref, access in _known(group, orders):
        found = tuple(a for n in orders[ref] for a in _by_stride(access.indices[n]))
        if len(found) == len(every) and set(found) == every:
            votes[found] = votes.get(found, 0) + size_of(ref)
    return votes


def _first(votes: dict[tuple[Axis, ...], int]) -> tuple[Axis, ...]:
    """Return the order with the most elements."""
    return max(votes, key=lambda order: votes[order])


def _kept_axes(core: Root) -> set[Axis]:
    """Return the axes of a product's result in its group."""
    roles = core.node.contracted
    assert roles is not None
    kept = (*roles.batch, *roles.rows, *roles.columns)
    return {axis for a in kept for axis, _ in core.axes[a].terms}


def _by_stride(index: Index) -> list[Axis]:
    return [axis for axis, _ in sorted(index.terms, key=lambda term: -abs(term[1]))]


def _known(group: Group, orders: dict[Ref, Order]) -> Iterable[tuple[Ref, Access]]:
    for ref, accesses in group.reads.items():
        if ref in orders:
            for access in accesses:
                if len(access.indices) == len(ref.shape):
                    yield ref, access
    for root in group.stored:
        ref, formula = root.node.target, root.node.formula
        if ref in orders:
            yield ref, Access(tuple(root.axes[axis] for axis in formula.axes))  # type: ignore[union-attr]
