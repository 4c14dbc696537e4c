"""Benchmarks on the command line: measures, prints the tables, writes JSON and a picture.

Usage: python -m benchmarks [--only W1,W4] [--peers torch,jax] [--rounds 15] [--quick] [--products]
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import limits, products, table
from benchmarks.chart import chart
from benchmarks.peers import PEERS
from benchmarks.run import Effort, run_workload
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("chainrule", "numpy", "llvmlite", "torch", "jax", "scikit-learn")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only",
        type=_chosen(WORKLOADS),
        default=list(WORKLOADS.values()),
        metavar="W1,W4",
        help=f"workloads: {', '.join(WORKLOADS)}",
    )
    parser.add_argument(
        "--peers",
        type=_chosen(PEERS),
        default=list(PEERS.values()),
        metavar="torch,jax",
        help=f"peers: {', '.join(PEERS)}",
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often each peer has its turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="three short rounds, for a look")
    parser.add_argument(
        "--products", action="store_true", help="only chainrule's products, against the limits"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of JSON and picture")
    return parser.parse_args(given)


def _chosen(known: dict[str, Any]) -> Any:
    def parse(text: str) -> list[Any]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return [known[name] for name in names]

    return parse


def machine() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of what is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def say(text: str) -> None:
    """Show what is going on, in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main(given: Sequence[str]) -> int:
    """Measure and write; return the exit status: 1 if a peer's losses differ."""
    asked = arguments(given)
    if asked.products:
        products.show(asked.only, asked.threads)
        return 0
    effort = Effort(asked.rounds, threads=asked.threads)
    if asked.quick:
        effort = Effort(3, turn=0.05, threads=asked.threads, warm=False)
    now = datetime.datetime.now().astimezone()
    limit = limits.measure(asked.threads)
    records = []
    for workload in asked.only:
        records.append(run_workload(workload, asked.peers, effort, say))
        say("")
        print(table.times(records[-1:]), flush=True)
    where = f"{now:%Y-%m-%d}, {machine()}, {asked.threads} threads"
    measured = f"{limit.flops / 1e9:.0f} GFLOP/s, {limit.bandwidth / 1e9:.1f} GB/s"
    print(f"\nTime of a step: median, distance of the quartiles, ratio to PyTorch ({where})\n")
    print(table.times(records))
    print(f"\nWork of a step, and the fraction of the limit that is reached ({measured})\n")
    print(table.shares(records, limit))
    print("\nFirst step (cold / with a filled cache), peak memory above that after import\n")
    print(table.beginnings(records))
    print("\n" + "\n".join(table.remarks(records)))
    write(asked.out, now, records, where, limit)
    return int(any("wrong" in peer for record in records for peer in record["peers"].values()))


def write(
    folder: Path,
    now: datetime.datetime,
    records: list[dict[str, Any]],
    where: str,
    limit: limits.Limits,
) -> None:
    """Write the run as JSON and as a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "date": now.isoformat(timespec="seconds"),
        "machine": where,
        "versions": versions(),
        "limits": limit._asdict(),
        "workloads": records,
    }
    stem = folder / f"{now:%Y-%m-%d-%H%M}"
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".svg").write_text(chart(records, where), encoding="utf-8")
    print(f"\nwritten: {stem}.json, {stem}.svg")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
