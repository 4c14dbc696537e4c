"""Hyperbolic functions without tanh, and their inverses.

Takes: vectors of real numbers. Gives: the same functions of IEEE 754 and C99 Annex F.
The one idea: away from 0 they are sums of e^x and e^-x, or logarithms; near 0 an odd polynomial,
or a logarithm of 1 + x that does not form 1 + x.

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math

from chainrule.codegen.math_exponential import half_exp
from chainrule.codegen.math_lanes import Real, multiply_add, polynomial
from chainrule.codegen.math_logarithm import log1p, log1p_doubled

# sinh(x) = x + x³ P(x²) for |x| <= 1; relative errors 2^-34 and 2^-62.
_SINH_SHORT = (
    *(0.1666666648873751, 0.008333350597071274, 0.00019836066421570755),
    *(2.8174387125544997e-06,),
)
_SINH_DOUBLE = (
    *(0.16666666666666666, 0.00833333333333357, 0.00019841269841066548),
    *(2.7557319307093475e-06, 2.5052090211402943e-08, 1.6061228771941228e-10),
    *(7.510902553820435e-13, 6.266216766371931e-15),
)


def sinh(x: Real) -> Real:
    """Return the hyperbolic sine."""
    size = x.size()
    square = x * x
    coefficients = _SINH_SHORT if x.at.short else _SINH_DOUBLE
    near = multiply_add(size * square, polynomial(square, coefficients), size)
    half = half_exp(size)
    far = half - 0.25 / half
    return (size < 1.0).choose(near, far).with_sign_of(x)


def cosh(x: Real) -> Real:
    """Return the hyperbolic cosine."""
    half = half_exp(x.size())
    return half + 0.25 / half


def asinh(x: Real) -> Real:
    """Return the inverse of the hyperbolic sine, ln(x + √(x² + 1))."""
    size = x.size()
    # Beyond, x² + 1 is x²; further out it would overflow.
    large = size > 2.0**60
    inner = large.choose(1.0, size)
    square = inner * inner
    small = inner + square / ((square + 1.0).root() + 1.0)
    argument = large.choose(size, small)
    return log1p_doubled(argument, large.choose(1.0, 0.0)).with_sign_of(x)


def acosh(x: Real) -> Real:
    """Return the inverse of the hyperbolic cosine for x >= 1, ln(x + √(x² - 1))."""
    large = x > 2.0**60
    above = large.choose(1.0, x) - 1.0
    small = above + multiply_add(above, above, above + above).root()
    result = log1p_doubled(large.choose(x, small), large.choose(1.0, 0.0))
    return (x < 1.0).choose(math.nan, result)


def atanh(x: Real) -> Real:
    """Return the inverse of the hyperbolic tangent, ln((1 + x) / (1 - x)) / 2."""
    size = x.size()
    return (log1p((size + size) / (1.0 - size)) * 0.5).with_sign_of(x)
