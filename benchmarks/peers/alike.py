"""What chainrule and PyTorch have in common: one text for both, since names are the same.

Takes: a library with `nn` and `optim`. Gives: a network, and the functions that are timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workloads import Layer, Layers, Workload


def network(nn: Any, layers: Layers) -> Any:
    """Return the network made of a library's layers."""

    class Residual(nn.Module):  # type: ignore[misc,name-defined]  # of either library
        """ReLU of the sum of two branches."""

        def __init__(self, main: Layers, shortcut: Layers) -> None:
            super().__init__()
            self.main = sequence(main)
            self.shortcut = sequence(shortcut)
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            """Return the output of the block."""
            return self.relu(self.main(x) + self.shortcut(x))

    plain = {
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "gelu": nn.GELU,
        "flatten": nn.Flatten,
        "dropout": nn.Dropout,
        "linear": nn.Linear,
        "max_pool": nn.MaxPool2d,
        "batch_norm1d": nn.BatchNorm1d,
        "batch_norm2d": nn.BatchNorm2d,
        "layer_norm": nn.LayerNorm,
    }

    def one(layer: Layer) -> Any:
        match layer:
            case ("conv", before, after, kernel, stride, padding, bias):
                return nn.Conv2d(before, after, kernel, stride, padding, bias=bias)
            case ("residual", main, shortcut):
                return Residual(main, shortcut)
            case ("mean_pool",):
                return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            case ("softmax",):
                return nn.Softmax(-1)
            case (name, *settings):
                return plain[name](*settings)

    def sequence(layers: Layers) -> Any:
        return nn.Sequential(*(one(layer) for layer in layers))

    return sequence(layers)


def loss_function(nn: Any, workload: Workload) -> Callable[[Any, Any], Any]:
    """Return the function of outputs and targets that is minimised."""
    if workload.loss == "weighted":
        return lambda y, t: (y * t).sum()
    losses = {
        "cross_entropy": nn.CrossEntropyLoss,
        "bce": nn.BCEWithLogitsLoss,
        "mse": nn.MSELoss,
    }
    made: Callable[[Any, Any], Any] = losses[workload.loss]()
    return made


def optimizer(optim: Any, model: Any, workload: Workload) -> Any:
    """Return the optimizer of a model's parameters."""
    rule = {"sgd": optim.SGD, "adam": optim.Adam}[workload.optimizer]
    return rule(model.parameters(), **workload.settings)
