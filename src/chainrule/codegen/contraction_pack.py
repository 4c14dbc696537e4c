"""Panels: the right operand's columns side by side, one row of a panel for each step of depth.

Takes: where a panel's columns lie in memory. Gives: code that copies them.
The one idea: where depth has a contiguous axis, whole squares are transposed in registers;
else elements are copied one after the other, which only small operands need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from chainrule.codegen.contraction_form import panel_strides
from chainrule.codegen.micro_loops import (
    Cursor,
    counted,
    load_vector,
    plus,
    shifted,
    smaller,
    stepped,
    store_vector,
    times,
)
from chainrule.codegen.text import Function, Module

# Elements that one chunk of a packing phase copies, about.
PACKED = 16384


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel is copied from.

    Attributes:
        kind: LLVM type of an element.
        lanes: Elements of a vector.
        columns: How many columns there are.
        stride: Elements from one column to the next.
        depth: Extent and stride of each depth axis, in the panel's order.
    """

    kind: str
    lanes: int
    columns: int
    stride: int
    depth: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        """Elements of a row of the panel: whole vectors."""
        return -(-self.columns // self.lanes) * self.lanes


class _Level(NamedTuple):
    """A depth axis: its extent, and how far a step moves in the source and in the panel."""

    extent: int
    stride: int
    step: int


def write_pack(f: Function, panel: Panel, source: str, target: str) -> None:
    """Write the copying of one panel.

    Columns beyond those that exist become zero or copies of others: nobody reads the results
    that come of them.

    Args:
        f: The function.
        panel: What is copied.
        source: Address of the first element of the first column.
        target: Address of the panel.
    """
    steps = panel_strides([extent for extent, _ in panel.depth], panel.width)
    levels = [_Level(*axis, step) for axis, step in zip(panel.depth, steps, strict=True)]
    if panel.stride != 1:
        # Squares are transposed along the axis that the source is contiguous along.
        levels.sort(key=lambda level: _is_square(panel, level))
    _outer(f, panel, levels, source, target)


def write_lines(f: Function, panel: Panel, source: str, target: str) -> None:
    """Write the copying of columns one after the other, each contiguous along depth.

    Args:
        f: The function.
        panel: What is copied.
        source: Address of the first element of the first column.
        target: Where the columns are to lie.
    """
    columns, copies = Cursor(f, source, panel.kind), Cursor(f, target, panel.kind)
    with counted(f, panel.columns):
        at, to = columns.get(), copies.get()
        _line(f, panel, at, to)
        columns.move(at, panel.stride)
        copies.move(to, prod(extent for extent, _ in panel.depth))


def _line(f: Function, panel: Panel, source: str, target: str, level: int = 0) -> None:
    """Write the copying of one column from a depth axis inwards."""
    if level == len(panel.depth):
        value = f.value(f"load {panel.kind}, ptr {source}")
        f.effect(f"store {panel.kind} {value}, ptr {target}")
        return
    extent, stride = panel.depth[level]
    sources, targets = Cursor(f, source, panel.kind), Cursor(f, target, panel.kind)
    with counted(f, extent):
        at, to = sources.get(), targets.get()
        _line(f, panel, at, to, level + 1)
        sources.move(at, stride)
        targets.move(to, prod(inner for inner, _ in panel.depth[level + 1 :]))


def _outer(f: Function, panel: Panel, levels: Sequence[_Level], source: str, target: str) -> None:
    """Write the loops over depth, and inside of them the copying along the last axis."""
    level = levels[0]
    if len(levels) == 1:
        _inner(f, panel, level, source, target)
        return
    sources, targets = Cursor(f, source, panel.kind), Cursor(f, target, panel.kind)
    with counted(f, level.extent):
        at, to = sources.get(), targets.get()
        _outer(f, panel, levels[1:], at, to)
        sources.move(at, level.stride)
        targets.move(to, level.step)


def _is_square(panel: Panel, level: _Level) -> bool:
    """Return whether squares of columns by depth are contiguous along depth."""
    return level.stride == 1 and level.extent >= panel.lanes and panel.lanes in (2, 4, 8, 16)


def _inner(f: Function, panel: Panel, level: _Level, source: str, target: str) -> None:
    if panel.stride == 1:
        _copy(f, panel, level, source, target)
    elif _is_square(panel, level):
        _transpose(f, panel, level, source, target)
    else:
        _gather(f, panel, level, source, target)


def _copy(f: Function, panel: Panel, level: _Level, source: str, target: str) -> None:
    """Write vectors of neighbouring columns as they are."""
    sources, targets = Cursor(f, source, panel.kind), Cursor(f, target, panel.kind)
    with counted(f, level.extent):
        at, to = sources.get(), targets.get()
        for first in range(0, panel.columns, panel.lanes):
            used = min(panel.lanes, panel.columns - first)
            place = shifted(f, at, panel.kind, first)
            vector = load_vector(f, panel.kind, panel.lanes, place, used)
            place = shifted(f, to, panel.kind, first)
            store_vector(f, panel.kind, panel.lanes, vector, place, panel.lanes)
        sources.move(at, level.stride)
        targets.move(to, level.step)


def _gather(f: Function, panel: Panel, level: _Level, source: str, target: str) -> None:
    """Write vectors whose elements are read one by one."""
    lanes, vector = panel.lanes, f"<{panel.lanes} x {panel.kind}>"
    sources, targets = Cursor(f, source, panel.kind), Cursor(f, target, panel.kind)
    with counted(f, level.extent):
        at, to = sources.get(), targets.get()
        with stepped(f, 0, panel.width, lanes, sure=True) as first:
            gathered = "poison"
            for i in range(lanes):
                column = plus(f, first, i)
                if panel.columns < panel.width:
                    column = smaller(f, column, panel.columns - 1)
                place = shifted(f, at, panel.kind, times(f, column, panel.stride))
                element = f.value(f"load {panel.kind}, ptr {place}")
                gathered = f.value(
                    f"insertelement {vector} {gathered}, {panel.kind} {element}, i64 {i}"
                )
            place = shifted(f, to, panel.kind, first)
            store_vector(f, panel.kind, lanes, gathered, place, lanes)
        sources.move(at, level.stride)
        targets.move(to, level.step)


def _transpose(f: Function, panel: Panel, level: _Level, source: str, target: str) -> None:
    """Write squares of columns by depth; the last one may overlap the one before.

    Reading starts at the last column that exists where there are fewer than a square has.
    """
    lanes, extent = panel.lanes, level.extent
    with stepped(f, 0, extent, lanes, sure=True) as wanted:
        start = smaller(f, wanted, extent - lanes) if extent % lanes else wanted
        with stepped(f, 0, panel.width, lanes, sure=True) as first:
            offset = plus(f, times(f, first, panel.stride), start)
            place = shifted(f, source, panel.kind, offset)
            most = f.value(f"sub i64 {panel.columns - 1}, {first}")
            to = shifted(f, target, panel.kind, plus(f, times(f, start, level.step), first))
            square = _square(f.module, panel.kind, lanes)
            values = f"ptr {place}, i64 {panel.stride}, i64 {most}, ptr {to}, i64 {level.step}"
            f.effect(f"call void @{square}({values})")


def _square(module: Module, kind: str, lanes: int) -> str:
    """Put the function that transposes a square into a module, unless it is there.

    All panels share it: LLVM takes longer for its shuffles than for the rest of a kernel.

    Returns:
        Its symbol: ``void (ptr source, i64 stride, i64 most, ptr target, i64 step)``; columns are
        ``stride`` apart, of which the last one that exists has the number ``most``, and the rows
        that are written are ``step`` apart.
    """
    name = f"square_{kind}_{lanes}"
    if name in module.functions:
        return name
    params = ("ptr %source", "i64 %stride", "i64 %most", "ptr %target", "i64 %step")
    f = Function(module, name, params, linkage="internal")
    columns = []
    for i in range(lanes):
        offset = f.value(f"mul i64 {smaller(f, i, '%most')}, %stride")
        place = shifted(f, "%source", kind, offset)
        columns.append(load_vector(f, kind, lanes, place, lanes))
    for i, row in enumerate(transposed(f, kind, columns)):
        place = shifted(f, "%target", kind, f.value(f"mul i64 {i}, %step"))
        store_vector(f, kind, lanes, row, place, lanes)
    f.effect("ret void")
    f.finish()
    return name


def transposed(f: Function, kind: str, vectors: Sequence[str]) -> list[str]:
    """Write the transposition of a square of vectors; returns its rows.

    First within groups of 128 bits, as the processor's unpacking instructions do, then of whole
    groups.
    """
    lanes = len(vectors)
    group = min(4 if kind == "float" else 2, lanes)
    rows = list(vectors)
    size = 1
    while size < group:
        rows = _unpack(f, kind, rows, size, group)
        size *= 2
    if group == 4:  # two rounds of interleaving leave the rows of a group in the order 0 2 1 3
        rows = [rows[i - i % 4 + (0, 2, 1, 3)[i % 4]] for i in range(lanes)]
    while size < lanes:
        rows = _exchange(f, kind, rows, size)
        size *= 2
    return rows


def _shuffle(f: Function, kind: str, x: str, y: str, picks: Sequence[int]) -> str:
    vector = f"<{len(picks)} x {kind}>"
    mask = ", ".join(f"i32 {p}" for p in picks)
    return f.value(f"shufflevector {vector} {x}, {vector} {y}, <{len(picks)} x i32> <{mask}>")


def _unpack(f: Function, kind: str, rows: list[str], size: int, group: int) -> list[str]:
    """Transpose by interleaving blocks of ``size`` of rows that are ``size`` apart."""
    lanes = len(rows)
    new = list(rows)
    for i in range(lanes):
        if i & size:
            continue
        low: list[int] = []
        high: list[int] = []
        for start in range(0, lanes, group):
            # blocks of `size` lanes, alternately from row i and its partner
            blocks = [range(start + b, start + b + size) for b in range(0, group, size)]
            for number, block in enumerate(blocks):
                own = low if number < len(blocks) // 2 else high
                own += [*block, *(lane + lanes for lane in block)]
        new[i] = _shuffle(f, kind, rows[i], rows[i | size], low)
        new[i | size] = _shuffle(f, kind, rows[i], rows[i | size], high)
    return new


def _exchange(f: Function, kind: str, rows: list[str], size: int) -> list[str]:
    """Swap blocks of ``size`` lanes between rows that are ``size`` apart."""
    lanes = len(rows)
    new = list(rows)
    for i in range(lanes):
        if i & size:
            continue
        low = [p if not p & size else p - size + lanes for p in range(lanes)]
        high = [p + size if not p & size else p + lanes for p in range(lanes)]
        new[i] = _shuffle(f, kind, rows[i], rows[i | size], low)
        new[i | size] = _shuffle(f, kind, rows[i], rows[i | size], high)
    return new
