"""Normalisation layers: activations with mean 0 and variance 1, then a learned scale and shift.

Takes: [N, C, *S] (batch norm) or [..., *normalized_shape] (layer norm). Gives: the same shape.
The one idea: a layer learns faster if the scale of its inputs does not move under it.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.device import as_device
from chainrule.core.dtype import DType, DTypeLike, as_dtype
from chainrule.core.errors import ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.normalization import batch_norm, layer_norm


class Norm(Module):
    """Base class of normalisation layers.

    Attributes:
        weight: The learned scale, or None.
        bias: The learned shift, or None.
    """

    weight: Parameter | None
    bias: Parameter | None

    def _make_affine(
        self, shape: tuple[int, ...], dtype: DType, *, scale: bool, bias: bool
    ) -> None:
        self.weight = Parameter(call("ones", shape, dtype=dtype)) if scale else None
        self.bias = Parameter(call("zeros", shape, dtype=dtype)) if bias else None

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        with no_grad():
            if self.weight is not None:
                self.weight.fill_(1.0)
            if self.bias is not None:
                self.bias.fill_(0.0)


class ChannelNorm(Norm):
    """Base class of layers that normalise channels and may keep running statistics.

    Attributes:
        running_mean: [C], or None.
        running_var: [C], or None.
        num_batches_tracked: How many batches have entered them, or None.
    """

    axes: tuple[int, ...]
    layout: str
    family: str
    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _set_up(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        *,
        bias: bool,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        name = type(self).__name__
        self.num_features = arguments.integer(name, "num_features", num_features)
        self.eps = arguments.number(name, "eps", eps, low=0.0)
        if momentum is not None:
            momentum = arguments.number(name, "momentum", momentum, low=0.0, high=1.0)
        self.momentum = momentum
        self.affine = arguments.flag(name, "affine", affine)
        self.track_running_stats = arguments.flag(name, "track_running_stats", track_running_stats)
        arguments.flag(name, "bias", bias)
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        shape = (self.num_features,)
        self._make_affine(shape, wanted, scale=affine, bias=affine and bias)
        kept = track_running_stats
        self.register_buffer("running_mean", call("zeros", shape, dtype=wanted) if kept else None)
        self.register_buffer("running_var", call("ones", shape, dtype=wanted) if kept else None)
        count = call("zeros", (), dtype="int64") if kept else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        with no_grad():
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.fill_(0.0)
                self.running_var.fill_(1.0)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.fill_(0)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.axes:
            name = type(self).__name__
            other = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}.get(input.ndim)
            channels = input.shape[1] if input.ndim > 1 else self.num_features
            raise ShapeError(
                f"{name}: input {input.spec} has {input.ndim} axes, expected {self.layout}",
                hint=f"nn.{self.family}{other}({channels})"
                if other
                else "add a batch axis: x[None]",
            )

    def scope_title(self) -> str:
        """Return ``BatchNorm2d 16``."""
        return f"{type(self).__name__} {self.num_features}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm(ChannelNorm):
    """Batch normalisation (Ioffe & Szegedy 2015): the base class of `BatchNorm1d`, `2d`, `3d`.

    In training each channel is normalised by mean and variance of the batch, and running means of
    both are kept; in use (`Module.eval`) by those.

    Args:
        num_features: C, the number of channels.
        eps: Added to the variance.
        momentum: Share of the new value in the running ones; None: the plain mean of all so far.
        affine: Whether scale and shift are learned.
        track_running_stats: Whether running statistics are kept; if not, the batch's are used
            always.
        bias: Whether there is a shift (with ``affine``).
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        running_mean: [C], or None.
        running_var: [C], or None.
        num_batches_tracked: How many batches have entered them, or None.

    Raises:
        ArgumentError: ``num_features`` is no positive integer, or a number is out of range.
    """

    family = "BatchNorm"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        sizes = (num_features, eps, momentum, affine, track_running_stats)
        self._set_up(*sizes, bias=bias, dtype=dtype, device=device)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input [N, C, *S]."""
        self._check(input)
        tracked = self.num_batches_tracked if self.training else None
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.momentum is None and tracked is not None:
            count = tracked + 1
            momentum = 1.0 / (count.float() if is_traced(tracked) else int(count.item()))
        result = batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )
        if tracked is not None:
            # Counted last, so that a batch which was refused does not count.
            tracked.add_(1)
        return result


class BatchNorm1d(BatchNorm):
    """Batch normalisation of features [N, C] or sequences [N, C, L]; see `BatchNorm`."""

    axes = (2, 3)
    layout = "[N, C] or [N, C, L]"


class BatchNorm2d(BatchNorm):
    """Batch normalisation of images [N, C, H, W]; see `BatchNorm`."""

    axes = (4,)
    layout = "[N, C, H, W]"


class BatchNorm3d(BatchNorm):
    """Batch normalisation of volumes [N, C, D, H, W]; see `BatchNorm`."""

    axes = (5,)
    layout = "[N, C, D, H, W]"


class LayerNorm(Norm):
    """Layer normalisation: each example by itself, over its last axes (Ba et al. 2016).

    Args:
        normalized_shape: Sizes of the last axes that are normalised together, or one size.
        eps: Added to the variance.
        elementwise_affine: Whether scale and shift are learned.
        bias: Whether there is a shift.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Raises:
        ArgumentError: A size is no positive integer.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        count = max(1, len(normalized_shape)) if isinstance(normalized_shape, Sequence) else 1
        self.normalized_shape = arguments.sizes(
            "LayerNorm", "normalized_shape", normalized_shape, count
        )
        self.eps = arguments.number("LayerNorm", "eps", eps, low=0.0)
        self.elementwise_affine = arguments.flag(
            "LayerNorm", "elementwise_affine", elementwise_affine
        )
        arguments.flag("LayerNorm", "bias", bias)
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        affine = elementwise_affine
        self._make_affine(self.normalized_shape, wanted, scale=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def scope_title(self) -> str:
        """Return ``LayerNorm 16``."""
        return f"LayerNorm {', '.join(map(str, self.normalized_shape))}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
