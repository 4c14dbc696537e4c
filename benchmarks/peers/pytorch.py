"""PyTorch: eager, or through `torch.compile`.

Takes: a workload, first weights, a batch. Gives: its steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.counts import Array
from benchmarks.peers import Runner
from benchmarks.peers.alike import loss_function, network, optimizer
from benchmarks.workloads import Workload


def runner(
    workload: Workload, weights: dict[str, Array], data: tuple[Array, Array], compiled: bool
) -> Runner:
    """Return a network that is ready to be trained."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = network(nn, workload.layers)
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    if workload.kind == "fit":
        return Fit(workload, model, data)
    return Steps(workload, model, data, compiled)


def exact_runner(
    workload: Workload, weights: dict[str, Array], data: tuple[Array, Array]
) -> Runner:
    """Return the same network in float64; what this process makes from now on is float64 too."""
    torch.set_default_dtype(torch.float64)
    wide = {k: v.astype("float64") if v.dtype.kind == "f" else v for k, v in weights.items()}
    inputs, targets = (v.astype("float64") if v.dtype.kind == "f" else v for v in data)
    return runner(workload, wide, (inputs, targets), compiled=False)


class Steps:
    """Steps on one batch."""

    def __init__(
        self, workload: Workload, model: Any, data: tuple[Array, Array], compiled: bool
    ) -> None:
        self.inputs, self.targets = (torch.tensor(array) for array in data)
        if workload.kind == "gradient":
            self.inputs.requires_grad_()
        compile_it = torch.compile if compiled else _as_it_is
        make = {"train": _training, "infer": _inference, "gradient": _gradients}
        self.function = make[workload.kind](workload, model, compile_it)

    def step(self) -> Any:
        """Do one step."""
        return self.function(self.inputs, self.targets)

    def loss(self, result: Any) -> float:
        """Return the loss of a step; of outputs or a gradient the norm."""
        return float((result * result).sum().sqrt().item() if result.ndim else result.item())


def _as_it_is(function: Any) -> Any:
    return function


def _training(workload: Workload, model: Any, compile_it: Callable[..., Any]) -> Any:
    loss_of, rule = loss_function(nn, workload), optimizer(optim, model, workload)
    model.train()
    forward = compile_it(lambda inputs, targets: loss_of(model(inputs), targets))
    update = compile_it(rule.step)

    def step(inputs: Any, targets: Any) -> Any:
        rule.zero_grad()
        loss = forward(inputs, targets)
        loss.backward()
        update()
        return loss

    return step


def _inference(workload: Workload, model: Any, compile_it: Callable[..., Any]) -> Any:
    model.eval()
    forward = compile_it(model)

    def step(inputs: Any, targets: Any) -> Any:
        with torch.inference_mode():
            return forward(inputs)

    return step


def _gradients(workload: Workload, model: Any, compile_it: Callable[..., Any]) -> Any:
    loss_of = loss_function(nn, workload)
    forward = compile_it(lambda inputs, targets: loss_of(model(inputs), targets))

    def step(inputs: Any, targets: Any) -> Any:
        model.zero_grad()
        inputs.grad = None
        loss = forward(inputs, targets)
        loss.backward()
        return inputs.grad

    return step


class Fit:
    """Whole epochs of the loop that PyTorch's tutorials teach."""

    def __init__(self, workload: Workload, model: Any, data: tuple[Array, Array]) -> None:
        self.model, self.loss_of = model, nn.CrossEntropyLoss()
        self.rule = optimizer(optim, model, workload)
        dataset = TensorDataset(*(torch.tensor(array) for array in data))
        self.loader = DataLoader(dataset, workload.batch, shuffle=True)

    def step(self) -> Any:
        """Train for an epoch."""
        total = 0.0
        for inputs, targets in self.loader:
            self.rule.zero_grad()
            loss = self.loss_of(self.model(inputs), targets)
            loss.backward()
            self.rule.step()
            total += loss.item()
        return total / len(self.loader)

    def loss(self, result: Any) -> float:
        """Return the mean loss of the epoch."""
        return float(result)
