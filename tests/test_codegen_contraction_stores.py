"""What follows the sum of a contraction in machine code, against the interpreter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from contraction_tools import Compiled

from chainrule.codegen.contraction import emit_contraction, supported
from chainrule.codegen.target import host
from chainrule.codegen.text import Module
from chainrule.core.dtype import DType, bool_, float16, float32, float64, int64
from chainrule.core.errors import StateError
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Expr,
    Index,
    Load,
    Position,
    Read,
    Within,
    call,
    const,
)
from chainrule.ir.interpreter import run_kernel
from chainrule.ir.kernel import Contraction, Store


@dataclass
class Product:
    """A matrix product with further buffers for what follows it."""

    m: int
    n: int
    k: int
    dtype: DType = float32

    def __post_init__(self) -> None:
        m, n, k, dtype = self.m, self.n, self.k, self.dtype
        self.row, self.column, self.inner = Axis("m", m), Axis("n", n), Axis("k", k)
        self.left, self.right = Buffer("left", dtype, m * k), Buffer("right", dtype, k * n)
        self.out, self.other = Buffer("out", dtype, 3 * m * n), Buffer("other", dtype, m * n)
        self.bias, self.flags = Buffer("bias", dtype, n), Buffer("flags", bool_, m * n)
        self.short = Buffer("short", float16, m * n)
        self.acc = Acc("sum", "add", dtype)

    def at(self, row: int, column: int, offset: int = 0) -> Index:
        return Index(((self.row, row), (self.column, column)), offset)

    @property
    def biased(self) -> Expr:
        return call("add", Read(self.acc), Load(self.bias, (Index(((self.column, 1),)),)))

    def contraction(self, *stores: Store) -> Contraction:
        left = Load(self.left, (Index(((self.row, self.k), (self.inner, 1))),))
        right = Load(self.right, (Index(((self.inner, self.n), (self.column, 1))),))
        written = frozenset(store.buffer for store in stores)
        buffers = (self.left, self.right, self.out, self.other, self.bias, self.flags, self.short)
        groups = ((), (self.row,), (self.column,), (self.inner,))
        return Contraction("p", buffers, *groups, left, right, self.acc, stores, written)


def relu(p: Product) -> list[Store]:
    value = call("maximum", p.biased, const(0, p.dtype))
    return [Store(p.out, p.at(p.n, 1), value)]


def residual_and_mask(p: Product) -> list[Store]:
    value = call("add", p.biased, Load(p.other, (p.at(p.n, 1),)))
    positive = call("less", const(0, p.dtype), value)
    return [Store(p.out, p.at(p.n, 1), value), Store(p.flags, p.at(p.n, 1), positive)]


def cropped(p: Product) -> list[Store]:
    inside = (Within(p.at(1, 0, -2), p.m - 3), Within(p.at(0, 1, -1), p.n))
    return [Store(p.out, p.at(p.n, 1), p.biased, inside)]


def added(p: Product) -> list[Store]:
    return [Store(p.out, p.at(p.n, 1), p.biased, adds=True)]


def turned(p: Product) -> list[Store]:
    return [Store(p.out, p.at(1, p.m), p.biased)]


def shortened(p: Product) -> list[Store]:
    value = p.biased if p.dtype is float32 else call("cast", p.biased, dtype=float32)
    return [Store(p.short, p.at(p.n, 1), value)]


def in_place(p: Product) -> list[Store]:
    value = call("multiply", Load(p.other, (p.at(p.n, 1),)), Read(p.acc))
    return [Store(p.other, p.at(p.n, 1), value)]


def by_position(p: Product) -> list[Store]:
    position = call("cast", Position(p.at(1, 3)), dtype=p.dtype)
    return [Store(p.out, p.at(p.n, 1), call("add", Read(p.acc), position))]


def shifted(p: Product) -> list[Store]:
    inside = (Within(p.at(1, 0, -1), p.m), Within(p.at(0, 1, -1), p.n))
    neighbour = Load(p.other, (p.at(p.n, 1, -p.n - 1),), inside)
    return [Store(p.out, p.at(p.n, 1), call("add", Read(p.acc), neighbour))]


def scattered(p: Product) -> list[Store]:
    own = call("cast", Load(p.flags, (p.at(p.n, 1),)), dtype=int64)
    return [Store(p.out, p.at(2 * p.n, 2), Read(p.acc), dynamic=own)]


FOLLOWING = [
    *(relu, residual_and_mask, cropped, added, turned),
    *(shortened, in_place, by_position, shifted, scattered),
]


@pytest.mark.parametrize("dtype", [float32, float64], ids=["float32", "float64"])
@pytest.mark.parametrize("sizes", [(33, 45, 17), (5, 100, 3), (64, 7, 5000), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("follow", FOLLOWING, ids=lambda f: f.__name__)
def test_stores_agree_with_the_interpreter(
    follow: Callable[[Product], list[Store]], sizes: tuple[int, int, int], dtype: DType
) -> None:
    product = Product(*sizes, dtype)
    contraction = product.contraction(*follow(product))
    chance = np.random.default_rng(0)
    # Small whole numbers: sums are exact, so even signs of results must agree.
    arrays = [
        chance.integers(0 if b.dtype is bool_ else -3, 2, b.size)
        .clip(-3, 1)
        .astype(b.dtype.storage)
        for b in contraction.buffers
    ]
    memory = {b: a.copy() for b, a in zip(contraction.buffers, arrays, strict=True)}
    run_kernel(contraction, memory)
    order = random.Random(0)
    Compiled(contraction).run(arrays, lambda n: order.sample(range(n), n))
    for buffer, array in zip(contraction.buffers, arrays, strict=True):
        np.testing.assert_array_equal(array, memory[buffer], err_msg=buffer.name)


def test_other_dtypes_are_refused_by_name() -> None:
    product = Product(4, 4, 4, float16)
    contraction = product.contraction(Store(product.out, product.at(4, 1), Read(product.acc)))
    assert not supported(contraction)
    with pytest.raises(StateError, match=r"contraction p: .*\n  hint: ask .*supported first"):
        emit_contraction(Module(), contraction, "refused", host())
