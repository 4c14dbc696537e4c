"""Metrics by name, and several of them together.

Takes: names or objects as the user gave them. Gives: a `MetricSet` that is updated, asked, reset
and saved as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chainrule.core.errors import ArgumentError, DataError, unknown_word
from chainrule.train.classification import (
    Accuracy,
    BalancedAccuracy,
    ClassReport,
    ConfusionMatrix,
    MacroF1,
    TopK,
)
from chainrule.train.metric import Metric, StreamedMetric
from chainrule.train.regression import R2, MeanAbsoluteError, RootMeanSquaredError

__all__ = [
    "R2",
    "Accuracy",
    "BalancedAccuracy",
    "ClassReport",
    "ConfusionMatrix",
    "MacroF1",
    "MeanAbsoluteError",
    "Metric",
    "MetricSet",
    "RootMeanSquaredError",
    "StreamedMetric",
    "TopK",
    "metric_by_name",
]

MetricLike = str | Metric
Metrics = Mapping[str, MetricLike] | Iterable[MetricLike]

_BY_NAME: dict[str, Callable[[], StreamedMetric]] = {
    "accuracy": Accuracy,
    "balanced_accuracy": BalancedAccuracy,
    "confusion": ConfusionMatrix,
    "f1": MacroF1,
    "mae": MeanAbsoluteError,
    "per_class": ClassReport,
    "r2": R2,
    "rmse": RootMeanSquaredError,
    "top5": TopK,
}

# Names of the other columns of a row of metrics.jsonl.
RESERVED = frozenset({"epoch", "step", "split", "loss", "lr", "seconds", "examples"})


def metric_by_name(name: str) -> StreamedMetric:
    """Return a new metric: ``accuracy``, ``f1``, ``mae``, ``rmse``, ``r2``, ``top5``, ...

    Raises:
        ArgumentError: The name is unknown.

    Example:
        >>> metric_by_name("top3")
        TopK('top3')
    """
    if name in _BY_NAME:
        return _BY_NAME[name]()
    if re.fullmatch(r"top[1-9][0-9]{0,8}", name):
        return TopK(int(name[3:]))
    raise unknown_word("metric", name, _BY_NAME)


class MetricSet:
    """Several metrics under names of their own.

    Args:
        metrics: Names and objects; a dictionary gives each the name it is logged under.

    Raises:
        ArgumentError: A name is unknown, taken, or reserved, or an object is no metric.

    Example:
        >>> metrics = MetricSet(["accuracy"])
        >>> metrics.update([[0.0, 1.0]], [1])
        >>> metrics.compute()
        {'accuracy': 1.0}
    """

    def __init__(self, metrics: Metrics = ()) -> None:
        self._by_name: dict[str, Metric] = {}
        if isinstance(metrics, str):
            metrics = [metrics]
        if isinstance(metrics, Mapping):
            pairs = [(name, _made(metric)) for name, metric in metrics.items()]
        else:
            made = [_made(metric) for metric in metrics]
            pairs = [(getattr(metric, "name", type(metric).__name__), metric) for metric in made]
        for name, metric in pairs:
            check_free_name(name, self._by_name)
            self._by_name[name] = metric

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order given."""
        return tuple(self._by_name)

    def higher_is_better(self, name: str) -> bool:
        """Return in which direction a metric improves."""
        return bool(getattr(self._by_name[name], "higher_is_better", False))

    def update(self, output: Any, target: Any) -> None:
        """Give one batch to every metric."""
        for metric in self._by_name.values():
            metric.update(output, target)

    def compute(self) -> dict[str, Any]:
        """Return every metric's value."""
        return {name: metric.compute() for name, metric in self._by_name.items()}

    def reset(self) -> None:
        """Let every metric forget all batches."""
        for metric in self._by_name.values():
            metric.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return what every metric has summed up."""
        return {name: metric.state_dict() for name, metric in self._by_name.items()}

    def load_state_dict(self, state: Mapping[str, Any], where: str) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            DataError: It is of other metrics.
        """
        if set(state) != set(self._by_name):
            raise DataError(
                f"{where}: holds the metrics {sorted(state)}, the trainer has {sorted(self.names)}"
            )
        for name, metric in self._by_name.items():
            metric.load_state_dict(state[name])


def check_free_name(name: str, taken: Iterable[str]) -> None:
    """Raise unless a value may be logged under a name.

    Raises:
        ArgumentError: The name is taken, or that of another column.
    """
    if name in RESERVED:
        raise ArgumentError(
            f"metrics: the name {name!r} is that of another column of the log",
            hint=f'give it another one: metrics={{"my_{name}": ...}}',
        )
    if name in taken:
        raise ArgumentError(
            f"metrics: the name {name!r} is used twice",
            hint=f'give each its own: metrics={{"{name}": ..., "{name}_2": ...}}',
        )


def _made(metric: MetricLike) -> Metric:
    if isinstance(metric, str):
        return metric_by_name(metric)
    if isinstance(metric, type) or not isinstance(metric, Metric):
        what = f"the class {metric.__name__}" if isinstance(metric, type) else repr(metric)
        raise ArgumentError(
            f"metrics: {what} is no metric: it needs the methods update, compute, reset, "
            "state_dict and load_state_dict",
            hint=f"pass an object: {metric.__name__}()"
            if isinstance(metric, type)
            else "to watch another loss function use watch={name: function}",
        )
    return metric
