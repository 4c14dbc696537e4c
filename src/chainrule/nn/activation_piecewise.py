"""Activation layers of straight pieces: leaky rectifiers, limits, shrinkage, thresholds.

Takes: any tensor. Gives: the same shape.
The one idea: comparisons and products only, so they cost next to nothing.
"""

from __future__ import annotations

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.activation import Activation, InPlace
from chainrule.nn.parameter import Parameter
from chainrule.ops.activations_piecewise import check_slopes

__all__ = [
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "PReLU",
    "RReLU",
    "ReLU6",
    "Softshrink",
    "Tanhshrink",
    "Threshold",
]


class LeakyReLU(InPlace):
    """x where positive, else a small multiple of it; see `leaky_relu` (Maas et al. 2013).

    Args:
        negative_slope: The multiple.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = arguments.number("LeakyReLU", "negative_slope", negative_slope)
        self.slope = self.negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Return x or slope x."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return self._shown(f"negative_slope={self.negative_slope}")


class PReLU(Activation):
    """x where positive, else a learned multiple of it; see `prelu` (He et al. 2015).

    Leave the slopes out of weight decay, which would pull them to 0.

    Args:
        num_parameters: 1 slope for all, or one for each channel (axis 1).
        init: The first slope.
        device: Where the parameter lives.
        dtype: Its type (default float32).

    Attributes:
        weight: The slopes, [num_parameters].

    Raises:
        ArgumentError: The number is no positive integer, or the slope is not finite.
    """

    nonlinearity = "leaky_relu"

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: str | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = arguments.integer("PReLU", "num_parameters", num_parameters)
        self.init = arguments.finite("PReLU", "init", init)
        self.slope = self.init
        as_device(device or "cpu")
        shape = (self.num_parameters,)
        self.weight = Parameter(call("full", shape, self.init, dtype=dtype or "float32"))

    def reset_parameters(self) -> None:
        """Set the slopes to the first one."""
        with no_grad():
            self.weight.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Return x or slope x, for [N, C, ...]."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"num_parameters={self.num_parameters}"


class RReLU(InPlace):
    """x where positive, else a random multiple of it; see `rrelu` (Xu et al. 2015).

    In use (`Module.eval`) the multiple is the mean of the two bounds.

    Args:
        lower: Smallest multiple.
        upper: Largest multiple.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Raises:
        ArgumentError: ``lower`` is above ``upper``.
    """

    nonlinearity = "leaky_relu"

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__(inplace)
        self.lower = arguments.number("RReLU", "lower", lower)
        self.upper = arguments.number("RReLU", "upper", upper)
        check_slopes("RReLU", self.lower, self.upper)
        self.slope = (self.lower + self.upper) / 2

    def forward(self, input: Tensor) -> Tensor:
        """Return x or a multiple of it."""
        return F.rrelu(input, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return self._shown(f"lower={self.lower}, upper={self.upper}")


class Hardtanh(InPlace):
    """x limited to a range; see `hardtanh` (Collobert 2004).

    Args:
        min_val: Smallest result.
        max_val: Largest result.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Raises:
        ArgumentError: The range is empty.
    """

    nonlinearity = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        name = type(self).__name__
        self.min_val = arguments.number(name, "min_val", min_val)
        self.max_val = arguments.number(name, "max_val", max_val)
        if self.min_val >= self.max_val:
            raise ArgumentError(f"{name}: min_val={min_val} must be below max_val={max_val}")

    def forward(self, input: Tensor) -> Tensor:
        """Return x limited to the range."""
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return self._shown(f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(InPlace):
    """x limited to the range from 0 to 6; see `relu6` (Krizhevsky 2010).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "relu"

    def forward(self, input: Tensor) -> Tensor:
        """Return x limited to the range from 0 to 6."""
        return F.relu6(input)


class Hardsigmoid(InPlace):
    """relu6(x + 3) / 6, a cheap sigmoid; see `hardsigmoid`.

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "hardsigmoid"

    def forward(self, input: Tensor) -> Tensor:
        """Return relu6(x + 3) / 6."""
        return F.hardsigmoid(input)


class Hardswish(InPlace):
    """x relu6(x + 3) / 6, a cheap SiLU; see `hardswish` (Howard et al. 2019).

    Args:
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "hardswish"

    def forward(self, input: Tensor) -> Tensor:
        """Return x relu6(x + 3) / 6."""
        return F.hardswish(input)


class Hardshrink(Activation):
    """0 from -lambd to lambd, x elsewhere; see `hardshrink`.

    Args:
        lambd: Half the width of what becomes 0.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = arguments.number("Hardshrink", "lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        """Return 0 or x."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"{self.lambd}"


class Softshrink(Activation):
    """x moved towards 0 by lambd, and 0 where it would cross it; see `softshrink`.

    Args:
        lambd: How far; 0 or more.

    Raises:
        ArgumentError: ``lambd`` is negative.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = arguments.number("Softshrink", "lambd", lambd, low=0.0)

    def forward(self, input: Tensor) -> Tensor:
        """Return x moved towards 0."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"{self.lambd}"


class Tanhshrink(Activation):
    """x - tanh(x); see `tanhshrink`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return x - tanh(x)."""
        return F.tanhshrink(input)


class Threshold(InPlace):
    """x where it is above a threshold, else a fixed value; see `threshold`.

    Args:
        threshold: What must be exceeded.
        value: The result elsewhere.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
    """

    nonlinearity = "relu"

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = arguments.number("Threshold", "threshold", threshold)
        self.value = arguments.number("Threshold", "value", value)

    def forward(self, input: Tensor) -> Tensor:
        """Return x or the value."""
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return self._shown(f"threshold={self.threshold}, value={self.value}")
