"""Layers with products and maxima of linear maps: Maxout and Bilinear.

Takes: [..., D] (Bilinear: two inputs). Gives: [..., K].
The one idea: an activation can be learned, or be the other input.
"""

from __future__ import annotations

import math

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments, init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.weight import WeightLayer
from chainrule.ops.contraction import linear
from chainrule.ops.products import bilinear, maxout


class Maxout(WeightLayer):
    """A linear layer of K k features of which each output takes the largest of k (Goodfellow 2013).

    h_i = max_j (x W_ijᵀ + b_ij): each unit learns a convex activation of k pieces of its own. It
    needs no activation after it, costs k times the weights, and was made for use with dropout.

    Args:
        in_features: D, size of the last axis of the input.
        out_features: K, size of the last axis of the output.
        num_pieces: k, how many linear pieces a unit has.
        bias: Whether b is added.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        weight: [K k, D].
        bias: [K k], or None.

    Raises:
        ArgumentError: A size is no positive integer.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.Maxout(4, 3, num_pieces=5)(chainrule.zeros((2, 4))).shape
        (2, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_pieces: int = 2,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = arguments.integer("Maxout", "in_features", in_features)
        self.out_features = arguments.integer("Maxout", "out_features", out_features)
        self.num_pieces = arguments.integer("Maxout", "num_pieces", num_pieces)
        rows = self.out_features * self.num_pieces
        self._make_parameters(
            (rows, self.in_features),
            rows,
            (self.in_features, self.out_features),
            bias=arguments.flag("Maxout", "bias", bias),
            nonlinearity="linear",
            dtype=dtype,
            device=device,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the largest piece of each unit for x [..., D]."""
        return maxout(linear(input, self.weight, self.bias), self.num_pieces)

    def scope_title(self) -> str:
        """Return ``Maxout 4 -> 3 of 5``."""
        return f"Maxout {self.in_features} -> {self.out_features} of {self.num_pieces}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"num_pieces={self.num_pieces}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """y_k = x₁ᵀ W_k x₂ + b_k: how well two inputs go together.

    Weights and bias start uniform within ±1/sqrt(in1_features), as in PyTorch.

    Args:
        in1_features: D1.
        in2_features: D2.
        out_features: K.
        bias: Whether b is added.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        weight: [K, D1, D2].
        bias: [K], or None.

    Raises:
        ArgumentError: A size is no positive integer.
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.in1_features = arguments.integer("Bilinear", "in1_features", in1_features)
        self.in2_features = arguments.integer("Bilinear", "in2_features", in2_features)
        self.out_features = arguments.integer("Bilinear", "out_features", out_features)
        arguments.flag("Bilinear", "bias", bias)
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight = Parameter(call("zeros", shape, dtype=wanted))
        self.bias = Parameter(call("zeros", shape[:1], dtype=wanted)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        bound = 1.0 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Return [..., K] for [..., D1] and [..., D2]."""
        sizes = (input1.shape[-1:], input2.shape[-1:])
        if sizes != ((self.in1_features,), (self.in2_features,)):
            raise ShapeError(
                f"Bilinear: inputs {input1.spec} and {input2.spec} must end in "
                f"{self.in1_features} and {self.in2_features} features"
            )
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
