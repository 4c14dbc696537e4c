"""Executables: plans that are ready to run.

Takes: a plan and the machine code of its kernels. Gives: a function object that runs it on the
caller's arrays.
The one idea: a call fills in the caller's pointers and enters native code, nothing else; Python is
asked for only where a program needs it.

    program = load(plan)
    failed = program.call([*inputs, *outputs])  # 0, or the number of the check that failed

The arrays must be contiguous and of the plan's sizes and dtypes; this is the caller's duty.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from chainrule.codegen import driver
from chainrule.codegen.emit import emit
from chainrule.codegen.region import LOG_ENTRY, LOG_HEAD
from chainrule.codegen.target import Target, host
from chainrule.core.dtype import Array
from chainrule.core.errors import StateError
from chainrule.core.shape import Spec
from chainrule.graph.evaluate import evaluate
from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import Check, Contraction, HostCall, Kernel, Launch, Plan
from chainrule.ir.printer import fingerprint
from chainrule.runtime import blocks
from chainrule.runtime.commands import Code, Commands, arena_bytes, launches
from chainrule.runtime.library import compiled
from chainrule.runtime.memory import expect_room
from chainrule.runtime.native import address, aligned, function_object, native, words
from chainrule.runtime.workers import pool

# A program that takes longer lets other Python threads run meanwhile (that costs about 0.2 µs).
LONG_SECONDS = 100e-6
# A long program looks for Ctrl-C this often.
INTERVAL_SECONDS = 50e-3
_BUSY_SECONDS = 50e-6
_MOST_RECORDS = 2**18


class Timing(NamedTuple):
    """When a phase of a launch ran.

    Attributes:
        launch: The launch.
        phase: Which of its kernel's phases.
        thread: Which thread worked on it (0 is the calling one), or -1: from start to end.
        start: Seconds since the call began.
        end: Seconds since the call began.
        chunks: How many chunks the thread took.
    """

    launch: Launch
    phase: int
    thread: int
    start: float
    end: float
    chunks: int


class Executable:
    """A plan that is ready to run.

    Args:
        plan: The plan.
        code: Machine code of each of its kernels.
        threads: How many threads may take part at most; None: as many as are set.
        fresh: Numbers of outputs whose memory the caller has just made, so that nobody misses
            anything if a call is interrupted after it has written them.

    Attributes:
        plan: The plan.
        call: Runs it on a list of NumPy arrays, inputs then outputs; returns 0, or the number of
            the first check that failed, counted from 1. Any number of threads may call it; they
            run one after the other. An exception of a signal handler is raised when the program
            is complete, or at once if no output that matters has been written.
        arena_bytes: Memory that it keeps for temporaries.

    Raises:
        OutOfMemoryError: There is not enough memory for the temporaries.
    """

    def __init__(
        self,
        plan: Plan,
        code: Mapping[Kernel | Contraction, Code],
        *,
        threads: int | None = None,
        fresh: frozenset[int] = frozenset(),
    ) -> None:
        self.plan = plan
        self.arena_bytes = arena_bytes(plan, code)
        blocks.pool.release()  # its arena may need the room
        expect_room(plan, self.arena_bytes)
        arena = aligned(self.arena_bytes)
        self._commands = Commands(plan, code, arena, threads=threads, fresh=fresh)
        self._state = words(driver.STATE_WORDS)
        self._helper = _Helper(plan, self._commands)
        self._fill_state()
        # Not the executable itself: a circle would keep the arena until the next collection.
        self.call: Callable[[list[Any]], int] = function_object(self._state, self._helper)
        _alive.add(self)

    def _fill_state(self) -> None:
        state, commands, rate = self._state, self._commands, native().rate
        state[driver.COMMANDS] = address(commands.commands)
        state[driver.TABLE] = address(commands.table)
        state[driver.ARRAYS] = len(self.plan.inputs) + len(self.plan.outputs)
        state[driver.POOL] = pool().address
        # The first call is taken for a long one.
        state[driver.TICKS] = 2**62
        state[driver.LONG] = int(LONG_SECONDS * rate)
        state[driver.INTERVAL] = int(INTERVAL_SECONDS * rate)
        state[driver.ARRAY_TYPE] = id(np.ndarray)
        state[driver.HELPER] = id(self._helper)
        state[driver.COMMIT] = commands.commit
        state[driver.KEYBOARD] = id(KeyboardInterrupt)

    def check(self, number: int) -> Check:
        """Return the check that `call` has returned the number of."""
        return self._commands.checks[number - 1]

    def profile_call(self, arrays: list[Any]) -> tuple[int, list[Timing]]:
        """Run the program once and return what `call` does, and when each launch ran.

        Launches of a program of more than 262,144 of them are left out at the end.
        """
        pool().start()
        capacity = min(self._commands.records, _MOST_RECORDS)
        stride = (LOG_HEAD + capacity * LOG_ENTRY) // 8
        head, parts = LOG_HEAD // 8, pool().size + 1
        log = words(head + parts * stride)
        log[0] = capacity
        self._state[driver.LOG] = address(log)
        try:
            failed = self.call(arrays)
        finally:
            self._state[driver.LOG] = 0
        timings: list[Timing] = []
        for part in range(parts):
            block = log[head + part * stride : head + (part + 1) * stride]
            records = block[head : head + 4 * min(int(block[0]), capacity)].reshape(-1, 4)
            timings.extend(self._timing(part - 1, *map(int, record)) for record in records)
        begin = min((t.start for t in timings), default=0.0)
        moved = (t._replace(start=t.start - begin, end=t.end - begin) for t in timings)
        return failed, sorted(moved, key=lambda t: (t.start, t.thread))

    def _timing(self, thread: int, number: int, start: int, end: int, chunks: int) -> Timing:
        launch, phase = self._commands.phases[number]
        rate = native().rate
        return Timing(launch, phase, thread, start / rate, end / rate, chunks)

    def _forget_call(self) -> None:
        """In a forked child: whatever another thread of the parent was at is not under way."""
        self._state[driver.IN_USE] = 0


# Programs of this process, for `os.register_at_fork`.
_alive: weakref.WeakSet[Executable] = weakref.WeakSet()


def forget_calls() -> None:
    """In a forked child: no program is under way."""
    for executable in list(_alive):
        executable._forget_call()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_calls)


class _Helper:
    """What the driver calls when it needs Python; it does not keep the executable alive."""

    def __init__(self, plan: Plan, commands: Commands) -> None:
        self._plan = plan
        self._commands = commands

    def __call__(self, code: int) -> None:
        if code == driver.PREPARE:
            pool().start()
        elif code == driver.BUSY:
            time.sleep(_BUSY_SECONDS)
        elif code == driver.NOT_ARRAYS:
            count = len(self._plan.inputs) + len(self._plan.outputs)
            raise StateError(f"{self._plan.name}: a call takes a list of {count} NumPy arrays")
        else:
            self._compute(*self._commands.host_calls[driver.HOST_CALL - code])

    def _compute(self, step: HostCall, inputs: tuple[int, ...], output: int) -> None:
        """Compute an op by its NumPy definition, on the program's memory."""
        table = self._commands.table
        given = [
            _view(int(table[slot]), buffer, shape)
            for slot, (buffer, shape) in zip(inputs, step.inputs, strict=True)
        ]
        specs = tuple(Spec(shape, buffer.dtype) for buffer, shape in step.inputs)
        target, shape = step.output
        result = evaluate(step.op, given, step.attrs, specs, Spec(shape, target.dtype))
        _view(int(table[output]), target, shape)[...] = result


def _view(pointer: int, buffer: Buffer, shape: tuple[int, ...]) -> Array:
    """Return memory as an array; it is the caller's duty that the memory lives long enough."""
    dtype = buffer.dtype.storage
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    raw = memoryview((ctypes.c_char * size).from_address(pointer)).cast("B")
    return np.frombuffer(raw, dtype).reshape(shape)


def load(
    plan: Plan,
    target: Target | None = None,
    threads: int | None = None,
    *,
    fresh: frozenset[int] = frozenset(),
    names: Mapping[Kernel | Contraction, str] | None = None,
) -> Executable:
    """Return a plan ready to run: its kernels compiled, or taken from the cache.

    Args:
        plan: The plan.
        target: The processor; by default this one.
        threads: How many threads may take part at most; None: as many as are set.
        fresh: Numbers of outputs whose memory the caller makes anew for each call (see
            `Executable`).
        names: What `fingerprints` returns for the plan, if the caller has it.

    Raises:
        OutOfMemoryError: There is not enough memory for the temporaries.
    """
    names = fingerprints(plan) if names is None else names
    named = [(name, kernel) for kernel, name in names.items()]
    code = compiled(plan.name, named, target or host(), emit)
    found = {kernel: code[name] for kernel, name in names.items()}
    return Executable(plan, found, threads=threads, fresh=fresh)


def fingerprints(plan: Plan) -> dict[Kernel | Contraction, str]:
    """Return for each kernel of a plan a text that two have only if they may share code."""
    kernels = dict.fromkeys(step.kernel for step, _ in launches(plan.steps))
    return {kernel: fingerprint(kernel) for kernel in kernels}
