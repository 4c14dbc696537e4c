"""Micro-kernels of dot products: vectors along depth, added across at the end.

Takes: where rows and columns lie. Gives: a function of the module, like `micro.micro_kernel`.
The one idea: where depth is contiguous in both operands nothing needs to be packed and no lane
is idle, however few the columns; the sums of all pairs are added across together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.codegen.micro import multiply_add
from chainrule.codegen.micro_loops import Cursor, counted, load_vector, shifted
from chainrule.codegen.text import Function, Module


@dataclass(frozen=True, slots=True)
class Dots:
    """What distinguishes one micro-kernel from another; all distances count elements.

    Attributes:
        kind: LLVM type of an element.
        lanes: Elements of a vector.
        rows: Distance of each row of the tile from the first, in the left operand.
        columns: Distance of each column from the first, in the right operand.
        out: Distance of each result from the first, row after row.
        depth: Extent, left and right stride of each depth axis, outermost first; the last one is
            contiguous in both.
        fma: Whether multiply and add are one instruction.
    """

    kind: str
    lanes: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    out: tuple[int, ...]
    depth: tuple[tuple[int, int, int], ...]
    fma: bool


def dot_kernel(module: Module, dots: Dots) -> str:
    """Put a micro-kernel into a module, unless it is there.

    Args:
        module: Where to.
        dots: Which.

    Returns:
        Its symbol: ``void (ptr left, ptr right, ptr out)``, pointers to the tile's first element.
    """
    digest = hashlib.blake2s(repr(dots).encode(), digest_size=8).hexdigest()
    name = f"dots_{digest}"
    if name in module.functions:
        return name
    params = ("ptr %left", "ptr %right", "ptr %out")
    f = Function(module, name, params, linkage="internal")
    vector = f"<{dots.lanes} x {dots.kind}>"
    slots = [f.alloca(vector) for _ in dots.out]
    for slot in slots:
        f.effect(f"store {vector} zeroinitializer, ptr {slot}")
    _nest(f, dots, slots, 0, "%left", "%right")
    _finish(f, dots, [f.value(f"load {vector}, ptr {slot}") for slot in slots])
    f.effect("ret void")
    f.finish()
    return name


def _nest(f: Function, dots: Dots, slots: Sequence[str], level: int, left: str, right: str) -> None:
    """Write the loops over depth from an axis inwards."""
    extent, left_stride, right_stride = dots.depth[level]
    lefts, rights = Cursor(f, left, dots.kind), Cursor(f, right, dots.kind)
    innermost = level == len(dots.depth) - 1
    times = extent // dots.lanes if innermost else extent
    if times:
        with counted(f, times):
            at_left, at_right = lefts.get(), rights.get()
            if innermost:
                _step(f, dots, slots, at_left, at_right, dots.lanes)
                left_stride = right_stride = dots.lanes
            else:
                _nest(f, dots, slots, level + 1, at_left, at_right)
            lefts.move(at_left, left_stride)
            rights.move(at_right, right_stride)
    if innermost and extent % dots.lanes:
        _step(f, dots, slots, lefts.get(), rights.get(), extent % dots.lanes)


def _step(f: Function, dots: Dots, slots: Sequence[str], left: str, right: str, used: int) -> None:
    """Write the products of one vector of each row with one of each column."""
    vector = f"<{dots.lanes} x {dots.kind}>"

    def load(base: str, place: int) -> str:
        return load_vector(f, dots.kind, dots.lanes, shifted(f, base, dots.kind, place), used)

    columns = [load(right, place) for place in dots.columns]
    for r, place in enumerate(dots.rows):
        row = load(left, place)
        for c, column in enumerate(columns):
            slot = slots[r * len(columns) + c]
            total = f.value(f"load {vector}, ptr {slot}")
            total = multiply_add(f, dots.kind, dots.lanes, (row, column, total), fma=dots.fma)
            f.effect(f"store {vector} {total}, ptr {slot}")


def _finish(f: Function, dots: Dots, sums: Sequence[str]) -> None:
    """Write the addition across of all vectors, and the stores of the results."""
    lanes, kind = dots.lanes, dots.kind
    size = 4 if kind == "float" else 8
    for first in range(0, len(sums), lanes):
        group = sums[first : first + lanes]
        whole = _across(f, kind, lanes, group)
        for i in range(len(group)):
            element = f.value(f"extractelement <{lanes} x {kind}> {whole}, i64 {i}")
            place = shifted(f, "%out", kind, dots.out[first + i])
            f.effect(f"store {kind} {element}, ptr {place}, align {size}")


def _across(f: Function, kind: str, lanes: int, group: Sequence[str]) -> str:
    """Write a vector whose lane i is the sum of all lanes of vector i of a group."""
    vector = f"<{lanes} x {kind}>"
    level = [*group, *["poison"] * (lanes - len(group))]
    size = 1
    while size < lanes:
        low = [p if not p & size else p - size + lanes for p in range(lanes)]
        high = [p + size if not p & size else p + lanes for p in range(lanes)]
        joined = []
        for x, y in zip(level[::2], level[1::2], strict=True):
            if x == "poison":
                joined.append(x)
                continue
            halves = []
            for picks in (low, high):
                mask = ", ".join(f"i32 {p}" for p in picks)
                text = f"shufflevector {vector} {x}, {vector} {y}, <{lanes} x i32> <{mask}>"
                halves.append(f.value(text))
            joined.append(f.value(f"fadd {vector} {halves[0]}, {halves[1]}"))
        level = joined
        size *= 2
    return level[0]
