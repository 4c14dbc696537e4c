"""Work: what a kernel computes and moves, counted from its loops.

Takes: kernels and contractions. Gives: floating-point operations and bytes.
The one idea: both are fixed before the kernel runs, so a measured time says how good it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.ir.expr import Axis, Call, Expr, children
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Statement, Store
from chainrule.ir.scalar import FUNCTIONS


def _size(axes: Iterable[Axis]) -> int:
    return math.prod(axis.extent for axis in axes)


def flops(kernel: Kernel | Contraction) -> int:
    """Return the floating-point operations of a kernel, as `ir.scalar` counts them."""
    if isinstance(kernel, Contraction):
        results = _size((*kernel.batch, *kernel.rows, *kernel.columns))
        after = _of_expressions([store.value for store in kernel.stores])
        return results * (2 * _size(kernel.depth) + after)
    return _size(kernel.grid) * _of_statements(kernel.body)


def moved(kernel: Kernel | Contraction) -> int:
    """Return the bytes of all buffers of a kernel, each of them read or written once."""
    return sum(buffer.size * buffer.dtype.itemsize for buffer in kernel.buffers)


def _of_statements(statements: Iterable[Statement]) -> int:
    total = 0
    for statement in statements:
        if isinstance(statement, Loop):
            total += statement.axis.extent * _of_statements(statement.body)
        elif not isinstance(statement, Declare):
            adds = isinstance(statement, Accumulate) or (
                isinstance(statement, Store) and statement.adds
            )
            total += _of_expressions([statement.value]) + adds
    return total


def _of_expressions(roots: Iterable[Expr]) -> int:
    """Count each shared part once."""
    total = 0
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        expr = stack.pop()
        if id(expr) in seen:
            continue
        seen.add(id(expr))
        if isinstance(expr, Call) and expr.dtype.is_floating:
            total += FUNCTIONS[expr.fn].flops
        stack.extend(children(expr))
    return total
