"""Contractions: matrix products and convolutions as machine code.

Takes: an `ir.kernel.Contraction`. Gives: its phases: packing the right operand, tiles of sums
through micro-kernels, adding up the pieces of a long depth.
The one idea: all contractions are one loop nest over tiles; only the strides differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product as combinations

from chainrule.codegen.contraction_across import across_phase
from chainrule.codegen.contraction_ahead import Ahead
from chainrule.codegen.contraction_finish import Finish, Slots
from chainrule.codegen.contraction_form import (
    Form,
    Line,
    form_of,
    is_separate,
    merged_depth,
    panel_strides,
    product,
    refusal,
)
from chainrule.codegen.contraction_pack import PACKED, Panel, write_lines, write_pack
from chainrule.codegen.contraction_tiles import Tiling, tiling_of
from chainrule.codegen.emitted import Emitted, Phase
from chainrule.codegen.micro import Micro, micro_kernel
from chainrule.codegen.micro_dot import Dots, dot_kernel
from chainrule.codegen.micro_loops import (
    KINDS,
    affine,
    argument,
    divided,
    plus,
    positions,
    shifted,
    smaller,
    stepped,
    times,
    variants,
)
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function, Module
from chainrule.core.errors import StateError
from chainrule.ir.kernel import Contraction

PARAMS = ("ptr %args", "i64 %begin", "i64 %end")

Number = str | int


def supported(contraction: Contraction) -> bool:
    """Return whether a contraction should be emitted here rather than as loops.

    Loops do better where nothing is shared: products of single rows or columns whose results lie
    side by side along a batch axis (convolution of each channel by itself).
    """
    return not refusal(contraction) and not is_separate(contraction)


def emit_contraction(
    module: Module, contraction: Contraction, symbol: str, target: Target
) -> Emitted:
    """Write the machine code of a contraction.

    Args:
        module: Where to.
        contraction: What to compute.
        symbol: Name of the native functions, more than one with a number behind it.
        target: For which processor.

    Returns:
        The phases, and the bytes of workspace that they share.

    Raises:
        StateError: Dtypes, guards, dynamic positions or empty axes that are not dealt with here.
    """
    reason = refusal(contraction)
    if reason:
        raise StateError(
            f"contraction {contraction.name}: {reason}",
            hint="ask chainrule.codegen.contraction.supported first, and emit loops instead",
        )
    form = form_of(contraction, target.lanes(contraction.acc.dtype.itemsize))
    return _Emitter(module, form, symbol, target).emit()


class _Emitter:
    """Writes the phases of one contraction."""

    def __init__(self, module: Module, form: Form, symbol: str, target: Target) -> None:
        self.module, self.form, self.symbol, self.target = module, form, symbol, target
        self.tiling: Tiling = tiling_of(form, target)
        self.kind = KINDS[form.dtype.name]
        self.item = form.dtype.itemsize
        t = self.tiling
        self.depth = product(form.depth)
        self.batch = product(form.batch)
        self.panel = self.depth * t.columns.width
        self.share = -(-form.depth[0].extent // t.pieces)
        self.blocks = -(-self.share // t.block)
        plain = form.plain
        # The sums go straight to where they belong.
        unit = t.dots or form.columns[-1].out == 1
        self.direct = plain is not None and t.pieces == 1 and unit
        self.slots = Slots(
            pieces=t.pieces,
            batch=self.batch,
            tiles=t.rows.count,
            panels=t.columns.count,
            size=t.rows.most * t.columns.width,
        )
        # The sums of a tile outlive the micro-kernel's call.
        self.kept = not self.direct and (t.pieces > 1 or self.blocks > 1)
        self.stored = not self.direct and not self.kept
        self.chunks = (
            t.pieces,
            -(-self.batch // t.batch_grain),
            -(-t.rows.count // t.row_grain),
            -(-t.columns.count // t.column_grain),
        )
        self.packed_batch = [line for line in form.batch if line.right]
        self.finish = Finish(module, form, t, symbol, target)
        self.ahead = Ahead(module, form, t, symbol)

    def emit(self) -> Emitted:
        """Write all phases."""
        phases: list[Phase] = []
        packed = 0
        if self.tiling.packing == "before":
            count = product(self.packed_batch) * self.tiling.columns.count
            grain = max(1, min(PACKED // self.panel, -(-count // 16)))
            name = f"{self.symbol}_pack"
            together = across_phase(self.module, self.form, self.tiling, name)
            phases.append(together or self._pack_phase(name, count, grain))
            packed = count * self.panel
        chunks = 1
        for number in self.chunks:
            chunks *= number
        if self.tiling.packing == "inside":
            packed = chunks * self.panel
        self.slots.offset = -(-packed // 16) * 16
        workspace = packed * self.item
        if self.kept:
            workspace = (self.slots.offset + self.slots.total) * self.item
        phases.append(self._main_phase(chunks))
        if self.kept:
            phases.append(self._adding_phase(f"{self.symbol}_add"))
        return Emitted(tuple(phases), workspace)

    # --- packing -------------------------------------------------------------------------------

    def _pack_phase(self, symbol: str, count: int, grain: int) -> Phase:
        """Write the phase that copies all panels to the workspace."""
        f = Function(self.module, symbol, PARAMS)
        right = argument(f, self.form.right.number)
        workspace = argument(f, len(self.form.buffers))
        start = times(f, "%begin", grain)
        stop = smaller(f, times(f, "%end", grain), count)
        with stepped(f, start, stop, 1) as number:
            outer, panel = divided(f, number, self.tiling.columns.count)
            batch = positions(f, outer, [line.extent for line in self.packed_batch])
            moved = [(at, line.right) for at, line in zip(batch, self.packed_batch, strict=True)]
            columns, part = self._columns(f, panel)
            offset = plus(
                f,
                affine(f, self.form.right.offset, moved),
                self._moved(f, self.form.columns, columns, "right"),
            )
            source = shifted(f, right, self.kind, offset)
            to = shifted(f, workspace, self.kind, times(f, number, self.panel))
            for size in self._widths(f, part):
                self._pack(f, size, source, to)
        f.effect("ret void")
        f.finish()
        return Phase(symbol, -(-count // grain))

    def _pack(self, f: Function, width: int, source: str, target: str) -> None:
        write = write_lines if self.tiling.dots else write_pack
        write(f, self._panel(width), source, target)

    def _panel(self, columns: int) -> Panel:
        steps = tuple((line.extent, line.right) for line in self.form.depth)
        stride = self.form.columns[-1].right
        return Panel(self.kind, self.tiling.lanes, columns, stride, steps)

    # --- places --------------------------------------------------------------------------------

    def _columns(self, f: Function, panel: Number) -> tuple[list[Number], Number]:
        """Write the positions of a panel's first column; returns also its part's number."""
        tiles = self.tiling.columns
        *outer, part = positions(f, panel, (*tiles.outer, tiles.parts))
        return [*outer, times(f, part, tiles.width)], part

    def _rows(self, f: Function, tile: Number) -> tuple[list[Number], Number]:
        """Write the positions of a tile's first row; returns also its part's number."""
        tiles = self.tiling.rows
        *outer, part = positions(f, tile, (*tiles.outer, tiles.parts))
        first = plus(f, times(f, part, tiles.small), self._extra(f, part))
        inside: list[Number] = [0] * (len(self.form.rows) - tiles.split - 1)
        return [*outer, first, *inside], part

    def _extra(self, f: Function, part: Number) -> Number:
        """Write how many of the parts before one are one step longer."""
        tiles = self.tiling.rows
        return 0 if tiles.big == tiles.small else smaller(f, part, tiles.first)

    def _moved(self, f: Function, lines: tuple[Line, ...], at: list[Number], field: str) -> Number:
        """Write how far an operand or the result moves to a position."""
        return affine(f, 0, [(a, getattr(x, field)) for a, x in zip(at, lines, strict=True)])

    def _widths(self, f: Function, part: Number) -> Iterator[int]:
        """Yield the columns of a panel's part; what is written then runs for those only."""
        tiles = self.tiling.columns
        return variants(f, part, tiles.sizes, tiles.whole)

    def _heights(self, f: Function, part: Number) -> Iterator[int]:
        """Yield the steps of a row tile's part; what is written then runs for those only."""
        tiles = self.tiling.rows
        return variants(f, part, tiles.sizes, tiles.first)

    # --- sums ----------------------------------------------------------------------------------

    def _main_phase(self, chunks: int) -> Phase:
        """Write the phase that computes the tiles."""
        f = Function(self.module, self.symbol, PARAMS)
        t = self.tiling
        self.base_left = argument(f, self.form.left.number)
        self.base_right = argument(f, self.form.right.number)
        self.workspace = argument(f, len(self.form.buffers)) if self._needs_workspace() else "null"
        if self.direct and self.form.plain:
            number = self.form.buffers.index(self.form.plain.buffer)
            self.base_out = argument(f, number)
        self.stack = ""
        if self.stored:
            self.stack = f.alloca(f"[{self.slots.size} x {self.kind}]")
            self.lines = self.ahead.table(f)
        with stepped(f, "%begin", "%end", 1) as chunk:
            piece, batches, rows, columns = positions(f, chunk, self.chunks)
            first = times(f, piece, self.share)
            extent = self.form.depth[0].extent
            last = smaller(f, plus(f, first, self.share), extent) if t.pieces > 1 else extent
            if t.packing == "inside":
                self.own = shifted(f, self.workspace, self.kind, times(f, chunk, self.panel))
            with self._range(f, batches, t.batch_grain, self.batch) as b:
                batch = positions(f, b, [line.extent for line in self.form.batch])
                with (
                    self._steps(f, first, last) as steps,
                    self._range(f, columns, t.column_grain, t.columns.count) as panel,
                ):
                    self._write_panel(f, piece, (b, batch), steps, panel, rows)
        f.effect("ret void")
        f.finish()
        return Phase(self.symbol, chunks)

    def _needs_workspace(self) -> bool:
        return bool(self.tiling.packing) or self.kept

    @contextmanager
    def _range(self, f: Function, number: Number, grain: int, count: int) -> Iterator[Number]:
        """Write the loop over a chunk's share of something."""
        if grain == 1:
            yield number
            return
        if grain >= count:
            if count == 1:
                yield 0
                return
            with stepped(f, 0, count, 1, sure=True) as i:
                yield i
            return
        start = times(f, number, grain)
        stop = plus(f, start, grain)
        if count % grain:
            stop = smaller(f, stop, count)
        with stepped(f, start, stop, 1, sure=True) as i:
            yield i

    @contextmanager
    def _steps(self, f: Function, first: Number, last: Number) -> Iterator[tuple[Number, Number]]:
        """Write the loop over blocks of the first depth axis."""
        if self.blocks == 1:
            if isinstance(first, int) and isinstance(last, int):
                yield first, last - first
            else:
                yield first, f.value(f"sub i64 {last}, {first}")
            return
        with stepped(f, first, last, self.tiling.block, sure=True) as at:
            stop = smaller(f, plus(f, at, self.tiling.block), last)
            yield at, f.value(f"sub i64 {stop}, {at}")

    def _write_panel(
        self,
        f: Function,
        piece: Number,
        batch: tuple[Number, list[Number]],
        steps: tuple[Number, Number],
        panel: Number,
        rows: Number,
    ) -> None:
        """Write the work on one panel: packing, then the tiles of the chunk's rows."""
        form, t = self.form, self.tiling
        columns, part = self._columns(f, panel)
        for width in self._widths(f, part):
            right = self._right(f, batch[1], columns, panel, steps[0], width)
            with self._range(f, rows, t.row_grain, t.rows.count) as tile:
                at, row_part = self._rows(f, tile)
                offset = plus(
                    f,
                    form.left.offset,
                    self._moved(f, form.batch, batch[1], "left"),
                    self._moved(f, form.rows, at, "left"),
                    times(f, steps[0], form.depth[0].left),
                )
                left = shifted(f, self.base_left, self.kind, offset)
                out = self._out(f, piece, batch, at, columns, (tile, panel))
                for height in self._heights(f, row_part):
                    if self.stored:
                        self.ahead.fill(f, self.lines, height, width, batch[1], at, columns)
                    self._call(f, height, width, left, right, out, steps)
                    if self.stored:
                        self.finish.call(f, height, width, out, batch[1], at, columns)

    def _right(
        self,
        f: Function,
        batch: list[Number],
        columns: list[Number],
        panel: Number,
        step: Number,
        width: int,
    ) -> str:
        """Write the address of a panel's first row; packs it first where that is done here."""
        form, t = self.form, self.tiling
        if t.packing == "before":
            outer: Number = 0
            for at, line in zip(batch, form.batch, strict=True):
                if line.right:
                    outer = plus(f, times(f, outer, line.extent), at)
            number = plus(f, times(f, outer, t.columns.count), panel)
            inner = self.depth // form.depth[0].extent * self._panel(width).width
            offset = plus(f, times(f, number, self.panel), times(f, step, inner))
            return shifted(f, self.workspace, self.kind, offset)
        offset = plus(
            f,
            form.right.offset,
            self._moved(f, form.batch, batch, "right"),
            self._moved(f, form.columns, columns, "right"),
        )
        if t.packing:
            source = shifted(f, self.base_right, self.kind, offset)
            self._pack(f, width, source, self.own)
            return self.own
        offset = plus(f, offset, times(f, step, form.depth[0].right))
        return shifted(f, self.base_right, self.kind, offset)

    def _out(
        self,
        f: Function,
        piece: Number,
        batch: tuple[Number, list[Number]],
        rows: list[Number],
        columns: list[Number],
        tile: tuple[Number, Number],
    ) -> str:
        """Write the address that a tile is stored at."""
        form = self.form
        if self.direct and form.plain:
            offset = plus(
                f,
                form.plain.index.offset,
                self._moved(f, form.batch, batch[1], "out"),
                self._moved(f, form.rows, rows, "out"),
                self._moved(f, form.columns, columns, "out"),
            )
            return shifted(f, self.base_out, self.kind, offset)
        if self.kept:
            offset = self.slots.place(f, piece, batch[0], *tile)
            return shifted(f, self.workspace, self.kind, offset)
        return self.stack

    def _call(
        self,
        f: Function,
        height: int,
        width: int,
        left: str,
        right: str,
        out: str,
        steps: tuple[Number, Number],
    ) -> None:
        """Write the call of the micro-kernel of a tile's shape."""
        form, t = self.form, self.tiling
        lines = form.rows[t.rows.split :]
        extents = [height, *(line.extent for line in lines[1:])]
        places = list(combinations(*(range(extent) for extent in extents)))

        def reach(field: str) -> tuple[int, ...]:
            moves = [getattr(line, field) for line in lines]
            return tuple(sum(p * m for p, m in zip(at, moves, strict=True)) for at in places)

        out_rows = reach("out")
        if not self.direct:
            out_rows = tuple(n * t.columns.width for n in range(len(places)))
        if t.dots:
            name = dot_kernel(self.module, self._dots(width, reach("left"), out_rows))
            f.effect(f"call void @{name}(ptr {left}, ptr {right}, ptr {out})")
            return
        # Of a tile in whole vectors nobody sees which columns there are not.
        whole = bool(t.packing) and not self.direct
        micro = Micro(
            kind=self.kind,
            lanes=t.lanes,
            rows=reach("left"),
            columns=self._panel(width).width if whole else width,
            padded=bool(t.packing),
            out=out_rows,
            whole=not self.direct,
            depth=self._steps_of(width),
            parts=t.block < form.depth[0].extent,
            adds=self.blocks > 1,
            fma=self.target.fma,
            lines=self.ahead.size if self.stored else 0,
            rate=self.ahead.rate if self.stored and self.ahead.size else 0,
        )
        name = micro_kernel(self.module, micro)
        add = self._later(f, steps[0]) if self.blocks > 1 else "false"
        values = f"ptr {left}, ptr {right}, ptr {out}, i64 {steps[1]}, i1 {add}"
        if micro.lines:
            values += f", ptr {self.lines}"
        f.effect(f"call void @{name}({values})")

    def _dots(self, width: int, rows: tuple[int, ...], out_rows: tuple[int, ...]) -> Dots:
        """Return the micro-kernel of dot products for tiles of so many columns."""
        form, t = self.form, self.tiling
        column = form.columns[-1]
        step = column.out if self.direct else 1
        strides = [line.right for line in form.depth]
        if t.packing:
            strides = panel_strides([line.extent for line in form.depth], 1)
        stride = self.depth if t.packing else column.right
        columns = tuple(c * stride for c in range(width))
        steps_of = zip(form.depth, strides, strict=True)
        depth = merged_depth([(x.extent, x.left, s) for x, s in steps_of])
        results = tuple(r + c * step for r in out_rows for c in range(width))
        return Dots(self.kind, t.lanes, rows, columns, results, depth, self.target.fma)

    def _steps_of(self, width: int) -> tuple[tuple[int, int, int], ...]:
        """Return extents and strides of the depth axes as a micro-kernel sees them."""
        form, t = self.form, self.tiling
        strides = [line.right for line in form.depth]
        if t.packing:
            strides = panel_strides([line.extent for line in form.depth], self._panel(width).width)
        depth = [(x.extent, x.left, s) for x, s in zip(form.depth, strides, strict=True)]
        if t.block >= form.depth[0].extent:
            return merged_depth(depth)
        # The first axis is run in parts.
        return (depth[0], *(merged_depth(depth[1:]) if depth[1:] else ()))

    def _later(self, f: Function, step: Number) -> str:
        """Write whether a block of depth is not the first of its piece."""
        if self.tiling.pieces == 1:
            return f.value(f"icmp ne i64 {step}, 0")
        rest = f.value(f"urem i64 {step}, {self.share}")
        return f.value(f"icmp ne i64 {rest}, 0")

    # --- pieces --------------------------------------------------------------------------------

    def _adding_phase(self, symbol: str) -> Phase:
        """Write the phase that adds the pieces of each tile in order and stores the result."""
        f = Function(self.module, symbol, PARAMS)
        t, slots = self.tiling, self.slots
        workspace = argument(f, len(self.form.buffers))
        count = self.batch * slots.tiles * slots.panels
        grain = max(1, min(PACKED // (slots.size * slots.pieces), -(-count // 16)))
        start = times(f, "%begin", grain)
        stop = smaller(f, times(f, "%end", grain), count)
        with stepped(f, start, stop, 1) as number:
            outer, panel = divided(f, number, slots.panels)
            b, tile = divided(f, outer, slots.tiles)
            offset = slots.place(f, 0, b, tile, panel)
            out = shifted(f, workspace, self.kind, offset)
            slots.add_pieces(f, self.kind, t.lanes, out)
            batch = positions(f, b, [line.extent for line in self.form.batch])
            rows, row_part = self._rows(f, tile)
            columns, part = self._columns(f, panel)
            for width in self._widths(f, part):
                for height in self._heights(f, row_part):
                    self.finish.call(f, height, width, out, batch, rows, columns)
        f.effect("ret void")
        f.finish()
        return Phase(symbol, -(-count // grain))
