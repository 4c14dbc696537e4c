"""Tiles: the two transforms of Winograd's convolution, as ops of the compiler.

Takes: images [N, H, W, C] and a table of numbers. Gives: sums of a tile's elements with these
numbers as weights, down the columns and along the rows of each tile.
The one idea: a tile is small and the tables hold little but 0, 1 and -1, so written out for each
element of a result a transform is a handful of additions between what is loaded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from chainrule.core.dtype import Array, DType, int64
from chainrule.core.shape import Spec
from chainrule.graph.op import Op
from chainrule.graph.sample import Sample
from chainrule.ir.definition import Formulas, compute, read, read_padded
from chainrule.ir.expr import (
    Axis,
    Const,
    Expr,
    Index,
    Position,
    Ref,
    add,
    call,
    const,
    index_of,
    scale,
    where,
)

Table = tuple[tuple[float, ...], ...]


class Cut(NamedTuple):
    """How tiles are cut from images.

    Attributes:
        step: Distance of neighbouring tiles, in positions.
        stride: Elements of a position along each axis; a tile takes them apart.
        start: Rows and columns of zeros in front of the first tile, in elements.
        tiles: Number of tiles along each axis.
    """

    step: int
    stride: int
    start: tuple[int, int]
    tiles: tuple[int, int]


class TileTransform(Op):
    """Tiles of images, transformed: x [N, H, W, C] to [P, P, N, *tiles, stride, stride, C].

    y[p, q, n, i, j, u, v, c] = Σ over a, b of T[p, a] T[q, b] x[n, h, w, c] with
    h = stride (step i + a) + u - start, w likewise; zero outside of the image.
    """

    name = "tile_transform"
    differentiable = False
    flops_per_element = 2

    def infer(self, x: Spec, *, table: Table, cut: Cut) -> Spec:
        size, side = len(table), cut.stride
        return Spec((size, size, x.shape[0], *cut.tiles, side, side, x.shape[3]), x.dtype)

    def eval(self, x: Array, *, table: Table, cut: Cut) -> Array:
        weights = np.array(table, x.dtype)
        axes: list[Array] = []
        padded = x
        for axis in (1, 2):
            n = np.arange(cut.tiles[axis - 1])[:, None, None] * cut.step
            at = (n + np.arange(weights.shape[1])[None, :, None]) * cut.stride
            at = at + np.arange(cut.stride) - cut.start[axis - 1]
            before, after = max(0, -int(at.min())), max(0, int(at.max()) - x.shape[axis] + 1)
            widths = [(0, 0)] * 4
            widths[axis] = (before, after)
            padded = np.pad(padded, widths)
            axes.append(at + before)
        tiles = padded[:, axes[0][..., None, None, None], axes[1]]  # n i a u j b v c
        found: Array = np.einsum("pa,qb,niaujbvc->pqnijuvc", weights, weights, tiles, optimize=True)
        return found

    def lower(self, x: Ref, *, table: Table, cut: Cut) -> Formulas | None:
        taps = range(len(table[0]))

        def body(*at: Axis) -> Expr:
            p, q, n, i, j, u, v, c = at

            def place(tile: Axis, tap: int, inner: Axis, start: int) -> Index:
                return add(scale(add(scale(tile, cut.step), tap), cut.stride), inner, -start)

            rows = [place(i, a, u, cut.start[0]) for a in taps]
            columns = [place(j, b, v, cut.start[1]) for b in taps]
            tile = [[read_padded(x, n, h, w, c) for w in columns] for h in rows]
            return _chosen(tile, table, (p, q), x.dtype)

        spec = self.infer(Spec(x.shape, x.dtype), table=table, cut=cut)
        return (compute(spec.shape, x.dtype, body),)

    def samples(self) -> Iterable[Sample]:
        return ()


class TileOutput(Op):
    """What transformed tiles make: [P, P, N, I, J, s, s, C] to [N, I, R, s, J, R, s, C].

    y[n, i, a, u, j, b, v, c] = Σ over p, q of T[a, p] T[b, q] x[p, q, n, i, j, u, v, c].
    """

    name = "tile_output"
    differentiable = False
    flops_per_element = 4

    def infer(self, x: Spec, *, table: Table) -> Spec:
        _, _, n, i, j, u, v, c = x.shape
        size = len(table)
        return Spec((n, i, size, u, j, size, v, c), x.dtype)

    def eval(self, x: Array, *, table: Table) -> Array:
        weights = np.array(table, x.dtype)
        found: Array = np.einsum("ap,bq,pqnijuvc->niaujbvc", weights, weights, x, optimize=True)
        return found

    def lower(self, x: Ref, *, table: Table) -> Formulas | None:
        size = range(len(table[0]))

        def body(*at: Axis) -> Expr:
            n, i, a, u, j, b, v, c = at
            tile = [[read(x, p, q, n, i, j, u, v, c) for q in size] for p in size]
            return _chosen(tile, table, (a, b), x.dtype)

        spec = self.infer(Spec(x.shape, x.dtype), table=table)
        return (compute(spec.shape, x.dtype, body),)

    def samples(self) -> Iterable[Sample]:
        return ()


TILE_TRANSFORM, TILE_OUTPUT = TileTransform(), TileOutput()


def _chosen(
    tile: Sequence[Sequence[Expr]], table: Table, at: tuple[Axis, Axis], dtype: DType
) -> Expr:
    """Return T tile Tᵀ at a row and a column: which one is a choice, so that all share sums."""
    columns = list(zip(*tile, strict=True))
    rows = []
    for weights in table:
        half = [_sum(weights, column, dtype) for column in columns]
        rows.append(_choice(at[1], [_sum(other, half, dtype) for other in table]))
    return _choice(at[0], rows)


def _sum(weights: Sequence[float], values: Sequence[Expr], dtype: DType) -> Expr:
    """Return the weighted sum of values, those with positive weights first."""
    terms = [(w, v) for w, v in zip(weights, values, strict=True) if w]
    terms.sort(key=lambda term: term[0] < 0)
    total: Expr | None = None
    for weight, value in terms:
        part = value if abs(weight) == 1 else call("multiply", value, const(abs(weight), dtype))
        if total is None:
            total = part if weight > 0 else call("negative", part)
        else:
            total = call("add" if weight > 0 else "subtract", total, part)
    assert total is not None
    return total


def _choice(axis: Axis, values: Sequence[Expr]) -> Expr:
    result = values[-1]
    for number in range(len(values) - 2, -1, -1):
        here = call("equal", Position(index_of(axis)), Const(number, int64))
        result = where(here, values[number], result)
    return result
