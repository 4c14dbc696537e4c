"""Random kernels: machine code and interpreter agree on what nobody thought of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from kernel_tools import TARGETS, check, kernel_of, random_array

from chainrule.core.dtype import ALL, DType, bool_, float32, float64, int32, int64
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Within,
    add,
    call,
    computed,
    const,
    extremes,
    flat,
    scale,
    where,
)
from chainrule.ir.kernel import Accumulate, Declare, Kernel, Loop, Statement, Store

SEEDS = range(60)


@dataclass
class Chance:
    """Draws kernels: a grid, then loops of every kind, whose bodies store and accumulate."""

    rng: np.random.Generator
    buffers: list[Buffer] = field(default_factory=list)

    def kernel(self) -> Kernel:
        grid = [self.axis("g", 6) for _ in range(self.rng.integers(0, 3))]
        body: list[Statement] = []
        for _ in range(self.rng.integers(1, 3)):
            body.extend(self.block(grid))
        return kernel_of(body, grid, grain=int(self.rng.integers(1, 6)))

    def axis(self, name: str, most: int) -> Axis:
        return Axis(name, int(self.rng.integers(1, most)))

    def dtype(self) -> DType:
        return ALL[self.rng.integers(len(ALL))]

    def block(self, axes: list[Axis]) -> list[Statement]:
        """Return one of: plain vector loop, row reduction, column reduction, serial loop."""
        lane, serial = self.axis("v", 70), self.axis("s", 7)
        unroll = int(self.rng.choice([1, 2, 3, 4]))
        kind = self.rng.integers(4)
        if kind == 0:
            stores = self.stores([*axes, lane])
            return [Loop(lane, tuple(stores), True, unroll)]
        if kind == 1:
            acc, value = self.reduction([*axes, serial, lane])
            inner = Loop(lane, (Accumulate(acc, value),), True, unroll)
            nest: Statement = Loop(serial, (inner,)) if self.rng.integers(2) else inner
            if nest is inner:
                acc, value = self.reduction([*axes, lane])
                nest = Loop(lane, (Accumulate(acc, value),), True, unroll)
            return [Declare(acc), nest, *self.stores(axes, acc)]
        if kind == 2:
            acc, value = self.reduction([*axes, serial, lane])
            inner = Loop(serial, (Accumulate(acc, value),), unroll=int(self.rng.integers(1, 4)))
            body = (Declare(acc), inner, *self.stores([*axes, lane], acc))
            return [Loop(lane, body, True, unroll)]
        stores = self.stores([*axes, serial, lane])
        return [Loop(serial, (Loop(lane, tuple(stores), True, unroll),), unroll=unroll)]

    def reduction(self, axes: list[Axis]) -> tuple[Acc, Expr]:
        dtype = [float32, float64, int32, bool_][self.rng.integers(4)]
        fns = ("logical_and", "logical_or") if dtype is bool_ else ("add", "maximum", "minimum")
        return Acc("a", str(self.rng.choice(fns)), dtype), self.value(dtype, axes, 3)

    def stores(self, axes: list[Axis], acc: Acc | None = None) -> list[Statement]:
        """Return stores to new buffers, each at places of its own."""
        made: list[Statement] = []
        for _ in range(self.rng.integers(1, 3)):
            dtype = self.dtype()
            order = [axes[n] for n in self.rng.permutation(len(axes))]
            if self.rng.integers(3):
                order = axes
            strides = [math.prod(a.extent for a in order[n + 1 :]) for n in range(len(order))]
            index, size = flat(map(add, order), strides), math.prod(a.extent for a in order)
            if self.rng.integers(4) == 0:
                index = add(scale(index, -1), size - 1)
            guards: tuple[Within, ...] = ()
            if self.rng.integers(3) == 0:
                guards = (self.bound(axes),)
            value = self.value(computed(dtype), axes, 3)
            if acc is not None:
                read: Expr = Read(acc)
                if acc.dtype is not value.dtype:
                    read = (
                        call("cast", read, dtype=value.dtype)
                        if value.dtype.kind != "uint"
                        else value
                    )
                value = read
            made.append(Store(Buffer("out", dtype, size), index, value, guards))
        return made

    def index(self, axes: list[Axis]) -> Index:
        terms = [scale(a, int(self.rng.choice([-3, -1, 0, 1, 1, 1, 2, 5]))) for a in axes]
        return add(int(self.rng.integers(-4, 5)), *terms)

    def bound(self, axes: list[Axis]) -> Within:
        index = self.index(axes)
        low, high = extremes(index)
        start = int(self.rng.integers(low, high + 1))
        return Within(add(index, -start), int(self.rng.integers(1, high - low + 2)))

    def load(self, dtype: DType, axes: list[Axis]) -> Expr:
        stored = [d for d in ALL if computed(d) is dtype]
        chosen, index = stored[self.rng.integers(len(stored))], self.index(axes)
        low, high = extremes(index)
        if self.rng.integers(3) == 0:
            size = int(self.rng.integers(1, high - low + 2))
            start = int(self.rng.integers(low, high + 1))
            index = add(index, -start)
            guards = (Within(index, size), *([self.bound(axes)] if self.rng.integers(2) else []))
            return Load(Buffer("x", chosen, size), (index,), guards)
        if self.rng.integers(5) == 0:
            size = high - low + 1
            offset = call("remainder", self.value(int64, axes, 1), const(size, int64))
            return Load(Buffer("x", chosen, size), (Index((), 0),), (), (offset,))
        return Load(Buffer("x", chosen, high - low + 1), (add(index, -low),))

    def value(self, dtype: DType, axes: list[Axis], depth: int) -> Expr:
        kind = self.rng.integers(8) if depth else self.rng.integers(2)
        if kind < 2:
            return self.load(dtype, axes) if self.rng.integers(5) else self.leaf(dtype, axes)
        if dtype is bool_:
            if kind < 5:
                other = [float32, int32, int64][self.rng.integers(3)]
                pair = self.value(other, axes, depth - 1), self.value(other, axes, depth - 1)
                return call(str(self.rng.choice(["less", "equal", "greater_equal"])), *pair)
            return Inside((self.bound(axes), self.bound(axes)))
        if kind == 2:
            condition = self.value(bool_, axes, depth - 1)
            pair = self.value(dtype, axes, depth - 1), self.value(dtype, axes, depth - 1)
            return where(condition, *pair)
        if kind == 3:
            source = [bool_, int32, int64][self.rng.integers(3)]
            return call("cast", self.value(source, axes, depth - 1), dtype=dtype)
        if kind == 4 and dtype.kind != "uint":
            return call(
                str(self.rng.choice(["negative", "abs", "relu"])),
                self.value(dtype, axes, depth - 1),
            )
        fn = str(self.rng.choice(["add", "subtract", "maximum", "minimum"]))
        return call(fn, self.value(dtype, axes, depth - 1), self.value(dtype, axes, depth - 1))

    def leaf(self, dtype: DType, axes: list[Axis]) -> Expr:
        if dtype is int64:
            return Position(self.index(axes))
        return const(int(self.rng.integers(0, 4)), dtype)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_kernel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = Chance(rng).kernel()
    memory = {buffer: random_array(buffer.dtype, buffer.size, rng) for buffer in kernel.buffers}
    check(kernel, memory, rtol=1e-5, targets=(list(TARGETS)[seed % len(TARGETS)],))
