"""Attention: averages of values, weighted by how well keys answer a query.

Takes: queries, keys, values [..., T, D]. Gives: [..., T, D].
The one idea: Attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V (Vaswani et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.core.shape import Shape, broadcast_shapes, expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, common
from chainrule.ops.attention_blocks import Scores, attend_in_blocks, counters
from chainrule.ops.contraction import matmul
from chainrule.ops.creation import arange
from chainrule.ops.generator import Generator, default_generator
from chainrule.ops.joining import concat
from chainrule.ops.pieces import narrow
from chainrule.ops.regularization import dropout

__all__ = ["attention_weights", "scaled_dot_product_attention"]


# From that many scores a head on, sequences are taken block by block; measured on two cores. With
# a causal mask half of the blocks are left out, so it pays earlier; without, it is as fast.
_LONG, _LONG_CAUSAL = 512 * 512, 256 * 256
# A shorter causal one is cut into so many parts of queries, each of which meets only the keys up
# to its last query: five eighths of the work. Below so many queries that saves nothing.
_PARTS, _LEAST = 4, 96


def _samples() -> Iterable[Sample]:
    mask = In(kind="bool", values=[[True, False, True], [False, False, False]])
    by_key = In(kind="bool", values=[[[[True, True, False]]], [[[True, False, True]]]])
    return (
        sample((2, 3), (3, 3), (3, 2)),
        sample((1, 2, 2, 3), (1, 2, 3, 3), (1, 2, 3, 2), name="heads"),
        sample((3, 2), (3, 2), (3, 2), is_causal=True, name="causal"),
        sample((2, 3), (3, 3), (3, 2), is_causal=True, name="causal, more keys"),
        sample((2, 3), (3, 3), (3, 2), mask, name="a row sees nothing"),
        sample((2, 2, 1, 3), (2, 2, 3, 3), (2, 2, 3, 2), by_key, name="padded keys"),
        sample((2, 3), (3, 3), (3, 2), (2, 3), scale=0.5, name="added"),
        sample((2, 3), (1, 3), (1, 2), name="one key"),
        sample((1, 4, 2, 3), (1, 2, 3, 3), (1, 2, 3, 2), enable_gqa=True, name="shared keys"),
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
    enable_gqa: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Return for each query the mean of the values, weighted by softmax(query key^T scale).

    A query that may look at nothing gives zeros, and receives no gradient.

    Long sequences are taken block by block: the memory then grows with T + S instead of T S, and
    the gradient computes the scores again. This is not done for an ``attn_mask`` that receives a
    gradient, which has T S elements itself. With ``is_causal`` blocks that no query may look at are
    left out; so whether a NaN or an infinity there shows (0 times it is NaN) is not defined.

    Args:
        query: [..., T, D].
        key: [..., S, D].
        value: [..., S, E].
        attn_mask: Broadcasts to [..., T, S]. Booleans: where a query may look. Numbers: added to
            the scores.
        dropout_p: Probability of leaving a weight out; it is always in force, so pass 0.0 when
            not training.
        is_causal: Query i looks only at keys 0 to i.
        scale: Factor of the scores (default: 1 / sqrt(D)).
        enable_gqa: Axis -3 is that of the heads, and several heads of queries share one of keys
            and values: query [..., H, T, D], key [..., H / n, S, D] (Ainslie et al. 2023).
        generator: Source of random numbers for the dropout.

    Returns:
        [..., T, E].

    Raises:
        ShapeError: The shapes do not belong together.
        DTypeError: The mask holds whole numbers.
        ArgumentError: Both ``attn_mask`` and ``is_causal`` were given, or ``dropout_p`` is not a
            probability.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[1.0], [3.0]])
        >>> F.scaled_dot_product_attention(x * 0.0, x, x, is_causal=True).tolist()
        [[1.0], [2.0]]

    Source: Vaswani et al. 2017, "Attention is all you need".
    """
    scores = Scores(attn_mask, is_causal, dropout_p)
    return _attended(query, key, value, scores, scale, enable_gqa, generator)


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scores: Scores,
    scale: float | None,
    shares: bool,
    generator: Generator | None,
) -> Tensor:
    op = "scaled_dot_product_attention"
    q, k, v = common(query, key, value)
    _check(op, q, k, v, scores)
    if shares:
        _check_groups(op, q, k, v)
        k, v = (_repeated(x, q.shape[-3] // x.shape[-3]) for x in (k, v))
    shape = _shape_of_scores(op, q, k, v)
    mask = scores.mask
    if mask is not None:
        _check_mask(op, mask, shape)
    factor = 1.0 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    scaled = q * factor
    long = math.prod(shape[-2:]) >= (_LONG_CAUSAL if scores.is_causal else _LONG)
    if long and scores.dropout_p < 1.0 and (mask is None or mask.node is None):
        return _in_blocks(scaled, k, v, scores, shape, generator)
    if scores.is_causal and shape[-2] >= _LEAST:
        return _in_parts(scaled, k, v, scores.dropout_p, generator)
    weights = attention_weights(scaled, k, mask, scores.is_causal)
    return matmul(dropout(weights, scores.dropout_p, generator=generator), v)


def _in_parts(q: Tensor, k: Tensor, v: Tensor, p: float, generator: Generator | None) -> Tensor:
    """Return causal attention, some queries at a time with the keys that they may look at."""
    rows, columns = q.shape[-2], k.shape[-2]
    size = math.ceil(rows / _PARTS)
    found = []
    for first in range(0, rows, size):
        count = min(size, rows - first)
        keys, values = (narrow(x, -2, 0, min(first + count, columns)) for x in (k, v))
        weights = attention_weights(narrow(q, -2, first, count), keys, None, True, first)
        found.append(matmul(dropout(weights, p, generator=generator), values))
    return concat(found, -2)


def attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, first: int = 0
) -> Tensor:
    """Return softmax(q k^T) [..., T, S] of scaled queries, with zeros where nothing is seen.

    Args:
        q: [..., T, D].
        k: [..., S, D].
        mask: As of `scaled_dot_product_attention`.
        is_causal: In the place of a mask.
        first: The position of the first query, for that.
    """
    scores = matmul(q, k.mT)
    if is_causal:
        rows = arange(first, first + q.shape[-2], dtype="int32")
        mask = rows.unsqueeze(-1) >= arange(k.shape[-2], dtype="int32")
    if mask is not None:
        if mask.dtype.kind == "bool":
            scores = call("where", mask, scores, -math.inf)
        else:
            scores = scores + mask
    return _softmax_or_zeros(scores)


def _in_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scores: Scores,
    shape: Shape,
    generator: Generator | None,
) -> Tensor:
    if scores.dropout_p > 0.0:
        source = default_generator() if generator is None else generator
        scores = replace(scores, state=source.reserve(counters(shape)))
    if not q.dtype.is_half:
        return attend_in_blocks(q, k, v, scores)
    # What is added up over blocks needs more digits than a half has.
    return attend_in_blocks(q.float(), k.float(), v.float(), scores).to(q.dtype)


def _check(op: str, q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> None:
    if scores.is_causal and scores.mask is not None:
        raise ArgumentError(
            f"{op}: got both attn_mask and is_causal=True, expected one of them",
            hint="attn_mask=mask.tril() for booleans, without is_causal",
        )
    if not 0.0 <= scores.dropout_p <= 1.0:
        p = scores.dropout_p
        raise ArgumentError(f"{op}: dropout_p={p}, expected a probability from 0 to 1")
    expect(
        min(q.ndim, k.ndim, v.ndim) >= 2,
        "{}: query {}, key {}, value {} need at least the axes [T, D]",
        *(op, q.spec, k.spec, v.spec),
        hint="a single vector needs an axis for positions: x.unsqueeze(0)",
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


def _check_groups(op: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    expect(
        min(q.ndim, k.ndim, v.ndim) >= 3,
        "{}: with enable_gqa query {}, key {}, value {} need the axes [..., heads, T, D]",
        *(op, q.spec, k.spec, v.spec),
    )
    heads = q.shape[-3]
    for name, x in (("key", k), ("value", v)):
        expect(
            x.shape[-3] > 0 and heads % x.shape[-3] == 0,
            "{}: {} heads of query {} cannot share the {} of {} {} evenly",
            *(op, heads, q.spec, x.shape[-3], name, x.spec),
        )


def _repeated(x: Tensor, times: int) -> Tensor:
    """Return keys or values with each head as often as queries share it."""
    if times == 1:
        return x
    *lead, heads, rows, columns = x.shape
    spread = x.unsqueeze(-3).expand((*lead, heads, times, rows, columns))
    return spread.reshape((*lead, heads * times, rows, columns))


def _shape_of_scores(op: str, q: Tensor, k: Tensor, v: Tensor) -> Shape:
    """Return [..., T, S]."""
    try:
        lead = broadcast_shapes(op, q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ShapeError:
        hint = ""
        if min(q.ndim, k.ndim) > 2 and q.shape[-3] != k.shape[-3] > 0 == q.shape[-3] % k.shape[-3]:
            hint = "enable_gqa=True, if several heads of queries share one of keys"
        raise ShapeError(
            f"{op}: query {q.spec}, key {k.spec}, value {v.spec} differ in the axes before the "
            "last two",
            hint=hint,
        ) from None
    return (*lead, q.shape[-2], k.shape[-2])


def _check_mask(op: str, mask: Tensor, shape: Shape) -> None:
    expect_tensor(op, "attn_mask", mask)
    if mask.dtype.kind != "bool" and not mask.dtype.is_floating:
        raise DTypeError(
            f"{op}: attn_mask {mask.spec} holds whole numbers, expected booleans (where a query "
            "may look) or real numbers (added to the scores)",
            hint="attn_mask.bool()",
        )
    try:
        fits = broadcast_shapes(op, mask.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        hint = "build it as [T, S], [N, 1, 1, S] or [N, H, T, S]"
        if mask.shape == (shape[0], shape[-1]) and len(shape) > 2:
            hint = "a mask of the keys of each example: " + (
                "mask[:, None, None, :]" if len(shape) == 4 else "mask[:, None, :]"
            )
        raise ShapeError(
            f"{op}: attn_mask {mask.spec} does not broadcast to the scores {list(shape)}",
            hint=hint,
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
