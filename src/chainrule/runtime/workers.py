"""Workers: threads that wait inside native code for chunks of work.

Takes: the number of threads. Gives: the pool whose address programs hand to the driver.
The one idea: a worker is an ordinary Python thread that calls a native loop and never returns;
it does not hold Python's lock, so publishing work costs a few hundred nanoseconds and neither
Python's scheduler nor its exit is concerned.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np

from chainrule.codegen import region
from chainrule.codegen.system import can_sleep
from chainrule.core import config
from chainrule.core.errors import ArgumentError
from chainrule.runtime.limits import processors
from chainrule.runtime.native import Words, address, native, words

__all__ = ["get_num_threads", "set_num_threads"]

# How long a worker looks for work, and a caller for the end of the last chunks, before it waits
# in the system. Longer spins steal time from other processes, shorter ones cost a wake-up.
SPIN_SECONDS = 30e-6
_TRIAL_SPINS = 1000
# A wait that means that a worker has been set aside, and how long the caller then works alone. A
# scheduler's time slice is about 3 ms; a stall of that length each 64 ms costs 5 %.
LATE_SECONDS = 100e-6
LEAST_ALONE_SECONDS = 2e-3
MOST_ALONE_SECONDS = 64e-3


class Pool:
    """The threads that take part in this process's programs, besides the calling one.

    Attributes:
        memory: What `codegen.region` lays out; its address stays the same for good.
    """

    def __init__(self, threads: int) -> None:
        self.memory: Words = words(region.POOL_BYTES // 8)
        self.address = address(self.memory)
        self._fields = self.memory.view(np.uint32)
        self._lock = threading.Lock()
        self._threads = 0
        functions = native().addresses
        self._worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)(functions["worker"])
        self._resize = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)(functions["resize"])
        self._spins = _spins(self.address, self._fields, functions["spin"])
        self._configure(threads)

    def _configure(self, threads: int) -> None:
        rate = native().rate
        self._fields[region.SPINS // 4] = self._spins
        self.memory[region.LATE // 8] = int(LATE_SECONDS * rate)
        self.memory[region.LEAST_ALONE // 8] = int(LEAST_ALONE_SECONDS * rate)
        self.memory[region.MOST_ALONE // 8] = int(MOST_ALONE_SECONDS * rate)
        self.resize(threads)

    @property
    def size(self) -> int:
        """How many threads there are, the calling one included."""
        return self._threads + 1

    def resize(self, threads: int) -> None:
        """Let so many threads take part from the next region on."""
        self._resize(self.address, threads)

    def start(self) -> None:
        """Start the threads that are wanted but not there yet."""
        with self._lock:
            wanted = int(self._fields[region.WANTED // 4])
            try:
                while self._threads < wanted - 1:
                    number = self._threads + 1
                    threading.Thread(
                        target=self._worker,
                        args=(self.address, number),
                        name=f"chainrule worker {number}",
                        daemon=True,
                    ).start()
                    self._threads = number
            except RuntimeError:  # no more threads: a limit of the system, or Python is ending
                self.resize(self._threads + 1)
            while self._fields[region.STARTED // 4] < self._threads:
                time.sleep(1e-5)

    def reset(self) -> None:
        """Forget the threads, which a forked child does not have, and whatever they were at."""
        wanted = int(self._fields[region.WANTED // 4])
        self.memory.fill(0)
        self._configure(wanted)
        self._lock = threading.Lock()
        self._threads = 0


_setting: int | None = None


def set_num_threads(count: int) -> None:
    """Set how many threads compiled programs compute with, the calling one included.

    Results do not depend on it.

    Raises:
        ArgumentError: It is not a whole number from 1 to 256.
    """
    global _setting
    if isinstance(count, bool) or not isinstance(count, int):
        raise ArgumentError(f"set_num_threads: expected a whole number, got {count!r}")
    if not 1 <= count <= region.MAX_THREADS:
        raise ArgumentError(
            f"set_num_threads: got {count}, expected 1 to {region.MAX_THREADS}",
            hint=f"this process may use {processors()} processors",
        )
    _setting = count
    if pool.cache_info().currsize:
        pool().resize(get_num_threads())


def get_num_threads() -> int:
    """Return how many threads compiled programs compute with, the calling one included.

    By default ``CHAINRULE_NUM_THREADS``, else the number of processors that this process may
    use: its affinity, or a container's limit if that is lower.
    """
    if not can_sleep(llvm.get_process_triple()):
        return 1
    if _setting is not None:
        return _setting
    return min(config.num_threads() or processors(), region.MAX_THREADS)


@lru_cache(maxsize=1)
def pool() -> Pool:
    """Return this process's pool."""
    made = Pool(get_num_threads())
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.reset)
    return made


def _spins(place: int, fields: np.ndarray[tuple[int], np.dtype[np.uint32]], function: int) -> int:
    """Measure how many rounds of the waiting loop take `SPIN_SECONDS`."""
    spin = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
    fields[region.SPINS // 4] = _TRIAL_SPINS
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        spin(place)
        best = min(best, time.perf_counter() - start)
    return max(1, int(_TRIAL_SPINS * SPIN_SECONDS / best))
