"""Commands: a plan as the table that the native driver runs.

Takes: a plan, and the machine code of its kernels. Gives: commands, arguments and pointers, with
every address that does not change from call to call filled in.
The one idea: only the caller's arrays move, so only their places in the arguments are rewritten
at the start of a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chainrule.codegen import driver
from chainrule.codegen.region import MAX_THREADS
from chainrule.core.errors import StateError
from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import (
    Branch,
    Check,
    Contraction,
    HostCall,
    Kernel,
    Launch,
    Plan,
    Repeat,
    Step,
    While,
    steps_inside,
)
from chainrule.runtime.native import address, aligned, words

# The commit command of a program that writes no output that matters.
NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Code:
    """A kernel's machine code in this process: address and chunks of each phase, workspace."""

    phases: tuple[tuple[int, int], ...]
    workspace: int = 0


def launches(steps: Iterable[Step]) -> Iterator[tuple[Launch, int]]:
    """Yield every launch, and how often it runs."""
    for step in steps:
        if isinstance(step, Launch):
            yield step, 1
        else:
            rounds = step.count if isinstance(step, Repeat) else 1
            yield from ((inner, n * rounds) for inner, n in launches(steps_inside(step)))


def arena_bytes(plan: Plan, code: Mapping[Kernel | Contraction, Code]) -> int:
    """Return the size of a plan's arena with the largest workspace at its end."""
    workspace = max((code[step.kernel].workspace for step, _ in launches(plan.steps)), default=0)
    return -(-plan.arena // 64) * 64 + workspace


class Commands:
    """A plan's tables.

    Attributes:
        table: Pointers: first the caller's, in the order of inputs and outputs.
        commands: What the driver runs, eight words each.
        commit: Address of the first command that writes to an output that matters.
        phases: For each launch number the launch and which of its phases it is.
        records: How many launches a call makes, each round of a loop counted.
        checks: For each number of a check, counted from 1, the check before it.
        host_calls: For each number the call, the places of its inputs' pointers in the table, and
            that of its output's.
    """

    def __init__(
        self,
        plan: Plan,
        code: Mapping[Kernel | Contraction, Code],
        arena: npt.NDArray[np.uint8],
        *,
        threads: int | None = None,
        fresh: frozenset[int] = frozenset(),
    ) -> None:
        self._code = code
        self._threads = MAX_THREADS if threads is None else threads
        self._workspace = address(arena) + -(-plan.arena // 64) * 64
        self._matter = {b for n, b in enumerate(plan.outputs) if n not in fresh}
        self.records = 0
        self._rounds = 1
        self.phases: list[tuple[Launch, int]] = []
        self.checks: list[Check] = []
        self.host_calls: list[tuple[HostCall, tuple[int, ...], int]] = []
        self._kept: list[npt.NDArray[np.generic]] = [arena]
        self._fixed = self._addresses(plan, arena)
        # Two places hold what changes: the pointers, and in the arguments every use of them.
        self._slots: dict[Buffer, int] = {}
        self.table = words(len(plan.inputs) + len(plan.outputs) + _most_slots(plan.steps))
        self._arguments = words(_arguments(plan.steps))
        self._used = 0
        self._uses: dict[Buffer, list[int]] = {}
        self._lines: list[list[int]] = []
        self._jumps: list[tuple[int, int]] = []
        self._commit: int | None = None
        for buffer in (*plan.inputs, *plan.outputs):
            if buffer in self._slots:
                raise StateError(f"{plan.name}: buffer {buffer.name} is the caller's twice")
            self._slots[buffer] = len(self._slots)
            self._uses[buffer] = []
        self._write(plan)
        self._finish()

    def _addresses(self, plan: Plan, arena: npt.NDArray[np.uint8]) -> dict[Buffer, int]:
        base = address(arena)
        fixed = {buffer: base + offset for buffer, offset in plan.temporaries.items()}
        for buffer, value in plan.constants.items():
            given = np.ascontiguousarray(value).reshape(-1)
            memory = aligned(given.nbytes).view(given.dtype)
            memory[...] = given
            self._kept.append(memory)
            fixed[buffer] = address(memory)
        return fixed

    def _write(self, plan: Plan) -> None:
        patch = self._line()
        for step in plan.steps:
            self._step(step)
        self._line(driver.END)
        self._patch(patch, (*plan.inputs, *plan.outputs))

    def _finish(self) -> None:
        self.commands = words(8 * len(self._lines))
        base = address(self.commands)
        for line, target in self._jumps:
            self._lines[line][3] = base + driver.COMMAND_BYTES * target
        for number, line_words in enumerate(self._lines):
            self.commands[8 * number : 8 * number + len(line_words)] = line_words
        self.commit = NEVER if self._commit is None else base + driver.COMMAND_BYTES * self._commit

    def _line(self, *line_words: int) -> list[int]:
        line = list(line_words)
        self._lines.append(line)
        return line

    def _patch(self, line: list[int], buffers: Iterable[Buffer]) -> None:
        """Let a command copy the pointers of buffers to wherever arguments use them."""
        pairs = [(use, self._pointer(b)) for b in buffers for use in self._uses[b]]
        memory = words(2 * len(pairs))
        memory[:] = np.array(pairs, np.int64).reshape(-1)
        self._kept.append(memory)
        line[:] = (driver.PATCH, address(memory), len(pairs))

    def _pointer(self, buffer: Buffer) -> int:
        """Return the address of a buffer's pointer in the table."""
        if buffer not in self._slots:
            self._slots[buffer] = len(self._slots)
            self.table[self._slots[buffer]] = self._fixed[buffer]
        return address(self.table) + 8 * self._slots[buffer]

    def _writes(self, buffer: Buffer) -> None:
        if buffer in self._matter and self._commit is None:
            self._commit = len(self._lines)

    def _step(self, step: Step) -> None:
        if isinstance(step, Launch):
            self._launch(step)
        elif isinstance(step, Repeat):
            self._repeat(step)
        elif isinstance(step, Branch):
            self._branch(step)
        elif isinstance(step, While):
            self._while(step)
        elif isinstance(step, Check):
            self.checks.append(step)
            self._line(driver.CHECK, self._pointer(step.ok), len(self.checks))
        else:
            self._host_call(step)

    def _launch(self, launch: Launch) -> None:
        place = address(self._arguments) + 8 * self._used
        for inner, buffer in zip(launch.kernel.buffers, launch.arguments, strict=True):
            if inner in launch.kernel.written:
                self._writes(buffer)
            if buffer in self._uses:
                self._uses[buffer].append(address(self._arguments) + 8 * self._used)
            else:
                self._arguments[self._used] = self._fixed[buffer]
            self._used += 1
        self._arguments[self._used] = self._workspace
        self._used += 1
        for phase, (function, chunks) in enumerate(self._code[launch.kernel].phases):
            number = len(self.phases)
            self.phases.append((launch, phase))
            self.records += self._rounds
            if chunks == 1 or (chunks and self._threads == 1):
                self._line(driver.SERIAL, function, place, chunks, number)
            elif chunks:
                self._line(driver.PARALLEL, function, place, chunks, number, self._threads)

    def _host_call(self, step: HostCall) -> None:
        self._writes(step.output[0])
        base = address(self.table)
        inputs = tuple((self._pointer(buffer) - base) // 8 for buffer, _ in step.inputs)
        output = (self._pointer(step.output[0]) - base) // 8
        self._line(driver.HOST, len(self.host_calls))
        self.host_calls.append((step, inputs, output))

    def _repeat(self, step: Repeat) -> None:
        if not step.count:
            return
        first, committed, rounds = len(self._lines), self._commit, self._rounds
        self._rounds *= step.count
        round_number = self._round()
        self._line(driver.BEGIN, round_number)
        top = len(self._lines)
        for inner, outer, start, stride in step.views:
            if outer in self._matter:
                self._matter.add(inner)
            self._uses[inner] = []
            self._fixed[inner] = 0  # until the first round
            size = inner.dtype.itemsize
            pointers = self._pointer(inner), self._pointer(outer)
            self._line(driver.VIEW, *pointers, start * size, stride * size, round_number)
        patch = self._line()
        for part in step.steps:
            self._step(part)
        self._carry(step.carried)
        self._jumps.append((len(self._lines), top))
        self._line(driver.NEXT, round_number, step.count, 0)
        self._patch(patch, (inner for inner, *_ in step.views))
        self._rounds = rounds
        if committed is None and self._commit is not None:
            # A later round comes back to commands before the one that writes.
            self._commit = first

    def _carry(self, carried: Iterable[tuple[Buffer, Buffer]]) -> None:
        for source, target in carried:
            self._writes(target)
            size = target.size * target.dtype.itemsize
            self._line(driver.COPY, self._pointer(target), self._pointer(source), size)

    def _branch(self, step: Branch) -> None:
        test = len(self._lines)
        self._line(driver.UNLESS, self._pointer(step.condition), 0, 0)
        for part in step.true:
            self._step(part)
        end = len(self._lines)
        self._line(driver.JUMP, 0, 0, 0)
        self._jumps.append((test, len(self._lines)))
        for part in step.false:
            self._step(part)
        self._jumps.append((end, len(self._lines)))

    def _while(self, step: While) -> None:
        top, committed = len(self._lines), self._commit
        for part in step.test:
            self._step(part)
        out = len(self._lines)
        self._line(driver.UNLESS, self._pointer(step.ok), 0, 0)
        for part in step.steps:
            self._step(part)
        self._carry(step.carried)
        self._jumps.append((len(self._lines), top))
        self._line(driver.JUMP, 0, 0, 0)
        self._jumps.append((out, len(self._lines)))
        if committed is None and self._commit is not None:
            # A later round comes back to commands before the one that writes.
            self._commit = top

    def _round(self) -> int:
        memory = words(1)
        self._kept.append(memory)
        return address(memory)


def _most_slots(steps: Iterable[Step]) -> int:
    """Return how many pointers besides the caller's the steps may need at most."""
    total = 0
    for step in steps:
        if isinstance(step, HostCall):
            total += len(step.inputs) + 1
        elif isinstance(step, Check):
            total += 1
        else:
            total += _most_slots(steps_inside(step)) + 1
            if isinstance(step, Repeat):
                total += 2 * (len(step.views) + len(step.carried))
            elif isinstance(step, While):
                total += 2 * len(step.carried)
    return total


def _arguments(steps: Iterable[Step]) -> int:
    return sum(len(step.arguments) + 1 for step, _ in launches(steps))
