"""History: the rows of metrics.jsonl as curves.

Takes: rows in the order in which they were written. Gives: for each metric one curve a split,
with epochs on the x axis, and a table of the values that matter.
The one idea: a row's place is its step, measured in epochs, so that rows in mid-epoch, resumed
runs and a last epoch that was cut short all fall where they belong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.report.ticks import is_drawable
from chainrule.report.words import clean, format_number, shorten

# Keys that place or describe a row; every other number is a metric.
NOT_METRICS = frozenset({"epoch", "step", "split", "seconds", "examples"})
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
# The order in which metrics are shown, before all others in order of appearance.
FIRST = ("loss", "accuracy", "r2", "mae", "rmse")
LAST = ("lr",)
FULL_NAMES = {
    "lr": "learning rate",
    "r2": "R²",
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Args:
        name: ``train``, ``validation``, or the metric where it has no split.
        x: Epochs, ascending, with fractions.
        y: Values; None where the value was not a finite number.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]

    @property
    def missing(self) -> int:
        """Number of values that cannot be drawn."""
        return sum(value is None for value in self.y)


@dataclass(frozen=True)
class Metric:
    """A metric's curves, one a split."""

    name: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class KeyValue:
    """One row of the table beside the curves: a metric on one split."""

    metric: str
    split: str
    best: str
    last: str


def metric_name(key: str) -> str:
    """Return what a page calls a metric."""
    return FULL_NAMES.get(key, shorten(key))


def metrics_of(history: Sequence[Row]) -> tuple[Metric, ...]:
    """Return every metric of the history with its curves, the most important first.

    Of rows with the same split and step (a resumed run repeats some) the last one counts.
    """
    place = _places(history)
    found: dict[str, dict[str, dict[float, float | None]]] = {}
    for row, x in zip(history, place, strict=True):
        if x is None:
            continue
        split = str(row.get("split", ""))
        for key, value in row.items():
            if key in NOT_METRICS or not _is_number(value):
                continue
            # The learning rate is the optimizer's, whichever split the row reports on.
            curve = key if key in LAST else SPLITS.get(split, clean(split)) or key
            points = found.setdefault(key, {}).setdefault(curve, {})
            points[x] = float(value) if is_drawable(value) else None
    names = sorted(found, key=_rank)
    return tuple(Metric(name, tuple(map(_curve, *_columns(found[name])))) for name in names)


def key_values(history: Sequence[Row], best_epoch: int | None) -> tuple[KeyValue, ...]:
    """Return each metric's value at the best epoch and at the last one, as text."""
    rows = []
    for metric in metrics_of(history):
        if metric.name in LAST:
            continue
        for curve in metric.curves:
            at_best = _value_at(curve, best_epoch)
            rows.append(
                KeyValue(metric_name(metric.name), curve.name, at_best, _shown(curve.y[-1]))
            )
    return tuple(rows)


def _is_number(value: object) -> bool:
    # JSON has no NaN: the trainer writes null for a value that is not finite.
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _rank(name: str) -> tuple[int, int]:
    if name in FIRST:
        return 0, FIRST.index(name)
    return (2, LAST.index(name)) if name in LAST else (1, 0)


def _columns(
    curves: Mapping[str, Mapping[float, float | None]],
) -> tuple[list[str], list[Mapping[float, float | None]]]:
    known = list(SPLITS.values())
    names = sorted(curves, key=lambda n: known.index(n) if n in known else len(known))
    return names, [curves[name] for name in names]


def _curve(name: str, points: Mapping[float, float | None]) -> Curve:
    x = tuple(sorted(points))
    return Curve(name, x, tuple(points[place] for place in x))


def _places(history: Sequence[Row]) -> list[float | None]:
    """Return each row's place on the x axis in epochs; None for a row without an epoch."""
    ends: dict[int, float] = {}
    finished: set[int] = set()
    for row in history:
        epoch, step = _number(row, "epoch"), _number(row, "step")
        if epoch is not None and step is not None:
            ends[int(epoch)] = max(ends.get(int(epoch), 0.0), step)
            if row.get("split") == "valid":
                finished.add(int(epoch))
    return [_place(row, ends, finished) for row in history]


def _place(row: Row, ends: Mapping[int, float], finished: set[int]) -> float | None:
    epoch, step = _number(row, "epoch"), _number(row, "step")
    if epoch is None or step is None:
        return epoch
    number = int(epoch)
    start = ends.get(number - 1, 0.0)
    length = ends[number] - start
    if number not in finished and number - 1 in ends:
        # An epoch cut short has fewer steps than the one before; it must not be stretched.
        length = max(length, start - ends.get(number - 2, 0.0))
    if ends[number] <= start or step < start:
        return epoch  # steps that begin anew in every epoch
    return number - 1 + (step - start) / length


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if value is not None and is_drawable(value) else None


def _value_at(curve: Curve, epoch: int | None) -> str:
    if epoch is None or epoch not in curve.x:
        return "–"
    return _shown(curve.y[curve.x.index(float(epoch))])


def _shown(value: float | None) -> str:
    return "not finite" if value is None else format_number(value)
