"""Activation layers along an axis: softmax and its kin, and the gated linear unit.

Takes: any tensor with the axis in question. Gives: the same shape; of a gate, half the size.
The one idea: here elements act on each other, so an axis has to be named.
"""

from __future__ import annotations

from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.activation import Activation

__all__ = ["GLU", "LogSoftmax", "Softmax", "Softmax2d", "Softmin"]


class _AlongAxis(Activation):
    """What softmax, its logarithm and softmin share: the axis."""

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

    nonlinearity = "softmax"

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax."""
        return F.softmax(input, self._axis(input))


class LogSoftmax(_AlongAxis):
    """The logarithm of `Softmax`, computed without loss of precision.

    Args:
        dim: The axis; may be left out for [K] and [N, K].
    """

    nonlinearity = "softmax"

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the softmax."""
        return F.log_softmax(input, self._axis(input))


class Softmin(_AlongAxis):
    """The softmax of -x: large where x is small.

    Args:
        dim: The axis; may be left out for [K] and [N, K].
    """

    nonlinearity = "softmax"

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of -x."""
        return F.softmin(input, self._axis(input))


class Softmax2d(Activation):
    """The softmax over the channels of images [N, C, H, W] or [C, H, W], for each place."""

    nonlinearity = "softmax"

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax over the channels."""
        if input.ndim not in (3, 4):
            raise ShapeError(
                f"Softmax2d: input {input.spec} has {input.ndim} axes, expected images "
                "[N, C, H, W] or [C, H, W]",
                hint="nn.Softmax(dim=1) for [N, C, ...]",
            )
        return F.softmax(input, -3)


class GLU(Activation):
    """The first half of the input, times the sigmoid of the second; see `glu` (Dauphin 2017).

    Args:
        dim: The axis that is split, of even size.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = arguments.integer("GLU", "dim", dim, least=-64)

    def forward(self, input: Tensor) -> Tensor:
        """Return the gated half."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"dim={self.dim}"
