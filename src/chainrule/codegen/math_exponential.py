"""Exponentials: exp, expm1, sigmoid, and the hyperbolic functions, which are made of them.

Takes: vectors of real numbers. Gives: the same functions of IEEE 754 and C99 Annex F, to 2 units
in the last place.
The one idea: x = n ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^n exp(r), where exp(r) is a
polynomial and 2^n is put together from bits.

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math

from chainrule.codegen.math_lanes import Lanes, Real, Whole, multiply_add, polynomial

# exp(r) = 1 + r + r² Q(r) for |r| <= ln 2 / 2; relative errors 2^-28, 2^-39 and 2^-57.
_SINGLE = (
    *(0.4999999403953552, 0.16666516661643982, 0.04166810214519501, 0.008369196206331253),
    *(0.0013839040184393525,),
)
_SHORT = (
    *(0.5000000000427206, 0.1666666678453321, 0.0416666644030509, 0.008333281778640872),
    *(0.0013889197383997, 0.00019908959834171903, 2.4708228864370565e-05),
)
_DOUBLE = (
    *(0.5000000000000011, 0.16666666666666435, 0.04166666666652575, 0.008333333333472881),
    *(0.0013888888944914002, 0.0001984126956665677, 2.4801491645369424e-05),
    *(2.755752164717985e-06, 2.7630807261418164e-07, 2.502387621007838e-08),
)
# The same, with the error relative to expm1(r): 2^-28 and 2^-61.
_MINUS_ONE_SINGLE = (
    *(0.5, 0.16666635870933533, 0.041666511446237564, 0.008341506123542786),
    *(0.001393051235936582, 0.00015049496141728014),
)
_MINUS_ONE_DOUBLE = (
    *(0.5, 0.16666666666666677, 0.04166666666666669, 0.008333333333321735),
    *(0.0013888888888884405, 0.0001984126988545317, 2.4801587301643443e-05),
    *(2.7557245113137234e-06, 2.7557309418462854e-07, 2.5108677054865206e-08),
    *(2.0899972983051437e-09,),
)
# tanh(x) = x + x³ P(x²) for |x| <= 0.6; relative errors 2^-28 and 2^-64.
_TANH_SINGLE = (
    *(-0.33333298563957214, 0.13331936299800873, -0.05378471687436104, 0.02079862169921398),
    *(-0.005897951778024435,),
)
_TANH_DOUBLE = (
    *(-0.3333333333333333, 0.13333333333332928, -0.05396825396794358, 0.021869488524182776),
    *(-0.008863235257368856, 0.0035921240476284944, -0.0014557949195888986),
    *(0.0005897558849622479, -0.0002378137477438229, 9.244041982145439e-05),
    *(-2.8788036057709833e-05, -3.040256410135875e-07, 8.69905317703206e-06),
    *(-4.432111615894129e-06,),
)
_TANH_NEAR = 0.6

# ln 2 in two parts; n times the first is exact (Cephes; fdlibm).
_LN2_SINGLE = (0.693359375, -2.12194440e-4)
LN2_DOUBLE = (6.93147180369123816490e-01, 1.90821492927058770002e-10)


def exp(x: Real) -> Real:
    """Return e^x."""
    # Beyond these the result is inf or 0 for sure, and 2^n still has a legal exponent.
    x = x.at_most(710.0 if x.at.bits == 64 else 89.0)
    x = x.at_least(-746.0 if x.at.bits == 64 else -104.0)
    r, n = reduce_exponent(x)
    return scale(_exp_reduced(r), n)


def exp_of_pair(high: Real, low: Real) -> Real:
    """Return e^(high + low), in 64 bits."""
    inner = high.at_most(710.0).at_least(-746.0)
    low = (inner - high).equals(0.0).choose(low, 0.0)
    n, rest, power = _reduce(inner)
    r = rest + multiply_add(n, -LN2_DOUBLE[1], low)
    return scale(_exp_reduced(r), power)


def half_exp(x: Real) -> Real:
    """Return e^x / 2 for x >= 0 without overflow before the result's."""
    r, n = reduce_exponent(x.at_most(711.0))
    power = power_of_two(n, -2)
    return _exp_reduced(r) * power * 2.0


def expm1(x: Real) -> Real:
    """Return e^x - 1."""
    double = x.at.bits == 64
    inner = x.at_most(710.0 if double else 89.0).at_least(-40.0 if double else -20.0)
    r, n = reduce_exponent(inner)
    rest = multiply_add(r * r, polynomial(r, _MINUS_ONE_DOUBLE if double else _MINUS_ONE_SINGLE), r)
    # 2^n (1 + rest) - 1 = 2 (2^(n-1) rest + (2^(n-1) - 1/2)); 2^n itself may overflow.
    power = power_of_two(n, -1)
    result = multiply_add(rest, power, power - 0.5)
    # Halving and doubling would lose a bit of subnormal numbers, and the sign of -0.
    tiny = x.size() < 2.0 ** (-x.at.mantissa - 3)
    return tiny.choose(x, result + result)


def sigmoid(x: Real) -> Real:
    """Return 1 / (1 + e^-x), in the left tail too, where e^-x overflows."""
    inner = (-x.size()).at_least(-746.0 if x.at.bits == 64 else -104.0)
    r, n = reduce_exponent(inner)
    small = scale(_exp_reduced(r), n)
    # As a difference, so that rounding 1 + e^-|x| hardly counts in the tails.
    quotient = small / (small + 1.0)
    whole = (x < 0.0).choose(small, 1.0)
    return multiply_add(-quotient, whole, whole)


def tanh(x: Real) -> Real:
    """Return the hyperbolic tangent."""
    double = x.at.bits == 64
    size = x.size()
    square = x * x
    coefficients = _TANH_DOUBLE if double else _TANH_SINGLE
    near = multiply_add(size * square, polynomial(square, coefficients), size)
    # From here on the result rounds to 1.
    r, n = reduce_exponent((size + size).at_most(44.0 if double else 20.0))
    far = 1.0 - 2.0 / (_exp_reduced(r) * power_of_two(n) + 1.0)
    return (size < _TANH_NEAR).choose(near, far).with_sign_of(x)


def reduce_exponent(x: Real) -> tuple[Real, Whole]:
    """Return r and n of x = n ln 2 + r; n as the low bits of a number, see `scale`."""
    n, rest, power = _reduce(x)
    low = LN2_DOUBLE[1] if x.at.bits == 64 else _LN2_SINGLE[1]
    return multiply_add(n, -low, rest), power


def _reduce(x: Real) -> tuple[Real, Real, Whole]:
    """Return n, x - n times the first part of ln 2, and n as the low bits of a number."""
    # Adding 1.5 * 2^52 rounds to a whole number, which then stands in the low bits.
    at = x.at
    shift = _shift(at)
    shifted = multiply_add(x, 1 / math.log(2), shift)
    n = shifted - shift
    high = LN2_DOUBLE[0] if at.bits == 64 else _LN2_SINGLE[0]
    return n, multiply_add(n, -high, x), shifted.bits()


def _shift(at: Lanes) -> float:
    # Twice the bias of the exponents on top, so that n is not negative in the low bits.
    return float(3 * 2 ** (at.mantissa - 1) + 2 * at.bias)


def _exp_reduced(r: Real) -> Real:
    if r.at.bits == 32:
        return polynomial(r, (1.0, 1.0, *_SINGLE))
    return polynomial(r, (1.0, 1.0, *(_SHORT if r.at.short else _DOUBLE)))


def power_of_two(n: Whole, offset: int = 0) -> Real:
    """Return 2^(n + offset) for a result that is a normal number; n as of `reduce_exponent`."""
    at = n.at
    return ((n + (offset - at.bias)) << at.mantissa).as_real()


def scale(x: Real, n: Whole) -> Real:
    """Return x 2^n for 0.5 < x < 2, rounded once if subnormal; n as of `reduce_exponent`."""
    # Two factors, because 2^n may be out of range where the result is not. The low bits of the
    # shifted number are n + 2 bias; all above them leave by shifting.
    half = n >> 1
    first = (half << x.at.mantissa).as_real()
    second = ((n - half) << x.at.mantissa).as_real()
    return x * first * second
