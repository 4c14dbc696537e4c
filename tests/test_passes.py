"""Program passes on random programs: values as before, the given program untouched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from program_tools import Builder, Chance, evaluate, numbers

from chainrule.compiler.algebra import simplify
from chainrule.compiler.common import share_common
from chainrule.compiler.dead import remove_dead
from chainrule.compiler.folding import fold_constants
from chainrule.compiler.program import Program, verify
from chainrule.core.dtype import Array, DType, float32, to_compute

Pass = Callable[[Program], Program]


def every_pass(program: Program) -> Program:
    for one in (fold_constants, simplify, fold_constants, share_common, remove_dead):
        program = one(program)
    return program


PASSES: dict[str, Pass] = {
    "folding": fold_constants,
    "algebra": simplify,
    "common": share_common,
    "dead": remove_dead,
    "all": every_pass,
}


def assert_same(found: Array, expected: Array, dtype: DType) -> None:
    """Compare bits; of NaN only that it is one."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    x, y = to_compute(found, dtype), to_compute(expected, dtype)
    np.testing.assert_array_equal(x, y)
    if dtype.is_floating:
        known = ~np.isnan(y)
        np.testing.assert_array_equal(np.signbit(x)[known], np.signbit(y)[known])


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("block", range(4))
def test_pass_keeps_the_values_of_random_programs(name: str, block: int) -> None:
    for seed in range(block * 60, block * 60 + 60):
        chance = Chance(seed)
        program = chance.program
        inputs = [numbers(chance.rng, value.spec) for value in program.inputs]
        expected = evaluate(program, inputs)
        changed = PASSES[name](program)
        verify(changed, f"{name} of program {seed}")
        for found, array, value in zip(
            evaluate(changed, inputs), expected, program.outputs, strict=True
        ):
            assert_same(found, array, value.spec.dtype)


@pytest.mark.parametrize("name", PASSES)
def test_pass_leaves_the_given_program_as_it_is(name: str) -> None:
    for seed in range(40):
        program = Chance(seed).program
        before = program.text
        lists = [list(program.instructions), list(program.constants), list(program.outputs)]
        PASSES[name](program)
        assert program.text == before
        assert [*map(list, (program.instructions, program.constants, program.outputs))] == lists


def test_second_run_of_all_passes_changes_nothing() -> None:
    for seed in range(40):
        once = every_pass(Chance(seed).program)
        assert every_pass(once).text == once.text


def test_dead_instructions_and_constants_go_and_inputs_stay() -> None:
    build = Builder()
    x, unread = build.input((2,)), build.input((3,))
    build("exp", x)
    build.constant(3.0)
    kept = build("negative", x)
    program = remove_dead(build.program(kept))
    assert [i.op.name for i in program.instructions] == ["negative"]
    assert program.inputs == [x, unread]
    assert program.constants == {}


def test_common_values_are_made_once_by_the_first_instruction() -> None:
    build = Builder()
    x, y = build.input((2,)), build.input((2,))
    first, second = build("add", x, y), build("add", y, x)
    program = share_common(
        build.program(build("exp", second), build("exp", first), build("subtract", x, y))
    )
    assert [i.op.name for i in program.instructions] == ["add", "exp", "subtract"]
    assert program.outputs[0] is program.outputs[1]
    assert program.instructions[0].output is first


def test_common_keeps_what_differs_in_the_sign_of_zero_or_in_order() -> None:
    build = Builder()
    x, y = build.input((2,)), build.input((2,))
    outputs = (
        build("full", shape=(2,), value=0.0, dtype=float32),
        build("full", shape=(2,), value=-0.0, dtype=float32),
        build("maximum", x, y),
        build("maximum", y, x),
        build("add", x, build.constant(0.0)),
        build("add", x, build.constant(-0.0)),
    )
    program = share_common(build.program(*outputs))
    assert len(program.instructions) == len(outputs)
    assert len(program.constants) == 2


def test_common_leaves_instructions_with_unhashable_attributes() -> None:
    build = Builder()
    x = build.input((2, 3))
    outputs = [build("permute", x, axes=[1, 0]) for _ in range(2)]
    assert len(share_common(build.program(*outputs)).instructions) == 2
