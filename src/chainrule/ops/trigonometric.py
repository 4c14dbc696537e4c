"""Trigonometric and hyperbolic functions, their inverses, and lengths in the plane.

Takes: tensors or numbers; integers are computed as float32. Gives: a tensor of the same shape.
The one idea: derivatives are written in factors, (1 - x)(1 + x) for 1 - x², so that they neither
cancel near the ends of the domain nor overflow far out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array
from chainrule.graph.conversion import call
from chainrule.graph.op import INPUTS, Saves, composite, public, register
from chainrule.graph.sample import In, Sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ops.elementwise import (
    FLOATING,
    Binary,
    Operand,
    Pair,
    Unary,
    broadcasting,
    common_floating,
    floating,
    unary,
)


class _Transcendental(Unary):
    saves = INPUTS
    flops_per_element = 15


@register
class Sin(_Transcendental):
    """Sine of x radians."""

    name = "sin"
    onnx = "Sin"

    def eval(self, x: Array) -> Array:
        return np.sin(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * x.cos(),)


@register
class Cos(_Transcendental):
    """Cosine of x radians."""

    name = "cos"
    onnx = "Cos"

    def eval(self, x: Array) -> Array:
        return np.cos(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (-(grad * x.sin()),)


@register
class Asin(_Transcendental):
    """The angle in [-π/2, π/2] whose sine is x."""

    name = "asin"
    onnx = "Asin"

    def eval(self, x: Array) -> Array:
        return np.arcsin(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * ((1 - x) * (1 + x)).rsqrt(),)

    def samples(self) -> Iterable[Sample]:
        return unary(In((), -0.9, 0.9))


@register
class Acos(_Transcendental):
    """The angle in [0, π] whose cosine is x."""

    name = "acos"
    onnx = "Acos"

    def eval(self, x: Array) -> Array:
        return np.arccos(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (-(grad * ((1 - x) * (1 + x)).rsqrt()),)

    def samples(self) -> Iterable[Sample]:
        return unary(In((), -0.9, 0.9))


@register
class Atan(_Transcendental):
    """The angle in [-π/2, π/2] whose tangent is x."""

    name = "atan"
    onnx = "Atan"

    def eval(self, x: Array) -> Array:
        return np.arctan(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / (x * x + 1),)


@register
class Sinh(_Transcendental):
    """(e^x - e^-x) / 2."""

    name = "sinh"
    onnx = "Sinh"

    def eval(self, x: Array) -> Array:
        return np.sinh(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * x.cosh(),)


@register
class Cosh(_Transcendental):
    """(e^x + e^-x) / 2."""

    name = "cosh"
    onnx = "Cosh"

    def eval(self, x: Array) -> Array:
        return np.cosh(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * x.sinh(),)


@register
class Asinh(_Transcendental):
    """ln(x + √(x² + 1))."""

    name = "asinh"
    onnx = "Asinh"

    def eval(self, x: Array) -> Array:
        return np.arcsinh(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / hypot(x, 1),)


@register
class Acosh(_Transcendental):
    """ln(x + √(x² - 1)); NaN below 1."""

    name = "acosh"
    onnx = "Acosh"

    def eval(self, x: Array) -> Array:
        return np.arccosh(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * ((x - 1).rsqrt() * (x + 1).rsqrt()),)

    def samples(self) -> Iterable[Sample]:
        return unary(In((), 1.2, 4.0))


@register
class Atanh(_Transcendental):
    """ln((1 + x) / (1 - x)) / 2; ±inf at ±1, NaN beyond."""

    name = "atanh"
    onnx = "Atanh"

    def eval(self, x: Array) -> Array:
        return np.arctanh(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / ((1 - x) * (1 + x)),)

    def samples(self) -> Iterable[Sample]:
        return unary(In((), -0.9, 0.9))


class _Planar(Binary):
    kinds = FLOATING
    remedy = "convert it first: x.float()"
    flops_per_element = 15

    def samples(self) -> Iterable[Sample]:
        x, y = In((), avoid=(0.0,)), In((), 0.3, 2.0)
        return [*broadcasting(x, y), *broadcasting(y, x)[:2]]


@register
class Atan2(_Planar):
    """The angle in (-π, π] of the point with ordinate y and abscissa x."""

    name = "atan2"
    saves = INPUTS

    def eval(self, y: Array, x: Array) -> Array:
        return np.arctan2(y, x)

    def vjp(self, grad: Tensor, output: Tensor, y: Tensor, x: Tensor) -> Pair:
        length = hypot(y, x)
        # At the origin the angle has no derivative; 0, as in PyTorch, keeps NaN out.
        length = call("where", length == 0, 1, length)
        scaled = grad / length
        return (
            None if y.node is None else scaled * (x / length),
            None if x.node is None else -(scaled * (y / length)),
        )


@register
class Hypot(_Planar):
    """√(x² + y²) without overflow or underflow."""

    name = "hypot"
    saves = Saves(inputs=None, output=True)

    def eval(self, x: Array, y: Array) -> Array:
        return np.hypot(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        return (
            None if x.node is None else grad * (x / output),
            None if y.node is None else grad * (y / output),
        )


_SIN, _COS, _ASIN, _ACOS, _ATAN, _ATAN2 = Sin(), Cos(), Asin(), Acos(), Atan(), Atan2()
_SINH, _COSH, _ASINH, _ACOSH, _ATANH = Sinh(), Cosh(), Asinh(), Acosh(), Atanh()
_HYPOT = Hypot()


@public
def sin(x: Operand) -> Tensor:
    """Return the sine of x radians."""
    return apply(_SIN, floating(x))


@public
def cos(x: Operand) -> Tensor:
    """Return the cosine of x radians."""
    return apply(_COS, floating(x))


def _tan_samples() -> Iterable[Sample]:
    return unary(In((), -1.2, 1.2))


@composite(_tan_samples)
def tan(x: Operand) -> Tensor:
    """Return the tangent of x radians."""
    made = floating(x)
    return sin(made) / cos(made)


@public
def asin(x: Operand) -> Tensor:
    """Return the angle in [-π/2, π/2] whose sine is x; NaN beyond ±1."""
    return apply(_ASIN, floating(x))


@public
def acos(x: Operand) -> Tensor:
    """Return the angle in [0, π] whose cosine is x; NaN beyond ±1."""
    return apply(_ACOS, floating(x))


@public
def atan(x: Operand) -> Tensor:
    """Return the angle in [-π/2, π/2] whose tangent is x."""
    return apply(_ATAN, floating(x))


@public
def atan2(y: Operand, x: Operand) -> Tensor:
    """Return the angle in (-π, π] of the point with ordinate y and abscissa x.

    Example:
        >>> import chainrule
        >>> round(chainrule.atan2(chainrule.tensor(1.0), chainrule.tensor(-1.0)).item(), 4)
        2.3562
    """
    return apply(_ATAN2, *common_floating(y, x))


@public
def sinh(x: Operand) -> Tensor:
    """Return the hyperbolic sine of x."""
    return apply(_SINH, floating(x))


@public
def cosh(x: Operand) -> Tensor:
    """Return the hyperbolic cosine of x."""
    return apply(_COSH, floating(x))


@public
def asinh(x: Operand) -> Tensor:
    """Return the inverse of the hyperbolic sine."""
    return apply(_ASINH, floating(x))


@public
def acosh(x: Operand) -> Tensor:
    """Return the inverse of the hyperbolic cosine; NaN below 1."""
    return apply(_ACOSH, floating(x))


@public
def atanh(x: Operand) -> Tensor:
    """Return the inverse of the hyperbolic tangent; ±inf at ±1, NaN beyond."""
    return apply(_ATANH, floating(x))


@public
def hypot(x: Operand, y: Operand) -> Tensor:
    """Return √(x² + y²) without overflow or underflow on the way.

    Example:
        >>> import chainrule
        >>> chainrule.hypot(chainrule.tensor(3e30), 4e30).item() > 4e30
        True
    """
    return apply(_HYPOT, *common_floating(x, y))
