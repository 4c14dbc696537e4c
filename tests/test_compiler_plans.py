"""Plans mean what their programs mean; the oracle is `Op.eval`."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from compiler_tools import check, kernels, run
from program_tools import Builder, Chance, numbers

from chainrule.compiler.pipeline import build
from chainrule.compiler.program import Assertion
from chainrule.core.dtype import as_dtype, bool_, float32, int64
from chainrule.core.errors import StateError
from chainrule.graph.op import OPS
from chainrule.graph.sample import Sample
from chainrule.ir.kernel import Contraction, HostCall

RNG = np.random.default_rng(0)

SAMPLES = [
    pytest.param(name, sample, id=f"{name}-{sample.name or number}")
    for name, op in OPS.items()
    for number, sample in enumerate(op.samples())
]


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_every_op_is_planned_as_it_evaluates(name: str, sample: Sample) -> None:
    arrays = [given.make(np.random.default_rng(0)) for given in sample.inputs]
    arrays = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
    build_ = Builder()
    inputs = [build_.input(a.shape, as_dtype(a.dtype)) for a in arrays]
    result = build_(name, *inputs, **sample.attrs)
    check(build_.program(result, result), arrays)


@pytest.mark.parametrize("seed", range(40))
def test_random_program_is_planned_as_it_evaluates(seed: int) -> None:
    program = Chance(seed).program
    rng = np.random.default_rng(seed)
    arrays = [numbers(rng, value.spec) for value in program.inputs]
    check(program, arrays, rtol=1e-4)


def test_output_that_is_an_input_or_a_constant_or_twice_given_is_copied() -> None:
    make = Builder()
    x = make.input((3,))
    c = make.constant([1.0, 2.0])
    y = make("exp", x)
    check(make.program(x, c, y, y), [np.float32([1, 2, 3])])


def test_op_without_formulas_is_called_between_kernels() -> None:
    make = Builder()
    x = make.input((4, 5))
    order = make(
        "argsort", make("negative", make("permute", x, axes=(1, 0))), axis=0, descending=False
    )
    program = make.program(make("add", order, order))
    check(program, [RNG.normal(size=(4, 5)).astype(np.float32)])
    assert any(isinstance(step, HostCall) for step in build(program).steps)


def test_reshape_that_mixes_axes_reads_row_major_memory() -> None:
    make = Builder()
    x = make.input((6, 4))
    y = make("exp", make("permute", x, axes=(1, 0)))
    z = make("reshape", make("multiply", y, y), shape=(8, 3))
    check(make.program(make("add", z, z), y), [RNG.normal(size=(6, 4)).astype(np.float32)])


def test_large_sums_are_cut_into_parts() -> None:
    make = Builder()
    x = make.input((1009, 131))
    y = make("exp", x)
    whole = make("sum", y, axes=(0, 1), keepdims=False)
    columns = make("sum", y, axes=(0,), keepdims=True)
    program = make.program(whole, columns)
    check(program, [RNG.normal(size=(1009, 131)).astype(np.float32)], rtol=1e-4)
    assert max(len(kernel.grid) for kernel in kernels(build(program))) > 0


def test_long_vector_that_no_block_divides_is_guarded() -> None:
    make = Builder()
    x = make.input((100_003,))
    check(make.program(make("exp", x)), [RNG.normal(size=100_003).astype(np.float32)])


def test_updated_input_is_read_by_all_others_before_it_is_overwritten() -> None:
    make = Builder()
    w, x = make.input((64, 64)), make.input((64, 64))
    y = make("matmul", x, w)
    step = make("matmul", make("permute", x, axes=(1, 0)), y)
    new = make("subtract", w, step)
    back = make("matmul", y, make("permute", w, axes=(1, 0)))
    program = make.program(new, back)
    program.overwrites[0] = w
    arrays = [RNG.normal(size=(64, 64)).astype(np.float32) for _ in range(2)]
    check(program, arrays, rtol=1e-3)


def test_update_whose_old_value_is_needed_after_it_is_copied_at_the_end() -> None:
    make = Builder()
    w = make.input((4, 5))
    new = make("add", w, make("flip", w, axes=(0, 1)))
    late = make("multiply", make("sum", new, axes=(0, 1), keepdims=False), w)
    program = make.program(new, late)
    program.overwrites[0] = w
    check(program, [RNG.normal(size=(4, 5)).astype(np.float32)])


def test_failed_assertion_leaves_outputs_alone() -> None:
    make = Builder()
    w, flag = make.input((8,)), make.input((), bool_)
    new = make("exp", w)
    program = make.program(new)
    program.overwrites[0] = w
    program.assertions.append(Assertion(flag, StateError("flag is down")))
    good = np.float32(np.arange(8))
    check(program, [good, np.bool_(True)])
    with pytest.raises(StateError, match="flag is down"):
        run(program, [good, np.bool_(False)])
    assert type(build(program).steps[0]).__name__ == "Check"


def test_dump_folder_gets_every_stage(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("CHAINRULE_DUMP", str(tmp_path))
    make = Builder()
    x = make.input((3, 4), float32)
    build(make.program(make("sum", x, axes=(1,), keepdims=False)))
    stages = {path.name.split(".")[2] for path in tmp_path.iterdir()}
    assert {"traced", "folding", "algebra", "dead", "formulas", "plan"} <= stages


@pytest.mark.parametrize("enabled", [True, False])
def test_planning_leaves_the_collection_of_cycles_as_it_was(enabled: bool) -> None:
    make = Builder()
    program = make.program(make("exp", make.input((2,))))
    try:
        (gc.enable if enabled else gc.disable)()
        build(program)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_scatter_of_equal_rows_adds_in_order() -> None:
    make = Builder()
    x = make.input((100, 40))
    index = make.input((300, 40), int64)
    source = make.input((300, 40))
    gathered = make("gather", x, index, axis=0)
    back = make("ungather", make("multiply", gathered, source), index, size=100, axis=0)
    arrays = [
        RNG.normal(size=(100, 40)),
        RNG.integers(0, 100, (300, 40)),
        RNG.normal(size=(300, 40)),
    ]
    check(
        make.program(back),
        [arrays[0].astype(np.float32), arrays[1], arrays[2].astype(np.float32)],
        rtol=1e-4,
    )


def test_columns_of_a_large_scatter_are_handed_out_in_blocks() -> None:
    make = Builder()
    x, index = make.input((128, 1024)), make.input((128,), int64)
    program = make.program(make("unindex", x, index, shape=(5, 1024), axes=(0,), position=0))
    rows = RNG.integers(-5, 5, 128)
    check(program, [RNG.normal(size=(128, 1024)).astype(np.float32), rows], rtol=1e-4)
    assert [axis.extent for axis in kernels(build(program))[-1].grid] == [2]


def test_gradient_of_a_weight_lies_as_the_weight() -> None:
    make = Builder()
    x, grad, weight = make.input((50, 40)), make.input((50, 30)), make.input((30, 40))
    product = make("matmul", make("permute", x, axes=(1, 0)), grad)  # [40, 30]
    turned = make("permute", product, axes=(1, 0))
    norm = make("sum", make("multiply", turned, turned), axes=(0, 1), keepdims=False)
    program = make.program(make("subtract", weight, make("multiply", turned, norm)))
    arrays = [RNG.normal(size=v.spec.shape).astype(np.float32) for v in program.inputs]
    check(program, arrays, rtol=1e-4)
    first = kernels(build(program))[0]
    assert isinstance(first, Contraction)
    assert [axis.extent for axis in first.columns] == [40]  # neighbours in the weight's rows
