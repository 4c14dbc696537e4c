"""Folding: reductions of NumPy arrays, faster and rounded less than NumPy's own where that pays.

Takes: an array and axes. Gives: its sum, largest or smallest elements along them.
The one idea: NumPy is slow where its inner loop is short (few columns) and adds one row after
the other, so that rounding grows with their number. Reading a narrow matrix as a wide one, and
adding in blocks, cures both. How an array is cut depends on its shape alone.

Measured on one core, float32: sum of [1000000, 3] over axis 0 in 0.5 ms instead of 15 ms and with
a hundredth of the error; max of [100000, 10] over axis 1 in 0.6 ms instead of 4.4 ms.
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.core.dtype import Array

# Below this many elements a plain call is as fast.
SMALL = 2048
# Columns that a narrow matrix is widened to: a few cache lines, enough for vector loops.
WIDE = 256
# Rows that are added one after the other before blocks are combined.
BLOCK = 128
# Longest rows that einsum adds: its 8 to 32 partial sums then see at most 32 elements each.
EINSUM = 256
# Longest rows over which a loop over columns beats NumPy's loop over rows.
COLUMNS = 32


def total(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Return the sum of a floating-point array along axes."""
    if x.size >= SMALL and axes and x.flags.c_contiguous:
        kept = x.ndim - len(axes)
        if axes[-1] == len(axes) - 1 and kept:  # leading axes
            columns = math.prod(x.shape[len(axes) :])
            found = _add_rows(x.reshape(-1, columns))
            return found.reshape(_shape(x, axes, keepdims))
        if axes[0] == kept and kept:  # trailing axes
            length = math.prod(x.shape[kept:])
            if length <= EINSUM:
                found = np.asarray(np.einsum("ij->i", x.reshape(-1, length)))
                return found.reshape(_shape(x, axes, keepdims))
    found = np.asarray(np.add.reduce(x, axis=axes))
    return found.reshape(_shape(x, axes, True)) if keepdims else found


def extreme(ufunc: np.ufunc, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Return the largest (`np.maximum`) or smallest (`np.minimum`) elements along axes."""
    if x.size >= SMALL and axes and x.flags.c_contiguous:
        kept = x.ndim - len(axes)
        if axes[-1] == len(axes) - 1 and kept:
            columns = math.prod(x.shape[len(axes) :])
            found = _fold(ufunc, x.reshape(-1, columns))
            return found.reshape(_shape(x, axes, keepdims))
        if axes[0] == kept and kept:
            length = math.prod(x.shape[kept:])
            if length <= COLUMNS:
                found = _over_columns(ufunc, x.reshape(-1, length))
                return found.reshape(_shape(x, axes, keepdims))
    found = np.asarray(ufunc.reduce(x, axis=axes))
    return found.reshape(_shape(x, axes, True)) if keepdims else found


def _shape(x: Array, axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    return tuple(size for axis, size in enumerate(x.shape) if axis not in axes)


def _add_rows(x: Array) -> Array:
    """Return the sum of the rows of a matrix."""
    rows, columns = x.shape
    group = WIDE // columns  # rows that are read as one wide row
    if group > 1 and rows >= 2 * group:
        whole = rows // group * group
        wide = _add_rows(x[:whole].reshape(-1, group * columns))
        found: Array = np.add.reduce(wide.reshape(group, columns), axis=0)
        return found + np.add.reduce(x[whole:], axis=0) if whole < rows else found
    if rows < 2 * BLOCK:
        return np.asarray(np.add.reduce(x, axis=0))
    whole = rows // BLOCK * BLOCK
    blocks = np.add.reduce(x[:whole].reshape(-1, BLOCK, columns), axis=1)
    found = _add_rows(blocks)
    return found + np.add.reduce(x[whole:], axis=0) if whole < rows else found


def _fold(ufunc: np.ufunc, x: Array) -> Array:
    rows, columns = x.shape
    group = WIDE // columns
    if group > 1 and rows >= 2 * group:
        whole = rows // group * group
        wide = ufunc.reduce(x[:whole].reshape(-1, group * columns), axis=0)
        found: Array = ufunc.reduce(wide.reshape(group, columns), axis=0)
        return ufunc(found, ufunc.reduce(x[whole:], axis=0)) if whole < rows else found
    return np.asarray(ufunc.reduce(x, axis=0))


def _over_columns(ufunc: np.ufunc, x: Array) -> Array:
    found = x[:, 0].copy()
    for column in range(1, x.shape[1]):
        ufunc(found, x[:, column], out=found)
    return found
