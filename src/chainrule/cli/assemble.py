"""Assembly of a report: facts of a run, gathered for the room that draws them.

Takes: a finished run and its evaluation. Gives: `ReportContents`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from typing import Any

from chainrule import nn
from chainrule.cli.config import RunConfig
from chainrule.cli.evaluate import Evaluation
from chainrule.cli.settings import shown
from chainrule.core.errors import missing_extra
from chainrule.data import Task
from chainrule.graph.tensor import tensor
from chainrule.nn.summary import summarize
from chainrule.report import Diagram, DiagramNode, ReportContents


def report_contents(
    config: RunConfig,
    task: Task,
    model: nn.Module,
    evaluation: Evaluation,
    *,
    history: list[dict[str, Any]],
    best_epoch: int | None,
    seconds: float,
) -> ReportContents:
    """Return everything that the report of a run shows.

    Args:
        config: The run's configuration.
        task: Its data.
        model: The trained model.
        evaluation: Results on the test part.
        history: Rows of metrics.jsonl.
        best_epoch: Epoch whose weights were kept.
        seconds: Wall time of this call, training and evaluation.
    """
    summary = nn_summary(model, task)
    training = sum(row.get("seconds", 0.0) for row in history if row.get("split") == "train")
    return ReportContents(
        title=f"{task.name}: {type(model).__name__}",
        kind=task.kind,
        summary=[
            *_headlines(evaluation.results, task.target),
            ("test examples", len(task.test)),
            ("best epoch", "-" if best_epoch is None else best_epoch),
            ("parameters", f"{summary.parameters:,}"),
            ("training time", _duration(training)),
        ],
        history=history,
        best_epoch=best_epoch,
        evaluation=evaluation.results,
        mistakes=evaluation.mistakes,
        diagram=_diagram(summary),
        data=_data_facts(task),
        notes=config.notes,
        settings=[(s.name, shown(s.value), s.origin) for s in config.settings.all],
        versions={**config.versions, "system": f"{platform.system()} {platform.machine()}"},
        timing={
            "training": round(training, 1),
            "whole command": round(seconds, 1),
            "processors": os.cpu_count() or 1,
        },
    )


def require_report_extras() -> None:
    """Raise early, not after an hour of training, if a report could not be written.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise missing_extra("jinja2", "writing a report")


def nn_summary(model: nn.Module, task: Task) -> nn.Summary:
    """Return the layers and the graph of a model, found by running one example through it."""
    return summarize(model, tensor(task.train.inputs[:1]))


def _headlines(results: dict[str, Any], target: str) -> list[tuple[str, str | int | float]]:
    metrics = results["metrics"]
    if "accuracy" in metrics:
        return [
            ("test accuracy", f"{metrics['accuracy']:.2%}"),
            ("macro F1", f"{metrics['macro_f1']:.2%}"),
        ]
    r2 = "undefined" if metrics["r2"] is None else f"{metrics['r2']:.4f}"
    return [("test R²", r2), (f"mean absolute error of {target}", f"{metrics['mae']:,.6g}")]


def _diagram(summary: nn.Summary) -> Diagram:
    nodes = tuple(
        DiagramNode(
            id=node.id,
            label=node.label,
            detail=node.detail,
            kind=node.kind,
            parameters=node.parameters,
            # The examples of a batch are any number; the drawing says N.
            shape="" if not node.shape else f"[{', '.join(['N', *map(str, node.shape[1:])])}]",
        )
        for node in summary.nodes
    )
    return Diagram(nodes, summary.edges)


def _data_facts(task: Task) -> list[tuple[str, str | int | float]]:
    facts: list[tuple[str, str | int | float]] = [
        ("source", task.origin),
        ("task", f"{task.kind} of {task.target}"),
        ("example", f"{task.modality}, as the network reads it {list(task.input_shape)}"),
        ("training examples", len(task.train)),
        ("validation examples", len(task.valid)),
        ("test examples", len(task.test)),
    ]
    if task.classes is not None:
        facts.append(("classes", len(task.classes)))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
