"""Rounding to whole numbers, element by element.

Takes: a tensor or number. Gives: whole numbers in the same dtype.
The one idea: these are constant between their steps, so their derivative is 0 (where a step is,
too, as in PyTorch); integers come back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import DTypeError
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, public, register
from chainrule.graph.sample import In, Sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ops.cast import clone
from chainrule.ops.elementwise import Operand, Unary, unary


class _Step(Unary):
    """An op whose derivative is 0."""

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (call("zeros_like", grad),)

    def samples(self) -> Iterable[Sample]:
        # Away from whole numbers and from the halves between them.
        return unary(In((), -2.0, 2.0, avoid=(-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)))


@register
class Floor(_Step):
    """The largest whole number that is not above x."""

    name = "floor"
    onnx = "Floor"

    def eval(self, x: Array) -> Array:
        return np.floor(x)


@register
class Ceil(_Step):
    """The smallest whole number that is not below x."""

    name = "ceil"
    onnx = "Ceil"

    def eval(self, x: Array) -> Array:
        return np.ceil(x)


@register
class Round(_Step):
    """The nearest whole number; of two equally near ones the even."""

    name = "round"
    onnx = "Round"

    def eval(self, x: Array) -> Array:
        return np.rint(x)


@register
class Trunc(_Step):
    """The whole number next to x towards 0."""

    name = "trunc"

    def eval(self, x: Array) -> Array:
        return np.trunc(x)


_FLOOR, _CEIL, _ROUND, _TRUNC = Floor(), Ceil(), Round(), Trunc()


def _rounded(op: Op, x: Operand) -> Tensor:
    made = as_tensor(x)
    if made.dtype.is_floating:
        return apply(op, made)
    if made.dtype.kind == "bool":
        raise DTypeError(f"{op.name}: got bool, expected numbers", hint="convert it: x.long()")
    return clone(made)


@public
def floor(x: Operand) -> Tensor:
    """Return the largest whole number that is not above x, in x's dtype; the derivative is 0.

    Raises:
        DTypeError: x is boolean.
    """
    return _rounded(_FLOOR, x)


@public
def ceil(x: Operand) -> Tensor:
    """Return the smallest whole number that is not below x; see `floor`."""
    return _rounded(_CEIL, x)


@public
def round(x: Operand) -> Tensor:
    """Return the nearest whole number, of two equally near ones the even; see `floor`.

    Example:
        >>> import chainrule
        >>> chainrule.round(chainrule.tensor([0.5, 1.5, -2.6])).tolist()
        [0.0, 2.0, -3.0]
    """
    return _rounded(_ROUND, x)


@public
def trunc(x: Operand) -> Tensor:
    """Return x without its fraction: the whole number next to it towards 0; see `floor`."""
    return _rounded(_TRUNC, x)
