"""Vector mathematics: every transcendental function, written in LLVM's assembly language.

Takes: the function being written, names of vectors in it. Gives: the name of the result.
The one idea: the same instructions for one number and for sixteen, so vectors and remainders
of loops give the same bits; large functions stand once in a module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import llvmlite.binding as llvm

from chainrule.codegen import (
    math_error_function,
    math_exponential,
    math_hyperbolic,
    math_inverse,
    math_logarithm,
    math_power,
    math_trigonometric,
)
from chainrule.codegen.math_lanes import Lanes, Real
from chainrule.codegen.target import host
from chainrule.codegen.text import Function
from chainrule.core.dtype import DType

_METHODS: dict[str, Callable[..., Real]] = {
    "exp": math_exponential.exp,
    "expm1": math_exponential.expm1,
    "sigmoid": math_exponential.sigmoid,
    "tanh": math_exponential.tanh,
    "sinh": math_hyperbolic.sinh,
    "cosh": math_hyperbolic.cosh,
    "asinh": math_hyperbolic.asinh,
    "acosh": math_hyperbolic.acosh,
    "atanh": math_hyperbolic.atanh,
    "log": math_logarithm.log,
    "log2": math_logarithm.log2,
    "log10": math_logarithm.log10,
    "log1p": math_logarithm.log1p,
    "logaddexp": math_logarithm.logaddexp,
    "pow": math_power.pow,
    "rsqrt": math_power.rsqrt,
    "hypot": math_power.hypot,
    "sin": math_trigonometric.sin,
    "cos": math_trigonometric.cos,
    "tan": math_trigonometric.tan,
    "asin": math_inverse.asin,
    "acos": math_inverse.acos,
    "atan": math_inverse.atan,
    "atan2": math_inverse.atan2,
    "erf": math_error_function.erf,
    "erfc": math_error_function.erfc,
    "erfinv": math_error_function.erfinv,
}
VECTOR_MATH = frozenset(_METHODS)

# Largest errors in units in the last place, of float32 and float64 results, with and without
# fused multiply-add, with some allowance: measured on a hundred thousand to 140 million numbers
# of all exponents for each function (float64 erf, erfc and erfinv: three thousand). 0.5 is correct
# rounding. logaddexp: in the last place of the largest of result and arguments, because the sum
# of its two parts may cancel.
ERROR_BOUNDS: dict[str, tuple[float, float]] = {
    "exp": (1.3, 1.2),
    "expm1": (1.5, 2.0),
    "sigmoid": (1.9, 1.9),
    "tanh": (1.4, 1.5),
    "log": (0.9, 0.9),
    "log1p": (0.9, 0.9),
    "log2": (0.51, 1.8),
    "log10": (0.51, 3.0),
    "logaddexp": (0.51, 3.0),
    "pow": (0.51, 1.2),
    "rsqrt": (1.5, 1.5),
    "hypot": (0.51, 1.2),
    "sin": (0.9, 0.8),
    "cos": (0.9, 0.8),
    "tan": (0.6, 2.2),
    "asin": (0.51, 2.1),
    "acos": (0.51, 1.2),
    "atan": (0.51, 1.9),
    "atan2": (0.51, 1.9),
    "sinh": (0.51, 1.7),
    "cosh": (0.51, 1.5),
    "asinh": (0.51, 1.8),
    "acosh": (0.51, 2.2),
    "atanh": (0.51, 1.9),
    "erf": (2.0, 1.2),
    "erfc": (0.6, 3.9),
    "erfinv": (0.6, 2.0),
}

# Functions whose 32-bit method computes in 32 bits; the others compute in 64 bits and round once.
_SINGLE = frozenset(
    {"exp", "expm1", "sigmoid", "tanh", "log", "log1p", "rsqrt", "sin", "cos", "erf"}
)
# Those need a fused multiply-add to be exact enough in 32 bits.
_SINGLE_IF_FUSED = frozenset({"sin", "cos"})
# Written in place: measured to be 5 to 40 % faster in loops than a call; 20 to 35 instructions.
_INLINE = frozenset({"rsqrt"})
_INLINE_SINGLE = frozenset({"exp", "expm1", "sigmoid", "tanh", "erf", "rsqrt"})


def vector_math(
    function: Function,
    fn: str,
    args: Sequence[str],
    dtype: DType,
    lanes: int,
    *,
    fused: bool | None = None,
) -> str:
    """Write the evaluation of a function of real numbers.

    Args:
        function: Where it is written.
        fn: One of `VECTOR_MATH`.
        args: Names of the arguments: vectors, or for one lane plain numbers.
        dtype: float32 or float64.
        lanes: Numbers in a vector.
        fused: Whether multiply and add are one instruction; None: as on this processor.

    Returns:
        The name of the result, of the arguments' type.
    """
    fused = host().fma if fused is None else fused
    at = Lanes(function, dtype.bits, lanes, fused)
    values = [Real(at, name) for name in args]
    inline = _INLINE_SINGLE if dtype.bits == 32 else _INLINE
    return (_evaluate if fn in inline else _call)(fn, values).name


def _evaluate(fn: str, values: Sequence[Real]) -> Real:
    """Write a function's instructions."""
    at = values[0].at
    method = _METHODS[fn]
    if at.bits == 64 or (fn in _SINGLE and (at.fused or fn not in _SINGLE_IF_FUSED)):
        return method(*values)
    wide = Lanes(at.function, 64, at.count, at.fused, short=True)
    return method(*(x.converted(wide) for x in values)).converted(at)


def _call(fn: str, values: Sequence[Real]) -> Real:
    """Write a call of a function that stands once in the module."""
    at = values[0].at
    module = at.function.module
    name = f"cr_{fn}_f{at.bits}x{at.count}" + ("" if at.fused else "_unfused")
    if name not in module.functions:
        params = [f"%x{n}" for n in range(len(values))]
        function = Function(
            module,
            name,
            [f"{at.real_type} {param}" for param in params],
            at.real_type,
            linkage="internal",
            attributes=_attributes(),
        )
        inner = Lanes(function, at.bits, at.count, at.fused)
        result = _evaluate(fn, [Real(inner, param) for param in params])
        function.effect(f"ret {at.real_type} {result.name}")
        function.finish()
    given = ", ".join(f"{at.real_type} {x.name}" for x in values)
    return Real(at, at.function.value(f"call {at.real_type} @{name}({given})"))


def _attributes() -> str:
    # Results depend on the arguments only; LLVM 16 changed how that is said.
    pure = "memory(none)" if llvm.llvm_version_info[0] >= 16 else "readnone"
    return f"noinline nounwind willreturn {pure}"
