"""Measures of predicted classes: accuracy, top-k, confusion matrix, precision, recall, F1.

Takes: logits, and classes as indices or probabilities. Gives: numbers over the whole set.
The one idea: all but top-k are read off one matrix of counts, true class by predicted class.

Layouts: logits [N, K] (or [N, K, ...], one answer a pixel) with class indices [N] (or [N, ...]) or
probabilities [N, K]; logits [N] or [N, 1] with answers 0 and 1 of the same shape, where a positive
logit means 1. A row of logits with NaN names no class: it counts as wrong. Targets equal to
``IGNORED`` are left out, as cross-entropy does.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from chainrule.train.metric import StreamedMetric

__all__ = ["Accuracy", "BalancedAccuracy", "ClassReport", "ConfusionMatrix", "MacroF1", "TopK"]

# PyTorch's mark of a target that counts for nothing.
IGNORED = -100
NO_CLASS = -1


class Accuracy(StreamedMetric):
    """Share of examples whose most likely class is the true one.

    Example:
        >>> metric = Accuracy()
        >>> metric.update([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]], [0, 1, 1])
        >>> round(metric.compute(), 4)
        0.6667
    """

    name = "accuracy"

    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return the numbers of right answers and of answers."""
        answers = _answers(self.name, output, target)
        right = np.count_nonzero(answers.predicted == answers.actual)
        return {"right": np.array(right), "count": np.array(len(answers.actual))}

    def compute(self) -> float:
        """Return the share; NaN before the first example."""
        return _share(self._sums)


class TopK(StreamedMetric):
    """Share of examples whose true class is among the k most likely ones.

    Of equal logits the lower class index ranks first.

    Args:
        k: How many classes count, at least 1.

    Raises:
        ArgumentError: k is below 1.

    Example:
        >>> metric = TopK(2)
        >>> metric.update([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], [1, 2])
        >>> metric.compute()
        0.5
    """

    def __init__(self, k: int = 5) -> None:
        super().__init__()
        if k < 1:
            raise ArgumentError(f"top-k: k is {k}, expected at least 1")
        self.k = k
        self.name = f"top{k}"

    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return the numbers of examples in which the true class ranks high enough, and of all."""
        if output.ndim < 2 or output.shape[1] == 1:
            raise ShapeError(
                f"{self.name}: logits {list(output.shape)} are no [N, K] with several classes",
                hint='use the metric "accuracy" for two classes',
            )
        scores, actual = _rows(self.name, output, target)
        true = np.take_along_axis(scores, actual[:, None], axis=1)  # [N, 1]
        before = np.arange(scores.shape[1]) < actual[:, None]
        rank = np.count_nonzero((scores > true) | ((scores == true) & before), axis=1)
        right = (rank < self.k) & ~np.isnan(scores).any(axis=1)
        return {"right": np.array(np.count_nonzero(right)), "count": np.array(len(right))}

    def compute(self) -> float:
        """Return the share; NaN before the first example."""
        return _share(self._sums)


class ConfusionMatrix(StreamedMetric):
    """Numbers of examples of each true class (rows) that were given each class (columns).

    Examples whose logits hold NaN are in no column; see `unanswered`.

    Example:
        >>> metric = ConfusionMatrix()
        >>> metric.update([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]], [0, 1, 1])
        >>> metric.compute()
        [[1, 0], [1, 1]]
    """

    name = "confusion"

    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return the counts of one batch, [K, K], and for each class those without an answer."""
        answers = _answers(self.name, output, target)
        k = answers.classes
        given = answers.predicted != NO_CLASS
        cells = answers.actual[given] * k + answers.predicted[given]
        return {
            "counts": np.bincount(cells, minlength=k * k).reshape(k, k),
            "unanswered": np.bincount(answers.actual[~given], minlength=k),
        }

    def compute(self) -> Any:
        """Return the matrix as nested lists of integers (empty before the first batch)."""
        return self.counts.tolist()

    @property
    def counts(self) -> Array:
        """The matrix, [K, K] int64."""
        return self._sums["counts"] if self._sums else np.zeros((0, 0), dtype=np.int64)

    @property
    def unanswered(self) -> Array:
        """Number of examples of each true class whose logits hold NaN, [K] int64."""
        return self._sums["unanswered"] if self._sums else np.zeros(0, dtype=np.int64)

    def scores(self) -> Scores:
        """Return precision, recall, F1 and support of each class."""
        counts = self.counts
        right = np.diag(counts).astype(np.float64)
        support = counts.sum(axis=1) + self.unanswered
        predicted = counts.sum(axis=0)
        return Scores(
            right / np.maximum(predicted, 1),
            right / np.maximum(support, 1),
            2 * right / np.maximum(support + predicted, 1),
            support,
            predicted,
        )


class Scores(NamedTuple):
    """Figures of each class, [K]; 0 where a class was never predicted or never occurs.

    Attributes:
        precision: Of the examples given this class, the share that are of it.
        recall: Of the examples of this class, the share that were given it.
        f1: Harmonic mean of the two (van Rijsbergen 1979).
        support: Number of examples of this class.
        predicted: Number of examples given this class.
    """

    precision: Array
    recall: Array
    f1: Array
    support: Array
    predicted: Array

    @property
    def occurs(self) -> Array:
        """Whether a class is among the true or the predicted ones."""
        return (self.support + self.predicted) > 0


class ClassReport(ConfusionMatrix):
    """Precision, recall, F1 and number of examples of each class.

    Example:
        >>> metric = ClassReport()
        >>> metric.update([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]], [0, 1, 1])
        >>> metric.compute()["recall"]
        [1.0, 0.5]
    """

    name = "per_class"

    def compute(self) -> Any:
        """Return ``{"precision": [...], "recall": [...], "f1": [...], "support": [...]}``."""
        s = self.scores()
        return {
            "precision": s.precision.tolist(),
            "recall": s.recall.tolist(),
            "f1": s.f1.tolist(),
            "support": s.support.tolist(),
        }


class MacroF1(ConfusionMatrix):
    """Mean of the F1 of all classes that occur, each counting the same however rare it is."""

    name = "f1"

    def compute(self) -> float:
        """Return the mean; NaN before the first example."""
        s = self.scores()
        return float(s.f1[s.occurs].mean()) if s.occurs.any() else math.nan


class BalancedAccuracy(ConfusionMatrix):
    """Mean of the recall of all classes that have examples."""

    name = "balanced_accuracy"

    def compute(self) -> float:
        """Return the mean; NaN before the first example."""
        s = self.scores()
        return float(s.recall[s.support > 0].mean()) if s.support.any() else math.nan


class _Answers(NamedTuple):
    """Predicted and true classes [M], ignored ones left out, and the number of classes."""

    predicted: Array
    actual: Array
    classes: int


def _answers(name: str, output: Array, target: Array) -> _Answers:
    if output.ndim < 2 or output.shape[1] == 1:
        return _binary(name, output, target)
    scores, actual = _rows(name, output, target)
    predicted = scores.argmax(axis=1)
    predicted[np.isnan(scores).any(axis=1)] = NO_CLASS
    return _Answers(predicted, actual, scores.shape[1])


def _binary(name: str, output: Array, target: Array) -> _Answers:
    if output.size != target.size or len(np.atleast_1d(output)) != len(np.atleast_1d(target)):
        raise ShapeError(
            f"{name}: logits {list(output.shape)} of two classes and targets "
            f"{list(target.shape)} need equal shapes",
            hint="for K classes the model gives K logits: nn.Linear(features, K)",
        )
    logits, answers = output.reshape(-1), target.reshape(-1)
    kept = answers != IGNORED
    logits, answers = logits[kept], answers[kept]
    wrong = ~((answers >= 0) & (answers <= 1))
    if wrong.any():
        raise IndexRangeError(
            f"{name}: target {answers[wrong][0]} with one logit an example: answers are 0 and 1",
            hint="for K classes the model gives K logits: nn.Linear(features, K)",
        )
    predicted = np.where(np.isnan(logits), NO_CLASS, logits > 0)
    return _Answers(predicted, (answers > 0.5).astype(np.int64), 2)


def _rows(name: str, output: Array, target: Array) -> tuple[Array, Array]:
    """Return scores [M, K] and true classes [M], ignored ones left out."""
    k = output.shape[1]
    scores = np.moveaxis(output, 1, -1).reshape(-1, k)
    if target.shape == output.shape and target.dtype.kind == "f":
        return scores, np.moveaxis(target, 1, -1).reshape(-1, k).argmax(axis=1)
    if target.shape != (output.shape[0], *output.shape[2:]):
        raise ShapeError(
            f"{name}: logits {list(output.shape)} need class indices "
            f"{[output.shape[0], *output.shape[2:]]} or probabilities {list(output.shape)}, "
            f"got targets {list(target.shape)}"
        )
    if target.dtype.kind not in "iub":
        raise DTypeError(
            f"{name}: class indices are integers, got {target.dtype}", hint="targets.long()"
        )
    actual = target.reshape(-1).astype(np.int64)
    kept = actual != IGNORED
    if not kept.all():
        scores, actual = scores[kept], actual[kept]
    if actual.size and not 0 <= actual.min() <= actual.max() < k:
        wrong = actual[(actual < 0) | (actual >= k)][0]
        raise IndexRangeError(f"{name}: class index {wrong} with {k} classes (0 to {k - 1})")
    return scores, actual


def _share(sums: dict[str, Array]) -> float:
    count = int(sums["count"]) if sums else 0
    return int(sums["right"]) / count if count else math.nan
