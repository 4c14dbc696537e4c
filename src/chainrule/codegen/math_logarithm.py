"""Logarithms: log, log1p, log2, log10, and logaddexp, which is made of them.

Takes: vectors of real numbers. Gives: the same functions of IEEE 754 and C99 Annex F.
The one idea: x = 2^k (1 + f) with 1 + f between √½ and √2, so ln(x) = k ln 2 + ln(1 + f), where
ln(1 + f) is a polynomial in f, or with s = f / (2 + f) the odd series 2 artanh(s).

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math
from dataclasses import replace

from chainrule.codegen.math_exponential import LN2_DOUBLE, exp
from chainrule.codegen.math_lanes import (
    Real,
    exact_multiply_add,
    multiply_add,
    polynomial,
    two_sum,
)

# ln(1 + f) = f - f²/2 + f³ P(f) for √½ <= 1 + f <= √2; relative error 2^-27.
_SINGLE = (
    *(0.3333333134651184, -0.250008225440979, 0.20001259446144104, -0.1662333905696869),
    *(0.14201045036315918, -0.13159622251987457, 0.1276618093252182, -0.07641653716564178),
)
# ln(1 + f) = 2s + s³ R(s²), relative errors 2^-37 and 2^-59.
_SHORT = (0.6666666564469484, 0.4000033539533617, 0.28537293979623723, 0.23582452942679885)
_DOUBLE = (
    *(0.6666666666666734, 0.3999999999941643, 0.28571428742108057, 0.2222219859406355),
    *(0.18183563548420026, 0.15314064145032688, 0.14795866268707625),
)
# ln(1 + e) = 2s + s³ R(s²) with s = e / (2 + e) for 0 <= e <= 1; relative error 2^-59.
_SUM = (
    *(0.6666666666666631, 0.40000000000156216, 0.28571428547956906, 0.22222223964369972),
    *(0.18181744088520985, 0.15386556831695686, 0.13301010239414648),
    *(0.12105820715494814, 0.08341176160335706, 0.17016713250111934),
)
# ln 2 in two parts; k times the first is exact (Cephes).
_LN2_SINGLE = (0.693359375, -2.12194440e-4)
# log10(2) in two parts; k times the first is exact (fdlibm).
_LOG10_2 = (3.01029995663611771306e-01, 3.69423907715893078616e-13)


def log(x: Real) -> Real:
    """Return the natural logarithm."""
    k, f = split(x)
    return _at_borders(x, log_sum(k, f))


def log2(x: Real) -> Real:
    """Return the logarithm to base 2, exact for powers of 2."""
    k, f = split(x)
    zero = x.at.real(0.0)
    return _at_borders(x, multiply_add(log_sum(zero, f), 1 / math.log(2), k))


def log10(x: Real) -> Real:
    """Return the logarithm to base 10."""
    k, f = split(x)
    high, low = _LOG10_2
    rest = multiply_add(log_sum(x.at.real(0.0), f), 1 / math.log(10), k * low)
    return _at_borders(x, multiply_add(k, high, rest))


def log1p(x: Real) -> Real:
    """Return ln(1 + x)."""
    return log1p_doubled(x, x.at.real(0.0))


def log1p_doubled(x: Real, more: Real) -> Real:
    """Return ln(1 + x) + more ln 2 with the sign of x, for a whole number `more`."""
    total, error = two_sum(x.at.real(1.0), x)
    k, f = split(total, subnormal=False)
    near = k.equals(0.0)
    # Where no power of 2 was taken out, x itself is f; elsewhere the sum's error counts.
    f = near.choose(x, f)
    correction = near.choose(0.0, error / total)
    result = log_sum(k + more, f, correction)
    result = (x < math.inf).choose(result, x)
    # x = -1 with an infinite logarithm, NaN below
    limit = x.equals(-1.0).choose(-math.inf, math.nan)
    return (x <= -1.0).choose(limit, result).with_sign_of(x)


def logaddexp(x: Real, y: Real) -> Real:
    """Return ln(e^x + e^y), in 64 bits: the larger of both plus ln(1 + e^-|x - y|)."""
    at = x.at
    larger = (x > y).choose(x, y)
    # Of full precision even if 24 bits are wanted, because the summands may cancel.
    gap = Real(replace(at, short=False), (x - y).size().name)
    small = Real(at, exp(-gap).name)
    below = small + 2.0
    s = small / below
    square = s * s
    cubic = s * square * polynomial(square, _SUM)
    if not at.short:
        # What was lost in adding 2 and in dividing, times 2 / (2 + small), roughly.
        lost = exact_multiply_add(-s, below, small) - s * (small - (below - 2.0))
        cubic = multiply_add(lost, 0.8, cubic)
    rest = (s + s) + cubic
    # Equal infinities have no difference.
    result = larger.size().equals(math.inf).choose(larger, larger + rest)
    return x.unordered(y).choose(math.nan, result)


def split(x: Real, *, subnormal: bool = True) -> tuple[Real, Real]:
    """Return k as a real number, and f, of x = 2^k (1 + f) > 0."""
    at = x.at
    low = at.pattern(math.sqrt(0.5))
    # A number between 2^m and 2^(m+1), m bits behind the leading one, shows a whole number in
    # its low bits.
    base = at.real(2.0**at.mantissa + at.bias)
    if subnormal:
        steps = at.mantissa + 2
        tiny = x < 2.0 ** (1 - at.bias)
        x = tiny.choose(x * 2.0**steps, x)
        base = tiny.choose(2.0**at.mantissa + at.bias + steps, base)
    # Counted from √½, the exponent's field is k + bias and the mantissa's says where 1 + f is.
    counted = x.bits() + (at.pattern(1.0) - low)
    k = ((counted >> at.mantissa) | at.pattern(2.0**at.mantissa)).as_real() - base
    mantissa = (counted & (2**at.mantissa - 1)) + low
    return k, mantissa.as_real() - 1.0


def log_sum(k: Real, f: Real, correction: Real | None = None) -> Real:
    """Return k ln 2 + ln(1 + f) + a small correction."""
    single = f.at.bits == 32
    high, low = _LN2_SINGLE if single else LN2_DOUBLE
    if single:
        square = f * f
        rest = square * (f * polynomial(f, _SINGLE))
        rest = multiply_add(k, low, rest)
        if correction is not None:
            rest = rest + correction
        return multiply_add(k, high, f + multiply_add(square, -0.5, rest))
    s = f / (f + 2.0)
    square = s * s
    if f.at.short:
        total = multiply_add(
            k, math.log(2), s * multiply_add(square, polynomial(square, _SHORT), 2.0)
        )
        return total if correction is None else total + correction
    # 2s = f - s f, and f - f²/2 is the larger part of the sum (fdlibm).
    half = f * f * 0.5
    small = multiply_add(s, multiply_add(square, polynomial(square, _DOUBLE), half), k * low)
    if correction is not None:
        small = small + correction
    return multiply_add(k, high, f - (half - small))


def _at_borders(x: Real, result: Real) -> Real:
    """Return a logarithm, with its values at 0, inf and NaN, and NaN below 0."""
    result = (x < math.inf).choose(result, x)
    limit = x.equals(0.0).choose(-math.inf, math.nan)
    return (x <= 0.0).choose(limit, result)
