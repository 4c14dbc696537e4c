"""Scalar functions: the instructions of everything in `ir.scalar` but the transcendental ones.

Takes: names of values, as scalars or in lanes. Gives: the name of the result.
The one idea: NumPy's meaning on every input: NaN wins a maximum, quotients round down, and no
number of any kind traps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chainrule.codegen import types
from chainrule.codegen.math import VECTOR_MATH, vector_math
from chainrule.codegen.scalars_integer import (
    high_half,
    integer_power,
    quotient,
    remainder,
    shifted,
)
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function
from chainrule.core.dtype import DType, bool_
from chainrule.core.errors import StateError


@dataclass(frozen=True, slots=True)
class Site:
    """Where a function is applied: the arguments' common dtype, the result's, and the lanes."""

    function: Function
    target: Target
    given: DType
    result: DType
    lanes: int

    @property
    def type(self) -> str:
        """Type of the arguments."""
        return types.many(types.element_type(self.given), self.lanes)

    @property
    def flags(self) -> str:
        """Type of conditions."""
        return types.many("i1", self.lanes)

    def number(self, value: float) -> str:
        """Return a constant of the arguments' type."""
        return types.number(value, self.given, self.lanes)

    def do(self, instruction: str, *args: str) -> str:
        """Write an instruction on the arguments' type."""
        return self.function.value(f"{instruction} {self.type} {', '.join(args)}")

    def choose(self, condition: str, x: str, y: str) -> str:
        """Write the choice between two values."""
        return self.function.value(
            f"select {self.flags} {condition}, {self.type} {x}, {self.type} {y}"
        )

    def intrinsic(self, name: str, *args: str, more: str = "") -> str:
        """Write an intrinsic on the arguments' type."""
        kind = types.element_type(self.given)
        return types.intrinsic(self.function, name, kind, self.lanes, args, more)

    @property
    def is_real(self) -> bool:
        """Whether the arguments are floating."""
        return self.given.kind == "float"

    @property
    def is_signed(self) -> bool:
        """Whether the arguments are signed whole numbers."""
        return self.given.kind == "int"


def call_function(
    function: Function,
    target: Target,
    fn: str,
    args: Sequence[str],
    dtypes: Sequence[DType],
    dtype: DType,
    lanes: int,
) -> str:
    """Write a scalar function.

    Args:
        function: Where to write.
        target: The processor.
        fn: Name of the function, from `ir.scalar`.
        args: Arguments: names or constants, all scalars or all vectors.
        dtypes: Their dtypes.
        dtype: Of the result.
        lanes: Number of lanes; 1 for scalars.

    Raises:
        StateError: Nothing is known of the function.
    """
    site = Site(function, target, dtypes[-1], dtype, lanes)
    if fn in VECTOR_MATH and site.is_real:
        return vector_math(function, fn, args, dtypes[0], lanes, fused=target.fma)
    if fn not in _WRITERS:
        raise StateError(f"{fn}: the code generator does not know it")
    return _WRITERS[fn](site, *args)


# --- arithmetic --------------------------------------------------------------------------------


def _arithmetic(real: str, whole: str, logical: str = "") -> Callable[[Site, str, str], str]:
    def write(at: Site, x: str, y: str) -> str:
        if at.is_real:
            # Where the processor can, products and sums may become one instruction.
            return at.do(f"f{real} contract", x, y)
        return at.do(logical if at.given is bool_ else whole, x, y)

    return write


def _divide(at: Site, x: str, y: str) -> str:
    return at.do("fdiv", x, y)


def _fma(at: Site, x: str, y: str, z: str) -> str:
    if at.target.fma:
        return at.intrinsic("fma", x, y, z)
    return at.do("fadd", at.do("fmul", x, y), z)


def _negative(at: Site, x: str) -> str:
    return at.do("fneg", x) if at.is_real else at.do("sub", at.number(0), x)


def _absolute(at: Site, x: str) -> str:
    if at.is_real:
        return at.intrinsic("fabs", x)
    return at.intrinsic("abs", x, more="i1 false") if at.is_signed else x


def _sign(at: Site, x: str) -> str:
    zero, one = at.number(0), at.number(1)
    if not at.is_real:
        if not at.is_signed:
            return at.choose(at.do("icmp ne", x, zero), one, zero)
        small = at.choose(at.do("icmp slt", x, zero), at.number(-1), zero)
        return at.choose(at.do("icmp sgt", x, zero), one, small)
    small = at.choose(at.do("fcmp olt", x, zero), at.number(-1.0), zero)
    signed = at.choose(at.do("fcmp ogt", x, zero), one, small)
    return at.choose(at.do("fcmp uno", x, zero), x, signed)


def _extreme(word: str) -> Callable[[Site, str, str], str]:
    def write(at: Site, x: str, y: str) -> str:
        if at.given is bool_:
            return at.do("or" if word == "max" else "and", x, y)
        if not at.is_real:
            return at.intrinsic(f"{'s' if at.is_signed else 'u'}{word}", x, y)
        # The processor's own instruction gives the second operand where one is NaN; so only a
        # NaN in the other has to be put back. As a reduction, x is what has been kept so far.
        test = at.do("fcmp ogt" if word == "max" else "fcmp olt", y, x)
        better = at.choose(test, y, x)
        return at.choose(at.do("fcmp uno", y, at.number(0)), y, better)

    return write


def _relu(at: Site, x: str) -> str:
    zero = at.number(0)
    if not at.is_real:
        return at.intrinsic("smax", x, zero) if at.is_signed else x
    # NaN is not below 0, so it stays; one instruction.
    return at.choose(at.do("fcmp olt", x, zero), zero, x)


def _floor_divide(at: Site, x: str, y: str) -> str:
    if not at.is_real:
        return quotient(at.function, at.given, at.lanes, x, y)
    # As Python and NumPy: from the exact remainder, so that whole quotients come out whole.
    zero, one = at.number(0), at.number(1)
    rest = at.do("frem", x, y)
    near = at.do("fdiv", at.do("fsub", x, rest), y)
    near = at.choose(_needs_move(at, rest, y), at.do("fsub", near, one), near)
    down = at.intrinsic("floor", near)
    far = at.do("fcmp ogt", at.do("fsub", near, down), at.number(0.5))
    rounded = at.choose(far, at.do("fadd", down, one), down)
    plain = at.do("fdiv", x, y)
    signed_zero = at.intrinsic("copysign", zero, plain)
    result = at.choose(at.do("fcmp une", near, zero), rounded, signed_zero)
    # By zero there is no remainder: the quotient itself, infinite or NaN.
    return at.choose(at.do("fcmp oeq", y, zero), plain, result)


def _remainder(at: Site, x: str, y: str) -> str:
    if not at.is_real:
        return remainder(at.function, at.given, at.lanes, x, y)
    rest, zero = at.do("frem", x, y), at.number(0)
    moved = at.choose(_needs_move(at, rest, y), at.do("fadd", rest, y), rest)
    return at.choose(at.do("fcmp oeq", rest, zero), at.intrinsic("copysign", zero, y), moved)


def _needs_move(at: Site, rest: str, y: str) -> str:
    """Write whether a truncated remainder has the wrong sign."""
    zero = at.number(0)
    signs = at.do("fcmp olt", rest, zero), at.do("fcmp olt", y, zero)
    differs = at.function.value(f"xor {at.flags} {signs[0]}, {signs[1]}")
    uneven = at.do("fcmp une", rest, zero)
    return at.function.value(f"and {at.flags} {differs}, {uneven}")


def _power(at: Site, x: str, y: str) -> str:
    return integer_power(at.function, at.given, at.lanes, x, y)


# --- comparing ---------------------------------------------------------------------------------


def _compare(real: str, whole: str) -> Callable[[Site, str, str], str]:
    def write(at: Site, x: str, y: str) -> str:
        if at.is_real:
            return at.do(f"fcmp {real}", x, y)
        sign = "" if whole in ("eq", "ne") else "s" if at.is_signed else "u"
        return at.do(f"icmp {sign}{whole}", x, y)

    return write


def _signbit(at: Site, x: str) -> str:
    if not at.is_real:
        if not at.is_signed:
            return types.number(False, bool_, at.lanes)
        return at.do("icmp slt", x, at.number(0))
    bits = types.many(f"i{at.given.bits}", at.lanes)
    pattern = at.function.value(f"bitcast {at.type} {x} to {bits}")
    zero = types.constant("0", f"i{at.given.bits}", at.lanes)
    return at.function.value(f"icmp slt {bits} {pattern}, {zero}")


def _is_nan(at: Site, x: str) -> str:
    return at.do("fcmp uno", x, at.number(0))


def _is_infinite(at: Site, x: str) -> str:
    return at.do("fcmp oeq", at.intrinsic("fabs", x), at.number(float("inf")))


def _is_finite(at: Site, x: str) -> str:
    return at.do("fcmp one", at.intrinsic("fabs", x), at.number(float("inf")))


def _where(at: Site, condition: str, x: str, y: str) -> str:
    return at.choose(condition, x, y)


# --- bits and conversions ----------------------------------------------------------------------


def _bitwise(word: str) -> Callable[[Site, str, str], str]:
    return lambda at, x, y: at.do(word, x, y)


def _invert(at: Site, x: str) -> str:
    return at.do("xor", x, at.number(1 if at.given is bool_ else -1))


def _cast(at: Site, x: str) -> str:
    source, result = at.given, at.result
    if source is result:
        return x
    if result is bool_:
        return at.do("fcmp une" if at.is_real else "icmp ne", x, at.number(0))
    word = _conversion(source, result)
    if not word:
        return x
    kind = types.many(types.element_type(result), at.lanes)
    if word == "fptosi" and result.bits < 32:
        # Through 32 bits, so that numbers out of range wrap as in NumPy.
        wide = types.many("i32", at.lanes)
        whole = at.function.value(f"fptosi {at.type} {x} to {wide}")
        fixed = at.function.value(f"freeze {wide} {whole}")
        return at.function.value(f"trunc {wide} {fixed} to {kind}")
    converted = at.function.value(f"{word} {at.type} {x} to {kind}")
    # Beyond the range LLVM leaves the result open; it must at least be one number.
    return at.function.value(f"freeze {kind} {converted}") if word in _OPEN else converted


_OPEN = ("fptosi", "fptoui")


def _conversion(source: DType, result: DType) -> str:
    if source.kind == "float":
        if result.kind == "float":
            gap = (64 if result.bits == 64 else 32) - (64 if source.bits == 64 else 32)
            return {32: "fpext", -32: "fptrunc"}.get(gap, "")
        return "fptoui" if result.kind == "uint" and result.bits >= 32 else "fptosi"
    if result.kind == "float":
        return "sitofp" if source.kind == "int" else "uitofp"
    bits = 1 if source is bool_ else source.bits
    if result.bits == bits:
        return ""
    if result.bits < bits:
        return "trunc"
    return "sext" if source.kind == "int" else "zext"


def _bitcast(at: Site, x: str) -> str:
    kind = types.many(types.element_type(at.result), at.lanes)
    return at.function.value(f"bitcast {at.type} {x} to {kind}")


def _shift(left: bool) -> Callable[[Site, str, str], str]:
    return lambda at, x, y: shifted(at.function, at.given, at.lanes, x, y, left=left)


def _mulhi(at: Site, x: str, y: str) -> str:
    return high_half(at.function, at.given, at.lanes, x, y)


def _rounding(name: str) -> Callable[[Site, str], str]:
    return lambda at, x: at.intrinsic(name, x)


_WRITERS: dict[str, Callable[..., str]] = {
    "add": _arithmetic("add", "add", "or"),
    "subtract": _arithmetic("sub", "sub"),
    "multiply": _arithmetic("mul", "mul", "and"),
    "divide": _divide,
    "fma": _fma,
    "negative": _negative,
    "abs": _absolute,
    "sign": _sign,
    "maximum": _extreme("max"),
    "minimum": _extreme("min"),
    "relu": _relu,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "pow": _power,
    "sqrt": _rounding("sqrt"),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "round": _rounding("roundeven"),
    "equal": _compare("oeq", "eq"),
    "not_equal": _compare("une", "ne"),
    "less": _compare("olt", "lt"),
    "less_equal": _compare("ole", "le"),
    "greater": _compare("ogt", "gt"),
    "greater_equal": _compare("oge", "ge"),
    "signbit": _signbit,
    "isnan": _is_nan,
    "isinf": _is_infinite,
    "isfinite": _is_finite,
    "where": _where,
    "logical_and": _bitwise("and"),
    "logical_or": _bitwise("or"),
    "logical_xor": _bitwise("xor"),
    "logical_not": _invert,
    "bitwise_and": _bitwise("and"),
    "bitwise_or": _bitwise("or"),
    "bitwise_xor": _bitwise("xor"),
    "bitwise_invert": _invert,
    "bitwise_left_shift": _shift(left=True),
    "bitwise_right_shift": _shift(left=False),
    "mulhi": _mulhi,
    "cast": _cast,
    "bitcast": _bitcast,
}
