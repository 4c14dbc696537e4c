"""The run: all peers of a workload, in turns.

Takes: a workload and peers. Gives: one record with times, losses, first steps and memory.
The one idea: the machine's moods strike all alike, if every round visits every peer, each time
in another order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.counts import bytes_moved, flops
from benchmarks.peers import REFERENCE, Peer, why_absent
from benchmarks.process import PeerError, PeerProcess
from benchmarks.summary import difference
from benchmarks.workloads import Workload

Record = dict[str, Any]
Say = Callable[[str], None]

CURVE = 10  # steps whose losses are compared
# Of the first loss; the largest difference of float32 from float64 that was seen is 8e-5.
TOLERANCE = 1e-4


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int = 15
    turn: float = 0.25  # seconds that a peer's turn should last
    threads: int = 2
    warm: bool = True  # whether the first step is also measured with a filled cache


def run_workload(workload: Workload, peers: Sequence[Peer], effort: Effort, say: Say) -> Record:
    """Measure a workload.

    Returns:
        ``name``, ``title``, ``flops``, ``bytes``, ``target``, and for each peer either the reason
        why it is ``absent``, or ``times`` (seconds of a step, one for each round), ``losses``,
        ``first`` and ``first_warm`` (seconds), ``memory`` (bytes above the state after import).
    """
    records: dict[str, Record] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running: dict[str, PeerProcess] = {}
        for peer in peers:
            say(f"{workload.name}: {peer.name} begins")
            reason = why_absent(peer, workload)
            if not reason:
                try:
                    process, records[peer.name] = begin(peer, workload, effort, folder, stack)
                    running[peer.name] = process
                except PeerError as error:
                    reason = str(error)
            if reason:
                records[peer.name] = {"absent": reason}
        compare(workload, records)
        interleave(running, records, effort, lambda n: say(f"{workload.name}: round {n}"))
        for name, process in running.items():
            usage = process.ask("usage")
            records[name]["memory"] = usage["peak"] - usage["imported"]
    return {
        "name": workload.name,
        "title": workload.title,
        "flops": flops(workload),
        "bytes": bytes_moved(workload),
        "target": workload.target,
        "peers": records,
    }


def begin(
    peer: Peer, workload: Workload, effort: Effort, folder: Path, stack: ExitStack
) -> tuple[PeerProcess, Record]:
    """Start a peer and let it make its first steps; return it and what they showed."""
    options: dict[str, Any] = {"threads": effort.threads, "cache": folder / peer.name}
    process = stack.enter_context(PeerProcess(peer, workload, **options))
    first = process.ask("first")
    record: Record = {"first": first["seconds"], "losses": [first["loss"]]}
    if workload.kind != "fit":
        process.ask("losses", CURVE)  # warms up
    if workload.kind == "train":
        with PeerProcess(peer, workload, **options, mode="gentle") as other:
            record["losses"] = other.ask("losses", CURVE)
    if workload.kind == "train" and peer.name == REFERENCE and not workload.case:
        with PeerProcess(peer, workload, **options, mode="exact") as other:
            record["exact"] = other.ask("losses", CURVE)
    process.settle()
    if effort.warm and peer.caches:
        with PeerProcess(peer, workload, **options) as again:
            record["first_warm"] = again.ask("first")["seconds"]
    return process, record


def turns(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """Yield for each round the order of peers: everyone is first, second, ... equally often."""
    for number in range(rounds):
        start = number % max(len(names), 1)
        yield [*names[start:], *names[:start]]


def steps_for(process: PeerProcess, turn: float) -> int:
    """Return how many steps fill a turn."""
    count = 1
    while True:
        seconds = process.ask("go", count)
        if seconds >= turn / 4 or count >= 100_000:
            return max(1, round(count * turn / seconds))
        count = max(2 * count, int(count * turn / 2 / max(seconds, 1e-6)))


def interleave(
    running: dict[str, PeerProcess],
    records: dict[str, Record],
    effort: Effort,
    say: Callable[[int], None],
) -> None:
    """Time all peers in turns; note seconds of a step, and processor time used out of turn."""
    counts = {name: steps_for(process, effort.turn) for name, process in running.items()}
    for name, process in running.items():
        records[name].update(times=[], steps=counts[name], idle=0.0)
        process.settle()
    for number, order in enumerate(turns(list(running), effort.rounds)):
        say(number)
        for name in order:
            others = {n: p.used() for n, p in running.items() if n != name}
            seconds = running[name].ask("go", counts[name])
            for other, before in others.items():
                records[other]["idle"] += running[other].used() - before
            records[name]["times"].append(seconds / counts[name])
            running[name].settle()


def compare(workload: Workload, records: dict[str, Record]) -> None:
    """Note how much each peer's losses differ from the reference's, or the first peer's.

    The reference's own are those in float64, where it made such.
    """
    present = [name for name, record in records.items() if "losses" in record]
    if not present or workload.kind == "fit" or workload.draws:
        return
    reference = REFERENCE if REFERENCE in present else present[0]
    curve = records[reference].get("exact", records[reference]["losses"])
    for name in present:
        off = difference(records[name]["losses"], curve)
        records[name]["difference"] = off
        if not off <= TOLERANCE:
            records[name]["wrong"] = f"its losses differ from those of {reference} by {off:.1e}"
