"""Stages: what a compiled function is on its way to machine code, each of them printable.

Takes: a trace. Gives: `Traced`, `Lowered` and `Loaded`, with ``text``, ``cost`` and ``memory``.
The one idea: nothing happens behind the user's back; every stage can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.codegen.emit import emit
from chainrule.codegen.target import host
from chainrule.codegen.text import Module
from chainrule.compiler.pipeline import build
from chainrule.compiler.trace import Trace
from chainrule.graph.op import Cost
from chainrule.ir.kernel import Plan
from chainrule.ir.printer import plan_text
from chainrule.ir.work import flops, moved
from chainrule.runtime.commands import launches
from chainrule.runtime.executable import Executable, load


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A function as a list of ops on values."""

    trace: Trace

    @property
    def text(self) -> str:
        """One line for each value."""
        return self.trace.program.text

    @property
    def cost(self) -> Cost:
        """Floating-point operations, and bytes if every op read and wrote memory."""
        flops = moved = 0
        for step in self.trace.program.instructions:
            cost = step.op.cost(*(v.spec for v in step.inputs), **step.attrs)
            flops, moved = flops + cost.flops, moved + cost.bytes
        return Cost(flops, moved)

    @property
    def memory(self) -> int:
        """Bytes of all values, none of them shared."""
        program = self.trace.program
        values = (*program.inputs, *program.constants, *(i.output for i in program.instructions))
        return sum(value.spec.nbytes for value in values)

    def lower(self) -> Lowered:
        """Return the function as kernels."""
        return Lowered(self.trace, build(self.trace.program))


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A function as kernels over buffers, in the order in which they run."""

    trace: Trace
    plan: Plan

    @property
    def text(self) -> str:
        """Kernels, and where buffers live."""
        return plan_text(self.plan)

    @property
    def cost(self) -> Cost:
        """Floating-point operations of all kernels, and bytes that they read and write."""
        return _cost(self.plan)

    @property
    def memory(self) -> int:
        """Bytes of everything that is needed at once: inputs, outputs, constants, the arena."""
        return _own(self.plan) + self.plan.arena

    def compile(self) -> Loaded:
        """Return the function as machine code."""
        return Loaded(self.trace, self.plan, load(self.plan))


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A function as machine code in this process."""

    trace: Trace
    plan: Plan
    native: Executable

    @property
    def text(self) -> str:
        """The kernels in LLVM's assembly language, as they are compiled."""
        module = Module()
        kernels = dict.fromkeys(launch.kernel for launch, _ in launches(self.plan.steps))
        for number, kernel in enumerate(kernels):
            emit(module, kernel, f"{kernel.name}_{number}", host())
        return module.text

    @property
    def cost(self) -> Cost:
        """Floating-point operations of all kernels, and bytes that they read and write."""
        return _cost(self.plan)

    @property
    def memory(self) -> int:
        """Bytes of inputs, outputs, constants, and the arena with the kernels' workspace."""
        return _own(self.plan) + self.native.arena_bytes


def _cost(plan: Plan) -> Cost:
    """Return the work of a plan; both sides of a branch count, a loop without a count once."""
    runs = list(launches(plan.steps))
    operations = sum(flops(launch.kernel) * rounds for launch, rounds in runs)
    return Cost(operations, sum(moved(launch.kernel) * rounds for launch, rounds in runs))


def _own(plan: Plan) -> int:
    own = (*plan.inputs, *plan.outputs, *plan.constants)
    return sum(buffer.size * buffer.dtype.itemsize for buffer in own)
