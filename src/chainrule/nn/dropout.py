"""Dropout: units left out by chance during training, and noise on inputs.

Takes: any tensor. Gives: in training the same, changed by chance; in use the same.
The one idea: a unit cannot rely on others that may be missing (Srivastava et al. 2014).
"""

from __future__ import annotations

import math
from typing import Any

from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.ops.regularization import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
    gaussian_noise,
)


class DropoutBase(Module):
    """Base class of layers that leave something out with a probability.

    Args:
        p: Probability of each to be dropped.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Raises:
        ArgumentError: p is not a number from 0 to 1.
    """

    _function: Any

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        name = type(self).__name__
        self.p = arguments.number(name, "p", p, low=0.0, high=1.0)
        self.inplace = arguments.flag(name, "inplace", inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, in training with a part of it dropped."""
        result: Tensor = type(self)._function(input, self.p, self.training)
        return result

    def scope_title(self) -> str:
        """Return ``Dropout 0.5``."""
        return f"{type(self).__name__} {self.p:g}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(DropoutBase):
    """Set each element to 0 with probability p in training, and scale the others by 1/(1 - p).

    Nothing happens in use (`Module.eval`); the scaling keeps the mean the same. The arguments are
    those of `DropoutBase`. Usual: 0.5 for hidden units, 0.2 for inputs.
    """

    _function = staticmethod(dropout)


class Dropout1d(DropoutBase):
    """Set whole channels of sequences [N, C, L] or [C, L] to 0; see `Dropout2d`."""

    _function = staticmethod(dropout1d)


class Dropout2d(DropoutBase):
    """Set whole channels of images [N, C, H, W] to 0 in training, and scale the others.

    Between convolutions, where neighbouring pixels tell each other's value (Tompson et al. 2015).
    """

    _function = staticmethod(dropout2d)


class Dropout3d(DropoutBase):
    """Set whole channels of volumes [N, C, D, H, W] or [C, D, H, W] to 0; see `Dropout2d`."""

    _function = staticmethod(dropout3d)


class AlphaDropout(DropoutBase):
    """Dropout for networks of SELU, which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""

    _function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(DropoutBase):
    """`AlphaDropout` of whole channels of [N, C, ...]."""

    _function = staticmethod(feature_alpha_dropout)


class GaussianNoise(Module):
    """Add normally distributed noise in training; the first layer, to harden against noisy inputs.

    Args:
        std: Standard deviation of the noise, in the input's unit.

    Raises:
        ArgumentError: ``std`` is no finite number of at least 0.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.GaussianNoise(0.1).eval()(chainrule.ones(2)).tolist()
        [1.0, 1.0]
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        most = math.nextafter(math.inf, 0.0)
        self.std = arguments.number("GaussianNoise", "std", std, low=0.0, high=most)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, in training with noise added."""
        return gaussian_noise(input, self.std, self.training)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"std={self.std}"
