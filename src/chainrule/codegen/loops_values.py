"""Values: expressions turned into instructions.

Takes: an expression and the loops round it. Gives: the name of its value, scalar or vector.
The one idea: what does not depend on the vector axis is computed once as a scalar.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from chainrule.codegen import types
from chainrule.codegen.loops_context import Affine, Changed, Context, Value
from chainrule.codegen.loops_memory import all_hold, canonical, load_scalar, load_vector
from chainrule.codegen.scalars import call_function
from chainrule.core.dtype import bool_
from chainrule.ir.expr import (
    Acc,
    Axis,
    Call,
    Const,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Within,
    children,
    walk,
)


class Facts(NamedTuple):
    """What is known of an expression before it is computed.

    Attributes:
        key: Equal for expressions that are written alike.
        axes: Axes that it depends on.
        things: Reductions and buffers that it reads.
    """

    key: int
    axes: frozenset[Axis]
    things: Changed


class Values:
    """Writes expressions in a context.

    Args:
        context: Where to write.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._facts: dict[int, tuple[Expr, Facts]] = {}
        self._keys: dict[Hashable, int] = {}

    def value(self, root: Expr, copy: int) -> Value:
        """Write an expression for one of the vectors that are worked on; shared parts once."""
        for expr in walk(root):
            if id(expr) not in self._facts:
                self._facts[id(expr)] = (expr, self._examine(expr))
        stack = [root]
        while True:
            expr = stack[-1]
            known = self._known(expr, copy)
            if known is None:
                waiting = [c for c in children(expr) if self._known(c, copy) is None]
                if waiting:
                    stack.extend(reversed(waiting))
                    continue
                known = self._compute(expr, copy)
            stack.pop()
            if not stack:
                return known

    def vector(self, root: Expr, copy: int) -> str:
        """Write an expression as a vector."""
        return self.context.widen(self.value(root, copy), root.dtype)

    # --- what an expression depends on ---------------------------------------------------------

    def facts(self, expr: Expr) -> Facts:
        """Return what is known of an expression whose value has been asked for."""
        return self._facts[id(expr)][1]

    def _examine(self, expr: Expr) -> Facts:
        below = [self.facts(child) for child in children(expr)]
        axes: frozenset[Axis] = frozenset().union(*(f.axes for f in below))
        things: Changed = frozenset().union(*(f.things for f in below))
        key: Hashable
        if isinstance(expr, Const):
            key = ("const", types.literal(expr.value, expr.dtype), expr.dtype.name)
        elif isinstance(expr, Position):
            key, axes = ("position", _terms(expr.index)), _axes(expr.index)
        elif isinstance(expr, Inside):
            key = ("inside", frozenset(map(canonical, expr.bounds)))
            axes = frozenset().union(*(_axes(bound.index) for bound in expr.bounds))
        elif isinstance(expr, Load):
            index, guards = expr.indices[0], frozenset(map(canonical, expr.guards))
            key = ("load", id(expr.source), _terms(index), guards, *(f.key for f in below))
            axes = axes.union(_axes(index), *(_axes(bound.index) for bound in guards))
            assert not hasattr(expr.source, "shape"), "kernels read buffers"
            things = things | {expr.source}
        elif isinstance(expr, Call):
            key = ("call", expr.fn, expr.dtype.name, *(f.key for f in below))
        else:
            key, things = ("read", id(expr.acc)), frozenset({expr.acc})
        number = self._keys.setdefault(key, len(self._keys))
        return Facts(number, axes, things)

    def _is_wide(self, facts: Facts) -> bool:
        lane = self.context.lane
        if lane is None:
            return False
        if lane.axis in facts.axes:
            return True
        return any(isinstance(t, Acc) and self._is_per_lane(t) for t in facts.things)

    def _is_per_lane(self, acc: Acc) -> bool:
        known = self.context.accumulators.get(acc)
        return known is not None and known.wide

    # --- computing -----------------------------------------------------------------------------

    def _known(self, expr: Expr, copy: int) -> Value | None:
        if isinstance(expr, Const):
            return Value(types.literal(expr.value, expr.dtype), False, 0)
        facts = self.facts(expr)
        return self.context.recall((facts.key, copy if self._is_wide(facts) else -1))

    def _compute(self, expr: Expr, copy: int) -> Value:
        facts = self.facts(expr)
        wide = self._is_wide(facts)
        level = self.context.level(facts.axes, facts.things)
        with self.context.at(level):
            text = self._write(expr, copy, wide)
        value = Value(text, wide, level)
        return self.context.remember((facts.key, copy if wide else -1), value, facts.things)

    def _write(self, expr: Expr, copy: int, wide: bool) -> str:
        if isinstance(expr, Call):
            return self._call(expr, copy, wide)
        if isinstance(expr, Load):
            return self._load(expr, copy, wide)
        if isinstance(expr, Position):
            affine = self.context.affine(expr.index, copy)
            return self.context.steps(affine) if wide else self._place(affine)
        if isinstance(expr, Inside):
            inside = all_hold(self.context, expr.bounds, copy)
            return self.context.widen(inside, bool_) if wide else inside.text
        assert isinstance(expr, Read)
        return self._read(expr, copy)

    def _place(self, affine: Affine) -> str:
        if affine.value is None:
            return str(affine.offset)
        if not affine.offset:
            return affine.value.text
        return self.context.function.value(f"add i64 {affine.value.text}, {affine.offset}")

    def _call(self, expr: Call, copy: int, wide: bool) -> str:
        dtypes = [arg.dtype for arg in expr.args]
        values = [self._argument(arg, copy) for arg in expr.args]
        if not wide:
            texts = [value.text for value in values]
            lanes = 1
        else:
            assert self.context.lane is not None
            lanes = self.context.lane.width
            texts = [self.context.widen(v, d) for v, d in zip(values, dtypes, strict=True)]
        function = self.context.function
        return call_function(
            function, self.context.target, expr.fn, texts, dtypes, expr.dtype, lanes
        )

    def _argument(self, expr: Expr, copy: int) -> Value:
        known = self._known(expr, copy)
        assert known is not None
        return known

    def _load(self, expr: Load, copy: int, wide: bool) -> str:
        buffer, index = expr.source, expr.indices[0]
        assert not hasattr(buffer, "shape"), "kernels read buffers"
        offsets = [self._argument(e, copy) for e in expr.dynamic if e is not None]
        dynamic = offsets[0] if offsets else None
        if wide:
            return load_vector(self.context, buffer, index, expr.guards, copy, dynamic)
        offset = dynamic.text if dynamic else None
        return load_scalar(self.context, buffer, index, expr.guards, copy, offset)

    def _read(self, expr: Read, copy: int) -> str:
        accumulator = self.context.accumulators[expr.acc]
        kind = types.element_type(expr.acc.dtype)
        if not accumulator.wide:
            return self.context.function.value(f"load {kind}, ptr {accumulator.slots[0]}")
        assert self.context.lane is not None
        whole = types.many(kind, self.context.lane.width)
        return self.context.function.value(f"load {whole}, ptr {accumulator.slots[copy]}")


def _axes(index: Index) -> frozenset[Axis]:
    return frozenset(axis for axis, _ in index.terms)


def _terms(index: Index) -> Within:
    return canonical(Within(index, 0))
