"""Exponentials and logarithms, and the functions of networks that are built on them.

Takes: a tensor or number; integers are computed as float32. Gives: a tensor of its shape.
The one idea: each function is evaluated in a form that neither overflows nor cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.op import INPUTS, OUTPUT, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ops.elementwise import (
    FLOATING,
    NUMERIC,
    Binary,
    Operand,
    Pair,
    Unary,
    common_floating,
    floating,
    unary,
)

_ABOVE = In((), 0.2, 4.0)


@register
class Exp(Unary):
    """e^x."""

    name = "exp"
    onnx = "Exp"
    saves = OUTPUT
    flops_per_element = 10

    def eval(self, x: Array) -> Array:
        return np.exp(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * output,)


@register
class Expm1(Unary):
    """e^x - 1, accurate near 0."""

    name = "expm1"
    saves = OUTPUT
    flops_per_element = 12

    def eval(self, x: Array) -> Array:
        return np.expm1(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * (output + 1),)


@register
class Log(Unary):
    """ln x; -inf at 0, NaN below."""

    name = "log"
    onnx = "Log"
    saves = INPUTS
    flops_per_element = 10

    def eval(self, x: Array) -> Array:
        return np.log(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / x,)

    def samples(self) -> Iterable[Sample]:
        return unary(_ABOVE)


@register
class Log2(Unary):
    """log₂ x, exact for powers of 2."""

    name = "log2"
    saves = INPUTS
    flops_per_element = 10

    def eval(self, x: Array) -> Array:
        return np.log2(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / (x * math.log(2)),)

    def samples(self) -> Iterable[Sample]:
        return unary(_ABOVE)


@register
class Log10(Unary):
    """log₁₀ x."""

    name = "log10"
    saves = INPUTS
    flops_per_element = 10

    def eval(self, x: Array) -> Array:
        return np.log10(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / (x * math.log(10)),)

    def samples(self) -> Iterable[Sample]:
        return unary(_ABOVE)


@register
class Log1p(Unary):
    """ln(1 + x), accurate near 0."""

    name = "log1p"
    saves = INPUTS
    flops_per_element = 12

    def eval(self, x: Array) -> Array:
        return np.log1p(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / (x + 1),)

    def samples(self) -> Iterable[Sample]:
        return unary(In((), -0.8, 3.0))


@register
class LogAddExp(Binary):
    """ln(e^x + e^y) = max(x, y) + ln(1 + e^-|x - y|)."""

    name = "logaddexp"
    saves = INPUTS
    kinds = FLOATING
    remedy = "convert it first: x.float()"
    flops_per_element = 25

    def eval(self, x: Array, y: Array) -> Array:
        larger = np.maximum(x, y)
        gap: Array = np.asarray(np.subtract(x, y))
        np.abs(gap, out=gap)
        np.negative(gap, out=gap)
        np.exp(gap, out=gap)
        np.log1p(gap, out=gap)
        # inf - inf is NaN, but there the sum is the larger one itself.
        infinite = np.isinf(larger)
        if np.any(infinite):
            gap[infinite] = 0
        gap += larger
        return gap

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        return (
            None if x.node is None else grad * sigmoid(x - y),
            None if y.node is None else grad * sigmoid(y - x),
        )


@register
class Sigmoid(Unary):
    """1 / (1 + e^-x)."""

    name = "sigmoid"
    onnx = "Sigmoid"
    saves = OUTPUT
    flops_per_element = 12

    def eval(self, x: Array) -> Array:
        out = np.asarray(np.negative(x))
        np.exp(out, out=out)
        out += 1
        np.reciprocal(out, out=out)
        # Where e^-x overflows the reciprocal is 0, but the sigmoid, e^x, may be subnormal.
        lowest = -88.0 if x.dtype == np.float32 else -709.0
        under = np.less(x, lowest)
        if np.any(under):
            out[under] = np.exp(x[under])
        return out

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * (output * (1 - output)),)


@register
class Tanh(Unary):
    """(e^x - e^-x) / (e^x + e^-x)."""

    name = "tanh"
    onnx = "Tanh"
    saves = OUTPUT
    flops_per_element = 12

    def eval(self, x: Array) -> Array:
        return np.tanh(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * (1 - output * output),)


@register
class Relu(Unary):
    """max(x, 0), with derivative 0 at 0."""

    name = "relu"
    onnx = "Relu"
    saves = OUTPUT
    kinds = NUMERIC

    def eval(self, x: Array) -> Array:
        return np.maximum(x, np.zeros((), x.dtype))

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (call("where", output <= 0, 0, grad),)

    def samples(self) -> Iterable[Sample]:
        return [*unary(In((), avoid=(0.0,))), sample(In((5,), -3, 4, kind="int"))]


_EXP, _EXPM1, _LOG, _LOG2, _LOG10, _LOG1P = Exp(), Expm1(), Log(), Log2(), Log10(), Log1p()
_LOGADDEXP, _SIGMOID, _TANH, _RELU = LogAddExp(), Sigmoid(), Tanh(), Relu()


@public
def exp(x: Operand) -> Tensor:
    """Return e^x, element by element.

    Args:
        x: Tensor or number; integers and booleans are computed as float32.

    Returns:
        A tensor of the same shape; inf where the result is too large.

    Example:
        >>> import chainrule
        >>> chainrule.exp(chainrule.tensor([0.0])).tolist()
        [1.0]
    """
    return apply(_EXP, floating(x))


@public
def expm1(x: Operand) -> Tensor:
    """Return e^x - 1, accurate for x near 0 too, where ``exp(x) - 1`` loses all digits."""
    return apply(_EXPM1, floating(x))


@public
def log(x: Operand) -> Tensor:
    """Return the natural logarithm of x: -inf at 0, NaN below."""
    return apply(_LOG, floating(x))


@public
def log2(x: Operand) -> Tensor:
    """Return the logarithm of x to base 2, exact for powers of 2."""
    return apply(_LOG2, floating(x))


@public
def log10(x: Operand) -> Tensor:
    """Return the logarithm of x to base 10."""
    return apply(_LOG10, floating(x))


@public
def log1p(x: Operand) -> Tensor:
    """Return ln(1 + x), accurate for x near 0 too; -inf at -1, NaN below."""
    return apply(_LOG1P, floating(x))


@public
def logaddexp(x: Operand, y: Operand) -> Tensor:
    """Return ln(e^x + e^y) without overflow: the sum of two numbers given by their logarithms.

    Example:
        >>> import chainrule
        >>> chainrule.logaddexp(chainrule.tensor(-1e4), chainrule.tensor(1e4)).item()
        10000.0
    """
    return apply(_LOGADDEXP, *common_floating(x, y))


@public
def sigmoid(x: Operand) -> Tensor:
    """Return 1 / (1 + e^-x), the logistic function s; exact to rounding for every x.

    Derivative: s (1 - s), at most 1/4. Range: from 0 to 1, so not zero-centred. It turns a score
    into a probability. Between many layers gradients vanish: it saturates on both sides.

    Example:
        >>> import chainrule
        >>> chainrule.sigmoid(chainrule.tensor([-1e4, 0.0, 1e4])).tolist()
        [0.0, 0.5, 1.0]
    """
    return apply(_SIGMOID, floating(x))


@public
def tanh(x: Operand) -> Tensor:
    """Return the hyperbolic tangent (e^x - e^-x) / (e^x + e^-x) = 2 sigmoid(2x) - 1.

    Derivative: 1 - tanh²(x), at most 1. Range: from -1 to 1, zero-centred. It saturates on both
    sides, where next to no gradient comes through.
    """
    return apply(_TANH, floating(x))


@public
def relu(x: Operand, inplace: bool = False) -> Tensor:
    """Return max(x, 0), the rectifier.

    Derivative: 1 where x is positive, else 0 (0 at 0). Range: from 0 up. Cheap, and does not
    saturate above; a unit that is negative for every example gets no gradient and stays dead.

    Args:
        x: Tensor or number.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape and dtype.

    Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".

    Example:
        >>> import chainrule
        >>> chainrule.relu(chainrule.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """
    return apply(_RELU, as_tensor(x))


def _softplus_samples() -> Iterable[Sample]:
    # Samples keep away from the threshold, where the result jumps by a rounding of float32.
    beyond = sample(In((5,), -2.0, 2.0, avoid=(0.1,)), beta=3.0, threshold=0.3, name="threshold")
    exact = sample(In((5,), -30.0, 30.0), threshold=None, name="exact")
    return [
        *unary(In((), -4.0, 4.0)),
        sample((5,), beta=2.0),
        sample((5,), beta=0.5),
        beyond,
        exact,
    ]


@composite(_softplus_samples)
def softplus(x: Operand, beta: float = 1.0, threshold: float | None = 20.0) -> Tensor:
    """Return ln(1 + e^(beta x)) / beta, a smooth `relu`, without overflow.

    Derivative: sigmoid(beta x). Range: above 0. Makes numbers positive, variances for example;
    as an activation its results are far from zero-centred.

    Args:
        x: Tensor or number.
        beta: How sharply it bends; above 0.
        threshold: Where beta x is larger, the result is x itself, as in PyTorch: an error below
            e^-threshold / beta. None: the formula everywhere.

    Returns:
        The same shape.

    Raises:
        ArgumentError: ``beta`` is not positive.

    Source: Dugas, Bengio et al. 2001, "Incorporating second-order functional knowledge".
    """
    if not beta > 0:
        raise ArgumentError(f"softplus: beta is {beta}, expected a number above 0")
    made = floating(x)
    scaled = made if beta == 1.0 else made * beta
    bent = apply(_LOGADDEXP, *common(scaled, 0.0))
    bent = bent if beta == 1.0 else bent / beta
    return bent if threshold is None else call("where", scaled > threshold, made, bent)
