"""chainrule itself: compiled, or eager.

Takes: a workload, first weights, a batch. Gives: its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chainrule
from benchmarks.counts import Array
from benchmarks.peers import Runner
from benchmarks.peers.alike import loss_function, network, optimizer
from benchmarks.workloads import Workload
from chainrule import nn, optim
from chainrule.data import DataLoader, TensorDataset
from chainrule.train import Trainer


def runner(
    workload: Workload, weights: dict[str, Array], data: tuple[Array, Array], compiled: bool
) -> Runner:
    """Return a network that is ready to be trained."""
    model = network(nn, workload.layers)
    model.load_state_dict({k: chainrule.tensor(v) for k, v in weights.items()}, strict=False)
    if workload.kind == "fit":
        return Fit(workload, model, data, compiled)
    return Steps(workload, model, data, compiled)


class Steps:
    """Steps on one batch."""

    def __init__(
        self, workload: Workload, model: Any, data: tuple[Array, Array], compiled: bool
    ) -> None:
        self.inputs, self.targets = (chainrule.tensor(array) for array in data)
        make = {"train": _training, "infer": _inference, "gradient": _gradients}
        function = make[workload.kind](workload, model)
        self.function = chainrule.compile(function) if compiled else function
        if workload.kind == "gradient":
            self.inputs.requires_grad_()

    def step(self) -> Any:
        """Do one step."""
        return self.function(self.inputs, self.targets)

    def loss(self, result: Any) -> float:
        """Return the loss of a step; of outputs or a gradient the norm."""
        return float((result * result).sum().sqrt().item() if result.ndim else result.item())


def _training(workload: Workload, model: Any) -> Callable[..., Any]:
    loss_of, rule = loss_function(nn, workload), optimizer(optim, model, workload)
    model.train()

    def step(inputs: Any, targets: Any) -> Any:
        rule.zero_grad()
        loss = loss_of(model(inputs), targets)
        loss.backward()
        rule.step()
        return loss

    return step


def _inference(workload: Workload, model: Any) -> Callable[..., Any]:
    model.eval()

    def step(inputs: Any, targets: Any) -> Any:
        with chainrule.no_grad():
            return model(inputs)

    return step


def _gradients(workload: Workload, model: Any) -> Callable[..., Any]:
    loss_of = loss_function(nn, workload)

    def step(inputs: Any, targets: Any) -> Any:
        model.zero_grad()
        inputs.grad = None
        loss = loss_of(model(inputs), targets)
        loss.backward()
        return inputs.grad

    return step


class Fit:
    """Whole epochs of the trainer."""

    def __init__(
        self, workload: Workload, model: Any, data: tuple[Array, Array], compiled: bool
    ) -> None:
        rule = optimizer(optim, model, workload)
        loss = nn.CrossEntropyLoss()
        self.trainer = Trainer(model, loss, rule, progress=False, compile=compiled)
        self.loader = DataLoader(TensorDataset(*data), workload.batch, shuffle=True)
        self.epochs = 0

    def step(self) -> Any:
        """Train for an epoch."""
        self.epochs += 1
        return self.trainer.fit(self.loader, epochs=self.epochs)

    def loss(self, result: Any) -> float:
        """Return the mean loss of the epoch."""
        return float(result.curve("train", "loss")[-1])
