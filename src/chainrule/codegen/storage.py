"""Storage: from the bits in memory to the type that is computed with, and back.

Takes: elements as they are in memory. Gives: i1 for bool, float for 16-bit floats; and back.
The one idea: only 16-bit floats need arithmetic; they are rounded to the nearest, ties to even.

Bit arithmetic for float16, where no instruction converts it, after F. Giesen's half-to-float
notes (public domain).
"""

from __future__ import annotations

from chainrule.codegen import types
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function
from chainrule.core.dtype import DType, bool_, float16


def from_memory(function: Function, target: Target, text: str, dtype: DType, lanes: int) -> str:
    """Write the conversion of stored elements to the type that they are computed in."""
    if dtype is bool_:
        zero = types.constant("0", "i8", lanes)
        return function.value(f"icmp ne {types.many('i8', lanes)} {text}, {zero}")
    if not dtype.is_half:
        return text
    if dtype is float16:
        return _from_half(function, target, text, lanes)
    bits = types.many("i32", lanes)
    wide = function.value(f"zext {types.many('i16', lanes)} {text} to {bits}")
    high = function.value(f"shl {bits} {wide}, {types.constant('16', 'i32', lanes)}")
    return function.value(f"bitcast {bits} {high} to {types.many('float', lanes)}")


def to_memory(function: Function, target: Target, text: str, dtype: DType, lanes: int) -> str:
    """Write the conversion of computed elements to the type that they are stored in."""
    if dtype is bool_:
        one = types.many("i1", lanes)
        return function.value(f"zext {one} {text} to {types.many('i8', lanes)}")
    if not dtype.is_half:
        return text
    if dtype is float16:
        return _to_half(function, target, text, lanes)
    return _to_bfloat(_Bits(function, lanes), text)


class _Bits:
    """Arithmetic on 32-bit patterns; numbers are constants in all lanes."""

    def __init__(self, function: Function, lanes: int) -> None:
        self.function = function
        self.lanes = lanes
        self.kind = types.many("i32", lanes)
        self.real = types.many("float", lanes)

    def of(self, text: str) -> str:
        return self.function.value(f"bitcast {self.real} {text} to {self.kind}")

    def as_float(self, text: str) -> str:
        return self.function.value(f"bitcast {self.kind} {text} to {self.real}")

    def do(self, instruction: str, x: str, y: str | int) -> str:
        given = types.constant(str(y), "i32", self.lanes) if isinstance(y, int) else y
        return self.function.value(f"{instruction} {self.kind} {x}, {given}")

    def choose(self, condition: str, x: str | int, y: str) -> str:
        flag = types.many("i1", self.lanes)
        given = types.constant(str(x), "i32", self.lanes) if isinstance(x, int) else x
        return self.function.value(
            f"select {flag} {condition}, {self.kind} {given}, {self.kind} {y}"
        )

    def shorten(self, text: str) -> str:
        return self.function.value(f"trunc {self.kind} {text} to {types.many('i16', self.lanes)}")


def _to_bfloat(bits: _Bits, text: str) -> str:
    pattern = bits.of(text)
    high = bits.do("lshr", pattern, 16)
    even = bits.do("and", high, 1)
    rounded = bits.do("lshr", bits.do("add", bits.do("add", pattern, 0x7FFF), even), 16)
    # Rounding could carry a NaN's payload into the sign bit; keep it a quiet NaN instead.
    quiet = bits.do("or", high, 0x40)
    is_nan = bits.function.value(f"fcmp uno {bits.real} {text}, {text}")
    return bits.shorten(bits.choose(is_nan, quiet, rounded))


def _from_half(function: Function, target: Target, text: str, lanes: int) -> str:
    short, bits = types.many("i16", lanes), _Bits(function, lanes)
    if target.half:
        half = types.many("half", lanes)
        same = function.value(f"bitcast {short} {text} to {half}")
        return function.value(f"fpext {half} {same} to {bits.real}")
    wide = function.value(f"zext {short} {text} to {bits.kind}")
    sign = bits.do("shl", bits.do("and", wide, 0x8000), 16)
    place = bits.as_float(bits.do("shl", bits.do("and", wide, 0x7FFF), 13))
    # 2^112 moves the exponent's bias, and makes subnormal numbers normal.
    scale = types.constant("0x46F0000000000000", "float", lanes)
    scaled = bits.of(function.value(f"fmul {bits.real} {place}, {scale}"))
    special = bits.do("icmp uge", scaled, 143 << 23)
    whole = bits.choose(special, bits.do("or", scaled, 0x7F800000), scaled)
    return bits.as_float(bits.do("or", whole, sign))


def _to_half(function: Function, target: Target, text: str, lanes: int) -> str:
    short, bits = types.many("i16", lanes), _Bits(function, lanes)
    if target.half:
        half = types.many("half", lanes)
        if lanes == 1:
            # LLVM would join scalar conversions on both sides of a copysign to one from double to
            # half, for which it calls a function that is nowhere.
            text = types.intrinsic(function, "arithmetic.fence", "float", 1, (text,))
        rounded = function.value(f"fptrunc {bits.real} {text} to {half}")
        return function.value(f"bitcast {half} {rounded} to {short}")
    pattern = bits.of(text)
    sign = bits.do("and", bits.do("lshr", pattern, 16), 0x8000)
    size = bits.do("and", pattern, 0x7FFFFFFF)
    # Subnormal results: adding 1/2 leaves the rounded fraction in the lowest bits.
    half_one = types.constant("0x3FE0000000000000", "float", lanes)
    summed = function.value(f"fadd {bits.real} {bits.as_float(size)}, {half_one}")
    small = bits.do("sub", bits.of(summed), 126 << 23)
    odd = bits.do("and", bits.do("lshr", size, 13), 1)
    moved = bits.do("add", bits.do("sub", size, (112 << 23) - 0xFFF), odd)
    result = bits.choose(bits.do("icmp ult", size, 113 << 23), small, bits.do("lshr", moved, 13))
    is_nan = bits.do("icmp ugt", size, 255 << 23)
    infinite = bits.choose(is_nan, 0x7E00, types.constant(str(0x7C00), "i32", lanes))
    large = bits.do("icmp uge", size, 143 << 23)
    return bits.shorten(bits.do("or", bits.choose(large, infinite, result), sign))
