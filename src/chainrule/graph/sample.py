"""Samples: inputs on which an op or function is checked, declared beside it.

Takes: shapes and value ranges. Gives: concrete arrays, the same for the same seed.
The one idea: the author of an op knows its interesting inputs; the tests are generated from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.shape import Shape


@dataclass(frozen=True)
class In:
    """How to make one input of a sample.

    Attributes:
        shape: Its shape.
        low: Smallest value (inclusive).
        high: Largest value (exclusive).
        kind: ``float`` takes the dtype under test; ``int``, ``bool`` are fixed kinds.
        distinct: Values are well apart from each other (for max, sort: no ties in reach of
            a finite difference).
        avoid: Values that no element comes closer to than 0.1 (kinks: 0 for ``abs``).
        values: Given values instead of random ones.
    """

    shape: Shape = ()
    low: float = -2.0
    high: float = 2.0
    kind: Literal["float", "int", "bool"] = "float"
    distinct: bool = False
    avoid: tuple[float, ...] = ()
    values: Any = None

    def make(self, rng: np.random.Generator) -> Array:
        """Return the input as a float64, int64 or bool array."""
        target = {"float": np.float64, "int": np.int64, "bool": np.bool_}[self.kind]
        if self.values is not None:
            return np.asarray(self.values, dtype=target)
        if self.kind == "bool":
            return rng.random(self.shape) < 0.5
        if self.kind == "int":
            return rng.integers(int(self.low), int(self.high), self.shape)
        if self.distinct:
            count = int(np.prod(self.shape))
            steps = (rng.permutation(count) + 0.5) / max(count, 1)
            return self._away((self.low + (self.high - self.low) * steps).reshape(self.shape))
        return self._away(rng.uniform(self.low, self.high, self.shape))

    def _away(self, array: Array) -> Array:
        for point in self.avoid:
            near = np.abs(array - point) < 0.1
            array = np.where(near, point + np.where(array < point, -0.15, 0.15), array)
        return array


@dataclass(frozen=True)
class Sample:
    """One call of an op or function: its inputs in order, then its attributes by name."""

    inputs: tuple[In, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""


def sample(*inputs: In | Shape, name: str = "", **attrs: Any) -> Sample:
    """Return a sample; an input given as a bare shape holds floats from -2 to 2."""
    made = tuple(i if isinstance(i, In) else In(i) for i in inputs)
    return Sample(made, attrs, name)
