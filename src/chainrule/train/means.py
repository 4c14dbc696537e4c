"""Means: averages over examples, kept as sums.

Takes: values of batches with the number of examples in each. Gives: means over all examples,
however unequal the batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chainrule.core.errors import DataError

__all__ = ["Means"]


class Means:
    """Sums by name, in float64, and the number of examples that they are over.

    Example:
        >>> means = Means()
        >>> means.add({"loss": 1.0}, 3)
        >>> means.add({"loss": 5.0}, 1)
        >>> means.compute()
        {'loss': 2.0}
    """

    def __init__(self) -> None:
        self.examples = 0
        self._sums: dict[str, float] = {}

    def add(self, means: Mapping[str, float], examples: int) -> None:
        """Take in a batch by its means."""
        self.add_sums({name: value * examples for name, value in means.items()}, examples)

    def add_sums(self, sums: Mapping[str, float], examples: int) -> None:
        """Take in a batch by its sums."""
        self.examples += examples
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def compute(self) -> dict[str, float]:
        """Return the means over all examples; NaN if there were none."""
        count = self.examples
        return {name: total / count if count else math.nan for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forget all batches."""
        self.examples = 0
        self._sums = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {"examples": self.examples, "sums": dict(self._sums)}

    def load_state_dict(self, state: Mapping[str, Any], where: str) -> None:
        """Go on from saved sums.

        Raises:
            DataError: It is no such state.
        """
        examples, sums = state.get("examples"), state.get("sums")
        if not isinstance(examples, int) or not isinstance(sums, dict):
            raise DataError(f"{where}: holds no sums")
        if not all(isinstance(value, float) for value in sums.values()):
            raise DataError(f"{where}: holds sums that are no numbers")
        self.examples = examples
        self._sums = dict(sums)
