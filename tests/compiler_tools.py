"""Plans for tests: run by the interpreter, with outputs in the memory of inputs where allowed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from program_tools import evaluate

from chainrule.compiler.pipeline import build
from chainrule.compiler.program import Program
from chainrule.core.dtype import Array, to_compute
from chainrule.ir.expr import Buffer
from chainrule.ir.interpreter import run_plan
from chainrule.ir.kernel import Contraction, Kernel, Launch, Plan


def run(program: Program, inputs: Sequence[Array], *, fuse: bool = True) -> list[Array]:
    """Return the outputs of a program's plan."""
    plan = build(program, fuse=fuse, check=True)
    memory: dict[Buffer, Array] = {}
    for buffer, array in zip(plan.inputs, inputs, strict=True):
        memory[buffer] = np.array(array, buffer.dtype.storage).reshape(-1)
    where = dict(zip(program.inputs, plan.inputs, strict=True))
    for buffer, old in zip(plan.outputs, program.overwrites, strict=True):
        if old in where:
            memory[buffer] = memory[where[old]]
        else:
            raw = np.full(buffer.size * buffer.dtype.itemsize, 0xFF, np.uint8)
            memory[buffer] = raw.view(buffer.dtype.storage)
    with np.errstate(all="ignore"):
        run_plan(plan, memory)
    pairs = zip(plan.outputs, program.outputs, strict=True)
    return [memory[buffer].reshape(value.spec.shape) for buffer, value in pairs]


def check(program: Program, inputs: Sequence[Array], *, rtol: float = 1e-5) -> None:
    """Compare a program's plans, fused and not, with the ops' own definitions."""
    expected = evaluate(program, inputs)
    for fuse in (False, True):
        for value, got, want in zip(
            program.outputs, run(program, inputs, fuse=fuse), expected, strict=True
        ):
            dtype = value.spec.dtype
            tolerance = rtol if not dtype.is_half else 2e-2
            np.testing.assert_allclose(
                to_compute(got, dtype),
                to_compute(want, dtype),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"fuse={fuse}\n{program.text}",
            )


def kernels(plan: Plan) -> list[Kernel | Contraction]:
    """Return the kernels that a plan launches, in order."""
    return [step.kernel for step in plan.steps if isinstance(step, Launch)]


def kinds(plan: Plan) -> list[str]:
    """Return what the steps of a plan are, in order."""
    names = {Kernel: "loops", Contraction: "contraction"}
    return [
        names[type(step.kernel)] if isinstance(step, Launch) else type(step).__name__
        for step in plan.steps
    ]
