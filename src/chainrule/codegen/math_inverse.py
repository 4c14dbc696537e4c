"""Inverse trigonometric functions: asin, acos, atan, atan2.

Takes: vectors of real numbers. Gives: the same functions of IEEE 754 and C99 Annex F.
The one idea: identities bring the argument to where an odd polynomial suffices; what they add, a
multiple of π/4, is kept in two parts.

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math

from chainrule.codegen.math_lanes import Mask, Real, multiply_add, polynomial

# asin(x) = x + x³ P(x²) for |x| <= 0.5; relative errors 2^-31 and 2^-59.
_ASIN_SHORT = (
    *(0.16666659872556927, 0.07500510926971765, 0.044515712379353256),
    *(0.03181769939005538, 0.014402248238807676, 0.03756570615907428),
)
_ASIN_DOUBLE = (
    *(0.16666666666666763, 0.0749999999997013, 0.04464285717525161, 0.030381942677103615),
    *(0.022372215850413987, 0.017351596558335507, 0.013981005232299247),
    *(0.011397406176681672, 0.010788666397473192, 0.0036747268805349073),
    *(0.02178431298059446, -0.021107561859252555, 0.032696322792606335),
)
# atan(t) = t + t³ P(t²) for |t| <= √2 - 1; relative errors 2^-35 and 2^-63.
_ATAN_SHORT = (
    *(-0.33333332514557495, 0.19999905186031108, -0.14282042086305363),
    *(0.11045093928570575, -0.08478409004640343, 0.047482807463346266),
)
_ATAN_DOUBLE = (
    *(-0.33333333333333326, 0.19999999999997095, -0.14285714285316362, 0.11111111083739593),
    *(-0.09090907985474311, 0.07692279187945048, -0.06666174418937196, 0.058765131461594934),
    *(-0.05215154938459133, 0.04490436595650857, -0.03317147687630884, 0.014889740281157178),
)
# π/2 in two parts; multiples of it by 1/2, 3/2 and 2 are rounded anew.
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
_QUARTER_PI = (0.7853981633974483, 3.061616997868383e-17)
_THREE_QUARTERS_PI = (2.356194490192345, 9.184850993605148e-17)
_PI = (3.141592653589793, 1.2246467991473532e-16)


def asin(x: Real) -> Real:
    """Return the inverse of the sine."""
    size = x.size()
    small, base, rest = _asin_parts(size)
    # asin(x) = π/2 - 2 asin(√((1 - x) / 2))
    high, low = _HALF_PI
    far = (high - (base + base)) - ((rest + rest) - low)
    return small.choose(base + rest, far).with_sign_of(x)


def acos(x: Real) -> Real:
    """Return the inverse of the cosine."""
    small, base, rest = _asin_parts(x.size())
    high, low = _HALF_PI
    middle = high - (x - (low - rest.with_sign_of(x)))
    double, double_rest = base + base, rest + rest
    left = (_PI[0] - double) - (double_rest - _PI[1])
    right = double + double_rest
    return small.choose(middle, (x < 0.0).choose(left, right))


def _asin_parts(size: Real) -> tuple[Mask, Real, Real]:
    """Return where |x| <= 0.5, and asin of x there, of √((1 - x) / 2) elsewhere, in two parts."""
    small = size <= 0.5
    square = small.choose(size * size, (1.0 - size) * 0.5)
    base = small.choose(size, square.root())
    coefficients = _ASIN_SHORT if size.at.short else _ASIN_DOUBLE
    return small, base, base * square * polynomial(square, coefficients)


def atan(x: Real) -> Real:
    """Return the inverse of the tangent."""
    return _angle(x.size(), x.at.real(1.0)).with_sign_of(x)


def atan2(y: Real, x: Real) -> Real:
    """Return the angle of the point (x, y)."""
    a, b = y.size(), x.size()
    infinite = a.equals(math.inf) & b.equals(math.inf)
    a, b = infinite.choose(1.0, a), infinite.choose(1.0, b)
    b = (a.equals(0.0) & b.equals(0.0)).choose(1.0, b)
    if not x.at.short:
        # Keeps a + b finite, and the comparisons exact among subnormal numbers.
        large = (a > 2.0**1000) | (b > 2.0**1000)
        tiny = (a < 2.0**-900) & (b < 2.0**-900)
        factor = large.choose(2.0**-100, tiny.choose(2.0**100, 1.0))
        a, b = a * factor, b * factor
    return _angle(a, b, x.bits().negative()).with_sign_of(y)


def _angle(a: Real, b: Real, left: Mask | None = None) -> Real:
    """Return the angle of the point (b, a), a >= 0 and b >= 0, or (-b, a) where `left` holds."""
    steep = a > b * (math.sqrt(2) + 1)
    middle = a > b * (math.sqrt(2) - 1)
    # atan(a / b) is π/2 - atan(b / a) and π/4 + atan((a - b) / (a + b)).
    above = steep.choose(-b, middle.choose(a - b, a))
    below = steep.choose(a, middle.choose(a + b, b))
    high, low = (steep.choose(_HALF_PI[n], middle.choose(_QUARTER_PI[n], 0.0)) for n in (0, 1))
    t = above / below
    if left is not None:
        far_high, far_low = (
            steep.choose(_HALF_PI[n], middle.choose(_THREE_QUARTERS_PI[n], _PI[n])) for n in (0, 1)
        )
        high, low = left.choose(far_high, high), left.choose(far_low, low)
        t = left.choose(-t, t)
    square = t * t
    coefficients = _ATAN_SHORT if a.at.short else _ATAN_DOUBLE
    return high + (t + multiply_add(t * square, polynomial(square, coefficients), low))
