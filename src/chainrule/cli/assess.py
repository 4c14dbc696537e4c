"""Assessment: from a network's outputs on a part of the data to results people read.

Takes: outputs, targets, the fitted pipeline. Gives: evaluation.json's content, and the examples
that were answered worst.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.data import Examples, Pipeline
from chainrule.report import Mistake
from chainrule.train import (
    R2,
    Accuracy,
    BalancedAccuracy,
    ConfusionMatrix,
    MacroF1,
    MeanAbsoluteError,
    RootMeanSquaredError,
)

Array = npt.NDArray[Any]

# A scatter plot shows no more with more points.
MOST_POINTS = 2000
MOST_MISTAKES = 40


def probabilities(logits: Array) -> Array:
    """Return softmax probabilities [N, K] in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def assess_classes(logits: Array, targets: Array, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return accuracy, cross-entropy, confusion matrix and a row for each class.

    Args:
        logits: [N, K].
        targets: [N] class indices.
        classes: K names.
    """
    matrix = ConfusionMatrix()
    measured = (Accuracy(), BalancedAccuracy(), MacroF1())
    for metric in (matrix, *measured):
        metric.update(logits, targets)
    accuracy, balanced, macro_f1 = (metric.compute() for metric in measured)
    scores = matrix.scores()
    p = probabilities(logits)
    of_target = np.maximum(p[np.arange(len(targets)), targets], np.finfo(np.float64).tiny)
    return {
        "n": len(targets),
        "loss": float(-np.log(of_target).mean()),
        "metrics": {
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            "macro_f1": macro_f1,
        },
        "confusion": matrix.compute(),
        "per_class": [
            {
                "name": name,
                "precision": float(scores.precision[k]),
                "recall": float(scores.recall[k]),
                "f1": float(scores.f1[k]),
                "support": int(scores.support[k]),
            }
            for k, name in enumerate(classes)
        ],
    }


def assess_values(
    outputs: Array, targets: Array, raw: Examples, pipeline: Pipeline
) -> dict[str, Any]:
    """Return errors in the user's unit, R², and points for a plot.

    Args:
        outputs: [N] or [N, 1] network outputs (z-scores).
        targets: The same for the answers.
        raw: The examples as they were.
        pipeline: What turns z-scores into the user's unit.
    """
    scores, answers = outputs.reshape(targets.shape), targets
    predicted = _in_unit(pipeline, scores)
    true = _true_values(pipeline, answers, raw)
    measured = (R2(), MeanAbsoluteError(), RootMeanSquaredError())
    for metric in measured:
        metric.update(predicted, true)
    r2, mae, rmse = (metric.compute() for metric in measured)
    shown = np.linspace(0, len(true) - 1, min(len(true), MOST_POINTS)).astype(np.int64)
    return {
        "n": len(true),
        "loss": float(((scores - answers).astype(np.float64) ** 2).mean()),
        "metrics": {
            # R² is undefined where all true values are equal; JSON has no NaN.
            "r2": None if np.isnan(r2) else r2,
            "mae": mae,
            "rmse": rmse,
        },
        "target": pipeline.target,
        "unit": "",
        "predicted": predicted[shown, 0].tolist(),
        "true": true[shown, 0].tolist(),
    }


def worst_classes(
    logits: Array, targets: Array, raw: Examples, classes: tuple[str, ...]
) -> tuple[Mistake, ...]:
    """Return wrongly classified examples, the most confident ones first."""
    p = probabilities(logits)
    predicted = p.argmax(axis=1)
    confidence = p.max(axis=1)
    wrong = np.flatnonzero(predicted != targets)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return tuple(
        Mistake(
            true=classes[targets[i]],
            predicted=classes[predicted[i]],
            confidence=float(confidence[i]),
            name=_name(raw, int(i)),
            image=_picture(raw, int(i)),
            values=_row(raw, int(i)),
        )
        for i in wrong
    )


def worst_values(
    outputs: Array, targets: Array, raw: Examples, pipeline: Pipeline
) -> tuple[Mistake, ...]:
    """Return the examples whose predicted values are furthest off."""
    scores = outputs.reshape(targets.shape)
    distance = np.abs(scores - targets).reshape(len(targets), -1).max(axis=1)
    worst = np.argsort(-distance, kind="stable")[:MOST_MISTAKES]
    true, predicted = _true_values(pipeline, targets, raw), _in_unit(pipeline, scores)
    return tuple(
        Mistake(
            true=f"{true[i, 0]:.6g}",
            predicted=f"{predicted[i, 0]:.6g}",
            confidence=None,
            name=_name(raw, int(i)),
            image=_picture(raw, int(i)),
            values=_row(raw, int(i)),
        )
        for i in worst
    )


def _in_unit(pipeline: Pipeline, scores: Array) -> Array:
    """Return [N, M] values in the user's unit."""
    values = np.asarray(pipeline.undo_targets(scores), dtype=np.float64)
    return values.reshape(len(scores), -1)


def _true_values(pipeline: Pipeline, scores: Array, raw: Examples) -> Array:
    """Return [N, M] answers as the data hold them, not as float32 z-scores remember them."""
    if raw.targets is not None and raw.targets.dtype.kind in "fiu":
        return raw.targets.astype(np.float64).reshape(len(scores), -1)
    return _in_unit(pipeline, scores)


def _name(raw: Examples, i: int) -> str:
    return raw.names[i] if raw.names is not None else f"#{i}"


def _row(raw: Examples, i: int) -> dict[str, str] | None:
    if not isinstance(raw.inputs, dict):
        return None
    return {
        name: f"{column[i]:.6g}" if column.dtype.kind == "f" else str(column[i])
        for name, column in raw.inputs.items()
    }


def _picture(raw: Examples, i: int) -> Array | None:
    """Return uint8 [H, W] or [H, W, 3], if the example is an image."""
    if isinstance(raw.inputs, dict) or raw.inputs.ndim != 4 or raw.inputs.shape[1] not in (1, 3):
        return None
    image = raw.inputs[i]
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / (high - low or 1.0) * 255).astype(np.uint8)
    return image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
