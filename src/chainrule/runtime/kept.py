"""Kept: plans of programs, on disk between processes.

Takes: a program. Gives: its native program, without planning it where an earlier process has.
The one idea: to run a plan one needs to know which machine code runs on which buffers, not what
that code does; a profile, which asks that too, plans the program anew.

An entry is a line of JSON, then the elements of the constants.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.codegen.target import host
from chainrule.compiler.described import described
from chainrule.compiler.pipeline import build
from chainrule.compiler.program import Program
from chainrule.core import config
from chainrule.core.dtype import as_dtype
from chainrule.core.errors import OutOfMemoryError
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
from chainrule.runtime import cache, library
from chainrule.runtime.commands import Code
from chainrule.runtime.executable import Executable, Timing, fingerprints, load
from chainrule.runtime.native import begun
from chainrule.runtime.step import Native

# Larger constants are the exception, and reading them would cost what planning costs.
_MOST_CONSTANTS = 2**22


class _Kept:
    """A program whose plan was kept."""

    def __init__(self, program: Program, executable: Executable) -> None:
        self._program = program
        self._whole: Executable | None = None
        self.call: Callable[[list[Any]], int] = executable.call

    def profile_call(self, arrays: list[Any]) -> tuple[int, list[Timing]]:
        """Run the program once and return what `call` does, and when each launch ran."""
        if self._whole is None:
            self._whole = load(build(self._program))
        return self._whole.profile_call(arrays)


def native_of(program: Program) -> Native:
    """Return a program ready to run; its plan is taken from the cache, or built and kept.

    Raises:
        OutOfMemoryError: There is not enough memory for the temporaries.
    """
    text = described(program) if config.dump_dir() is None else None
    if text is None:
        return load(build(program))
    # Folded constants are NumPy's work.
    key = cache.key_of("plan", f"{host()}\nnumpy {np.__version__}\n{text}")
    content = cache.fetch(key)
    found = None if content is None else _unpacked(program.name, content)
    if found is not None:
        # Where memory is short, the plan made anew says which layers need it.
        with contextlib.suppress(OutOfMemoryError):
            return _Kept(program, Executable(*found))
    with begun():
        plan = build(program)
        names = fingerprints(plan)
    executable = load(plan, names=names)
    packed = _packed(plan, names)
    if packed is not None:
        cache.store(key, packed)
    return executable


# --- a plan as bytes -----------------------------------------------------------------------------


def _packed(plan: Plan, names: Mapping[Kernel | Contraction, str]) -> bytes | None:
    """Return a plan as bytes; None if it calls NumPy, or has large constants."""
    arrays = [np.ascontiguousarray(array) for array in plan.constants.values()]
    if sum(array.nbytes for array in arrays) > _MOST_CONSTANTS or _calls_host(plan.steps):
        return None
    writer = _Writer(names)
    head = {
        "steps": writer.steps(plan.steps),
        "inputs": writer.all(plan.inputs),
        "outputs": writer.all(plan.outputs),
        "constants": writer.all(plan.constants),
        "arrays": [(array.dtype.str, array.nbytes) for array in arrays],
        "temporaries": writer.all(plan.temporaries),
        "offsets": list(plan.temporaries.values()),
        "arena": plan.arena,
        "buffers": [(buffer.name, buffer.dtype.name, buffer.size) for buffer in writer.numbers],
    }
    return b"".join((json.dumps(head).encode(), b"\n", *(array.tobytes() for array in arrays)))


def _calls_host(steps: Iterable[Step]) -> bool:
    return any(isinstance(s, HostCall) or _calls_host(steps_inside(s)) for s in steps)


class _Writer:
    """Numbers buffers in the order in which they are met."""

    def __init__(self, names: Mapping[Kernel | Contraction, str]) -> None:
        self.numbers: dict[Buffer, int] = {}
        self._digests = {k: library.digest_of(name, host()) for k, name in names.items()}

    def one(self, buffer: Buffer) -> int:
        return self.numbers.setdefault(buffer, len(self.numbers))

    def all(self, buffers: Iterable[Buffer]) -> list[int]:
        return [self.one(buffer) for buffer in buffers]

    def steps(self, steps: Iterable[Step]) -> list[Any]:
        return [self._step(step) for step in steps]

    def _step(self, step: Step) -> list[Any]:
        if isinstance(step, Launch):
            kernel = step.kernel
            pairs = zip(kernel.buffers, step.arguments, strict=True)
            written = [self.one(argument) for own, argument in pairs if own in kernel.written]
            return ["launch", kernel.name, self._digests[kernel], self.all(step.arguments), written]
        if isinstance(step, Repeat):
            views = [(*self.all(view[:2]), *view[2:]) for view in step.views]
            carried = [self.all(pair) for pair in step.carried]
            return ["repeat", step.count, self.steps(step.steps), views, carried]
        if isinstance(step, Check):
            return ["check", self.one(step.ok), step.message]
        if isinstance(step, Branch):
            condition = self.one(step.condition)
            return ["branch", condition, self.steps(step.true), self.steps(step.false)]
        assert isinstance(step, While)
        carried = [self.all(pair) for pair in step.carried]
        test, ok = self.steps(step.test), self.one(step.ok)
        return ["while", test, ok, self.steps(step.steps), carried]


def _unpacked(name: str, content: bytes) -> tuple[Plan, dict[Kernel | Contraction, Code]] | None:
    """Return a plan whose kernels have names and buffers only, and their code, if that is kept."""
    line, _, rest = content.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    reader = _Reader([Buffer(n, as_dtype(d), size) for n, d, size in head["buffers"]])
    steps = reader.steps(head["steps"])
    code = library.kept(set(reader.digests.values()))
    if code is None:
        return None
    constants = {}
    for buffer, (kind, size) in zip(reader.all(head["constants"]), head["arrays"], strict=True):
        constants[buffer] = np.frombuffer(rest[:size], kind)
        rest = rest[size:]
    temporaries = dict(zip(reader.all(head["temporaries"]), head["offsets"], strict=True))
    inputs, outputs = reader.all(head["inputs"]), reader.all(head["outputs"])
    plan = Plan(name, steps, inputs, outputs, constants, temporaries, head["arena"])
    return plan, {kernel: code[digest] for kernel, digest in reader.digests.items()}


class _Reader:
    """Gives buffers back for their numbers."""

    def __init__(self, buffers: list[Buffer]) -> None:
        self._buffers = buffers
        self.digests: dict[Kernel | Contraction, str] = {}

    def all(self, numbers: Iterable[int]) -> tuple[Buffer, ...]:
        return tuple(self._buffers[number] for number in numbers)

    def steps(self, steps: Iterable[list[Any]]) -> tuple[Step, ...]:
        return tuple(getattr(self, f"_{kind}")(*rest) for kind, *rest in steps)

    def _launch(self, name: str, digest: str, arguments: list[int], written: list[int]) -> Launch:
        buffers = self.all(arguments)
        kernel = Kernel(name, buffers, (), 1, (), written=frozenset(self.all(written)))
        self.digests[kernel] = digest
        return Launch(kernel, buffers)

    def _repeat(self, count: int, steps: list[Any], views: list[Any], carried: list[Any]) -> Repeat:
        given = tuple((*self.all(view[:2]), *view[2:]) for view in views)
        return Repeat(count, self.steps(steps), given, self._pairs(carried))

    def _check(self, ok: int, message: str) -> Check:
        return Check(self._buffers[ok], message)

    def _branch(self, condition: int, true: list[Any], false: list[Any]) -> Branch:
        return Branch(self._buffers[condition], self.steps(true), self.steps(false))

    def _while(self, test: list[Any], ok: int, steps: list[Any], carried: list[Any]) -> While:
        inside, pairs = self.steps(steps), self._pairs(carried)
        return While(self.steps(test), self._buffers[ok], inside, pairs)

    def _pairs(self, pairs: Iterable[list[int]]) -> Any:
        return tuple(self.all(pair) for pair in pairs)
