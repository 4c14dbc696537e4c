"""Logic: comparisons, choices, and operations on bits, element by element.

Takes: tensors or numbers that broadcast. Gives: booleans, chosen elements, or combined bits.
The one idea: a yes or no carries no gradient; `where` passes it to whichever was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array, bool_
from chainrule.core.errors import DTypeError
from chainrule.core.shape import Spec, broadcast_shapes
from chainrule.graph.op import Op, Saves, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ir.definition import Formulas, filled, pointwise
from chainrule.ir.expr import Ref
from chainrule.ops.cast import astype
from chainrule.ops.elementwise import (
    ANY,
    FLOATING,
    INTEGRAL,
    NUMERIC,
    Binary,
    Comparison,
    Operand,
    Unary,
    broadcasting,
    resized,
    unary,
)

_COUNT = In((), -7, 8, kind="int")
_FLAG = In((), kind="bool")


@register
class Equal(Comparison):
    """x = y."""

    name = "equal"
    onnx = "Equal"

    def eval(self, x: Array, y: Array) -> Array:
        return np.equal(x, y)


@register
class NotEqual(Comparison):
    """x ≠ y; NaN differs from everything."""

    name = "not_equal"

    def eval(self, x: Array, y: Array) -> Array:
        return np.not_equal(x, y)


@register
class Less(Comparison):
    """x < y."""

    name = "less"
    onnx = "Less"

    def eval(self, x: Array, y: Array) -> Array:
        return np.less(x, y)


@register
class LessEqual(Comparison):
    """x ≤ y."""

    name = "less_equal"
    onnx = "LessOrEqual"

    def eval(self, x: Array, y: Array) -> Array:
        return np.less_equal(x, y)


@register
class Where(Op):
    """x where the condition holds, y elsewhere."""

    name = "where"
    onnx = "Where"
    saves = Saves(inputs=(0,))

    def infer(self, condition: Spec, x: Spec, y: Spec) -> Spec:
        if condition.dtype is not bool_:
            raise DTypeError(
                f"where: the condition is {condition}, expected booleans",
                hint="compare it first: chainrule.where(c != 0, x, y)",
            )
        if x.shape == condition.shape and (y.shape == x.shape or not y.shape):
            return x
        if y.shape == condition.shape and not x.shape:
            return y
        shapes = condition.shape, x.shape, y.shape
        return Spec(broadcast_shapes(self.name, *shapes), x.dtype)

    def eval(self, condition: Array, x: Array, y: Array) -> Array:
        return np.where(condition, x, y)

    def lower(self, condition: Ref, x: Ref, y: Ref) -> Formulas | None:
        shape = broadcast_shapes(self.name, condition.shape, x.shape, y.shape)
        return (pointwise(self.name, x.dtype, shape, condition, x, y),)

    def vjp(
        self, grad: Tensor, output: Tensor, condition: Tensor, x: Tensor, y: Tensor
    ) -> tuple[Tensor | None, ...]:
        return (
            None,
            None if x.node is None else where(condition, grad, 0),
            None if y.node is None else where(condition, 0, grad),
        )

    def samples(self) -> Iterable[Sample]:
        flags, whole = resized(_FLAG, (3, 4)), resized(_COUNT, (3, 4))
        return [
            *(sample(flags, (3, 4), (3, 4)), sample(flags, (4,), ()), sample(flags, (), (3, 1))),
            *(sample(_FLAG, (2, 3), (3,)), sample(_FLAG, (), ()), sample(flags, whole, whole)),
            sample(In((0, 4), kind="bool"), (4,), ()),
        ]


class _Bitwise(Binary):
    """An op on the bits of integers; on booleans, where it makes sense."""

    differentiable = False
    kinds = INTEGRAL
    remedy = "compare first (x > 0), or convert: x.long()"

    def samples(self) -> Iterable[Sample]:
        flags = resized(_FLAG, (4,))
        return [*broadcasting(_COUNT, _COUNT), sample(flags, flags)]


@register
class BitwiseAnd(_Bitwise):
    """Bits that are set in both; for booleans the logical and."""

    name = "bitwise_and"
    onnx = "BitwiseAnd"

    def eval(self, x: Array, y: Array) -> Array:
        return np.bitwise_and(x, y)


@register
class BitwiseOr(_Bitwise):
    """Bits that are set in either; for booleans the logical or."""

    name = "bitwise_or"
    onnx = "BitwiseOr"

    def eval(self, x: Array, y: Array) -> Array:
        return np.bitwise_or(x, y)


@register
class BitwiseXor(_Bitwise):
    """Bits that differ; for booleans the logical exclusive or."""

    name = "bitwise_xor"
    onnx = "BitwiseXor"

    def eval(self, x: Array, y: Array) -> Array:
        return np.bitwise_xor(x, y)


class _Shift(Binary):
    differentiable = False
    kinds = NUMERIC - FLOATING

    def samples(self) -> Iterable[Sample]:
        return broadcasting(_COUNT, In((), 0, 6, kind="int"))


@register
class LeftShift(_Shift):
    """x 2^y modulo the type's range."""

    name = "bitwise_left_shift"

    def eval(self, x: Array, y: Array) -> Array:
        return np.left_shift(x, y)


@register
class RightShift(_Shift):
    """⌊x / 2^y⌋."""

    name = "bitwise_right_shift"

    def eval(self, x: Array, y: Array) -> Array:
        return np.right_shift(x, y)


@register
class BitwiseInvert(Unary):
    """Every bit turned over; for booleans the logical not."""

    name = "bitwise_invert"
    onnx = "BitwiseNot"
    differentiable = False
    kinds = INTEGRAL
    remedy = "compare first (x > 0), or convert: x.long()"

    def eval(self, x: Array) -> Array:
        return np.invert(x)

    def samples(self) -> Iterable[Sample]:
        return [*unary(_COUNT), *unary(_FLAG)]


@register
class Signbit(Unary):
    """Whether the sign is minus, that of -0.0 and of NaN included."""

    name = "signbit"
    differentiable = False
    kinds = ANY

    def infer(self, x: Spec) -> Spec:
        return Spec(x.shape, bool_)

    def eval(self, x: Array) -> Array:
        return np.signbit(x) if x.dtype.kind == "f" else np.less(x, 0)

    def lower(self, x: Ref) -> Formulas | None:
        if x.dtype.kind in ("bool", "uint"):
            return (filled(x.shape, False, bool_),)
        return (pointwise(self.name, bool_, x.shape, x),)

    def samples(self) -> Iterable[Sample]:
        return [*unary(In(())), *unary(_COUNT)]


_EQUAL, _NOT_EQUAL, _LESS, _LESS_EQUAL = Equal(), NotEqual(), Less(), LessEqual()
_AND, _OR, _XOR, _INVERT = BitwiseAnd(), BitwiseOr(), BitwiseXor(), BitwiseInvert()
_LEFT, _RIGHT, _WHERE, _SIGNBIT = LeftShift(), RightShift(), Where(), Signbit()


@public
def equal(x: Operand, y: Operand) -> Tensor:
    """Return whether x = y, element by element (NaN equals nothing).

    Args:
        x: Tensor or number.
        y: Tensor or number that broadcasts with it.

    Returns:
        A tensor of booleans of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> chainrule.equal(chainrule.tensor([1, 2]), 2).tolist()
        [False, True]
    """
    return apply(_EQUAL, *common(x, y))


@public
def not_equal(x: Operand, y: Operand) -> Tensor:
    """Return whether x ≠ y, element by element (NaN differs from everything); see `equal`."""
    return apply(_NOT_EQUAL, *common(x, y))


@public
def less(x: Operand, y: Operand) -> Tensor:
    """Return whether x < y, element by element; see `equal`."""
    return apply(_LESS, *common(x, y))


@public
def less_equal(x: Operand, y: Operand) -> Tensor:
    """Return whether x ≤ y, element by element; see `equal`."""
    return apply(_LESS_EQUAL, *common(x, y))


def _comparison_samples() -> Iterable[Sample]:
    whole = In((9,), -2, 3, kind="int")
    return [*broadcasting(In(()), In(())), sample(whole, whole)]


@composite(_comparison_samples, differentiable=False)
def greater(x: Operand, y: Operand) -> Tensor:
    """Return whether x > y, element by element; see `equal`."""
    return less(y, x)


@composite(_comparison_samples, differentiable=False)
def greater_equal(x: Operand, y: Operand) -> Tensor:
    """Return whether x ≥ y, element by element; see `equal`."""
    return less_equal(y, x)


@public
def where(condition: Operand, x: Operand, y: Operand) -> Tensor:
    """Return x where the condition holds, and y elsewhere.

    The gradient passes to whichever was chosen; what was not chosen gets 0 (if computing it
    gave inf or NaN, guard its argument too: 0 times inf is NaN further up the chain).

    Args:
        condition: Booleans.
        x: Tensor or number.
        y: Tensor or number.

    Returns:
        A tensor of the broadcast shape, and of the promoted dtype of x and y.

    Raises:
        DTypeError: The condition is not boolean.
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([-1.0, 2.0])
        >>> chainrule.where(x > 0, x, 0).tolist()
        [0.0, 2.0]
    """
    return apply(_WHERE, as_tensor(condition), *common(x, y))


@public
def bitwise_and(x: Operand, y: Operand) -> Tensor:
    """Return the bits that are set in both integers; of booleans the logical and.

    Raises:
        DTypeError: An argument is floating.

    Example:
        >>> import chainrule
        >>> chainrule.bitwise_and(chainrule.tensor([6, 5]), 3).tolist()
        [2, 1]
    """
    return apply(_AND, *common(x, y))


@public
def bitwise_or(x: Operand, y: Operand) -> Tensor:
    """Return the bits that are set in either integer; see `bitwise_and`."""
    return apply(_OR, *common(x, y))


@public
def bitwise_xor(x: Operand, y: Operand) -> Tensor:
    """Return the bits that differ between two integers; see `bitwise_and`."""
    return apply(_XOR, *common(x, y))


@public
def bitwise_invert(x: Operand) -> Tensor:
    """Return the integers with every bit turned over; of booleans the logical not.

    Raises:
        DTypeError: x is floating.
    """
    return apply(_INVERT, as_tensor(x))


@public
def bitwise_left_shift(x: Operand, y: Operand) -> Tensor:
    """Return integers with their bits moved y places up; from the type's width on, 0.

    A negative y counts as larger than the width.

    Raises:
        DTypeError: An argument is floating, or both are boolean.
    """
    return apply(_LEFT, *common(x, y))


@public
def bitwise_right_shift(x: Operand, y: Operand) -> Tensor:
    """Return integers with their bits moved y places down, the sign kept: ⌊x / 2^y⌋.

    From the type's width on the result is 0, or -1 for a negative x; a negative y counts as
    larger than the width.

    Raises:
        DTypeError: An argument is floating, or both are boolean.
    """
    return apply(_RIGHT, *common(x, y))


def _truth_samples() -> Iterable[Sample]:
    flags = resized(_FLAG, (3, 4))
    return [
        *(sample(flags, resized(_FLAG, (4,))), sample(_FLAG, flags)),
        *(sample(In((4,), -1, 2, kind="int"), (4,)), sample((0,), ())),
    ]


def _truth(x: Operand) -> Tensor:
    return astype(x, bool_)


@composite(_truth_samples, differentiable=False)
def logical_and(x: Operand, y: Operand) -> Tensor:
    """Return whether both x and y hold; a number holds where it is not 0."""
    return bitwise_and(_truth(x), _truth(y))


@composite(_truth_samples, differentiable=False)
def logical_or(x: Operand, y: Operand) -> Tensor:
    """Return whether x or y holds; a number holds where it is not 0."""
    return bitwise_or(_truth(x), _truth(y))


@composite(_truth_samples, differentiable=False)
def logical_xor(x: Operand, y: Operand) -> Tensor:
    """Return whether exactly one of x and y holds; a number holds where it is not 0."""
    return bitwise_xor(_truth(x), _truth(y))


def _test_samples() -> Iterable[Sample]:
    special = In((7,), values=[0.0, -0.0, 1.5, -2.0, np.nan, np.inf, -np.inf])
    return [sample(special), sample(()), sample((0, 2)), sample(In((4,), -1, 2, kind="int"))]


@composite(_test_samples, differentiable=False)
def logical_not(x: Operand) -> Tensor:
    """Return whether x does not hold; a number holds where it is not 0."""
    return bitwise_invert(_truth(x))


@composite(_test_samples, differentiable=False)
def isnan(x: Operand) -> Tensor:
    """Return which elements are not a number."""
    made = as_tensor(x)
    return not_equal(made, made)


@composite(_test_samples, differentiable=False)
def isinf(x: Operand) -> Tensor:
    """Return which elements are infinite."""
    made = as_tensor(x)
    if not made.dtype.is_floating:
        return not_equal(made, made)
    return bitwise_or(equal(made, np.inf), equal(made, -np.inf))


@composite(_test_samples, differentiable=False)
def isfinite(x: Operand) -> Tensor:
    """Return which elements are neither infinite nor NaN."""
    made = as_tensor(x)
    if not made.dtype.is_floating:
        return equal(made, made)
    return bitwise_and(less(made, np.inf), less(-np.inf, made))


@public
def signbit(x: Operand) -> Tensor:
    """Return which elements have a minus sign, that of -0.0 and of NaN included."""
    return apply(_SIGNBIT, as_tensor(x))
