"""Nodes: the tensors of a program with the formulas that make them, and groups of them.

Takes: formulas of ops. Gives: the words that the passes from formulas to kernels share.
The one idea: a group is what becomes one kernel; a node that is in no group was put into the
expressions that read it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chainrule.compiler.work import work_of
from chainrule.core.dtype import Array
from chainrule.core.errors import StateError
from chainrule.ir.definition import Definition, Prefix, Scatter
from chainrule.ir.expr import Axis, Call, Expr, Index, Load, Ref, Within, add, index_of, scale, walk


@dataclass(slots=True, eq=False)
class Host:
    """A tensor that the NumPy definition of an op computes.

    Attributes:
        target: The tensor.
        op: The operation.
        attrs: Its attributes.
        inputs: The tensors that it reads.
    """

    target: Ref
    op: Any
    attrs: dict[str, Any]
    inputs: tuple[Ref, ...]


Made = Definition | Scatter | Prefix | Host


@dataclass(slots=True, eq=False)
class Node:
    """A tensor and how it is made.

    Attributes:
        number: Its place in the order of the program.
        formula: How it is made.
        name: Of the op that it belongs to.
        origin: The op, the user's layer and line.
        loads: What its formula reads, each `Load` once.
        work: Of one element, in vector operations for a vector of elements.
        contracted: Its axes, if it is a contraction, else None.
    """

    number: int
    formula: Made
    name: str
    origin: tuple[str, ...] = ()
    loads: tuple[Load, ...] = ()
    work: int = 0
    contracted: Roles | None = None

    @property
    def target(self) -> Ref:
        """The tensor."""
        return self.formula.target


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """The axes of a contraction by what they index (see `ir.kernel.Contraction`)."""

    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    left: Load
    right: Load


@dataclass(slots=True, eq=False)
class Graph:
    """A program as formulas.

    Attributes:
        name: Of the traced function.
        nodes: In order; each reads inputs, constants and earlier ones.
        inputs: Tensors that each call gives.
        constants: Tensors that never change, with their elements.
        outputs: Tensors that each call gives back: made by nodes, each a different one.
        overwrites: For each output the input whose memory it takes over, or None.
        checks: Bools that must hold, with the message and origin of the error.
    """

    name: str
    nodes: list[Node] = field(default_factory=list)
    inputs: list[Ref] = field(default_factory=list)
    constants: dict[Ref, Array] = field(default_factory=dict)
    outputs: list[Ref] = field(default_factory=list)
    overwrites: list[Ref | None] = field(default_factory=list)
    checks: list[tuple[Ref, str, tuple[str, ...]]] = field(default_factory=list)


class Access(NamedTuple):
    """Where a group reads a tensor, in the group's axes.

    Attributes:
        indices: One for each dimension. One that exceeds its dimension runs on into the
            dimension before it: these two are neighbours in memory.
        guards: Where one does not hold, the value is zero and nothing is read.
        gathers: Number of the load whose dynamic positions are added, or 0.
        plain: Whether a contraction reads it as an operand, so that it must be in memory.
    """

    indices: tuple[Index, ...]
    guards: tuple[Within, ...] = ()
    gathers: int = 0
    plain: bool = False


@dataclass(slots=True, eq=False)
class Root:
    """A node that a group computes and stores.

    Attributes:
        node: The node.
        axes: For each axis of its formula the position in the group's axes.
        start: For a scatter the position at which it reads what it starts as.
        stored: Whether anything but the group itself needs it.
    """

    node: Node
    axes: dict[Axis, Index]
    start: tuple[Index, ...] = ()
    stored: bool = True


@dataclass(slots=True, eq=False)
class Group:
    """Nodes that one kernel computes.

    Attributes:
        number: Bit number in ``later``.
        kind: ``loops``, ``contraction``, ``scatter``, ``prefix``, ``host``, ``pad`` or ``margin``
            for copies with margins, or ``join`` for what others have laid side by side.
        rows: Axes of the independent outer iterations.
        inner: Axes that each row is reduced or mapped over; empty: a map over ``rows``.
        roots: What it computes, in the reverse order of the program.
        core: The contraction, for that kind.
        reads: Where it reads the tensors that other groups, inputs or constants hold.
        wants: Tensors that it reads and that are not placed yet.
        draws: Whether it makes random bits, in blocks whose words are made side by side.
        heavy: Whether it computes little else than something that takes long.
        later: Bits of the groups that must run after this one.
        splits: What was put in the place of axes that were split, in order.
    """

    number: int
    kind: str
    rows: list[Axis] = field(default_factory=list)
    inner: list[Axis] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    core: Root | None = None
    reads: dict[Ref, list[Access]] = field(default_factory=dict)
    wants: dict[Ref, None] = field(default_factory=dict)
    heavy: bool = False
    draws: bool = False
    later: int = 0
    splits: list[dict[Axis, Index]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of iterations over all axes."""
        return extent(self.rows) * extent(self.inner)

    @property
    def stored(self) -> list[Root]:
        """What it stores, in the reverse order of the program."""
        return [root for root in self.roots if root.stored]

    @property
    def order(self) -> int:
        """Its place in the order of the program: that of the first node."""
        return min(root.node.number for root in self.roots)


def extent(axes: Iterable[Axis]) -> int:
    """Return the number of positions that axes run over together."""
    return math.prod(axis.extent for axis in axes)


def size_of(ref: Ref) -> int:
    """Return the number of elements of a tensor."""
    return math.prod(ref.shape)


def bug(what: str) -> StateError:
    """Return the error for something that a pass should never meet."""
    return StateError(f"compiler: {what}", hint="this is a bug in chainrule")


def expressions_of(formula: Made) -> tuple[Expr, ...]:
    """Return the expressions of a formula."""
    if isinstance(formula, Host):
        return ()
    if isinstance(formula, Scatter):
        return (*(e for e in formula.dynamic if e is not None), formula.body)
    return (formula.body,)


def node_of(
    formula: Made, name: str, origin: tuple[str, ...] = (), contracted: Roles | None = None
) -> Node:
    """Return the node of a formula; its number is given later."""
    loads: list[Load] = []
    work = 0
    for expr in walk(*expressions_of(formula)):
        if isinstance(expr, Load):
            loads.append(expr)
        elif isinstance(expr, Call):
            work += work_of(expr.fn)
    return Node(0, formula, name, origin, tuple(loads), work, contracted)


def is_view(node: Node) -> bool:
    """Return whether a node's elements are elements of one other tensor, elsewhere."""
    formula = node.formula
    if not isinstance(formula, Definition) or formula.fn or not isinstance(formula.body, Load):
        return False
    load = formula.body
    return not load.guards and not any(load.dynamic) and load.source.dtype is node.target.dtype


def is_flat(load: Load) -> bool:
    """Return whether a load's only index is a row-major position in the whole tensor."""
    return isinstance(load.source, Ref) and len(load.indices) == 1 != len(load.source.shape)


def replaced(index: Index, axes: dict[Axis, Index]) -> Index:
    """Return an index with axes replaced by indices, in a canonical order of terms."""
    terms = index.terms
    if len(terms) == 1 and not index.offset and terms[0][1] == 1:
        return axes.get(terms[0][0]) or index_of(terms[0][0])
    if not terms:
        return index
    return canonical(add(index.offset, *(scale(axes.get(a, index_of(a)), c) for a, c in terms)))


def canonical(index: Index) -> Index:
    """Return an index with its terms in a fixed order, so that equal ones compare equal."""
    if len(index.terms) < 2:
        return index
    return Index(tuple(sorted(index.terms, key=_by_name)), index.offset)


def _by_name(term: tuple[Axis, int]) -> str:
    return term[0].name


def moved(access: Access, axes: dict[Axis, Index]) -> Access:
    """Return an access with axes replaced by indices."""
    return access._replace(
        indices=tuple(replaced(i, axes) for i in access.indices),
        guards=tuple(Within(replaced(g.index, axes), g.size) for g in access.guards),
    )
