"""Layers with weights: how their first values are chosen.

Takes: the shape of a weight and its fans. Gives: parameters drawn for the activation that follows.
The one idea: all default rules differ only in scale. A layer draws its weights once; a
`Sequential` that sees which activation follows scales them, as long as nobody has touched them.
"""

from __future__ import annotations

import math
from typing import get_args
from weakref import ref

from chainrule.core.device import as_device
from chainrule.core.dtype import Array, DTypeLike, as_dtype
from chainrule.core.errors import DTypeError, unknown_word
from chainrule.core.shape import Shape
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.nn import init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter


class WeightLayer(Module):
    """Base class of linear and convolutional layers.

    The weights start from a normal distribution whose variance suits the activation that follows
    (He 2/fan_in for the ReLU family, Xavier 2/(fan_in + fan_out) for sigmoid and tanh, LeCun
    1/fan_in if none follows); biases start from 0. What follows is known in one of three ways:
    ``nonlinearity=`` says it; else a `Sequential` that holds the layer sees it; else ReLU is
    assumed. A `Sequential` never changes weights that have been changed since they were drawn.

    Attributes:
        weight: The weight.
        bias: The bias, or None.
        nonlinearity: The activation that the user said follows, or None.
    """

    weight: Parameter
    bias: Parameter | None
    nonlinearity: init.Nonlinearity | None
    _fans: tuple[float, float]
    _std: float
    _drawn: ref[Array]

    def _make_parameters(
        self,
        weight_shape: Shape,
        outputs: int,
        fans: tuple[float, float],
        *,
        bias: bool,
        nonlinearity: init.Nonlinearity | None,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        name = type(self).__name__
        if nonlinearity is not None and nonlinearity not in get_args(init.Nonlinearity):
            raise unknown_word(f"{name} nonlinearity", nonlinearity, get_args(init.Nonlinearity))
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        if not wanted.is_floating:
            raise DTypeError(f"{name}: dtype is {wanted.name}, expected a floating-point type")
        self.nonlinearity = nonlinearity
        self._fans = fans
        self.weight = Parameter(call("zeros", weight_shape, dtype=wanted))
        self.bias = Parameter(call("zeros", (outputs,), dtype=wanted)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and set the bias to 0."""
        self._std = self._target_std(self.nonlinearity or "relu", None)
        init.normal_(self.weight, 0.0, self._std)
        if self.bias is not None:
            init.zeros_(self.bias)
        self._drawn = ref(self.weight.array)

    def prepare_for(self, nonlinearity: init.Nonlinearity, slope: float | None = None) -> None:
        """Scale freshly drawn weights for the activation that follows.

        Does nothing if the user named the activation, or has changed the weights since.

        Args:
            nonlinearity: The activation.
            slope: Its setting (negative slope, alpha), for the gain; None: the default one.
        """
        std = self._target_std(nonlinearity, slope)
        untouched = self._drawn() is self.weight.array
        if self.nonlinearity is None and untouched and std != self._std:
            with no_grad():
                self.weight.mul_(std / self._std)
            self._std = std
            self._drawn = ref(self.weight.array)

    def _target_std(self, nonlinearity: init.Nonlinearity, slope: float | None) -> float:
        return math.sqrt(init.default_variance(nonlinearity, slope, *self._fans))
