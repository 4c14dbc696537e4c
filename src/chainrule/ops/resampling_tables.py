"""Where resampling reads: for each output position, which input positions and how much of each.

Takes: two sizes along one axis, a mode. Gives: positions [out, K] and weights [out, K].
The one idea: every interpolation along one axis is a small table, and so is its derivative: the
same table read the other way round.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from chainrule.core.dtype import Array

# The slope that makes cubic convolution exact to third order (Keys 1981) is -0.5; image programs
# and PyTorch take -0.75 without antialiasing, -0.5 with it.
_SHARP, _EXACT = -0.75, -0.5


class Grid(NamedTuple):
    """How one axis is resampled.

    Attributes:
        mode: ``nearest``, ``nearest-exact``, ``linear`` or ``cubic``.
        size: Size of the input along the axis.
        out: Size of the output along the axis.
        align_corners: Whether the first and the last elements of both lie on each other, instead
            of the outer edges of them.
        scale: Input elements for each output element, or None for size / out.
        antialias: Whether the kernel is widened where the output is smaller, so that each input
            element counts.
    """

    mode: str
    size: int
    out: int
    align_corners: bool = False
    scale: float | None = None
    antialias: bool = False


@lru_cache(maxsize=256)
def table(grid: Grid, transposed: bool) -> tuple[Array, Array]:
    """Return positions and weights, int64 and float64 [out, K]; transposed [size, K'].

    A row with fewer than K positions is filled with position 0 and weight 0.
    """
    if transposed:
        return _transposed(*table(grid, False), grid.size)
    if grid.mode == "nearest":
        return _nearest(grid, 0.0)
    if grid.mode == "nearest-exact":
        return _nearest(grid, 0.5)
    if grid.antialias:
        return _smooth(grid)
    return _linear(grid) if grid.mode == "linear" else _cubic(grid)


def _nearest(grid: Grid, shift: float) -> tuple[Array, Array]:
    # In float32, as PyTorch does, so that ties between two elements fall the same way.
    step = np.float32(grid.size / grid.out if grid.scale is None else grid.scale)
    places = np.floor((np.arange(grid.out, dtype=np.float32) + np.float32(shift)) * step)
    index = np.minimum(places.astype(np.int64), grid.size - 1)
    return index[:, None], np.ones((grid.out, 1))


def _step(grid: Grid) -> float:
    """Return the distance of neighbouring output elements in the input."""
    if grid.align_corners:
        return (grid.size - 1) / (grid.out - 1) if grid.out > 1 else 0.0
    return grid.size / grid.out if grid.scale is None else grid.scale


def _sources(grid: Grid) -> Array:
    """Return where output elements lie in the input, counted from its first element's middle."""
    places = np.arange(grid.out, dtype=np.float64)
    if grid.align_corners:
        return places * _step(grid)
    return (places + 0.5) * _step(grid) - 0.5


def _linear(grid: Grid) -> tuple[Array, Array]:
    source = np.maximum(_sources(grid), 0.0)
    first = np.minimum(source.astype(np.int64), grid.size - 1)
    share = np.clip(source - first, 0.0, 1.0)
    index = np.stack([first, np.minimum(first + 1, grid.size - 1)], axis=1)
    return index, np.stack([1.0 - share, share], axis=1)


def _cubic(grid: Grid) -> tuple[Array, Array]:
    source = _sources(grid)
    first = np.minimum(np.floor(source).astype(np.int64), grid.size - 1)
    share = np.clip(source - first, 0.0, 1.0)
    index = np.clip(first[:, None] + np.arange(-1, 3), 0, grid.size - 1)
    distances = np.abs(share[:, None] - np.arange(-1, 3))
    return index, _cubic_kernel(distances, _SHARP)


def _cubic_kernel(x: Array, a: float) -> Array:
    """Return the cubic convolution kernel at distances x >= 0 (Keys 1981)."""
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    return np.where(x <= 1.0, near, np.where(x < 2.0, far, 0.0))


def _smooth(grid: Grid) -> tuple[Array, Array]:
    """Return the table with a kernel as wide as the distance of output elements."""
    step = _step(grid)
    wide = max(step, 1.0)
    support = (1.0 if grid.mode == "linear" else 2.0) * wide
    shift = 0.0 if grid.align_corners else 0.5
    centre = step * (np.arange(grid.out) + shift)
    low = np.maximum((centre - support + shift).astype(np.int64), 0)
    high = np.minimum((centre + support + shift).astype(np.int64), grid.size)
    index = low[:, None] + np.arange(math.ceil(support) * 2 + 1)
    distances = np.abs((index - centre[:, None] + shift) / wide)
    if grid.mode == "linear":
        weights = np.maximum(1.0 - distances, 0.0)
    else:
        weights = _cubic_kernel(distances, _EXACT)
    weights = np.where(index < high[:, None], weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return np.where(index < high[:, None], index, 0), weights / np.where(total == 0, 1.0, total)


def _transposed(index: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Return for each input position the output positions that read it."""
    out, taps = index.shape
    used = weights.reshape(-1) != 0.0
    reader = np.repeat(np.arange(out), taps)[used]
    source = index.reshape(-1)[used]
    share = weights.reshape(-1)[used]
    order = np.argsort(source, kind="stable")
    reader, source, share = reader[order], source[order], share[order]
    counts = np.bincount(source, minlength=size)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    column = np.arange(len(source)) - starts[source]
    width = max(int(counts.max(initial=0)), 1)
    positions = np.zeros((size, width), dtype=np.int64)
    amounts = np.zeros((size, width))
    positions[source, column] = reader
    amounts[source, column] = share
    return positions, amounts
