"""Activation layers: the non-linearity between layers with weights. The classic ones.

Takes: any tensor. Gives: the same shape.
The one idea: without them, stacked linear layers are one linear layer.
"""

from __future__ import annotations

from typing import ClassVar

from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.gain import Nonlinearity
from chainrule.nn.module import Module

__all__ = ["Activation", "LogSigmoid", "ReLU", "Sigmoid", "Softplus", "Softsign", "Tanh"]


class Activation(Module):
    """Base class of activations.

    Attributes:
        nonlinearity: Which rule of `init` suits the weights before it.
        slope: Its setting, where that rule depends on one: slope below 0, or alpha.
    """

    nonlinearity: ClassVar[Nonlinearity] = "linear"
    slope: float | None = None


class InPlace(Activation):
    """Base class of activations that can be told to work in place.

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = arguments.flag(type(self).__name__, "inplace", inplace)

    def extra_repr(self) -> str:
        """Return the argument, if it is not the default."""
        return "inplace=True" if self.inplace else ""

    def _shown(self, text: str) -> str:
        return text + (", inplace=True" if self.inplace else "")


class ReLU(InPlace):
    """max(x, 0), with derivative 0 at 0; see `relu` (Nair & Hinton 2010).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.ReLU()(chainrule.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    nonlinearity = "relu"

    def forward(self, input: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return F.relu(input)


class Sigmoid(Activation):
    """1 / (1 + exp(-x)): squeezes numbers into (0, 1); see `sigmoid`."""

    nonlinearity = "sigmoid"

    def forward(self, input: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""
        return F.sigmoid(input)


class Tanh(Activation):
    """The hyperbolic tangent: squeezes numbers into (-1, 1), around 0; see `tanh`."""

    nonlinearity = "tanh"

    def forward(self, input: Tensor) -> Tensor:
        """Return tanh x."""
        return F.tanh(input)


class LogSigmoid(Activation):
    """The logarithm of the sigmoid, exact where the sigmoid rounds to 0; see `logsigmoid`."""

    nonlinearity = "logsigmoid"

    def forward(self, input: Tensor) -> Tensor:
        """Return ln(1 / (1 + e^-x))."""
        return F.logsigmoid(input)


class Softsign(Activation):
    """x / (1 + |x|), which saturates more slowly than tanh; see `softsign`."""

    nonlinearity = "softsign"

    def forward(self, input: Tensor) -> Tensor:
        """Return x / (1 + |x|)."""
        return F.softsign(input)


class Softplus(Activation):
    """ln(1 + e^(beta x)) / beta: a smooth ReLU, always positive; see `softplus`.

    Args:
        beta: How sharply it bends; above 0.
        threshold: Where beta x is larger, the result is x itself.

    Raises:
        ArgumentError: ``beta`` is not positive.
    """

    nonlinearity = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = arguments.positive("Softplus", "beta", beta)
        self.threshold = arguments.number("Softplus", "threshold", threshold)

    def forward(self, input: Tensor) -> Tensor:
        """Return ln(1 + e^(beta x)) / beta."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"beta={self.beta}, threshold={self.threshold}"
