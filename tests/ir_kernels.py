"""Random kernels for the tests: every construct of the language, always within its rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from chainrule.core.dtype import DType, bool_, float64, int64
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Const,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Within,
    add,
    extremes,
    flat,
    index_of,
    scale,
)
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Statement, Store

SIZE = 23  # of the inputs
DEPTH = 3  # of loops in a grid iteration


def row_major(axes: tuple[Axis, ...]) -> Index:
    sizes = [axis.extent for axis in axes]
    strides = [math.prod(sizes[n + 1 :]) for n in range(len(sizes))]
    return flat(map(index_of, axes), strides)


@dataclass(frozen=True)
class Scope:
    """What statements at one place may use.

    Attributes:
        grid: Axes of the grid.
        axes: All axes.
        apart: Axes of the grid and of vector loops.
        kept: Axes whose iterations are independent.
        readable: Reductions that may be read.
        running: Reductions that values may be taken into.
        vector: Whether a vector loop is around.
    """

    grid: tuple[Axis, ...]
    axes: tuple[Axis, ...]
    apart: tuple[Axis, ...]
    kept: tuple[Axis, ...]
    readable: tuple[Acc, ...] = ()
    running: tuple[Acc, ...] = ()
    vector: bool = False


@dataclass
class Maker:
    """Draws one kernel.

    Numbers are whole, so that sums come out the same in any order.
    """

    draw: st.DrawFn
    inputs: list[Buffer] = field(default_factory=list)
    outputs: list[Buffer] = field(default_factory=list)
    scratch: list[Buffer] = field(default_factory=list)
    places: dict[tuple[Axis, ...], list[Buffer]] = field(default_factory=dict)
    names: int = 0

    def axis(self, most: int = 4) -> Axis:
        self.names += 1
        return Axis(f"a{self.names}", self.draw(st.integers(1, most)))

    def index(self, axes: tuple[Axis, ...]) -> Index:
        terms = [scale(a, self.draw(st.integers(-3, 3))) for a in axes]
        return add(self.draw(st.integers(-4, 4)), *terms)

    def load(self, buffer: Buffer, axes: tuple[Axis, ...]) -> Load:
        index = self.index(axes)
        low, high = extremes(index)
        if high - low < buffer.size and self.draw(st.booleans()):
            return Load(buffer, (add(index, -low),))
        guards = (Within(index, buffer.size),)
        if self.draw(st.booleans()):
            guards = (*guards, Within(self.index(axes), 5))
        return Load(buffer, (index,), guards)

    def gather(self, axes: tuple[Axis, ...]) -> Load:
        place = Call(
            "minimum",
            (Call("abs", (self.whole(axes),), int64), Const(SIZE - 1, int64)),
            int64,
        )
        return Load(self.inputs[0], (Index(()),), (), (place,))

    def whole(self, axes: tuple[Axis, ...]) -> Expr:
        if self.draw(st.booleans()):
            return Position(self.index(axes))
        return self.load(self.inputs[1], axes)

    def value(self, axes: tuple[Axis, ...], accs: tuple[Acc, ...], depth: int = 2) -> Expr:
        kinds = ["const", "load", "load", "gather", "cast", "call", "where"]
        kinds += ["scratch", "scratch"] if self.scratch else []
        kinds += ["acc"] * 3 if accs else []
        kind = self.draw(st.sampled_from(kinds)) if depth else "load"
        if kind == "const":
            return Const(float(self.draw(st.integers(-3, 3))), float64)
        if kind == "gather":
            return self.gather(axes)
        if kind == "cast":
            return Call("cast", (self.whole(axes),), float64)
        if kind == "scratch":
            return self.load(self.scratch[0], axes)
        if kind == "acc":
            return Read(self.draw(st.sampled_from(accs)))
        if kind in ("call", "where"):
            x, y = (self.value(axes, accs, depth - 1) for _ in range(2))
            if kind == "where":
                return Call("where", (self.condition(axes, x, y), x, y), float64)
            fn = self.draw(st.sampled_from(("add", "subtract", "maximum", "minimum")))
            return Call(fn, (x, y), float64)
        return self.load(self.inputs[0], axes)

    def condition(self, axes: tuple[Axis, ...], x: Expr, y: Expr) -> Expr:
        if self.draw(st.booleans()):
            return Call("less", (x, y), bool_)
        return Inside((Within(self.index(axes), 3),))

    def body(self, scope: Scope, depth: int) -> tuple[Statement, ...]:
        """Return statements."""
        made: list[Statement] = []
        plan = ["reduce", "store", "loop"] if depth == DEPTH else []
        kinds = ["store", "loop", "reduce", "accumulate", "adds", "scratch", "again"]
        plan += self.draw(st.lists(st.sampled_from(kinds), min_size=2, max_size=5))
        for kind in plan:
            if kind == "loop" and depth:
                made.append(self.loop(scope, depth))
            elif kind == "reduce":
                acc = self.acc()
                made.append(Declare(acc))
                scope = replace(
                    scope, readable=(*scope.readable, acc), running=(*scope.running, acc)
                )
            elif kind == "accumulate" and scope.running:
                acc = self.draw(st.sampled_from(scope.running))
                made.append(Accumulate(acc, self.value(scope.axes, scope.readable)))
            elif kind == "adds":
                made.append(self.adding(scope))
            elif kind == "scratch" and self.scratch and not scope.vector:
                made.append(self.keeping(scope))
            elif kind == "again" and self.places.get(scope.kept) and not scope.vector:
                made.append(self.again(scope))
            else:
                made.append(self.storing(scope))
        return tuple(made)

    def acc(self) -> Acc:
        self.names += 1
        fn = self.draw(st.sampled_from(("add", "maximum", "minimum")))
        return Acc(f"r{self.names}", fn, float64)

    def loop(self, scope: Scope, depth: int) -> Loop:
        axis = self.axis(5)
        side = not scope.vector and self.draw(st.booleans())
        # Serial iterations may write to one place: later ones win.
        own = (*scope.kept, axis) if side or self.draw(st.booleans()) else scope.kept
        inner = replace(scope, axes=(*scope.axes, axis), kept=own, vector=scope.vector or side)
        if side:  # in a vector loop a reduction is either read or taken into
            flags = [self.draw(st.booleans()) for _ in scope.readable]
            inner = replace(
                inner,
                apart=(*scope.apart, axis),
                readable=tuple(a for a, f in zip(scope.readable, flags, strict=True) if f),
                running=tuple(a for a, f in zip(scope.readable, flags, strict=True) if not f),
            )
        return Loop(axis, self.body(inner, depth - 1), side)

    def storing(self, scope: Scope) -> Store:
        axes, kept = scope.axes, scope.kept
        guards = (Within(self.index(axes), 6),) if self.draw(st.booleans()) else ()
        value = self.value(axes, scope.readable)
        size = math.prod(axis.extent for axis in kept)
        buffer = self.output(size)
        self.places.setdefault(kept, []).append(buffer)
        if self.draw(st.integers(0, 3)) == 3:  # a scatter, past the end for some
            step = Call("multiply", (self.whole(axes), Const(size, int64)), int64)
            return Store(buffer, row_major(kept), value, guards, step)
        return Store(buffer, row_major(kept), value, guards)

    def again(self, scope: Scope) -> Store:
        """Return another store to a place that the same iteration writes."""
        buffer = self.draw(st.sampled_from(self.places[scope.kept]))
        place = row_major(scope.kept)
        old, new = Load(buffer, (place,)), self.value(scope.axes, scope.readable)
        if self.draw(st.booleans()):
            new = Call("subtract", (new, old), float64)
        guards = (Within(self.index(scope.axes), 6),) if self.draw(st.booleans()) else ()
        return Store(buffer, place, new, guards)

    def keeping(self, scope: Scope) -> Store:
        """Return a store to scratch memory, wherever it is inside of it."""
        buffer = self.scratch[0]
        place = self.index(tuple(a for a in scope.axes if a not in scope.grid))
        value = self.value(scope.axes, scope.readable)
        value = Call("add", (value, self.load(buffer, scope.axes)), float64)
        return Store(buffer, place, value, (Within(place, buffer.size),))

    def adding(self, scope: Scope) -> Store:
        """Return an addition to any place in an independent iteration's own part."""
        count = math.prod(axis.extent for axis in scope.apart)
        inner = self.index(tuple(a for a in scope.axes if a not in scope.apart))
        index = add(scale(row_major(scope.apart), 4), inner)
        buffer, value = self.output(count * 4), self.value(scope.axes, scope.readable)
        return Store(buffer, index, value, (Within(inner, 4),), None, True)

    def output(self, size: int) -> Buffer:
        buffer = Buffer(f"out{len(self.outputs)}", float64, size)
        self.outputs.append(buffer)
        return buffer


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    """Draw a kernel of float64 and int64 buffers: inputs, then outputs."""
    make = Maker(draw, [Buffer("x", float64, SIZE), Buffer("n", int64, SIZE)])
    grid = tuple(make.axis() for _ in range(draw(st.integers(0, 2))))
    start: tuple[Statement, ...] = ()
    if draw(st.booleans()):
        axis = make.axis(6)
        buffer = Buffer("s", float64, axis.extent)
        value = make.value((*grid, axis), (), 1)
        start = (Loop(axis, (Store(buffer, index_of(axis), value),), draw(st.booleans())),)
        make.scratch.append(buffer)
    body = start + make.body(Scope(grid, grid, grid, grid), DEPTH)
    buffers = (*make.inputs, *make.outputs)
    written = frozenset(make.outputs)
    return Kernel("random", buffers, grid, 1, body, tuple(make.scratch), written)


def full_load(draw: st.DrawFn, name: str, axes: tuple[Axis, ...], dtype: DType) -> Load:
    """Return a load at a random position without guards, of a buffer of just the right size."""
    index = add(*(scale(axis, draw(st.integers(-2, 3))) for axis in axes))
    low, high = extremes(index)
    return Load(Buffer(name, dtype, high - low + 1), (add(index, -low),))


@st.composite
def contractions(draw: st.DrawFn, dtype: DType = float64) -> Contraction:
    """Draw a contraction with an epilogue."""
    make = Maker(draw)
    batch, rows, columns, depth = (
        tuple(make.axis(3) for _ in range(draw(st.integers(0, 2)))) for _ in range(4)
    )
    left = full_load(draw, "left", (*batch, *rows, *depth), dtype)
    right = full_load(draw, "right", (*batch, *depth, *columns), dtype)
    axes = (*batch, *rows, *columns)
    acc = Acc("acc", "add", dtype)
    bias = full_load(draw, "bias", axes, dtype)
    out = Buffer("out", dtype, math.prod(axis.extent for axis in axes))
    value = Call("add", (Read(acc), bias), dtype)
    stores = (Store(out, row_major(axes), value),)
    sources = [load.source for load in (left, right, bias)]
    buffers = tuple(source for source in sources if isinstance(source, Buffer))
    return Contraction(
        *("random", (*buffers, out), batch, rows, columns, depth),
        *(left, right, acc, stores, frozenset((out,))),
    )
