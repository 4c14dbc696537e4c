"""Threads: what a parallel region costs, and what a busy neighbour does to a small step.

Takes: this machine. Gives: microseconds, printed; exit status 1 where a stated bound is missed.
The one idea: the same step alone, and beside a process that never pauses.

Usage: python -m benchmarks.threads
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import chainrule
import chainrule.nn.functional as F
from chainrule import nn, optim

# Microseconds that a region of two threads may cost; times that a busy neighbour may cost.
REGION, SLOWDOWN = 3.0, 2.0
CALLS = 1000


def median(function: Callable[[], object]) -> float:
    """Return the median time of a call in microseconds."""
    took = []
    for _ in range(CALLS):
        start = time.perf_counter()
        function()
        took.append(time.perf_counter() - start)
    return float(np.median(took)) * 1e6


def small_step() -> Callable[[], object]:
    """Return a compiled step of an MLP 784-100-10, batch 100."""
    chainrule.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 100), nn.Sigmoid(), nn.Linear(100, 10))
    rule = optim.SGD(model.parameters(), lr=0.1)
    x, y = chainrule.randn(100, 784), chainrule.randint(0, 10, (100,))

    @chainrule.compile
    def step() -> None:
        rule.zero_grad()
        F.cross_entropy(model(x), y).backward()
        rule.step()

    step()
    return step


def best(function: Callable[[], object]) -> float:
    """Return the least time of a call in microseconds."""
    took = []
    for _ in range(20 * CALLS):
        start = time.perf_counter()
        function()
        took.append(time.perf_counter() - start)
    return min(took) * 1e6


def region_cost() -> float:
    """Return what a region of two threads takes beyond half of the work that it shares."""
    f = chainrule.compile(lambda x: x + 1.0)
    few, many = chainrule.randn(64), chainrule.randn(1 << 16)
    chainrule.set_num_threads(1)
    call, alone = best(lambda: f(few)), best(lambda: f(many))
    chainrule.set_num_threads(2)
    return best(lambda: f(many)) - call - (alone - call) / 2


def main() -> int:
    """Print the figures; return the exit status."""
    region = region_cost()
    chainrule.set_num_threads(2)
    step = small_step()
    alone = median(step)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        time.sleep(0.5)
        beside = median(step)
        busy.kill()
    print(f"a parallel region of two threads costs {region:.2f} us (at most {REGION})")
    print(
        f"a step of {alone:.0f} us takes {beside:.0f} us beside a busy process: "
        f"{beside / alone:.2f} times (at most {SLOWDOWN})"
    )
    return int(region > REGION or beside > SLOWDOWN * alone)


if __name__ == "__main__":
    sys.exit(main())
