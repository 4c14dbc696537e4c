"""Ahead: what the stores of a tile will touch is fetched while the tile's sums are computed.

Takes: the position of a tile. Gives: a table of addresses, which its micro-kernel asks for.
The one idea: each row of a tile is another short run of memory, which the processor does not guess;
an update like Adam's touches seven of them, and waits for each unless told before. The requests are
spread over the depth: the processor keeps track of a few dozen at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.codegen.contraction_form import Form, product
from chainrule.codegen.contraction_tiles import Tiling
from chainrule.codegen.micro_loops import Cursor, affine, argument, plus, shifted, stepped
from chainrule.codegen.text import Function, Module
from chainrule.codegen.types import memory_type
from chainrule.ir.expr import Buffer, Index, Load, walk

LINE_BYTES = 64
# Less than that stays in the second-level cache from one step of a training to the next.
FEW_BYTES = 2**21
# Steps of depth for each of the runs of memory that a vector of results touches, at least.
HIDING = 8

Number = str | int


class Ahead:
    """Writes the tables of addresses that tiles touch, by a function for each width that occurs.

    Attributes:
        size: Entries of a table, a power of two; 0 where it is of no use.
        rate: Entries to ask for at each step of the depth.
    """

    def __init__(self, module: Module, form: Form, tiling: Tiling, symbol: str) -> None:
        self.module, self.form, self.tiling, self.symbol = module, form, tiling, symbol
        column = form.columns[-1].axis
        self.runs = [
            (buffer, index)
            for buffer, index in dict.fromkeys(_touched(form))
            if dict(index.terms).get(column) == 1
        ]
        depth = product(form.depth)
        memory = sum(b.size * b.dtype.itemsize for b in {b for b, _ in self.runs})
        useful = memory > FEW_BYTES and depth > HIDING * len(self.runs) and not tiling.dots
        lines = sum(len(_lines(b, tiling.columns.width)) for b, _ in self.runs)
        lines *= tiling.rows.most if useful else 0
        self.size = 1 << (lines - 1).bit_length() if lines else 0
        self.rate = -(-lines // depth)

    def table(self, f: Function) -> str:
        """Write the making of an empty table; returns its address."""
        if not self.size:
            return "null"
        table = f.alloca(f"[{self.size} x ptr]")
        name = "llvm.memset.p0.i64"
        f.module.declare(name, f"declare void @{name}(ptr, i8, i64, i1)")
        f.effect(f"call void @{name}(ptr {table}, i8 0, i64 {8 * self.size}, i1 false)")
        return table

    def fill(self, f: Function, table: str, height: int, width: int, *at: list[Number]) -> None:
        """Write the filling of a table, if there is one.

        Args:
            f: Where the tile is about to be computed.
            table: Its address.
            height: The tile's steps of the row axis that tiles cut.
            width: Its columns.
            at: Position in the batch axes, of its first row, and of its first column.
        """
        if not self.size:
            return
        name = f"{self.symbol}_ahead_{width}"
        if name not in self.module.functions:
            self._define(name, width)
        values = ", ".join(f"i64 {v}" for part in at for v in part)
        f.effect(f"call void @{name}(ptr %args, ptr {table}, i64 {height}, {values})")

    def _define(self, name: str, width: int) -> None:
        form = self.form
        lines = (*form.batch, *form.rows, *form.columns)
        places = (f"i64 %p{n}" for n in range(len(lines)))
        f = Function(
            *(self.module, name, ["ptr %args", "ptr %table", "i64 %height", *places]),
            linkage="internal",
        )
        at: dict[object, Number] = {line.axis: f"%p{n}" for n, line in enumerate(lines)}
        pointers = {b: argument(f, form.buffers.index(b)) for b, _ in self.runs}
        entries = Cursor(f, "%table", "ptr")
        cut = form.rows[self.tiling.rows.split :]
        with stepped(f, 0, "%height", 1, sure=True) as row:
            at[cut[0].axis] = plus(f, at[cut[0].axis], row)
            self._rows(f, at, 1, width, pointers, entries)
        f.effect("ret void")
        f.finish()

    def _rows(
        self,
        f: Function,
        at: dict[object, Number],
        level: int,
        width: int,
        pointers: dict[Buffer, str],
        entries: Cursor,
    ) -> None:
        """Write the loops over the inner row axes of a tile."""
        cut = self.form.rows[self.tiling.rows.split :]
        if level < len(cut):
            axis = cut[level].axis
            with stepped(f, 0, axis.extent, 1, sure=True) as row:
                inner = {**at, axis: plus(f, at[axis], row)}
                self._rows(f, inner, level + 1, width, pointers, entries)
            return
        entry, number = entries.get(), 0
        for buffer, index in self.runs:
            kind = memory_type(buffer.dtype)
            place = affine(f, index.offset, [(at[axis], step) for axis, step in index.terms])
            first = shifted(f, pointers[buffer], kind, place)
            columns = _lines(buffer, width)
            steps = ", ".join(f"i64 {column}" for column in columns)
            vector = f"<{len(columns)} x i64> <{steps}>"
            lines = f.value(f"getelementptr {kind}, ptr {first}, {vector}")
            to = shifted(f, entry, "ptr", number)
            f.effect(f"store <{len(columns)} x ptr> {lines}, ptr {to}, align 8")
            number += len(columns)
        entries.move(entry, number)


def _lines(buffer: Buffer, width: int) -> list[int]:
    """Return columns such that each line of memory of a row of a tile holds one of them."""
    return sorted({*range(0, width, LINE_BYTES // buffer.dtype.itemsize), width - 1})


def _touched(form: Form) -> Iterator[tuple[Buffer, Index]]:
    """Yield what the stores of a contraction read and write, if its place is known beforehand."""
    for store in form.stores:
        if store.dynamic is None:
            yield store.buffer, store.index
        for part in walk(store.value):
            if isinstance(part, Load) and isinstance(part.source, Buffer) and not part.dynamic:
                yield part.source, part.indices[0]
