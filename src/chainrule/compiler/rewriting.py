"""Rewriting: what rules of algebra may ask about a program, and how they answer.

Takes: a program that is being rewritten. Gives: who made a value, which number it is
everywhere, and ways to make new instructions.
The one idea: a rule answers with a value that exists already, with another op that makes the
same result (`Made`), or with None where it does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from chainrule.compiler.program import Instruction, Program, Value
from chainrule.core.dtype import Array, DType, to_compute, to_storage
from chainrule.core.shape import Shape, Spec
from chainrule.graph.op import OPS, Op

Number = bool | int | float

# Ops whose result consists of elements of their one input.
_MOVING = frozenset(("expand", "reshape", "permute", "flip", "clone", "slice"))

# Larger constants are not searched for being one number everywhere.
_SEARCHED = 4096


class Made(NamedTuple):
    """An op that makes the same result as the instruction that a rule looked at."""

    op: Op
    inputs: tuple[Value, ...]
    attrs: dict[str, Any]


Rule = Callable[[Instruction, "Rewriter"], "Value | Made | None"]


def made(name: str, *inputs: Value, **attrs: Any) -> Made:
    """Return the answer of a rule: this op on these inputs."""
    return Made(OPS[name], inputs, attrs)


class Rewriter:
    """A program under construction.

    Attributes:
        constants: Of the new program.
        instructions: Of the new program, so far.
        at: The instruction that is being looked at; new ones take over its line and layer.
    """

    def __init__(self, program: Program) -> None:
        self.constants = dict(program.constants)
        self.instructions: list[Instruction] = []
        self.at: Instruction | None = None
        self._makers: dict[Value, Instruction] = {}
        self._numbers: dict[Value, Number | None] = {}

    def append(self, instruction: Instruction) -> None:
        """Put an instruction behind the others."""
        self.instructions.append(instruction)
        self._makers[instruction.output] = instruction

    def maker(self, value: Value, *names: str) -> Instruction | None:
        """Return the instruction that makes a value if its op has one of these names."""
        found = self._makers.get(value)
        return found if found is not None and found.op.name in names else None

    def new(self, name: str, *inputs: Value, **attrs: Any) -> Value:
        """Return the result of a new instruction."""
        return self.apply(OPS[name], *inputs, **attrs)

    def apply(self, op: Op, *inputs: Value, **attrs: Any) -> Value:
        """Return the result of a new instruction of an op that may be the compiler's own."""
        output = Value(op.infer(*(value.spec for value in inputs), **attrs))
        site, layer = (self.at.site, self.at.layer) if self.at else (None, "")
        self.append(Instruction(op, inputs, attrs, output, site, layer))
        return output

    def constant(self, number: Number, dtype: DType) -> Value:
        """Return a new constant of shape ()."""
        value = Value(Spec((), dtype))
        self.constants[value] = to_storage(np.asarray(number, dtype.compute), dtype)
        return value

    def number(self, value: Value) -> Number | None:
        """Return the number that all elements of a value are, or None."""
        if value not in self._numbers:
            self._numbers[value] = self._find_number(value)
        return self._numbers[value]

    def _find_number(self, value: Value) -> Number | None:
        maker = self._makers.get(value)
        if maker is not None:
            if maker.op.name in _MOVING:
                return self.number(maker.inputs[0])
            if maker.op.name != "full":
                return None
            dtype = value.spec.dtype
            with np.errstate(all="ignore"):
                stored = to_storage(np.asarray(maker.attrs["value"], dtype.compute), dtype)
            return first_number(stored, dtype)
        array = self.constants.get(value)
        if array is None or not 0 < array.size <= _SEARCHED:
            return None
        bits = array.view(f"u{array.itemsize}")
        return first_number(array, value.spec.dtype) if (bits == bits.flat[0]).all() else None

    def is_number(self, value: Value, number: float) -> bool:
        """Return whether all elements of a value are this number; 0.0 and -0.0 differ."""
        found = self.number(value)
        return found == number and math.copysign(1, found) == math.copysign(1, number)


def rewritten(
    program: Program, change: Callable[[Instruction, Rewriter], Instruction | Value | None]
) -> Program:
    """Return a program in which each instruction is what ``change`` makes of it.

    Args:
        program: The program.
        change: Gets an instruction whose inputs are rewritten; returns its result made in
            another way, another instruction with this result, or None where it stays.
    """
    rewriter = Rewriter(program)
    same: dict[Value, Value] = {}
    for given in program.instructions:
        inputs = tuple([same.get(value, value) for value in given.inputs])
        at = given if inputs == given.inputs else replace(given, inputs=inputs)
        rewriter.at = at
        found = change(at, rewriter)
        if isinstance(found, Value):
            same[given.output] = found
        else:
            rewriter.append(at if found is None else found)
    return replace(
        program,
        constants=rewriter.constants,
        instructions=rewriter.instructions,
        outputs=[same.get(value, value) for value in program.outputs],
        assertions=[replace(a, ok=same.get(a.ok, a.ok)) for a in program.assertions],
    )


def first_number(array: Array, dtype: DType) -> Number:
    """Return the first of stored elements as a Python number."""
    found: Number = to_compute(array.reshape(-1)[:1], dtype).item()
    return found


def spread(value: Value, shape: Shape) -> Value | Made:
    """Return a value of some shape: itself, or an expansion of it."""
    return value if value.spec.shape == shape else made("expand", value, shape=shape)
