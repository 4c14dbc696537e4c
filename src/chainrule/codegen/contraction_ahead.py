"""Ahead: what the stores of a tile will touch is fetched while the tile's sums are computed.

Takes: the position of a tile. Gives: code that asks for the memory its stores read and write.
The one idea: each row of a tile is another short run of memory, which the processor does not guess;
an update like Adam's touches seven of them, and waits for each unless told before.
"""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.codegen.contraction_form import Form, product
from chainrule.codegen.contraction_tiles import Tiling
from chainrule.codegen.micro_loops import affine, argument, plus, shifted, stepped
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function, Module
from chainrule.codegen.types import memory_type
from chainrule.ir.expr import Buffer, Index, Load, walk

LINE_BYTES = 64
# Less than that stays in the second-level cache from one step of a training to the next.
FEW_BYTES = 2**21
# Multiply-adds behind which the request for one line can be hidden.
HIDING = 8

Number = str | int


class Ahead:
    """Writes the functions that fetch what tiles touch, one for each width that occurs."""

    def __init__(
        self, module: Module, form: Form, tiling: Tiling, symbol: str, target: Target
    ) -> None:
        self.module, self.form, self.tiling = module, form, tiling
        self.symbol, self.target = symbol, target
        column = form.columns[-1].axis
        self.runs = [
            (buffer, index)
            for buffer, index in dict.fromkeys(_touched(form))
            if dict(index.terms).get(column) == 1
        ]
        lines = sum(b.dtype.itemsize for b, _ in self.runs) * tiling.lanes / LINE_BYTES
        size = sum(b.size * b.dtype.itemsize for b in {b for b, _ in self.runs})
        self.useful = size > FEW_BYTES and product(form.depth) > HIDING * lines

    def call(self, f: Function, height: int, width: int, *at: list[Number]) -> None:
        """Write the request for what the stores of a tile touch, if that is useful.

        Args:
            f: Where the tile is about to be computed.
            height: Its steps of the row axis that tiles cut.
            width: Its columns.
            at: Position in the batch axes, of its first row, and of its first column.
        """
        if not self.useful:
            return
        name = f"{self.symbol}_ahead_{width}"
        if name not in self.module.functions:
            self._define(name, width)
        values = ", ".join(f"i64 {v}" for part in at for v in part)
        f.effect(f"call void @{name}(ptr %args, i64 {height}, {values})")

    def _define(self, name: str, width: int) -> None:
        form = self.form
        lines = (*form.batch, *form.rows, *form.columns)
        params = ["ptr %args", "i64 %height", *(f"i64 %p{n}" for n in range(len(lines)))]
        f = Function(self.module, name, params, linkage="internal")
        f.module.declare("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        at: dict[object, Number] = {line.axis: f"%p{n}" for n, line in enumerate(lines)}
        cut = form.rows[self.tiling.rows.split :]
        with stepped(f, 0, "%height", 1, sure=True) as row:
            at[cut[0].axis] = plus(f, at[cut[0].axis], row)
            self._rows(f, at, 1, width)
        f.effect("ret void")
        f.finish()

    def _rows(self, f: Function, at: dict[object, Number], level: int, width: int) -> None:
        """Write the loops over the inner row axes of a tile."""
        cut = self.form.rows[self.tiling.rows.split :]
        if level < len(cut):
            axis = cut[level].axis
            with stepped(f, 0, axis.extent, 1, sure=True) as row:
                self._rows(f, {**at, axis: plus(f, at[axis], row)}, level + 1, width)
            return
        for buffer, index in self.runs:
            kind, size = memory_type(buffer.dtype), buffer.dtype.itemsize
            place = affine(f, index.offset, [(at[axis], step) for axis, step in index.terms])
            pointer = shifted(f, argument(f, self.form.buffers.index(buffer)), kind, place)
            step = LINE_BYTES // size
            for column in sorted({*range(0, width, step), width - 1}):
                line = shifted(f, pointer, kind, column)
                writes = int(any(buffer is store.buffer for store in self.form.stores))
                f.effect(f"call void @llvm.prefetch.p0(ptr {line}, i32 {writes}, i32 3, i32 1)")


def _touched(form: Form) -> Iterator[tuple[Buffer, Index]]:
    """Yield what the stores of a contraction read and write, if its place is known beforehand."""
    for store in form.stores:
        if store.dynamic is None:
            yield store.buffer, store.index
        for part in walk(store.value):
            if isinstance(part, Load) and isinstance(part.source, Buffer) and not part.dynamic:
                yield part.source, part.indices[0]
