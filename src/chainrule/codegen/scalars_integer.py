"""Whole numbers: quotients, remainders, powers, shifts and wide products.

Takes: names of whole numbers, as scalars or in lanes. Gives: the name of the result.
The one idea: NumPy's rules (round down, 0 by division by 0, wrap round) without ever trapping.

Processors divide no vectors of whole numbers; up to 32 bits they go through float64, in which the
truncated quotient is exact because two such quotients differ by more than its rounding.
"""

from __future__ import annotations

from chainrule.codegen import types
from chainrule.codegen.text import Function
from chainrule.core.dtype import DType


def quotient(function: Function, dtype: DType, lanes: int, x: str, y: str) -> str:
    """Write ⌊x / y⌋; 0 where y is 0."""
    return _divide(_Whole(function, dtype, lanes), x, y)[0]


def remainder(function: Function, dtype: DType, lanes: int, x: str, y: str) -> str:
    """Write x - y ⌊x / y⌋; 0 where y is 0."""
    return _divide(_Whole(function, dtype, lanes), x, y)[1]


def integer_power(function: Function, dtype: DType, lanes: int, x: str, y: str) -> str:
    """Write x to the power y, wrapping round; rounded towards 0 where y is negative."""
    at = _Whole(function, dtype, lanes)
    name = f"cr_power_{dtype.name}x{lanes}"
    if name not in function.module.functions:
        params = (f"{at.kind} %x", f"{at.kind} %y")
        body = Function(function.module, name, params, at.kind, linkage="internal")
        _power_body(_Whole(body, dtype, lanes))
        body.finish()
    return function.value(f"call {at.kind} @{name}({at.kind} {x}, {at.kind} {y})")


def _power_body(at: _Whole) -> None:
    """Write squaring: in turn each bit of the exponent says whether a square is a factor."""
    function, kind, one, zero = at.function, at.kind, at.number(1), at.number(0)
    slots = [function.alloca(kind) for _ in range(3)]
    for slot, start in zip(slots, (one, "%x", "%y"), strict=True):
        function.effect(f"store {kind} {start}, ptr {slot}")
    with function.loop(0, at.dtype.bits, entered=True):
        power, square, left = (function.value(f"load {kind}, ptr {slot}") for slot in slots)
        odd = at.do("icmp ne", at.do("and", left, one), zero)
        after = (
            at.choose(odd, at.do("mul", power, square), power),
            at.do("mul", square, square),
            at.do("lshr", left, one),
        )
        for slot, text in zip(slots, after, strict=True):
            function.effect(f"store {kind} {text}, ptr {slot}")
    result = function.value(f"load {kind}, ptr {slots[0]}")
    if at.signed:
        # x^-n is whole for x = 1 and x = -1 only, and there it is x^n.
        unit = at.do("icmp ule", at.do("add", "%x", one), at.number(2))
        zero_base = at.do("icmp eq", "%x", zero)
        inverse = at.choose(unit, at.choose(zero_base, zero, result), zero)
        result = at.choose(at.do("icmp slt", "%y", zero), inverse, result)
    function.effect(f"ret {kind} {result}")


def shifted(function: Function, dtype: DType, lanes: int, x: str, y: str, *, left: bool) -> str:
    """Write the shift of x by y bits; counts that are out of range shift everything out."""
    at = _Whole(function, dtype, lanes)
    fits = at.do("icmp ult", y, at.number(dtype.bits))
    if not left and dtype.kind == "int":
        most = at.number(dtype.bits - 1)
        return at.do("ashr", x, at.choose(fits, y, most))
    safe = at.choose(fits, y, at.number(0))
    moved = at.do("shl" if left else "lshr", x, safe)
    return at.choose(fits, moved, at.number(0))


def high_half(function: Function, dtype: DType, lanes: int, x: str, y: str) -> str:
    """Write the upper half of the bits of a product of unsigned numbers."""
    bits, kind = dtype.bits, types.many(f"i{dtype.bits}", lanes)
    if bits == 64 and lanes > 1:
        return _high_of_64(_Whole(function, dtype, lanes), x, y)
    if bits == 32 and lanes % 2 == 0:
        return _high_of_32(function, lanes, x, y)
    wide = types.many(f"i{2 * bits}", lanes)
    long_x, long_y = (function.value(f"zext {kind} {v} to {wide}") for v in (x, y))
    product = function.value(f"mul {wide} {long_x}, {long_y}")
    count = types.constant(str(bits), f"i{2 * bits}", lanes)
    high = function.value(f"lshr {wide} {product}, {count}")
    return function.value(f"trunc {wide} {high} to {kind}")


def _high_of_32(function: Function, lanes: int, x: str, y: str) -> str:
    """From products of every other lane, which need not be spread out to twice the vectors."""
    kind, wide = types.many("i32", lanes), types.many("i64", lanes // 2)
    half, low = (types.constant(str(n), "i64", lanes // 2) for n in (32, 2**32 - 1))

    def do(instruction: str, a: str, b: str) -> str:
        return function.value(f"{instruction} {wide} {a}, {b}")

    pairs = [function.value(f"bitcast {kind} {v} to {wide}") for v in (x, y)]
    even = do("mul", *(do("and", v, low) for v in pairs))
    odd = do("mul", *(do("lshr", v, half) for v in pairs))
    high = types.constant(str(-(2**32)), "i64", lanes // 2)
    both = do("or", do("lshr", even, half), do("and", odd, high))
    return function.value(f"bitcast {wide} {both} to {kind}")


class _Whole:
    """Instructions on whole numbers of one type."""

    def __init__(self, function: Function, dtype: DType, lanes: int) -> None:
        self.function = function
        self.dtype = dtype
        self.lanes = lanes
        self.kind = types.many(f"i{dtype.bits}", lanes)
        self.flags = types.many("i1", lanes)
        self.signed = dtype.kind == "int"

    def number(self, value: int) -> str:
        return types.number(value, self.dtype, self.lanes)

    def do(self, instruction: str, x: str, y: str) -> str:
        return self.function.value(f"{instruction} {self.kind} {x}, {y}")

    def choose(self, condition: str, x: str, y: str) -> str:
        return self.function.value(
            f"select {self.flags} {condition}, {self.kind} {x}, {self.kind} {y}"
        )


def _divide(at: _Whole, x: str, y: str) -> tuple[str, str]:
    zero = at.number(0)
    # A divisor of 0 becomes 1, and of -1 too where that could overflow; both are put right after.
    by_zero = at.do("icmp eq", y, zero)
    safe = at.choose(by_zero, at.number(1), y)
    by_minus_one = ""
    if at.signed:
        by_minus_one = at.do("icmp eq", y, at.number(-1))
        safe = at.choose(by_minus_one, at.number(1), safe)
    count = _truncated(at, x, safe)
    rest = at.do("sub", x, at.do("mul", count, safe))
    if at.signed:
        differs = at.do("icmp slt", at.do("xor", rest, safe), zero)
        uneven = at.do("icmp ne", rest, zero)
        down = at.function.value(f"and {at.flags} {differs}, {uneven}")
        count = at.choose(down, at.do("sub", count, at.number(1)), count)
        rest = at.choose(down, at.do("add", rest, safe), rest)
        count = at.choose(by_minus_one, at.do("sub", zero, x), count)
    return at.choose(by_zero, zero, count), at.choose(by_zero, zero, rest)


def _truncated(at: _Whole, x: str, y: str) -> str:
    word = "sdiv" if at.signed else "udiv"
    if at.lanes == 1 or at.dtype.bits == 64 or not y.startswith("%"):
        return at.do(word, x, y)
    real = types.many("double", at.lanes)
    up, down = ("sitofp", "fptosi") if at.signed else ("uitofp", "fptoui")
    real_x, real_y = (at.function.value(f"{up} {at.kind} {v} to {real}") for v in (x, y))
    ratio = at.function.value(f"fdiv {real} {real_x}, {real_y}")
    return at.function.value(f"{down} {real} {ratio} to {at.kind}")


def _high_of_64(at: _Whole, x: str, y: str) -> str:
    """From products of halves, as there are no vectors of 128-bit numbers."""
    low, half = at.number(0xFFFFFFFF), at.number(32)
    x0, x1 = at.do("and", x, low), at.do("lshr", x, half)
    y0, y1 = at.do("and", y, low), at.do("lshr", y, half)
    carry = at.do("lshr", at.do("mul", x0, y0), half)
    middle = at.do("add", at.do("mul", x1, y0), carry)
    other = at.do("add", at.do("mul", x0, y1), at.do("and", middle, low))
    high = at.do("add", at.do("mul", x1, y1), at.do("lshr", middle, half))
    return at.do("add", high, at.do("lshr", other, half))
