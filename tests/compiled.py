"""Many calls compiled into one program: for tests.

A program for each call would take a second for every ten of them; one for all samples of an op
takes a tenth of that, and its kernels meet the same fusion as in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import chainrule
from chainrule.graph.tensor import Tensor, tensor

Call = Callable[..., Any]
Inputs = Sequence[Sequence[Tensor]]


class Together:
    """Calls as one compiled function, which takes the inputs of all and returns all results.

    Args:
        calls: Functions of tensors, each returning one tensor.
        counts: How many tensors each of them takes.
        backward: Whether the results are differentiated too, each weighted by `weight`.
    """

    def __init__(
        self, calls: Sequence[Call], counts: Sequence[int], *, backward: bool = False
    ) -> None:
        self._calls = calls
        self._ends = np.cumsum(counts)
        self._counts = counts
        self._backward = backward
        self._run = chainrule.compile(self._all)

    def __call__(self, inputs: Inputs) -> list[Tensor]:
        """Return the results; gradients are left in the inputs that require them."""
        return self._run(*(x for given in inputs for x in given))

    def _all(self, *flat: Tensor) -> list[Tensor]:
        results = []
        for call, end, count in zip(self._calls, self._ends, self._counts, strict=True):
            result = call(*flat[end - count : end])
            if self._backward:
                differentiate(result)
            results.append(result)
        return results


def differentiate(result: Tensor) -> None:
    """Differentiate the sum of a result's elements, each with a weight of its own."""
    if result.node is not None:
        (result * weight(result)).sum().backward()


def weight(result: Tensor) -> Tensor:
    """Return the weights of a result's elements."""
    numbers = np.random.default_rng(2).uniform(0.5, 1.5, result.shape)
    return tensor(numbers, dtype=result.dtype)
