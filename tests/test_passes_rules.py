"""Single rewrites: what each rule of algebra and of folding makes of a small program."""

from __future__ import annotations

import math

import numpy as np
import pytest
from program_tools import Builder

from chainrule.compiler.algebra import simplify
from chainrule.compiler.dead import remove_dead
from chainrule.compiler.folding import LIMIT, fold_constants
from chainrule.compiler.program import Program, Value, verify
from chainrule.core.dtype import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)


def ops(program: Program) -> list[str]:
    """Return the names of the ops that are left after algebra."""
    result = remove_dead(simplify(program))
    verify(result, "algebra")
    return [instruction.op.name for instruction in result.instructions]


def left(name: str, x: Value | float, y: Value | float, dtype: DType = float32) -> list[str]:
    """Return what is left of an op on an input ("x") and a number."""
    build = Builder()
    given = build.input((2, 3), dtype)
    operands = [given if v == "x" else build.constant(v, dtype) for v in (x, y)]
    return ops(build.program(build(name, *operands)))


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("multiply", "x", 1.0, []),
        ("multiply", 1.0, "x", []),
        ("multiply", "x", -1.0, ["negative"]),
        ("multiply", "x", 0.0, ["multiply"]),
        ("add", "x", -0.0, []),
        ("add", -0.0, "x", []),
        ("add", "x", 0.0, ["add"]),
        ("subtract", "x", 0.0, []),
        ("subtract", "x", -0.0, ["subtract"]),
        ("subtract", -0.0, "x", ["negative"]),
        ("subtract", 0.0, "x", ["subtract"]),
        ("divide", "x", 1.0, []),
        ("divide", "x", 8.0, ["multiply"]),
        ("divide", "x", -0.25, ["multiply"]),
        ("divide", "x", 3.0, ["divide"]),
        ("divide", "x", 0.0, ["divide"]),
        ("divide", "x", math.inf, ["divide"]),
        ("divide", "x", 2.0**127, ["divide"]),
        ("divide", 2.0, "x", ["divide"]),
        ("pow", "x", 2.0, ["multiply"]),
        ("pow", "x", 1.0, []),
        ("pow", "x", 0.0, ["full"]),
        ("pow", "x", 3.0, ["pow"]),
        ("maximum", "x", -math.inf, []),
        ("minimum", math.inf, "x", []),
        ("maximum", "x", 0.0, ["maximum"]),
    ],
)
def test_number_as_operand(name: str, x: object, y: object, expected: list[str]) -> None:
    assert left(name, x, y) == expected


@pytest.mark.parametrize(
    ("name", "x", "y", "dtype", "expected"),
    [
        ("add", "x", 0, int32, []),
        ("add", "x", False, bool_, []),
        ("multiply", "x", True, bool_, []),
        ("multiply", "x", -1, int32, ["negative"]),
        ("multiply", "x", 255, uint8, ["multiply"]),
        ("subtract", 0, "x", int64, ["negative"]),
        ("divide", "x", 2.0**15, float16, ["divide"]),
        ("divide", "x", 2.0**14, float16, ["multiply"]),
        ("divide", "x", 2.0**100, bfloat16, ["multiply"]),
        ("divide", "x", 2.0**1000, float64, ["multiply"]),
    ],
)
def test_number_as_operand_of_other_dtypes(
    name: str, x: object, y: object, dtype: DType, expected: list[str]
) -> None:
    assert left(name, x, y, dtype) == expected


def test_number_is_found_through_full_and_expand() -> None:
    build = Builder()
    x = build.input((2, 3))
    ones = build("full", shape=(1, 3), value=1.0, dtype=float32)
    assert ops(build.program(build("multiply", x, build("expand", ones, shape=(2, 3))))) == []


def test_operand_without_effect_that_is_larger_leaves_an_expansion() -> None:
    build = Builder()
    x = build.input((3,))
    ones = build("full", shape=(2, 3), value=1.0, dtype=float32)
    assert ops(build.program(build("multiply", x, ones))) == ["expand"]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (("negative", "negative"), []),
        (("negative", "abs"), ["abs"]),
        (("abs", "abs"), ["abs"]),
        (("relu", "relu"), ["relu"]),
        (("floor", "floor", "floor"), ["floor"]),
        (("clone",), []),
        (("exp", "exp"), ["exp", "exp"]),
    ],
)
def test_chain_of_unary_ops(chain: tuple[str, ...], expected: list[str]) -> None:
    build = Builder()
    x = build.input((2, 3))
    for name in chain:
        x = build(name, x)
    assert ops(build.program(x)) == expected


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ((float32, float32), []),
        ((float32, float64, float32), []),
        ((float32, float64, float16), ["astype"]),
        ((float64, float32, float64), ["astype", "astype"]),
        ((float16, bfloat16, float32), ["astype", "astype"]),
        ((int8, int32, uint8), ["astype"]),
        ((int32, float32, int64), ["astype", "astype"]),
        ((int32, float64, int64), ["astype"]),
        ((int32, float64, uint8), ["astype", "astype"]),
        ((uint32, int64, float32), ["astype"]),
        ((uint8, int8, int32), ["astype", "astype"]),
        ((int8, uint64, int8), ["astype", "astype"]),
        ((bool_, float16, int32), ["astype"]),
        ((int64, bool_, int64), ["astype", "astype"]),
    ],
)
def test_chain_of_casts(chain: tuple[DType, ...], expected: list[str]) -> None:
    build = Builder()
    x = build.input((2, 3), chain[0])
    for dtype in chain[1:]:
        x = build("astype", x, dtype=dtype)
    assert ops(build.program(x)) == expected


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([("reshape", {"shape": (2, 1, 3)})], []),
        ([("reshape", {"shape": (6,)}), ("reshape", {"shape": (2, 1, 3)})], []),
        ([("reshape", {"shape": (6,)}), ("reshape", {"shape": (3, 2)})], ["reshape"]),
        ([("permute", {"axes": (0, 1, 2)})], []),
        ([("permute", {"axes": (1, 0, 2)})], ["reshape"]),
        ([("permute", {"axes": (2, 0, 1)}), ("permute", {"axes": (1, 2, 0)})], []),
        ([("permute", {"axes": (2, 0, 1)}), ("permute", {"axes": (0, 2, 1)})], ["permute"]),
        ([("expand", {"shape": (2, 4, 3)}), ("expand", {"shape": (5, 2, 4, 3)})], ["expand"]),
        ([("flip", {"axes": (0, 2)}), ("flip", {"axes": (2, 0)})], []),
        ([("flip", {"axes": (1,)})], []),
        ([("flip", {"axes": (0,)})], ["flip"]),
        ([("slice", {"ranges": ((0, 2, 1), (0, 1, 5), (0, 3, 1))})], []),
        ([("slice", {"ranges": ((1, 2, -1), (0, 1, 1), (0, 3, 1))})], ["slice"]),
        ([("slice", {"ranges": ((1, 2, -1), (0, 1, 1), (2, 3, -1))})] * 2, []),
        ([("pad", {"widths": ((0, 0),) * 3, "value": 1.0})], []),
        ([("pad", {"widths": ((0, 1),) * 3, "value": 1.0})] * 2, ["pad"]),
        ([("pad", {"widths": ((0, 1),) * 3, "value": v}) for v in (0.0, -0.0)], ["pad", "pad"]),
        ([("pad", {"widths": ((0, s),) * 3, "value": 0.0}) for s in (1, -1)], ["pad", "pad"]),
        ([("concat", {"axis": 1})], []),
        ([("sum", {"axes": (), "keepdims": False})], ["add"]),
        ([("sum", {"axes": (1,), "keepdims": False})], ["add", "reshape"]),
        ([("max", {"axes": (1,), "keepdims": True})], []),
        ([("prod", {"axes": (1,), "keepdims": False})], ["reshape"]),
        ([("sum", {"axes": (0,), "keepdims": False})], ["sum"]),
    ],
)
def test_chain_of_movements(
    chain: list[tuple[str, dict[str, object]]], expected: list[str]
) -> None:
    build = Builder()
    x = build.input((2, 1, 3))
    for name, attrs in chain:
        x = build(name, x, **attrs)
    assert ops(build.program(x)) == expected


def test_sum_of_integers_over_an_axis_of_size_one_keeps_its_wider_dtype() -> None:
    build = Builder()
    x = build.input((2, 1), int8)
    assert ops(build.program(build("sum", x, axes=(1,), keepdims=True))) == ["astype"]


def test_signs_are_moved_into_sums_and_cancelled_in_products() -> None:
    build = Builder()
    x, y = build.input((2,)), build.input((2,))
    minus_x, minus_y = build("negative", x), build("negative", y)
    program = build.program(
        build("add", x, minus_y),
        build("add", minus_x, y),
        build("subtract", x, minus_y),
        build("multiply", minus_x, minus_y),
        build("divide", minus_x, minus_y),
    )
    assert ops(program) == ["subtract", "subtract", "add", "multiply", "divide"]


def test_choice_with_a_known_condition_is_gone() -> None:
    build = Builder()
    x, y = build.input((2, 3)), build.input(())
    yes, no = build.constant(True, bool_), build.constant(False, bool_)
    taken, other = build("where", yes, x, y), build("where", no, x, y)
    program = build.program(taken, other, build("where", build("less", x, y), y, y))
    assert ops(program) == ["expand", "expand"]


def test_inverted_condition_exchanges_the_choices() -> None:
    build = Builder()
    x, c = build.input((2,)), build.input((2,), bool_)
    where = build("where", build("bitwise_invert", c), x, build.constant(0.0))
    assert ops(build.program(where)) == ["where"]


def test_limits_at_infinity_go() -> None:
    build = Builder()
    x = build.input((2,))
    low, high, zero = (build.constant(v) for v in (-math.inf, math.inf, 0.0))
    program = build.program(
        build("clip", x, low, high), build("clip", x, zero, high), build("clip", x, low, zero)
    )
    assert ops(program) == ["maximum", "minimum"]


def test_operand_that_broadcasts_by_itself_is_not_expanded() -> None:
    build = Builder()
    x, row = build.input((2, 3)), build.input((3,))
    assert ops(build.program(build("add", x, build("expand", row, shape=(2, 3))))) == ["add"]


def test_both_operands_expanded_leave_one_expansion() -> None:
    build = Builder()
    row, column = build.input((1, 3)), build.input((3,))
    both = [build("expand", v, shape=(2, 3)) for v in (row, column)]
    assert ops(build.program(build("add", *both))) == ["expand", "add"]


def test_op_on_repeated_elements_comes_before_the_repetition() -> None:
    build = Builder()
    row = build.input((3,))
    wide = build("expand", row, shape=(100, 3))
    result = simplify(build.program(build("exp", build("multiply", wide, build.constant(3.0)))))
    last = remove_dead(result).instructions
    assert [i.op.name for i in last] == ["multiply", "exp", "expand"]
    assert last[1].output.spec.shape == (3,)


# --- folding -----------------------------------------------------------------------------------


def folded(program: Program) -> Program:
    result = remove_dead(fold_constants(program))
    verify(result, "folding")
    return result


@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, float64])
def test_constant_is_rounded_as_the_op_rounds(dtype: DType) -> None:
    build = Builder()
    third = build("divide", build.constant([1.0, 2.0], dtype), build.constant(3.0, dtype))
    program = folded(build.program(build("multiply", third, third)))
    assert program.instructions == []
    (array,) = program.constants.values()
    assert array.dtype == dtype.storage


def test_repeated_numbers_stay_instructions() -> None:
    build = Builder()
    zeros = build("full", shape=(50,), value=0.0, dtype=float32)
    spread = build("expand", build.constant(2.0), shape=(50,))
    ones = build("exp", zeros)
    program = folded(build.program(zeros, spread, ones, build("add", ones, spread)))
    assert [i.op.name for i in program.instructions] == ["full", "expand", "full", "full"]
    assert program.instructions[-1].attrs["value"] == 3.0


def test_single_number_becomes_a_constant() -> None:
    build = Builder()
    seed = build("full", shape=(), value=1.0, dtype=float32)
    program = folded(build.program(build("negative", seed)))
    assert [a.item() for a in program.constants.values()] == [-1.0]


def test_large_result_is_not_kept() -> None:
    build = Builder()
    count = LIMIT // 4 + 1
    line = build("arange", start=0, step=1, count=count, dtype=float32)
    program = folded(build.program(build("exp", line)))
    assert [i.op.name for i in program.instructions] == ["arange", "exp"]


def test_large_constant_is_computed_with_but_not_copied_by_moving() -> None:
    build = Builder()
    large = build.constant(np.ones((LIMIT // 4, 2)))
    program = folded(
        build.program(
            build("permute", large, axes=(1, 0)),
            build("sum", large, axes=(0,), keepdims=False),
            build("exp", large),
        )
    )
    assert [i.op.name for i in program.instructions] == ["permute", "full", "full"]


def test_random_bits_of_a_constant_state_stay() -> None:
    build = Builder()
    state = build.constant([1, 2, 3], uint64)
    bits = build("random_bits", state, shape=(4,), dtype=uint32)
    program = folded(build.program(bits))
    assert [i.op.name for i in program.instructions] == ["random_bits"]


def test_constant_index_out_of_range_waits_for_the_run() -> None:
    build = Builder()
    x, index = build.constant([1.0, 2.0]), build.constant([5], int64)
    program = folded(build.program(build("index", x, index, axes=(0,), position=0)))
    assert [i.op.name for i in program.instructions] == ["index"]
