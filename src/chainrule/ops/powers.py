"""Powers: x^y, roots and their inverses, element by element.

Takes: tensors or numbers. Gives: a tensor of the promoted dtype.
The one idea: an exponent that is a plain number from a short list becomes the operation that it
stands for (x**2 is x x), which is faster and has the simpler derivative.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.op import OUTPUT, Saves, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ops.arithmetic import divide, multiply
from chainrule.ops.elementwise import (
    Binary,
    Operand,
    Pair,
    Unary,
    broadcasting,
    common_floating,
    floating,
    resized,
    unary,
)

_ABOVE = In((), 0.2, 3.0)


@register
class Pow(Binary):
    """x^y; 0^0 = 1."""

    name = "pow"
    onnx = "Pow"
    saves = Saves(inputs=None, output=True)
    flops_per_element = 10

    def eval(self, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return np.power(x, y)
        return _integer_power(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        by_x = by_y = None
        if x.node is not None:
            # y x^(y-1) is 0 inf at x = y = 0; there, and for NaN, the power is constantly 1.
            flat = (y == 0) & ((x == 0) | (x != x))
            by_x = call("where", flat, 0, grad * (y * pow(x, y - 1)))
        if y.node is not None:
            # x^y ln x is 0 inf at x = 0, where the power is constantly 0 for y > 0.
            flat = (x == 0) & (y >= 0)
            by_y = call("where", flat, 0, grad * (output * call("log", x)))
        return by_x, by_y

    def samples(self) -> Iterable[Sample]:
        base = In((4,), values=[2.0, 0.5, 1.5, 0.7])
        whole = In((4,), values=[3, 2, 0, 5], kind="int")
        return [
            *broadcasting(_ABOVE, In(())),
            *(sample(resized(_ABOVE, (4,)), In((), values=-1.5)),),
            *(sample(In((4,), -5, 6, kind="int"), whole), sample(whole, whole)),
            sample(base, In((4,), values=[0.0, 1.0, 2.0, 3.0]), name="zero exponent"),
        ]


def _integer_power(x: Array, y: Array) -> Array:
    """Return x^y of integers; a negative exponent gives the power rounded towards zero."""
    if x.dtype.kind == "u" or not np.any(y < 0):
        return np.power(x, y)
    power = np.power(x, np.maximum(y, 0))
    inverse = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0))
    return np.where(y < 0, inverse, power).astype(x.dtype, copy=False)


@register
class Sqrt(Unary):
    """√x; NaN below 0."""

    name = "sqrt"
    onnx = "Sqrt"
    saves = OUTPUT
    flops_per_element = 4

    def eval(self, x: Array) -> Array:
        return np.sqrt(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad / (output + output),)

    def samples(self) -> Iterable[Sample]:
        return unary(_ABOVE)


@register
class Rsqrt(Unary):
    """1 / √x; inf at 0, NaN below."""

    name = "rsqrt"
    saves = OUTPUT
    flops_per_element = 5

    def eval(self, x: Array) -> Array:
        root: Array = np.asarray(np.sqrt(x))
        return np.reciprocal(root, out=root)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * (output * output * output) * -0.5,)

    def samples(self) -> Iterable[Sample]:
        return unary(_ABOVE)


_POW, _SQRT, _RSQRT = Pow(), Sqrt(), Rsqrt()


@public
def pow(x: Operand, y: Operand) -> Tensor:
    """Return x to the power y, element by element; 0^0 = 1.

    A negative base has a real power only for whole exponents, otherwise NaN. Its derivative by
    the exponent is NaN. Integers stay integers: a tensor of negative exponents gives the power
    rounded towards zero.

    Args:
        x: Tensor or number: the base.
        y: Tensor or number: the exponent.

    Returns:
        The power, of the broadcast shape and promoted dtype.

    Raises:
        ArgumentError: A tensor of integers with a negative number as exponent.
        DTypeError: Both are boolean.
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> chainrule.pow(chainrule.tensor([1.0, 2.0, 3.0]), 2).tolist()
        [1.0, 4.0, 9.0]
    """
    if isinstance(y, int | float) and isinstance(x, Tensor) and not isinstance(y, bool):
        if x.dtype.kind in ("int", "uint") and isinstance(y, int) and y < 0:
            raise ArgumentError(
                f"pow: integers {x.spec} to the negative power {y} are not integers",
                hint="convert them first: x.float() ** y",
            )
        if (x.dtype.is_floating or isinstance(y, int)) and x.dtype.kind != "bool":
            shortcut = _named_power(x, y)
            if shortcut is not None:
                return shortcut
    return apply(_POW, *common(x, y))


def _named_power(x: Tensor, y: float) -> Tensor | None:
    """Return the power if the exponent has a name of its own."""
    if y == 2:
        return multiply(x, x)
    if y == 3:
        return multiply(multiply(x, x), x)
    if y == 4:
        return square(multiply(x, x))
    if y == 1:
        return call("clone", x)
    if y == 0.5:
        return sqrt(x)
    if y == -1:
        return divide(1, x)
    if y == -0.5:
        return rsqrt(x)
    return None


@public
def sqrt(x: Operand) -> Tensor:
    """Return √x (NaN below 0); its derivative 1 / 2√x is inf at 0."""
    return apply(_SQRT, floating(x))


@public
def rsqrt(x: Operand) -> Tensor:
    """Return 1 / √x: inf at 0, NaN below."""
    return apply(_RSQRT, floating(x))


def _square_samples() -> Iterable[Sample]:
    return [*unary(In(())), sample(In((5,), -7, 8, kind="int"))]


@composite(_square_samples)
def square(x: Operand) -> Tensor:
    """Return x²."""
    made = as_tensor(x)
    return multiply(made, made)


def _away_samples() -> Iterable[Sample]:
    return unary(In((), avoid=(0.0,)))


@composite(_away_samples)
def reciprocal(x: Operand) -> Tensor:
    """Return 1 / x; integers are computed as float32."""
    return divide(1, floating(x))


def _exponent_samples() -> Iterable[Sample]:
    return [*unary(In((), -3.0, 3.0)), sample(In((5,), -7, 8, kind="int"))]


@composite(_exponent_samples)
def exp2(x: Operand) -> Tensor:
    """Return 2^x; exact for whole x."""
    made = floating(x)
    return apply(_POW, *common(2.0, made))


def _copysign_samples() -> Iterable[Sample]:
    return broadcasting(In((), avoid=(0.0,)), In((), avoid=(0.0,)))


@composite(_copysign_samples)
def copysign(x: Operand, y: Operand) -> Tensor:
    """Return |x| with the sign of y (also that of -0.0 and of NaN).

    The gradient passes to x alone, and is 0 where x is 0.
    """
    magnitude, sign = common_floating(x, y)
    size = call("abs", magnitude)
    return call("where", call("signbit", sign), -size, size)
