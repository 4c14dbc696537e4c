"""Measures of predicted numbers: mean absolute error, root mean squared error, R².

Takes: predictions and true values of equal shape. Gives: one number over the whole set.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import DataError
from chainrule.train.metric import StreamedMetric, same_shape

__all__ = ["R2", "MeanAbsoluteError", "RootMeanSquaredError"]


class MeanAbsoluteError(StreamedMetric):
    """Mean of |prediction - truth| over all values.

    Example:
        >>> metric = MeanAbsoluteError()
        >>> metric.update([1.0, 2.0, 5.0], [1.0, 3.0, 3.0])
        >>> metric.compute()
        1.0
    """

    name = "mae"
    higher_is_better: ClassVar[bool] = False

    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return the sum of absolute errors and their number."""
        predicted, true = same_shape(self.name, output, target)
        return {"sum": np.sum(np.abs(predicted - true)), "count": np.array(true.size)}

    def compute(self) -> float:
        """Return the mean; NaN before the first value."""
        return _mean(self._sums)


class RootMeanSquaredError(StreamedMetric):
    """Square root of the mean of (prediction - truth)² over all values.

    Example:
        >>> metric = RootMeanSquaredError()
        >>> metric.update([1.0, 2.0, 5.0], [1.0, 2.0, 2.0])
        >>> round(metric.compute(), 4)
        1.7321
    """

    name = "rmse"
    higher_is_better: ClassVar[bool] = False

    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return the sum of squared errors and their number."""
        predicted, true = same_shape(self.name, output, target)
        return {"sum": np.sum(np.square(predicted - true)), "count": np.array(true.size)}

    def compute(self) -> float:
        """Return the root of the mean; NaN before the first value."""
        return math.sqrt(_mean(self._sums))


class R2(StreamedMetric):
    """Coefficient of determination: the part of the variance that is explained.

    R² = 1 - Σ (y - ŷ)² / Σ (y - ȳ)², averaged over the columns of y. It is 1 for perfect
    predictions and 0 for those no better than the mean. NaN where it is undefined: fewer than two
    examples, or a column whose true values are all equal.

    Means and squared deviations of batches are merged as in Chan, Golub & LeVeque (1979); the
    textbook's Σy² - (Σy)²/n loses all digits where the mean is large against the spread.

    Example:
        >>> metric = R2()
        >>> metric.update([1.0, 2.0], [1.0, 3.0])
        >>> metric.update([5.0], [5.0])
        >>> metric.compute()
        0.875
    """

    name = "r2"

    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return what this batch adds to count, sum of squares, mean and spread."""
        predicted, true = same_shape(self.name, output, target)
        count = len(true)
        columns = true.shape[1]
        zero = np.zeros(columns)
        old = self._sums
        old_count = float(old["count"]) if old else 0.0
        old_mean = old["mean"] if old and old["mean"].shape == (columns,) else zero
        if not count:
            return {k: np.zeros(()) if k == "count" else zero for k in _R2_KEYS}
        mean = true.mean(axis=0)
        shift = mean - old_mean
        total = old_count + count
        spread = np.square(true - mean).sum(axis=0) + shift**2 * (old_count * count / total)
        return {
            "count": np.array(float(count)),
            "squares": np.square(true - predicted).sum(axis=0),
            "mean": shift * (count / total),
            "spread": spread,
        }

    def compute(self) -> float:
        """Return R²; NaN where it is undefined."""
        sums = self._sums
        if not sums or sums["count"] < 2 or np.any(sums["spread"] == 0):
            return math.nan
        return float(np.mean(1 - sums["squares"] / sums["spread"]))

    def load_state_dict(self, state: Any) -> None:
        """Go on from saved sums; see `StreamedMetric.load_state_dict`."""
        super().load_state_dict(state)
        if self._sums and set(self._sums) != set(_R2_KEYS):
            raise DataError(f"{self.name}: its saved state holds {sorted(self._sums)}")


_R2_KEYS = ("count", "squares", "mean", "spread")


def _mean(sums: dict[str, Array]) -> float:
    count = float(sums["count"]) if sums else 0.0
    return float(sums["sum"]) / count if count else math.nan
