"""Panels packed several at a time, where memory is contiguous neither along columns nor depth.

Takes: a contraction whose right operand is contiguous along another of its column axes, like an
image whose channels lie last for weights whose channels come first. Gives: the packing phase.
The one idea: a square of neighbouring columns by that axis is transposed in registers, and each of
its rows belongs to another panel; element by element, most of each line of memory that is read
would be for other panels.
"""

from __future__ import annotations

from math import prod

from chainrule.codegen.contraction_form import Form, across, panel_strides, product
from chainrule.codegen.contraction_pack import PACKED, transposed
from chainrule.codegen.contraction_tiles import Tiling
from chainrule.codegen.emitted import Phase
from chainrule.codegen.micro_loops import (
    KINDS,
    Cursor,
    affine,
    argument,
    counted,
    load_vector,
    plus,
    positions,
    shifted,
    smaller,
    stepped,
    store_vector,
    times,
    variants,
)
from chainrule.codegen.text import Function, Module


def across_phase(module: Module, form: Form, tiling: Tiling, symbol: str) -> Phase | None:
    """Write the phase that packs panels several at a time; None where that is of no use."""
    number = across(form, tiling.lanes)
    if number is None or tiling.dots:
        return None
    return _Across(module, form, tiling, number).phase(symbol)


class _Across:
    """Writes the phase; a unit of work is a step of the first depth axis for a row of panels.

    Args:
        module: Where to.
        form: The contraction.
        tiling: How it is cut.
        number: Of the column axis that the right operand is contiguous along.
    """

    def __init__(self, module: Module, form: Form, tiling: Tiling, number: int) -> None:
        self.module, self.form, self.tiling = module, form, tiling
        self.kind = KINDS[form.dtype.name]
        self.line = form.columns[number]
        outer = tiling.columns.outer
        self.panel = product(form.depth) * tiling.columns.width
        # How far a step along each outer column axis, and along a batch axis, moves in panels.
        strides = [prod(outer[n + 1 :]) * tiling.columns.parts for n in range(len(outer))]
        self.step = strides[number] * self.panel
        self.batch = [line for line in form.batch if line.right]
        rest = [n for n in range(len(outer)) if n != number]
        counts = [prod(line.extent for line in self.batch[n + 1 :]) for n in range(len(self.batch))]
        # Extent, step in the source and in panels of what units are numbered by.
        self.levels = [
            *(
                (line.extent, line.right, count * tiling.columns.count)
                for line, count in zip(self.batch, counts, strict=True)
            ),
            *((outer[n], form.columns[n].right, strides[n]) for n in rest),
            (tiling.columns.parts, tiling.columns.width * form.columns[-1].right, 1),
        ]

    def phase(self, symbol: str) -> Phase:
        """Write it."""
        form = self.form
        self.squares = f"{symbol}_squares"
        self._define()
        first, inner = form.depth[0], form.depth[1:]
        extents, moves, numbers = zip(*self.levels, strict=True)
        units = prod(extents) * first.extent
        copied = product(inner) * self.tiling.columns.width * self.line.extent
        grain = max(1, min(PACKED // copied, -(-units // 16)))
        f = Function(self.module, symbol, ("ptr %args", "i64 %begin", "i64 %end"))
        right = argument(f, form.right.number)
        workspace = argument(f, len(form.buffers))
        start = times(f, "%begin", grain)
        stop = smaller(f, times(f, "%end", grain), units)
        tiles = self.tiling.columns
        with stepped(f, start, stop, 1) as unit:
            *at, step = positions(f, unit, [*extents, first.extent])
            source = affine(f, form.right.offset, list(zip(at, moves, strict=True)))
            source = plus(f, source, times(f, step, first.right))
            panels = affine(f, 0, list(zip(at, numbers, strict=True)))
            for size in variants(f, at[-1], tiles.sizes, tiles.whole):
                width = -(-size // self.tiling.lanes) * self.tiling.lanes
                steps = panel_strides([line.extent for line in form.depth], width)
                target = plus(f, times(f, panels, self.panel), times(f, step, steps[0]))
                levels = [(x.extent, x.right, s) for x, s in zip(inner, steps[1:], strict=True)]
                begin = shifted(f, right, self.kind, source)
                self._copy(f, size, levels, begin, shifted(f, workspace, self.kind, target))
        f.effect("ret void")
        f.finish()
        return Phase(symbol, -(-units // grain))

    def _copy(
        self,
        f: Function,
        size: int,
        levels: list[tuple[int, int, int]],
        source: str,
        target: str,
    ) -> None:
        """Write the loops over inner depth axes, and inside of them the squares of one step."""
        if not levels:
            self._squares(f, size, source, target)
            return
        extent, stride, step = levels[0]
        sources, targets = Cursor(f, source, self.kind), Cursor(f, target, self.kind)
        with counted(f, extent):
            at, to = sources.get(), targets.get()
            self._copy(f, size, levels[1:], at, to)
            sources.move(at, stride)
            targets.move(to, step)

    def _squares(self, f: Function, size: int, source: str, target: str) -> None:
        """Write the squares of one step of depth."""
        stride = self.form.columns[-1].right
        with stepped(f, 0, size, self.tiling.lanes, sure=True) as first:
            begin = shifted(f, source, self.kind, times(f, first, stride))
            to = shifted(f, target, self.kind, first)
            last = f.value(f"sub i64 {size - 1}, {first}")
            f.effect(f"call void @{self.squares}(ptr {begin}, ptr {to}, i64 {last})")

    def _define(self) -> None:
        """Write the function that copies a row of squares; the last may overlap the one before.

        Columns beyond the last become copies of it: nobody reads what comes of them.
        """
        lanes, extent = self.tiling.lanes, self.line.extent
        params = ("ptr %source", "ptr %target", "i64 %last")
        f = Function(self.module, self.squares, params, linkage="internal")
        columns = [smaller(f, "%last", i) for i in range(lanes)]
        places = [times(f, column, self.form.columns[-1].right) for column in columns]
        with stepped(f, 0, extent, lanes, sure=True) as wanted:
            start = smaller(f, wanted, extent - lanes) if extent % lanes else wanted
            begin = shifted(f, "%source", self.kind, start)
            rows = [
                load_vector(f, self.kind, lanes, shifted(f, begin, self.kind, place), lanes)
                for place in places
            ]
            to = shifted(f, "%target", self.kind, times(f, start, self.step))
            for n, row in enumerate(transposed(f, self.kind, rows)):
                place = shifted(f, to, self.kind, n * self.step)
                store_vector(f, self.kind, lanes, row, place, lanes)
        f.effect("ret void")
        f.finish()
