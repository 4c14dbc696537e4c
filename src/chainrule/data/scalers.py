"""Scalers: bring features to one size, and take results back to the user's unit.

Takes: an array [N, ...] of training examples. Gives: a frozen rule y = (x - shift) / scale per
feature, which can be applied, undone and saved.
The one idea: the rule is made by `Scaler.fit` and cannot be changed afterwards, so nothing but
the examples given there can have influenced it. All passes run block by block: apart from the
result, memory use does not grow with the number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import DataError, unknown_word
from chainrule.data.state import State

__all__ = ["METHODS", "Float32", "Float64", "Scaler"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
# Methods, and what each does, as a note for the user.
METHODS = {
    "zscore": "minus the training mean, divided by the training standard deviation",
    "minmax": "scaled to 0 ... 1 by the smallest and the largest training value",
}

# Elements in one block: 2 MiB of float64, which stays in the second-level cache.
BLOCK = 2**18


@dataclass(frozen=True)
class Scaler:
    """A fitted rule y = (x - shift) / scale, one shift and scale a feature.

    Args:
        shift: Mean (z-score) or smallest value (min-max); shape broadcasts against one example.
        scale: Standard deviation (of the population) or range; 1 for a constant feature.

    Example:
        >>> scaler = Scaler.fit(np.array([[1.0, 7.0], [3.0, 7.0]]), axis=(1,))
        >>> scaler.apply(np.array([[1.0, 7.0], [3.0, 7.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
        >>> scaler.undo(np.array([[2.0, 1.0]])).tolist()
        [[4.0, 8.0]]
    """

    shift: Float64
    scale: Float64

    @classmethod
    def fit(
        cls,
        x: NDArray[Any],
        *,
        axis: tuple[int, ...] = (),
        method: str = "zscore",
        what: str = "inputs",
    ) -> Scaler:
        """Measure shift and scale on training examples.

        Args:
            x: [N, ...] real numbers, N at least 1.
            axis: The axes whose every index is a feature of its own: (1,) for the columns of
                [N, D] and the channels of [N, C, H, W]; () for one rule for all elements.
            method: ``"zscore"``: (x - mean) / standard deviation. ``"minmax"``: to [0, 1].
            what: What x is, for the text of errors.

        Raises:
            ArgumentError: The method is unknown.
            DataError: There are no examples, or a value is not finite or too large.
        """
        if method not in METHODS:
            raise unknown_word("scaling", method, METHODS)
        others = tuple(a for a in range(x.ndim) if a not in axis)
        if x.size == 0:
            raise DataError(f"{what}: no values to fit a scaling on (shape {x.shape})")
        total, low, high = _totals(x, others, what)
        count = math.prod(x.shape[a] for a in others)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = high - low
            constant = spread == 0
            unit = np.where(constant, 1.0, spread)
            if method == "minmax":
                shift, scale = low, unit
            else:
                # The mean of equal values may be rounded; their exact value is known.
                shift = np.where(constant, low, total / count)
                # In units of the spread, so that squares neither overflow nor vanish.
                squares = np.zeros_like(shift)
                for block in _blocks(x):
                    squares += np.square((x[block] - shift) / unit).sum(axis=others, keepdims=True)
                scale = unit * np.sqrt(squares / count)
                # Zero for a constant feature, and where a subnormal spread was rounded away.
                scale = np.where(scale == 0, unit, scale)
        if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
            raise DataError(f"{what}: values too large to be scaled (beyond about 1e308)")
        return cls(_frozen(shift[0]), _frozen(scale[0]))

    def apply(self, x: NDArray[Any], out: Float32 | None = None) -> Float32:
        """Scale examples.

        Args:
            x: [N, ...] with the features it was fitted on.
            out: Where to write, float32 of the same shape.

        Returns:
            [N, ...] float32, computed in float64 and rounded once.
        """
        if out is None:
            out = np.empty(x.shape, dtype=np.float32)
        with np.errstate(over="ignore"):
            for block in _blocks(x):
                scaled = np.subtract(x[block], self.shift, dtype=np.float64)
                scaled /= self.scale
                out[block] = scaled
        return out

    def undo(self, y: NDArray[Any]) -> Float64:
        """Return scaled examples in their original unit: y * scale + shift, float64."""
        result: Float64 = np.multiply(y, self.scale, dtype=np.float64)
        result += self.shift
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return shift and scale as JSON; reading it back gives the same bits."""
        return {
            "shape": list(self.shift.shape),
            "shift": self.shift.ravel().tolist(),
            "scale": self.scale.ravel().tolist(),
        }

    @classmethod
    def from_state(cls, value: object, where: str = "scaler") -> Scaler:
        """Rebuild a scaler from its `state_dict`.

        Raises:
            DataError: A key is missing, unknown or holds something impossible.
        """
        state = State(value, where, ("shape", "shift", "scale"))
        shape = state.shape("shape")
        shift, scale = state.numbers("shift"), state.numbers("scale")
        if math.prod(shape) != shift.size:
            state.fail("shift", f"{math.prod(shape)} numbers, as 'shape' says")
        if shift.size != scale.size:
            state.fail("scale", f"{shift.size} numbers, as many as 'shift'")
        if not (scale > 0).all():
            state.fail("scale", "positive numbers")
        return cls(_frozen(shift.reshape(shape)), _frozen(scale.reshape(shape)))


def _totals(
    x: NDArray[Any], others: tuple[int, ...], what: str
) -> tuple[Float64, Float64, Float64]:
    """Return sum, smallest and largest value of each feature."""
    shape = [1 if a in others else size for a, size in enumerate(x.shape)]
    total, low, high = np.zeros(shape), np.full(shape, np.inf), np.full(shape, -np.inf)
    for block in _blocks(x):
        part = x[block].astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            part_sum = part.sum(axis=others, keepdims=True)
            # A finite sum has only finite terms: one pass suffices for clean data.
            if not np.isfinite(part_sum).all() and not (finite := np.isfinite(part)).all():
                place = np.unravel_index(int(np.argmin(finite)), part.shape)
                row = block.start + int(place[0])
                inner = "".join(f"[{i}]" for i in place[1:])
                raise DataError(
                    f"{what}: example {row}{', element ' + inner if inner else ''} is "
                    f"{part[place]}, expected a finite number",
                    hint="remove or replace it before training",
                )
            total += part_sum
        np.minimum(low, part.min(axis=others, keepdims=True), out=low)
        np.maximum(high, part.max(axis=others, keepdims=True), out=high)
    return total, low, high


def _blocks(x: NDArray[Any]) -> Iterator[slice]:
    step = max(BLOCK * max(len(x), 1) // max(x.size, 1), 1)
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def _frozen(values: Float64) -> Float64:
    copy = np.array(values, dtype=np.float64)
    copy.flags.writeable = False
    return copy
