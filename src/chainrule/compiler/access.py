"""Access: where an expression reads a tensor once it stands inside another one.

Takes: positions in a node's own axes, and what these axes stand for in a group. Gives:
positions in the group's axes.
The one idea: a position in a flat order of elements is split into one for each dimension as
place values of a number are; what cannot be split runs on over neighbouring dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.compiler.nodes import Access, is_flat, replaced
from chainrule.ir.expr import Axis, Index, Load, Ref, Within, add, extremes, needed, scale

ORIGIN = Index((), 0)


class NeedsSplit(Exception):  # noqa: N818 - a question to the caller, not an error
    """An axis has to be split into two for a position to fit the dimensions of a tensor."""

    def __init__(self, axis: Axis, inner: int) -> None:
        super().__init__()
        self.axis = axis
        self.inner = inner


def composed(
    load: Load, axes: dict[Axis, Index], guards: tuple[Within, ...] = (), *, may_split: bool
) -> Access:
    """Return where a load reads its tensor.

    Args:
        load: A load in a node's formula.
        axes: What the node's axes stand for.
        guards: Conditions under which the node itself is read, and its value counts.
        may_split: Whether the caller splits axes when asked to.

    Raises:
        NeedsSplit: An axis should be split; only if ``may_split``.
    """
    indices = tuple(replaced(index, axes) for index in load.indices)
    own = needed(Within(replaced(g.index, axes), g.size) for g in load.guards)
    source = load.source
    assert isinstance(source, Ref)
    if is_flat(load) and not any(load.dynamic):
        indices = split(indices[0], source.shape, may_split=may_split and not (own or guards))
    if guards and any(_exceeds(i, n) for i, n in zip(indices, source.shape, strict=False)):
        own = (*own, *(g for g in guards if g not in own))
    return Access(indices, own, id(load) if any(load.dynamic) else 0)


def split(flat: Index, shape: Sequence[int], *, may_split: bool) -> tuple[Index, ...]:
    """Return a row-major position as one for each dimension of a shape.

    Raises:
        NeedsSplit: Splitting an axis would keep the dimensions apart.
    """
    strides = [1] * len(shape)
    for n in range(len(shape) - 2, -1, -1):
        strides[n] = strides[n + 1] * shape[n + 1]
    wide = [n for n, size in enumerate(shape) if size != 1]
    parts: dict[int, list[tuple[Axis, int]]] = {n: [] for n in wide}
    if not wide:
        return (ORIGIN,) * len(shape)
    for axis, coefficient in flat.terms:
        home = next(n for n in wide if coefficient % strides[n] == 0)
        parts[home].append((axis, coefficient // strides[home]))
    places = [ORIGIN] * len(shape)
    rest = flat.offset
    for n in wide:
        digit, rest = divmod(rest, strides[n])
        places[n] = Index(tuple(parts[n]), digit)
    return _fitted(places, wide, shape, may_split=may_split)


def _fitted(
    places: list[Index], wide: list[int], shape: Sequence[int], *, may_split: bool
) -> tuple[Index, ...]:
    """Let positions that exceed their dimension run on over the dimensions before it."""
    at = len(wide) - 1
    while at >= 0:
        n = wide[at]
        size = shape[n]
        if at and may_split and _exceeds(places[n], size):
            _ask(places[n], size)
        while at and _exceeds(places[n], size):
            at -= 1
            before = wide[at]
            places[n] = add(places[n], scale(places[before], size))
            places[before] = ORIGIN
            size *= shape[before]
        at -= 1
    return tuple(places)


def _exceeds(index: Index, size: int) -> bool:
    low, high = extremes(index)
    return low < 0 or high >= size


def _ask(place: Index, size: int) -> None:
    """Ask for the split of the axis that alone makes a position exceed its dimension."""
    axis, coefficient = max(place.terms, key=lambda term: term[1] * term[0].extent)
    if coefficient <= 0 or size % coefficient:
        return
    inner = size // coefficient
    rest = Index(tuple(t for t in place.terms if t[0] is not axis), place.offset)
    low, high = extremes(rest)
    if axis.extent % inner == 0 and axis.extent > inner and low >= 0 and high < coefficient:
        raise NeedsSplit(axis, inner)


def overruns(ref: Ref, access: Access) -> list[int]:
    """Return the dimensions over whose end an access runs on into the one before.

    An index that leaves its dimension only where a guard does not hold is not meant.
    """
    if len(access.indices) != len(ref.shape):  # a row-major position
        return list(range(1, len(ref.shape)))
    found = []
    for n, (index, size) in enumerate(zip(access.indices, ref.shape, strict=True)):
        if _exceeds(index, size) and not _guarded(index, size, access.guards):
            found.append(n)
            # It may run on over several dimensions.
            for before in range(n - 1, 0, -1):
                index = add(index, scale(access.indices[before], size))
                size *= ref.shape[before]
                if not _exceeds(index, size):
                    break
                found.append(before)
    return list(dict.fromkeys(found))


def _guarded(index: Index, size: int, guards: tuple[Within, ...]) -> bool:
    for guard in guards:
        if guard.index.terms == index.terms:
            low = index.offset - guard.index.offset
            if low >= 0 and low + guard.size <= size:
                return True
    return False


def one_to_one(access: Access, axes: Sequence[Axis]) -> set[Axis] | None:
    """Return the axes that run over each position of a tensor once, or None.

    Args:
        access: Where the tensor is read.
        axes: One axis for each dimension of the tensor, of its extent.
    """
    if access.guards or access.gathers or len(access.indices) != len(axes):
        return None
    used: set[Axis] = set()
    for index, axis in zip(access.indices, axes, strict=True):
        if index.offset:
            return None
        reach = 1
        for term, coefficient in sorted(index.terms, key=lambda t: t[1]):
            if coefficient != reach or term in used:
                return None
            used.add(term)
            reach *= term.extent
        if reach != axis.extent:
            return None
    return used


def matched(load: Load, access: Access) -> dict[Axis, Index] | None:
    """Return what a node's axes stand for if its load is to read what an access reads."""
    if load.guards or access.guards or access.gathers or any(load.dynamic) or is_flat(load):
        return None
    axes: dict[Axis, Index] = {}
    for own, theirs in zip(load.indices, access.indices, strict=True):
        if len(own.terms) == 1 and not own.offset and own.terms[0][1] == 1:
            if axes.setdefault(own.terms[0][0], theirs) != theirs:
                return None
        elif own.offset != theirs.offset or len(own.terms) != len(theirs.terms):
            return None
        else:
            pairs = zip(_by_step(own), _by_step(theirs), strict=True)
            for (axis, step), (other, other_step) in pairs:
                place = Index(((other, 1),), 0)
                if step != other_step or axes.setdefault(axis, place) != place:
                    return None
    return axes


def _by_step(index: Index) -> list[tuple[Axis, int]]:
    return sorted(index.terms, key=lambda term: term[1])
