"""Joining: tensors laid one after the other.

Takes: a list of tensors and an axis. Gives: one tensor.
The one idea: each element of the result belongs to one of the tensors, so its gradient does too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import Spec, expect, normalize_axis
from chainrule.graph.op import Op, public, register
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ir.definition import Formulas, compute
from chainrule.ir.expr import Axis, Expr, Inside, Load, Ref, Within, add, const, index_of, where
from chainrule.ops.movement import axis_or_dim, reshape, without
from chainrule.ops.slicing import cut


@register
class Concat(Op):
    """Tensors laid one after the other along an axis."""

    name = "concat"
    onnx = "Concat"
    flops_per_element = 0

    def infer(self, *tensors: Spec, axis: int) -> Spec:
        first = tensors[0]
        normalize_axis("concat", axis, len(first.shape))
        for position, other in enumerate(tensors):
            if without(first.shape, axis) != without(other.shape, axis):
                raise _concat_error(first, position, other, axis)
        total = sum(t.shape[axis] for t in tensors)
        return Spec((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)

    def eval(self, *tensors: Array, axis: int) -> Array:
        return np.concatenate(tensors, axis)

    def lower(self, *tensors: Ref, axis: int) -> Formulas | None:
        first = tensors[0]
        total = sum(t.shape[axis] for t in tensors)

        def body(*at: Axis) -> Expr:
            parts: list[tuple[Within, Load]] = []
            start = 0
            for tensor in tensors:
                within = Within(add(at[axis], -start), tensor.shape[axis])
                places = [index_of(a) for a in at]
                places[axis] = within.index
                if tensor.shape[axis]:
                    parts.append((within, Load(tensor, tuple(places), (within,))))
                start += tensor.shape[axis]
            if len(parts) < 2:
                return parts[0][1] if parts else const(0, first.dtype)
            result: Expr = parts[-1][1]
            for within, load in reversed(parts[:-1]):
                result = where(Inside((within,)), load, result)
            return result

        shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
        return (compute(shape, first.dtype, body),)

    def vjp(
        self, grad: Tensor, output: Tensor, *tensors: Tensor, axis: int
    ) -> tuple[Tensor | None, ...]:
        grads: list[Tensor | None] = []
        start = 0
        for tensor in tensors:
            stop = start + tensor.shape[axis]
            # Constants among the inputs need no gradient: do not cut one out for them.
            grads.append(cut(grad, axis, start, stop) if tensor.node is not None else None)
            start = stop
        return tuple(grads)

    def samples(self) -> Iterable[Sample]:
        return [
            sample((2, 3), (1, 3), (3, 3), axis=0),
            sample((2, 3, 1), (2, 3, 2), axis=2),
            sample((3,), axis=0),
            sample((2, 0), (2, 3), axis=1),
        ]


_CONCAT = Concat()


def _concat_error(first: Spec, position: int, other: Spec, axis: int) -> ShapeError:
    rule = f"concat: tensor 0 {first} and tensor {position} {other} differ outside axis {axis}"
    hint = "join along the axis that differs, or make the other sizes equal"
    differing = [
        a for a, (m, n) in enumerate(zip(first.shape, other.shape, strict=False)) if m != n
    ]
    if len(first.shape) == len(other.shape) and len(differing) == 1:
        hint = f"join along the axis that differs: axis={differing[0]}"
    return ShapeError(rule, hint=hint)


def expect_list(op: str, tensors: Sequence[Any], axis: object) -> None:
    """Raise unless the tensors to be joined came as one list that is not empty."""
    if isinstance(axis, Tensor):
        raise ArgumentError(
            f"{op}: got two arguments, expected one list",
            hint=f"chainrule.{op}([x, y], axis=0)",
        )
    expect(len(tensors) > 0, "{}: no tensors to join", op, hint="pass at least one")


@public
def concat(tensors: Sequence[Any], axis: int | None = 0, *, dim: int | None = None) -> Tensor:
    """Return tensors laid one after the other along an axis.

    Args:
        tensors: Tensors whose sizes agree on all other axes; dtypes are promoted.
        axis: Along which axis; None flattens each first.
        dim: Another name for ``axis``.

    Raises:
        ShapeError: Sizes differ outside the axis, or there are no tensors.

    Example:
        >>> import chainrule
        >>> chainrule.concat([chainrule.tensor([1, 2]), chainrule.tensor([3])]).tolist()
        [1, 2, 3]
    """
    expect_list("concat", tensors, axis)
    parts = common(*(as_tensor(t) for t in tensors))
    if axis is None and dim is None:
        parts, axis = tuple(reshape(part, -1) for part in parts), 0
    where = axis_or_dim("concat", 0 if axis is None else axis, dim, 0)
    expect(
        parts[0].ndim > 0,
        "concat: a 0-d tensor has no axis to join along",
        hint="make a new axis with chainrule.stack(tensors)",
    )
    return apply(_CONCAT, *parts, axis=normalize_axis("concat", where, parts[0].ndim))


@public
def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Return tensors laid one after the other; PyTorch's name for `concat`.

    As there, a tensor of shape [0] joins tensors of any shape: an empty list to begin with.
    """
    if any(isinstance(t, Tensor) and t.ndim > 1 for t in tensors):
        tensors = [t for t in tensors if not (isinstance(t, Tensor) and t.shape == (0,))]
    return concat(tensors, dim)
