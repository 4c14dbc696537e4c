"""Micro-kernels: one tile of a contraction, kept in registers over its whole depth.

Takes: where a tile's rows lie, how many vectors of columns it has, how depth steps. Gives: a
function of the module, shared by all contractions that need the same one.
The one idea: an element of the left operand is broadcast straight from memory, whatever its
stride, so convolution needs no columns to be gathered; the right operand is read as vectors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from chainrule.codegen.micro_loops import (
    Variables,
    load_vector,
    repeated,
    shifted,
    store_vector,
)
from chainrule.codegen.text import Function, Module

# Multiply-adds that one pass of the innermost loop is unrolled to, about.
UNROLLED = 24
# A short innermost run is written out as a whole up to this many multiply-adds.
WHOLE = 80
# Rows of the right operand so many bytes apart are not guessed by the processor: each is asked for
# a few steps before its turn (a tenth faster where it comes from memory, 1 % slower at most where
# it lies in the cache). Not earlier: rows 4 KB apart share 8 lines of the first-level cache, and
# would push each other out (6 and 16 steps: 5 to 20 % slower there, no faster elsewhere).
APART = 768
STEPS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Micro:
    """What distinguishes one micro-kernel from another; all distances count elements.

    Attributes:
        kind: LLVM type of an element.
        lanes: Elements of a vector.
        rows: Distance of each row of the tile from the first, in the left operand.
        columns: Columns of the tile; the last vector may be partly used.
        padded: Whether the right operand may be read in whole vectors.
        out: Distance of each row of the tile from the first, where it is stored.
        whole: Whether it may be stored in whole vectors.
        depth: Extent, left and right stride of each depth axis, outermost first.
        parts: Whether a call runs a part of the first depth axis only.
        adds: Whether calls say if the tile is added to what is stored already.
        fma: Whether multiply and add are one instruction.
        lines: Entries of a table of addresses that are asked for meanwhile, a power of two; or 0.
        rate: Entries that a step of depth asks for.
    """

    kind: str
    lanes: int
    rows: tuple[int, ...]
    columns: int
    padded: bool
    out: tuple[int, ...]
    whole: bool
    depth: tuple[tuple[int, int, int], ...]
    parts: bool
    adds: bool
    fma: bool
    lines: int = 0
    rate: int = 0

    @property
    def asks(self) -> bool:
        """Whether rows of the right operand are asked for ahead of their turn."""
        extent, _, stride = self.depth[-1]
        apart = abs(stride) * (4 if self.kind == "float" else 8) >= APART
        return apart and not self.padded and extent >= 8 * STEPS_AHEAD

    @property
    def vectors(self) -> int:
        """Vectors in a row of the tile."""
        return -(-self.columns // self.lanes)

    def used(self, vector: int) -> int:
        """Return how many lanes of a vector are columns of the tile."""
        return min(self.lanes, self.columns - vector * self.lanes)


def micro_kernel(module: Module, micro: Micro) -> str:
    """Put a micro-kernel into a module, unless it is there.

    Args:
        module: Where to.
        micro: Which.

    Returns:
        Its symbol: ``void (ptr left, ptr right, ptr out, i64 count, i1 add)``, where the pointers
        are at the tile's first element and ``count`` (at least 1) is how much of the first depth
        axis to run, if that is a part; with ``lines`` the table's address is a sixth argument.
    """
    digest = hashlib.blake2s(repr(micro).encode(), digest_size=8).hexdigest()
    name = f"micro_{digest}"
    if name in module.functions:
        return name
    params = ["ptr %left", "ptr %right", "ptr %out", "i64 %count", "i1 %add"]
    if micro.lines:
        params.append("ptr %lines")
    f = Function(module, name, params, linkage="internal")
    tile = _Tile(f, micro)
    _nest(f, micro, tile, 0, "%left", "%right")
    tile.store()
    f.effect("ret void")
    f.finish()
    return name


def multiply_add(
    f: Function, kind: str, lanes: int, factors: tuple[str, str, str], *, fma: bool
) -> str:
    """Write ``x * y + total`` of vectors, rounded once where the processor can."""
    x, y, total = factors
    vector = f"<{lanes} x {kind}>"
    if not fma:
        product = f.value(f"fmul {vector} {x}, {y}")
        return f.value(f"fadd {vector} {product}, {total}")
    name = f"llvm.fma.v{lanes}f{32 if kind == 'float' else 64}"
    f.module.declare(name, f"declare {vector} @{name}({vector}, {vector}, {vector})")
    return f.value(f"call {vector} @{name}({vector} {x}, {vector} {y}, {vector} {total})")


class _Tile:
    """The accumulators, and how many entries of the table have been asked for."""

    def __init__(self, f: Function, micro: Micro) -> None:
        self.f, self.micro = f, micro
        self.vector = f"<{micro.lanes} x {micro.kind}>"
        count = len(micro.rows) * micro.vectors
        self.sums = Variables([self.vector] * count, ["zeroinitializer"] * count)
        self.asked = Variables([], [])
        if micro.lines or micro.asks:
            f.module.declare(
                "llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
            )
        if micro.lines:
            self.asked = Variables(["i64"], ["0"])

    def steps(self, left: str, right: str, count: int) -> None:
        """Take ``count`` steps of the innermost depth axis."""
        micro, f = self.micro, self.f
        _, left_stride, right_stride = micro.depth[-1]
        sums = self.sums.values
        for step in range(count):
            if micro.lines:
                self._ask()
            base = shifted(f, right, micro.kind, step * right_stride)
            for v in range(micro.vectors if micro.asks else 0):
                later = STEPS_AHEAD * right_stride + v * micro.lanes
                self._prefetch(shifted(f, base, micro.kind, later))
            columns = [self._right(base, v) for v in range(micro.vectors)]
            for r, row in enumerate(micro.rows):
                element = self._broadcast(shifted(f, left, micro.kind, row + step * left_stride))
                for v, column in enumerate(columns):
                    at = r * micro.vectors + v
                    factors = (element, column, sums[at])
                    sums[at] = multiply_add(f, micro.kind, micro.lanes, factors, fma=micro.fma)

    def _ask(self) -> None:
        """Ask for the next entries of the table; behind its end it begins anew."""
        f, (number,) = self.f, self.asked.values
        for _ in range(self.micro.rate):
            line = f.value(f"load ptr, ptr {shifted(f, '%lines', 'ptr', number)}")
            self._prefetch(line)
            following = f.value(f"add i64 {number}, 1")
            number = f.value(f"and i64 {following}, {self.micro.lines - 1}")
        self.asked.values = [number]

    def _prefetch(self, line: str) -> None:
        """Ask for a line of memory; addresses outside of what there is do no harm."""
        self.f.effect(f"call void @llvm.prefetch.p0(ptr {line}, i32 0, i32 3, i32 1)")

    def _right(self, base: str, vector: int) -> str:
        micro = self.micro
        place = shifted(self.f, base, micro.kind, vector * micro.lanes)
        used = micro.lanes if micro.padded else micro.used(vector)
        return load_vector(self.f, micro.kind, micro.lanes, place, used)

    def _broadcast(self, place: str) -> str:
        f, vector = self.f, self.vector
        element = f.value(f"load {self.micro.kind}, ptr {place}")
        if self.micro.lanes == 1:
            return f.value(f"insertelement {vector} poison, {self.micro.kind} {element}, i64 0")
        first = f.value(f"insertelement {vector} poison, {self.micro.kind} {element}, i64 0")
        mask = f"<{self.micro.lanes} x i32> zeroinitializer"
        return f.value(f"shufflevector {vector} {first}, {vector} poison, {mask}")

    def store(self) -> None:
        """Store the tile, added to what is there where the call says so."""
        f, micro = self.f, self.micro
        sums = self.sums.values
        if micro.adds:
            before, old, new = f.label, f.new_label("old"), f.new_label("new")
            f.effect(f"br i1 %add, label %{old}, label %{new}")
            f.begin(old)
            totals = []
            for n, value in enumerate(sums):
                place, used = self._place(n)
                stored = load_vector(f, micro.kind, micro.lanes, place, used)
                totals.append(f.value(f"fadd {self.vector} {stored}, {value}"))
            f.effect(f"br label %{new}")
            f.begin(new)
            sums = [
                f.value(f"phi {self.vector} [ {value}, %{before} ], [ {total}, %{old} ]")
                for value, total in zip(sums, totals, strict=True)
            ]
        for n, value in enumerate(sums):
            place, used = self._place(n)
            store_vector(f, micro.kind, micro.lanes, value, place, used)

    def _place(self, n: int) -> tuple[str, int]:
        micro = self.micro
        row, vector = divmod(n, micro.vectors)
        place = shifted(self.f, "%out", micro.kind, micro.out[row] + vector * micro.lanes)
        return place, micro.lanes if micro.whole else micro.used(vector)


def _nest(f: Function, micro: Micro, tile: _Tile, level: int, left: str, right: str) -> None:
    """Write the loops over depth from an axis inwards, from these addresses on."""
    extent, left_stride, right_stride = micro.depth[level]
    count = "%count" if level == 0 and micro.parts else extent
    if level == len(micro.depth) - 1:
        _run(f, micro, tile, count, left, right)
        return
    at = Variables(["ptr", "ptr"], [left, right])
    with repeated(f, count, tile.sums, tile.asked, at):
        places = at.values
        _nest(f, micro, tile, level + 1, *places)
        at.values = _moved(f, micro, places, left_stride, right_stride)


def _moved(f: Function, micro: Micro, places: list[str], left: int, right: int) -> list[str]:
    """Write the addresses so many elements behind two others."""
    moves = zip(places, (left, right), strict=True)
    return [f.hidden("ptr", shifted(f, place, micro.kind, by)) for place, by in moves]


def _run(f: Function, micro: Micro, tile: _Tile, count: str | int, left: str, right: str) -> None:
    """Write the innermost loop, unrolled, and the steps that are left over."""
    accumulators = len(micro.rows) * micro.vectors
    if isinstance(count, int) and count * accumulators <= WHOLE:
        tile.steps(left, right, count)
        return
    extent, left_stride, right_stride = micro.depth[-1]
    unroll = unrolling(extent, accumulators)
    at = Variables(["ptr", "ptr"], [left, right])

    def loop(times: str | int, steps: int) -> None:
        with repeated(f, times, tile.sums, tile.asked, at):
            places = at.values
            tile.steps(places[0], places[1], steps)
            at.values = _moved(f, micro, places, steps * left_stride, steps * right_stride)

    if isinstance(count, int):
        loop(count // unroll, unroll)
        if count % unroll:
            tile.steps(at.values[0], at.values[1], count % unroll)
        return
    loop(f.value(f"udiv i64 {count}, {unroll}"), unroll)
    if unroll > 1:
        loop(f.value(f"urem i64 {count}, {unroll}"), 1)


def unrolling(extent: int, accumulators: int) -> int:
    """Return how many steps of the innermost depth axis are written out: a divisor if one fits."""
    most = max(1, min(UNROLLED // accumulators, extent, 8))
    return next((u for u in range(most, 1, -1) if extent % u == 0), most)
