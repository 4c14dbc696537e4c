"""Embedding bags: one row for each bag of indices, the sum, mean or maximum of theirs.

Takes: integers in bags and a table [V, D]. Gives: [B, D].
The one idea: bags of any length lie end to end; each index knows the number of its bag, and
rows are added up by that number without being laid out one bag a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.core.errors import ArgumentError, ShapeError, unknown_word
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.op import COMPOSITES, Composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, tensor
from chainrule.graph.traced import is_traced
from chainrule.ops.embedding import SEGMENT_ARGMAX, check_indices, check_padding, renormalised_

__all__ = ["embedding_bag"]

_MODES = ("sum", "mean", "max")


def _samples() -> Iterable[Sample]:
    flat, offsets = (0, 2, 2, 3, 1), (0, 3, 3)
    table = In((4, 3), distinct=True)
    return (
        sample(table, indices=((0, 2), (3, 3)), mode="sum"),
        sample(table, indices=flat, offsets=offsets, mode="sum", name="offsets"),
        sample(table, indices=flat, offsets=offsets, name="mean"),
        sample(table, indices=flat, offsets=offsets, mode="max", name="max"),
        sample(table, indices=flat, offsets=(0, 2, 5), include_last_offset=True, name="last"),
        sample(table, indices=flat, offsets=(0, 2), padding_idx=2, name="padding"),
        sample(table, (5,), indices=flat, offsets=(0, 2), mode="sum", name="weights"),
    )


@public
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return for each bag of indices the sum, mean or maximum of the rows that they name.

    Args:
        input: Integers from 0 to V - 1: [B, n], n for each bag; or [N], all bags end to end.
        weight: The table, [V, D].
        offsets: For [N]: where each bag begins, [B], ascending from 0.
        max_norm: Rows that are looked up and longer are first shortened, in the table itself.
        norm_type: Which norm measures the length.
        scale_grad_by_freq: Divide a row's gradient by how often it is looked up.
        mode: ``sum``, ``mean`` or ``max``.
        sparse: Only False: gradients are whole tables here.
        per_sample_weights: Factors of the rows, of the input's shape; for ``sum`` only.
        include_last_offset: Whether offsets have one entry more, the end of the last bag.
        padding_idx: An index that counts for nothing.

    Returns:
        [B, D]; zeros for an empty bag.

    Raises:
        ShapeError: Offsets do not go with the input.
        IndexRangeError: There is no such row.
        ArgumentError: The mode is unknown, offsets do not ascend from 0, or an option does not
            go with the others.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> table = chainrule.tensor([[1.0], [2.0], [4.0]])
        >>> words, starts = chainrule.tensor([0, 2, 1]), chainrule.tensor([0, 2])
        >>> F.embedding_bag(words, table, starts, mode="sum").tolist()
        [[5.0], [2.0]]
    """
    _check(input, weight, offsets, mode, sparse, per_sample_weights)
    padding = check_padding("embedding_bag", padding_idx, weight)
    if max_norm is not None:
        renormalised_(weight, input, max_norm, norm_type)
    flat = input.reshape(-1)
    rows = call("embedding", flat, weight, scale_grad_by_freq=scale_grad_by_freq)  # [N, D]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if input.ndim == 2 and padding is None:
        return _equal_bags(rows.reshape(*input.shape, weight.shape[1]), mode)
    bag, count = _bags(input, offsets, include_last_offset)
    if padding is not None:
        # One bag more than there are takes in what counts for nothing.
        bag = call("where", flat == padding, count, bag)
    return _largest(rows, bag, count) if mode == "max" else _added_up(rows, bag, count, mode)


def _added_up(rows: Tensor, bag: Tensor, count: int, mode: str) -> Tensor:
    """Return the sum or mean of the rows [N, D] of each bag."""
    total = call("zeros", (count + 1, rows.shape[1]), dtype=rows.dtype)
    total = call("index_add", total, 0, bag, rows)[:count]
    if mode == "sum":
        return total
    ones = call("ones", bag.shape, dtype=rows.dtype)
    counts = call("index_add", call("zeros", (count + 1,), dtype=rows.dtype), 0, bag, ones)
    return total / call("clip", counts[:count], 1.0, None).unsqueeze(1)


def _equal_bags(rows: Tensor, mode: str) -> Tensor:
    """Reduce rows [B, n, D], every bag of the same length."""
    if rows.shape[1] == 0 or mode == "sum":
        return rows.sum(1)
    if mode == "mean":
        return rows.mean(1)
    place = call("argmax", rows.detach(), 1, keepdims=True)
    return call("take_along_axis", rows, place, 1).squeeze(1)


def _largest(rows: Tensor, bag: Tensor, count: int) -> Tensor:
    if rows.shape[0] == 0:
        return call("zeros", (count, rows.shape[1]), dtype=rows.dtype)
    place = apply(SEGMENT_ARGMAX, rows.detach(), bag, count=count)
    found = call("take_along_axis", rows, call("clip", place, 0, None), 0)
    return call("where", place < 0, 0.0, found)


def _bags(input: Tensor, offsets: Tensor | None, include_last: bool) -> tuple[Tensor, int]:
    """Return for each index the number of its bag, and how many bags there are."""
    if offsets is None:
        bags, length = input.shape
        return tensor(np.repeat(np.arange(bags), length)), bags
    count = offsets.shape[0] - include_last
    expect(
        count >= 0,
        "embedding_bag: offsets {} hold nothing, not even the last one",
        offsets.spec,
    )
    if not is_traced(offsets):
        values = offsets.array
        if len(values) and (values[0] != 0 or (np.diff(values) < 0).any()):
            raise ArgumentError(
                f"embedding_bag: offsets {values.tolist()[:8]} must start at 0 and ascend"
            )
    places = call("arange", input.shape[0])
    bag = call("searchsorted", offsets.long(), places, side="right") - 1
    return call("clip", bag, None, count), count


def _check(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
    mode: str,
    sparse: bool,
    factors: Tensor | None,
) -> None:
    check_indices("embedding_bag", input, weight)
    if mode not in _MODES:
        raise unknown_word("embedding_bag mode", mode, _MODES)
    if sparse:
        raise ArgumentError(
            "embedding_bag: sparse=True is not supported: gradients are whole tables",
            hint="leave it out",
        )
    if input.ndim not in (1, 2) or (offsets is None) != (input.ndim == 2):
        raise ShapeError(
            f"embedding_bag: input {input.spec} "
            f"{'without' if offsets is None else 'with'} offsets; expected [B, n] without or [N] "
            "with them",
        )
    if offsets is not None:
        expect(
            offsets.ndim == 1 and offsets.dtype.kind in ("int", "uint"),
            "embedding_bag: offsets {} must be integers [B]",
            offsets.spec,
        )
    if factors is not None:
        if mode != "sum":
            raise ArgumentError(
                f"embedding_bag: per_sample_weights with mode={mode!r}; they go with mode='sum'"
            )
        expect(
            factors.shape == input.shape,
            "embedding_bag: per_sample_weights {} must have the shape of input {}",
            *(factors.spec, input.spec),
        )


def _table_first(
    weight: Tensor,
    per_sample_weights: Tensor | None = None,
    *,
    indices: Any,
    offsets: tuple[int, ...] | None = None,
    **attrs: Any,
) -> Tensor:
    index = tensor(np.asarray(indices, dtype=np.int64))
    starts = None if offsets is None else tensor(np.asarray(offsets, dtype=np.int64))
    return embedding_bag(index, weight, starts, per_sample_weights=per_sample_weights, **attrs)


# What is differentiated comes first in samples.
COMPOSITES["embedding_bag"] = Composite(_table_first, _samples)
