"""Profiles: where the time of compiled functions goes, kernel by kernel.

Takes: anything that calls compiled functions. Gives: a table and a timeline, in the user's own
layers and lines.
The one idea: a kernel's work is known beforehand, so its time says what fraction of the machine's
limit it reaches (the roofline model: Williams et al. 2009).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.errors import ArgumentError
from chainrule.core.files import write_json_atomic
from chainrule.ir.kernel import Launch
from chainrule.ir.work import flops, moved
from chainrule.runtime.executable import Timing
from chainrule.runtime.roofline import Limits, measured
from chainrule.runtime.step import Recording, Step, recording
from chainrule.runtime.workers import get_num_threads

# Calls of one program that are recorded; a long training would fill the memory.
MOST_CALLS = 100
# The first calls of a program fill caches and buffers.
WARM_UP = 2
SHOWN = 20
# For each of the machine's two limits.
MEASURED_SECONDS = 0.15
MOST_ORIGINS = 4
# A kernel's origin names ops, layers and lines; its name says the ops already.
_OP_NAME = re.compile("[a-z0-9_]+")


@dataclass(slots=True)
class Row:
    """One kernel of one program.

    Attributes:
        name: Its ops.
        calls: How often it was measured.
        seconds: Median time of a call.
        flops: Floating-point operations of a call.
        bytes: Bytes that it reads and writes at least.
        origin: Layers and lines that it comes from.
    """

    name: str
    calls: int
    seconds: float
    flops: int
    bytes: int
    origin: tuple[str, ...]


@dataclass(eq=False)
class Profile:
    """What `profile` has measured; printing it shows the table.

    Attributes:
        rows: The kernels, those that take most time first.
        seconds: Wall time of one recorded call of compiled functions, in the mean.
        calls: Number of recorded calls.
        limits: The machine's.
    """

    rows: list[Row]
    seconds: float
    calls: int
    limits: Limits
    _timings: list[tuple[str, float, list[Timing]]] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        """Return the table: time, rates, fraction of the machine's limit, origin."""
        native = sum(row.seconds * row.calls for row in self.rows)
        whole = self.seconds * self.calls
        head = f"{'time':>10} {'share':>6} {'GFLOP/s':>8} {'GB/s':>7} {'limit':>6}  kernel"
        lines = [head]
        for row in self.rows[:SHOWN]:
            share = row.seconds * row.calls / whole if whole else 0.0
            lines.append(
                f"{_shown(row.seconds):>10} {share:>6.1%} {row.flops / row.seconds / 1e9:>8.1f} "
                f"{row.bytes / row.seconds / 1e9:>7.1f} {self.fraction(row):>6.0%}  {row.name}"
            )
            if row.origin:
                lines.append(f"{'':43}{', '.join(row.origin[:MOST_ORIGINS])}")
        if len(self.rows) > SHOWN:
            lines.append(f"... and {len(self.rows) - SHOWN} kernels more")
        outside = max(0.0, 1 - native / whole) if whole else 0.0
        lines.append(
            f"{self.calls} calls of {_shown(self.seconds)}; {outside:.1%} of the time between "
            f"kernels; limits: {self.limits.flops / 1e9:.0f} GFLOP/s, "
            f"{self.limits.bandwidth / 1e9:.0f} GB/s on {get_num_threads()} threads"
        )
        return "\n".join(lines)

    def fraction(self, row: Row) -> float:
        """Return which part of the machine's limit a kernel reaches, at most 1.

        What fits into the caches can be read faster than from memory, which is the limit here.
        """
        return min(self.limits.seconds(row.flops, row.bytes) / row.seconds, 1.0)

    def save(self, path: str | Path) -> None:
        """Write the timeline as JSON, which https://ui.perfetto.dev and chrome://tracing show.

        Raises:
            OSError: The file cannot be written.
        """
        events: list[dict[str, Any]] = []
        for name, start, timings in self._timings:
            for t in timings:
                launch = t.launch
                arguments = {
                    "origin": "; ".join(launch.origin),
                    "flops": flops(launch.kernel),
                    "bytes": moved(launch.kernel),
                    "chunks": t.chunks,
                }
                events.append(
                    {
                        "name": launch.kernel.name,
                        "cat": name,
                        "ph": "X",
                        "pid": os.getpid(),
                        "tid": t.thread + 1,
                        "ts": (start + t.start) * 1e6,
                        "dur": (t.end - t.start) * 1e6,
                        "args": arguments,
                    }
                )
        write_json_atomic(Path(path), {"traceEvents": events, "displayTimeUnit": "ns"})


def profile(function: Callable[..., object], *args: Any, calls: int = 1) -> Profile:
    """Run something that calls compiled functions, and measure every kernel in them.

    Args:
        function: A compiled function, or anything that calls some (``trainer.fit``).
        args: Its arguments.
        calls: How often it is called. The first two calls of each program are not measured; with
            a compiled function itself they are made in addition.

    Returns:
        What was measured: ``print(p)`` shows a table, ``p.save(path)`` writes a timeline.

    Raises:
        ArgumentError: ``calls`` is below 1, or nothing was measured.

    Example:
        >>> import chainrule
        >>> f = chainrule.compile(lambda x: (x * 2.0).sum())
        >>> p = chainrule.profile(f, chainrule.ones(1000), calls=3)
        >>> p.calls
        3
    """
    if calls < 1:
        raise ArgumentError(f"profile: calls={calls}, expected at least 1")
    made: list[tuple[Step, float, float, list[Timing]]] = []
    counts: dict[Step, int] = {}

    def wanted(step: Step) -> bool:
        counts[step] = number = counts.get(step, 0) + 1
        return WARM_UP < number <= WARM_UP + MOST_CALLS

    def record(step: Step, start: float, seconds: float, timings: list[Timing]) -> None:
        made.append((step, start, seconds, timings))

    extra = WARM_UP if hasattr(function, "causes") else 0
    before = recording.now
    recording.now = Recording(wanted, record)
    try:
        for _ in range(calls + extra):
            function(*args)
    finally:
        recording.now = before
    if not made:
        raise ArgumentError(
            "profile: no compiled function was called three times, so nothing was measured",
            hint="profile(step, x, y) for a function made by chainrule.compile, or more calls",
        )
    return _summary(made)


def _summary(made: list[tuple[Step, float, float, list[Timing]]]) -> Profile:
    seconds: dict[Launch, list[float]] = {}
    runs: dict[Launch, int] = {}  # a loop launches a kernel in each of its rounds
    for _, _, _, timings in made:
        whole: dict[Launch, float] = {}  # a launch may consist of several phases
        for timing in timings:
            if timing.thread == -1:
                before = whole.get(timing.launch, 0.0)
                whole[timing.launch] = before + timing.end - timing.start
                runs[timing.launch] = runs.get(timing.launch, 0) + (timing.phase == 0)
        for launch, time_of_call in whole.items():
            seconds.setdefault(launch, []).append(time_of_call)
    rows = [
        Row(
            launch.kernel.name,
            len(times),
            max(float(np.median(times)), 1e-9),
            flops(launch.kernel) * runs[launch] // len(times),
            moved(launch.kernel) * runs[launch] // len(times),
            tuple(part for part in launch.origin if not _OP_NAME.fullmatch(part)),
        )
        for launch, times in seconds.items()
    ]
    rows.sort(key=lambda row: -row.seconds * row.calls)
    begin = made[0][1]
    timeline = [(step.trace.program.name, start - begin, t) for step, start, _, t in made]
    mean = sum(wall for _, _, wall, _ in made) / len(made)
    limits = measured(get_num_threads(), MEASURED_SECONDS, side=1024, elements=1 << 23)
    return Profile(rows, mean, len(made), limits, timeline)


def _shown(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"
