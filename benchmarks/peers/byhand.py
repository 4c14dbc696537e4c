"""NumPy by hand: the multi-layer perceptron of the textbooks, every derivative written out.

Takes: a workload, first weights, a batch. Gives: its steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.counts import Array
from benchmarks.peers import Runner
from benchmarks.workloads import Workload


def runner(
    workload: Workload, weights: dict[str, Array], data: tuple[Array, Array], compiled: bool
) -> Runner:
    """Return a network that is ready to be trained."""
    return Steps(workload, weights, data)


class Steps:
    """Steps on one batch."""

    def __init__(
        self, workload: Workload, weights: dict[str, Array], data: tuple[Array, Array]
    ) -> None:
        self.workload = workload
        self.inputs, self.targets = data
        self.values = {name: value.copy() for name, value in weights.items()}
        self.mean = {name: np.zeros_like(value) for name, value in weights.items()}
        self.square = {name: np.zeros_like(value) for name, value in weights.items()}
        self.count = 0

    def step(self) -> Any:
        """Do one step."""
        outputs = [self.inputs]
        for number, (name, *_) in enumerate(self.workload.layers):
            x = outputs[-1]
            if name == "linear":
                x = x @ self.values[f"{number}.weight"].T + self.values[f"{number}.bias"]
            elif name == "relu":
                x = np.maximum(x, 0)
            else:
                x = np.tanh(x) if name == "tanh" else 1 / (1 + np.exp(-x))
            outputs.append(x)
        loss, grad = self._loss(outputs[-1])
        grads = {}
        for number in reversed(range(len(self.workload.layers))):
            name = self.workload.layers[number][0]
            x, y = outputs[number], outputs[number + 1]
            if name == "linear":
                grads[f"{number}.weight"] = grad.T @ x
                grads[f"{number}.bias"] = grad.sum(0)
                if number:
                    grad = grad @ self.values[f"{number}.weight"]
            elif name == "relu":
                grad = grad * (y > 0)
            else:
                grad = grad * (1 - y * y if name == "tanh" else y * (1 - y))
        self._update(grads)
        return loss

    def _loss(self, y: Array) -> tuple[Any, Array]:
        """Return the loss and its gradient."""
        count = len(y)
        if self.workload.loss == "cross_entropy":
            shifted = y - y.max(1, keepdims=True)
            exps = np.exp(shifted)
            sums = exps.sum(1, keepdims=True)
            rows = np.arange(count)
            grad = exps / sums
            grad[rows, self.targets] -= 1
            return (np.log(sums[:, 0]) - shifted[rows, self.targets]).mean(), grad / count
        if self.workload.loss == "bce":
            grad = (1 / (1 + np.exp(-y)) - self.targets) / y.size
            return (np.logaddexp(0, y) - self.targets * y).mean(), grad
        error = y - self.targets
        return (error * error).mean(), error * np.float32(2 / error.size)

    def _update(self, grads: dict[str, Array]) -> None:
        lr = self.workload.settings["lr"]
        self.count += 1
        rate, root = lr / (1 - 0.9**self.count), np.sqrt(1 - 0.999**self.count)
        for name, grad in grads.items():
            value = self.values[name]
            if self.workload.optimizer == "sgd":
                value -= np.float32(lr) * grad
                continue
            mean, square = self.mean[name], self.square[name]
            mean *= np.float32(0.9)
            mean += np.float32(0.1) * grad
            square *= np.float32(0.999)
            square += np.float32(0.001) * grad * grad
            value -= (
                np.float32(rate) * mean / (np.sqrt(square) / np.float32(root) + np.float32(1e-8))
            )

    def loss(self, result: Any) -> float:
        """Return the loss of a step."""
        return float(result)
