"""Loops in machine code against the interpreter: shapes, steps, tails, guards, reductions."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_tools import TARGETS, check, kernel_of, load, random_array, run_compiled

from chainrule.codegen.loops import emit_kernel
from chainrule.codegen.target import host
from chainrule.codegen.text import Module
from chainrule.core.dtype import (
    ALL,
    Array,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)
from chainrule.core.errors import StateError
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Within,
    add,
    call,
    const,
    flat,
    scale,
    where,
)
from chainrule.ir.kernel import Accumulate, Declare, Loop, Statement, Store

EVERY_TARGET = tuple(TARGETS)
SIZES = (1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 130)


def arrays(*buffers: Buffer, seed: int = 0) -> dict[Buffer, Array]:
    rng = np.random.default_rng(seed)
    return {buffer: random_array(buffer.dtype, buffer.size, rng) for buffer in buffers}


# --- elements ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unroll", [1, 4])
def test_vector_loop_covers_every_size(size: int, unroll: int) -> None:
    x, out, i = Buffer("x", float32, size), Buffer("out", float32, size), Axis("i", size)
    body = Store(out, add(i), call("multiply", load(x, i), const(3, float32)))
    kernel = kernel_of([Loop(i, (body,), True, unroll)])
    check(kernel, arrays(x, out), targets=EVERY_TARGET)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("size", [5, 16, 37])
@pytest.mark.parametrize("dtype", [float32, float64, float16, bool_, int8])
def test_stores_between_each_other_are_woven(count: int, size: int, dtype: DType) -> None:
    x, i = Buffer("x", dtype, size), Axis("i", size)
    out = Buffer("out", dtype, count * size)
    stores = [
        Store(out, add(scale(i, count), place), load(x, i) if place != 1 else load(x, 0))
        for place in reversed(range(count))
    ]
    kernel = kernel_of([Loop(i, tuple(stores), vector=True, unroll=2)])
    check(kernel, arrays(x, out), targets=EVERY_TARGET)


def test_stores_over_what_they_read_are_not_woven() -> None:
    size = 32
    x, i = Buffer("x", float32, 2 * size), Axis("i", size)
    first, second = (add(scale(i, 2), place) for place in range(2))
    total = call("add", load(x, first), load(x, second))
    stores = (Store(x, first, total), Store(x, second, call("negative", load(x, second))))
    check(kernel_of([Loop(i, stores, vector=True)]), arrays(x), targets=EVERY_TARGET)


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("dtype", [float32, float64, int8, int64])
def test_rows_at_computed_places_leave_out_what_is_outside(dtype: DType, adds: bool) -> None:
    rows, columns, size = 40, 21, 64
    x, at, out = (
        Buffer("x", dtype, rows * columns),
        Buffer("at", int64, rows),
        Buffer("o", dtype, size),
    )
    i, j = Axis("i", rows), Axis("j", columns)
    value = load(x, add(scale(i, columns), j))
    store = Store(out, Index(((j, 1),)), value, (), load(at, i), adds)
    kernel = kernel_of([Loop(i, (Loop(j, (store,), vector=True, unroll=2),))])
    memory = arrays(x, out) | {at: np.arange(-30, size + 30, 3)[:rows].astype(np.int64)}
    check(kernel, memory, targets=EVERY_TARGET)


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_every_dtype_is_read_and_written(dtype: DType) -> None:
    x, out, i = Buffer("x", dtype, 83), Buffer("out", dtype, 83), Axis("i", 83)
    fn = "logical_not" if dtype is bool_ else "abs"
    kernel = kernel_of([Loop(i, (Store(out, add(i), call(fn, load(x, i))),), True, 2)])
    check(kernel, arrays(x, out), targets=EVERY_TARGET)


@pytest.mark.parametrize("step", [-7, -1, 0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("size", [7, 16, 37])
@pytest.mark.parametrize("dtype", [float32, float16, int8, bool_], ids=lambda d: d.name)
def test_loads_in_steps(step: int, size: int, dtype: DType) -> None:
    reach = abs(step) * (size - 1)
    x, out, i = Buffer("x", dtype, reach + 1), Buffer("out", dtype, size), Axis("i", size)
    index = add(scale(i, step), reach if step < 0 else 0)
    kernel = kernel_of([Loop(i, (Store(out, add(i), Load(x, (index,))),), True, 2)])
    check(kernel, arrays(x, out), targets=("host", "128 bits"))


@pytest.mark.parametrize("step", [-3, -1, 2, 5])
@pytest.mark.parametrize("dtype", [float32, bfloat16, int64], ids=lambda d: d.name)
def test_stores_in_steps(step: int, dtype: DType) -> None:
    size = 37
    reach = abs(step) * (size - 1)
    x, out, i = Buffer("x", dtype, size), Buffer("out", dtype, reach + 1), Axis("i", size)
    index = add(scale(i, step), reach if step < 0 else 0)
    kernel = kernel_of([Loop(i, (Store(out, index, load(x, i)),), True, 2)])
    check(kernel, arrays(x, out))


@pytest.mark.parametrize("adds", [False, True])
def test_stores_that_add(adds: bool) -> None:
    x, out, i = Buffer("x", float32, 37), Buffer("out", float32, 37), Axis("i", 37)
    store = Store(out, add(i), load(x, i), adds=adds)
    check(kernel_of([Loop(i, (store,), True, 2)]), arrays(x, out))


def test_positions_and_casts_in_lanes() -> None:
    out, i, r = Buffer("out", float32, 4 * 21), Axis("i", 21), Axis("r", 4)
    value = call("cast", Position(add(scale(i, 3), scale(r, -2), 5)), dtype=float32)
    kernel = kernel_of([Loop(i, (Store(out, flat((add(r), add(i)), (21, 1)), value),), True)], [r])
    check(kernel, arrays(out), targets=EVERY_TARGET)


def test_mixed_widths_share_lanes() -> None:
    size = 45
    x, n, out = Buffer("x", float32, size), Buffer("n", int64, 1), Buffer("out", float64, size)
    i = Axis("i", size)
    chosen = call("equal", Position(add(i)), load(n))
    value = call("cast", where(chosen, load(x, i), const(0, float32)), dtype=float64)
    memory = arrays(x, out) | {n: np.array([40])}
    check(kernel_of([Loop(i, (Store(out, add(i), value),), True, 2)]), memory)


# --- guards ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [-20, -3, 0, 3, 20, 50])
@pytest.mark.parametrize("step", [1, -1, 2, 7])
def test_guarded_loads_are_zero_outside(shift: int, step: int) -> None:
    size = 40
    x, out = Buffer("x", float32, size), Buffer("out", float32, 3 * size)
    i, r = Axis("i", size), Axis("r", 3)
    index = add(scale(i, step), shift, scale(r, 2))
    guards = (Within(index, size), Within(add(r, -1), 2))
    value = where(Inside(guards), Load(x, (index,), guards), const(-1, float32))
    both = call("add", value, Load(x, (index,), guards))
    kernel = kernel_of(
        [Loop(i, (Store(out, flat((add(r), add(i)), (size, 1)), both),), True, 2)], [r]
    )
    check(kernel, arrays(x, out), targets=EVERY_TARGET)


@pytest.mark.parametrize("size", [1, 37, 64, 65, 130, 200])
def test_blocks_with_a_common_guard(size: int) -> None:
    x, out = Buffer("x", float32, size), Buffer("out", float32, size)
    block, j = Axis("block", -(-size // 64)), Axis("j", 64)
    index = add(scale(block, 64), j)
    guards = (Within(index, size),)
    loads = Load(x, (index,), guards)
    kernel = kernel_of(
        [Loop(j, (Store(out, index, call("negative", loads), guards),), True, 2)], [block]
    )
    check(kernel, arrays(x, out), targets=EVERY_TARGET)


@pytest.mark.parametrize("dtype", [bool_, int8, float16, bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("unroll", [1, 2])
def test_a_single_guarded_lane_of_a_narrow_type(dtype: DType, unroll: int) -> None:
    # A masked store with one lane that LLVM knows at compile time used to write too much.
    x, out = Buffer("x", float32, 20), Buffer("out", dtype, 20)
    s, v = Axis("s", 2), Axis("v", 10)
    index = flat((add(s), add(v)), (10, 1))
    value = load(x, add(s, scale(v, 2)))
    value = value if dtype.is_half else call("cast", value, dtype=dtype)  # type: ignore[assignment]
    guards = (Within(add(s, scale(v, 2), -11), 1),)
    body = Loop(s, (Loop(v, (Store(out, index, value, guards),), True, 2),), unroll=unroll)
    check(kernel_of([body]), arrays(x, out), targets=EVERY_TARGET)


def test_guarded_stores_keep_what_was_there() -> None:
    x, out, i, r = Buffer("x", float32, 60), Buffer("out", float32, 60), Axis("i", 20), Axis("r", 3)
    index = flat((add(r), add(i)), (20, 1))
    first = Store(out, index, load(x, index), (Within(add(i, scale(r, 3), -4), 9),))
    second = Store(out, index, const(7, float32), (Within(add(r, -2), 1), Within(add(i), 2)))
    check(kernel_of([Loop(i, (first, second), True)], [r]), arrays(x, out), targets=EVERY_TARGET)


def test_scalar_guards_outside_of_vector_loops() -> None:
    x, out, r = Buffer("x", float32, 9), Buffer("out", float32, 9), Axis("r", 9)
    loads = Load(x, (add(r, 3),), (Within(add(r, 3), 9),))
    store = Store(out, add(r, -2), loads, (Within(add(r, -2), 5),))
    check(kernel_of([store], [r], grain=2), arrays(x, out))


# --- gather and scatter ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [float32, float64, float16, int8, bool_], ids=lambda d: d.name)
def test_gather_by_position_in_lanes(dtype: DType) -> None:
    x, n, out = Buffer("x", dtype, 50), Buffer("n", int64, 37), Buffer("out", dtype, 37)
    i = Axis("i", 37)
    loads = Load(x, (add(4),), (), (load(n, i),))
    kernel = kernel_of([Loop(i, (Store(out, add(i), loads),), True, 2)])
    memory = arrays(x, out) | {n: np.random.default_rng(1).integers(-4, 46, 37)}
    check(kernel, memory, targets=EVERY_TARGET)


def test_gather_of_rows() -> None:
    x, n, out = Buffer("x", float32, 10 * 21), Buffer("n", int64, 6), Buffer("out", float32, 6 * 21)
    i, r = Axis("i", 21), Axis("r", 6)
    start = call("multiply", load(n, r), const(21, int64))
    loads = Load(x, (add(i),), (), (start,))
    kernel = kernel_of([Loop(i, (Store(out, flat((add(r), add(i)), (21, 1)), loads),), True)], [r])
    check(kernel, arrays(x, out) | {n: np.array([3, 0, 9, 3, 1, 7])})


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("vector", [False, True])
def test_scatter_in_order_skips_positions_outside(adds: bool, vector: bool) -> None:
    x, n, out = Buffer("x", float32, 50), Buffer("n", int64, 50), Buffer("out", float32, 8)
    i = Axis("i", 50)
    store = Store(out, add(1), load(x, i), (), load(n, i), adds)
    memory = arrays(x, out) | {n: np.random.default_rng(2).integers(-4, 12, 50)}
    check(kernel_of([Loop(i, (store,), vector, 2)]), memory, rtol=1e-6 * adds)


def test_scatter_of_rows() -> None:
    x, n, out = Buffer("x", float32, 120), Buffer("n", int64, 6), Buffer("out", float32, 100)
    i, r = Axis("i", 20), Axis("r", 6)
    start = call("multiply", load(n, r), const(20, int64))
    store = Store(out, add(i), load(x, flat((add(r), add(i)), (20, 1))), (), start, True)
    body = [Loop(r, (Loop(i, (store,), True),))]
    check(kernel_of(body), arrays(x, out) | {n: np.array([3, 0, 4, 3, 1, 9])}, rtol=1e-6)


# --- reductions --------------------------------------------------------------------------------

REDUCTIONS = [("add", float32), ("multiply", float64), ("maximum", float32), ("minimum", int32)]
REDUCTIONS += [("add", int64), ("maximum", int8), ("logical_and", bool_), ("logical_or", bool_)]


@pytest.mark.parametrize(("fn", "dtype"), REDUCTIONS, ids=lambda p: getattr(p, "name", p))
@pytest.mark.parametrize("size", [1, 3, 16, 33, 100, 200])
def test_row_reductions(fn: str, dtype: DType, size: int) -> None:
    x, out = Buffer("x", dtype, 5 * size), Buffer("out", dtype, 5)
    r, i, acc = Axis("r", 5), Axis("i", size), Acc("a", fn, dtype)
    step = Accumulate(acc, load(x, flat((add(r), add(i)), (size, 1))))
    body = [Declare(acc), Loop(i, (step,), True, 4), Store(out, add(r), Read(acc))]
    memory = arrays(x, out)
    check(kernel_of(body, [r], grain=2), memory, rtol=1e-5, targets=EVERY_TARGET)


@pytest.mark.parametrize(("fn", "dtype"), REDUCTIONS, ids=lambda p: getattr(p, "name", p))
@pytest.mark.parametrize("rows", [3, 40])
def test_column_reductions(fn: str, dtype: DType, rows: int) -> None:
    x, out = Buffer("x", dtype, rows * 45), Buffer("out", dtype, 45)
    r, i, acc = Axis("r", rows), Axis("i", 45), Acc("a", fn, dtype)
    step = Accumulate(acc, load(x, flat((add(r), add(i)), (45, 1))))
    body = (Declare(acc), Loop(r, (step,), unroll=3), Store(out, add(i), Read(acc)))
    check(kernel_of([Loop(i, body, True, 2)]), arrays(x, out), rtol=1e-5, targets=EVERY_TARGET)


def test_reduction_over_rows_and_columns() -> None:
    x, y, out = Buffer("x", float32, 7 * 45), Buffer("y", float32, 30), Buffer("out", float32, 1)
    r, i, j, acc = Axis("r", 7), Axis("i", 45), Axis("j", 30), Acc("a", "add", float32)
    rows = Loop(i, (Accumulate(acc, load(x, flat((add(r), add(i)), (45, 1)))),), True, 2)
    others = Loop(j, (Accumulate(acc, load(y, j)),), True, 4)
    body = [Declare(acc), Loop(r, (rows,)), others, Accumulate(acc, load(y, 3))]
    check(kernel_of([*body, Store(out, add(0), Read(acc))]), arrays(x, y, out), rtol=1e-5)


def test_reduction_that_is_read_while_it_runs() -> None:
    x, out = Buffer("x", float32, 7 * 45), Buffer("out", float32, 7)
    r, i, acc = Axis("r", 7), Axis("i", 45), Acc("a", "add", float32)
    row = Loop(i, (Accumulate(acc, load(x, flat((add(r), add(i)), (45, 1)))),), True, 2)
    body = [Declare(acc), Loop(r, (row, Store(out, add(r), Read(acc))))]
    check(kernel_of(body), arrays(x, out), rtol=1e-5)


@pytest.mark.parametrize("vector", [False, True])
def test_running_sum(vector: bool) -> None:
    x, out = Buffer("x", float32, 20 * 30), Buffer("out", float32, 20 * 30)
    r, k, acc = Axis("r", 20), Axis("k", 30), Acc("a", "add", float32)
    index = flat((add(k), add(r)), (20, 1))
    inner = Loop(k, (Accumulate(acc, load(x, index)), Store(out, index, Read(acc))), unroll=2)
    body = (Declare(acc), inner)
    check(kernel_of([Loop(r, body, vector, 2)]), arrays(x, out), rtol=1e-6)


@pytest.mark.parametrize("fn", ["maximum", "minimum"])
@pytest.mark.parametrize("place", [0, 1, 37, 38, 70])
def test_nan_wins_wherever_it_stands(fn: str, place: int) -> None:
    x, out = Buffer("x", float32, 71), Buffer("out", float32, 1)
    i, acc = Axis("i", 71), Acc("a", fn, float32)
    loop = Loop(i, (Accumulate(acc, load(x, i)),), True, 2)
    memory = arrays(x, out)
    memory[x][place] = np.nan
    check(kernel_of([Declare(acc), loop, Store(out, add(0), Read(acc))]), memory)


def test_long_float32_sum_is_accurate() -> None:
    size = 1 << 20
    x, out = Buffer("x", float32, size), Buffer("out", float32, 1)
    i, acc = Axis("i", size), Acc("a", "add", float32)
    loop = Loop(i, (Accumulate(acc, load(x, i)),), True, 8)
    memory = {x: np.random.default_rng(0).random(size, np.float32), out: np.zeros(1, np.float32)}
    got = run_compiled(kernel_of([Declare(acc), loop, Store(out, add(0), Read(acc))]), memory)
    np.testing.assert_allclose(got[out][0], memory[x].sum(dtype=np.float64), rtol=1e-6)


# --- nests -------------------------------------------------------------------------------------


def softmax_of_rows(x: Buffer, out: Buffer, rows: int, size: int) -> tuple[list[Statement], Axis]:
    r, first, second, third = Axis("r", rows), Axis("i", size), Axis("j", size), Axis("k", size)
    largest, total = Acc("m", "maximum", float32), Acc("s", "add", float32)

    def at(axis: Axis) -> Index:
        return flat((add(r), add(axis)), (size, 1))

    weight = call("exp", call("subtract", load(x, at(second)), Read(largest)))
    share = call("divide", load(out, at(third)), Read(total))
    return [
        Declare(largest),
        Loop(first, (Accumulate(largest, load(x, at(first))),), True, 4),
        Declare(total),
        Loop(second, (Store(out, at(second), weight), Accumulate(total, weight)), True, 2),
        Loop(third, (Store(out, at(third), share),), True, 2),
    ], r


@pytest.mark.parametrize("size", [1, 10, 16, 100])
def test_softmax_of_rows(size: int) -> None:
    x, out = Buffer("x", float32, 9 * size), Buffer("out", float32, 9 * size)
    body, rows = softmax_of_rows(x, out, 9, size)
    check(kernel_of(body, [rows], grain=4), arrays(x, out), rtol=1e-6, targets=EVERY_TARGET)


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 1, 1), (1, 1, 1), (3, 1, 7), (2, 2, 2, 3)])
@pytest.mark.parametrize("grain", [1, 5, 100])
def test_grids_of_every_shape(shape: tuple[int, ...], grain: int) -> None:
    size = int(np.prod(shape))
    axes = [Axis(f"g{n}", extent) for n, extent in enumerate(shape)]
    strides = [int(np.prod(shape[n + 1 :])) for n in range(len(shape))]
    index = flat(map(add, axes), strides)
    x, out = Buffer("x", float32, size), Buffer("out", float32, size)
    store = Store(out, index, call("negative", load(x, index)))
    check(kernel_of([store], axes, grain=grain), arrays(x, out))


def test_scratch_buffers_hold_a_row() -> None:
    x, out, own = Buffer("x", float32, 90), Buffer("out", float32, 90), Buffer("own", float16, 30)
    r, i, j = Axis("r", 3), Axis("i", 30), Axis("j", 30)
    fill = Loop(i, (Store(own, add(i), load(x, flat((add(r), add(i)), (30, 1)))),), True)
    use = Loop(j, (Store(out, flat((add(r), add(j)), (30, 1)), load(own, scale(j, -1), 29)),), True)
    check(kernel_of([fill, use], [r], scratch=[own]), arrays(x, out))


def test_too_large_scratch_is_an_error() -> None:
    own, out = Buffer("own", float32, 1 << 15), Buffer("out", float32, 1)
    kernel = kernel_of([Store(out, add(0), load(own, 0))], scratch=[own])
    with pytest.raises(StateError, match="131072 bytes"):
        emit_kernel(Module(), kernel, "big", host())


def test_empty_grid_is_no_phase() -> None:
    out = Buffer("out", float32, 1)
    kernel = kernel_of([Store(out, add(0), const(1, float32))], [Axis("r", 0)])
    assert emit_kernel(Module(), kernel, "none", host()).phases == ()


def test_empty_loop_leaves_the_neutral_element() -> None:
    x, out, i = Buffer("x", float32, 1), Buffer("out", float32, 1), Axis("i", 0)
    acc = Acc("a", "maximum", float32)
    body = [Declare(acc), Loop(i, (Accumulate(acc, load(x, i)),), True)]
    check(kernel_of([*body, Store(out, add(0), Read(acc))]), arrays(x, out))


@pytest.mark.parametrize("window", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_windows(window: int, stride: int) -> None:
    size, channels = 9, 20
    places = (size - window) // stride + 1
    x = Buffer("x", float32, size * size * channels)
    out = Buffer("out", float32, places * places * channels)
    y, z, c = Axis("y", places), Axis("z", places), Axis("c", channels)
    a, b, acc = Axis("a", window), Axis("b", window), Acc("m", "maximum", float32)
    row, column = add(scale(y, stride), a), add(scale(z, stride), b)
    index = flat((row, column, add(c)), (size * channels, channels, 1))
    inner = Loop(a, (Loop(b, (Accumulate(acc, load(x, index)),)),))
    target = flat((add(y), add(z), add(c)), (places * channels, channels, 1))
    body = [Loop(c, (Declare(acc), inner, Store(out, target, Read(acc))), True)]
    check(kernel_of(body, [y, z], grain=4), arrays(x, out), targets=EVERY_TARGET)


def test_result_may_take_over_an_operands_memory() -> None:
    size = 100
    p, g, q = (Buffer(name, float32, size) for name in ("p", "g", "q"))
    i = Axis("i", size)
    step = call("subtract", load(p, i), call("multiply", load(g, i), const(0.1, float32)))
    stores = (Store(q, add(i), step), Store(g, add(i), load(p, i)))
    kernel = kernel_of([Loop(i, stores, True, 4)])
    memory = arrays(p, g)
    memory[q] = memory[p].copy()
    separate = run_compiled(kernel, memory)
    assert np.array_equal(separate[g], memory[p])
    np.testing.assert_allclose(separate[q], memory[p] - np.float32(0.1) * memory[g], rtol=1e-6)


@pytest.mark.parametrize("classes", [4, 10, 16, 17])
def test_code_stays_short_where_lanes_are_loaded_one_by_one(classes: int) -> None:
    rows = 100
    x, out = Buffer("x", float32, rows * classes), Buffer("out", float32, rows)
    i, r, acc = Axis("i", rows), Axis("r", classes), Acc("a", "add", float32)
    value = call("exp", load(x, flat((add(i), add(r)), (classes, 1))))
    loop = Loop(r, (Accumulate(acc, value),))
    body = (Declare(acc), loop, Store(out, add(i), Read(acc)))
    kernel = kernel_of([Loop(i, body, True, 4)])
    module = Module()
    emit_kernel(module, kernel, "short", host())
    assert module.text.count("\n") < 1500
    check(kernel, arrays(x, out), rtol=1e-6, targets=EVERY_TARGET)
