"""Interruption: Ctrl-C as a request that waits for the running step.

Takes: SIGINT. Gives: a flag to be looked at between steps; a second Ctrl-C stops at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType

from chainrule.core.errors import ChainruleError

__all__ = ["Interruption", "Stopped"]

MESSAGE = b"\nCtrl-C: finishing the running step; press it again to stop at once\n"


class Stopped(ChainruleError):  # noqa: N818 - no error: the user wished it
    """The training stops after the running step, because of Ctrl-C or `Trainer.stop`."""


class Interruption:
    """Watches for Ctrl-C while it is entered (in the main thread, where signals arrive).

    A handler that somebody else has installed is left alone.

    Attributes:
        requested: Whether the training is to stop after the running step.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def check(self) -> None:
        """Raise `Stopped` if the training is to stop."""
        if self.requested:
            raise Stopped("the training was asked to stop")

    def __enter__(self) -> Interruption:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._give_back()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._give_back()
        # Not print: a handler may run in the midst of a print, which must not be entered twice.
        with contextlib.suppress(OSError):
            os.write(2, MESSAGE)

    def _give_back(self) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False
