"""The verifier: each rule of kernels and contractions, broken once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from chainrule.core.dtype import bfloat16, bool_, float32, float64, int32
from chainrule.core.errors import StateError
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Const,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Ref,
    Within,
    add,
    index_of,
    scale,
)
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Statement, Store
from chainrule.ir.verifier import in_place, verify_kernel

ROW, COLUMN = Axis("row", 4), Axis("column", 8)
X, OUT = Buffer("x", float32, 32), Buffer("out", float32, 32)
AT = add(scale(ROW, 8), COLUMN)
TOTAL = Acc("total", "add", float32)
ONE = Const(1.0, float32)
LOAD = Load(X, (AT,))


def kernel(*body: Statement, buffers: tuple[Buffer, ...] = (X, OUT)) -> Kernel:
    return Kernel("test", buffers, (ROW,), 1, body, (), frozenset((OUT,)))


def loop(*body: Statement, vector: bool = True) -> Loop:
    return Loop(COLUMN, body, vector)


def store(index: Index = AT, **changes: object) -> Store:
    return replace(Store(OUT, index, LOAD), **changes)


SHORT = Buffer("short", bfloat16, 32)
BROKEN: dict[str, Callable[[], Kernel]] = {
    "grain is 0": lambda: replace(kernel(loop(store())), grain=0),
    "a buffer is listed twice": lambda: kernel(loop(store()), buffers=(X, X, OUT)),
    "a buffer is an argument and scratch": lambda: replace(kernel(loop(store())), scratch=(X,)),
    "x is read, but not listed": lambda: kernel(loop(store()), buffers=(OUT,)),
    "out is listed as written, but is not": lambda: kernel(),
    "x is stored to, but not listed as written": lambda: kernel(loop(store(), Store(X, AT, ONE))),
    "total is read where it is not declared": lambda: kernel(loop(store(value=Read(TOTAL)))),
    "total takes in a value before it is declared": lambda: kernel(
        loop(store(), Accumulate(TOTAL, ONE))
    ),
    "total is declared twice": lambda: kernel(Declare(TOTAL), loop(store()), Declare(TOTAL)),
    "total is float32 and takes in float64": lambda: kernel(
        Declare(TOTAL), loop(store(), Accumulate(TOTAL, Const(1.0, float64)))
    ),
    "vector loop over column<8> reads total while it runs": lambda: kernel(
        Declare(TOTAL), loop(Accumulate(TOTAL, ONE), store(value=Read(TOTAL)))
    ),
    "there is no reduction add of bool": lambda: kernel(
        Declare(Acc("flag", "add", bool_)), loop(store())
    ),
    "is inside of a vector loop": lambda: kernel(
        Loop(Axis("outer", 1), (loop(store()),), vector=True)
    ),
    "axis column<8> runs in two loops": lambda: kernel(loop(loop(store(), vector=False))),
    "has unroll 0": lambda: kernel(Loop(COLUMN, (store(),), unroll=0)),
    "uses column<8>, which no loop around it runs": lambda: kernel(store()),
    "x[8*row+column+1] may lie outside of 32 elements": lambda: kernel(
        loop(store(value=Load(X, (add(AT, 1),))))
    ),
    "out[8*row+column-1] may lie outside of 32 elements": lambda: kernel(loop(store(add(AT, -1)))),
    "out is float32 and gets float64; cast it": lambda: kernel(
        loop(store(value=Const(1.0, float64)))
    ),
    "x: a position is int32, not int64": lambda: kernel(
        loop(store(value=Load(X, (AT,), (), (Const(0, int32),))))
    ),
    "add(f32, f64) -> f32: expected one dtype": lambda: kernel(
        loop(store(value=Call("add", (LOAD, Const(1.0, float64)), float32)))
    ),
    "t is a tensor; kernels read buffers": lambda: kernel(
        loop(store(value=Load(Ref("t", (), float32), ())))
    ),
    "short is bfloat16, which nothing is added to": lambda: replace(
        kernel(loop(Store(SHORT, AT, ONE, adds=True)), buffers=(SHORT,)),
        written=frozenset((SHORT,)),
    ),
    "iterations over row are not independent: one writes out[column]": lambda: kernel(
        loop(store(index_of(COLUMN)))
    ),
    "iterations over column are not independent: one writes out[8*row]": lambda: kernel(
        loop(store(scale(ROW, 8)))
    ),
    "another one touches [8*row+column+1]": lambda: kernel(
        loop(
            store(value=Load(OUT, (add(AT, 1),), (Within(add(COLUMN, 1), 8),))),
            vector=True,
        )
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rule_is_named(rule: str) -> None:
    with pytest.raises(StateError, match="kernel test: .*" + re.escape(rule)):
        verify_kernel(BROKEN[rule]())


def test_good_kernels_pass() -> None:
    verify_kernel(kernel(loop(store())))
    inside = Inside((Within(add(COLUMN, -3), 2),))
    chosen = Call("where", (inside, LOAD, ONE), float32)
    verify_kernel(kernel(Declare(TOTAL), loop(Accumulate(TOTAL, chosen)), loop(store())))
    previous = Load(OUT, (add(AT, -1),), (Within(add(COLUMN, -1), 8),))
    verify_kernel(kernel(loop(store(value=previous), vector=False)))
    guarded = Load(X, (add(AT, -1),), (Within(add(COLUMN, -1), 8),))
    verify_kernel(kernel(loop(store(value=guarded))))
    place = Call(
        "minimum", (Position(index_of(COLUMN)), Const(3, Position(AT).dtype)), Position(AT).dtype
    )
    verify_kernel(kernel(loop(store(value=Load(X, (Index(()),), (), (place,))))))


M, N, K = Axis("m", 3), Axis("n", 4), Axis("k", 5)
LEFT, RIGHT = Buffer("left", float32, 15), Buffer("right", float32, 20)
PRODUCT = Buffer("product", float32, 12)
MATMUL = Contraction(
    *("matmul", (LEFT, RIGHT, PRODUCT), (), (M,), (N,), (K,)),
    Load(LEFT, (add(scale(M, 5), K),)),
    Load(RIGHT, (add(scale(K, 4), N),)),
    *(TOTAL, (Store(PRODUCT, add(scale(M, 4), N), Read(TOTAL)),), frozenset((PRODUCT,))),
)
GUARD = (Within(index_of(K), 5),)
OFF: dict[str, Callable[[], Contraction]] = {
    "an axis belongs to two groups": lambda: replace(MATMUL, batch=(M,)),
    "left has guards or gathers": lambda: replace(MATMUL, left=replace(MATMUL.left, guards=GUARD)),
    "uses n<4>, which no loop around it runs": lambda: replace(
        MATMUL, left=Load(LEFT, (add(scale(N, 2), K),))
    ),
    "total is maximum of float32, expected sums": lambda: replace(
        MATMUL, acc=Acc("total", "maximum", float32)
    ),
    "left is float32, the sum float64": lambda: replace(MATMUL, acc=Acc("total", "add", float64)),
    "index 4*m+k uses k<5>": lambda: replace(
        MATMUL, stores=(Store(PRODUCT, add(scale(M, 4), K), Read(TOTAL)),)
    ),
    "iterations over m, n are not independent": lambda: replace(
        MATMUL, stores=(Store(PRODUCT, index_of(M), Read(TOTAL)),)
    ),
}


@pytest.mark.parametrize("rule", OFF)
def test_broken_rule_of_contractions_is_named(rule: str) -> None:
    with pytest.raises(StateError, match="kernel matmul: .*" + re.escape(rule)):
        verify_kernel(OFF[rule]())


def test_good_contraction_passes() -> None:
    verify_kernel(MATMUL)


def test_update_of_the_same_element_works_in_place() -> None:
    assert in_place(kernel(loop(store())), X, OUT)


def test_row_that_is_read_before_it_is_written_works_in_place() -> None:
    other = Axis("other", 8)
    sums = Loop(other, (Accumulate(TOTAL, Load(X, (add(scale(ROW, 8), other),))),), vector=True)
    value = Call("divide", (LOAD, Read(TOTAL)), float32)
    assert in_place(kernel(Declare(TOTAL), sums, loop(store(value=value))), X, OUT)


def test_element_that_is_read_later_does_not_work_in_place() -> None:
    shifted = Load(X, (add(AT, -1),), (Within(add(COLUMN, -1), 8),))
    assert not in_place(kernel(loop(store(value=shifted), vector=False)), X, OUT)
    again = loop(Accumulate(TOTAL, LOAD))
    other = Loop(Axis("other", 8), (), vector=True)
    assert not in_place(kernel(Declare(TOTAL), loop(store()), other, again), X, OUT)


def test_gathered_element_does_not_work_in_place() -> None:
    place = Position(index_of(COLUMN))
    gathered = Load(X, (scale(ROW, 8),), (), (place,))
    assert not in_place(kernel(loop(store(value=gathered))), X, OUT)


def test_contraction_works_in_place_on_what_it_adds_alone() -> None:
    bias = Buffer("bias", float32, 12)
    at = add(scale(M, 4), N)
    value = Call("add", (Read(TOTAL), Load(bias, (at,))), float32)
    biased = replace(
        MATMUL, buffers=(LEFT, RIGHT, bias, PRODUCT), stores=(Store(PRODUCT, at, value),)
    )
    assert in_place(biased, bias, PRODUCT)
    assert not in_place(biased, LEFT, PRODUCT)
