"""Prefetch: threads that work ahead, in order.

Takes: a function of a number. Gives: its results for first, first + 1, ... in that order, worked
out beforehand by threads.
The one idea: threads and consumer share one small board under one lock, and the threads know
nothing but the board. So they cannot keep their consumer alive: when it goes, they end.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chainrule.core.errors import StateError

__all__ = ["Prefetcher"]

R = TypeVar("R")

# Seconds. A wait without end could not be interrupted by Ctrl-C on Windows.
WAIT = 0.2


@dataclass
class _Board(Generic[R]):
    """What threads and consumer share; every access holds ``changed``."""

    work: Callable[[int], R] | None  # None once closed
    next_task: int
    end: int
    limit: int  # tasks below it may be begun
    results: dict[int, tuple[R] | BaseException] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def close(self) -> None:
        """Let the threads end, and drop what they hold."""
        with self.changed:
            self.work = None
            self.results.clear()
            self.changed.notify_all()


class Prefetcher(Generic[R]):
    """Results of ``work(first)``, ``work(first + 1)``, ..., fetched ahead by threads.

    Args:
        work: Called in the threads, with every number from first to end - 1.
        first: The first number.
        end: One past the last number.
        threads: How many threads.
        ahead: How many results may be waiting or being worked out.

    Example:
        >>> squares = Prefetcher(lambda i: i * i, 0, 3, threads=2, ahead=2)
        >>> [squares.take(i) for i in range(3)]
        [0, 1, 4]
        >>> squares.close()
    """

    def __init__(
        self, work: Callable[[int], R], first: int, end: int, *, threads: int, ahead: int
    ) -> None:
        self._board = _Board(work, first, end, min(first + ahead, end))
        self._ahead = ahead
        # Also runs when the prefetcher is collected, and at the end of the program.
        self._finalizer = weakref.finalize(self, self._board.close)
        self._threads = [
            threading.Thread(
                target=_run, args=(self._board,), name=f"chainrule-loader-{i}", daemon=True
            )
            for i in range(min(threads, end - first))
        ]
        for thread in self._threads:
            thread.start()

    def take(self, number: int) -> R:
        """Wait for a result and return it; numbers must come in order.

        Raises:
            Exception: What ``work`` raised for this number.
            StateError: The prefetcher is closed.
        """
        board = self._board
        with board.changed:
            while number not in board.results:
                if board.work is None:
                    raise StateError("prefetch: closed before this result was taken")
                board.changed.wait(WAIT)
            found = board.results.pop(number)
            board.limit = min(number + 1 + self._ahead, board.end)
            board.changed.notify_all()
        if isinstance(found, tuple):
            return found[0]
        try:
            raise found
        finally:
            # Its traceback refers to this frame: do not tie the error to itself.
            del found

    def close(self) -> None:
        """Let the threads end after the task that they are at."""
        self._finalizer()


def _run(board: _Board[R]) -> None:
    while True:
        with board.changed:
            while board.work is not None and board.next_task >= board.limit < board.end:
                board.changed.wait()
            if board.work is None or board.next_task >= board.end:
                return
            number = board.next_task
            board.next_task += 1
            work = board.work
        found: tuple[R] | BaseException
        try:
            found = (work(number),)
        except BaseException as error:
            found = error
        with board.changed:
            if board.work is None:
                return
            board.results[number] = found
            board.changed.notify_all()
        del work, found
