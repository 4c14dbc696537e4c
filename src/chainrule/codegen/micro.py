"""Micro-kernels: one tile of a contraction, kept in registers over its whole depth.

Takes: where a tile's rows lie, how many vectors of columns it has, how depth steps. Gives: a
function of the module, shared by all contractions that need the same one.
The one idea: an element of the left operand is broadcast straight from memory, whatever its
stride, so convolution needs no columns to be gathered; the right operand is read as vectors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from chainrule.codegen.micro_loops import Cursor, counted, load_vector, shifted, store_vector
from chainrule.codegen.text import Function, Module

# Multiply-adds that one pass of the innermost loop is unrolled to, about.
UNROLLED = 24
# A short innermost run is written out as a whole up to this many multiply-adds.
WHOLE = 80


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
        depth: Extent, left and right stride of each depth axis, outermost first; the first
            extent is how far the axis reaches, of which a call runs a part.
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
    adds: bool
    fma: bool
    lines: int = 0
    rate: int = 0

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
        axis to run; with ``lines`` the table's address is a sixth argument.
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
    tile.clear()
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
    """The accumulators: in stack slots between loops, as values within straight code."""

    def __init__(self, f: Function, micro: Micro) -> None:
        self.f, self.micro = f, micro
        self.vector = f"<{micro.lanes} x {micro.kind}>"
        count = len(micro.rows) * micro.vectors
        self.slots = [f.alloca(self.vector) for _ in range(count)]
        if micro.lines:
            f.module.declare(
                "llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
            )
            self.asked = f.alloca("i64", align=8)
            f.effect(f"store i64 0, ptr {self.asked}")

    def clear(self) -> None:
        """Set all to zero."""
        for slot in self.slots:
            self.f.effect(f"store {self.vector} zeroinitializer, ptr {slot}")

    def steps(self, left: str, right: str, count: int) -> None:
        """Take ``count`` steps of the innermost depth axis."""
        micro, f = self.micro, self.f
        _, left_stride, right_stride = micro.depth[-1]
        sums = [f.value(f"load {self.vector}, ptr {slot}") for slot in self.slots]
        for step in range(count):
            if micro.lines:
                self._ask()
            base = shifted(f, right, micro.kind, step * right_stride)
            columns = [self._right(base, v) for v in range(micro.vectors)]
            for r, row in enumerate(micro.rows):
                element = self._broadcast(shifted(f, left, micro.kind, row + step * left_stride))
                for v, column in enumerate(columns):
                    at = r * micro.vectors + v
                    factors = (element, column, sums[at])
                    sums[at] = multiply_add(f, micro.kind, micro.lanes, factors, fma=micro.fma)
        for slot, value in zip(self.slots, sums, strict=True):
            f.effect(f"store {self.vector} {value}, ptr {slot}")

    def _ask(self) -> None:
        """Ask for the next entries of the table; behind its end it begins anew."""
        f = self.f
        for _ in range(self.micro.rate):
            number = f.value(f"load i64, ptr {self.asked}")
            line = f.value(f"load ptr, ptr {shifted(f, '%lines', 'ptr', number)}")
            f.effect(f"call void @llvm.prefetch.p0(ptr {line}, i32 0, i32 3, i32 1)")
            following = f.value(f"add i64 {number}, 1")
            wrapped = f.value(f"and i64 {following}, {self.micro.lines - 1}")
            f.effect(f"store i64 {wrapped}, ptr {self.asked}")

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
        if micro.adds:
            old, new = f.new_label("old"), f.new_label("new")
            f.effect(f"br i1 %add, label %{old}, label %{new}")
            f.begin(old)
            for n, slot in enumerate(self.slots):
                place, used = self._place(n)
                stored = load_vector(f, micro.kind, micro.lanes, place, used)
                value = f.value(f"load {self.vector}, ptr {slot}")
                total = f.value(f"fadd {self.vector} {stored}, {value}")
                f.effect(f"store {self.vector} {total}, ptr {slot}")
            f.effect(f"br label %{new}")
            f.begin(new)
        for n, slot in enumerate(self.slots):
            place, used = self._place(n)
            value = f.value(f"load {self.vector}, ptr {slot}")
            store_vector(f, micro.kind, micro.lanes, value, place, used)

    def _place(self, n: int) -> tuple[str, int]:
        micro = self.micro
        row, vector = divmod(n, micro.vectors)
        place = shifted(self.f, "%out", micro.kind, micro.out[row] + vector * micro.lanes)
        return place, micro.lanes if micro.whole else micro.used(vector)


def _nest(f: Function, micro: Micro, tile: _Tile, level: int, left: str, right: str) -> None:
    """Write the loops over depth from an axis inwards, from these addresses on."""
    extent, left_stride, right_stride = micro.depth[level]
    if level == len(micro.depth) - 1:
        _run(f, micro, tile, "%count" if level == 0 else extent, left, right)
        return
    lefts, rights = Cursor(f, left, micro.kind), Cursor(f, right, micro.kind)
    with counted(f, "%count" if level == 0 else extent, sure=True):
        at_left, at_right = lefts.get(), rights.get()
        _nest(f, micro, tile, level + 1, at_left, at_right)
        lefts.move(at_left, left_stride)
        rights.move(at_right, right_stride)


def _run(f: Function, micro: Micro, tile: _Tile, count: str | int, left: str, right: str) -> None:
    """Write the innermost loop, unrolled, and the steps that are left over."""
    accumulators = len(micro.rows) * micro.vectors
    if isinstance(count, int) and count * accumulators <= WHOLE:
        tile.steps(left, right, count)
        return
    extent, left_stride, right_stride = micro.depth[-1]
    unroll = unrolling(extent, accumulators)
    lefts, rights = Cursor(f, left, micro.kind), Cursor(f, right, micro.kind)

    def loop(times: str | int, steps: int) -> None:
        with counted(f, times):
            at_left, at_right = lefts.get(), rights.get()
            tile.steps(at_left, at_right, steps)
            lefts.move(at_left, steps * left_stride)
            rights.move(at_right, steps * right_stride)

    if isinstance(count, int):
        loop(count // unroll, unroll)
        if count % unroll:
            tile.steps(lefts.get(), rights.get(), count % unroll)
        return
    loop(f.value(f"udiv i64 {count}, {unroll}"), unroll)
    if unroll > 1:
        loop(f.value(f"urem i64 {count}, {unroll}"), 1)


def unrolling(extent: int, accumulators: int) -> int:
    """Return how many steps of the innermost depth axis are written out: a divisor if one fits."""
    most = max(1, min(UNROLLED // accumulators, extent, 8))
    return next((u for u in range(most, 1, -1) if extent % u == 0), most)
