"""Stages: what a compiled function is on its way to machine code, each of them printable.

Takes: a trace. Gives: `Traced`, `Lowered` and `Loaded`, with ``text``, ``cost`` and ``memory``.
The one idea: nothing happens behind the user's back; every stage can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule.compiler.pipeline import build
from chainrule.compiler.trace import Trace
from chainrule.graph.op import Cost
from chainrule.ir.kernel import Plan
from chainrule.ir.printer import plan_text
from chainrule.runtime.executable import load


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
    def memory(self) -> int:
        """Bytes of everything that is needed at once: inputs, outputs, constants, the arena."""
        plan = self.plan
        own = (*plan.inputs, *plan.outputs, *plan.constants)
        return plan.arena + sum(b.size * b.dtype.itemsize for b in own)

    def compile(self) -> Loaded:
        """Return the function as machine code."""
        return Loaded(self.trace, self.plan, load(self.plan))


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A function as machine code in this process."""

    trace: Trace
    plan: Plan
    native: Any
