"""Normalisation layers whose statistics come from each example by itself.

Takes: [N, C, *S] (channels) or [..., *normalized_shape] (RMS norm). Gives: the same shape.
The one idea: what is computed for an example does not depend on the others in its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.nn.normalization import ChannelNorm, Norm
from chainrule.ops.normalization_groups import group_norm, local_response_norm, rms_norm
from chainrule.ops.normalization_instance import instance_norm


class GroupNorm(Norm):
    """Group normalisation (Wu & He 2018): mean 0 and variance 1 in groups of channels.

    As good with a batch of two as with one of thirty-two, unlike batch normalisation.

    Args:
        num_groups: G, a divisor of the number of channels.
        num_channels: C.
        eps: Added to the variance.
        affine: Whether a scale and a shift for each channel are learned.
        bias: Whether there is a shift (with ``affine``).
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Raises:
        ArgumentError: G does not divide C, or a number is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.GroupNorm(4, 16)(chainrule.zeros((1, 16, 8, 8))).shape
        (1, 16, 8, 8)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.num_groups = arguments.integer("GroupNorm", "num_groups", num_groups)
        self.num_channels = arguments.integer("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ArgumentError(
                f"GroupNorm: num_channels is {num_channels}, not divisible by "
                f"num_groups={num_groups}",
                hint=f"nn.GroupNorm({math.gcd(num_channels, num_groups)}, {num_channels})",
            )
        self.eps = arguments.number("GroupNorm", "eps", eps, low=0.0)
        self.affine = arguments.flag("GroupNorm", "affine", affine)
        arguments.flag("GroupNorm", "bias", bias)
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        self._make_affine((self.num_channels,), wanted, scale=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input [N, C, *S]."""
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise ShapeError(
                f"GroupNorm: input {input.spec} must have the axes [N, C, ...] with "
                f"C = {self.num_channels}"
            )
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def scope_title(self) -> str:
        """Return ``GroupNorm 4 of 16``."""
        return f"GroupNorm {self.num_groups} of {self.num_channels}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class InstanceNorm(ChannelNorm):
    """Instance normalisation (Ulyanov et al. 2016): the base class of its three layers.

    Each channel of each example gets mean 0 and variance 1 over its positions.

    Args:
        num_features: C, the number of channels.
        eps: Added to the variance.
        momentum: Share of the new value in the running statistics; None: they stay.
        affine: Whether scale and shift are learned.
        track_running_stats: Whether running statistics are kept, and used after `Module.eval`.
        bias: Whether there is a shift (with ``affine``).
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Raises:
        ArgumentError: ``num_features`` is no positive integer, or a number is out of range.
    """

    family = "InstanceNorm"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        sizes = (num_features, eps, momentum, affine, track_running_stats)
        self._set_up(*sizes, bias=bias, dtype=dtype, device=device)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input [N, C, *S], or [C, *S]."""
        self._check(input)
        batched = input.ndim == max(self.axes)
        x = input if batched else input.unsqueeze(0)
        if x.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: input {input.spec} has {x.shape[1]} channels, expected "
                f"{self.num_features}",
                hint=f"nn.{type(self).__name__}({x.shape[1]})",
            )
        result = instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result if batched else result.squeeze(0)


class InstanceNorm1d(InstanceNorm):
    """Instance normalisation of sequences [N, C, L] or [C, L]; see `InstanceNorm`."""

    axes = (2, 3)
    layout = "[N, C, L] or [C, L]"


class InstanceNorm2d(InstanceNorm):
    """Instance normalisation of images [N, C, H, W] or [C, H, W]; see `InstanceNorm`."""

    axes = (3, 4)
    layout = "[N, C, H, W] or [C, H, W]"


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of volumes [N, C, D, H, W] or [C, D, H, W]; see `InstanceNorm`."""

    axes = (4, 5)
    layout = "[N, C, D, H, W] or [C, D, H, W]"


class LocalResponseNorm(Module):
    """Each activation divided by a power of its neighbours' in other channels (AlexNet).

    Args:
        size: How many neighbouring channels count.
        alpha: Strength.
        beta: Power.
        k: What is there without neighbours.

    Raises:
        ArgumentError: ``size`` is no positive integer, or a number is none.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = arguments.integer("LocalResponseNorm", "size", size)
        self.alpha = arguments.number("LocalResponseNorm", "alpha", alpha)
        self.beta = arguments.number("LocalResponseNorm", "beta", beta)
        self.k = arguments.number("LocalResponseNorm", "k", k)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input [N, C, *S]."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class RMSNorm(Norm):
    """Root-mean-square normalisation over the last axes (Zhang & Sennrich 2019).

    Args:
        normalized_shape: Sizes of the last axes that are normalised together, or one size.
        eps: Added to the mean square; None: the distance from 1 to the next number.
        elementwise_affine: Whether a scale is learned.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Raises:
        ArgumentError: A size is no positive integer, or ``eps`` is negative.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.RMSNorm(4)(chainrule.zeros((2, 4))).shape
        (2, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        count = max(1, len(normalized_shape)) if isinstance(normalized_shape, Sequence) else 1
        self.normalized_shape = arguments.sizes(
            "RMSNorm", "normalized_shape", normalized_shape, count
        )
        self.eps = None if eps is None else arguments.number("RMSNorm", "eps", eps, low=0.0)
        self.elementwise_affine = arguments.flag(
            "RMSNorm", "elementwise_affine", elementwise_affine
        )
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        self._make_affine(self.normalized_shape, wanted, scale=elementwise_affine, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input."""
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def scope_title(self) -> str:
        """Return ``RMSNorm 16``."""
        return f"RMSNorm {', '.join(map(str, self.normalized_shape))}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
