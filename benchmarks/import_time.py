"""How long `import chainrule` takes, measured against `python -c pass` in one interleaved run.

Usage: python benchmarks/import_time.py [RUNS]

Whole processes are timed, in turn, after one warm-up of each; the figure is the median of the
differences. NumPy alone is shown beside it, since it is most of the time. Stated: under 0.15 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

STATED = 0.15
PROGRAMS = {"pass": "pass", "numpy": "import numpy", "chainrule": "import chainrule"}


def seconds(program: str) -> float:
    """Return the wall time of a fresh Python running a program."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def main(runs: int) -> int:
    """Measure, print, return the exit status."""
    for program in PROGRAMS.values():
        seconds(program)
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(runs):
        for name, program in PROGRAMS.items():
            times[name].append(seconds(program))
    for name in ("numpy", "chainrule"):
        extra = [t - p for t, p in zip(times[name], times["pass"], strict=True)]
        spread = f"{min(extra):.3f} to {max(extra):.3f}"
        print(f"import {name:<10} {statistics.median(extra):.3f} s above pass ({spread})")
    extra = [t - p for t, p in zip(times["chainrule"], times["pass"], strict=True)]
    return 0 if statistics.median(extra) < STATED else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
