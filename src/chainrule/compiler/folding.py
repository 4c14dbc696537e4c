"""Constant folding: what depends on constants alone is computed now, once.

Takes: a program. Gives: the program with results of constants as constants.
The one idea: an op's `eval` is its definition, so the compiler computes with that.

Numbers that are spread over a shape stay instructions (`full`, `arange`, `expand`): making the
element again is cheaper than reading it from memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chainrule.compiler.program import Instruction, Program, Value
from chainrule.compiler.rewriting import first_number
from chainrule.core.dtype import Array
from chainrule.core.errors import ChainruleError
from chainrule.graph.evaluate import evaluate
from chainrule.graph.op import OPS

# Results up to that many bytes are kept; larger ones only if they are computed from as much.
LIMIT = 1 << 20

# Its state is data, constant or not: the bits belong to the step, not to the program.
# Loops may take long.
NEVER = frozenset(("random_bits", "region_output"))


def fold_constants(program: Program) -> Program:
    """Return a program in which instructions of constants alone are constants themselves.

    An instruction whose `eval` refuses its inputs (an index out of range) stays, so that the
    error comes when the program runs.
    """
    constants = dict(program.constants)
    known = dict(constants)
    instructions = []
    for instruction in program.instructions:
        array = _evaluate(instruction, known)
        if array is None:
            instructions.append(instruction)
            continue
        known[instruction.output] = array
        if array.size > 1 and _spreads(instruction):
            instructions.append(instruction)
        elif array.size > 1 and _uniform(array):
            instructions.append(_full(instruction, array))
        else:
            constants[instruction.output] = np.asarray(array, order="C")
    return replace(program, constants=constants, instructions=instructions)


def _evaluate(instruction: Instruction, known: dict[Value, Array]) -> Array | None:
    """Return the result in storage form, or None if it is not to be computed now."""
    op, inputs, output = instruction.op, instruction.inputs, instruction.output
    for value in inputs:
        if value not in known:
            return None
    if op.name in NEVER:
        return None
    if output.spec.nbytes > LIMIT:
        given = sum(value.spec.nbytes for value in inputs)
        if output.spec.nbytes > given or not op.flops_per_element:
            return None
    arrays = [known[value] for value in inputs]
    specs = tuple(value.spec for value in inputs)
    try:
        return evaluate(op, arrays, instruction.attrs, specs, output.spec)
    except ChainruleError:
        return None


def _spreads(instruction: Instruction) -> bool:
    return not instruction.inputs or instruction.op.name == "expand"


def _uniform(array: Array) -> bool:
    """Return whether all elements have the same bits."""
    bits = array.view(f"u{array.itemsize}")
    return bool((bits == bits.flat[0]).all())


def _full(instruction: Instruction, array: Array) -> Instruction:
    """Return an instruction that makes an array of equal elements."""
    shape, dtype = instruction.output.spec
    attrs = {"shape": shape, "value": first_number(array, dtype), "dtype": dtype}
    return replace(instruction, op=OPS["full"], inputs=(), attrs=attrs)
