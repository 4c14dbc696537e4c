"""Element-wise ops in common: shape rules, promotion and samples that their families share.

Takes: one or two inputs that broadcast. Gives: base classes for the files of element-wise ops.
The one idea: the public function promotes, the op sees one dtype, and the base class states
which kinds of dtype the op takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from chainrule.core.dtype import DType, bool_, float32
from chainrule.core.errors import DTypeError
from chainrule.core.shape import Shape, Spec, broadcast_shapes
from chainrule.graph.op import Op
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor, common
from chainrule.ir.definition import Formulas, pointwise
from chainrule.ir.expr import Ref

Operand = Any  # a tensor, a Python number or an array
Pair = tuple[Tensor | None, Tensor | None]

FLOATING = frozenset({"float"})
NUMERIC = frozenset({"float", "int", "uint"})
INTEGRAL = frozenset({"int", "uint", "bool"})
ANY = frozenset({"float", "int", "uint", "bool"})

_KIND_NAMES = {
    FLOATING: "floating-point numbers",
    NUMERIC: "numbers",
    INTEGRAL: "integers or booleans",
    NUMERIC - FLOATING: "integers",
}

# Scalar functions that booleans take in place of those of numbers.
_LOGICAL = {
    **dict.fromkeys(("add", "maximum", "bitwise_or"), "logical_or"),
    **dict.fromkeys(("multiply", "minimum", "bitwise_and"), "logical_and"),
    "bitwise_xor": "logical_xor",
    "bitwise_invert": "logical_not",
}


class Unary(Op):
    """An op of one input; the output has the same shape and dtype.

    Attributes:
        kinds: Kinds of dtype that the op takes.
        remedy: Hint for any other dtype.
    """

    kinds: ClassVar[frozenset[str]] = FLOATING
    remedy: ClassVar[str] = "convert it first: x.float()"

    def infer(self, x: Spec) -> Spec:
        if x.dtype.kind not in self.kinds:
            raise refused(self.name, x.dtype, self.kinds, self.remedy)
        return x

    def lower(self, x: Ref) -> Formulas | None:
        return (pointwise(scalar_function(self.name, x.dtype), x.dtype, x.shape, x),)

    def samples(self) -> Iterable[Sample]:
        return unary(In(()))


class Binary(Op):
    """An op of two broadcasting inputs of one dtype; the output has that dtype.

    Attributes:
        kinds: Kinds of dtype that the op takes.
        remedy: Hint for any other dtype.
    """

    kinds: ClassVar[frozenset[str]] = NUMERIC
    remedy: ClassVar[str] = "convert it first: x.long()"

    def infer(self, x: Spec, y: Spec) -> Spec:
        if x.dtype.kind not in self.kinds:
            raise refused(self.name, x.dtype, self.kinds, self.remedy)
        if x.shape == y.shape or not y.shape:
            return x
        if not x.shape:
            return y
        return Spec(broadcast_shapes(self.name, x.shape, y.shape), x.dtype)

    def lower(self, x: Ref, y: Ref) -> Formulas | None:
        shape = broadcast_shapes(self.name, x.shape, y.shape)
        return (pointwise(scalar_function(self.name, x.dtype), x.dtype, shape, x, y),)

    def samples(self) -> Iterable[Sample]:
        return broadcasting(In(()), In(()))


class Comparison(Op):
    """An op of two broadcasting inputs of one dtype that says yes or no."""

    differentiable = False

    def infer(self, x: Spec, y: Spec) -> Spec:
        if x.shape == y.shape or not y.shape:
            return Spec(x.shape, bool_)
        return Spec(broadcast_shapes(self.name, x.shape, y.shape), bool_)

    def lower(self, x: Ref, y: Ref) -> Formulas | None:
        shape = broadcast_shapes(self.name, x.shape, y.shape)
        return (pointwise(self.name, bool_, shape, x, y),)

    def samples(self) -> Iterable[Sample]:
        whole = In((), -2, 3, kind="int")
        return [*broadcasting(In(()), In(())), sample(resized(whole, (9,)), resized(whole, (9,)))]


def scalar_function(name: str, dtype: DType) -> str:
    """Return the scalar function that an op applies to each element."""
    return _LOGICAL.get(name, name) if dtype is bool_ else name


def refused(op: str, dtype: DType, kinds: frozenset[str], hint: str) -> DTypeError:
    """Build the error for a dtype that an op does not take."""
    return DTypeError(f"{op}: got {dtype.name}, expected {_KIND_NAMES[kinds]}", hint=hint)


def floating(x: Operand) -> Tensor:
    """Return a tensor of a floating dtype: integers and booleans become float32."""
    made = x if isinstance(x, Tensor) else as_tensor(x)
    return made if made.spec.dtype.kind == "float" else made.to(float32)


def common_floating(x: Operand, y: Operand) -> tuple[Tensor, ...]:
    """Return two tensors of one floating dtype: integers and booleans become float32."""
    pair = common(x, y)
    if pair[0].spec.dtype.kind == "float":
        return pair
    return tuple(t.to(float32) for t in pair)


def unary(prototype: In, *, ends: bool = True) -> list[Sample]:
    """Return samples of one input, values as in the prototype."""
    shapes: tuple[Shape, ...] = ((3, 5), (), (2, 1, 3))
    made = [sample(resized(prototype, shape)) for shape in shapes]
    return [*made, sample(resized(prototype, (0, 3)), name="empty")] if ends else made


def broadcasting(x: In, y: In) -> list[Sample]:
    """Return samples with every kind of broadcasting, values as in the two prototypes."""
    shapes: tuple[tuple[Shape, Shape], ...] = (
        *(((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1))),
        *(((), (3,)), ((), ()), ((0, 3), (1, 3))),
    )
    return [sample(resized(x, a), resized(y, b)) for a, b in shapes]


def resized(prototype: In, shape: Shape) -> In:
    """Return a sample input like another one, of another shape."""
    kept = prototype.low, prototype.high, prototype.kind, prototype.distinct
    return In(shape, *kept, avoid=prototype.avoid)
