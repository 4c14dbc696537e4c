"""States: all configurations of binary units, for exact sums over small models.

Takes: a number of units. Gives: every vector of zeros and ones, in blocks that fit in memory.
The one idea: a model of few units needs no sampling: what sampling only estimates is a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from chainrule.core.dtype import DType
from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor, tensor

# 2^20 states: a second or so of work for a few hundred units on the other side.
MOST_UNITS = 20
# States that are looked at together.
BLOCK = 2**12


def binary_states(name: str, units: int, dtype: DType) -> Iterator[Tensor]:
    """Yield all 2^units states in blocks [B, units]; bit j of a state's number is unit j.

    Raises:
        ArgumentError: They are too many to be enumerated.
    """
    if units > MOST_UNITS:
        raise ArgumentError(
            f"{name}: {units} units have 2^{units} states, at most 2^{MOST_UNITS} are enumerated",
            hint="estimate it: chainrule.models.annealed_log_partition(rbm), or sample",
        )
    for start in range(0, 2**units, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, 2**units))
        bits = (numbers[:, None] >> np.arange(units)) & 1
        yield tensor(bits.astype(np.float64), dtype=dtype)


def log_sum_exp(
    name: str, units: int, dtype: DType, exponents: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return log Σ exp(exponents(s)) over all states s of so many units; differentiable."""
    blocks = [
        call("logsumexp", exponents(states), -1) for states in binary_states(name, units, dtype)
    ]
    result: Tensor = call("logsumexp", call("stack", blocks), 0)
    return result
