"""Laying: tensors that are computed in their places inside of a larger one.

Takes: a node, and who reads what. Gives: the tensors that it consists of, and where each begins.
The one idea: a tensor that is only laid beside others need not lie anywhere else before, so
joining copies nothing; it is the counterpart of the margins of an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chainrule.compiler.nodes import Node, is_view, size_of
from chainrule.ir.definition import Definition
from chainrule.ir.expr import Call, Expr, Inside, Load, Ref, index_of

# A tensor inside of another one: which that is, and where it begins along each axis.
Part = tuple[Ref, tuple[int, ...]]


class Laying:
    """What the nodes of a graph may be laid into.

    Args:
        nodes: Of the graph.
        kept: What has to lie in memory of its own, because others than nodes need it.
    """

    def __init__(self, nodes: Iterable[Node], kept: Iterable[Ref]) -> None:
        self._makers = {node.target: node for node in nodes}
        self._kept = set(kept)
        self._reads: dict[Ref, int] = {}
        for node in self._makers.values():
            for load in node.loads:
                assert isinstance(load.source, Ref)
                self._reads[load.source] = self._reads.get(load.source, 0) + 1

    def parts(self, node: Node) -> dict[Ref, tuple[int, ...]]:
        """Return what a node lays side by side, if all of it can be computed in its place."""
        starts = starts_of(node)
        return starts if all(map(self._movable, starts)) else {}

    def _movable(self, ref: Ref) -> bool:
        """Return whether a tensor is made for one reader only, and is no copy of another one."""
        node = self._makers.get(ref)
        if node is None or ref in self._kept or not size_of(ref) or self._reads[ref] > 1:
            return False
        if not isinstance(node.formula, Definition):
            return False
        if not is_view(node):
            return True
        source = node.loads[0].source
        return isinstance(source, Ref) and self._movable(source)


def starts_of(node: Node) -> dict[Ref, tuple[int, ...]]:
    """Return where tensors begin that a node lays side by side; empty if it does anything else."""
    formula = node.formula
    if not isinstance(formula, Definition) or formula.fn:
        return {}
    found: dict[Ref, tuple[int, ...]] = {}
    rest: Expr = formula.body
    while isinstance(rest, Call):
        if rest.fn != "where":
            return {}
        inside, load, other = rest.args
        if not isinstance(inside, Inside) or not isinstance(load, Load):
            return {}
        if inside.bounds != load.guards:
            return {}
        rest = other
        if not _adds(found, load, formula):
            return {}
    if not isinstance(rest, Load) or not _adds(found, rest, formula):
        return {}
    # The last one has no condition: it is what is left of the whole.
    return found if sum(map(size_of, found)) == size_of(formula.target) else {}


def _adds(found: dict[Ref, tuple[int, ...]], load: Load, formula: Definition) -> bool:
    """Note where a load's tensor begins; False if it is not one block, or is there already."""
    source = load.source
    assert isinstance(source, Ref)
    if source in found or any(load.dynamic) or source.dtype is not formula.target.dtype:
        return False
    if len(load.indices) != len(formula.axes) or len(load.guards) != 1:
        return False
    starts = []
    for index, axis, size in zip(load.indices, formula.axes, source.shape, strict=True):
        if index.terms != index_of(axis).terms:
            return False
        if (index.offset or size != axis.extent) and load.guards[0] != (index, size):
            return False
        starts.append(-index.offset)
    found[source] = tuple(starts)
    return True


def first_placed(ref: Ref, inside: Mapping[Ref, Part], made: Mapping[Ref, object]) -> Ref | None:
    """Return a tensor of the same shape that was placed in the same whole, or None."""
    if ref not in inside:
        return None
    whole = inside[ref][0]
    others = (other for other, part in inside.items() if part[0] is whole and other in made)
    return next((other for other in others if other.shape == ref.shape), None)
