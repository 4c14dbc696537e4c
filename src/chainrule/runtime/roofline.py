"""The roofline: how fast this machine multiplies, and how fast it reaches memory.

Takes: a number of threads. Gives: floating-point operations and bytes per second.
The one idea: a limit is the best that was ever seen here, by the simplest code that reaches it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Limits(NamedTuple):
    """What the machine can do, with all threads in use."""

    flops: float
    bandwidth: float

    def seconds(self, flops: int, moved: int) -> float:
        """Return the least time of so many operations and bytes (Williams et al. 2009)."""
        return max(flops / self.flops, moved / self.bandwidth)


def measured(threads: int, seconds: float, *, side: int, elements: int) -> Limits:
    """Measure the limits.

    Args:
        threads: How many threads add; NumPy's own setting decides how many multiply.
        seconds: Time for each of the two measurements.
        side: Of the square matrices that are multiplied.
        elements: Of the float32 arrays that are added; they should not fit into the caches.
    """
    return Limits(_products(side, seconds), _triad(threads, elements, seconds))


def _best(function: Callable[[], object], seconds: float) -> float:
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def _products(side: int, seconds: float) -> float:
    """Return operations per second of a large float32 product."""
    x = np.ones((side, side), np.float32)
    y, out = x.copy(), x.copy()
    return 2 * side**3 / _best(lambda: np.matmul(x, y, out=out), seconds)


def _triad(threads: int, elements: int, seconds: float) -> float:
    """Return bytes per second of z = x + y (two reads, one write)."""
    x = np.ones(elements, np.float32)
    y, z = x.copy(), x.copy()
    edges = np.linspace(0, elements, threads + 1).astype(int)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]

    def add() -> None:
        workers = [
            threading.Thread(target=np.add, args=(x[p], y[p]), kwargs={"out": z[p]}) for p in parts
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return 3 * 4 * elements / _best(add, seconds)
