"""Powers: pow, rsqrt and hypot.

Takes: vectors of real numbers. Gives: the same functions of IEEE 754 and C99 Annex F.
The one idea: x^y = e^(y ln x), where ln x is a pair of numbers with twice the bits, because y
multiplies its error by up to a thousand.

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math

from chainrule.codegen.math_exponential import LN2_DOUBLE, exp, exp_of_pair
from chainrule.codegen.math_lanes import (
    Real,
    exact_multiply_add,
    fast_two_sum,
    multiply_add,
    polynomial,
    two_product,
)
from chainrule.codegen.math_logarithm import log_sum, split

# ln(1 + f) = 2s + s³ (2/3 + s² R(s²)) with s = f / (2 + f), √½ <= 1 + f <= √2; error 2^-73.
_LOG_PAIR = (
    *(0.3999999999999998, 0.28571428571443847, 0.22222222217787488, 0.18181818844347003),
    *(0.1538455840048835, 0.13336265691160504, 0.11675754749385708, 0.11981981060063286),
)
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def rsqrt(x: Real) -> Real:
    """Return 1 / √x."""
    return 1.0 / x.root()


def hypot(x: Real, y: Real) -> Real:
    """Return √(x² + y²) without overflow."""
    a, b = x.size(), y.size()
    larger, smaller = (a > b).choose(a, b), (a > b).choose(b, a)
    infinite = a.equals(math.inf) | b.equals(math.inf)
    if x.at.short:
        result = multiply_add(a, a, b * b).root()
    else:
        # Powers of 2, so that squares neither overflow nor vanish.
        up, down = larger > 2.0**500, larger < 2.0**-400
        factor = up.choose(2.0**-600, down.choose(2.0**600, 1.0))
        back = up.choose(2.0**600, down.choose(2.0**-600, 1.0))
        larger, smaller = larger * factor, smaller * factor
        result = multiply_add(larger, larger, smaller * smaller).root() * back
    return infinite.choose(math.inf, result)


def pow(x: Real, y: Real) -> Real:
    """Return x^y, with NumPy's values at 0, 1, inf, NaN and for negative x."""
    base = x.size()
    power = _short_power(base, y) if x.at.short else _power(base, y)
    power = (base.equals(1.0) | y.equals(0.0)).choose(1.0, power)
    half = y * 0.5
    whole = y.truncated().equals(y)
    even = half.truncated().equals(half)
    odd_negative = x.bits().negative() & whole & ~even
    power = odd_negative.choose(-power, power)
    return ((x < 0.0) & (x > -math.inf) & ~whole).choose(math.nan, power)


def _short_power(x: Real, y: Real) -> Real:
    """Return x^y for x >= 0 that was rounded to 24 bits before."""
    k, f = split(x, subnormal=False)
    logarithm = _log_at_ends(x, log_sum(k, f))
    return exp(y * logarithm)


def _log_at_ends(x: Real, logarithm: Real) -> Real:
    return x.equals(0.0).choose(-math.inf, (x < math.inf).choose(logarithm, x))


def _power(x: Real, y: Real) -> Real:
    """Return x^y for x >= 0."""
    high, low = _log_pair(x)
    high = _log_at_ends(x, high)
    exponent, error = two_product(y, high)
    rest = multiply_add(y, low, error)
    # Far out of range the result is inf or 0; there the low parts are NaN.
    rest = (exponent.size() > 1e4).choose(0.0, rest)
    return exp_of_pair(exponent, rest)


def _log_pair(x: Real) -> tuple[Real, Real]:
    """Return ln x as a sum of two numbers with about 70 bits, for finite x > 0."""
    k, f = split(x)
    bottom, bottom_low = fast_two_sum(x.at.real(2.0), f)
    inverse = 1.0 / bottom
    s = f * inverse
    s_low = (exact_multiply_add(-s, bottom, f) - s * bottom_low) * inverse
    square, square_low = two_product(s, s)
    square_low = multiply_add(s + s, s_low, square_low)
    # c = 2/3 + s² R(s²)
    series = polynomial(square, _LOG_PAIR)
    tail, tail_low = two_product(square, series)
    tail_low = multiply_add(square_low, series, tail_low)
    c, c_low = fast_two_sum(x.at.real(_TWO_THIRDS[0]), tail)
    c_low = c_low + (tail_low + _TWO_THIRDS[1])
    # w = 2 + s² c
    cubic, cubic_low = two_product(square, c)
    cubic_low = multiply_add(square, c_low, multiply_add(square_low, c, cubic_low))
    w, w_low = fast_two_sum(x.at.real(2.0), cubic)
    w_low = w_low + cubic_low
    # ln x = k ln 2 + s w
    high, low = two_product(s, w)
    low = multiply_add(s, w_low, multiply_add(s_low, w, low))
    total, error = fast_two_sum(k * LN2_DOUBLE[0], high)
    return fast_two_sum(total, multiply_add(k, LN2_DOUBLE[1], error + low))
