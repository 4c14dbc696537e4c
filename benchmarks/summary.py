"""Summaries: what many measured times say.

Takes: numbers. Gives: their median, spread, and how two curves differ.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Middle half of measured values."""

    low: float
    median: float
    high: float

    @property
    def range(self) -> float:
        """Distance between the quartiles."""
        return self.high - self.low


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)


def difference(curve: Sequence[float], reference: Sequence[float]) -> float:
    """Return the largest difference between two curves, in parts of where the second begins."""
    off = [abs(a - b) for a, b in zip(curve, reference, strict=True)]
    # `max` would pass over a NaN that is not the first.
    return math.nan if any(map(math.isnan, off)) else max(off) / abs(reference[0])


def duration(seconds: float) -> str:
    """Return a time with three digits and a fitting unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            value = seconds * factor
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError
