"""Fusion: which nodes become one kernel, and which vanish into the expressions that read them.

Takes: a graph of nodes. Gives: groups, each of which becomes one kernel.
The one idea: go through the program backwards, so that all readers of a node are known when it
is decided whether they compute it themselves, or which of their kernels stores it for all.

A node is put into its readers if that costs less than memory traffic (`cost`). Otherwise it is
stored by a kernel: by one that reads it (`joining`), or by one of its own. Groups never wait for
each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.compiler.access import NeedsSplit, composed, overruns
from chainrule.compiler.contract import padding_of
from chainrule.compiler.cost import Costs
from chainrule.compiler.joining import Place, alongside, beside, into_reader
from chainrule.compiler.laying import Laying, Part, first_placed
from chainrule.compiler.merging import union
from chainrule.compiler.nodes import (
    Access,
    Graph,
    Group,
    Host,
    Node,
    Root,
    bug,
    extent,
    is_view,
    moved,
    replaced,
    size_of,
)
from chainrule.ir.definition import Definition, Scatter
from chainrule.ir.expr import (
    Axis,
    Call,
    Index,
    Load,
    Ref,
    Within,
    add,
    index_of,
    scale,
    walk,
)

# Stores of one kernel, so that vector registers and compile time suffice.
STORES = 12

Readers = dict[Group, list[Access]]


class Fusion:
    """The groups of a graph.

    Args:
        graph: The graph.
        fuse: Whether to fuse; else each node is a group, and only views vanish.

    Attributes:
        groups: In the order in which they were opened: later parts of the program first.
        glued: Dimensions of tensors that must follow the one before them in memory.
        row_major: Tensors that host code reads.
        makers: For each tensor that is stored, the group that stores it.
        margins: For each copy with margins the tensor that is stored inside of it, and where.
        parts: For each tensor that is stored inside of a larger one which, and where.
    """

    def __init__(self, graph: Graph, *, fuse: bool = True) -> None:
        self.graph = graph
        self.fuse = fuse
        self.costs = Costs(graph)
        self.groups: list[Group] = []
        self.glued: dict[Ref, set[int]] = {}
        self.row_major: set[Ref] = set()
        self.makers: dict[Ref, Group] = {}
        self.margins: dict[Ref, tuple[Ref, tuple[int, ...]]] = {}
        self.parts: dict[Ref, Part] = {}
        self._padded: dict[Ref, Group] = {}
        self._settled: dict[Ref, set[Group]] = {}
        self._count = 0
        self._readers: dict[Ref, Readers] = {}
        self._checked = {ref for ref, _, _ in graph.checks}
        self._kept = {*graph.outputs, *self._checked}
        self._laying = Laying(graph.nodes, self._kept)
        for node in reversed(graph.nodes):
            self._take(node)
        for ref in (*graph.inputs, *graph.constants):
            self._settle(ref, self._readers.pop(ref, {}))
        for group in self.groups:  # also copies of what has another copy
            if group.kind == "pad":
                group.kind = "loops"

    def _take(self, node: Node) -> None:
        """Decide what becomes of a node."""
        ref = node.target
        readers = self._readers.pop(ref, {})
        if not readers and ref not in self._kept:
            return
        behind = self._give_margin(node, readers)
        apart = ref in self._kept or ref in self.parts or behind is not None
        if not apart and self._is_inlined(node, readers):
            for group, accesses in readers.items():
                group.wants.pop(ref, None)
                self._inline(node, group, accesses)
            return
        heavy = self.costs.is_heavy(ref) and isinstance(node.formula, Definition)
        place = None if heavy else self._find_place(node, readers, behind or ())
        if place is None:
            group = self._open(node)
            group.heavy = heavy
        else:
            group = place.group
            group.wants.pop(ref, None)
            if place.inner is not None:
                group.rows = [axis for axis in group.rows if axis not in place.inner]
                group.inner = place.inner
            if node.contracted is not None:
                group.kind = "contraction"
            self._enter(node, group, place.axes)
        if place is None and self._is_laid_out(node, readers):
            group.kind = "join"
        self.makers[ref] = group
        self._settle(ref, {g: a for g, a in readers.items() if g is not group})
        self._link(group, [*readers, *(behind or ())])
        if behind is not None or ref in self.parts:
            self._kept.add(ref)
        self._note_stored(group)
        if self.fuse:
            for other in readers:
                if other is not group and other.kind == group.kind == "loops" and not heavy:
                    self._merge(group, other)

    def _note_stored(self, group: Group) -> None:
        """Find out what a group has to store, because others read it."""
        for root in group.roots:
            ref = root.node.target
            others = self._settled.get(ref, ())
            root.stored = ref in self._kept or any(g is not group for g in others)

    def _merge(self, group: Group, other: Group) -> None:
        """Make a group and one that reads from it one, if that is possible."""
        if len(group.stored) + len(other.stored) > STORES:
            return
        if self._checks_in(group) != self._checks_in(other):
            return  # checks are made early, before anything of the caller's is written
        found = union(group, other)
        if found is None or self._lies_between(group, other):
            return
        group.rows, group.inner = found.rows, found.inner
        group.draws |= other.draws
        for root in other.roots:
            root.axes = {a: replaced(index, found.axes) for a, index in root.axes.items()}
            self.makers[root.node.target] = group
        group.roots.extend(other.roots)
        group.roots.sort(key=lambda root: -root.node.number)
        for ref, accesses in other.reads.items():
            self._settled[ref].discard(other)
            if self.makers.get(ref) is not group:
                self._settled[ref].add(group)
                mine = group.reads.setdefault(ref, [])
                every = (moved(access, found.axes) for access in accesses)
                mine.extend(access for access in every if access not in mine)
        for ref in other.wants:
            for access in self._readers[ref].pop(other):
                self._want(group, ref, moved(access, found.axes))
        for root in other.roots:
            if group in self._settled.get(root.node.target, ()):
                raise bug("a group reads from one that it was merged with")
        self._replace(other, group)
        self._note_stored(group)

    def _checks_in(self, group: Group) -> bool:
        return any(root.node.target in self._checked for root in group.roots)

    def _lies_between(self, group: Group, other: Group) -> bool:
        """Return whether a third group runs after one and before the other."""
        later, bit = group.later, 1 << other.number
        return any(third.later & bit and later >> third.number & 1 for third in self.groups)

    def _replace(self, other: Group, group: Group) -> None:
        """Let a group stand in the place of one that no longer exists."""
        self.groups.remove(other)
        later = (group.later | other.later) & ~(1 << other.number)
        group.later = later
        for third in self.groups:
            if third.later >> other.number & 1:
                third.later = third.later & ~(1 << other.number) | 1 << group.number
            if third.later >> group.number & 1:
                third.later |= later

    def _give_margin(self, node: Node, readers: Readers) -> list[Group] | None:
        """Let a node be stored inside of a copy of it that has margins, if there is one.

        Returns:
            The groups that read the copy, or None.
        """
        ref = node.target
        group = self._padded.get(ref)
        if group is None or ref in self._kept or is_view(node) or isinstance(node.formula, Host):
            return None
        for reader, accesses in readers.items():
            if reader.kind == "host":
                return None
            if reader is not group and any(overruns(ref, access) for access in accesses):
                return None
        copy = group.roots[0].node
        if copy.target in self._kept:
            return None  # the caller's memory is written late, and by one group
        starts = padding_of(copy)
        assert starts is not None
        readers.pop(group)
        group.wants.pop(ref, None)
        group.kind = "margin"
        self.margins[copy.target] = ref, starts
        return [reader for reader in self.groups if copy.target in reader.reads]

    def _is_laid_out(self, node: Node, readers: Readers) -> bool:
        """Return whether what a node lays side by side is computed in its place there.

        That pays where others need it in memory, and nothing of the caller's may be written early.
        """
        graph, ref = self.graph, node.target
        wanted = ref in self._kept or any(a.plain for found in readers.values() for a in found)
        early = ref in graph.outputs and (self._checked or any(graph.overwrites))
        if not self.fuse or not wanted or early or ref in self.parts or ref in self._checked:
            return False
        found = self._laying.parts(node)
        self.parts.update({part: (ref, starts) for part, starts in found.items()})
        return bool(found)

    def _settle(self, ref: Ref, readers: Readers) -> None:
        """Note who reads a tensor that is in memory."""
        self._settled[ref] = set(readers)
        for group, accesses in readers.items():
            group.wants.pop(ref, None)
            group.reads[ref] = accesses
            if group.kind == "host":
                self.row_major.add(ref)
                continue
            for access in accesses:
                over = overruns(ref, access)
                if over:
                    self.glued.setdefault(ref, set()).update(over)

    def _link(self, group: Group, readers: Iterable[Group]) -> None:
        """Let a group run before those that read from it."""
        later = group.later
        for reader in readers:
            if reader is not group:
                later |= reader.later | (1 << reader.number)
        if later != group.later:
            group.later = later
            for other in self.groups:
                if other.later >> group.number & 1:
                    other.later |= later

    def _is_inlined(self, node: Node, readers: Readers) -> bool:
        formula = node.formula
        if not isinstance(formula, Definition) or formula.fn:
            return False
        view = is_view(node)
        if (node.target.dtype.is_half or not self.fuse) and not view:
            return False
        repeats, draws = 0, _draws(node)
        for group, accesses in readers.items():
            if group.kind == "host" or (draws and group.kind == "contraction"):
                return False
            for access in accesses:
                if access.gathers or (access.plain and not view):
                    return False
                if overruns(node.target, access):
                    return False
                repeats += _iterations(group, access)
        if view:
            return True
        heavy = self.costs.is_heavy(node.target) and not all(group.heavy for group in readers)
        if not heavy and self.costs.pays(node, repeats / max(size_of(node.target), 1)):
            return True
        return self.costs.narrower(node)

    # --- placing ---------------------------------------------------------------------------

    def _find_place(self, node: Node, readers: Readers, behind: Sequence[Group]) -> Place | None:
        """Return the group of others that a node is stored by, or None for one of its own."""
        every = [*readers, *behind]
        if not self.fuse or node.target.dtype.is_half or not isinstance(node.formula, Definition):
            return None
        only_maps = node.target in self.costs.endings
        for group, accesses in readers.items():
            if only_maps and group.inner and group.kind == "loops":
                continue
            if len(group.stored) < STORES and len(accesses) == 1:
                place = into_reader(node, group, accesses[0])
                if place is not None and self._may_join(group, every):
                    return place
        if node.contracted is not None:
            return None
        sibling = first_placed(node.target, self.parts, self.makers)
        if sibling is not None and not only_maps and sibling not in self.costs.endings:
            group = self.makers[sibling]
            root = next(root for root in group.roots if root.node.target is sibling)
            place = alongside(node, group, root)
            if place is not None and len(group.stored) < STORES and self._may_join(group, every):
                return place
        for load in node.loads:
            assert isinstance(load.source, Ref)
            if size_of(load.source) < size_of(node.target):
                continue
            for group, accesses in self._readers.get(load.source, {}).items():
                if group in readers or len(group.stored) >= STORES or (only_maps and group.inner):
                    continue
                if self._checks_in(group) != (node.target in self._checked):
                    continue
                for access in accesses:
                    place = beside(node, load, group, access)
                    if place is not None and self._may_join(group, every):
                        return place
        return None

    @staticmethod
    def _may_join(group: Group, readers: Iterable[Group]) -> bool:
        """Return whether no reader of a node must run before the group that would store it."""
        return not any(r is not group and r.later >> group.number & 1 for r in readers)

    def _open(self, node: Node) -> Group:
        """Return a new group for a node."""
        formula = node.formula
        if self.groups and isinstance(formula, Host) and _same_region(formula, self.groups[-1]):
            self.groups[-1].roots.append(Root(node, {}))
            return self.groups[-1]
        group = Group(self._count, "loops")
        self._count += 1
        self.groups.append(group)
        if isinstance(formula, Host):
            group.kind = "host"
            group.roots.append(Root(node, {}))
            for ref in formula.inputs:
                self._want(group, ref, Access(()))
            return group
        group.rows = [axis for axis in formula.axes if axis.extent != 1]
        axes = {axis: index_of(axis) for axis in formula.axes}
        if isinstance(formula, Definition):
            group.inner = [axis for axis in formula.reduced if axis.extent != 1]
            axes.update({axis: index_of(axis) for axis in formula.reduced})
            if node.contracted is not None:
                group.kind = "contraction"
            elif node.loads and padding_of(node) is not None and self.fuse:
                group.kind = "pad"
                self._padded.setdefault(_ref(node.loads[0]), group)
        else:
            group.kind = "scatter" if isinstance(formula, Scatter) else "prefix"
        if size_of(node.target):
            self._enter(node, group, axes)
        else:
            group.roots.append(Root(node, axes))
        return group

    def _enter(self, node: Node, group: Group, axes: dict[Axis, Index]) -> None:
        root = Root(node, axes)
        group.roots.append(root)
        if node.contracted is not None:
            group.core = root
        formula = node.formula
        if isinstance(formula, Scatter):
            group.inner = [Axis(f"d{n}", size) for n, size in enumerate(formula.initial.shape)]
            root.start = tuple(index_of(axis) for axis in group.inner)
            self._want(group, formula.initial, Access(root.start))
        self._spread(node, group, axes, plain=node.contracted is not None)

    # --- reading ---------------------------------------------------------------------------

    def _want(self, group: Group, ref: Ref, access: Access) -> None:
        accesses = self._readers.setdefault(ref, {}).setdefault(group, [])
        if access not in accesses:
            accesses.append(access)
        group.wants[ref] = None

    def _inline(self, node: Node, group: Group, accesses: Sequence[Access]) -> None:
        """Let a group compute a node wherever it reads it."""
        formula = node.formula
        assert isinstance(formula, Definition)
        before = len(group.splits)
        for access in accesses:
            for split in group.splits[before:]:
                access = moved(access, split)
            axes = dict(zip(formula.axes, access.indices, strict=True))
            self._spread(node, group, axes, access.guards, plain=access.plain)

    def _spread(
        self,
        node: Node,
        group: Group,
        axes: dict[Axis, Index],
        guards: tuple[Within, ...] = (),
        *,
        plain: bool = False,
    ) -> None:
        """Note what a group reads in order to compute a node."""
        group.draws |= _draws(node)
        before = len(group.splits)
        for load in node.loads:
            if not size_of(_ref(load)):
                continue  # it is only read where guards never hold
            while True:
                for split in group.splits[before:]:
                    axes = {axis: replaced(index, split) for axis, index in axes.items()}
                    guards = tuple(Within(replaced(g.index, split), g.size) for g in guards)
                before = len(group.splits)
                try:
                    found = composed(load, axes, guards, may_split=group.kind != "prefix")
                except NeedsSplit as question:
                    self._split(group, question.axis, question.inner)
                    continue
                break
            self._want(group, _ref(load), found._replace(plain=True) if plain else found)

    def _split(self, group: Group, axis: Axis, inner: int) -> None:
        """Replace an axis of a group by two."""
        first = Axis(axis.name + "0", axis.extent // inner)
        second = Axis(axis.name + "1", inner)
        split = {axis: add(scale(first, inner), index_of(second))}
        group.splits.append(split)
        for axes in (group.rows, group.inner):
            if axis in axes:
                at = axes.index(axis)
                axes[at : at + 1] = [first, second]
        for root in group.roots:
            root.axes = {a: replaced(index, split) for a, index in root.axes.items()}
            root.start = tuple(replaced(index, split) for index in root.start)
        for ref, accesses in group.reads.items():
            group.reads[ref] = [moved(access, split) for access in accesses]
        for ref in group.wants:
            readers = self._readers.get(ref, {})
            if group in readers:
                readers[group] = [moved(access, split) for access in readers[group]]


def _draws(node: Node) -> bool:
    """Return whether a node is random bits: halves of products are found nowhere else."""
    formula = node.formula
    if node.target.dtype.kind != "uint" or not isinstance(formula, Definition):
        return False
    return any(isinstance(expr, Call) and expr.fn == "mulhi" for expr in walk(formula.body))


def _same_region(formula: Host, group: Group) -> bool:
    """Return whether a group makes other results of the same loop or branch."""
    other = group.roots[0].node.formula if group.roots else None
    region = formula.attrs.get("region")
    return region is not None and isinstance(other, Host) and other.attrs.get("region") is region


def _ref(load: Load) -> Ref:
    assert isinstance(load.source, Ref)
    return load.source


def _iterations(group: Group, access: Access) -> int:
    """Return how often a group evaluates what it reads: once for all loops that do not matter."""
    used = {axis for index in access.indices for axis, _ in index.terms}
    if group.kind == "scatter":
        return extent(group.inner if used.intersection(group.inner) else group.rows)
    axes = [*group.rows, *group.inner]
    while axes and axes[-1] not in used:
        axes.pop()
    return extent(axes)
