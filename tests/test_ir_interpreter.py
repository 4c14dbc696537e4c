"""The interpreter against a second one in plain Python, and against NumPy."""

from __future__ import annotations

from dataclasses import replace

import ir_oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_kernels import contractions, kernels

from chainrule.core.dtype import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int64,
    to_compute,
    to_storage,
)
from chainrule.core.errors import StateError
from chainrule.ir import interpreter, space
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Const,
    Load,
    Position,
    Read,
    Within,
    add,
    index_of,
    scale,
)
from chainrule.ir.interpreter import run_kernel
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Store
from chainrule.ir.verifier import verify_kernel


def whole_numbers(buffers: tuple[Buffer, ...], seed: int) -> dict[Buffer, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {b: rng.integers(-9, 10, b.size).astype(b.dtype.storage) for b in buffers}


def agree(kernel: Kernel | Contraction, seed: int) -> None:
    verify_kernel(kernel)
    memory = whole_numbers(kernel.buffers, seed)
    expected = {buffer: array.tolist() for buffer, array in memory.items()}
    run_kernel(kernel, memory)
    ir_oracle.run(kernel, expected)
    for buffer, array in memory.items():
        np.testing.assert_array_equal(array, expected[buffer], err_msg=buffer.name)


@given(kernels(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_random_kernels_agree_with_one_element_at_a_time(kernel: Kernel, seed: int) -> None:
    agree(kernel, seed)


@given(contractions(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_random_contractions_agree_with_one_element_at_a_time(
    kernel: Contraction, seed: int
) -> None:
    agree(kernel, seed)


@given(kernels(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_large_grids_are_split_without_a_difference(kernel: Kernel, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space, "LIMIT", 3)
        patch.setattr(interpreter, "LIMIT", 3)
        agree(kernel, seed)


def test_running_sum_reads_the_reduction_while_it_runs() -> None:
    row, step = Axis("row", 3), Axis("step", 5)
    x, out = Buffer("x", float32, 15), Buffer("out", float32, 15)
    at, total = add(scale(row, 5), step), Acc("total", "add", float32)
    body = (Accumulate(total, Load(x, (at,))), Store(out, at, Read(total)))
    kernel = Kernel(
        "cumsum", (x, out), (row,), 1, (Declare(total), Loop(step, body)), (), frozenset((out,))
    )
    verify_kernel(kernel)
    values = np.random.default_rng(0).standard_normal(15).astype(np.float32)
    result = np.empty(15, np.float32)
    run_kernel(kernel, {x: values, out: result})
    np.testing.assert_array_equal(result, np.cumsum(values.reshape(3, 5), 1).reshape(-1))


def test_of_two_stores_to_one_place_the_last_iteration_wins() -> None:
    turn = Axis("turn", 5)
    x, out = Buffer("x", int64, 5), Buffer("out", int64, 1)
    here = Load(x, (index_of(turn),))
    first = Store(out, index_of(0), here)
    second = Store(out, index_of(0), Call("negative", (here,), int64), (Within(index_of(turn), 2),))
    kernel = Kernel("last", (x, out), (), 1, (Loop(turn, (first, second)),), (), frozenset((out,)))
    result = np.zeros(1, np.int64)
    run_kernel(kernel, {x: np.arange(10, 15), out: result})
    assert result.tolist() == [14]


def test_neighbouring_stores_load_before_they_write() -> None:
    axis = Axis("i", 4)
    x, y = Buffer("x", int64, 4), Buffer("y", int64, 4)
    at = index_of(axis)
    swap = (Store(x, at, Load(y, (at,))), Store(y, at, Load(x, (at,))))
    kernel = Kernel("swap", (x, y), (axis,), 1, swap, (), frozenset((x, y)))
    one, two = np.arange(4), np.arange(4) * 10
    run_kernel(kernel, {x: one, y: two})
    assert (one.tolist(), two.tolist()) == ([0, 10, 20, 30], [0, 1, 2, 3])


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
def test_short_floats_are_computed_long_and_rounded_once(dtype: DType) -> None:
    axis = Axis("i", 3)
    x, out = Buffer("x", dtype, 3), Buffer("out", dtype, 3)
    load = Load(x, (index_of(axis),))
    # In 16 bits x + 2^-12 would be x.
    small = Const(2.0**-12, float32)
    value = Call("subtract", (Call("add", (load, small), float32), load), float32)
    kernel = Kernel(
        *("round", (x, out), (axis,), 1, (Store(out, index_of(axis), value),), ()),
        frozenset((out,)),
    )
    stored = to_storage(np.asarray([1.0, 2.0, 1.5], np.float32), dtype)
    result = np.zeros(3, dtype.storage)
    run_kernel(kernel, {x: stored, out: result})
    assert to_compute(result, dtype).tolist() == [2.0**-12] * 3


def test_scratch_memory_is_new_in_each_grid_iteration() -> None:
    axis = Axis("i", 3)
    kept, out = Buffer("kept", float64, 1), Buffer("out", float64, 3)
    zero = index_of(0)
    body = (
        Store(out, index_of(axis), Load(kept, (zero,))),
        Loop(Axis("once", 1), (Store(kept, zero, Const(1.0, float64)),)),
    )
    kernel = Kernel("scratch", (out,), (axis,), 1, body, (kept,), frozenset((out,)))
    result = np.zeros(3)
    run_kernel(kernel, {out: result})
    assert np.isnan(result).all()


def test_position_outside_of_a_buffer_is_an_error_that_names_it() -> None:
    axis = Axis("i", 3)
    x, out = Buffer("x", float64, 3), Buffer("out", float64, 3)
    place = Call("add", (Position(index_of(axis)), Const(1, int64)), int64)
    body = (Store(out, index_of(axis), Load(x, (index_of(0),), (), (place,))),)
    kernel = Kernel("beyond", (x, out), (axis,), 1, body, (), frozenset((out,)))
    with pytest.raises(StateError, match=r"x: position 3 is outside of its 3 elements\n.*beyond"):
        run_kernel(kernel, {x: np.zeros(3), out: np.zeros(3)})


def test_array_of_another_dtype_is_an_error_that_names_the_buffer() -> None:
    out = Buffer("out", float64, 3)
    kernel = Kernel("empty", (out,), (), 1, ())
    with pytest.raises(StateError, match=r"empty: buffer out got float32\[3\], expected float64"):
        run_kernel(kernel, {out: np.zeros(3, np.float32)})


@given(contractions(float32), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_contraction_of_no_terms_is_zero(kernel: Contraction, seed: int) -> None:
    empty = replace(kernel, depth=(*kernel.depth, Axis("none", 0)))
    memory = whole_numbers(kernel.buffers, seed)
    expected = {buffer: array.tolist() for buffer, array in memory.items()}
    run_kernel(empty, memory)
    ir_oracle.run(empty, expected)
    for buffer, array in memory.items():
        np.testing.assert_array_equal(array, expected[buffer])
