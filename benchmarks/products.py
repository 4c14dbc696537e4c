"""The products of the workloads' own steps, each against the machine's limits.

Usage: python -m benchmarks --products [--only W1,W4] [--threads 2]

Takes: workloads. Gives: a line for each matrix product and convolution of their compiled steps, and
how many are below `WANTED` of the peak without an excuse.
The one idea: a product is excused where its bytes take longer than its operations (the roofline
model: Williams et al. 2009). Its bytes are those of the operands and of all that its stores touch,
like Adam's parameters and averages. They come faster from a cache than from memory, so a product
that could lie in one has a second, shorter least time.

Columns: microseconds; GFLOP/s and their fraction of the best product; operations for each byte,
megabytes; the least time as a fraction of the measured one with operands in memory (``roof``) and
in the smallest cache that holds them (``cache``). Below the wanted fraction a product is marked
``memory`` (bound by memory), ``small`` (one chunk, so that further threads do not take part) or
``slow``. Kernels run one after the other within whole steps; times are the least of all calls and
hold the start of a parallel region, about a microsecond on two threads.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import chainrule
from benchmarks import child, limits
from benchmarks.peers import PEERS
from benchmarks.workloads import Workload
from chainrule.ir.expr import Buffer, Expr, Load, walk
from chainrule.ir.kernel import Contraction, Launch
from chainrule.ir.work import flops
from chainrule.runtime.executable import Timing
from chainrule.runtime.roofline import Limits
from chainrule.runtime.step import Recording, Step, recording

# Of the peak: below that a product needs an excuse.
WANTED = 0.7
SECONDS = 2.0  # how long a workload is run, about
MOST_CALLS = 300
WARM_UP = 3
# Bytes of three arrays that a core's own cache holds, and that the processor's last one does; what
# is larger comes from memory.
CACHES = (2**19, 2**23)
MEASURED_SECONDS = 0.3


class Cache(NamedTuple):
    """So many bytes in all are reached with so many bytes per second by all threads."""

    size: int
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Machine:
    """The limits of all threads, and the bandwidths of caches, the smallest first."""

    threads: int
    limit: Limits
    caches: tuple[Cache, ...]

    def near(self, moved: int) -> float:
        """Return the bandwidth of the smallest cache that so many bytes fit into, or memory's."""
        fitting = (cache.bandwidth for cache in self.caches if moved <= cache.size)
        return max(next(fitting, 0.0), self.limit.bandwidth)

    def __str__(self) -> str:
        """Return the limits for people."""
        caches = (
            f"{c.bandwidth / 1e9:.0f} GB/s up to {c.size / 2**20:.1f} MB" for c in self.caches
        )
        ridge = self.limit.flops / self.limit.bandwidth
        return (
            f"limits of {self.threads} threads: {self.limit.flops / 1e9:.0f} GFLOP/s, memory "
            f"{self.limit.bandwidth / 1e9:.0f} GB/s (they meet at {ridge:.1f} operations a byte), "
            f"caches {', '.join(caches)}"
        )


@dataclass(frozen=True, slots=True)
class Product:
    """One product of a step: what it does, and the least time that was seen.

    Attributes:
        workload: Whose it is.
        name: Its ops.
        shape: ``rows x depth x columns``, with the batch in front if there is one.
        flops: Floating-point operations.
        moved: Bytes that are read and written at least.
        seconds: Of one run.
        chunks: Into how many parts threads may share it.
        origin: The layer or line that it comes from.
    """

    workload: str
    name: str
    shape: str
    flops: int
    moved: int
    seconds: float
    chunks: int
    origin: str

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.flops / self.seconds

    def verdict(self, machine: Machine) -> str:
        """Return "" for a fast product, else ``memory``, ``small`` or ``slow``."""
        if self.rate >= WANTED * machine.limit.flops:
            return ""
        if self.moved / machine.limit.bandwidth > self.flops / machine.limit.flops:
            return "memory"
        return "small" if self.chunks == 1 and machine.threads > 1 else "slow"

    def line(self, machine: Machine) -> str:
        """Return the line of the table."""
        limit = machine.limit
        near = limit._replace(bandwidth=machine.near(self.moved))
        roofs = [x.seconds(self.flops, self.moved) / self.seconds for x in (limit, near)]
        return (
            f"{self.workload:4} {self.seconds * 1e6:9.1f} {self.rate / 1e9:8.1f} "
            f"{self.rate / limit.flops:5.0%} {self.flops / self.moved:7.1f} "
            f"{self.moved / 1e6:7.2f} {roofs[0]:5.0%} {roofs[1]:5.0%} {self.verdict(machine):6}  "
            f"{self.shape} {self.name} {self.origin}".rstrip()
        )


def _stream(size: int) -> float:
    """Return bytes per second of z = x + y on one thread, three arrays of so many bytes in all."""
    x, y, z = (np.ones(size // 12, np.float32) for _ in range(3))
    best, end = math.inf, time.perf_counter() + MEASURED_SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        np.add(x, y, out=z)
        best = min(best, time.perf_counter() - start)
    return 12 * x.size / best


def traffic(contraction: Contraction) -> int:
    """Return the bytes of the buffers that a contraction reads, and of those that it writes."""
    stores = contraction.stores
    values = [store.value for store in stores]
    values += [store.dynamic for store in stores if store.dynamic is not None]
    loads = [contraction.left, contraction.right, *_loads(values)]
    read = {load.source for load in loads if isinstance(load.source, Buffer)}
    read |= {store.buffer for store in stores if store.adds}
    return sum(b.size * b.dtype.itemsize for b in (*read, *contraction.written))


def _loads(values: Iterable[Expr]) -> list[Load]:
    return [part for value in values for part in walk(value) if isinstance(part, Load)]


def products(step: Any, calls: int, workload: str = "") -> list[Product]:
    """Return the products of a compiled step, in the order of the program."""
    least: dict[Launch, float] = {}
    chunks: dict[Launch, int] = {}

    def record(step: Step, start: float, seconds: float, timings: list[Timing]) -> None:
        whole: dict[Launch, float] = {}  # a launch may consist of several phases
        runs: dict[Launch, int] = {}  # a loop launches a kernel in each of its rounds
        for timing in timings:
            launch = timing.launch
            if timing.thread == -1 and isinstance(launch.kernel, Contraction):
                whole[launch] = whole.get(launch, 0.0) + timing.end - timing.start
                runs[launch] = runs.get(launch, 0) + (timing.phase == 0)
                chunks[launch] = max(timing.chunks, chunks.get(launch, 1))
        for launch, time_of_call in whole.items():
            least[launch] = min(time_of_call / runs[launch], least.get(launch, math.inf))

    for _ in range(WARM_UP):
        step()
    before = recording.now
    recording.now = Recording(lambda step: True, record)
    try:
        for _ in range(calls):
            step()
    finally:
        recording.now = before
    return [_product(workload, launch, least[launch], chunks[launch]) for launch in least]


def _product(workload: str, launch: Launch, seconds: float, chunks: int) -> Product:
    kernel = launch.kernel
    assert isinstance(kernel, Contraction)
    groups = (kernel.batch, kernel.rows, kernel.depth, kernel.columns)
    sizes = [math.prod(axis.extent for axis in axes) for axes in groups]
    shape = "x".join(map(str, sizes if sizes[0] > 1 else sizes[1:]))
    # Of what it comes from, ops have plain names; layers have a path, lines a file.
    origin = next((part for part in launch.origin if not part.isidentifier()), "")
    work = (flops(kernel), traffic(kernel))
    return Product(workload, kernel.name, shape, *work, max(seconds, 1e-9), chunks, origin)


def of_workload(workload: Workload, threads: int) -> list[Product]:
    """Return the products of a workload's step on so many threads."""
    chainrule.set_num_threads(threads)
    runner, _ = child.begin(PEERS["chainrule"], workload, mode="")
    runner.step()
    start = time.perf_counter()
    runner.loss(runner.step())
    once = time.perf_counter() - start
    calls = max(3, min(MOST_CALLS, int(SECONDS / once)))
    return products(runner.step, calls, workload.name)


def table(found: Sequence[Product], machine: Machine) -> str:
    """Return the table, and below it how many products have which excuse."""
    head = f"{'':4} {'us':>9} {'GFLOP/s':>8} {'peak':>5} {'flop/B':>7} {'MB':>7} {'roof':>5}"
    lines = [f"{head} {'cache':>5} {'':6}  rows x depth x columns, ops, origin"]
    lines += [product.line(machine) for product in found]
    marks = Counter(p.verdict(machine) for p in found)
    lines.append(
        f"\n{len(found)} products, {len(found) - marks['']} below {WANTED:.0%} of the peak: "
        f"{marks['memory']} bound by memory, {marks['small']} of one chunk, "
        f"{marks['slow']} without an excuse\n{machine}"
    )
    return "\n".join(lines)


def show(workloads: Sequence[Workload], threads: int) -> None:
    """Measure and print the products of workloads.

    The limits are measured anew with each workload: on a busy machine the best of many is needed.
    """
    found: list[Product] = []
    limit = limits.measure(threads)
    for workload in workloads:
        found += of_workload(workload, threads)
        limit = Limits(*map(max, limit, limits.measure(threads)))
    caches = tuple(Cache(size * threads, threads * _stream(size)) for size in CACHES)
    print(table(found, Machine(threads, limit, caches)))
