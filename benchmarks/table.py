"""Tables: a run as text for the terminal.

Takes: records of workloads. Gives: aligned columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.limits import Limits
from benchmarks.peers import PEERS, REFERENCE
from benchmarks.summary import duration, spread

Record = dict[str, Any]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows with columns of equal width, the first two flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def names_in(records: Sequence[Record]) -> list[str]:
    """Return the peers that have a figure anywhere, in the order of the list of peers."""
    return [
        name
        for name in PEERS
        if any("times" in record["peers"].get(name, {}) for record in records)
    ]


def ratio(record: Record, name: str) -> float | None:
    """Return how many times faster than the reference a peer is."""
    peers = record["peers"]
    if any("times" not in peers.get(n, {}) for n in (name, REFERENCE)):
        return None
    return spread(peers[REFERENCE]["times"]).median / spread(peers[name]["times"]).median


def times(records: Sequence[Record]) -> str:
    """Return the table of times of a step: median, distance of the quartiles, ratio."""
    names = names_in(records)
    rows = [["", "workload", *(PEERS[name].title for name in names)]]
    for record in records:
        cells = []
        for name in names:
            found = record["peers"].get(name, {})
            if "times" not in found:
                cells.append("-")
                continue
            of = spread(found["times"])
            share = ratio(record, name)
            times_faster = "" if share is None else f" {share:5.2f}x"
            wrong = "!" if "wrong" in found else ""
            cells.append(f"{wrong}{duration(of.median)} ±{of.range / of.median:3.0%}{times_faster}")
        rows.append([record["name"], record["title"], *cells])
    return aligned(rows)


def shares(records: Sequence[Record], limits: Limits) -> str:
    """Return the table of work, and of the fraction of the machine's limit that is reached."""
    names = names_in(records)
    rows = [["", "workload", "GFLOP", "MB", "limit", "by", *(PEERS[name].title for name in names)]]
    for record in records:
        least = limits.seconds(record["flops"], record["bytes"])
        by = "flops" if least == record["flops"] / limits.flops else "bytes"
        cells = [
            f"{least / spread(record['peers'][name]['times']).median:.0%}"
            if "times" in record["peers"].get(name, {})
            else "-"
            for name in names
        ]
        work = [f"{record['flops'] / 1e9:.3g}", f"{record['bytes'] / 1e6:.3g}"]
        rows.append([record["name"], record["title"], *work, duration(least), by, *cells])
    return aligned(rows)


def beginnings(records: Sequence[Record]) -> str:
    """Return the table of first steps (cold, then with a filled cache) and of peak memory."""
    names = names_in(records)
    rows = [["", "workload", *(PEERS[name].title for name in names)]]
    for record in records:
        cells = []
        for name in names:
            found = record["peers"].get(name, {})
            if "first" not in found:
                cells.append("-")
                continue
            warm = f"/{duration(found['first_warm'])}" if "first_warm" in found else ""
            memory = f"{found['memory'] / 2**20:.0f} MiB" if "memory" in found else ""
            cells.append(f"{duration(found['first'])}{warm} {memory}")
        rows.append([record["name"], record["title"], *cells])
    return aligned(rows)


def remarks(records: Sequence[Record]) -> list[str]:
    """Return a line for each absent peer, each curve that differs, and each restless peer."""
    lines: dict[str, list[str]] = {}
    for record in records:
        for name, found in record["peers"].items():
            for key in ("absent", "wrong"):
                if key in found:
                    lines.setdefault(f"{PEERS[name].title}: {found[key]}", []).append(
                        record["name"]
                    )
            spent = sum(found.get("times", [])) * found.get("steps", 0)
            if spent and found["idle"] > 0.02 * spent:
                share = f"used {found['idle'] / spent:.0%} as much time between turns as in them"
                lines.setdefault(f"{PEERS[name].title}: {share}", []).append(record["name"])
    return [f"{line} ({', '.join(where)})" for line, where in lines.items()]
