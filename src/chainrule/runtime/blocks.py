"""Blocks: large pieces of memory that are used again instead of going back to the system.

Takes: sizes. Gives: memory, which comes back by itself when nothing refers to it any more.
The one idea: the system gives memory page by page and cleared, which takes longer than a kernel
takes to fill it; but what is kept must not raise the peak, so blocks in use and kept ones together
never exceed what was in use at once at some time.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import deque
from threading import Lock
from typing import Any

import numpy as np

from chainrule.core.dtype import Array

# Vectors of 64 bytes should not cross cache lines.
ALIGNMENT = 64
# Smaller pieces come from the heap of the C library, which keeps its pages.
LARGE = 2**20
# At most so much is kept, since other code in the process has to do without it, and only for so
# many requests.
MOST_BYTES = 2**28
MOST_REQUESTS = 64


class Pool:
    """Blocks that are not in use.

    Nobody waits for it, since finalizers and signal handlers run between any two lines: whoever
    finds it busy goes to the system.

    Attributes:
        kept: The blocks, in the order in which they came back, each with the number of requests
            before that.
        used: Bytes of blocks in use.
        peak: The most bytes of blocks in use so far.
    """

    def __init__(self) -> None:
        self.kept: list[tuple[int, Array]] = []
        self.used = 0
        self.peak = 0
        self._requests = 0
        self._returned: deque[Array] = deque()
        self._busy = Lock()

    def lend(self, size: int) -> Any:
        """Return memory of a size; its block comes back when nothing refers to it any more."""
        if not self._busy.acquire(blocking=False):
            return _part(_block(size), size)
        try:
            self._settle()
            self._requests += 1
            block = self._take(size)
            part = _part(block, size)
            self.used += block.nbytes
            # Not at the end of the process: everything goes then.
            weakref.finalize(part, self._take_back, block).atexit = False
        finally:
            self._busy.release()
        return part

    def release(self) -> None:
        """Give all blocks that are not in use back to the system."""
        if self._busy.acquire(blocking=False):
            try:
                self._settle()
                self.kept.clear()
            finally:
                self._busy.release()

    def begin_anew(self) -> None:
        """In a forked child: what another thread of the parent was at is not under way."""
        self._busy = Lock()
        self.kept.clear()

    def _take(self, size: int) -> Array:
        """Return a kept block of a size, or a new one in place of others that are kept."""
        wanted = size + ALIGNMENT
        for place in reversed(range(len(self.kept))):
            if self.kept[place][1].nbytes == wanted:
                return self.kept.pop(place)[1]
        self.peak = max(self.peak, self.used + wanted)
        self._shrink(self.peak - self.used - wanted)
        return _block(size)

    def _take_back(self, block: Array) -> None:
        self._returned.append(block)
        if self._busy.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._busy.release()

    def _settle(self) -> None:
        """Keep the blocks that have come back, and none that nobody wanted for long."""
        while self._returned:
            block = self._returned.popleft()
            self.used -= block.nbytes
            if block.nbytes <= MOST_BYTES:
                self.kept.append((self._requests, block))
        self._shrink(MOST_BYTES)
        while self.kept and self.kept[0][0] < self._requests - MOST_REQUESTS:
            del self.kept[0]

    def _shrink(self, most: int) -> None:
        """Keep no more than so many bytes."""
        size = sum(block.nbytes for _, block in self.kept)
        while size > most:
            size -= self.kept.pop(0)[1].nbytes


pool = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.begin_anew)


def aligned_memory(size: int) -> Any:
    """Return memory that is not initialised, at a multiple of `ALIGNMENT`; it is no array."""
    return pool.lend(size) if size >= LARGE else _part(_block(size), size)


def _block(size: int) -> Array:
    # NumPy asks for huge pages; ctypes would clear the memory.
    return np.empty(size + ALIGNMENT, np.uint8)


def _part(block: Array, size: int) -> Any:
    offset = -ctypes.addressof(ctypes.c_char.from_buffer(block.data)) % ALIGNMENT
    return (ctypes.c_char * size).from_buffer(block.data, offset)
