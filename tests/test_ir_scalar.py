"""The table of scalar functions: ops of the same name mean the same, and dtypes are checked."""

from __future__ import annotations

import importlib
import pkgutil
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule.ops
from chainrule.core.dtype import ALL, DType, bool_, float32, float64, int32, int64, uint32, uint64
from chainrule.core.errors import ChainruleError
from chainrule.core.shape import Spec
from chainrule.graph.op import OPS
from chainrule.ir.scalar import FUNCTIONS, apply_function, check_call

for _module in pkgutil.iter_modules(chainrule.ops.__path__):
    importlib.import_module(f"chainrule.ops.{_module.name}")

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 100.0, -100.0, 1e30, np.inf, -np.inf, np.nan]
COMPUTED = [dtype for dtype in ALL if not dtype.is_half]
# Comparisons with an op of the same name; the rest has none or another meaning of its arguments.
SHARED = sorted(name for name in FUNCTIONS if name in OPS and name != "where")


def examples(dtype: DType) -> np.ndarray:
    if dtype.is_floating:
        return np.asarray(SPECIAL, dtype.compute)
    if dtype.kind == "bool":
        return np.asarray([False, True])
    info = np.iinfo(dtype.compute)
    return np.asarray([info.min, info.max, 0, 1, 2, 7, max(info.min, -3)], dtype.compute)


def accepted(name: str, dtype: DType) -> DType | None:
    """Return the result's dtype, or None where the function does not take this dtype."""
    function = FUNCTIONS[name]
    result = bool_ if function.result == "bool" else dtype
    try:
        check_call(name, [dtype] * function.arity, result)
    except ChainruleError:
        return None
    return result


@pytest.mark.parametrize("dtype", COMPUTED, ids=lambda d: d.name)
@pytest.mark.parametrize("name", SHARED)
def test_function_agrees_with_the_op_of_its_name(name: str, dtype: DType) -> None:
    op, function = OPS[name], FUNCTIONS[name]
    result = accepted(name, dtype)
    try:
        spec = op.infer(*[Spec((), dtype)] * function.arity)
    except ChainruleError:
        return
    assert result is spec.dtype
    values = examples(dtype)
    inputs = np.meshgrid(values, values, indexing="ij") if function.arity == 2 else [values]
    with np.errstate(all="ignore"):
        expected = op.eval(*inputs)
    got = apply_function(name, inputs, result)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got * 1.0), np.signbit(expected * 1.0))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_high_half_of_a_product(x: int, y: int) -> None:
    wide = [np.asarray([v], np.uint64) for v in (x, y)]
    assert int(apply_function("mulhi", wide, uint64)[0]) == x * y >> 64
    short = [np.asarray([v % 2**32], np.uint32) for v in (x, y)]
    assert int(apply_function("mulhi", short, uint32)[0]) == (x % 2**32) * (y % 2**32) >> 32


def test_whole_division_by_zero_is_zero() -> None:
    x, zero = np.asarray([5, -5], np.int32), np.zeros(2, np.int32)
    assert apply_function("floor_divide", [x, zero], int32).tolist() == [0, 0]
    assert apply_function("remainder", [x, zero], int32).tolist() == [0, 0]


def test_shift_by_too_much_or_less_than_nothing_shifts_everything_out() -> None:
    x, count = np.asarray([5, 5, -5, -5], np.int32), np.asarray([32, -1, 99, -1], np.int32)
    assert apply_function("bitwise_left_shift", [x, count], int32).tolist() == [0, 0, 0, 0]
    assert apply_function("bitwise_right_shift", [x, count], int32).tolist() == [0, 0, -1, -1]


def test_bits_of_a_float_are_kept() -> None:
    bits = apply_function("bitcast", [np.asarray([1.0, -0.0], np.float32)], uint32)
    assert [hex(b) for b in bits.tolist()] == ["0x3f800000", "0x80000000"]


def test_cast_to_bool_says_whether_it_is_not_zero() -> None:
    x = np.asarray([0.0, -0.0, 0.1, np.nan])
    assert apply_function("cast", [x], bool_).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("name", "args", "result", "rule"),
    [
        ("add", (float32,), float32, "expected 2 arguments"),
        ("add", (float32, float64), float64, "expected one dtype"),
        ("exp", (int64,), int64, "expected arguments of kind float"),
        ("less", (float32, float32), float32, "expected a result of bool"),
        ("where", (int32, float32, float32), float32, "expected a bool first"),
        ("bitcast", (float32,), int64, "expected numbers of one size"),
        ("cast", (float32,), chainrule.core.dtype.float16, "expected float32 in place of 16-bit"),
        ("ad", (float32, float32), float32, "did you mean 'add'?"),
    ],
)
def test_wrong_call_is_an_error_that_says_the_rule(
    name: str, args: tuple[DType, ...], result: DType, rule: str
) -> None:
    with pytest.raises(ChainruleError, match=re.escape(rule)):
        check_call(name, args, result)
