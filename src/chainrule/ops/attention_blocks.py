"""Attention block by block: long sequences without the matrix of all scores.

Takes: queries [..., T, D], keys [..., S, D], values [..., S, E], which of them may meet.
Gives: [..., T, E], with memory that grows with T + S, not with T S.
The one idea: a softmax can be summed up in pieces. With the largest score so far m and the sum
l of e^(s - m), a new block of scores only rescales what has been added up (Milakov & Gimelshein
2018; Rabe & Staats 2021). The derivative computes the scores of each block again, from the
logarithm of the sum that was kept for each query (Dao et al. 2022, "FlashAttention").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chainrule.core.dtype import bool_, uint32
from chainrule.core.shape import Shape
from chainrule.graph.bundle import record_several
from chainrule.graph.conversion import call
from chainrule.graph.node import mode, no_grad
from chainrule.graph.tensor import Tensor
from chainrule.ops.creation import arange, full, zeros
from chainrule.ops.loops import cond, scan
from chainrule.ops.movement import pad
from chainrule.ops.philox import blocks_for, random_bits
from chainrule.ops.pieces import narrow

# Rows and columns of a block of scores.
BLOCK = (128, 128)
# From that many bits a number in [0, 1) is made that decides whether a weight is kept.
_DIGITS = 24

Tensors = tuple[Tensor, ...]
Named = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Scores:
    """How scores are made from queries and keys, and what happens to the weights.

    Attributes:
        mask: Broadcasts to the scores, with as many axes: booleans (who may look where) or
            numbers (added); or None.
        is_causal: Whether query i looks only at keys 0 to i.
        dropout_p: Probability of leaving a weight out.
        state: Where the random numbers for that begin; None without dropout.
        block: Rows and columns of a block.
    """

    mask: Tensor | None = None
    is_causal: bool = False
    dropout_p: float = 0.0
    state: Tensor | None = None
    block: tuple[int, int] = BLOCK


def counters(shape: Shape, block: tuple[int, int] = BLOCK) -> int:
    """Return how many counters of a generator the dropout of scores of a shape takes."""
    *lead, rows, columns = shape
    whole = math.ceil(rows / block[0]) * math.ceil(columns / block[1])
    return whole * blocks_for((*lead, *block), uint32)


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> Tensor:
    """Return softmax(q k^T) v, with zeros for queries that look at nothing.

    Args:
        q: Queries, scaled: [..., T, D].
        k: Keys [..., S, D].
        v: Values [..., S, E].
        scores: The rest; nothing is differentiated with respect to its mask.
    """
    given = (q, k, v) if scores.mask is None else (q, k, v, scores.mask)
    axes = max(x.ndim for x in given)
    # With an axis in front, a product is never one of matrices, whose rounds a compiled loop
    # would do all at once: that is the matrix of all scores again.
    count = max(axes, 3)
    if scores.mask is not None:
        scores = replace(scores, mask=_with_axes(scores.mask, count))
    q, k, v = (_linked(_with_axes(x, count)) for x in (q, k, v))
    found, _ = _attend(q, k, v, scores)
    return found if axes == count else found.squeeze(0)


def _attend(q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> tuple[Tensor, Tensor]:
    """Return the mean values and ln sum e^score, [..., T, E] and [..., T, 1]."""
    with no_grad():
        found, logarithm = _forward(_Blocks.of(q, k, scores), q, k, v)
    parents = [x.node for x in (q, k, v) if x.node is not None]
    if mode.recording and parents:
        kept = (found.detach(), logarithm.detach())

        def pull(parts: dict[int, Tensor]) -> Sequence[Tensor | None]:
            # A second derivative sees how the results depend on what went in.
            mean, logs = _attend(q, k, v, scores) if mode.recording else kept
            slopes = parts.get(0)
            slopes = zeros(mean.shape, dtype=mean.dtype) if slopes is None else slopes
            less = (slopes * mean).sum(-1, keepdims=True)
            less = less - parts[1] if 1 in parts else less
            every = _backward(_Blocks.of(q, k, scores), q, k, v, slopes, logs, less)
            return [g for g, x in zip(every, (q, k, v), strict=True) if x.node is not None]

        record_several("attention", parents, {0: found, 1: logarithm}, pull)
    return found, logarithm


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The grid of blocks, and where in it the mask applies.

    Attributes:
        scores: What was asked for.
        rows: Number of queries, and of blocks of them.
        columns: Number of keys, and of blocks of them.
        mask_rows: The mask in blocks of rows, [blocks, ..., rows, S or 1]; None if rows share one.
    """

    scores: Scores
    rows: tuple[int, int]
    columns: tuple[int, int]
    mask_rows: Tensor | None

    @classmethod
    def of(cls, q: Tensor, k: Tensor, scores: Scores) -> _Blocks:
        height, width = scores.block
        rows = (q.shape[-2], math.ceil(q.shape[-2] / height))
        columns = (k.shape[-2], math.ceil(k.shape[-2] / width))
        mask = scores.mask
        by_rows = None if mask is None or mask.shape[-2] == 1 else _cut(mask, -2, height)
        return cls(scores, rows, columns, by_rows)

    def queries(self, *tensors: Tensor) -> Named:
        """Return what goes along the rows: the tensors in blocks, their numbers, the mask."""
        made = {str(n): _cut(x, -2, self.scores.block[0]) for n, x in enumerate(tensors)}
        made["number"] = arange(self.rows[1], dtype="int32")
        if self.mask_rows is not None:
            made["mask"] = self.mask_rows
        return made

    def keys(self, *tensors: Tensor) -> Named:
        """Return what goes along the columns, without the mask."""
        made = {str(n): _cut(x, -2, self.scores.block[1]) for n, x in enumerate(tensors)}
        made["number"] = arange(self.columns[1], dtype="int32")
        return made

    def masked(self, keys: Named, row: Named) -> Named:
        """Return the keys with the mask for a block of rows, in blocks of columns."""
        mask = row.get("mask", self.scores.mask)
        if mask is None or mask.shape[-1] == 1:
            return keys
        return {**keys, "mask": _cut(mask, -1, self.scores.block[1])}

    def scored(self, q: Tensor, k: Tensor, row: Named, x: Named) -> Tensor:
        """Return the scores of a block; minus infinity where a query may not look."""
        made = q @ k.mT
        mask = x.get("mask", row.get("mask", self.scores.mask))
        if mask is not None and mask.dtype is not bool_:
            made = made + mask
        elif mask is not None:
            made = call("where", mask, made, -math.inf)
        height, width = self.scores.block
        column = arange(width, dtype="int32") + x["number"] * width
        if self.scores.is_causal:
            line = arange(height, dtype="int32") + row["number"] * height
            made = call("where", line.unsqueeze(-1) >= column, made, -math.inf)
        if self.columns[0] % width:
            made = call("where", column < self.columns[0], made, -math.inf)
        return made

    def kept(self, shape: Shape, row: Named, x: Named) -> Tensor | None:
        """Return the factors of dropout for a block of weights, or None."""
        state, p = self.scores.state, self.scores.dropout_p
        if state is None:
            return None
        place = row["number"] * self.columns[1] + x["number"]
        step = place.to("uint64") * blocks_for(shape, uint32)
        # The low half of the counter, the middle one of three words, moves on from block to block.
        bits = random_bits(state + call("where", arange(3) == 1, step, 0), shape, dtype="uint32")
        unit = (bits >> (32 - _DIGITS)).float() * 2.0**-_DIGITS
        return call("where", unit >= p, 1.0 / (1.0 - p), 0.0)

    def seen(self, row: Named, x: Named) -> Tensor:
        """Return whether a query of the block may look at a key of it."""
        height, width = self.scores.block
        return x["number"] * width < (row["number"] + 1) * height


def _forward(grid: _Blocks, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    height, width = grid.scores.block
    mask = grid.scores.mask
    lead = _common(q, k, *(() if mask is None else (mask,)))
    whole = _common(q, k, v, *(() if mask is None else (mask,)))
    keys = grid.keys(k, v)

    def block(row: Named, carry: Tensors, x: Named) -> Tensors:
        top, total, mean = carry
        made = grid.scored(row["0"], x["0"], row, x)
        above = call("maximum", top, made.amax(-1, keepdims=True))
        shift = _finite(above)
        powers, fade = (made - shift).exp(), (top - shift).exp()
        total = total * fade + powers.sum(-1, keepdims=True)
        kept = grid.kept((*lead, height, width), row, x)
        powers = powers if kept is None else powers * kept.to(powers.dtype)
        return above, total, mean * fade + powers @ x["1"]

    def line(_: None, row: Named) -> tuple[None, Tensors]:
        def round_(carry: Tensors, x: Named) -> tuple[Tensors, None]:
            if not grid.scores.is_causal:
                return block(row, carry, x), None
            after = cond(grid.seen(row, x), lambda: block(row, carry, x), lambda: carry)
            return after, None

        lowest = full((*lead, height, 1), -math.inf, dtype=q.dtype)
        nothing = zeros((*lead, height, 1), dtype=q.dtype)
        init = (lowest, nothing, zeros((*whole, height, v.shape[-1]), dtype=q.dtype))
        (top, total, mean), _ = scan(round_, init, grid.masked(keys, row))
        looks = total != 0.0  # a NaN does
        total = call("where", looks, total, 1.0)
        return None, (mean / total, call("where", looks, _finite(top) + total.log(), 0.0))

    _, (found, logarithm) = scan(line, None, grid.queries(q))
    return _joined(found, grid.rows[0]), _joined(logarithm, grid.rows[0])


def _backward(
    grid: _Blocks,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    logarithm: Tensor,
    less: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values.

    With weights p = e^(score - logarithm), the gradient of a score is p (slope · v - less).
    """
    height, width = grid.scores.block
    keys = grid.keys(k, v)
    mask = grid.scores.mask
    lead = _common(q, k, *(() if mask is None else (mask,)))

    def block(row: Named, of_queries: Tensor, x: Named) -> Tensors:
        made = grid.scored(row["0"], x["0"], row, x)
        weights = (made - row["2"]).exp()
        gains = row["1"] @ x["1"].mT
        kept = grid.kept((*lead, height, width), row, x)
        used = weights
        if kept is not None:
            used, gains = weights * kept.to(weights.dtype), gains * kept.to(weights.dtype)
        errors = weights * (gains - row["3"])
        return (
            of_queries + _summed(errors @ x["0"], of_queries.shape),
            x["of keys"] + _summed(errors.mT @ row["0"], x["0"].shape),
            x["of values"] + _summed(used.mT @ row["1"], x["1"].shape),
        )

    def line(carry: Tensors, row: Named) -> tuple[Tensors, Tensor]:
        def round_(of_queries: Tensor, x: Named) -> tuple[Tensor, Tensors]:
            if grid.scores.is_causal:
                found = cond(
                    grid.seen(row, x),
                    lambda: block(row, of_queries, x),
                    lambda: (of_queries, x["of keys"], x["of values"]),
                )
            else:
                found = block(row, of_queries, x)
            return found[0], found[1:]

        xs = {**grid.masked(keys, row), "of keys": carry[0], "of values": carry[1]}
        of_queries, both = scan(round_, zeros(row["0"].shape, dtype=q.dtype), xs)
        return both, of_queries

    init = tuple(zeros(keys[name].shape, dtype=q.dtype) for name in ("0", "1"))
    rows = grid.queries(q, slopes, logarithm, less)
    (of_keys, of_values), of_queries = scan(line, init, rows)
    joined = (_joined(of_keys, k.shape[-2]), _joined(of_values, k.shape[-2]))
    return _joined(of_queries, q.shape[-2]), *joined


# --- pieces -------------------------------------------------------------------------------------


def _linked(x: Tensor) -> Tensor:
    """Return a handle of its own, which stays as it is if the user's is changed in place."""
    link = x.detach()
    link.node = x.node
    return link


def _with_axes(x: Tensor, count: int) -> Tensor:
    return x.reshape((1,) * (count - x.ndim) + x.shape)


def _cut(x: Tensor, axis: int, size: int) -> Tensor:
    """Return a tensor in blocks along an axis, [blocks, ..., size, ...], the last one padded."""
    place = x.ndim + axis
    count = math.ceil(x.shape[axis] / size)
    missing = count * size - x.shape[axis]
    if missing:
        x = pad(x, [(0, missing if n == place else 0) for n in range(x.ndim)])
    shape = (*x.shape[:place], count, size, *x.shape[place + 1 :])
    order = (place, *(n for n in range(x.ndim + 1) if n != place))
    return x.reshape(shape).permute(order)


def _joined(blocks: Tensor, length: int) -> Tensor:
    """Return blocks [blocks, ..., rows, D] as one sequence [..., length, D]."""
    made = blocks.permute((*range(1, blocks.ndim - 2), 0, blocks.ndim - 2, blocks.ndim - 1))
    *lead, count, size, last = made.shape
    whole = made.reshape((*lead, count * size, last))
    return whole if count * size == length else narrow(whole, -2, 0, length)


def _common(*tensors: Tensor) -> Shape:
    """Return the leading axes that tensors of as many axes broadcast to."""
    sizes = zip(*(x.shape[:-2] for x in tensors), strict=True)
    return tuple(next((n for n in axis if n != 1), 1) for axis in sizes)


def _summed(x: Tensor, shape: Shape) -> Tensor:
    """Return a gradient summed over the axes along which a tensor was broadcast."""
    axes = tuple(n for n, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if a != b)
    return x.sum(axes, keepdims=True) if axes else x


def _finite(largest: Tensor) -> Tensor:
    """Return what is taken off the scores: 0 where there is none but minus infinity."""
    return call("where", largest == -math.inf, 0.0, largest)
