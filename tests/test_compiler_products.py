"""Products that a pass moves or lays out anew: look-ups behind them, panels in loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler_tools import check
from program_tools import Builder, evaluate

import chainrule as cr
from chainrule.compiler.lookups import move_lookups
from chainrule.compiler.pipeline import simplified
from chainrule.compiler.program import Program, verify
from chainrule.core.dtype import DType, float16, float32, float64, int64

V, D, K = 5, 64, 48


def products(program: Program) -> list[int]:
    """Return how many rows the left operand of each product has."""
    return [
        i.inputs[0].spec.size // i.inputs[0].spec.shape[-1]
        for i in program.instructions
        if i.op.name == "matmul"
    ]


def training(dtype: DType = float64, rows: int = V, order: tuple[int, ...] = (1, 0, 2)) -> Program:
    """Return a layer on rows of a table, [40, 6] of them, with both of its gradients."""
    b = Builder()
    table, matrix = b.input((rows, D), dtype), b.input((D, K), dtype)
    gradient, index = b.input((40 * 6, K), dtype), b.input((40, 6), int64)
    found = b("index", table, index, axes=(0,), position=0)
    moved = b("permute", found, axes=order)
    flat = b("reshape", moved, shape=(40 * 6, D))
    forward = b("matmul", flat, matrix)
    to_matrix = b("matmul", b("permute", flat, axes=(1, 0)), gradient)
    back = b("matmul", gradient, b("permute", matrix, axes=(1, 0)))
    shape = tuple((40, 6, D)[axis] for axis in order)
    unmoved = b("permute", b("reshape", back, shape=shape), axes=order)  # its own inverse
    to_table = b("unindex", unmoved, index, shape=(rows, D), axes=(0,), position=0)
    return b.program(forward, to_matrix, to_table)


def inputs(dtype: DType, rows: int = V) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = ((rows, D), (D, K), (240, K))
    made = [rng.normal(size=shape).astype(dtype.storage) for shape in shapes]
    index = rng.integers(-V, V - 1, (40, 6))  # numbers from behind too; row V - 1 only by -1
    index[index == -1] = 0
    made[0][V - 1] = np.nan  # nobody looks it up
    return [*made, index]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
def test_products_with_looked_up_rows_are_done_on_the_table(order: tuple[int, ...]) -> None:
    program = training(order=order)
    moved = move_lookups(program)
    verify(moved, "lookups")
    given = inputs(float64)
    for got, want in zip(evaluate(moved, given), evaluate(program, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    assert sorted(products(simplified(program))) == [V, V, D]
    sums = [i for i in simplified(program).instructions if i.op.name == "unindex"]
    assert len(sums) == 2  # of gradients, and how often each row was looked up
    check(program, given, rtol=1e-10)


def test_rows_that_were_not_looked_up_get_nothing_of_a_matrix_with_nan() -> None:
    program, given = training(), inputs(float64)
    given[1][0, 0] = np.nan
    for got, want in zip(
        evaluate(move_lookups(program), given), evaluate(program, given), strict=True
    ):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@pytest.mark.parametrize(("dtype", "rows"), [(float64, 200), (float16, V)])
def test_large_tables_and_narrow_types_are_left_alone(dtype: DType, rows: int) -> None:
    program = training(dtype, rows)
    assert products(move_lookups(program)) == products(program)


def test_a_product_that_is_read_twice_is_not_done_twice() -> None:
    b = Builder()
    gradient, matrix = b.input((240, K), float64), b.input((K, D), float64)
    index = b.input((240,), int64)
    back = b("matmul", gradient, matrix)
    sums = b("unindex", back, index, shape=(V, D), axes=(0,), position=0)
    assert products(move_lookups(b.program(sums, back))) == [240]


def loop(rows: int, depth: int, columns: int, dtype: str, rounds: int = 5) -> tuple[Any, list[Any]]:
    """Return a compiled loop of products with one matrix, and what it takes."""

    def run(h: cr.Tensor, w: cr.Tensor, x: cr.Tensor) -> Any:
        def step(h: cr.Tensor, x: cr.Tensor) -> Any:
            y = h @ w + x
            return y[:, :depth].tanh(), y

        return cr.scan(step, h, x)

    rng = np.random.default_rng(1)
    shapes = ((rows, depth), (depth, columns), (rounds, rows, columns))
    given = [cr.tensor(rng.normal(size=s) / depth**0.5, dtype=dtype) for s in shapes]
    return run, given


def in_panels(run: Any, given: list[Any]) -> bool:
    program = simplified(cr.compile(run).trace(*given).trace.program)
    (region,) = program.regions()
    (product,) = (i for i in region.bodies[0].instructions if i.op.name == "matmul")
    return len(product.inputs[1].spec.shape) == 3


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "dtype", "rounds", "panels"),
    [
        (8, 40, 256, "float32", 5, True),
        (5, 40, 384, "float32", 5, True),
        (4, 30, 128, "float64", 5, True),
        (8, 40, 250, "float32", 5, False),  # not whole panels
        (8, 40, 64, "float32", 5, False),  # rows are near each other
        (2, 40, 256, "float32", 5, False),  # hardly any rows on the left
        (8, 40, 256, "float32", 2, False),  # hardly any rounds
        (8, 40, 512, "float16", 5, False),
    ],
)
def test_wide_matrices_of_a_loop_are_laid_out_in_panels(
    rows: int, depth: int, columns: int, dtype: str, rounds: int, panels: bool
) -> None:
    run, given = loop(rows, depth, columns, dtype, rounds)
    assert in_panels(run, given) is panels
    if panels:
        expected, result = run(*given), cr.compile(run)(*given)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        for got, want in zip(result, expected, strict=True):
            np.testing.assert_allclose(got.numpy(), want.numpy(), tolerance, tolerance)


def test_sums_of_what_is_stacked_anyway_are_one_sum_behind_the_loop() -> None:
    w = cr.randn((3, 3), dtype="float64").requires_grad_()
    b = cr.ones((3,), dtype="float64").requires_grad_()
    xs = cr.randn((6, 2, 3), dtype="float64")

    def step(xs: cr.Tensor, b: cr.Tensor, w: cr.Tensor) -> Any:
        ys = cr.scan(lambda h, x: ((h @ w * x + b).tanh(),) * 2, xs[0], xs)[1]
        return cr.grad((ys * ys).sum(), [b, w])

    def inside(function: Any, *given: cr.Tensor) -> list[str]:
        program = simplified(cr.compile(function).trace(*given).trace.program)
        bodies = [body for region in program.regions() for body in region.bodies]
        return [i.op.name for body in bodies for i in body.instructions]

    assert inside(step, xs, b, w).count("sum") == 1  # of b: nothing else needs the stack
    assert inside(lambda xs, b, w: step(xs, b, w)[1], xs, b, w).count("sum") == 0
    for got, want in zip(cr.compile(step)(xs, b, w), step(xs, b, w), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12, atol=1e-14)


def test_float32_tables_too() -> None:
    assert sorted(products(simplified(training(float32)))) == [V, V, D]
