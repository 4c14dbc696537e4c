"""Assembly: the expressions of a group, over buffers.

Takes: a group, where its tensors lie in memory. Gives: what it stores and reduces, as
expressions of its axes.
The one idea: each tensor that is read at a position is built once; equal expressions become the
same object, so what several results share is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chainrule.compiler.access import composed
from chainrule.compiler.nodes import Access, Group, Node, Root, bug, replaced
from chainrule.core.dtype import bool_, int64
from chainrule.ir.definition import Definition
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Const,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Ref,
    Within,
    add,
    children,
    computed,
    const,
    flat,
    needed,
    walk,
    where,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies.

    Attributes:
        buffer: In which buffer.
        strides: How far apart neighbours along each dimension are.
        offset: Where its first element is.
    """

    buffer: Buffer
    strides: tuple[int, ...]
    offset: int = 0

    def at(self, indices: Iterable[Index]) -> Index:
        """Return the position in memory of an element."""
        return add(self.offset, flat(indices, self.strides))


class Assembly:
    """The expressions of one group.

    Args:
        group: The group.
        places: Where the tensors that are in memory lie.
        nodes: The node that makes each tensor.
    """

    def __init__(self, group: Group, places: dict[Ref, Place], nodes: dict[Ref, Node]) -> None:
        self.group = group
        self.places = places
        self.nodes = nodes
        self.accs: dict[Ref, Acc] = {}
        self._roots = {root.node.target: root for root in group.roots}
        self._values: dict[tuple[Ref, Access], Expr] = {}
        self._own: dict[Ref, Expr] = {}
        self._known: dict[object, Expr] = {}

    # --- results ---------------------------------------------------------------------------

    def body(self, root: Root) -> Expr:
        """Return the expression of a root: what is stored, or what is reduced."""
        ref = root.node.target
        if ref not in self._own:
            formula = root.node.formula
            assert not isinstance(formula, Node)
            self._own[ref] = self._formula(root.node, formula.body, root.axes, ())  # type: ignore[union-attr]
        return self._own[ref]

    def result(self, root: Root) -> Expr:
        """Return the element that a root stores."""
        formula = root.node.formula
        if not isinstance(formula, Definition) or not formula.fn:
            return self.body(root)
        return self.as_type(self._shared(Read(self.acc(root))), computed(root.node.target.dtype))

    def acc(self, root: Root) -> Acc:
        """Return the reduction of a root."""
        ref = root.node.target
        if ref not in self.accs:
            formula = root.node.formula
            assert isinstance(formula, Definition)
            self.accs[ref] = Acc(f"acc{len(self.accs)}", formula.fn, formula.body.dtype)
        return self.accs[ref]

    def as_type(self, value: Expr, dtype: object) -> Expr:
        """Return a value in another type."""
        if value.dtype is dtype:
            return value
        return self._shared(Call("cast", (value,), dtype))  # type: ignore[arg-type]

    def index(self, root: Root) -> Index:
        """Return the position in memory of the element that a root stores."""
        formula = root.node.formula
        place = self.places[root.node.target]
        indices = (root.axes[axis] for axis in formula.axes)  # type: ignore[union-attr]
        return place.at(indices)

    # --- parts -----------------------------------------------------------------------------

    def expression(self, root: Root, expr: Expr) -> Expr:
        """Return another expression of a root's formula in the group's axes."""
        return self._formula(root.node, expr, root.axes, ())

    def value(self, ref: Ref, access: Access) -> Expr:
        """Return an element of a tensor; where guards do not hold it may be anything."""
        access = access._replace(plain=False, gathers=0)
        key = (ref, access)
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = self._value(ref, access)
        return found

    def _value(self, ref: Ref, access: Access) -> Expr:
        root = self._roots.get(ref)
        if root is not None and self.group.kind in ("loops", "contraction"):
            return self.result(root)
        if ref in self.places:
            return self._load(ref, access, None)
        node = self.nodes[ref]
        formula = node.formula
        if not isinstance(formula, Definition) or formula.fn:
            raise bug(f"{ref.name} is read but not stored")
        axes = dict(zip(formula.axes, access.indices, strict=True))
        return self._formula(node, formula.body, axes, access.guards)

    def _masked(self, value: Expr, bounds: tuple[Within, ...]) -> Expr:
        """Return a value that is zero outside of bounds."""
        if isinstance(value, Load) and set(bounds).issubset(value.guards):
            return value
        zero = self._shared(const(0, value.dtype))
        return self._shared(where(self._shared(Inside(bounds)), value, zero))

    def _load(self, ref: Ref, access: Access, dynamic: Expr | None) -> Expr:
        place = self.places[ref]
        index = place.at(access.indices)
        extra = () if dynamic is None else (dynamic,)
        return self._shared(Load(place.buffer, (index,), access.guards, extra))

    def _formula(
        self, node: Node, body: Expr, axes: dict[Axis, Index], guards: tuple[Within, ...]
    ) -> Expr:
        made: dict[int, Expr] = {}
        for expr in walk(body):
            made[id(expr)] = self._part(expr, axes, guards, made)
        return made[id(body)]

    def _part(
        self, expr: Expr, axes: dict[Axis, Index], guards: tuple[Within, ...], made: dict[int, Expr]
    ) -> Expr:
        if isinstance(expr, Call):
            return self._shared(Call(expr.fn, tuple(made[id(a)] for a in expr.args), expr.dtype))
        if isinstance(expr, Load):
            assert isinstance(expr.source, Ref)
            if 0 in expr.source.shape:  # guards keep it from being read
                return self._shared(const(0, expr.dtype))
            access = composed(expr, axes, guards, may_split=False)
            if not any(expr.dynamic):
                value = self.value(expr.source, access)
                own = needed(Within(replaced(g.index, axes), g.size) for g in expr.guards)
                return self._masked(value, own) if own else value
            dynamic = [None if e is None else made[id(e)] for e in expr.dynamic]
            return self._gather(expr.source, access, dynamic)
        if isinstance(expr, Position):
            return self._shared(Position(replaced(expr.index, axes)))
        if isinstance(expr, Inside):
            bounds = needed(Within(replaced(b.index, axes), b.size) for b in expr.bounds)
            if not bounds:
                return self._shared(const(True, expr.dtype))
            return self._shared(Inside(bounds))
        return self._shared(expr)

    def _gather(self, ref: Ref, access: Access, dynamic: list[Expr | None]) -> Expr:
        """Return a load whose dynamic positions are clamped into their dimensions."""
        place = self.places[ref]
        shape: tuple[int, ...] = ref.shape
        strides = place.strides
        if len(access.indices) == 1 != len(shape):  # a row-major position
            size = 1
            for n in shape:
                size *= n
            shape, strides = (size,), (1,)
        still: list[Index] = []
        offset: Expr | None = None
        for n, index in enumerate(access.indices):
            extra = dynamic[n] if n < len(dynamic) else None
            if extra is None:
                still.append(index)
                continue
            still.append(Index((), 0))
            moving = self.clamped(self.plus(extra, index), shape[n])
            step = self.times(moving, strides[n])
            offset = step if offset is None else self._call("add", offset, step)
        return self._shared(
            Load(
                place.buffer,
                (add(place.offset, flat(still, strides)),),
                access.guards,
                () if offset is None else (offset,),
            )
        )

    # --- integer arithmetic ----------------------------------------------------------------

    def plus(self, value: Expr, index: Index) -> Expr:
        """Return an integer plus a position."""
        if not index.terms and not index.offset:
            return value
        return self._call("add", value, self._shared(Position(index)))

    def times(self, value: Expr, factor: int) -> Expr:
        """Return an integer times a number."""
        if factor == 1:
            return value
        return self._call("multiply", value, self.number(factor))

    def clamped(self, value: Expr, size: int) -> Expr:
        """Return an integer moved into ``[0, size)``."""
        low = self._call("maximum", value, self.number(0))
        return self._call("minimum", low, self.number(size - 1))

    def number(self, value: int) -> Expr:
        """Return a whole number."""
        return self._shared(Const(value, int64))

    def call(self, fn: str, *args: Expr, dtype: object = None) -> Expr:
        """Return a scalar function of expressions."""
        return self._shared(Call(fn, args, dtype or args[0].dtype))  # type: ignore[arg-type]

    def compare(self, fn: str, value: Expr, number: int) -> Expr:
        """Return whether an integer compares to a number."""
        return self.call(fn, value, self.number(number), dtype=bool_)

    def _call(self, fn: str, *args: Expr) -> Expr:
        return self.call(fn, *args)

    def _shared(self, expr: Expr) -> Expr:
        """Return the object that stands for all equal expressions."""
        key: object
        if isinstance(expr, Call):
            key = (expr.fn, expr.dtype.name, *map(id, expr.args))
        elif isinstance(expr, Const):
            key = ("const", repr(expr.value), expr.dtype.name)
        elif isinstance(expr, Load):
            key = (expr.source, expr.indices, expr.guards, *map(id, children(expr)))
        elif isinstance(expr, Position):
            key = ("position", expr.index)
        elif isinstance(expr, Inside):
            key = ("inside", expr.bounds)
        else:
            key = ("read", expr.acc)
        return self._known.setdefault(key, expr)


def reads_of(roots: Iterable[Expr]) -> set[Acc]:
    """Return the reductions that expressions read."""
    return {expr.acc for expr in walk(*roots) if isinstance(expr, Read)}
