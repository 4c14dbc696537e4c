"""A second reading of the kernel language, for the tests: plain Python, one element at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

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
    Within,
)
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Statement, Store

Memory = dict[Buffer, list[Any]]
Where = dict[Axis, int]


def larger(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else max(x, y)


def smaller(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else min(x, y)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "maximum": larger,
    "minimum": smaller,
    "logical_and": lambda x, y: x and y,
    "logical_or": lambda x, y: x or y,
    "less": lambda x, y: x < y,
    "where": lambda c, x, y: x if c else y,
    "abs": abs,
}
NEUTRAL = {"add": 0, "multiply": 1, "maximum": -math.inf, "minimum": math.inf}


def position(index: Index, at: Where) -> int:
    return index.offset + sum(c * at[axis] for axis, c in index.terms)


def holds(bounds: Sequence[Within], at: Where) -> bool:
    return all(0 <= position(index, at) < size for index, size in bounds)


def value(expr: Expr, at: Where, memory: Memory, accs: dict[Acc, Any]) -> Any:
    """Return the value of an expression at one position."""
    if isinstance(expr, Const):
        return expr.value
    if isinstance(expr, Position):
        return position(expr.index, at)
    if isinstance(expr, Inside):
        return holds(expr.bounds, at)
    if isinstance(expr, Call):
        args = [value(a, at, memory, accs) for a in expr.args]
        if expr.fn == "cast":
            return float(args[0]) if expr.dtype.is_floating else int(args[0])
        return FUNCTIONS[expr.fn](*args)
    if isinstance(expr, Load):
        if not holds(expr.guards, at):
            return 0
        place = position(expr.indices[0], at)
        place += sum(value(e, at, memory, accs) for e in expr.dynamic if e is not None)
        assert place >= 0
        assert isinstance(expr.source, Buffer)
        return memory[expr.source][place]
    return accs[expr.acc]


def run(kernel: Kernel | Contraction, memory: Memory) -> None:
    """Run a kernel, writing into lists."""
    if isinstance(kernel, Contraction):
        contract(kernel, memory)
        return
    for at in positions(kernel.grid):
        own = {**memory, **{b: [math.nan] * b.size for b in kernel.scratch}}
        execute(kernel.body, at, own, {})


def positions(axes: Sequence[Axis]) -> list[Where]:
    values = itertools.product(*(range(axis.extent) for axis in axes))
    return [dict(zip(axes, chosen, strict=True)) for chosen in values]


def execute(body: Sequence[Statement], at: Where, memory: Memory, accs: dict[Acc, Any]) -> None:
    for stores, group in itertools.groupby(body, lambda s: isinstance(s, Store)):
        if stores:
            write_all(list(group), at, memory, accs)
            continue
        for statement in group:
            if isinstance(statement, Declare):
                accs[statement.acc] = NEUTRAL[statement.acc.fn]
            elif isinstance(statement, Accumulate):
                acc = statement.acc
                new = value(statement.value, at, memory, accs)
                accs[acc] = FUNCTIONS[acc.fn](accs[acc], new)
            else:
                assert isinstance(statement, Loop)
                for turn in range(statement.axis.extent):
                    execute(statement.body, {**at, statement.axis: turn}, memory, accs)


def write_all(stores: Sequence[Statement], at: Where, memory: Memory, accs: dict[Acc, Any]) -> None:
    """Write neighbouring stores, after all their values are known."""
    known = []
    for statement in stores:
        assert isinstance(statement, Store)
        place = position(statement.index, at)
        if statement.dynamic is not None:
            place += value(statement.dynamic, at, memory, accs)
        size = statement.buffer.size
        if holds(statement.guards, at) and 0 <= place < size:
            known.append((statement, place, value(statement.value, at, memory, accs)))
    for statement, place, new in known:
        target = memory[statement.buffer]
        target[place] = target[place] + new if statement.adds else new


def contract(kernel: Contraction, memory: Memory) -> None:
    for at in positions((*kernel.batch, *kernel.rows, *kernel.columns)):
        total = 0
        for deep in positions(kernel.depth):
            where = {**at, **deep}
            total += value(kernel.left, where, memory, {}) * value(kernel.right, where, memory, {})
        write_all(kernel.stores, at, memory, {kernel.acc: total})
