"""Scalar functions: everything that one element may be computed with.

Takes: numbers of one dtype. Gives: a number; what it is says NumPy.
The one idea: this table is the only list of them; interpreter, verifier and code generator all
read it, and an op's formula has the meaning of its NumPy definition because both are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.core.dtype import Array, DType, bool_
from chainrule.core.error_function import erf_array, erfc_array, erfinv_array
from chainrule.core.errors import StateError, unknown_word

FLOATING = frozenset({"float"})
INTEGER = frozenset({"int", "uint"})
NUMERIC = FLOATING | INTEGER
LOGICAL = frozenset({"bool"})
ANY = NUMERIC | LOGICAL


@dataclass(frozen=True, slots=True)
class Function:
    """A scalar function.

    Attributes:
        name: As in `Call.fn`.
        arity: Number of arguments.
        kinds: Kinds of dtype that it takes.
        result: ``same``: arguments and result have one dtype; ``bool``: arguments have one dtype,
            the result is bool; ``choice``: a bool, then two of the result's dtype; ``any``: the
            result has the dtype that the call names.
        flops: Floating-point operations that it counts as.
        define: Its NumPy definition (``any``: with the result's dtype as last argument).
    """

    name: str
    arity: int
    kinds: frozenset[str]
    result: str
    flops: int
    define: Callable[..., Any]


def _sigmoid(x: Array) -> Array:
    result = np.reciprocal(1 + np.exp(-x))
    # Where e^-x overflows the reciprocal is 0, but the sigmoid, e^x, may be subnormal.
    lowest = -88.0 if x.dtype == np.float32 else -709.0
    return np.where(np.less(x, lowest), np.exp(x), result)


def _logaddexp(x: Array, y: Array) -> Array:
    larger = np.maximum(x, y)
    # inf - inf is NaN, but there the sum is the larger one itself.
    gap = np.where(np.isinf(larger), 0, np.log1p(np.exp(-np.abs(x - y))))
    return np.asarray(gap + larger)


def _pow(x: Array, y: Array) -> Array:
    if x.dtype.kind in "fu" or not np.any(y < 0):
        return np.asarray(np.power(x, y))
    # A negative exponent gives the power rounded towards zero.
    power = np.power(x, np.maximum(y, 0))
    inverse = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0))
    return np.where(y < 0, inverse, power)


def _signbit(x: Array) -> Array:
    return np.asarray(np.signbit(x) if x.dtype.kind == "f" else np.less(x, 0))


def _relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, np.zeros((), x.dtype)))


def _mulhi(x: Array, y: Array) -> Array:
    """Return the high half of the product."""
    if x.dtype == np.uint32:
        return np.asarray((x.astype(np.uint64) * y) >> np.uint64(32))
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, y0, y1 = x & low, x >> half, y & low, y >> half
    middle = x1 * y0 + (x0 * y0 >> half)  # below 2^64: (2^32 - 1)^2 + 2^32 - 1
    other = x0 * y1 + (middle & low)
    return np.asarray(x1 * y1 + (middle >> half) + (other >> half))


def _cast(x: Array, dtype: DType) -> Array:
    if dtype is bool_:
        return np.asarray(np.not_equal(x, 0))
    return np.asarray(x).astype(dtype.compute)


def _bitcast(x: Array, dtype: DType) -> Array:
    return np.asarray(x).view(dtype.compute)


def _rows(
    kinds: frozenset[str],
    result: str,
    arity: int,
    *entries: tuple[str, int, Callable[..., Any]],
) -> Iterable[Function]:
    for name, flops, define in entries:
        yield Function(name, arity, kinds, result, flops, define)


_TABLE = (
    *_rows(ANY, "same", 2, ("add", 1, np.add), ("multiply", 1, np.multiply)),
    *_rows(ANY, "same", 2, ("maximum", 1, np.maximum), ("minimum", 1, np.minimum)),
    # Whole quotients and remainders by 0 are 0; the lowest number by -1 wraps to itself.
    *_rows(
        *(NUMERIC, "same", 2),
        *(("subtract", 1, np.subtract), ("floor_divide", 1, np.floor_divide)),
        *(("remainder", 1, np.remainder), ("pow", 10, _pow)),
    ),
    *_rows(
        *(FLOATING, "same", 2),
        *(("divide", 1, np.divide), ("logaddexp", 25, _logaddexp)),
        *(("atan2", 15, np.arctan2), ("hypot", 15, np.hypot)),
    ),
    *_rows(
        *(NUMERIC, "same", 1),
        *(("negative", 1, np.negative), ("abs", 1, np.absolute)),
        *(("sign", 1, np.sign), ("relu", 1, _relu)),
    ),
    *_rows(
        *(FLOATING, "same", 1),
        *(("exp", 10, np.exp), ("expm1", 12, np.expm1), ("log", 10, np.log)),
        *(("log1p", 12, np.log1p), ("log2", 10, np.log2), ("log10", 10, np.log10)),
        *(("sqrt", 4, np.sqrt), ("rsqrt", 5, lambda x: np.reciprocal(np.sqrt(x)))),
        *(("sin", 15, np.sin), ("cos", 15, np.cos), ("tan", 31, np.tan)),
        *(("sinh", 15, np.sinh), ("cosh", 15, np.cosh), ("tanh", 12, np.tanh)),
        *(("asin", 15, np.arcsin), ("acos", 15, np.arccos), ("atan", 15, np.arctan)),
        *(("asinh", 15, np.arcsinh), ("acosh", 15, np.arccosh), ("atanh", 15, np.arctanh)),
        *(("sigmoid", 12, _sigmoid), ("erf", 25, erf_array), ("erfc", 40, erfc_array)),
        *(("erfinv", 150, erfinv_array),),
        *(("floor", 1, np.floor), ("ceil", 1, np.ceil), ("trunc", 1, np.trunc)),
        *(("round", 1, np.rint),),
    ),
    # The product may or may not be rounded before the sum.
    *_rows(FLOATING, "same", 3, ("fma", 2, lambda x, y, z: x * y + z)),
    *_rows(
        *(ANY, "bool", 2),
        *(("equal", 1, np.equal), ("not_equal", 1, np.not_equal)),
        *(("less", 1, np.less), ("less_equal", 1, np.less_equal)),
        *(("greater", 1, np.greater), ("greater_equal", 1, np.greater_equal)),
    ),
    *_rows(ANY, "bool", 1, ("signbit", 1, _signbit)),
    *_rows(
        *(FLOATING, "bool", 1),
        *(("isnan", 1, np.isnan), ("isinf", 1, np.isinf), ("isfinite", 1, np.isfinite)),
    ),
    *_rows(
        *(LOGICAL, "same", 2),
        *(("logical_and", 1, np.logical_and), ("logical_or", 1, np.logical_or)),
        *(("logical_xor", 1, np.logical_xor),),
    ),
    *_rows(LOGICAL, "same", 1, ("logical_not", 1, np.logical_not)),
    *_rows(
        *(INTEGER | LOGICAL, "same", 2),
        *(("bitwise_and", 1, np.bitwise_and), ("bitwise_or", 1, np.bitwise_or)),
        *(("bitwise_xor", 1, np.bitwise_xor),),
    ),
    *_rows(INTEGER | LOGICAL, "same", 1, ("bitwise_invert", 1, np.invert)),
    # A count that is negative or not below the width shifts everything out.
    *_rows(
        *(INTEGER, "same", 2),
        *(("bitwise_left_shift", 1, np.left_shift), ("bitwise_right_shift", 1, np.right_shift)),
    ),
    *_rows(frozenset({"uint"}), "same", 2, ("mulhi", 1, _mulhi)),
    *_rows(ANY, "choice", 3, ("where", 1, np.where)),
    # To bool: whether it is not 0. Floating to integer: towards 0, beyond its range anything.
    *_rows(ANY, "any", 1, ("cast", 0, _cast)),
    # The same bits, read as another dtype of the same size.
    *_rows(NUMERIC, "any", 1, ("bitcast", 0, _bitcast)),
)
FUNCTIONS: dict[str, Function] = {function.name: function for function in _TABLE}


def function_named(name: str) -> Function:
    """Return the scalar function of a name.

    Raises:
        ArgumentError: There is none.
    """
    if name not in FUNCTIONS:
        raise unknown_word("scalar function", name, FUNCTIONS)
    return FUNCTIONS[name]


def check_call(name: str, args: Sequence[DType], result: DType) -> None:
    """Check that a scalar function takes arguments of these dtypes and gives this result.

    Raises:
        ArgumentError: There is no such function.
        StateError: It does not.
    """
    function = function_named(name)

    def wrong(expected: str) -> StateError:
        got = ", ".join(dtype.short for dtype in args)
        return StateError(f"{name}({got}) -> {result.short}: expected {expected}")

    if len(args) != function.arity:
        raise wrong(f"{function.arity} arguments")
    if any(dtype.is_half for dtype in (*args, result)):
        raise wrong("float32 in place of 16-bit floats, which are only stored")
    values = args
    if function.result == "choice":
        if args[0] is not bool_:
            raise wrong("a bool first")
        values = args[1:]
    if any(dtype is not values[0] for dtype in values):
        raise wrong("one dtype")
    if values[0].kind not in function.kinds:
        raise wrong("arguments of kind " + " or ".join(sorted(function.kinds)))
    if name == "bitcast" and (args[0].bits != result.bits or result is bool_):
        raise wrong("numbers of one size")
    if name == "mulhi" and args[0].bits < 32:
        raise wrong("u32 or u64")
    given = {"bool": bool_, "any": result}.get(function.result, values[0])
    if result is not given:
        raise wrong(f"a result of {given.short}")


def apply_function(name: str, args: Sequence[Array], dtype: DType) -> Array:
    """Return a scalar function of arrays, element by element.

    Args:
        name: Of the function.
        args: Arrays that broadcast.
        dtype: Of the result.
    """
    function = function_named(name)
    extra = (dtype,) if function.result == "any" else ()
    with np.errstate(all="ignore"):
        return np.asarray(function.define(*args, *extra), dtype=dtype.compute)
