"""Activation layers of the ReLU family that are smooth: exponential, normal and logistic bends.

Takes: any tensor. Gives: the same shape.
The one idea: a bend without a kink, and a gradient below 0, so that a unit can come back.
"""

from __future__ import annotations

from typing import Literal

from chainrule.core.errors import unknown_word
from chainrule.graph.tensor import Tensor, tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.activation import Activation, InPlace
from chainrule.nn.parameter import Parameter

__all__ = ["CELU", "ELU", "GELU", "SELU", "Mish", "SiLU", "Swish"]


class ELU(InPlace):
    """x where positive, else alpha (e^x - 1); see `elu` (Clevert et al. 2015).

    Args:
        alpha: The value -alpha is approached far below 0.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Raises:
        ArgumentError: ``alpha`` is not a finite number.
    """

    nonlinearity = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = arguments.finite("ELU", "alpha", alpha)
        self.slope = self.alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return x or alpha (e^x - 1)."""
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return self._shown(f"alpha={self.alpha}")


class CELU(InPlace):
    """x where positive, else alpha (e^(x / alpha) - 1); see `celu` (Barron 2017).

    Args:
        alpha: The value -alpha is approached far below 0; above 0.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Raises:
        ArgumentError: ``alpha`` is not positive.
    """

    nonlinearity = "celu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = arguments.positive("CELU", "alpha", alpha)
        self.slope = self.alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return x or alpha (e^(x / alpha) - 1)."""
        return F.celu(input, self.alpha)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return self._shown(f"alpha={self.alpha}")


class SELU(InPlace):
    """1.0507 elu(x, 1.6733), for self-normalising networks; see `selu` (Klambauer et al. 2017).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "selu"

    def forward(self, input: Tensor) -> Tensor:
        """Return 1.0507 elu(x, 1.6733)."""
        return F.selu(input)


class GELU(Activation):
    """x Φ(x), with Φ the normal distribution function; see `gelu` (Hendrycks & Gimpel 2016).

    Args:
        approximate: ``none``, or ``tanh`` for the formula with the hyperbolic tangent.

    Raises:
        ArgumentError: ``approximate`` is another word.
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


class SiLU(InPlace):
    """x sigmoid(x); see `silu` (Elfwing et al. 2018; Ramachandran et al. 2017).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "silu"

    def forward(self, input: Tensor) -> Tensor:
        """Return x sigmoid(x)."""
        return F.silu(input)


class Swish(Activation):
    """x sigmoid(beta x); see `swish` (Ramachandran et al. 2017).

    Args:
        beta: How sharply it bends.
        learned: Whether beta is a parameter, which starts from the number given.

    Attributes:
        beta: The number, or the 0-d parameter.

    Raises:
        ArgumentError: ``beta`` is not a finite number.

    Example:
        >>> from chainrule import nn
        >>> [name for name, _ in nn.Swish(learned=True).named_parameters()]
        ['beta']
    """

    nonlinearity = "silu"
    beta: float | Parameter

    def __init__(self, beta: float = 1.0, learned: bool = False) -> None:
        super().__init__()
        value = arguments.finite("Swish", "beta", beta)
        self.learned = arguments.flag("Swish", "learned", learned)
        self.beta = Parameter(tensor(value, dtype="float32")) if learned else value

    def forward(self, input: Tensor) -> Tensor:
        """Return x sigmoid(beta x)."""
        return F.swish(input, self.beta)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return "learned=True" if self.learned else f"beta={self.beta}"


class Mish(InPlace):
    """x tanh(softplus(x)); see `mish` (Misra 2019).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "mish"

    def forward(self, input: Tensor) -> Tensor:
        """Return x tanh(softplus(x))."""
        return F.mish(input)
