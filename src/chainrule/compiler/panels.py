"""Panels: a matrix that every round of a loop multiplies with, laid out for that once.

Takes: a round, and what is the same in every round. Gives: the round with products of panels, and
what lays the panels out in front of the loop.
The one idea: a micro-kernel reads a few columns of all rows. Where rows are long these lie far
apart, in few sets of the cache and many pages; so they are copied to lie one after the other. In a
loop this pays even for small products, for it is done once and not in each round.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from chainrule.compiler.program import Instruction, Program, Value
from chainrule.core.dtype import float32, float64
from chainrule.graph.op import OPS

# Bytes of a panel's row: a line of the cache.
_ROW_BYTES = 128
# Rows of the matrix from so many bytes on are far apart.
_FAR_BYTES = 1024
# With fewer rows on the left there is little to gain.
_LEAST_ROWS = 4
# Fewer rounds do not pay for the copy.
_LEAST_ROUNDS = 4


@dataclass(slots=True, eq=False)
class Panels:
    """The products of a round with panels.

    Attributes:
        body: The round.
        length: The number of rounds.
        fixed: For what is the same in every round, the value outside.
        before: Instructions in front of the loop.
        inputs: New values that are the same in every round: outside, and what stands for them.
    """

    body: Program
    length: int
    fixed: dict[Value, Value]
    before: list[Instruction] = field(default_factory=list)
    inputs: list[tuple[Value, Value]] = field(default_factory=list)

    def lay_out(self) -> None:
        """Let products with what is the same in every round read panels."""
        if self.length < _LEAST_ROUNDS:
            return
        laid: dict[Value, Value] = {}
        instructions: list[Instruction] = []
        for instruction in self.body.instructions:
            if instruction.op.name != "matmul" or not self._pays(instruction):
                instructions.append(instruction)
                continue
            matrix = instruction.inputs[1]
            if matrix not in laid:
                laid[matrix] = self._panels(matrix, instruction)
            instructions.extend(_product(instruction, laid[matrix]))
        self.body = replace(self.body, instructions=instructions)

    def _pays(self, product: Instruction) -> bool:
        rows, matrix = (value.spec for value in product.inputs)
        if product.inputs[1] not in self.fixed or len(rows.shape) != 2 or len(matrix.shape) != 2:
            return False
        far = matrix.shape[1] * matrix.dtype.itemsize
        return (
            matrix.dtype in (float32, float64)
            and far >= _FAR_BYTES
            and far % _ROW_BYTES == 0
            and rows.shape[0] >= _LEAST_ROWS
        )

    def _panels(self, matrix: Value, like: Instruction) -> Value:
        """Return what stands for the panels of a matrix: [panels, rows, columns of one]."""
        depth, columns = matrix.spec.shape
        width = _ROW_BYTES // matrix.spec.dtype.itemsize
        shape = (depth, columns // width, width)
        parts = _new(self.before, "reshape", like, self.fixed[matrix], shape=shape)
        outer = _new(self.before, "permute", like, parts, axes=(1, 0, 2))
        inner = Value(outer.spec)
        self.inputs.append((outer, inner))
        return inner


def _product(product: Instruction, panels: Value) -> list[Instruction]:
    """Return the instructions of a product with panels."""
    made: list[Instruction] = []
    rows = product.inputs[0]
    alike = _new(made, "reshape", product, rows, shape=(1, *rows.spec.shape))
    parts = _new(made, "matmul", product, alike, panels)
    joined = _new(made, "permute", product, parts, axes=(1, 0, 2))
    _new(made, "reshape", product, joined, shape=product.output.spec.shape)
    made[-1] = replace(made[-1], output=product.output)
    return made


def _new(
    at: list[Instruction], name: str, like: Instruction, value: Value, *others: Value, **attrs: Any
) -> Value:
    op, inputs = OPS[name], (value, *others)
    output = Value(op.infer(*(v.spec for v in inputs), **attrs))
    at.append(Instruction(op, inputs, attrs, output, like.site, like.layer))
    return output
