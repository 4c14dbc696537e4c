"""Attention: averages of values, weighted by how well keys answer a query; and table look-up.

Takes: queries, keys, values [..., T, D]. Gives: [..., T, D].
The one idea: Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V (Vaswani et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chainrule.core.errors import ArgumentError, DTypeError, IndexRangeError
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import COMPOSITES, Composite, composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, common, tensor
from chainrule.graph.traced import is_traced, require
from chainrule.ops.contraction import matmul
from chainrule.ops.generator import Generator
from chainrule.ops.regularization import dropout

__all__ = ["embedding", "scaled_dot_product_attention"]


def _samples() -> Iterable[Sample]:
    mask = In(kind="bool", values=[[True, False, True], [False, False, False]])
    return (
        sample((2, 3), (3, 3), (3, 2)),
        sample((1, 2, 2, 3), (1, 2, 3, 3), (1, 2, 3, 2), name="heads"),
        sample((3, 2), (3, 2), (3, 2), is_causal=True, name="causal"),
        sample((2, 3), (3, 3), (3, 2), mask, name="a row sees nothing"),
        sample((2, 3), (3, 3), (3, 2), (2, 3), scale=0.5, name="added"),
        sample((0, 2, 3), (0, 3, 3), (0, 3, 2), name="no examples"),
    )


@composite(_samples)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return for each query the mean of the values, weighted by softmax(query key^T scale).

    A query that may look at nothing gives zeros.

    Args:
        query: [..., T, D].
        key: [..., S, D].
        value: [..., S, E].
        attn_mask: Broadcasts to [..., T, S]. Booleans: where a query may look. Numbers: added to
            the scores.
        dropout_p: Probability of leaving a weight out.
        is_causal: Query i looks only at keys 0 to i.
        scale: Factor of the scores (default: 1 / sqrt(D)).
        generator: Source of random numbers for the dropout.

    Returns:
        [..., T, E].

    Raises:
        ShapeError: The shapes do not belong together.
        ArgumentError: Both ``attn_mask`` and ``is_causal`` were given.

    Source: Vaswani et al. 2017, "Attention is all you need".
    """
    op = "scaled_dot_product_attention"
    if is_causal and attn_mask is not None:
        raise ArgumentError(f"{op}: got both attn_mask and is_causal=True, expected one of them")
    q, k, v = common(query, key, value)
    _check(op, q, k, v)
    factor = 1.0 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    scores = matmul(q * factor, k.mT)
    if is_causal:
        rows, columns = q.shape[-2], k.shape[-2]
        attn_mask = tensor(np.tri(rows, columns, dtype=np.bool_))
    if attn_mask is not None:
        if attn_mask.dtype.kind == "bool":
            scores = call("where", attn_mask, scores, -math.inf)
        else:
            scores = scores + attn_mask
    weights = _softmax_or_zeros(scores)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p, generator=generator)
    return matmul(weights, v)


def _check(op: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    expect(
        min(q.ndim, k.ndim, v.ndim) >= 2,
        "{}: query {}, key {}, value {} need at least the axes [T, D]",
        *(op, q.spec, k.spec, v.spec),
    )
    expect(
        q.shape[-1] == k.shape[-1],
        "{}: query {} and key {} must have the same last axis",
        *(op, q.spec, k.spec),
    )
    expect(
        k.shape[-2] == v.shape[-2],
        "{}: key {} and value {} must have one row for each position, got {} != {}",
        *(op, k.spec, v.spec, k.shape[-2], v.shape[-2]),
    )


def _softmax_or_zeros(scores: Tensor) -> Tensor:
    """Return the softmax over the last axis; zeros for a row of minus infinity."""
    if scores.shape[-1] == 0:
        return scores
    largest = scores.detach().amax(-1, keepdims=True)
    largest = call("where", largest == -math.inf, 0.0, largest)
    powers = (scores - largest).exp()
    total = powers.sum(-1, keepdims=True)
    return powers / call("where", total == 0.0, 1.0, total)


def _embedding_samples() -> Iterable[Sample]:
    return (
        sample((4, 3), indices=((0, 2, 2), (3, 1, 0))),
        sample((4, 2), indices=(1, 0, 1), padding_idx=3, name="padding elsewhere"),
        sample((3, 2), indices=(), name="no indices"),
    )


@public
def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Return rows of a table.

    Args:
        input: Integers from 0 to V - 1, any shape [...].
        weight: The table, [V, D].
        padding_idx: A row that receives no gradient.

    Returns:
        [..., D].

    Raises:
        IndexRangeError: There is no such row.
        DTypeError: Indices are not integers.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> table = chainrule.tensor([[0.0, 1.0], [2.0, 3.0]])
        >>> F.embedding(chainrule.tensor([1, 0]), table).tolist()
        [[2.0, 3.0], [0.0, 1.0]]
    """
    expect_tensor("embedding", "input", input)
    expect(weight.ndim == 2, "embedding: weight {} must have the axes [V, D]", weight.spec)
    if input.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            f"embedding: input {input.spec} must hold integers, the numbers of rows",
            hint="x.long()",
        )
    rows = weight.shape[0]
    _check_rows(input, weight)
    found: Tensor = call("take", weight, input, 0)
    if padding_idx is None:
        return found
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"embedding: padding_idx={padding_idx} is not one of {rows} rows")
    is_padding = (input == padding_idx % rows).unsqueeze(-1)
    return call("where", is_padding, found.detach(), found)


def _check_rows(input: Tensor, weight: Tensor) -> None:
    rows = weight.shape[0]
    if is_traced(input):
        right = (input >= 0) & (input < rows)
        require(right.all(), IndexRangeError(f"embedding: an index is not one of {rows} rows"))
        return
    values = input.array
    if values.size == 0 or (int(values.min()) >= 0 and int(values.max()) < rows):
        return
    place = tuple(int(i) for i in np.argwhere((values < 0) | (values >= rows))[0])
    where = f" at position {list(place)}" if place else ""
    raise IndexRangeError(
        f"embedding: index {int(values[place])}{where} is not a row of weight {weight.spec}, "
        f"which are numbered 0 to {rows - 1}",
        hint=f"nn.Embedding({int(values.max()) + 1}, {weight.shape[1]}) for the largest index",
    )


def _table_first(
    weight: Tensor, *, indices: tuple[int, ...], padding_idx: int | None = None
) -> Tensor:
    index = tensor(np.asarray(indices, dtype=np.int64))
    return embedding(index, weight, padding_idx)


# What is differentiated comes first in samples.
COMPOSITES["embedding"] = Composite(_table_first, _embedding_samples)
