"""Linear layers: the affine map y = x Wᵀ + b, and the map that does nothing.

Takes: [..., D]. Gives: [..., K].
"""

from __future__ import annotations

from chainrule.core.dtype import DTypeLike
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.init import Nonlinearity
from chainrule.nn.module import Module
from chainrule.nn.weight import WeightLayer
from chainrule.ops.contraction import linear


class Linear(WeightLayer):
    """The affine map y = x Wᵀ + b.

    Args:
        in_features: D, size of the last axis of the input.
        out_features: K, size of the last axis of the output.
        bias: Whether b is added.
        nonlinearity: The activation that follows, for the first weights; see `WeightLayer`.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        weight: W, [K, D].
        bias: b, [K], or None.

    Raises:
        ArgumentError: A size is not a positive integer.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> layer = nn.Linear(4, 3)
        >>> layer
        Linear(in_features=4, out_features=3, bias=True)
        >>> layer(chainrule.zeros((2, 4))).shape
        (2, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        nonlinearity: Nonlinearity | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.in_features = arguments.integer("Linear", "in_features", in_features)
        self.out_features = arguments.integer("Linear", "out_features", out_features)
        self._make_parameters(
            (self.out_features, self.in_features),
            self.out_features,
            (self.in_features, self.out_features),
            bias=arguments.flag("Linear", "bias", bias),
            nonlinearity=nonlinearity,
            dtype=dtype,
            device=device,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return x Wᵀ + b for x [..., D]."""
        return linear(input, self.weight, self.bias)

    def scope_title(self) -> str:
        """Return ``Linear 4 -> 3``."""
        return f"{type(self).__name__} {self.in_features} -> {self.out_features}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """A layer that gives back its input; takes the place of a layer that is left out.

    Any arguments are accepted and ignored, so that it can stand for every other layer.
    """

    def __init__(self, *args: object) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input
