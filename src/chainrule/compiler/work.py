"""Work: how long scalar functions take.

Takes: the name of a scalar function. Gives: its work, in vector operations for a vector.
The one idea: what counts for scheduling is the number of instructions, not of FLOPs.
"""

from __future__ import annotations

from chainrule.ir.scalar import FUNCTIONS

_SLOW = {"divide": 5, "sqrt": 5, "rsqrt": 8, "pow": 40, "floor_divide": 10, "remainder": 10}
_WORK = {name: _SLOW.get(name, max(function.flops, 1)) for name, function in FUNCTIONS.items()}


def work_of(fn: str) -> int:
    """Return the work of a scalar function."""
    return _WORK[fn]
