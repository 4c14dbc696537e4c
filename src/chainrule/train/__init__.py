"""Takes: a model, a loss, an optimizer and batches of data.
Gives: a trained model, its measures, and a run folder from which training goes on bit for bit.
Next room: models.
"""

from __future__ import annotations

from chainrule.train.averaging import Averaging, ema, swa
from chainrule.train.checkpoint import load_best, load_weights, save_weights
from chainrule.train.checks import DivergenceError
from chainrule.train.evaluation import evaluate, predict
from chainrule.train.events import Event, EventList
from chainrule.train.history import History
from chainrule.train.metrics import (
    R2,
    Accuracy,
    BalancedAccuracy,
    ClassReport,
    ConfusionMatrix,
    MacroF1,
    MeanAbsoluteError,
    Metric,
    RootMeanSquaredError,
    TopK,
    metric_by_name,
)
from chainrule.train.presets import batch_norm_companions
from chainrule.train.regularizers import (
    L1,
    L2,
    Elastic,
    GradientNoise,
    MaxNorm,
    Regularizer,
    WeightNoise,
)
from chainrule.train.step import train_step
from chainrule.train.trainer import Trainer

__all__ = [
    "L1",
    "L2",
    "R2",
    "Accuracy",
    "Averaging",
    "BalancedAccuracy",
    "ClassReport",
    "ConfusionMatrix",
    "DivergenceError",
    "Elastic",
    "Event",
    "EventList",
    "GradientNoise",
    "History",
    "MacroF1",
    "MaxNorm",
    "MeanAbsoluteError",
    "Metric",
    "Regularizer",
    "RootMeanSquaredError",
    "TopK",
    "Trainer",
    "WeightNoise",
    "batch_norm_companions",
    "ema",
    "evaluate",
    "load_best",
    "load_weights",
    "metric_by_name",
    "predict",
    "save_weights",
    "swa",
    "train_step",
]
