"""Embedding: looking rows up in a table, and reducing bags of them to one row each.

Takes: integers and a table [V, D]. Gives: rows [..., D], or one row for each bag [B, D].
The one idea: a table of rows times one-hot vectors, without the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.dtype import Array, int64
from chainrule.core.errors import ArgumentError, DTypeError, IndexRangeError
from chainrule.core.shape import Spec, expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.node import no_grad
from chainrule.graph.op import COMPOSITES, Composite, Op, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, tensor
from chainrule.graph.traced import is_traced, require

__all__ = ["check_padding", "embedding", "renormalised_"]


def _samples() -> Iterable[Sample]:
    return (
        sample((4, 3), indices=((0, 2, 2), (3, 1, 0))),
        sample((4, 2), indices=(1, 0, 1), padding_idx=3, name="padding elsewhere"),
        sample((3, 2), indices=(), name="no indices"),
    )


@public
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return rows of a table.

    Args:
        input: Integers from 0 to V - 1, any shape [...].
        weight: The table, [V, D].
        padding_idx: A row that receives no gradient.
        max_norm: Rows that are looked up and longer are first shortened to this length, in the
            table itself.
        norm_type: Which norm measures the length.
        scale_grad_by_freq: Divide the gradient of a row by how often it is looked up.
        sparse: Only False: gradients are whole tables here.

    Returns:
        [..., D].

    Raises:
        IndexRangeError: There is no such row.
        DTypeError: Indices are not integers.
        ArgumentError: ``padding_idx`` is no row, or ``sparse`` is True.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> table = chainrule.tensor([[0.0, 1.0], [2.0, 3.0]])
        >>> F.embedding(chainrule.tensor([1, 0]), table).tolist()
        [[2.0, 3.0], [0.0, 1.0]]
    """
    check_indices("embedding", input, weight)
    padding = check_padding("embedding", padding_idx, weight)
    if sparse:
        raise ArgumentError(
            "embedding: sparse=True is not supported: gradients are whole tables",
            hint="leave it out",
        )
    if max_norm is not None:
        renormalised_(weight, input, max_norm, norm_type)
    found: Tensor = call("take", weight, input, 0)
    if scale_grad_by_freq and found.node is not None:
        _scale_gradient(found, input, weight.shape[0])
    if padding is None:
        return found
    return call("where", (input == padding).unsqueeze(-1), found.detach(), found)


def _scale_gradient(found: Tensor, input: Tensor, rows: int) -> None:
    """Let the gradient of each row be divided by the number of times that it was found."""
    flat = input.reshape(-1).long()
    zeros, ones = call("zeros", (rows,)), call("ones", (flat.shape[0],))
    counts = call("take", call("index_add", zeros, 0, flat, ones), input, 0).unsqueeze(-1)

    def scaled(gradient: Tensor) -> Tensor:
        return gradient / counts.to(gradient.dtype)

    found.register_hook(scaled)


def renormalised_(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Shorten, in place, the rows of a table that are looked up and longer than allowed."""
    if not max_norm > 0:
        raise ArgumentError(f"embedding: max_norm={max_norm}, expected a number above 0")
    with no_grad():
        flat = input.reshape(-1)
        if flat.shape[0] == 0:
            return
        rows = call("take", weight.detach(), flat, 0)
        length = call("vector_norm", rows, norm_type, 1, keepdims=True)
        # 1e-7 as in PyTorch: the result is a little shorter than allowed, never longer.
        factor = call("where", length > max_norm, max_norm / (length + 1e-7), 1.0)
        weight[flat] = (rows * factor).to(weight.dtype)


def check_padding(op: str, padding_idx: int | None, weight: Tensor) -> int | None:
    """Return the number of the padding row, counted from 0.

    Raises:
        ArgumentError: There is no such row.
    """
    rows = weight.shape[0]
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"{op}: padding_idx={padding_idx} is not one of {rows} rows")
    return padding_idx % rows


def check_indices(op: str, input: Tensor, weight: Tensor) -> None:
    """Check that indices are numbers of rows.

    Raises:
        ShapeError: The table is none.
        DTypeError: They are no integers.
        IndexRangeError: There is no such row.
    """
    expect_tensor(op, "input", input)
    expect(weight.ndim == 2, "{}: weight {} must have the axes [V, D]", op, weight.spec)
    if input.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"{op}: input {input.spec} must hold integers, the numbers of rows",
            hint="x.long()",
        )
    rows = weight.shape[0]
    if is_traced(input):
        right = (input >= 0) & (input < rows)
        require(right.all(), IndexRangeError(f"{op}: an index is not one of {rows} rows"))
        return
    values = input.array
    if values.size == 0 or (int(values.min()) >= 0 and int(values.max()) < rows):
        return
    place = tuple(int(i) for i in np.argwhere((values < 0) | (values >= rows))[0])
    where = f" at position {list(place)}" if place else ""
    raise IndexRangeError(
        f"{op}: index {int(values[place])}{where} is not a row of weight {weight.spec}, "
        f"which are numbered 0 to {rows - 1}",
        hint=f"nn.Embedding({int(values.max()) + 1}, {weight.shape[1]}) for the largest index",
    )


def _table_first(
    weight: Tensor,
    *,
    indices: tuple[int, ...],
    padding_idx: int | None = None,
) -> Tensor:
    index = tensor(np.asarray(indices, dtype=np.int64))
    return embedding(index, weight, padding_idx)


# What is differentiated comes first in samples.
COMPOSITES["embedding"] = Composite(_table_first, _samples)


@register
class SegmentArgmax(Op):
    """For each segment and column the row of the largest element, the first of equal ones.

    Rows of x [N, D] belong to the segments that ``segment`` [N] says; those outside 0 to
    count - 1 to none. A segment without rows gives -1. NaN counts as largest.
    """

    name = "segment_argmax"
    differentiable = False

    def infer(self, x: Spec, segment: Spec, *, count: int) -> Spec:
        expect(
            len(x.shape) == 2 and segment.shape == x.shape[:1] and segment.dtype.kind == "int",
            "segment_argmax: x {} [N, D] needs segments [N] of integers, got {}",
            *(x, segment),
        )
        return Spec((count, x.shape[1]), int64)

    def eval(self, x: Array, segment: Array, *, count: int) -> Array:
        result = np.full((count, x.shape[1]), -1, dtype=np.int64)
        inside = np.flatnonzero((segment >= 0) & (segment < count))
        order = inside[np.argsort(segment[inside], kind="stable")]
        if len(order) == 0:
            return result
        rows, owner = x[order], segment[order]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        top = np.maximum.reduceat(rows, starts, axis=0)
        which = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
        hit = rows == top[which]
        if rows.dtype.kind == "f":
            hit |= np.isnan(rows)
        places = np.where(hit, np.arange(len(order))[:, None], len(order) - 1)
        result[owner[starts]] = order[np.minimum.reduceat(places, starts, axis=0)]
        return result

    def samples(self) -> Iterable[Sample]:
        segment = In((5,), kind="int", values=[0, 0, 2, 2, 2])
        return [
            sample(In((5, 2), distinct=True), segment, count=4),
            sample((0, 2), In((0,), kind="int"), count=2, name="no rows"),
        ]


SEGMENT_ARGMAX = SegmentArgmax()
