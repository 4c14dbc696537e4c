"""The process of one peer: does what the lines on its standard input say, one at a time.

Usage: python -m benchmarks.child PEER WORKLOAD [gentle | exact]

Takes: commands as lines (first, losses N, go N, usage, quit). Gives: an answer in JSON each.
The one idea: a peer that waits for a line burns nothing, so peers take turns undisturbed.
With ``gentle`` the network learns so that losses can be compared, see `gentle`; with ``exact`` it
does so in float64, which only PyTorch is asked for.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from dataclasses import replace
from typing import Any

from benchmarks.counts import batch, first_weights
from benchmarks.peers import PEERS, Peer, Runner
from benchmarks.workloads import WORKLOADS, Workload

# Of the rate at which losses are compared.
PACE = 0.1


def gentle(workload: Workload) -> Workload:
    """Return a workload whose losses depend on rounding little: no dropout, a tenth of the rate.

    At the full rate ten steps of ResNet-20 magnify rounding to 1e-3 (float32 against float64, in
    PyTorch as here; in float64 both agree to 4e-16), at a tenth to 5e-5.
    """
    layers = (("dropout", 0.0) if layer[0] == "dropout" else layer for layer in workload.layers)
    settings = {**workload.settings, "lr": workload.settings["lr"] * PACE}
    return replace(workload, layers=tuple(layers), settings=settings)


def resident() -> int:
    """Return the bytes of memory that this process occupies now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def losses(runner: Runner, count: int) -> list[float]:
    """Return the loss of each of so many steps."""
    return [runner.loss(runner.step()) for _ in range(count)]


def timed(runner: Runner, count: int) -> float:
    """Return the seconds that so many steps take, the last of them awaited."""
    start = time.perf_counter()
    for _ in range(count):
        result = runner.step()
    runner.loss(result)
    return time.perf_counter() - start


def serve(runner: Runner, imported: int, answers: Any) -> None:
    """Answer commands until told to quit."""
    for line in sys.stdin:
        command, *numbers = line.split()
        count = int(numbers[0]) if numbers else 1
        answer: Any = None
        if command == "first":
            start = time.perf_counter()
            (loss,) = losses(runner, 1)
            answer = {"seconds": time.perf_counter() - start, "loss": loss}
        elif command == "losses":
            answer = losses(runner, count)
        elif command == "go":
            answer = timed(runner, count)
        elif command == "usage":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            answer = {"peak": peak, "imported": imported}
        elif command == "quit":
            return
        print(json.dumps(answer), file=answers, flush=True)


def begin(peer: Peer, workload: Workload, mode: str) -> tuple[Runner, int]:
    """Return a network that is ready to be trained, and the bytes in use before it was made."""
    module = importlib.import_module(f"benchmarks.peers.{peer.module}")
    if workload.case:
        case = importlib.import_module(f"benchmarks.cases.{workload.case}")
        imported = resident()
        return case.build(peer.name, **({"pace": PACE} if mode else {})), imported
    imported = resident()
    weights, data = first_weights(workload), batch(workload)
    if mode == "exact":
        return module.exact_runner(workload, weights, data), imported
    return module.runner(workload, weights, data, peer.compiled), imported


def main() -> None:
    """Import the peer, make its network, serve."""
    # Whatever a framework prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer, workload = PEERS[sys.argv[1]], WORKLOADS[sys.argv[2]]
    mode = "" if workload.draws else "".join(sys.argv[3:4])
    if mode and not workload.case:
        workload = gentle(workload)
    runner, imported = begin(peer, workload, mode)
    print(json.dumps("ready"), file=answers, flush=True)
    serve(runner, imported, answers)


if __name__ == "__main__":
    main()
