"""What the command line reaches on real data with its defaults; one row a set.

Usage: python recipes/accuracy.py [NAME ...]     (default: all rows)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One training: its words, the metric and what it must reach."""

    name: str
    words: tuple[str, ...]
    metric: str
    stated: float


ROWS = (
    Row("digits", ("digits",), "accuracy", 0.97),
    Row("mnist", ("mnist",), "accuracy", 0.99),
    Row(
        "mnist-mlp",
        ("mnist", "--model", "mlp", "--hidden", "100", "--epochs", "15"),
        "accuracy",
        0.98,
    ),
    Row("fashion-mnist", ("fashion-mnist",), "accuracy", 0.90),
    Row("adult", ("adult",), "accuracy", 0.85),
    Row("california-housing", ("california-housing",), "r2", 0.75),
)


def train(row: Row, folder: Path) -> tuple[float, float]:
    """Run one training; return the figure it reached and the seconds it took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "chainrule", "train", *row.words, "--out", str(folder)]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    results = json.loads((folder / "evaluation.json").read_text())
    return float(results["metrics"][row.metric]), seconds


def main(names: list[str]) -> int:
    """Train the rows asked for, print a table, return the exit status."""
    lines, failed = [], 0
    for row in ROWS:
        if names and row.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            reached, seconds = train(row, Path(folder) / "run")
        good = reached >= row.stated
        failed += not good
        lines.append(
            f"{row.name:<20} {row.metric:<9} {reached:.4f}  stated {row.stated:.3f}  "
            f"{seconds:6.0f} s  {'reached' if good else 'MISSED'}"
        )
        print(lines[-1], flush=True)
    print("\n".join(["", *lines]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
