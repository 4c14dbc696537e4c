"""Emitted code: which native functions run a kernel, and in how many chunks.

Takes: nothing. Gives: what emitters report and the runtime calls.
The one idea: a phase is a function over chunk numbers, so any split of them among threads does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """One native function ``void @symbol(ptr args, i64 begin, i64 end)``.

    Attributes:
        symbol: Its name in the object code.
        chunks: How many independent chunks there are; ``begin`` and ``end`` number them.
    """

    symbol: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Emitted:
    """What became of a kernel.

    Attributes:
        phases: Functions that run one after the other, each finished before the next begins.
        workspace: Bytes of memory that they share, passed after the kernel's buffers; 0 for none.
    """

    phases: tuple[Phase, ...]
    workspace: int = 0
