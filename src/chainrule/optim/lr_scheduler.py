"""Schedules: how the learning rate changes as training goes on.

Takes: an optimizer. Gives: a new ``lr`` in each of its groups at every `step`.
The one idea: names as in PyTorch; what stands behind them lies in the files named below.
"""

from __future__ import annotations

from chainrule.optim.combined import ChainedScheduler, SequentialLR, warmup
from chainrule.optim.cycle import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from chainrule.optim.decay import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
    step_at_fractions,
)
from chainrule.optim.functional_rates import LambdaLR, MultiplicativeLR
from chainrule.optim.plateau import ReduceLROnPlateau
from chainrule.optim.schedule import ClosedFormLR, LRScheduler

__all__ = [
    "ChainedScheduler",
    "ClosedFormLR",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "step_at_fractions",
    "warmup",
]
