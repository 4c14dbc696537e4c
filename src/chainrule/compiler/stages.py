"""Stages: the passes over a row that a group makes.

Takes: a group, and its expressions. Gives: what each pass reduces and stores.
The one idea: a value belongs to the pass after the last reduction that it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chainrule.compiler.assemble import Assembly, reads_of
from chainrule.compiler.nodes import Group, Root
from chainrule.ir.definition import Definition
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Within,
    children,
    replace_axes,
    walk,
)
from chainrule.ir.kernel import Accumulate, Store


@dataclass(slots=True)
class Stage:
    """One pass over a row.

    Attributes:
        before: What is stored of each row before it.
        sums: Reductions that it takes values into.
        stores: What is stored of each element.
    """

    before: list[Store] = field(default_factory=list)
    sums: list[Accumulate] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)

    @property
    def statements(self) -> Iterator[Store | Accumulate]:
        """All that it does."""
        yield from self.before
        yield from self.sums
        yield from self.stores


@dataclass(slots=True)
class Form:
    """The work of a group before it is put into loops.

    Attributes:
        rows: Axes of independent iterations.
        inner: Axes of each row.
        stages: Passes over each row, in order.
        scratch: Buffers of one row.
    """

    rows: list[Axis]
    inner: list[Axis]
    stages: list[Stage]
    scratch: list[Buffer] = field(default_factory=list)

    @property
    def statements(self) -> Iterator[Store | Accumulate]:
        """All that is done."""
        for stage in self.stages:
            yield from stage.statements

    @property
    def parts(self) -> list[Expr]:
        """All expressions, each once."""
        return list(walk(*(e for s in self.statements for e in values_of(s))))


def values_of(statement: Store | Accumulate) -> tuple[Expr, ...]:
    """Return the expressions of a statement."""
    if isinstance(statement, Store) and statement.dynamic is not None:
        return statement.dynamic, statement.value
    return (statement.value,)


def form_of(group: Group, assembly: Assembly) -> Form:
    """Return the passes of a group."""
    stages = [Stage()]
    inner = set(group.inner)
    level: dict[Acc, int] = {}

    def stage(number: int) -> Stage:
        while len(stages) <= number:
            stages.append(Stage())
        return stages[number]

    for root in reversed(group.roots):
        formula = root.node.formula
        assert isinstance(formula, Definition)
        value = assembly.body(root)
        number = max((level[acc] + 1 for acc in reads_of([value])), default=0)
        if formula.fn:
            acc = assembly.acc(root)
            level[acc] = number
            stage(number).sums.append(Accumulate(acc, value))
        if not root.stored:
            continue
        if formula.fn:
            stage(number + 1).before.insert(0, _store(root, assembly))
        elif _uses(root, inner):
            stage(number).stores.insert(0, _store(root, assembly))
        else:
            stage(number).before.insert(0, _store(root, assembly))
    return Form(list(group.rows), list(group.inner), stages)


def _uses(root: Root, inner: set[Axis]) -> bool:
    axes = (root.axes[axis] for axis in root.node.formula.axes)  # type: ignore[union-attr]
    return not inner or any(a in inner for index in axes for a, _ in index.terms)


def _store(root: Root, assembly: Assembly) -> Store:
    place = assembly.places[root.node.target]
    return Store(place.buffer, assembly.index(root), assembly.result(root))


def rewritten(form: Form, axes: dict[Axis, Index], bounds: tuple[Within, ...] = ()) -> list[Stage]:
    """Return the stages with axes replaced; what they share stays shared.

    Args:
        form: The work of a group.
        axes: What axes are replaced by.
        bounds: Conditions that all loads and stores get.
    """
    made: dict[int, Expr] = {}
    for expr in form.parts:
        made[id(expr)] = moved(expr, axes, bounds, made)

    def store(old: Store) -> Store:
        dynamic = None if old.dynamic is None else made[id(old.dynamic)]
        guards = (*_within(old.guards, axes), *bounds)
        index = replace_axes(old.index, axes)
        return Store(old.buffer, index, made[id(old.value)], guards, dynamic, old.adds)

    return [
        Stage(
            [store(s) for s in stage.before],
            [Accumulate(s.acc, made[id(s.value)]) for s in stage.sums],
            [store(s) for s in stage.stores],
        )
        for stage in form.stages
    ]


def _within(bounds: tuple[Within, ...], axes: dict[Axis, Index]) -> tuple[Within, ...]:
    return tuple(Within(replace_axes(b.index, axes), b.size) for b in bounds)


def moved(
    expr: Expr, axes: dict[Axis, Index], bounds: tuple[Within, ...], made: dict[int, Expr]
) -> Expr:
    """Return an expression with axes replaced, itself where nothing changes.

    Args:
        expr: The expression.
        axes: What axes are replaced by.
        bounds: Conditions that loads get.
        made: What its parts have become.
    """
    if isinstance(expr, Call):
        args = tuple(made[id(a)] for a in expr.args)
        same = all(a is b for a, b in zip(args, expr.args, strict=True))
        return expr if same else Call(expr.fn, args, expr.dtype)
    if isinstance(expr, Load):
        index = replace_axes(expr.indices[0], axes)
        guards = (*_within(expr.guards, axes), *bounds)
        dynamic = tuple(made[id(e)] for e in children(expr))
        same = all(a is b for a, b in zip(dynamic, children(expr), strict=True))
        if same and index is expr.indices[0] and guards == expr.guards:
            return expr
        return Load(expr.source, (index,), guards, dynamic)
    if isinstance(expr, Position):
        index = replace_axes(expr.index, axes)
        return expr if index is expr.index else Position(index)
    if isinstance(expr, Inside):
        return Inside(_within(expr.bounds, axes))
    return expr
