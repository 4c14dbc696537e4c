"""The machine's limits: how fast it multiplies, how fast it reaches memory.

Takes: a number of threads. Gives: floating-point operations and bytes per second.
The one idea: a limit is the best that was ever seen here, by the simplest code that reaches it.

Usage: python -m benchmarks.limits  (with the threads of NumPy's BLAS set in the environment)
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

SIDE = 2048  # of the matrices: large enough that packing them costs nothing
ELEMENTS = 1 << 24  # of each array of the triad: 64 MiB, beyond every cache


class Limits(NamedTuple):
    """What the machine can do, with all threads in use."""

    flops: float
    bandwidth: float

    def seconds(self, flops: int, moved: int) -> float:
        """Return the least time of so many operations and bytes (Williams et al. 2009)."""
        return max(flops / self.flops, moved / self.bandwidth)


def _best(function: Callable[[], Any], seconds: float) -> float:
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def _products(seconds: float) -> float:
    """Return operations per second of a large float32 product."""
    x = np.ones((SIDE, SIDE), np.float32)
    y, out = x.copy(), x.copy()
    return 2 * SIDE**3 / _best(lambda: np.matmul(x, y, out=out), seconds)


def _triad(threads: int, seconds: float) -> float:
    """Return bytes per second of z = x + y (two reads, one write)."""
    x = np.ones(ELEMENTS, np.float32)
    y, z = x.copy(), x.copy()
    edges = np.linspace(0, ELEMENTS, threads + 1).astype(int)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]

    def add() -> None:
        workers = [
            threading.Thread(target=np.add, args=(x[p], y[p]), kwargs={"out": z[p]}) for p in parts
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return 3 * 4 * ELEMENTS / _best(add, seconds)


def measure(threads: int, seconds: float = 1.5) -> Limits:
    """Return the limits, measured in a process of its own."""
    counts = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, __file__, str(threads), str(seconds)]
    done = subprocess.run(
        command, env={**os.environ, **counts}, capture_output=True, text=True, check=True
    )
    return Limits(*json.loads(done.stdout))


if __name__ == "__main__":
    chosen, duration = int(sys.argv[1]), float(sys.argv[2])
    print(json.dumps([_products(duration), _triad(chosen, duration)]))
