"""Activation layers: the non-linearity between layers with weights.

Takes: any tensor. Gives: the same shape.
The one idea: without them, stacked linear layers are one linear layer.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.init import Nonlinearity
from chainrule.nn.module import Module


class Activation(Module):
    """Base class of activations.

    Attributes:
        nonlinearity: Which rule of `init` suits the weights before it.
        slope: Its slope below 0, where that is a setting.
    """

    nonlinearity: ClassVar[Nonlinearity] = "linear"
    slope: float = 0.0


class ReLU(Activation):
    """max(x, 0), with derivative 0 at 0 (Nair & Hinton 2010).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "relu"

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = arguments.flag("ReLU", "inplace", inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return F.relu(input)

    def extra_repr(self) -> str:
        """Return the argument, if it is not the default."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Activation):
    """x where positive, else a small multiple of it, so that no unit dies (Maas et al. 2013).

    Args:
        negative_slope: The multiple.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = arguments.number("LeakyReLU", "negative_slope", negative_slope)
        self.slope = self.negative_slope
        self.inplace = arguments.flag("LeakyReLU", "inplace", inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Return x or slope x."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class Sigmoid(Activation):
    """1 / (1 + exp(-x)): squeezes numbers into (0, 1)."""

    nonlinearity = "sigmoid"

    def forward(self, input: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""
        return F.sigmoid(input)


class Tanh(Activation):
    """The hyperbolic tangent: squeezes numbers into (-1, 1), around 0."""

    nonlinearity = "tanh"

    def forward(self, input: Tensor) -> Tensor:
        """Return tanh x."""
        return F.tanh(input)


class GELU(Activation):
    """x Φ(x), with Φ the normal distribution function (Hendrycks & Gimpel 2016).

    Args:
        approximate: ``none``, or ``tanh`` for the formula with the hyperbolic tangent.
    """

    nonlinearity = "gelu"

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise unknown_word("GELU approximate", str(approximate), ("none", "tanh"))
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Return x Φ(x)."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"approximate={self.approximate!r}"


class SiLU(Activation):
    """x sigmoid(x), also called Swish (Elfwing et al. 2018; Ramachandran et al. 2017).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "silu"

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = arguments.flag("SiLU", "inplace", inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Return x sigmoid(x)."""
        return F.silu(input)

    def extra_repr(self) -> str:
        """Return the argument, if it is not the default."""
        return "inplace=True" if self.inplace else ""


class _AlongAxis(Activation):
    """What softmax and its logarithm share: the axis."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is not None:
            dim = arguments.integer(type(self).__name__, "dim", dim, least=-64)
        self.dim = dim

    def _axis(self, x: Tensor) -> int:
        if self.dim is not None:
            return self.dim
        if x.ndim in (1, 2):
            return -1
        name = type(self).__name__
        raise ArgumentError(
            f"{name}: input {x.spec} has {x.ndim} axes, so dim is needed",
            hint=f"nn.{name}(dim=1) for [N, K, ...], dim=-1 for [..., K]",
        )

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """exp(x) divided by its sum along an axis: numbers that are positive and sum to 1.

    Losses such as `CrossEntropyLoss` take the numbers before it.

    Args:
        dim: The axis; may be left out for [K] and [N, K].
    """

    nonlinearity = "linear"

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax."""
        return F.softmax(input, self._axis(input))


class LogSoftmax(_AlongAxis):
    """The logarithm of `Softmax`, computed without loss of precision.

    Args:
        dim: The axis; may be left out for [K] and [N, K].
    """

    nonlinearity = "linear"

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the softmax."""
        return F.log_softmax(input, self._axis(input))
