"""Positions: integers that say where along an axis an element stands.

Takes: integer tensors, negative ones counting from the end. Gives: positions from 0, checked.
The one idea: eager calls check the elements themselves; compiled ones have a condition and read
positions that are held inside the axis, so neither can reach outside of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from chainrule.core.dtype import Array, DType, bool_, float32, int64, uint64
from chainrule.core.errors import ChainruleError, DTypeError, IndexRangeError
from chainrule.core.shape import Shape, Spec
from chainrule.graph.sample import In
from chainrule.ir.definition import (
    Formula,
    Formulas,
    Position,
    Scatter,
    broadcast,
    compute,
    converted,
    filled,
    read,
    reduction,
)
from chainrule.ir.expr import Axis, Expr, Ref, call, cast, const, index_of, where

AxisTuple = tuple[int, ...]

# Elements whose places are computed at a time, so that these take a few megabytes at most.
CHUNK = 1 << 19
# Row length from which adding row by row beats adding element by element (measured).
LONG_ROW = 512


class About(NamedTuple):
    """How the user sees positions, for error messages: they may address a part of his tensor.

    Attributes:
        function: What he called.
        spec: The tensor that he indexed.
        axes: For each input of positions, the axis of that tensor.
    """

    function: str
    spec: Spec
    axes: AxisTuple


def check_positions(index: Array, size: int, function: str, axis: int, whole: object) -> Array:
    """Return positions as int64 array, all of them inside an axis.

    Raises:
        IndexRangeError: A position lies outside the axis.
    """
    if index.size and (index.min() < -size or index.max() >= size):
        bad = (index < -size) | (index >= size)
        place = np.unravel_index(int(np.argmax(bad)), index.shape)
        where = f" at position {[int(p) for p in place]} of the index" if place else ""
        valid = f"from {-size} to {size - 1}" if size else "none: the axis is empty"
        raise IndexRangeError(
            f"{function}: index {int(index[place])}{where} is out of range for axis {axis} "
            f"of size {size} of {whole}; valid: {valid}",
            hint=f"{int(bad.sum())} of {bad.size} are out of range; "
            "clamp them with index.clamp(0, size - 1), or enlarge the tensor",
        )
    return index.astype(np.int64, copy=False)


def checked(
    op: str, indices: tuple[Array, ...], shape: Shape, axes: AxisTuple, about: About | None
) -> tuple[Array, ...]:
    """Return all positions checked against the axes of a shape."""
    function = about.function if about else op
    whole = about.spec if about else f"shape {list(shape)}"
    return tuple(
        check_positions(index, shape[axis], function, about.axes[i] if about else axis, whole)
        for i, (index, axis) in enumerate(zip(indices, axes, strict=True))
    )


def expect_integers(op: str, *indices: Spec) -> None:
    """Raise `DTypeError` unless positions are integers."""
    for index in indices:
        if index.dtype.kind not in ("int", "uint"):
            raise DTypeError(
                f"{op}: positions must be integers, got {index}",
                hint="convert them: index.long()",
            )


def flat_rows(indices: tuple[Array, ...], sizes: Shape) -> Array:
    """Return positions along several axes as positions along the flattened ones, from 0."""
    rows: Array = np.zeros((), dtype=np.int64)
    for index, size in zip(indices, sizes, strict=True):
        rows = rows * size + from_start(index, size)
    return rows


def from_start(index: Array, size: int) -> Array:
    """Return positions with those that count from the end replaced by their equals from 0."""
    if index.size == 0 or index.min() >= 0:
        return index
    return np.where(index < 0, index + size, index)


def add_rows(result: Array, rows: Array, source: Array) -> None:
    """Add row i of a matrix to row ``rows[i]`` of the result, in order of i.

    NumPy's `add.at` is fast for flat arrays alone, so rows are spelled out as elements.
    """
    columns = result.shape[1]
    if columns >= LONG_ROW:
        for row, line in zip(rows.tolist(), source, strict=True):
            result[row] += line
        return
    flat = result.reshape(-1)
    if columns == 1:
        np.add.at(flat, rows, source.reshape(-1))
        return
    within = np.arange(columns)
    step = max(1, CHUNK // max(columns, 1))
    for start in range(0, rows.size, step):
        places = (rows[start : start + step, None] * columns + within).reshape(-1)
        np.add.at(flat, places, source[start : start + step].reshape(-1))


def whole(shape: Shape, size: int) -> In:
    """Return the sample input for positions along an axis; half of them count from the end."""
    return In(shape, low=-size, high=size, kind="int")


def position_in(index: Ref, axes: Sequence[Axis | int], size: int) -> Expr:
    """Return the position from 0 that an index, broadcast to axes, names along an axis."""
    value = cast(broadcast(index, axes), int64)
    if index.dtype.kind == "uint":
        return value
    from_end = call("less", value, const(0, int64))
    return where(from_end, call("add", value, const(size, int64)), value)


def inside_condition(
    op: str, indices: Sequence[Ref], shape: Shape, axes: AxisTuple, about: About | None
) -> tuple[Formulas, ChainruleError]:
    """Return the condition that all positions lie inside their axes, and the error if not."""
    sizes = [shape[axis] for axis in axes]
    seen = about.axes if about else axes
    where_ = f"axis {seen[0]} of size {sizes[0]}"
    if len(axes) > 1:
        where_ = f"one of the axes {list(seen)} of sizes {sizes}"
    whole_ = about.spec if about else f"shape {list(shape)}"
    error = IndexRangeError(
        f"{about.function if about else op}: an index is out of range for {where_} of {whole_}; "
        "valid: from -size to size - 1",
        hint="clamp the index with index.clamp(0, size - 1); called without "
        "chainrule.compile the error names the element",
    )
    ranges = [(0 if i.dtype.kind == "uint" else -n, n) for i, n in zip(indices, sizes, strict=True)]
    return all_between(indices, ranges), error


def all_between(values: Sequence[Ref], ranges: Sequence[tuple[int, int]]) -> Formulas:
    """Return formulas that say whether all integers lie in their ranges, ends exclusive."""
    made: list[Formula] = []
    for x, (low, high) in zip(values, ranges, strict=True):
        made.append(reduction("logical_and", bool_, (), x.shape, partial(_between, x, low, high)))
    if len(made) == 1:
        return tuple(made)

    def together() -> Expr:
        result: Expr = read(made[0].target)
        for other in made[1:]:
            result = call("logical_and", result, read(other.target))
        return result

    return (*made, compute((), bool_, together))


def _between(x: Ref, low: int, high: int, _: tuple[Axis, ...], at: tuple[Axis, ...]) -> Expr:
    wide = uint64 if x.dtype is uint64 else int64
    value = cast(read(x, *at), wide)
    below = call("less", value, const(high, wide))
    if wide is uint64:
        return below
    return call("logical_and", below, call("less_equal", const(low, wide), value))


def scattered_sum(
    shape: Shape,
    dtype: DType,
    axes: Sequence[Axis],
    position: Sequence[Position],
    dynamic: Sequence[Expr | None],
    body: Expr,
) -> Formulas:
    """Return formulas of zeros to which elements are added, in the order of the axes."""
    # 16-bit floats would be rounded at each sum; booleans are counted.
    wide = float32 if dtype.is_half else int64 if dtype is bool_ else dtype
    zeros = filled(shape, 0, wide, "zeros")
    places = tuple(map(index_of, position))
    target = Ref("out", shape, wide)
    made = Scatter(
        target, zeros.target, tuple(axes), places, tuple(dynamic), cast(body, wide), "add"
    )
    return (zeros, made) if wide is dtype else (zeros, made, converted(target, dtype))
