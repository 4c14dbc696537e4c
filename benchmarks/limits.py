"""The machine's limits, measured in a process of their own.

Takes: a number of threads. Gives: floating-point operations and bytes per second.
The one idea: NumPy's threads are set by the environment that a process starts with.

Usage: python -m benchmarks.limits  (with the threads of NumPy's BLAS set in the environment)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from chainrule.runtime.roofline import Limits, measured

__all__ = ["Limits", "measure"]

SIDE = 2048  # of the matrices: large enough that packing them costs nothing
ELEMENTS = 1 << 24  # of each array of the triad: 64 MiB, beyond every cache


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
    print(json.dumps(measured(chosen, duration, side=SIDE, elements=ELEMENTS)))
