"""Assembler: object code of several modules, made while the text of the next one is written.

Takes: texts of modules. Gives: their object code, in order.
The one idea: LLVM works without Python's lock, so one thread beside the caller's is enough to keep
two processors busy; more would only wait for LLVM.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from chainrule.codegen import machine


class Assembler:
    """Assembles texts in the order given; inside of ``with`` it is the only one to use LLVM.

    A plain thread and no pool: pools take no work once the main thread has come to its end, while
    other threads may go on.
    """

    def __init__(self) -> None:
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._made: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given_up = False

    def add(self, text: str, *, last: bool = False) -> None:
        """Give a module to be assembled.

        Args:
            text: It, in LLVM's assembly language.
            last: Whether there is nothing else to do meanwhile, so that no thread is begun for it.
        """
        if self._thread is None and not last:
            self._thread = self._begun()
        if self._thread is None:
            self._made.put(machine.assemble(text))
        else:
            self._texts.put(text)

    def next(self) -> bytes:
        """Return the object code of the next module, in the order in which they were given."""
        made = self._made.get()
        if isinstance(made, bytes):
            return made
        raise made

    def _begun(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._work, name="chainrule assembler", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads here: it works without
            return None
        return thread

    def _work(self) -> None:
        while (text := self._texts.get()) is not None and not self._given_up:
            try:
                self._made.put(machine.assemble_locked(text))
            except BaseException as error:
                self._made.put(error)

    def __enter__(self) -> Self:
        machine.lock.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._given_up = kind is not None
        self._texts.put(None)
        if self._thread is not None:
            self._thread.join()
        machine.lock.release()
