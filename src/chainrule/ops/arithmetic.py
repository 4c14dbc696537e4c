"""Arithmetic: sums, products, quotients and their kin, element by element.

Takes: tensors or Python numbers that broadcast. Gives: a tensor of the promoted dtype.
The one idea: the public function promotes and broadcasts; the op sees one dtype.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array, DType
from chainrule.core.errors import ArgumentError
from chainrule.core.shape import Spec, broadcast_shapes
from chainrule.graph.conversion import call
from chainrule.graph.op import INPUTS, Op, Saves, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ir.definition import Formulas, broadcast, compute
from chainrule.ir.expr import Axis, Expr, Ref
from chainrule.ir.expr import call as function
from chainrule.ops.elementwise import (
    ANY,
    FLOATING,
    NUMERIC,
    Binary,
    Operand,
    Pair,
    Unary,
    broadcasting,
    common_floating,
    refused,
    resized,
    unary,
)

_AWAY = In((), -2.0, 2.0, avoid=(0.0,))  # denominators, and kinks at 0
_COUNT = In((), -7, 8, kind="int")


@register
class Add(Binary):
    """x + y; for booleans the logical or."""

    name = "add"
    onnx = "Add"
    kinds = ANY

    def eval(self, x: Array, y: Array) -> Array:
        return np.add(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad


@register
class Subtract(Binary):
    """x - y."""

    name = "subtract"
    onnx = "Sub"
    remedy = "for booleans use chainrule.logical_xor(x, y), or convert: x.long()"

    def eval(self, x: Array, y: Array) -> Array:
        return np.subtract(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        return grad, None if y.node is None else -grad


@register
class Multiply(Binary):
    """x y; for booleans the logical and."""

    name = "multiply"
    onnx = "Mul"
    saves = INPUTS
    kinds = ANY

    def eval(self, x: Array, y: Array) -> Array:
        return np.multiply(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        # A constant factor needs no gradient: half of the work of scaling by a number.
        return (
            None if x.node is None else grad * y,
            None if y.node is None else grad * x,
        )


@register
class Divide(Binary):
    """x / y."""

    name = "divide"
    onnx = "Div"
    saves = Saves(inputs=(1,), output=True)
    kinds = FLOATING
    remedy = "convert it first: x.float()"

    def eval(self, x: Array, y: Array) -> Array:
        return np.divide(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        by_x = grad / y
        return by_x, None if y.node is None else -(by_x * output)

    def samples(self) -> Iterable[Sample]:
        return broadcasting(In(()), _AWAY)


@register
class FloorDivide(Binary):
    """⌊x / y⌋; constant between its steps, so no gradient passes."""

    name = "floor_divide"
    differentiable = False

    def eval(self, x: Array, y: Array) -> Array:
        return np.floor_divide(x, y)

    def samples(self) -> Iterable[Sample]:
        divisor = In((9,), values=[-3, -2, -1, 1, 2, 3, 4, 5, -4], kind="int")
        return [*broadcasting(In(()), _AWAY), sample(resized(_COUNT, (9,)), divisor)]


@register
class Remainder(Binary):
    """x - ⌊x / y⌋ y: the remainder with the sign of y."""

    name = "remainder"
    onnx = "Mod"
    saves = INPUTS

    def eval(self, x: Array, y: Array) -> Array:
        return np.remainder(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        return grad, None if y.node is None else -(grad * (x // y))

    def samples(self) -> Iterable[Sample]:
        # Away from whole quotients, where the remainder jumps.
        quotient = In((3, 4), values=[[0.7, -0.6, 2.3, 5.5], [1.5, -3.3, 0.2, 7.2], [9.1, 4, 5, 6]])
        divisor = In((3, 4), values=[[1, 1, 1, 2], [-1, -2, -1, -3], [2.5, 3, 3.5, -4.5]])
        row = In((4,), values=[1.5, -0.7, 1.3, -1.9])
        step = In((4,), values=[-3, -2, 5, 3], kind="int")
        return [
            *(sample(quotient, divisor), sample(row, In((), values=0.8)), sample((0, 2), (2,))),
            *(sample(resized(_COUNT, (4,)), step), sample(resized(_COUNT, (3, 4)), step)),
        ]


def _share(grad: Tensor, x: Tensor, y: Tensor, x_loses: Tensor, y_loses: Tensor) -> Pair:
    """Give the gradient to the winner, half of it to each of two equals, all to both at NaN."""
    shared = call("where", x == y, grad * 0.5, grad)
    return (
        None if x.node is None else call("where", x_loses, 0, shared),
        None if y.node is None else call("where", y_loses, 0, shared),
    )


def _untied() -> list[Sample]:
    low, high = In((), -2.0, -0.2, distinct=True), In((), 0.2, 2.0, distinct=True)
    whole = resized(_COUNT, (7,))
    made = [*broadcasting(low, high), *broadcasting(high, low)[:3], sample(whole, whole)]
    return [*made, sample(In((4,), kind="bool"), In((4,), kind="bool"))]


@register
class Maximum(Binary):
    """The larger of x and y; NaN if either is. Ties share the gradient."""

    name = "maximum"
    onnx = "Max"
    saves = INPUTS
    kinds = ANY

    def eval(self, x: Array, y: Array) -> Array:
        return np.maximum(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        return _share(grad, x, y, x < y, y < x)

    def samples(self) -> Iterable[Sample]:
        return _untied()


@register
class Minimum(Binary):
    """The smaller of x and y; NaN if either is. Ties share the gradient."""

    name = "minimum"
    onnx = "Min"
    saves = INPUTS
    kinds = ANY

    def eval(self, x: Array, y: Array) -> Array:
        return np.minimum(x, y)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor) -> Pair:
        return _share(grad, x, y, y < x, x < y)

    def samples(self) -> Iterable[Sample]:
        return _untied()


@register
class Negative(Unary):
    """-x."""

    name = "negative"
    onnx = "Neg"
    kinds = NUMERIC
    remedy = "for booleans use chainrule.logical_not(x), or convert: x.long()"

    def eval(self, x: Array) -> Array:
        return np.negative(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (-grad,)


@register
class Absolute(Unary):
    """|x|, with derivative 0 at 0."""

    name = "abs"
    onnx = "Abs"
    saves = INPUTS
    kinds = NUMERIC
    remedy = "convert it first: x.long()"

    def eval(self, x: Array) -> Array:
        return np.absolute(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad * call("sign", x),)

    def samples(self) -> Iterable[Sample]:
        return [*unary(_AWAY), sample(resized(_COUNT, (5,)))]


@register
class Sign(Unary):
    """-1, 0 or 1 as x is negative, zero or positive; NaN at NaN. The derivative is 0."""

    name = "sign"
    onnx = "Sign"
    kinds = NUMERIC
    remedy = "convert it first: x.long()"

    def eval(self, x: Array) -> Array:
        return np.sign(x)

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        return (call("zeros_like", grad),)

    def samples(self) -> Iterable[Sample]:
        return [*unary(_AWAY), sample(resized(_COUNT, (5,)))]


@register
class Clip(Op):
    """x limited to [low, high]; high where low > high. At a bound x takes the gradient."""

    name = "clip"
    onnx = "Clip"
    saves = INPUTS
    flops_per_element = 2

    def infer(self, x: Spec, low: Spec, high: Spec) -> Spec:
        if x.dtype.kind not in NUMERIC:
            raise refused(self.name, x.dtype, NUMERIC, "convert it first: x.long()")
        if not low.shape and not high.shape:
            return x
        return Spec(broadcast_shapes(self.name, x.shape, low.shape, high.shape), x.dtype)

    def eval(self, x: Array, low: Array, high: Array) -> Array:
        return np.minimum(np.maximum(x, low), high)

    def lower(self, x: Ref, low: Ref, high: Ref) -> Formulas | None:
        def body(*axes: Axis) -> Expr:
            raised = function("maximum", broadcast(x, axes), broadcast(low, axes))
            return function("minimum", raised, broadcast(high, axes))

        shape = broadcast_shapes(self.name, x.shape, low.shape, high.shape)
        return (compute(shape, x.dtype, body),)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, low: Tensor, high: Tensor
    ) -> tuple[Tensor | None, ...]:
        by_x = by_low = by_high = None
        if x.node is not None:
            by_x = call("where", (x >= low) & (x <= high), grad, 0)
        if low.node is not None:
            by_low = call("where", (low < high) & (x < low), grad, 0)
        if high.node is not None:
            by_high = call("where", (x > high) | (high < low), grad, 0)
        return by_x, by_low, by_high

    def samples(self) -> Iterable[Sample]:
        x = In((3, 4), avoid=(-1.0, 0.5))
        low, high = In((), values=-1.0), In((4,), values=[0.5, 0.5, 0.5, 0.5])
        whole = In((), values=-3, kind="int"), In((), values=4, kind="int")
        return [
            *(sample(x, low, high), sample(In((), avoid=(-1.0, 0.5)), low, In((), values=0.5))),
            *(sample(resized(x, (2, 1, 3)), low, In((2, 1), values=[[0.5], [0.5]])),),
            *(sample(In((0, 2)), low, In((), values=0.5)), sample(resized(_COUNT, (9,)), *whole)),
            sample(In((4,), avoid=(0.5, -1.0)), In((), values=0.5), low, name="low above high"),
        ]


_ADD, _SUBTRACT, _MULTIPLY, _DIVIDE = Add(), Subtract(), Multiply(), Divide()
_FLOOR_DIVIDE, _REMAINDER, _MAXIMUM, _MINIMUM = FloorDivide(), Remainder(), Maximum(), Minimum()
_NEGATIVE, _ABSOLUTE, _SIGN, _CLIP = Negative(), Absolute(), Sign(), Clip()


@public
def add(x: Operand, y: Operand) -> Tensor:
    """Return the element-wise sum x + y (of two booleans: the logical or, as in PyTorch).

    Args:
        x: Tensor or number.
        y: Tensor or number that broadcasts with it.

    Returns:
        The sum, of the broadcast shape and promoted dtype.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> chainrule.add(chainrule.tensor([1.0, 2.0]), 1).tolist()
        [2.0, 3.0]
    """
    return apply(_ADD, *common(x, y))


@public
def subtract(x: Operand, y: Operand) -> Tensor:
    """Return the element-wise difference x - y; see `add` for arguments and errors.

    Raises:
        DTypeError: Both are boolean.
    """
    return apply(_SUBTRACT, *common(x, y))


@public
def multiply(x: Operand, y: Operand) -> Tensor:
    """Return the element-wise product x y; see `add` for arguments and errors.

    The product of two booleans is the logical and, as in PyTorch.
    """
    return apply(_MULTIPLY, *common(x, y))


@public
def divide(x: Operand, y: Operand) -> Tensor:
    """Return the element-wise quotient x / y; see `add` for arguments and errors.

    Integers and booleans are divided as float32. Division by zero gives ±inf, 0 / 0 gives NaN.

    Example:
        >>> import chainrule
        >>> chainrule.divide(chainrule.tensor([1, 3]), 2).tolist()
        [0.5, 1.5]
    """
    return apply(_DIVIDE, *common_floating(x, y))


@public
def floor_divide(x: Operand, y: Operand) -> Tensor:
    """Return ⌊x / y⌋, the quotient rounded towards minus infinity; no gradient passes.

    An integer divided by 0 gives 0 and raises nothing (as in NumPy; PyTorch raises): a compiled
    step cannot stop in the middle. Floats give ±inf or NaN.

    Raises:
        DTypeError: Both are boolean.

    Example:
        >>> import chainrule
        >>> chainrule.floor_divide(chainrule.tensor([7, -7]), 2).tolist()
        [3, -4]
    """
    return apply(_FLOOR_DIVIDE, *common(x, y))


@public
def remainder(x: Operand, y: Operand) -> Tensor:
    """Return x - ⌊x / y⌋ y, the remainder that has the sign of y, as Python's ``%``.

    An integer modulo 0 gives 0 and raises nothing (as in NumPy; PyTorch raises); floats give NaN.

    Raises:
        DTypeError: Both are boolean.

    Example:
        >>> import chainrule
        >>> chainrule.remainder(chainrule.tensor([7, -7]), 3).tolist()
        [1, 2]
    """
    return apply(_REMAINDER, *common(x, y))


@public
def maximum(x: Operand, y: Operand) -> Tensor:
    """Return the larger of x and y, element by element; NaN where either is NaN.

    Where both are equal each takes half of the gradient.
    """
    return apply(_MAXIMUM, *common(x, y))


@public
def minimum(x: Operand, y: Operand) -> Tensor:
    """Return the smaller of x and y, element by element; NaN where either is NaN.

    Where both are equal each takes half of the gradient.
    """
    return apply(_MINIMUM, *common(x, y))


@public
def negative(x: Operand) -> Tensor:
    """Return -x; unsigned integers wrap around.

    Raises:
        DTypeError: x is boolean.
    """
    return apply(_NEGATIVE, as_tensor(x))


@public
def abs(x: Operand) -> Tensor:
    """Return |x|; the derivative at 0 is 0. The most negative integer stays as it is."""
    return apply(_ABSOLUTE, as_tensor(x))


@public
def sign(x: Operand) -> Tensor:
    """Return -1, 0 or 1 as x is negative, zero or positive (NaN at NaN); the derivative is 0."""
    return apply(_SIGN, as_tensor(x))


@public
def clip(x: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Return x limited to the range from min to max; max where min > max.

    At a bound the gradient passes to x, beyond it to the bound.

    Args:
        x: Tensor or number.
        min: Tensor or number that broadcasts with x; None: no lower bound.
        max: Tensor or number that broadcasts with x; None: no upper bound.

    Returns:
        A tensor of the broadcast shape and promoted dtype; NaN where x or a bound is NaN.

    Raises:
        ArgumentError: Neither bound is given.
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> chainrule.clip(chainrule.tensor([-1.0, 0.5, 2.0]), 0, 1).tolist()
        [0.0, 0.5, 1.0]
    """
    if min is None and max is None:
        raise ArgumentError("clip: got neither min nor max", hint="chainrule.clip(x, 0, 1)")
    *given, made = common(*(bound for bound in (min, max) if bound is not None), x)
    low = given[0] if min is not None else _extreme(made.dtype, largest=False)
    high = given[-1] if max is not None else _extreme(made.dtype, largest=True)
    return apply(_CLIP, made, low, high)


def _extreme(dtype: DType, *, largest: bool) -> Tensor:
    """Return the 0-d tensor that limits nothing in this dtype."""
    if dtype.is_floating:
        value: float = np.inf if largest else -np.inf
    else:
        info = np.iinfo(dtype.storage) if dtype.kind != "bool" else np.iinfo(np.uint8)
        value = int(info.max if largest else info.min)
    limit: Tensor = call("full", (), value, dtype=dtype)
    return limit
