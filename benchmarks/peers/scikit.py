"""scikit-learn: `MLPClassifier.partial_fit`.

Takes: a workload, first weights, a batch. Gives: its steps (for `fit`: epochs).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.counts import Array
from benchmarks.peers import Runner
from benchmarks.workloads import Workload


def runner(
    workload: Workload, weights: dict[str, Array], data: tuple[Array, Array], compiled: bool
) -> Runner:
    """Return a network that is ready to be trained."""
    return Steps(workload, weights, data)


class Steps:
    """Steps on one batch, or epochs in batches."""

    def __init__(
        self, workload: Workload, weights: dict[str, Array], data: tuple[Array, Array]
    ) -> None:
        linear = [layer for layer in workload.layers if layer[0] == "linear"]
        activation = workload.layers[1][0]
        self.model = MLPClassifier(
            tuple(after for _, _, after in linear[:-1]),
            activation="logistic" if activation == "sigmoid" else activation,
            solver=workload.optimizer,
            alpha=0.0,
            batch_size=workload.batch,
            learning_rate_init=workload.settings["lr"],
            momentum=0.0,
            nesterovs_momentum=False,
        )
        self.inputs = data[0]
        self.targets = data[1].reshape(len(data[1])).astype(np.int64)
        # Its first call draws weights and makes the optimizer: both are set back afterwards.
        self.model.partial_fit(self.inputs, self.targets, classes=np.unique(self.targets))
        pairs = list(weights.values())
        for own, given in zip(self.model.coefs_, pairs[0::2], strict=True):
            own[...] = given.T
        for own, given in zip(self.model.intercepts_, pairs[1::2], strict=True):
            own[...] = given
        optimizer = self.model._optimizer
        for memory in ("ms", "vs", "velocities"):
            for array in getattr(optimizer, memory, ()):
                array[...] = 0
        optimizer.t = 0

    def step(self) -> Any:
        """Do one step."""
        self.model.partial_fit(self.inputs, self.targets)
        return self.model.loss_

    def loss(self, result: Any) -> float:
        """Return the loss of a step."""
        return float(result)
