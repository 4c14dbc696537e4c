"""Look-ups: products with rows of a table, done on the table.

Takes: a program. Gives: a program in which a matrix meets the rows of a table before they are
looked up, where the table has fewer rows than are looked up.
The one idea: choosing rows and adding up rows are linear, so they may change places with a
product: E[i] W = (E W)[i], and with S(G) the sums of the rows of G that belong to one row of the
table, E[i]ᵀ G = Eᵀ S(G) and S(G W) = S(G) W. A network that begins with an embedding of few
symbols then costs next to nothing in its first layer, in all three products of training.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from chainrule.compiler.program import Instruction, Program, Value
from chainrule.compiler.rewriting import Rewriter, rewritten
from chainrule.core.dtype import float32, float64
from chainrule.core.shape import Shape, Spec

# Ops that only move rows about, as long as they leave the last axis alone.
_MOVING = frozenset(("reshape", "permute"))
# So many times as many rows as the table has must be looked up.
_TIMES = 2
# Multiply-adds that must be saved for the trouble.
_LEAST = 2**18


class _LookUp(NamedTuple):
    """Rows of a table, looked up and moved.

    Attributes:
        found: The instruction that looks them up.
        moves: What moves them afterwards, in order.
    """

    found: Instruction
    moves: tuple[Instruction, ...]

    @property
    def table(self) -> Value:
        """The table, [V, D]."""
        return self.found.inputs[0]

    @property
    def numbers(self) -> Value:
        """The numbers of the rows, any shape."""
        return self.found.inputs[1]


def move_lookups(program: Program) -> Program:
    """Return a program of equal values, but for rounding, with look-ups behind products."""
    if not any(i.op.name == "index" for i in program.instructions):
        return program
    uses = program.uses()

    def change(at: Instruction, rewriter: Rewriter) -> Value | None:
        if at.op.name == "matmul":
            return _rows_times(at, rewriter) or _columns_times(at, rewriter)
        return _sums_of_products(at, rewriter, uses) if at.op.name == "unindex" else None

    return rewritten(program, change)


def _rows_times(at: Instruction, program: Rewriter) -> Value | None:
    """E[i] W is (E W)[i]."""
    rows, matrix = at.inputs
    looked_up = _look_up(rows, program)
    if looked_up is None or len(matrix.spec.shape) != 2:
        return None
    if not _pays(looked_up.table.spec, looked_up.numbers, matrix.spec.shape):
        return None
    product = program.new("matmul", looked_up.table, matrix)
    found = program.new("index", product, looked_up.numbers, **looked_up.found.attrs)
    return _moved(found, looked_up.moves, program)


def _columns_times(at: Instruction, program: Rewriter) -> Value | None:
    """E[i]ᵀ G is Eᵀ S(G)."""
    turned, gradient = at.inputs
    turn = program.maker(turned, "permute")
    if turn is None or turn.attrs["axes"] != (1, 0) or len(gradient.spec.shape) != 2:
        return None
    looked_up = _look_up(turn.inputs[0], program)
    if looked_up is None:
        return None
    product = (turned.spec.shape[0], gradient.spec.shape[1])
    if not _pays(looked_up.table.spec, looked_up.numbers, product):
        return None
    back = gradient
    for move in reversed(looked_up.moves):
        back = _undone(back, move, program)
    sums = _sums(back, looked_up.numbers, looked_up.table.spec.shape[0], program)
    # A row that nobody looked up counts for nothing, not even if it is NaN.
    table = _used_rows(looked_up.table, looked_up.numbers, program)
    return program.new("matmul", program.new("permute", table, axes=(1, 0)), sums)


def _sums_of_products(at: Instruction, program: Rewriter, uses: dict[Value, int]) -> Value | None:
    """S(G W) is S(G) W."""
    if len(at.inputs) != 2 or at.attrs["axes"] != (0,) or len(at.output.spec.shape) != 2:
        return None
    value = at.inputs[0]
    moves: list[Instruction] = []
    while (move := program.maker(value, *_MOVING)) is not None and _keeps_rows(move):
        if uses.get(value) != 1:
            return None
        moves.insert(0, move)
        value = move.inputs[0]
    product = program.maker(value, "matmul")
    if product is None or uses.get(value) != 1 or len(product.inputs[1].spec.shape) != 2:
        return None
    rows, matrix = product.inputs
    index = at.inputs[1]
    if rows.spec.shape[:-1] != value.spec.shape[:-1]:
        return None
    if not _pays(at.output.spec, index, matrix.spec.shape):
        return None
    sums = _sums(_moved(rows, tuple(moves), program), index, at.output.spec.shape[0], program)
    # A row that nobody looked up gets nothing, not even if the matrix is NaN.
    return _used_rows(program.new("matmul", sums, matrix), index, program)


# --- looking -----------------------------------------------------------------------------------


def _look_up(value: Value, program: Rewriter) -> _LookUp | None:
    """Return the look-up that a value comes from by moving rows."""
    moves: list[Instruction] = []
    while (move := program.maker(value, *_MOVING)) is not None and _keeps_rows(move):
        moves.insert(0, move)
        value = move.inputs[0]
    found = program.maker(value, "index")
    if found is None or len(found.inputs) != 2 or found.attrs["axes"] != (0,):
        return None
    return _LookUp(found, tuple(moves)) if len(found.inputs[0].spec.shape) == 2 else None


def _keeps_rows(move: Instruction) -> bool:
    """Return whether each row, along the last axis, stays whole and last."""
    before, after = move.inputs[0].spec.shape, move.output.spec.shape
    if not before or not after:
        return False
    if move.op.name == "permute":
        return bool(move.attrs["axes"][-1] == len(before) - 1)
    return before[-1] == after[-1] and prod(before[:-1]) == prod(after[:-1])


def _pays(table: Spec, index: Value, matrix: Shape) -> bool:
    """Return whether a product with the table is much less work than with the rows."""
    count = index.spec.size
    saved = (count - table.shape[0]) * prod(matrix)
    # Sums of narrow types would be rounded after each row.
    exact = table.dtype in (float32, float64)
    return exact and count >= _TIMES * table.shape[0] > 0 and saved >= _LEAST


# --- making ------------------------------------------------------------------------------------


def _moved(value: Value, moves: tuple[Instruction, ...], program: Rewriter) -> Value:
    """Return rows of another width moved in the same way."""
    for move in moves:
        if move.op.name == "permute":
            value = program.new("permute", value, axes=move.attrs["axes"])
        else:
            shape = (*move.output.spec.shape[:-1], value.spec.shape[-1])
            value = _reshaped(value, shape, program)
    return value


def _undone(value: Value, move: Instruction, program: Rewriter) -> Value:
    """Return rows of another width moved back."""
    if move.op.name == "permute":
        axes: tuple[int, ...] = move.attrs["axes"]
        return program.new("permute", value, axes=tuple(axes.index(n) for n in range(len(axes))))
    return _reshaped(value, (*move.inputs[0].spec.shape[:-1], value.spec.shape[-1]), program)


def _reshaped(value: Value, shape: Shape, program: Rewriter) -> Value:
    maker = program.maker(value, "reshape")
    if maker is not None and maker.inputs[0].spec.shape == shape:
        return maker.inputs[0]
    return value if value.spec.shape == shape else program.new("reshape", value, shape=shape)


def _sums(rows: Value, index: Value, count: int, program: Rewriter) -> Value:
    """Return for each row of a table the sum of the rows that belong to it."""
    shape = (count, rows.spec.shape[-1])
    return program.new("unindex", rows, index, shape=shape, axes=(0,), position=0)


def _used_rows(rows: Value, index: Value, program: Rewriter) -> Value:
    """Return rows that belong to those of a table, with zeros for those not looked up."""
    count, dtype = rows.spec.shape[0], rows.spec.dtype
    ones = program.new("full", shape=(*index.spec.shape, 1), value=1.0, dtype=dtype)
    zero = program.constant(0.0, dtype)
    used = program.new("less", zero, _sums(ones, index, count, program))
    return program.new("where", used, rows, zero)
