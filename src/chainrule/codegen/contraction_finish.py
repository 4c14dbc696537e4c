"""What becomes of a tile of finished sums: the stores of a contraction.

Takes: a tile in memory. Gives: code that writes the results.
The one idea: a tile lies in the first-level cache, so the stores are ordinary loops over it,
and whatever loops can compute can follow a contraction.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.codegen.contraction_form import Form, moved_store
from chainrule.codegen.contraction_tiles import Tiling
from chainrule.codegen.loops_context import Bound, Context
from chainrule.codegen.loops_nest import Nest
from chainrule.codegen.loops_shape import changed_by
from chainrule.codegen.micro_loops import (
    Cursor,
    argument,
    counted,
    load_vector,
    plus,
    shifted,
    stepped,
    store_vector,
    times,
)
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function, Module
from chainrule.ir.expr import Axis, Buffer, Expr, Load, Read, add, index_of, rewrite, scale
from chainrule.ir.kernel import Loop, Store

Number = str | int


@dataclass(slots=True)
class Slots:
    """Where in the workspace tiles are kept: ``[piece][batch][row tile][panel]``, all one size.

    ``size`` counts the elements of a tile, ``offset`` is where in the workspace they begin.
    """

    pieces: int
    batch: int
    tiles: int
    panels: int
    size: int
    offset: int = 0

    @property
    def piece(self) -> int:
        """Elements of the tiles of one piece."""
        return self.batch * self.tiles * self.panels * self.size

    @property
    def total(self) -> int:
        """Elements of all tiles."""
        return self.pieces * self.piece

    def place(
        self, f: Function, piece: Number, batch: Number, tile: Number, panel: Number
    ) -> Number:
        """Write the offset of a tile in the workspace."""
        number = plus(f, times(f, batch, self.tiles), tile)
        number = plus(f, times(f, number, self.panels), panel)
        return plus(f, self.offset, times(f, piece, self.piece), times(f, number, self.size))

    def add_pieces(self, f: Function, kind: str, lanes: int, first: str) -> None:
        """Write the addition of all pieces of a tile, in order, to the first."""
        if self.pieces == 1:
            return
        vector = f"<{lanes} x {kind}>"
        with stepped(f, 0, self.size, lanes, sure=True) as i:
            place = shifted(f, first, kind, i)
            total = f.alloca(vector)
            begin = load_vector(f, kind, lanes, place, lanes)
            f.effect(f"store {vector} {begin}, ptr {total}")
            others = Cursor(f, place, kind)
            with counted(f, self.pieces - 1):
                at = shifted(f, others.get(), kind, self.piece)
                others.set(at)
                value = load_vector(f, kind, lanes, at, lanes)
                before = f.value(f"load {vector}, ptr {total}")
                after = f.value(f"fadd {vector} {before}, {value}")
                f.effect(f"store {vector} {after}, ptr {total}")
            store_vector(f, kind, lanes, f.value(f"load {vector}, ptr {total}"), place, lanes)


class Finish:
    """Writes the functions that store tiles, one for each shape of tile that occurs."""

    def __init__(
        self, module: Module, form: Form, tiling: Tiling, symbol: str, target: Target
    ) -> None:
        self.module, self.form, self.tiling = module, form, tiling
        self.symbol, self.target = symbol, target

    def call(
        self,
        f: Function,
        height: int,
        width: int,
        tile: str,
        batch: list[Number],
        rows: list[Number],
        columns: list[Number],
    ) -> None:
        """Write the storing of a tile.

        Args:
            f: Where the tile is finished.
            height: Its steps of the row axis that tiles cut.
            width: Its columns.
            tile: Its address; its rows are a panel's width apart.
            batch: Position in the batch axes.
            rows: Position of its first row.
            columns: Position of its first column.
        """
        name = f"{self.symbol}_store_{width}"
        lines = (*self.form.batch, *self.form.rows, *self.form.columns)
        if name not in self.module.functions:
            self._define(name, width, len(lines))
        values = ", ".join(f"i64 {v}" for v in (*batch, *rows, *columns))
        f.effect(f"call void @{name}(ptr %args, ptr {tile}, i64 {height}, {values})")

    def _define(self, name: str, width: int, count: int) -> None:
        """Write the function that stores tiles with so many columns."""
        form = self.form
        params = ["ptr %args", "ptr %tile", "i64 %height", *(f"i64 %p{n}" for n in range(count))]
        f = Function(self.module, name, params, linkage="internal")
        tile = Buffer("tile", form.dtype, self.tiling.rows.most * self.tiling.columns.width)
        loop = tile_loops(form, self.tiling, tile, width)
        pointers = {b: argument(f, n) for n, b in enumerate(form.buffers)}
        context = Context(f, self.target, pointers | {tile: "%tile"})
        for n, line in enumerate((*form.batch, *form.rows, *form.columns)):
            context.rebind(line.axis, Bound(f"%p{n}"))
        ahead = f.place()
        with (
            f.loop(0, "%height", entered=True) as row,
            context.scope({loop.axis: Bound(row)}, changed_by(loop.body), ahead),
        ):
            Nest(context).statements(loop.body)
        f.effect("ret void")
        f.finish()


def tile_loops(form: Form, tiling: Tiling, tile: Buffer, width: int) -> Loop:
    """Return loops over one tile round a contraction's stores.

    The form's axes stand for the position of the tile's first element.

    Args:
        form: The contraction.
        tiling: How it is cut.
        tile: The finished sums, row after row, rows a panel's width apart.
        width: Its columns.

    Returns:
        The loop over the row axis that tiles cut, of the most steps that a tile has.
    """
    cut = form.rows[tiling.rows.split :]
    extents = [tiling.rows.big, *(line.extent for line in cut[1:])]
    rows = [Axis(line.axis.name, e) for line, e in zip(cut, extents, strict=True)]
    column = Axis(form.columns[-1].axis.name, width)
    moved = {line.axis: add(line.axis, own) for line, own in zip(cut, rows, strict=True)}
    moved[form.columns[-1].axis] = add(form.columns[-1].axis, column)
    place = index_of(0)
    for axis in rows:
        place = add(scale(place, axis.extent), axis)
    place = add(scale(place, tiling.columns.width), column)
    total = Load(tile, (place,))

    def read_tile(expr: Expr) -> Expr:
        return total if isinstance(expr, Read) else expr

    stores = []
    for store in form.stores:
        store = moved_store(store, moved)
        value = rewrite(store.value, read_tile)
        dynamic = None if store.dynamic is None else rewrite(store.dynamic, read_tile)
        stores.append(Store(store.buffer, store.index, value, store.guards, dynamic, store.adds))
    loop = Loop(column, tuple(stores), vector=True)
    for axis in reversed(rows):
        loop = Loop(axis, (loop,))
    return loop
