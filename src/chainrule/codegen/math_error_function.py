"""The error function, its complement and its inverse.

Takes: vectors of real numbers. Gives: the same functions with their limits at ±inf.
The one idea: near 0 a polynomial in x²; further out erfc(x) = e^(-x²) G(t) / (x + 3) with a
polynomial G in t = (x - 3) / (x + 3), which maps [0, ∞) to a finite interval (Schonfelder 1978).

All coefficients were fitted for this file by Remez exchange at 50 digits, one after the other
rounded to the precision it is used in and the others fitted again.
"""

from __future__ import annotations

import math

from chainrule.codegen.math_exponential import exp, exp_of_pair
from chainrule.codegen.math_lanes import (
    Lanes,
    Mask,
    Real,
    multiply_add,
    polynomial,
    two_product,
)
from chainrule.codegen.math_logarithm import log

# erf(x) = x + x P(x²): for |x| <= 0.9 in 32 bits, else for |x| <= 1; errors 2^-26, 2^-29, 2^-56.
_NEAR_SINGLE = (
    *(0.12837915122509003, -0.3761250376701355, 0.11281921714544296, -0.026770491153001785),
    *(0.004998953081667423, -0.0006020751898176968),
)
_NEAR_SHORT = (
    *(0.1283791657270888, -0.37612625824229357, 0.11283585136831095, -0.026853811199293674),
    *(0.005188326061192158, -0.0008010178762982446, 7.853813298034853e-05),
)
_NEAR_DOUBLE = (
    *(0.1283791670955126, -0.376126389031841, 0.11283791670971097, -0.026866170648031214),
    *(0.005223977652706165, -0.0008548328538022385, 0.00012055386355003885),
    *(-1.4926887946206479e-05, 1.6481214183193504e-06, -1.655940638123325e-07),
    *(1.6033236506763326e-08, -1.6561507956061119e-09, 1.4541554238870716e-10),
)
# erfc(x) = P(x)⁴ for 0.9 <= x <= 4, where erf rounds to 1; absolute error 2^-30.
_FAR_SINGLE = (
    *(0.999805748462677, -0.28069907426834106, -0.12380054593086243, 0.023664554581046104),
    *(0.008848283439874649, 0.006618767976760864, -0.006215868517756462),
    *(0.0017632442759349942, -0.0002270823752041906, 1.148602859757375e-05),
)
# (x + 3) e^(x²) erfc(x) = G((x - 3) / (x + 3)) for 0.5 <= x <= 10.2 and 28; errors 2^-29, 2^-55.
_TAIL_SHORT = (
    *(1.0740069081072854, -0.8833944635761642, 0.5902282252743118, -0.3104667673330916),
    *(0.11953060659286166, -0.026832991389636875, -0.001235218797295917),
    *(0.0030563972391815524, -0.00046857078163670064, -0.0002955118917798584),
)
_TAIL_DOUBLE = (
    *(1.0740069070883398, -0.8833944531698837, 0.5902283571041086, -0.3104672619005544),
    *(0.11952776128685146, -0.026827234624816516, -0.0012124166162292458),
    *(0.0030340620037579706, -0.0005483098314446949, -0.000276777833300887),
    *(0.00010756251045325628, 3.0397835764610063e-05, -1.7475153461654992e-05),
    *(-4.746982175794945e-06, 2.7781848871106715e-06, 9.909514170823902e-07),
    *(-4.2973942975469177e-07, -2.1768985137224623e-07, 6.704776303392319e-08),
    *(3.347218717632893e-08, -1.0384111231874026e-08),
)
# erfinv(y) / y by w = -ln(1 - y²): for w <= 5 in w - 2.5, beyond in √w - 3.15 (to y = 1 - 2^-24,
# error 2^-26) or √w - 4.1 (to y = 1 - 2^-53, error 2^-20, before a step of Halley's method).
_INVERSE_NEAR = (
    *(1.5014093535134045, 0.24664028763556461, -0.00417733940812764, -0.0012527446601607317),
    *(0.00021828263656874981, -4.961912205971342e-06, -3.434614054735204e-06),
    *(4.6589212141931896e-07, 1.803760018864367e-08, -8.7728210398792e-09),
    *(3.355169602839639e-10,),
)
_INVERSE_FAR_SHORT = (
    *(2.9834174119935755, 1.004061372324339, 0.00666593071400943, -0.004936488834554198),
    *(0.003473567630660087, -0.0023387795604005606, 0.0012632488783534575),
    *(-0.0003345413219351879, -0.00015337311280085362, 0.00011570259796283615),
)
_INVERSE_FAR_DOUBLE = (
    *(3.940744793109471, 1.009734584648171, 0.001021289479558434, -0.0008131386425873657),
    *(0.00026218202663020365, -1.584113776215893e-05, 3.515049752485841e-05),
    *(-5.4934933873585416e-05, 1.8686987689688212e-05, -1.1803523250107958e-06),
)


def erf(x: Real) -> Real:
    """Return the error function."""
    size = x.size()
    near = _near(size)
    if x.at.bits == 32:
        fourth_root = polynomial(size.at_most(4.0), _FAR_SINGLE)
        root = fourth_root * fourth_root
        return (size < 0.9).choose(near, 1.0 - root * root).with_sign_of(x)
    size = size.at_most(6.0)  # from here on the result rounds to 1
    far = 1.0 - exp(-(size * size)) * _tail_factor(size)
    return (size < 1.0).choose(near, far).with_sign_of(x)


def erfc(x: Real) -> Real:
    """Return 1 - erf(x), with full relative accuracy in the right tail."""
    size = x.size()
    tail = _tail(size.at_most(10.2 if x.at.short else 28.0))
    far = (x < 0.0).choose(2.0 - tail, tail)
    return (size < 0.5).choose(1.0 - _near(x), far)


def erfinv(y: Real) -> Real:
    """Return the number whose error function this is; ±inf at ±1, NaN beyond."""
    size = y.size()
    # Away from the end, where the result is replaced.
    inner = size.at_most(1.0 - 2.0 ** (-24 if y.at.short else -53))
    x = _inverse_guess(inner)
    if not y.at.short:
        x = _improved(x, inner)
    # Where y² vanishes, so do steps; there x must not lose bits of subnormal numbers.
    x = size.equals(1.0).choose(math.inf, x)
    return (size > 1.0).choose(math.nan, x).with_sign_of(y)


def _near(x: Real) -> Real:
    """Return erf(x) for |x| <= 1 (0.9 in 32 bits)."""
    return multiply_add(x, polynomial(x * x, _near_coefficients(x.at)), x)


def _near_coefficients(at: Lanes) -> tuple[float, ...]:
    if at.bits == 32:
        return _NEAR_SINGLE
    return _NEAR_SHORT if at.short else _NEAR_DOUBLE


def _tail_factor(x: Real) -> Real:
    """Return e^(x²) erfc(x) for 0.5 <= x <= 28 (10.2)."""
    inverse = 1.0 / (x + 3.0)
    t = (x - 3.0) * inverse
    if x.at.short:
        return polynomial(t, _TAIL_SHORT) * inverse
    return polynomial(t, _TAIL_DOUBLE) / (x + 3.0)  # rounds once less


def _tail(x: Real) -> Real:
    """Return erfc(x) for 0.5 <= x <= 28 (10.2)."""
    if x.at.short:
        return exp(-(x * x)) * _tail_factor(x)
    # Rounding x² would cost x² units in the last place.
    square, error = two_product(x, x)
    return exp_of_pair(-square, -error) * _tail_factor(x)


def _inverse_guess(y: Real) -> Real:
    w = -log((1.0 - y) * (y + 1.0))
    near = polynomial(w - 2.5, _INVERSE_NEAR)
    if y.at.short:
        far = polynomial(w.root() - 3.15, _INVERSE_FAR_SHORT)
    else:
        far = polynomial(w.root() - 4.1, _INVERSE_FAR_DOUBLE)
    return (w <= 5.0).choose(near, far) * y


def _improved(x: Real, y: Real) -> Real:
    """Return the guess after a step of Halley's method, which cubes its error."""
    near: Mask = y <= 0.7
    # Near 0 for erf(x) - y ...
    slope = exp(-(x * x)) * (2 / math.sqrt(math.pi))
    near_step = (_near(x) - y) / slope
    near_bend = x * near_step
    # ... else for ln erfc(x) - ln(1 - y), whose derivative is known to full accuracy.
    rest = 1.0 - y  # exact, since y > 1/2
    slope = (2 / math.sqrt(math.pi)) / _tail_factor(x)
    gap = (_tail(x) - rest) / rest
    logarithm = gap * polynomial(gap, (1.0, -1 / 2, 1 / 3, -1 / 4))
    far_step = -logarithm / slope
    far_bend = far_step * (x - slope * 0.5)
    step, bend = near.choose(near_step, far_step), near.choose(near_bend, far_bend)
    return x - step / (bend + 1.0)
