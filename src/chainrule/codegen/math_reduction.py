"""Reduction of large angles modulo π/2, by the method of Payne and Hanek.

Takes: numbers beyond the reach of floating-point reduction. Gives: the rest after taking out
multiples of π/2, as if it had been computed exactly.
The one idea: x 2/π modulo 4 needs only those bits of 2/π whose product with x is below 4 and not
negligible: 192 bits from a table of 1216, multiplied in whole numbers.
"""

from __future__ import annotations

from chainrule.codegen.math_lanes import (
    Lanes,
    Mask,
    Real,
    Whole,
    fast_two_sum,
    multiply_add,
    two_product,
)
from chainrule.codegen.text import Function, Module

# The first 1216 bits of 2/π behind the binary point, in hexadecimal digits.
_TWO_OVER_PI = (
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424d"
    "d2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639"
    "835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f46"
    "3f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab"
)
_WINDOW = 192
# Zeros before the binary point, for numbers whose lowest bit lies behind it.
_PADDING = 64
_TABLE_BITS = _PADDING + 4 * len(_TWO_OVER_PI)
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)

Reduced = tuple[Real, Real, Whole]


def any_lane(mask: Mask) -> str:
    """Return an ``i1`` that says whether a mask holds in any lane."""
    at = mask.at
    if at.count == 1:
        return mask.name
    whole = at.function.value(f"bitcast {at.mask_type} {mask.name} to i{at.count}")
    return at.function.value(f"icmp ne i{at.count} {whole}, 0")


def reduce_large(x: Real, large: Mask, usual: Reduced, any_large: str) -> Reduced:
    """Return r, its rounding error, and n of x = n π/2 + r, where x is large; else the usual.

    Args:
        x: Angles.
        large: Where they are beyond the usual method, and finite.
        usual: What is returned elsewhere.
        any_large: Whether that holds anywhere.
    """
    at, function = x.at, x.at.function
    before = function.label
    slow, done = function.new_label("large"), function.new_label("reduced")
    function.effect(f"br i1 {any_large}, label %{slow}, label %{done}")
    function.begin(slow)
    r, low, n = _each_lane(large.choose(x, 2.0**31))  # a legal angle in the other lanes
    found = (
        large.choose(r, usual[0]),
        large.choose(low, usual[1]),
        large.choose_whole(n, usual[2]),
    )
    after = function.label
    function.effect(f"br label %{done}")
    function.begin(done)
    r, low = (
        Real(at, function.value(f"phi {at.real_type} [{a.name}, %{before}], [{b.name}, %{after}]"))
        for a, b in zip(usual[:2], found[:2], strict=True)
    )
    whole = f"phi {at.whole_type} [{usual[2].name}, %{before}], [{found[2].name}, %{after}]"
    return r, low, Whole(at, function.value(whole))


def _each_lane(x: Real) -> Reduced:
    """Reduce the angles one after the other."""
    at, function = x.at, x.at.function
    callee = _reduction(function.module, fused=at.fused)
    scalar = Lanes(function, at.bits, 1, at.fused)
    if at.count == 1:
        return _one_lane(Real(scalar, x.name), callee)
    source = function.alloca(at.real_type)
    places = [function.alloca(kind) for kind in (at.real_type, at.real_type, at.whole_type)]
    counter = function.alloca("i64")
    function.effect(f"store {at.real_type} {x.name}, ptr {source}, align 64")
    function.effect(f"store i64 0, ptr {counter}")
    loop, end = function.new_label("lane"), function.new_label("lanes_done")
    function.effect(f"br label %{loop}")
    function.begin(loop)
    index = function.value(f"load i64, ptr {counter}")
    item = f"getelementptr {scalar.real_type}"
    angle = function.value(f"{item}, ptr {source}, i64 {index}")
    angle = function.value(f"load {scalar.real_type}, ptr {angle}")
    r, low, n = _one_lane(Real(scalar, angle), callee)
    kinds = (scalar.real_type, scalar.real_type, scalar.whole_type)
    for place, kind, name in zip(places, kinds, (r.name, low.name, n.name), strict=True):
        target = function.value(f"{item}, ptr {place}, i64 {index}")
        function.effect(f"store {kind} {name}, ptr {target}")
    following = function.value(f"add i64 {index}, 1")
    function.effect(f"store i64 {following}, ptr {counter}")
    more = function.value(f"icmp ult i64 {following}, {at.count}")
    function.effect(f"br i1 {more}, label %{loop}, label %{end}")
    function.begin(end)
    r, low = (
        Real(at, function.value(f"load {at.real_type}, ptr {place}, align 64"))
        for place in places[:2]
    )
    return r, low, Whole(at, function.value(f"load {at.whole_type}, ptr {places[2]}, align 64"))


def _one_lane(x: Real, callee: str) -> Reduced:
    at, function = x.at, x.at.function
    double = Lanes(function, 64, 1, at.fused)
    angle = x if at.bits == 64 else x.converted(double)
    result = function.value(f"call {_RESULT} {callee}(double {angle.name})")
    r, low, n = (function.value(f"extractvalue {_RESULT} {result}, {k}") for k in range(3))
    if at.bits == 64:
        return Real(at, r), Real(at, low), Whole(at, n)
    # The pair in 64 bits becomes a pair in 32 bits.
    short = Real(double, r).converted(at)
    rest = (Real(double, r) - short.converted(double)) + Real(double, low)
    whole = function.value(f"trunc i64 {n} to i32")
    return short, rest.converted(at), Whole(at, whole)


_RESULT = "{ double, double, i64 }"


def _reduction(module: Module, *, fused: bool) -> str:
    """Return the function that reduces one angle of at least 2^16."""
    name = "cr_reduce_angle" + ("" if fused else "_unfused")
    if name in module.functions:
        return f"@{name}"
    table = int(_TWO_OVER_PI, 16).to_bytes(_TABLE_BITS // 8, "little")
    text = "".join(f"\\{byte:02X}" for byte in table)
    module.data["cr_two_over_pi"] = (
        f'@cr_two_over_pi = internal constant [{len(table)} x i8] c"{text}"'
    )
    function = Function(
        module, name, ["double %x"], _RESULT, linkage="internal", attributes="noinline nounwind"
    )
    at = Lanes(function, 64, 1, fused)
    x = Real(at, "%x")
    high, low, shift, quadrant, below = _fraction(function, x)
    # (high + low) π/2, a sum of two numbers again
    r, rest = two_product(high, _HALF_PI[0])
    rest = rest + multiply_add(high, _HALF_PI[1], low * _HALF_PI[0])
    r, rest = fast_two_sum(r, rest)
    power = ((shift ^ -1) + (1 + at.bias - 64) << at.mantissa).as_real()  # 2^(-64 - shift)
    negative = x.bits().negative()
    opposite = negative ^ below
    r, rest = r * power, rest * power
    r, rest = opposite.choose(-r, r), opposite.choose(-rest, rest)
    quadrant = negative.choose_whole(at.whole(0) - quadrant, quadrant)
    built = "poison"
    parts = (f"double {r.name}", f"double {rest.name}", f"i64 {quadrant.name}")
    for k, part in enumerate(parts):
        built = function.value(f"insertvalue {_RESULT} {built}, {part}, {k}")
    function.effect(f"ret {_RESULT} {built}")
    function.finish()
    return f"@{name}"


def _fraction(function: Function, x: Real) -> tuple[Real, Real, Whole, Whole, Mask]:
    """Return |x| 2/π modulo 4 as a whole number and a fraction between -1/2 and 1/2.

    Returns:
        The fraction's size times 2^(64 + shift) in two parts, the shift, the whole number, and
        whether the fraction is negative.
    """
    at = x.at
    write = function.value

    def wide(value: Whole) -> str:
        return write(f"zext i64 {value.name} to i128")

    def narrow(value: str) -> Whole:
        return Whole(at, write(f"trunc i128 {value} to i64"))

    def upper(value: str) -> Whole:
        return narrow(write(f"lshr i128 {value}, 64"))

    bits = x.bits()
    exponent = ((bits >> 52) & 2047) - (at.bias + at.mantissa)
    # The window begins 2 to 9 bits above the lowest bit of x, at a whole byte.
    start = (exponent - 2) & -8
    place = (at.whole(_TABLE_BITS - _PADDING - _WINDOW) - start) >> 3
    address = write(f"getelementptr i8, ptr @cr_two_over_pi, i64 {place.name}")
    words = []
    for byte in (0, 8, 16):
        word = write(f"getelementptr i8, ptr {address}, i64 {byte}")
        words.append(Whole(at, write(f"load i64, ptr {word}, align 1")))
    # |x| 2/π modulo 4 in units of 2^-190: the lower 192 bits of mantissa times window, of which
    # the lowest 64 count only by what they carry.
    shifted = write(f"shl i64 {((bits & (2**52 - 1)) | 2**52).name}, {(exponent - start - 2).name}")
    mantissa = Whole(at, shifted)
    factor = wide(mantissa)
    carried = wide(upper(write(f"mul i128 {factor}, {wide(words[0])}")))
    middle = write(f"add i128 {write(f'mul i128 {factor}, {wide(words[1])}')}, {carried}")
    highest = upper(middle) + Whole(at, write(f"mul i64 {shifted}, {words[2].name}"))
    joined = write(f"shl i128 {wide(highest)}, 64")
    joined = write(f"or i128 {joined}, {wide(narrow(middle))}")
    # Without the whole part it is a fraction in units of 2^-128; from 1/2 on it counts downwards.
    fraction = write(f"shl i128 {joined}, 2")
    below = Mask(at, write(f"icmp slt i128 {fraction}, 0"))
    quadrant = (highest >> 62) + Whole(at, write(f"zext i1 {below.name} to i64"))
    opposite = write(f"sub i128 0, {fraction}")
    size = write(f"select i1 {below.name}, i128 {opposite}, i128 {fraction}")
    callee = function.module.declare(
        "llvm.ctlz.i128", "declare i128 @llvm.ctlz.i128(i128, i1 immarg)"
    )
    zeros = write(f"call i128 {callee}(i128 {size}, i1 false)")
    size = write(f"shl i128 {size}, {zeros}")
    top, rest = upper(size), narrow(size)
    high = Real(at, write(f"uitofp i64 {(top & -2048).name} to double"))
    remaining = (top << 53) | (rest >> 11)
    low = Real(at, write(f"uitofp i64 {remaining.name} to double")) * 2.0**-53
    return high, low, narrow(zeros), quadrant, below
