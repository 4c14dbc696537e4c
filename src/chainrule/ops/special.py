"""Special functions: the error function and its kin, as ops.

Takes: a tensor or number; integers are computed as float32. Gives: a tensor of its shape.
The one idea: erf(x) = 2/√π ∫₀ˣ e^(-t²) dt, so all their derivatives are Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.core.dtype import Array
from chainrule.core.error_function import erf_array, erfc_array, erfinv_array
from chainrule.graph.op import INPUTS, OUTPUT, public, register
from chainrule.graph.sample import In, Sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ops.elementwise import Operand, Unary, floating, unary

_PEAK = 2 / math.sqrt(math.pi)  # erf'(0)


@register
class Erf(Unary):
    """2/√π ∫₀ˣ e^(-t²) dt."""

    name = "erf"
    onnx = "Erf"
    saves = INPUTS
    flops_per_element = 25

    def eval(self, x: Array) -> Array:
        return erf_array(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * ((-(x * x)).exp() * _PEAK),)


@register
class Erfc(Unary):
    """1 - erf(x)."""

    name = "erfc"
    saves = INPUTS
    flops_per_element = 40

    def eval(self, x: Array) -> Array:
        return erfc_array(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * ((-(x * x)).exp() * -_PEAK),)


@register
class Erfinv(Unary):
    """The y with erf(y) = x."""

    name = "erfinv"
    saves = OUTPUT
    flops_per_element = 150

    def eval(self, x: Array) -> Array:
        return erfinv_array(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * ((output * output).exp() * (1 / _PEAK)),)

    def samples(self) -> Iterable[Sample]:
        return unary(In((), -0.9, 0.9))


_ERF, _ERFC, _ERFINV = Erf(), Erfc(), Erfinv()


@public
def erf(x: Operand) -> Tensor:
    """Return the error function 2/√π ∫₀ˣ e^(-t²) dt, from -1 to 1.

    Example:
        >>> import chainrule
        >>> chainrule.erf(chainrule.tensor([0.0, 10.0])).tolist()
        [0.0, 1.0]
    """
    return apply(_ERF, floating(x))


@public
def erfc(x: Operand) -> Tensor:
    """Return 1 - erf(x), with full relative accuracy where erf(x) is near 1."""
    return apply(_ERFC, floating(x))


@public
def erfinv(x: Operand) -> Tensor:
    """Return the inverse of erf: ±inf at ±1, NaN beyond."""
    return apply(_ERFINV, floating(x))
