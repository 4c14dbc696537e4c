"""Cost: what computing a node again costs, compared with keeping it in memory.

Takes: the nodes of a graph in order. Gives: for each the work of an element, and how many
tensors of its own size it is computed from.
The one idea: memory moves about sixteen elements in the time of a handful of vector operations,
so cheap things are computed where they are read.
"""

from __future__ import annotations

from chainrule.compiler.nodes import Graph, Node, is_view, size_of
from chainrule.ir.definition import Definition
from chainrule.ir.expr import Ref

# Work, in vector operations for one vector of elements: writing and reading a tensor once more.
WRITE = 12
READ = 6
# Work from which a value is kept rather than computed again.
EXPENSIVE = 15
# Work from which a value has a kernel of its own, as random bits have.
HEAVY = 80


class Costs:
    """The cost of the nodes of a graph, each computed from what is surely in memory."""

    def __init__(self, graph: Graph) -> None:
        self.work: dict[Ref, float] = {}
        self.total: dict[Ref, tuple[float, int]] = {}
        # Nodes that are computed from a contraction that nothing else reads.
        self.endings: set[Ref] = set()
        self.sources: dict[Ref, frozenset[Ref]] = {}
        self.sums = {node.target for node in graph.nodes if node.contracted is not None}
        readers: dict[Ref, int] = {}
        for node in graph.nodes:
            for load in node.loads:
                if isinstance(load.source, Ref):
                    readers[load.source] = readers.get(load.source, 0) + 1
        for node in graph.nodes:
            self._add(node, readers.get(node.target, 0))
            if isinstance(node.formula, Definition) and self._ends(node, readers):
                self.endings.add(node.target)

    def _ends(self, node: Node, readers: dict[Ref, int]) -> bool:
        if node.contracted is not None or node.formula.fn:  # type: ignore[union-attr]
            return False
        size = size_of(node.target)
        for load in node.loads:
            source = load.source
            assert isinstance(source, Ref)
            alone = readers[source] == 1 and size_of(source) == size and not load.guards
            if alone and (source in self.endings or source in self.sums):
                return True
        return False

    def _add(self, node: Node, readers: int) -> None:
        formula = node.formula
        if not isinstance(formula, Definition) or formula.fn:
            return
        work: float = node.work
        sources: set[Ref] = set()
        size = max(size_of(node.target), 1)
        for load in node.loads:
            source = load.source
            assert isinstance(source, Ref)
            if source in self.work:
                # What is smaller is computed once for many elements.
                work += self.work[source] * min(1.0, size_of(source) / size)
                sources |= {s for s in self.sources[source] if size_of(s) * 4 > size}
            elif size_of(source) * 4 > size:
                sources.add(source)
        self.total[node.target] = work, len(sources)
        kept = not is_view(node) and work > EXPENSIVE and readers > 1
        if not kept and len(sources) <= 8:
            self.work[node.target] = work
            self.sources[node.target] = frozenset(sources)

    def is_heavy(self, ref: Ref) -> bool:
        """Return whether a tensor takes so much work that nothing else should wait for it."""
        return ref in self.total and self.total[ref][0] >= HEAVY

    def narrower(self, node: Node) -> bool:
        """Return whether a node is little work on a dear tensor that takes less memory."""
        size, bits = size_of(node.target), node.target.dtype.bits
        dear = {
            source
            for source in (load.source for load in node.loads)
            if source in self.total
            and self.total[source][0] > EXPENSIVE
            and size_of(source) == size
        }
        return node.work <= EXPENSIVE and len(dear) == 1 and all(s.dtype.bits < bits for s in dear)

    def pays(self, node: Node, repeats: float) -> bool:
        """Return whether computing a node ``repeats`` times beats keeping it in memory."""
        if repeats <= 1:
            return True
        work, count = self.total[node.target]
        return (repeats - 1) * (work + READ * count) <= WRITE + READ * repeats
