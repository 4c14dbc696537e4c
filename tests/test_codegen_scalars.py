"""Scalar functions in machine code against their NumPy definitions, for every dtype and width."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_tools import TARGETS, compare, kernel_of, load, run_compiled

from chainrule.codegen.math import VECTOR_MATH
from chainrule.core.dtype import (
    ALL,
    Array,
    DType,
    bool_,
    float32,
    float64,
    int32,
    int64,
    to_compute,
    uint32,
    uint64,
)
from chainrule.ir.expr import Axis, Buffer, Call, computed
from chainrule.ir.expr import add as index
from chainrule.ir.kernel import Loop, Store
from chainrule.ir.scalar import FUNCTIONS, apply_function

_REAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.7, -7.3, 1e-40, 3e38, 7.0, -3.0)
_PLAIN = [dtype for dtype in ALL if not dtype.is_half]
_SIMPLE = [f for f in FUNCTIONS.values() if f.name not in VECTOR_MATH and f.result != "any"]


def inputs(dtype: DType) -> Array:
    """Return numbers that are hard for some function."""
    if dtype is bool_:
        return np.array([False, True])
    if dtype.kind == "float":
        return np.array([*map(np.float32, _REAL), np.inf, -np.inf, np.nan], dtype=dtype.compute)
    limits = np.iinfo(dtype.storage)
    small = [0, 1, 2, 3, 5, 7, 31, 33, 100] + ([-1, -2, -3, -7] if dtype.kind == "int" else [])
    return np.array([*small, limits.min, limits.max, limits.max // 3], dtype=dtype.storage)


def apply_compiled(
    fn: str, arrays: list[Array], dtypes: list[DType], result: DType, target: str
) -> Array:
    """Return a scalar function of arrays of one length."""
    size = len(arrays[0])
    buffers = [Buffer(f"x{n}", dtype, size) for n, dtype in enumerate(dtypes)]
    out, i = Buffer("out", result, size), Axis("i", size)
    value = Call(fn, tuple(load(b, i) for b in buffers), result)
    kernel = kernel_of([Loop(i, (Store(out, index(i), value),), True, 2)])
    memory = dict(zip(buffers, arrays, strict=True))
    memory[out] = np.zeros(size, result.storage)
    return run_compiled(kernel, memory, TARGETS[target])[out]


def crossed(dtypes: list[DType]) -> list[Array]:
    """Return arrays in which every number of one meets every number of the others."""
    rows = list(itertools.product(*(inputs(dtype) for dtype in dtypes)))
    return [
        np.array([row[n] for row in rows], dtype=dtype.storage) for n, dtype in enumerate(dtypes)
    ]


CASES = [
    (function.name, dtype)
    for function in _SIMPLE
    for dtype in _PLAIN
    if dtype.kind in function.kinds and not (function.name == "mulhi" and dtype.bits < 32)
]


@pytest.mark.parametrize("target", ["host", "scalar"])
@pytest.mark.parametrize(("fn", "dtype"), CASES, ids=lambda p: getattr(p, "name", p))
def test_function_is_its_numpy_definition(fn: str, dtype: DType, target: str) -> None:
    function = FUNCTIONS[fn]
    dtypes = [dtype] * function.arity
    if function.result == "choice":
        dtypes[0] = bool_
    result = bool_ if function.result == "bool" else dtype
    arrays = crossed(dtypes)
    if fn == "fma":  # whose product may overflow only if it is rounded by itself
        arrays = [np.where(np.abs(x) == np.float32(3e38), dtype.storage.type(4), x) for x in arrays]
    expected = apply_function(fn, arrays, result)
    rtol = 1e-6 if fn == "fma" else 0.0
    got = apply_compiled(fn, arrays, dtypes, result, target)
    compare(got, expected, rtol, fn)


@pytest.mark.parametrize("fn", sorted(VECTOR_MATH))
def test_transcendental_function_is_delegated(fn: str) -> None:
    x = [np.linspace(0.1, 0.9, 40, dtype=np.float32)] * FUNCTIONS[fn].arity
    got = apply_compiled(fn, x, [float32] * len(x), float32, "host")
    np.testing.assert_allclose(got, apply_function(fn, x, float32), rtol=1e-6)


@pytest.mark.parametrize("result", _PLAIN, ids=lambda d: d.name)
@pytest.mark.parametrize("dtype", _PLAIN, ids=lambda d: d.name)
def test_cast_is_astype_in_range(dtype: DType, result: DType) -> None:
    x = inputs(dtype)
    if dtype.kind == "float" and result.kind in ("int", "uint"):
        low = 0 if result.kind == "uint" else -100
        x = x[np.isfinite(x) & (x > low - 1) & (x < 100)]
    with np.errstate(all="ignore"):
        expected = apply_function("cast", [x], result)
    for target in ("host", "scalar"):
        got = apply_compiled("cast", [x], [dtype], result, target)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("dtype", "result"), [(float32, int32), (uint32, float32), (float64, uint64), (int64, float64)]
)
def test_bitcast_keeps_the_bits(dtype: DType, result: DType) -> None:
    x = inputs(dtype)
    got = apply_compiled("bitcast", [x], [dtype], result, "host")
    assert got.tobytes() == x.tobytes()


@pytest.mark.parametrize("target", ["host", "256 bits", "scalar"])
@pytest.mark.parametrize("dtype", [d for d in ALL if d.is_half], ids=lambda d: d.name)
def test_16_bit_floats_are_read_exactly_and_rounded_to_even(dtype: DType, target: str) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    stored = bits.view(dtype.storage)
    size = len(bits)
    source, out, i = Buffer("x", dtype, size), Buffer("out", float32, size), Axis("i", size)
    kernel = kernel_of([Loop(i, (Store(out, index(i), load(source, i)),), True, 2)])
    memory = {source: stored, out: np.zeros(size, np.float32)}
    got = run_compiled(kernel, memory, TARGETS[target])[out]
    np.testing.assert_array_equal(got, to_compute(stored, dtype))


def test_computed_types_of_16_bit_floats_are_float32() -> None:
    assert all(computed(dtype) is float32 for dtype in ALL if dtype.is_half)
