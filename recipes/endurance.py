"""A hundred thousand compiled steps: memory stays flat, and the losses are the same to the bit.

A small network (batch norm, dropout, Adam) is trained in processes of their own: with 1, 2 and 3
threads, with machine code just compiled and from the cache, and once more. Every loss of every step
must have the same bits in all of them, and no process may need more memory at the end than after
the first tenth.

    python recipes/endurance.py                  a hundred thousand steps
    python recipes/endurance.py --steps 2000     a short version

It prints a table, and exits with status 1 if anything differs or grows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import chainrule
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.graph.tensor import Tensor

FEATURES, HIDDEN, CLASSES, BATCH, BATCHES = 32, 256, 10, 128, 8
# Python's own lists and caches come and go; a leak of one loss in each step would be 10 MB.
ALLOWED_GROWTH = 1_000_000
# Threads, and what the cache holds when the process starts.
RUNS = ((1, "empty"), (2, "filled"), (3, "filled"), (2, "filled again"), (1, "off"))


def resident_bytes() -> int:
    """Return how much memory this process has in use."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the most it ever had
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def train(steps: int) -> dict[str, Any]:
    """Train; return a digest of the losses, and the memory after a tenth and at the end."""
    chainrule.manual_seed(5)
    model = nn.Sequential(
        *(nn.Linear(FEATURES, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Dropout(0.2)),
        nn.Linear(HIDDEN, CLASSES),
    )
    rule = optim.Adam(model.parameters(), lr=1e-3)

    @chainrule.compile
    def step(x: Tensor, y: Tensor) -> Tensor:
        rule.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        rule.step()
        return loss

    data = [
        (chainrule.randn(BATCH, FEATURES), chainrule.randint(0, CLASSES, (BATCH,)))
        for _ in range(BATCHES)
    ]
    digest, before, loss = hashlib.sha256(), 0, None
    start = time.perf_counter()
    for number in range(steps):
        loss = step(*data[number % BATCHES])
        digest.update(loss.numpy().tobytes())
        if number == steps // 10:
            before = resident_bytes()
    return {
        "digest": digest.hexdigest(),
        "loss": loss.item() if loss is not None else None,
        "before": before,
        "after": resident_bytes(),
        "seconds": time.perf_counter() - start,
    }


def in_a_process(steps: int, threads: int, cache: str, folder: str) -> dict[str, Any]:
    """Train in a new process; return what it found."""
    settings = {"CHAINRULE_CACHE": folder, "CHAINRULE_NUM_THREADS": str(threads)}
    if cache == "off":
        settings["CHAINRULE_CODE_CACHE_MB"] = "0"
    command = [sys.executable, __file__, "--child", f"--steps={steps}"]
    made = subprocess.run(
        command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def main() -> int:
    """Read the command line; returns 1 if something differs or grows."""
    parser = argparse.ArgumentParser(description="Train for long; memory and losses are watched.")
    parser.add_argument("--steps", type=int, default=100_000, help="how many in each run")
    parser.add_argument("--child", action="store_true", help="train in this process")
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(train(chosen.steps)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = [in_a_process(chosen.steps, *run, folder) for run in RUNS]
    print(
        f"{'threads':>7}  {'code cache':12}  {'losses':12}  {'last':>10}  {'memory MB':>16}  time"
    )
    for (threads, cache), run in zip(RUNS, found, strict=True):
        memory = f"{run['before'] / 1e6:.1f} to {run['after'] / 1e6:.1f}"
        digest, loss = run["digest"][:12], f"{run['loss']:.6g}"
        print(
            f"{threads:7}  {cache:12}  {digest}  {loss:>10}  {memory:>16}  {run['seconds']:.1f} s"
        )
    same = len({run["digest"] for run in found}) == 1
    flat = all(run["after"] - run["before"] < ALLOWED_GROWTH for run in found)
    print("losses: the same bits in all runs" if same else "losses: DIFFERENT")
    print("memory: flat" if flat else "memory: GROWS")
    return 0 if same and flat else 1


if __name__ == "__main__":
    sys.exit(main())
