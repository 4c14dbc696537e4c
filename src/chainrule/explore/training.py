"""Training: what the experiments with networks share.

Takes: a network, an optimizer, a loss. Gives: a compiled step; accuracy and loss of a part.
The one idea: nothing here is more than the user's own loop would be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn import Module
from chainrule.nn import functional as F
from chainrule.optim import Optimizer
from chainrule.runtime.compile import compile

Loss = Callable[[Tensor, Tensor], Tensor]


def training_step(net: Module, optimizer: Optimizer, loss: Loss = F.cross_entropy) -> Any:
    """Return a compiled function of a batch (x, y): one step of training; it gives the loss."""

    @compile
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        return value

    return step


def measure(net: Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return accuracy and cross-entropy of a network, in its mode for answers."""
    net.eval()
    with no_grad():
        scores = net(x)
    net.train()
    return (scores.argmax(1) == y).float().mean().item(), F.cross_entropy(scores, y).item()
