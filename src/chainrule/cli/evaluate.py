"""The command `chainrule evaluate`: measure a trained network.

Takes: a run folder, and other data if wished. Gives: results on the screen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import nn
from chainrule.cli.assess import assess_classes, assess_values, worst_classes, worst_values
from chainrule.cli.build import build_model, file_of
from chainrule.cli.config import DataWords, RunConfig, fingerprint
from chainrule.cli.folder import RunFolder, find, read_pipeline
from chainrule.cli.own_model import own_errors
from chainrule.cli.reading import read_examples, read_task
from chainrule.cli.screen import columns_of, say
from chainrule.core.errors import ArgumentError, DataError, StateError
from chainrule.data import DataLoader, Pipeline, Split, TensorDataset
from chainrule.report import Mistake
from chainrule.report.words import shorten
from chainrule.train import load_best, predict

Array = npt.NDArray[Any]
BATCH = 256
# A longer table is no help on a screen; evaluation.json holds all classes.
MOST_CLASSES, LONGEST_NAME = 40, 30


@dataclass(frozen=True)
class Evaluation:
    """Results, and the examples that were answered worst."""

    results: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def run(given: argparse.Namespace) -> int:
    """Evaluate a run on its test part, or on other data with answers."""
    folder = find(given.run)
    config = RunConfig.read(folder.config)
    pipeline = read_pipeline(folder, config)
    if given.data is None:
        split, what = _own_test_part(config), "test"
    else:
        split, what = _other_data(given.data, pipeline), given.data
        if DataWords(given.data, None, None).absolute().spec == config.data.spec:
            say(f"note: training saw a part of {given.data}; its test part alone is measured by:")
            say(f"  chainrule evaluate {given.run}")
    model = trained_model(folder, config, pipeline)
    with own_errors(file_of(config.model)):
        evaluation = evaluate_part(model, split, pipeline)
    say(f"{what}: {headline(evaluation.results)}")
    for line in _class_table(evaluation.results.get("per_class", [])):
        say(line)
    return 0


def trained_model(folder: RunFolder, config: RunConfig, pipeline: Pipeline) -> nn.Module:
    """Return a run's model with its best weights.

    Raises:
        DataError: There are none, they are damaged, or do not fit the model.
    """
    try:
        best = load_best(folder.path)
    except DataError as error:
        if "fit(" in error.hint:
            error.hint = f"go on training: {folder.resume_command}"
        raise
    model = build_model(config.model, pipeline.input_shape, pipeline.n_outputs, config.settings)
    try:
        model.load_state_dict(best)
    except (ArgumentError, StateError) as error:
        path = folder.path / "checkpoints" / "best.safetensors"
        raise DataError(
            f"{path}: does not fit the model: {error.message}",
            hint=error.hint,
            context=error.context,
        ) from error
    return model


def outputs_of(model: nn.Module, inputs: Array) -> Array:
    """Return the network's outputs [N, n_outputs] for prepared inputs."""
    loader = DataLoader(TensorDataset(inputs), batch_size=BATCH)
    return np.asarray(predict(model, loader))


def evaluate_part(model: nn.Module, split: Split, pipeline: Pipeline) -> Evaluation:
    """Evaluate a model on prepared examples with answers."""
    outputs = outputs_of(model, split.inputs)
    if pipeline.classes is not None:
        return Evaluation(
            assess_classes(outputs, split.targets, pipeline.classes),
            worst_classes(outputs, split.targets, split.raw, pipeline.classes),
        )
    return Evaluation(
        assess_values(outputs, split.targets, split.raw, pipeline),
        worst_values(outputs, split.targets, split.raw, pipeline),
    )


def headline(results: dict[str, Any]) -> str:
    """Return the figures of an evaluation in one line."""
    metrics = results["metrics"]
    if "accuracy" in metrics:
        figures = (
            f"accuracy {metrics['accuracy']:.2%}, macro F1 {metrics['macro_f1']:.2%}, "
            f"loss {results['loss']:.4f}"
        )
    else:
        # The loss is of z-scores, which nobody can compare with anything.
        r2 = "undefined" if metrics["r2"] is None else f"{metrics['r2']:.4f}"
        figures = f"R² {r2}, MAE {metrics['mae']:,.6g}, RMSE {metrics['rmse']:,.6g}"
    return f"{figures} ({results['n']:,} examples)"


def _own_test_part(config: RunConfig) -> Split:
    task = read_task(config.data, config.settings["seed"], recorded=True)
    if fingerprint(task) != config.fingerprint:
        raise DataError(
            f"{config.data.spec}: the data have changed since this run began, so its test part "
            "is not known",
            hint="restore the data, or name other data to evaluate on",
        )
    return task.test


def _other_data(spec: str, pipeline: Pipeline) -> Split:
    raw = read_examples(spec, pipeline)
    return Split(
        pipeline.inputs(raw, origin=spec),
        pipeline.targets(raw, classes=pipeline.classes, origin=spec),
        raw,
    )


def _class_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a table of the classes; of many, those with the lowest F1."""
    if not rows:
        return []
    shown = rows
    if len(rows) > MOST_CLASSES:
        shown = sorted(rows, key=lambda row: float(row["f1"]))[:MOST_CLASSES]
    head = ("class", "precision", "recall", "f1", "examples")
    cells = [
        (
            shorten(row["name"], LONGEST_NAME),
            *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        )
        for row in shown
    ]
    lines = columns_of([head, *cells], right=(1, 2, 3, 4))
    if len(shown) < len(rows):
        lines.append(f"({len(shown)} of {len(rows):,} classes: those with the lowest f1)")
    return lines
