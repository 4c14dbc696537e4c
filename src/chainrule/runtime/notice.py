"""Notice: a line on the terminal while something takes longer than a moment.

Takes: what is being done, and how far it is. Gives: a line on stderr that vanishes at the end.
"""

from __future__ import annotations

import sys
import time

_PATIENCE_SECONDS = 1.0
_PERIOD_SECONDS = 0.2


class Notice:
    """How far some work is; shown only on a terminal, and only after a second.

    Args:
        what: What is being done.
        total: Of how many kernels.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._start = time.monotonic()
        self._next = self._start + _PATIENCE_SECONDS
        self._shown = False

    def show(self, done: int) -> None:
        """Say that so many kernels are done, if it is time to."""
        now = time.monotonic()
        if now < self._next or not sys.stderr.isatty():
            return
        self._next = now + _PERIOD_SECONDS
        self._shown = True
        elapsed = now - self._start
        text = f"{self._what}: {done} of {self._total} kernels, {elapsed:.1f} s"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
