"""Vector mathematics against mpmath, NumPy and SciPy, in units in the last place.

Errors are counted in the last place of the exact result; infinity counts as the power of two
behind the largest number.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest
import scipy.special

from chainrule.codegen.machine import assemble, load
from chainrule.codegen.math import ERROR_BOUNDS, VECTOR_MATH, vector_math
from chainrule.codegen.text import Function, Module
from chainrule.core.dtype import Array, DType, float32, float64

BINARY = {"atan2", "hypot", "logaddexp", "pow"}
UNARY = sorted(VECTOR_MATH - BINARY)
ALL = sorted(VECTOR_MATH)
DTYPES = pytest.mark.parametrize("dtype", [float32, float64], ids=str)
FULL = {float32: 16, float64: 8}

# The same functions in NumPy and SciPy, for 64-bit numbers.
NUMPY: dict[str, Callable[..., Array]] = {
    **{name: getattr(np, name) for name in ALL if hasattr(np, name)},
    **{name: getattr(scipy.special, name) for name in ("erf", "erfc", "erfinv")},
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": scipy.special.expit,
}

Real = mpmath.mpf
MPMATH: dict[str, Callable[..., Real]] = {
    **{name: getattr(mpmath, name) for name in ALL if hasattr(mpmath, name)},
    "log2": lambda x: mpmath.log(x, 2),
    "log10": lambda x: mpmath.log(x, 10),
    "logaddexp": lambda x, y: max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y))),
    "pow": mpmath.power,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
}

_loaded = itertools.count()
_cache: dict[tuple[DType, int, bool | None], dict[str, Callable[..., Array]]] = {}


def functions(
    dtype: DType, lanes: int, fused: bool | None = None
) -> dict[str, Callable[..., Array]]:
    """Return all functions for arrays whose size is a multiple of 16."""
    key = (dtype, lanes, fused)
    if key not in _cache:
        module = Module()
        for fn in ALL:
            write_loop(module, fn, dtype, lanes, fused)
        addresses = load(assemble(module.text), ALL, f"vector_math_{next(_loaded)}")
        _cache[key] = {fn: callable_at(addresses[fn], fn, dtype) for fn in ALL}
    return _cache[key]


def write_loop(module: Module, fn: str, dtype: DType, lanes: int, fused: bool | None) -> None:
    """Write ``void fn(inputs..., output, count)``."""
    item = "float" if dtype is float32 else "double"
    vector = item if lanes == 1 else f"<{lanes} x {item}>"
    arity = 2 if fn in BINARY else 1
    inputs = [f"%x{n}" for n in range(arity)]
    function = Function(module, fn, [*(f"ptr {x}" for x in inputs), "ptr %out", "i64 %count"])
    counter = function.alloca("i64")
    function.effect(f"store i64 0, ptr {counter}")
    function.effect("br label %loop")
    function.begin("loop")
    index = function.value(f"load i64, ptr {counter}")

    def address(base: str) -> str:
        return function.value(f"getelementptr {item}, ptr {base}, i64 {index}")

    places = [address(x) for x in inputs]
    values = [function.value(f"load {vector}, ptr {p}, align {dtype.itemsize}") for p in places]
    result = vector_math(function, fn, values, dtype, lanes, fused=fused)
    function.effect(f"store {vector} {result}, ptr {address('%out')}, align {dtype.itemsize}")
    following = function.value(f"add i64 {index}, {lanes}")
    function.effect(f"store i64 {following}, ptr {counter}")
    more = function.value(f"icmp ult i64 {following}, %count")
    function.effect(f"br i1 {more}, label %loop, label %end")
    function.begin("end")
    function.effect("ret void")
    function.finish()


def callable_at(address: int, fn: str, dtype: DType) -> Callable[..., Array]:
    """Return the loop at an address as a function of arrays of any size."""
    pointers = [ctypes.c_void_p] * (3 if fn in BINARY else 2)
    native = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)(address)

    def run(*inputs: Array) -> Array:
        size = inputs[0].size
        rest = -size % 16
        arrays = [np.pad(x.astype(dtype.compute), (0, rest), mode="edge") for x in inputs]
        out = np.empty_like(arrays[0])
        native(*(a.ctypes.data for a in (*arrays, out)), out.size)
        return out[:size]

    return run


def bits_of(x: Array) -> Array:
    """Return the bits, all NaN alike."""
    x = np.where(np.isnan(x), np.array(np.nan, x.dtype), x)
    return x.view(np.uint32 if x.dtype == np.float32 else np.uint64)


def random_bits(rng: np.random.Generator, dtype: DType, size: int) -> Array:
    """Return numbers of all exponents, subnormal ones, infinities and NaN included."""
    whole = rng.integers(0, 2**dtype.bits, size, dtype=f"u{dtype.itemsize}")
    return whole.view(dtype.compute)


def samples(fn: str, dtype: DType, size: int) -> Iterator[Array]:
    """Yield one array of arguments for each kind of difficulty, finite and inside the domain."""
    rng = np.random.default_rng(len(fn) * 1000 + dtype.bits)
    tiny = float(np.finfo(dtype.compute).smallest_subnormal)
    normal = rng.normal(size=size)
    yield random_bits(rng, dtype, size)
    yield normal
    yield normal * 30
    yield normal * 300
    yield normal * 1e-4
    yield 1 + normal * 1e-3
    yield rng.uniform(-1, 1, size)
    yield tiny * rng.integers(-(2**20), 2**20, size)
    yield 1 - np.exp(-rng.uniform(0, dtype.itemsize * 4.5, size))
    if fn in ("sin", "cos", "tan"):
        yield np.round(normal * 1e4) * (np.pi / 2)
        yield np.round(np.exp(rng.uniform(0, 50, size))) * (np.pi / 2)
    if fn in ("exp", "expm1", "sinh", "cosh", "sigmoid"):
        edge = 88.5 if dtype is float32 else 709.5
        yield rng.uniform(0.98 * edge, 1.2 * edge, size) * np.sign(normal)
    if fn == "erfc":
        yield rng.uniform(0.4, 10 if dtype is float32 else 27, size)


def inside_domain(fn: str, x: Array) -> Array:
    """Return the finite arguments, without 0, for which the function is real and finite."""
    x = x[np.isfinite(x) & (x != 0)]
    if fn in ("log", "log2", "log10", "rsqrt"):
        return np.abs(x)
    if fn == "log1p":
        return x[x > -1]
    if fn == "acosh":
        return x[x >= 1]
    if fn in ("asin", "acos"):
        return x[np.abs(x) <= 1]
    if fn == "erfc":
        return x[np.abs(x) < 1e6]  # mpmath cannot do more
    return x[np.abs(x) < 1] if fn in ("atanh", "erfinv") else x


def largest_error(
    fn: str, dtype: DType, results: Array, inputs: tuple[Array, ...]
) -> tuple[float, str]:
    """Return the largest error against mpmath, and where it is."""
    digits, lowest = (24, -149) if dtype is float32 else (53, -1074)
    infinity = mpmath.mpf(2) ** (128 if dtype is float32 else 1024)
    worst = 0.0, "nowhere"
    with mpmath.workprec(160):
        for given in zip(results.tolist(), *(x.tolist() for x in inputs), strict=True):
            got, *arguments = given
            exact = MPMATH[fn](*map(mpmath.mpf, arguments))
            # ln(e^x + e^y) may cancel; its error is counted in the places of x and y.
            scale = max(map(abs, (exact, *arguments))) if fn == "logaddexp" else exact
            place = max(mpmath.frexp(scale)[1] - digits, lowest)
            if math.isinf(got):
                got = math.copysign(1, got) * infinity
                exact = min(max(exact, -infinity), infinity)
            error = float(mpmath.ldexp(abs(got - exact), -place))
            if not error <= worst[0]:
                worst = error, f"{fn}({', '.join(map(float.hex, arguments))}) = {got}"
    return worst


def pairs(fn: str, dtype: DType, size: int) -> Iterator[tuple[Array, Array]]:
    """Yield arguments of a function of two for each kind of difficulty, finite, in the domain."""
    rng = np.random.default_rng(len(fn) * 1000 + dtype.bits)
    x, y = rng.normal(size=(2, size))
    yield x, y
    yield x, y * 1000
    yield x * 10, y * 1e-3
    if fn == "pow":
        digits = 24 if dtype is float32 else 53
        yield np.exp(x * 20), y * 3
        yield 1 + x * 2.0 ** (6 - digits), y * 2.0 ** (digits - 8)
        yield 1 + x * 1e-2, y * 1e3
        yield np.exp(x), np.round(y * 20)
        yield np.exp(x) * np.finfo(dtype.compute).smallest_subnormal * 1000, y
    elif fn == "logaddexp":
        yield -np.abs(x), -np.abs(y)
        yield x * 100, x * 100 + y
    else:
        yield random_bits(rng, dtype, size), random_bits(rng, dtype, size)
        tiny = float(np.finfo(dtype.compute).smallest_subnormal)
        yield np.round(x * 10) * tiny, np.round(y * 10) * tiny


def arguments(fn: str, dtype: DType, size: int) -> tuple[Array, ...]:
    """Return finite arguments, without 0, for which the function is real and finite."""
    if fn not in BINARY:
        x = np.concatenate([a.astype(dtype.compute) for a in samples(fn, dtype, size)])
        return (inside_domain(fn, x),)
    given = [[a.astype(dtype.compute) for a in pair] for pair in pairs(fn, dtype, size)]
    x, y = (np.concatenate(arrays) for arrays in zip(*given, strict=True))
    usable = np.isfinite(x) & np.isfinite(y) & (x != 0) & (y != 0)
    x, y = x[usable], y[usable]
    return (np.abs(x) if fn == "pow" else x), y


@DTYPES
@pytest.mark.parametrize("fn", ALL)
def test_error_is_within_the_stated_bound(fn: str, dtype: DType) -> None:
    inputs = arguments(fn, dtype, 40 if fn == "erfinv" else 150)
    results = functions(dtype, FULL[dtype])[fn](*inputs)
    error, where = largest_error(fn, dtype, results, inputs)
    assert error <= ERROR_BOUNDS[fn][dtype is float64], where


@pytest.mark.parametrize("fused", [None, False], ids=["host", "unfused"])
@pytest.mark.parametrize("fn", UNARY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_all_exponents_of_float32_against_float64(fn: str, fused: bool | None) -> None:
    patterns = np.arange(0, 2**32, 16381 if fused is None else 65521, dtype=np.uint64)
    x = patterns.astype(np.uint32).view(np.float32)
    got = functions(float32, 16, fused)[fn](x).astype(np.float64)
    exact = NUMPY[fn](x.astype(np.float64))
    assert np.array_equal(np.isnan(got), np.isnan(exact))
    limit = 2.0**128
    got, exact = (np.nan_to_num(np.clip(a, -limit, limit)) for a in (got, exact))
    place = np.maximum(np.frexp(exact)[1] - 24, -149)
    error = np.ldexp(np.abs(got - exact), -place)
    worst = int(error.argmax())
    assert error[worst] <= ERROR_BOUNDS[fn][0], f"{fn}({float(x[worst]).hex()}) = {got[worst]}"


@pytest.mark.parametrize(
    "fn", ["atan", "cos", "erfc", "exp", "expm1", "log1p", "pow", "sin", "tanh"]
)
def test_float64_without_fused_multiply_add_is_within_the_stated_bound(fn: str) -> None:
    inputs = arguments(fn, float64, 100)
    results = functions(float64, FULL[float64], False)[fn](*inputs)
    error, where = largest_error(fn, float64, results, inputs)
    assert error <= ERROR_BOUNDS[fn][1], where


def special(dtype: DType) -> Array:
    """Return the numbers that functions treat one by one."""
    info = np.finfo(dtype.compute)
    digits = info.nmant + 1
    positive = [0, 0.5, 1, 1.5, 2, 3, 33, 1e5, math.inf, math.nan, info.max]
    positive += [info.smallest_normal, info.smallest_subnormal, 1 - info.epsneg, 1 + info.eps]
    positive += [2.0**digits, 2.0**digits - 1, 2.0 ** (digits - 1) + 0.5]
    return np.array([*positive, *(-x for x in positive)], dtype.compute)


def assert_same_special_results(got: Array, expected: Array, given: tuple[Array, ...]) -> None:
    """Compare NaN, infinities, and zeros with their signs."""
    for kind in (np.isnan, np.isposinf, np.isneginf, lambda x: (x == 0) & ~np.signbit(x)):
        differs = np.flatnonzero(kind(got) != kind(expected))
        shown = [[float(x[k]) for x in (*given, got, expected)] for k in differs[:5]]
        assert not shown, shown
    assert np.array_equal((got == 0) & np.signbit(got), (expected == 0) & np.signbit(expected))


@DTYPES
@pytest.mark.parametrize("fn", UNARY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values_of_one_argument_are_numpys(fn: str, dtype: DType) -> None:
    x = special(dtype)
    expected = NUMPY[fn](x.astype(np.float64)).astype(dtype.compute)
    assert_same_special_results(functions(dtype, FULL[dtype])[fn](x), expected, (x,))


@DTYPES
@pytest.mark.parametrize("fn", sorted(BINARY))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values_of_two_arguments_are_numpys(fn: str, dtype: DType) -> None:
    x, y = (a.ravel() for a in np.meshgrid(special(dtype), special(dtype)))
    expected = NUMPY[fn](x.astype(np.float64), y.astype(np.float64)).astype(dtype.compute)
    got = functions(dtype, FULL[dtype])[fn](x, y)
    assert_same_special_results(got, expected, (x, y))


@DTYPES
@pytest.mark.parametrize("fn", ALL)
def test_bits_do_not_depend_on_the_number_of_lanes(fn: str, dtype: DType) -> None:
    rng = np.random.default_rng(5)
    inputs = []
    for _ in range(2 if fn in BINARY else 1):
        moderate = rng.normal(size=4000) * 3
        inputs.append(
            np.concatenate([random_bits(rng, dtype, 2000), moderate.astype(dtype.compute)])
        )
    vector = functions(dtype, FULL[dtype])[fn](*inputs)
    scalar = functions(dtype, 1)[fn](*inputs)
    assert np.array_equal(bits_of(vector), bits_of(scalar))


def test_large_functions_stand_once_in_a_module() -> None:
    module = Module()
    function = Function(module, "twice", ["<8 x double> %x"])
    once = vector_math(function, "pow", ["%x", "%x"], float64, 8)
    vector_math(function, "pow", [once, "%x"], float64, 8)
    function.effect("ret void")
    function.finish()
    assert module.text.count("define internal") == 1
