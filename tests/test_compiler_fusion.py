"""What becomes one kernel: the plans an expert would write by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compiler_tools import check, kernels, kinds
from program_tools import Builder

import chainrule.ops.convolution
import chainrule.ops.random  # noqa: F401 - these register their ops
from chainrule.compiler.pipeline import build
from chainrule.compiler.program import Value
from chainrule.core.dtype import bool_, uint32, uint64
from chainrule.ir.kernel import Contraction, Kernel, Loop, Store

RNG = np.random.default_rng(1)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def softmax(make: Builder, x: Value) -> Value:
    top = make("max", x, axes=(1,), keepdims=True)
    e = make("exp", make("subtract", x, top))
    return make("divide", e, make("sum", e, axes=(1,), keepdims=True))


def test_chain_of_elements_is_one_kernel() -> None:
    make = Builder()
    x, y = make.input((30, 40)), make.input((40,))
    z = make("tanh", make("multiply", make("exp", make("add", x, y)), x))
    program = make.program(make("permute", z, axes=(1, 0)))
    check(program, [normal(30, 40), normal(40)])
    assert kinds(build(program)) == ["loops"]


def test_bias_and_activation_are_stored_by_the_contraction() -> None:
    make = Builder()
    x, w, b = make.input((50, 60)), make.input((70, 60)), make.input((70,))
    h = make("relu", make("add", make("matmul", x, make("permute", w, axes=(1, 0))), b))
    program = make.program(h)
    check(program, [normal(50, 60), normal(70, 60), normal(70)], rtol=1e-4)
    (kernel,) = kernels(build(program))
    assert isinstance(kernel, Contraction)
    assert [store.buffer.size for store in kernel.stores] == [50 * 70]


def test_small_product_is_an_ordinary_kernel() -> None:
    make = Builder()
    x, w = make.input((5, 6)), make.input((6, 7))
    program = make.program(make("matmul", x, w))
    check(program, [normal(5, 6), normal(6, 7)])
    assert kinds(build(program)) == ["loops"]


def test_softmax_is_one_kernel_that_evaluates_exp_once() -> None:
    make = Builder()
    x = make.input((64, 1000))
    program = make.program(softmax(make, x))
    check(program, [normal(64, 1000)])
    (kernel,) = kernels(build(program))
    assert isinstance(kernel, Kernel)
    assert len(kernel.scratch) == 1


def test_update_of_a_parameter_is_one_kernel_with_all_its_stores() -> None:
    make = Builder()
    p, g, m, v = (make.input((100, 300)) for _ in range(4))
    decay = make.constant(0.9)
    rest = make.constant(0.1)
    m1 = make("add", make("multiply", m, decay), make("multiply", g, rest))
    v1 = make("add", make("multiply", v, decay), make("multiply", make("multiply", g, g), rest))
    p1 = make("subtract", p, make("divide", m1, make("sqrt", v1)))
    program = make.program(m1, v1, p1)
    program.overwrites = [m, v, p]
    check(program, [normal(100, 300), normal(100, 300), normal(100, 300), normal(100, 300) ** 2])
    (kernel,) = kernels(build(program))
    assert len(kernel.written) == 3


def test_flattened_image_is_read_as_it_lies_channels_last() -> None:
    make = Builder()
    x, w, v = make.input((8, 3, 12, 12)), make.input((16, 3, 3, 3)), make.input((10, 16 * 144))
    attrs = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    y = make("relu", make("conv", x, w, **attrs))
    flat = make("reshape", y, shape=(8, 16 * 144))
    program = make.program(make("matmul", flat, make("permute", v, axes=(1, 0))))
    check(program, [normal(8, 3, 12, 12), normal(16, 3, 3, 3), normal(10, 2304)], rtol=1e-3)
    plan = build(program)
    assert kinds(plan) == ["loops", "contraction", "contraction"]
    image = kernels(plan)[1]
    assert isinstance(image, Contraction)
    steps = dict(image.stores[0].index.terms)
    assert [steps[axis] for axis in image.columns] == [1]


def test_image_is_computed_inside_its_padding() -> None:
    make = Builder()
    x, w = make.input((8, 4, 10, 10)), make.input((4, 4, 3, 3))
    attrs = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    y = make("relu", make("conv", x, w, **attrs))
    program = make.program(make("conv", y, w, **attrs))
    check(program, [normal(8, 4, 10, 10), normal(4, 4, 3, 3)], rtol=1e-3)
    plan = build(program)
    first, second = (k for k in kernels(plan) if isinstance(k, Contraction))
    assert first.stores[0].buffer in second.buffers  # nothing copies it


def test_mask_of_a_gradient_is_stored_by_the_contraction_not_by_its_sum() -> None:
    make = Builder()
    g, w, h = make.input((80, 60)), make.input((60, 90)), make.input((80, 90))
    zero = make.constant(0.0)
    back = make("where", make("less_equal", h, zero), zero, make("matmul", g, w))
    bias = make("sum", back, axes=(0,), keepdims=False)
    program = make.program(back, bias)
    check(program, [normal(80, 60), normal(60, 90), normal(80, 90)], rtol=1e-4)
    assert kinds(build(program)) == ["contraction", "loops"]


def test_two_sums_of_the_same_columns_are_one_kernel() -> None:
    make = Builder()
    x, y = make.input((200, 48)), make.input((200, 48))
    one = make("sum", x, axes=(0,), keepdims=False)
    two = make("sum", make("multiply", x, y), axes=(0,), keepdims=False)
    program = make.program(one, two)
    check(program, [normal(200, 48), normal(200, 48)], rtol=1e-4)
    assert len(kernels(build(program))) == 1


def test_dear_result_with_two_distant_readers_is_kept_not_computed_twice() -> None:
    make = Builder()
    x, w = make.input((64, 64)), make.input((64, 64))
    y = make("tanh", make("exp", x))
    program = make.program(make("matmul", y, w), make("matmul", w, make("sin", y)))
    check(program, [normal(64, 64), normal(64, 64)], rtol=1e-3)
    written = [k for k in kernels(build(program)) if isinstance(k, Kernel)]
    assert sum(str(k.name).count("tanh") for k in written) == 1


def test_random_bits_are_made_once_for_each_block_and_kept_as_a_mask() -> None:
    make = Builder()
    state, x = make.input((3,), uint64), make.input((64, 256))
    bits = make("random_bits", state, shape=(64, 256), dtype=uint32)
    mask = make("less", bits, make.constant(2**31, uint32))
    y = make("where", mask, x, make.constant(0.0))
    program = make.program(
        make("sum", y, axes=(0,), keepdims=False), make("permute", y, axes=(1, 0))
    )
    check(program, [np.uint64([1, 2, 3]), normal(64, 256)], rtol=1e-4)
    first = kernels(build(program))[0]
    assert isinstance(first, Kernel)
    loop = first.body[0]
    assert isinstance(loop, Loop)
    assert [s.buffer.dtype for s in loop.body if isinstance(s, Store)] == [bool_] * 4


@pytest.mark.parametrize("first", ["bits", "product"])
def test_random_bits_are_not_made_while_a_product_is_stored(first: str) -> None:
    """There every element would make a block of its own: four times the work."""
    make = Builder()
    state, x, w = make.input((3,), uint64), make.input((64, 96)), make.input((96, 128))
    if first == "product":
        product = make("matmul", x, w)
    bits = make("random_bits", state, shape=(64, 128), dtype=uint32)
    mask = make("less", bits, make.constant(2**31, uint32))
    if first == "bits":
        product = make("matmul", x, w)
    program = make.program(make("where", mask, product, make.constant(0.0)))
    check(program, [np.uint64([1, 2, 3]), normal(64, 96), normal(96, 128)], rtol=1e-4)
    assert sorted(kinds(build(program))) == ["contraction", "loops"]


def test_pointwise_convolution_is_a_contraction() -> None:
    make = Builder()
    x, w = make.input((4, 8, 6, 6)), make.input((16, 8, 1, 1))
    attrs = {"stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    program = make.program(make("relu", make("conv", x, w, **attrs)))
    check(program, [normal(4, 8, 6, 6), normal(16, 8, 1, 1)], rtol=1e-4)
    assert kinds(build(program)) == ["loops"]  # too small to be one
    make = Builder()
    x, w = make.input((16, 8, 16, 16)), make.input((16, 8, 1, 1))
    program = make.program(make("relu", make("conv", x, w, **attrs)))
    check(program, [normal(16, 8, 16, 16), normal(16, 8, 1, 1)], rtol=1e-4)
    assert kinds(build(program)) == ["contraction"]


def test_memory_of_dead_results_is_used_again() -> None:
    make = Builder()
    x, w = make.input((256, 256)), make.input((256, 256))
    for _ in range(6):
        x = make("matmul", make("relu", x), w)
    plan = build(make.program(x))
    one = 256 * 256 * 4
    assert plan.arena <= 3 * one
    assert len(plan.temporaries) >= 5


def test_chunks_depend_on_the_size_of_the_work() -> None:
    def chunks(size: int) -> int:
        make = Builder()
        x = make.input((size,))
        (kernel,) = kernels(build(make.program(make("exp", x))))
        assert isinstance(kernel, Kernel)
        count = math.prod(axis.extent for axis in kernel.grid)
        return -(-count // kernel.grain)

    assert chunks(1000) == 1
    assert chunks(2**20) >= 8
