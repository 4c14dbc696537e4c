"""What the fuzzer has found, as small as it made it: each stays as it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fuzz_graphs import compiled

import chainrule
import chainrule.nn.functional as F
from chainrule.core.dtype import DType, bfloat16, float16, float32, float64
from chainrule.graph.op import OPS
from chainrule.graph.tensor import Tensor, apply, tensor


def numbers(*shape: int, dtype: DType = float32) -> Tensor:
    size = int(np.prod(shape))
    return tensor(np.arange(size).reshape(shape) % 13 - 6.0, dtype=dtype)


def expect_same(function: Any, *inputs: Tensor) -> None:
    for got, wanted in zip(compiled(function)(*inputs), function(*inputs), strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))


def test_result_where_llvms_new_numbering_of_values_broke_the_code() -> None:
    expect_same(
        lambda x, w: [F.conv_transpose3d(x, w)], numbers(1, 2, 2, 1, 2), numbers(2, 2, 2, 3, 2)
    )


def test_tensor_without_dimensions_read_from_outside_keeps_its_shape() -> None:
    outside = tensor(2.0)
    run = chainrule.compile(lambda x: x * outside)
    for _ in range(2):
        assert run(numbers(3)).shape == (3,)
    assert outside.array.shape == ()


def test_position_that_runs_over_three_dimensions_of_a_transposed_tensor() -> None:
    def f(x: Tensor) -> list[Tensor]:
        return [F.unfold(x, kernel_size=2, stride=2).reshape(-1)[:5]]

    expect_same(f, numbers(2, 4, 4))


@pytest.mark.parametrize("kernel", [(1, 17, 1), (1, 17, 3)])
def test_transposed_convolution_whose_steps_are_wider_than_its_kernel(
    kernel: tuple[int, int, int],
) -> None:
    expect_same(
        lambda x, w: [F.conv_transpose1d(x, w, stride=2)], numbers(5, 1, 8), numbers(*kernel)
    )


def test_tensor_without_elements_gives_no_memory_back() -> None:
    w = numbers(17, 4, dtype=float16).requires_grad_()

    def f(x: Tensor, empty: Tensor) -> list[Tensor]:
        w.grad = None
        y = F.sigmoid(x @ w)
        order = chainrule.argsort(empty.reshape(0, 2), axis=1, descending=True)
        y.sum().backward()
        return [y, order]

    run = compiled(f)
    x, empty = numbers(9, 17, dtype=float16), numbers(0)
    run(x, empty)
    got = w.grad
    f(x, empty)
    assert got is not None
    assert w.grad is not None
    np.testing.assert_allclose(
        np.asarray(got, np.float32), np.asarray(w.grad, np.float32), 1e-2, 1e-2
    )


def test_tensor_with_two_padded_copies() -> None:
    def f(x: Tensor, w: Tensor) -> list[Tensor]:
        return [F.conv_transpose1d(x, w), F.pad(x, (2, 1))]

    expect_same(f, numbers(1, 2, 4, dtype=bfloat16), numbers(2, 2, 3, dtype=bfloat16))


def test_padded_output_is_written_after_the_checks() -> None:
    def f(flags: Tensor, first: Tensor, second: Tensor, x: Tensor) -> list[Tensor]:
        found = flags[first]
        return [F.pad(found, (2, 0)), x[second] * 2.0]

    flags, at = tensor([True, False, True]), tensor([1, -2, 0])
    expect_same(f, flags, at, tensor([-1]), numbers(3, 4))


def test_concatenation_with_a_part_without_elements() -> None:
    def f(x: Tensor, y: Tensor) -> list[Tensor]:
        return [chainrule.sort(chainrule.cat([x, y.abs()], 1))]

    expect_same(f, chainrule.zeros(2, 0), numbers(2, 3))


def test_result_of_a_loop_that_nobody_reads_has_a_place() -> None:
    def f(x: Tensor) -> list[Tensor]:
        def step(h: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            h = (h + row).tanh()
            return h, h * row

        x.grad = None
        _, hs = chainrule.scan(step, chainrule.zeros(()), x)
        hs[:0].sum().backward()
        return [hs[:0]]

    expect_same(f, numbers(17).requires_grad_())


@pytest.mark.parametrize("function", [chainrule.erf, chainrule.tanh])
def test_number_that_is_shortened_before_and_after_an_odd_function(
    function: Callable[[Tensor], Tensor],
) -> None:
    expect_same(lambda x: [function(x.float()).half()], tensor(-0.3, dtype=float64))


def test_flat_position_in_a_product_is_no_image_that_a_kernel_slides_over() -> None:
    def f(x: Tensor, w: Tensor) -> list[Tensor]:
        w.grad = None
        rows = x.double().reshape(48, 2, 1, 31)
        (rows @ w.T).sum().backward()
        return [rows]

    expect_same(f, numbers(16, 31, 6), numbers(9, 31, dtype=float64).requires_grad_())


def test_output_in_an_inputs_memory_is_not_begun_while_the_input_is_read() -> None:
    def shifted(x: Tensor) -> list[Tensor]:
        first = apply(OPS["slice"], x.reshape(12), ranges=((0, 4, 1),)).reshape(2, 2)
        new = apply(OPS["slice_scatter"], x, first, ranges=((1, 2, 1), (0, 2, 2)))
        with chainrule.no_grad():
            x.copy_(new)
        return [new]

    expect_same(lambda x: shifted(x.detach()), numbers(3, 4))
    one, other = numbers(3, 4), numbers(3, 4)
    run = compiled(shifted)
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(run(one)[0]), np.asarray(shifted(other)[0]))
