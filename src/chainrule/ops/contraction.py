"""Contraction: products that sum over shared axes.

Takes: matrices, stacks of matrices, vectors. Gives: their products.
The one idea: one primitive, the batched matrix product; vectors become matrices of one row or
column, and a stack times a single matrix becomes one tall product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.core.shape import Spec, broadcast_shapes, expect, normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import INPUTS, Cost, Op, composite, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, common
from chainrule.ir.definition import Formulas, broadcast, reduction
from chainrule.ir.expr import Axis, Expr, Ref
from chainrule.ir.expr import call as function
from chainrule.ops.spatial import expect_floating

Operand = Any  # a tensor or an array

# Below this many rows a matrix product costs less than the call to BLAS, so copying a stack
# into one tall matrix is cheaper than a loop over the stack (measured: break-even near 32).
_FEW_ROWS = 32


@register
class Matmul(Op):
    """Matrix product over the last two axes; axes before them broadcast."""

    name = "matmul"
    onnx = "MatMul"
    saves = INPUTS

    def infer(self, x: Spec, y: Spec) -> Spec:
        if x.shape[-1] != y.shape[-2]:
            raise _inner_error(x, y)
        batch = broadcast_shapes("matmul", x.shape[:-2], y.shape[:-2])
        return Spec((*batch, x.shape[-2], y.shape[-1]), x.dtype)

    def eval(self, x: Array, y: Array) -> Array:
        rows, inner = x.shape[-2:]
        if x.ndim > 2 and y.ndim == 2 and (x.flags.c_contiguous or rows < _FEW_ROWS):
            # np.matmul would call BLAS once for each matrix of the stack.
            tall = x.reshape(math.prod(x.shape[:-1]), inner)
            product: Array = np.matmul(tall, y)
            return product.reshape(*x.shape[:-1], y.shape[1])
        stacked: Array = np.matmul(x, y)
        return stacked

    def lower(self, x: Ref, y: Ref) -> Formulas | None:
        def body(at: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Expr:
            *batch, row, column = at
            left = broadcast(x, (*batch, row, *inner))
            return function("multiply", left, broadcast(y, (*batch, *inner, column)))

        shape = broadcast_shapes(self.name, x.shape[:-2], y.shape[:-2])
        shape = (*shape, x.shape[-2], y.shape[-1])
        return (reduction("add", x.dtype, shape, [x.shape[-1]], body),)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, y: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        to_x = None if x.node is None else grad @ y.mT
        if y.node is None:
            return to_x, None
        if y.ndim == 2 and x.ndim > 2:  # one tall product instead of a sum over the stack
            tall = math.prod(x.shape[:-1])
            flat = x.reshape(tall, x.shape[-1])
            return to_x, flat.mT @ grad.reshape(tall, grad.shape[-1])
        return to_x, x.mT @ grad

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        output = self.infer(*inputs)
        moved = output.nbytes + sum(spec.nbytes for spec in inputs)
        return Cost(2 * output.size * inputs[0].shape[-1], moved)

    def samples(self) -> Iterable[Sample]:
        return (
            sample((3, 4), (4, 2)),
            sample((2, 3, 4), (4, 2), name="stack times matrix"),
            sample((2, 3), (2, 3, 2), name="matrix times stack"),
            sample((2, 1, 3, 2), (3, 2, 2), name="broadcast stacks"),
            sample((1, 1), (1, 1)),
            sample((2, 0), (0, 3), name="nothing to sum"),
            sample((0, 3), (3, 2), name="no rows"),
            sample((0, 2, 3), (3, 2), name="empty stack"),
        )


_MATMUL = Matmul()


def _inner_error(x: Spec, y: Spec) -> ShapeError:
    hint = f"give x {y.shape[-2]} columns or y {x.shape[-1]} rows, or name the axes: "
    hint += "chainrule.einsum('ij,jk->ik', x, y)"
    if x.shape[-1] == y.shape[-1]:
        hint = "x @ y.mT"
    elif x.shape[-2] == y.shape[-2]:
        hint = "x.mT @ y"
    return ShapeError(
        f"matmul: inner dimensions differ: x {x} @ y {y} needs x.shape[-1] == y.shape[-2], "
        f"got {x.shape[-1]} != {y.shape[-2]}",
        hint=hint,
    )


@public
def matmul(x1: Operand, x2: Operand) -> Tensor:
    """Return the matrix product of two tensors.

    Args:
        x1: [..., M, K], or a vector [K].
        x2: [..., K, N], or a vector [K]. Axes before the last two broadcast.

    Returns:
        [..., M, N]; the axis of a vector is left out, so two vectors give a 0-d tensor.

    Raises:
        ShapeError: The inner sizes differ, the axes before them do not broadcast, or an argument
            is 0-d.
        DTypeError: The elements are Booleans.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> chainrule.matmul(x, chainrule.tensor([1.0, 1.0])).tolist()
        [3.0, 7.0]
    """
    x, y = _numeric("matmul", *common(x1, x2))
    if x.ndim == 2 == y.ndim:
        return apply(_MATMUL, x, y)
    for operand in (x, y):
        expect(
            operand.ndim > 0,
            "matmul: got {} @ {}; a 0-d tensor has no axis to sum over",
            *(x.spec, y.spec),
            hint="multiply by a single number with x * y",
        )
    if x.ndim == 1 or y.ndim == 1:
        return _with_vectors(x, y)
    return apply(_MATMUL, x, y)


def _with_vectors(x: Tensor, y: Tensor) -> Tensor:
    inner = y.shape[0] if y.ndim == 1 else y.shape[-2]
    expect(
        x.shape[-1] == inner,
        "matmul: inner dimensions differ: x {} @ y {} needs x.shape[-1] == y.shape[{}], "
        "got {} != {}",
        *(x.spec, y.spec, -1 if y.ndim == 1 else -2, x.shape[-1], inner),
    )
    left = x.reshape(1, x.shape[0]) if x.ndim == 1 else x
    right = y.reshape(y.shape[0], 1) if y.ndim == 1 else y
    product = apply(_MATMUL, left, right)
    shape = product.shape
    batch = shape[:-2]
    rows = () if x.ndim == 1 else shape[-2:-1]
    columns = () if y.ndim == 1 else shape[-1:]
    return product.reshape((*batch, *rows, *columns))


def _numeric(op: str, *operands: Tensor) -> tuple[Tensor, ...]:
    if operands[0].dtype.kind == "bool":
        raise DTypeError(
            f"{op}: Booleans cannot be multiplied and summed",
            hint="convert them first: x.float() or x.long()",
        )
    return operands


def _linear_samples() -> Iterable[Sample]:
    return (
        sample((3, 4), (2, 4), (2,)),
        sample((2, 3, 4), (2, 4), (2,), name="more axes"),
        sample((4,), (2, 4), (2,), name="one example"),
        sample((3, 4), (2, 4), name="no bias"),
        sample((0, 4), (2, 4), (2,), name="no examples"),
    )


@composite(_linear_samples)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the affine map x Wᵀ + b.

    Args:
        input: x, [..., D].
        weight: W, [K, D].
        bias: b, [K], or None.

    Returns:
        [..., K].

    Raises:
        ShapeError: The last axis of the input is not the weight's, or the bias does not fit.
        DTypeError: The input holds integers, but the weight does not.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[1.0, 2.0]])
        >>> weight = chainrule.tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
        >>> F.linear(x, weight).tolist()
        [[3.0, 2.0, 2.0]]
    """
    expect_tensor("linear", "input", input)
    expect(
        weight.ndim == 2,
        "linear: weight {} must have the axes [outputs, inputs]",
        weight.spec,
    )
    outputs, inputs = weight.shape
    if input.ndim == 0 or input.shape[-1] != inputs:
        raise _linear_error(input, weight)
    if input.dtype is not weight.dtype and weight.dtype.is_floating:
        expect_floating("linear", input)
    if bias is not None:
        expect(
            bias.shape == (outputs,),
            "linear: bias {} must have one element for each of the {} outputs of weight {}",
            *(bias.spec, outputs, weight.spec),
        )
    product = matmul(input, weight.T)
    return product if bias is None else product + bias


def _linear_error(x: Tensor, weight: Tensor) -> ShapeError:
    outputs, inputs = weight.shape
    transposed = Spec((inputs, outputs), weight.dtype)
    if x.ndim == 0:
        return ShapeError(
            f"linear: x {x.spec} is 0-d, expected [..., {inputs}]", hint=f"x.expand(1, {inputs})"
        )
    found = x.shape[-1]
    if x.ndim > 2 and math.prod(x.shape[1:]) == inputs:
        hint = f"flatten it first: x.flatten(1), which gives [{x.shape[0]}, {inputs}]"
    else:
        hint = f"nn.Linear({found}, {outputs}), or reshape x to [..., {inputs}]"
    return ShapeError(
        f"linear: inner dimensions differ: x {x.spec} @ weightᵀ {transposed} needs "
        f"x.shape[-1] == weight.shape[-1], got {found} != {inputs}",
        hint=hint,
    )


def _tensordot_samples() -> Iterable[Sample]:
    return (
        sample((2, 3, 4), (4, 3, 2), axes=1, name="one axis"),
        sample((2, 3, 4), (3, 4, 2), axes=2),
        sample((2, 3), (3, 2), axes=0, name="outer product"),
        sample((2, 3, 4), (4, 3, 2), axes=((0, 1), (2, 1)), name="given axes"),
        sample((0, 3), (3, 2), axes=1, name="no rows"),
    )


@composite(_tensordot_samples)
def tensordot(
    x1: Operand, x2: Operand, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """Return the sum of products over chosen axes of both tensors.

    Args:
        x1: First tensor.
        x2: Second tensor.
        axes: A number n: the last n axes of the first with the first n of the second; or two
            sequences of axes of equal length, summed in pairs.

    Returns:
        The axes of the first that were not summed, then those of the second.

    Raises:
        ShapeError: Paired axes differ in size, or do not exist.

    Example:
        >>> import chainrule
        >>> x = chainrule.ones((2, 3))
        >>> chainrule.tensordot(x, chainrule.ones((3, 4)), axes=1).shape
        (2, 4)
    """
    x, y = _numeric("tensordot", *common(x1, x2))
    of_x, of_y = _paired_axes(x, y, axes)
    for a, b in zip(of_x, of_y, strict=True):
        expect(
            x.shape[a] == y.shape[b],
            "tensordot: x1 {} and x2 {}: axis {} with axis {} has sizes {} != {}",
            *(x.spec, y.spec, a, b, x.shape[a], y.shape[b]),
        )
    free_x = [a for a in range(x.ndim) if a not in of_x]
    free_y = [b for b in range(y.ndim) if b not in of_y]
    inner = math.prod(x.shape[a] for a in of_x)
    left_shape, right_shape = [x.shape[a] for a in free_x], [y.shape[b] for b in free_y]
    left = x.permute([*free_x, *of_x]).reshape(math.prod(left_shape), inner)
    right = y.permute([*of_y, *free_y]).reshape(inner, math.prod(right_shape))
    return apply(_MATMUL, left, right).reshape([*left_shape, *right_shape])


def _paired_axes(
    x: Tensor, y: Tensor, axes: int | tuple[Sequence[int], Sequence[int]]
) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ArgumentError(
                f"tensordot: axes={axes}, expected 0 to {min(x.ndim, y.ndim)} "
                f"for x1 {x.spec} and x2 {y.spec}"
            )
        return list(range(x.ndim - axes, x.ndim)), list(range(axes))
    first, second = axes
    expect(
        len(first) == len(second),
        "tensordot: {} axes of x1 but {} of x2; they are summed in pairs",
        *(len(first), len(second)),
    )
    of_x = [normalize_axis("tensordot", a, x.ndim) for a in first]
    of_y = [normalize_axis("tensordot", b, y.ndim) for b in second]
    distinct = len(set(of_x)) == len(of_x) and len(set(of_y)) == len(of_y)
    expect(distinct, "tensordot: an axis is named twice in {} and {}", list(first), list(second))
    return of_x, of_y


def _outer_samples() -> Iterable[Sample]:
    return (sample((3,), (4,)), sample((1,), (2,)), sample((0,), (2,), name="empty"))


@composite(_outer_samples)
def outer(x1: Operand, x2: Operand) -> Tensor:
    """Return the matrix of all products of an element of one vector with one of another.

    Args:
        x1: [M].
        x2: [N].

    Returns:
        [M, N].

    Raises:
        ShapeError: An argument is not a vector.
    """
    x, y = common(x1, x2)
    expect(x.ndim == 1 == y.ndim, "outer: expected two vectors, got {} and {}", x.spec, y.spec)
    return x.reshape(x.shape[0], 1) * y


def _vecdot_samples() -> Iterable[Sample]:
    return (
        sample((3, 4), (3, 4)),
        sample((3, 4), (4,), name="broadcast"),
        sample(In((4, 3)), In((4, 1)), axis=0, name="other axis"),
    )


@composite(_vecdot_samples)
def vecdot(x1: Operand, x2: Operand, *, axis: int = -1) -> Tensor:
    """Return the sum of products along one axis; other axes broadcast.

    Args:
        x1: [..., K].
        x2: [..., K].
        axis: The axis that is summed, counted from the end (array API: negative).

    Returns:
        The broadcast shape without that axis.

    Raises:
        ShapeError: The sizes along the axis differ, or the other axes do not broadcast.
    """
    x, y = _numeric("vecdot", *common(x1, x2))
    first, second = (normalize_axis("vecdot", axis, operand.ndim) for operand in (x, y))
    expect(
        x.shape[first] == y.shape[second],
        "vecdot: x1 {} and x2 {} differ along axis {}",
        *(x.spec, y.spec, axis),
    )
    product = x * y
    return call("sum", product, axis, dtype=product.dtype)  # integers in their own dtype
