"""Sine, cosine and tangent.

Takes: vectors of real numbers. Gives: the same functions of IEEE 754 and C99 Annex F, for every
argument.
The one idea: x = n π/2 + r with |r| <= π/4; then polynomials in r², and n modulo 4 says which
one and with which sign. For moderate x, π/2 in three parts is exact enough (Cody and Waite); if
any lane is beyond, those lanes are reduced one by one in whole numbers (Payne and Hanek).

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math

from chainrule.codegen.math_lanes import (
    Real,
    Whole,
    exact_multiply_add,
    fast_two_sum,
    multiply_add,
    polynomial,
    two_product,
)
from chainrule.codegen.math_reduction import any_lane, reduce_large

# sin(r) = r + r³ S(r²) and cos(r) = 1 - r²/2 + r⁴ C(r²) for |r| <= π/4; relative errors 2^-28,
# 2^-32 (enough for 64-bit methods that are rounded to 24 bits, too), 2^-63 and 2^-63.
_SIN_SINGLE = (-0.16666655242443085, 0.008332190103828907, -0.00019518400949891657)
_COS_SINGLE = (0.04166664555668831, -0.00138873013202101, 2.4430675694020465e-05)
_SIN_DOUBLE = (
    *(-0.16666666666666666, 0.008333333333333038, -0.00019841269840956008),
    *(2.7557319069763326e-06, -2.5052069669393737e-08, 1.605413821422772e-10),
    *(-7.38039552373576e-13,),
)
_COS_DOUBLE = (
    *(0.0416666666666666, -0.001388888888887444, 2.4801587289634095e-05),
    *(-2.755731438664885e-07, 2.0875726928533503e-09, -1.1359794946874635e-11),
)
# π/2 in three parts of full precision.
_HALF_PI_SINGLE = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
_HALF_PI_DOUBLE = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
# Up to here n times the first part and the differences are exact enough.
_LIMIT_SINGLE = 1e5
_LIMIT_DOUBLE = 2.0**30


def sin(x: Real) -> Real:
    """Return the sine."""
    r, low, quadrant = _reduce(x)
    sine, cosine = _sine(r, low), _cosine(r, low)
    result = _signed((quadrant & 1).equals(0).choose(sine, cosine), quadrant)
    return x.equals(0.0).choose(x, result)  # else -0 would become 0


def cos(x: Real) -> Real:
    """Return the cosine."""
    r, low, quadrant = _reduce(x)
    sine, cosine = _sine(r, low), _cosine(r, low)
    return _signed((quadrant & 1).equals(0).choose(cosine, sine), quadrant + 1)


def tan(x: Real) -> Real:
    """Return the tangent."""
    r, low, quadrant = _reduce(x)
    sine, cosine = _sine(r, low), _cosine(r, low)
    even = (quadrant & 1).equals(0)
    result = even.choose(sine, -cosine) / even.choose(cosine, sine)
    return x.equals(0.0).choose(x, result)


def _signed(x: Real, quadrant: Whole) -> Real:
    """Return the number, negative in quadrants 2 and 3."""
    sign = (quadrant & 2) << (x.at.bits - 2)
    return (x.bits() ^ sign).as_real()


def _sine(r: Real, low: Real) -> Real:
    """Return sin(r + low)."""
    square = r * r
    if r.at.bits == 32 or r.at.short:
        return r + multiply_add(r * square, polynomial(square, _SIN_SINGLE), low)
    # low cos(r), of which 1 - r²/2 is enough
    rest = multiply_add(low * square, -0.5, low)
    return r + multiply_add(r * square, polynomial(square, _SIN_DOUBLE), rest)


def _cosine(r: Real, low: Real) -> Real:
    """Return cos(r + low)."""
    square = r * r
    if r.at.bits == 32 or r.at.short:
        rest = multiply_add(r, -low, square * square * polynomial(square, _COS_SINGLE))
    else:
        rest = multiply_add(r, -low, square * square * polynomial(square, _COS_DOUBLE))
    half = square * 0.5
    near = 1.0 - half
    return near + (((1.0 - near) - half) + rest)


def _reduce(x: Real) -> tuple[Real, Real, Whole]:
    """Return r, its rounding error, and n (in the low bits) of x = n π/2 + r."""
    at = x.at
    single = at.bits == 32
    first, second, third = _HALF_PI_SINGLE if single else _HALF_PI_DOUBLE
    # Adding 1.5 * 2^52 rounds to a whole number, which then stands in the low bits.
    shift = float(3 * 2 ** (at.mantissa - 1))
    shifted = multiply_add(x, 2 / math.pi, shift)
    n = shifted - shift
    rest = exact_multiply_add(n, -first, x)
    product, product_low = two_product(n, second)
    # Exact though the product may be the larger: the rest is a multiple of its last place.
    r, low = fast_two_sum(rest, -product)
    r, low = fast_two_sum(r, multiply_add(n, -third, low - product_low))
    large = (x.size() > (_LIMIT_SINGLE if single else _LIMIT_DOUBLE)) & (x.size() < math.inf)
    return reduce_large(x, large, (r, low, shifted.bits()), any_lane(large))
