"""Sections: the page's parts, ready for the template.

Takes: `ReportContents`. Gives: a `Page` of texts, tables and drawings.
The one idea: the template only places things; every decision about what is shown is made here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.report.charts import histogram_chart, line_chart, scatter_chart
from chainrule.report.confusion import (
    MAX_CLASSES,
    Confused,
    checked_counts,
    confusion_matrix,
    most_confused,
)
from chainrule.report.contents import Diagram, Mistake, ReportContents
from chainrule.report.diagram import draw_diagram, too_large
from chainrule.report.history import KeyValue, Metric, key_values, metric_name, metrics_of
from chainrule.report.pictures import png_uri
from chainrule.report.ticks import SMALLEST, is_drawable
from chainrule.report.words import (
    clean,
    format_number,
    format_percent,
    format_seconds,
    one_line,
    shorten,
)

MAX_MISTAKES = 120  # shown; each picture costs about a kilobyte
MAX_COLUMNS = 24  # of the table of mistakes
LOG_SPAN = 20.0  # largest over smallest value from which a logarithmic axis is offered
ORIGIN_WORDS = {"given": "given", "chosen": "chosen from the data", "default": "default"}


@dataclass(frozen=True)
class Chart:
    """A chart of one metric, and the same with a logarithmic axis where that helps."""

    name: str
    linear: str
    log: str
    remark: str


@dataclass(frozen=True)
class Grade:
    """One row of the per-class table: text and share (0 to 1) of each measure."""

    name: str
    measures: tuple[tuple[str, float], ...]
    support: int


@dataclass(frozen=True)
class Card:
    """One mistake."""

    true: str
    predicted: str
    confidence: str
    name: str
    short_name: str
    image: str
    pixelated: bool
    values: tuple[str, ...]


@dataclass(frozen=True)
class LayerRow:
    """One row of the table of layers."""

    label: str
    detail: str
    shape: str
    parameters: str
    share: float


@dataclass(frozen=True)
class Network:
    """The drawing of the network, or a note why there is none; its layers."""

    drawing: str
    note: str
    layers: list[LayerRow]
    parameters: str


@dataclass(frozen=True)
class Regression:
    """Predictions against true values, and a histogram of errors."""

    target: str
    scatter: str
    residuals: str
    note: str


@dataclass(frozen=True)
class Page:
    """Everything that the template places."""

    title: str
    kind: str
    summary: list[tuple[str, str]]
    charts: list[Chart]
    key_values: tuple[KeyValue, ...]
    best_epoch: int | None
    results: list[tuple[str, str]]
    confusion: str
    confusion_note: str
    confused: list[Confused]
    grades: list[Grade]
    regression: Regression | None
    mistakes: list[Card]
    mistake_columns: list[str]
    has_confidence: bool
    mistakes_note: str
    network: Network | None
    data: list[tuple[str, str]]
    notes: list[str]
    settings: list[tuple[str, str, str, str]]
    versions: list[tuple[str, str]]
    timing: list[tuple[str, str]]


def build_page(contents: ReportContents) -> Page:
    """Return the page for ``contents``.

    Raises:
        ArgumentError: The evaluation's parts do not fit together.
        MissingExtraError: There are images and Pillow is not installed.
    """
    evaluation = contents.evaluation
    names, counts = _confusion(evaluation)
    shown = contents.mistakes[:MAX_MISTAKES]
    columns = _columns(shown)
    left_out = len(contents.mistakes) - len(shown)
    return Page(
        title=one_line(contents.title),
        kind=contents.kind,
        summary=_facts(contents.summary),
        charts=[_chart(m, contents.best_epoch) for m in metrics_of(contents.history)],
        key_values=key_values(contents.history, contents.best_epoch),
        best_epoch=contents.best_epoch,
        results=_results(evaluation),
        confusion=confusion_matrix(counts, names) if names else "",
        confusion_note=_confusion_note(len(names)),
        confused=most_confused(counts, names) if names else [],
        grades=[_grade(row) for row in evaluation.get("per_class") or ()],
        mistakes=[_card(mistake, columns[:MAX_COLUMNS]) for mistake in shown],
        mistake_columns=columns[:MAX_COLUMNS],
        has_confidence=any(mistake.confidence is not None for mistake in shown),
        mistakes_note=f"{left_out:,} more are not shown." if left_out else "",
        data=_facts(contents.data),
        notes=[one_line(note) for note in contents.notes],
        settings=[(one_line(n), _text(v), o, ORIGIN_WORDS[o]) for n, v, o in contents.settings],
        versions=_facts(contents.versions.items()),
        timing=[(one_line(name), _duration(value)) for name, value in contents.timing.items()],
        regression=_regression(evaluation),
        network=_network(contents.diagram),
    )


def _facts(facts: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    return [(one_line(str(label)), _text(value)) for label, value in facts]


def _text(value: object) -> str:
    """Return any value of a setting or a fact as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) or "none"
    return one_line(str(value))


def _duration(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_seconds(float(value))
    return _text(value)


def _chart(metric: Metric, best: int | None) -> Chart:
    name = metric_name(metric.name)
    values = [v for curve in metric.curves for v in curve.y if v is not None]
    missing = sum(curve.missing for curve in metric.curves)
    remark = ""
    if missing:
        were = "value was" if missing == 1 else "values were"
        remark = f"{missing:,} {were} not finite and cannot be drawn."
    mark = None if metric.name == "lr" else best
    positive = bool(values) and min(values) > SMALLEST
    offered = positive and max(values) / min(values) >= LOG_SPAN
    label = f"{name} over epochs"
    return Chart(
        name,
        line_chart(metric.curves, label=label, best=mark),
        line_chart(metric.curves, label=f"{label}, log", best=mark, log=True) if offered else "",
        remark,
    )


def _results(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the headline results of the evaluation: loss, metrics, number of examples."""
    rows: list[tuple[str, str]] = []
    if is_drawable(evaluation.get("n")):
        rows.append((f"{_text(evaluation.get('split', 'test'))} examples", _text(evaluation["n"])))
    if "loss" in evaluation:
        rows.append(("loss", _text(evaluation["loss"])))
    metrics = evaluation.get("metrics") or {}
    rows += [(metric_name(str(k)), _text(v)) for k, v in metrics.items()]
    return rows


def _confusion(evaluation: Mapping[str, Any]) -> tuple[list[str], Any]:
    counts = evaluation.get("confusion")
    if not counts:
        return [], []
    per_class = evaluation.get("per_class") or ()
    names = [str(row.get("name", "")) for row in per_class]
    names = names or [str(i) for i in range(len(counts))]
    checked_counts(counts, names)
    return [shorten(name) for name in names], counts


def _confusion_note(count: int) -> str:
    if count > MAX_CLASSES:
        return f"The {MAX_CLASSES} of {count:,} classes with the most mistakes are drawn."
    return ""


def _grade(row: Mapping[str, Any]) -> Grade:
    measures = []
    for key in ("precision", "recall", "f1"):
        value = row.get(key)
        known = value is not None and is_drawable(value)
        share = min(max(float(value), 0.0), 1.0) if known and value is not None else 0.0
        measures.append((f"{value:.3f}" if known else "–", share))
    support = row.get("support")
    count = int(support) if is_drawable(support) and support is not None else 0
    return Grade(shorten(str(row.get("name", ""))), tuple(measures), count)


def _regression(evaluation: Mapping[str, Any]) -> Regression | None:
    true, predicted = evaluation.get("true"), evaluation.get("predicted")
    if not true or not predicted:
        return None
    if len(true) != len(predicted):
        raise ArgumentError(f"evaluation: {len(predicted)} predictions for {len(true)} examples")
    unit = clean(str(evaluation.get("unit") or ""))
    target = shorten(str(evaluation.get("target") or "target"))
    pairs = zip(true, predicted, strict=True)
    errors = [p - t for t, p in pairs if is_drawable(p) and is_drawable(t)]
    suffix = f" ({unit})" if unit else ""
    total = evaluation.get("n")
    sampled = is_drawable(total) and total is not None and total > len(true)
    return Regression(
        target,
        scatter_chart(true, predicted, label=f"{target}: predicted against true", unit=unit),
        histogram_chart(errors, label=f"{target}: errors", x_title=f"predicted minus true{suffix}"),
        f"A sample of {len(true):,} of {total:,} examples is drawn." if sampled else "",
    )


def _columns(mistakes: Sequence[Mistake]) -> list[str]:
    """Return the columns of all rows, in order of first appearance."""
    return list(dict.fromkeys(name for m in mistakes if m.values for name in m.values))


def _card(mistake: Mistake, columns: Sequence[str]) -> Card:
    image = mistake.image
    values = mistake.values or {}
    return Card(
        true=shorten(mistake.true),
        predicted=shorten(mistake.predicted),
        confidence="" if mistake.confidence is None else format_percent(mistake.confidence),
        name=one_line(mistake.name) if mistake.name else "",
        # Of a path the end says which example it is.
        short_name=shorten(re.split(r"[/\\]", mistake.name)[-1]) if mistake.name else "",
        image="" if image is None else png_uri(image),
        # A few pixels drawn large are clearer as squares than as a blur.
        pixelated=image is not None and max(image.shape[:2]) <= 64,
        values=tuple(clean(str(values.get(column, ""))) for column in columns),
    )


def _network(diagram: Diagram | None) -> Network | None:
    if diagram is None or not diagram.nodes:
        return None
    total = sum(node.parameters for node in diagram.nodes)
    layers = [
        LayerRow(
            shorten(node.label),
            shorten(node.detail) if node.detail else "",
            shorten(node.shape) if node.shape else "",
            f"{node.parameters:,}" if node.parameters else "",
            node.parameters / total if total else 0.0,
        )
        for node in diagram.nodes
        if node.kind == "layer"
    ]
    reason = too_large(diagram)
    if reason:
        return Network("", f"There is no drawing: {reason}.", layers, f"{total:,}")
    return Network(draw_diagram(diagram), "", layers, f"{total:,}")
