"""Tensors that are computed in their places inside of a larger one; the oracle is `Op.eval`."""

from __future__ import annotations

import numpy as np
import pytest
from compiler_tools import check, kernels, kinds, run
from program_tools import Builder

from chainrule.compiler.algebra import simplify
from chainrule.compiler.dead import remove_dead
from chainrule.compiler.pipeline import build
from chainrule.compiler.program import Program
from chainrule.ir.kernel import Contraction

RNG = np.random.default_rng(0)
N, D = 32, 48


def floats(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def joined(*names: str, axis: int = 1, shared: bool = False) -> Program:
    """Return maps of one input side by side, and a product with that."""
    make = Builder()
    x = make.input((N, D))
    parts = [make(name, x) for name in names]
    whole = make("concat", *parts, axis=axis)
    w = make.input((whole.spec.shape[1], 40))
    more = (make("negative", parts[0]),) if shared else ()
    return make.program(make("matmul", whole, w), *more)


@pytest.mark.parametrize("axis", [0, 1])
def test_maps_are_computed_side_by_side_by_one_kernel(axis: int) -> None:
    program = joined("exp", "tanh", "sigmoid", axis=axis)
    check(program, floats((N, D), (D if axis == 0 else 3 * D, 40)))
    assert kinds(build(program)) == ["loops", "contraction"]


def test_parts_of_different_sizes_are_laid_side_by_side() -> None:
    make = Builder()
    x, y, w = make.input((N, 16)), make.input((N, 48)), make.input((64, 40))
    whole = make("concat", make("exp", x), make("tanh", y), axis=1)
    program = make.program(make("matmul", whole, w))
    check(program, floats((N, 16), (N, 48), (64, 40)))
    assert kinds(build(program)) == ["loops", "loops", "contraction"]


def test_products_are_computed_side_by_side() -> None:
    make = Builder()
    x, v, w, last = (make.input(s) for s in ((N, D), (D, D), (D, D), (2 * D, 40)))
    left, right = make("matmul", x, v), make("tanh", make("matmul", x, w))
    program = make.program(make("matmul", make("concat", left, right, axis=1), last))
    check(program, floats((N, D), (D, D), (D, D), (2 * D, 40)), rtol=1e-4)
    assert all(isinstance(kernel, Contraction) for kernel in kernels(build(program)))
    assert len(kernels(build(program))) == 3


def test_output_is_laid_side_by_side() -> None:
    make = Builder()
    x = make.input((N, D))
    program = make.program(make("concat", make("exp", x), make("tanh", x), axis=0))
    check(program, floats((N, D)))


def test_part_that_others_read_is_copied() -> None:
    check(joined("exp", "tanh", shared=True), floats((N, D), (2 * D, 40)))


def test_input_is_copied_to_its_place() -> None:
    make = Builder()
    x, y, w = make.input((N, D)), make.input((N, D)), make.input((2 * D, 40))
    program = make.program(make("matmul", make("concat", make("exp", x), y, axis=1), w))
    check(program, floats((N, D), (N, D), (2 * D, 40)))


def test_whole_inside_of_a_whole() -> None:
    make = Builder()
    x, w = make.input((N, D)), make.input((3 * D, 40))
    inner = make("concat", make("exp", x), make("tanh", x), axis=1)
    whole = make("concat", inner, make("sigmoid", x), axis=1)
    check(make.program(make("matmul", whole, w)), floats((N, D), (3 * D, 40)))


def cut(*ranges: tuple[int, int, int], size: int = 12) -> Program:
    """Return the sum of blocks of rows in zeros, as the gradient of slices is."""
    make = Builder()
    total = None
    for start, count, step in ranges:
        x = make.input((count, 3))
        block = make("unslice", x, shape=(size, 3), ranges=((start, count, step), (0, 3, 1)))
        total = block if total is None else make("add", total, block)
    assert total is not None
    return make.program(total)


def test_gradients_of_pieces_are_laid_side_by_side() -> None:
    program = cut((8, 4, 1), (0, 5, 1), (5, 3, 1))
    arrays = floats((4, 3), (5, 3), (3, 3))
    check(program, arrays)
    left = [i.op.name for i in remove_dead(simplify(program)).instructions]
    assert left == ["add", "add", "add", "concat"]


def test_zeros_keep_the_sign_that_a_sum_gives_them() -> None:
    program = remove_dead(simplify(cut((0, 6, 1), (6, 6, 1))))
    (found,) = run(program, [np.full((6, 3), -0.0, np.float32)] * 2)
    assert not np.signbit(found).any()


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param([(0, 5, 1), (6, 6, 1)], id="a gap"),
        pytest.param([(0, 7, 1), (6, 6, 1)], id="an overlap"),
        pytest.param([(0, 5, 1), (5, 6, 1)], id="too short"),
        pytest.param([(0, 6, 2), (1, 6, 2)], id="in turn"),
    ],
)
def test_blocks_that_do_not_fill_the_whole_are_added(ranges: list[tuple[int, int, int]]) -> None:
    program = cut(*ranges)
    check(program, floats(*((count, 3) for _, count, _ in ranges)))
    assert "concat" not in [i.op.name for i in simplify(program).instructions]
