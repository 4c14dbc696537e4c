"""Power pooling, the way back from maximum pooling, and windows as columns.

Takes: [N, C, *S] or [C, *S]. Gives: [N, C, *S'].
The one idea: each layer is its function with the arguments kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.arguments import Size
from chainrule.nn.module import Module
from chainrule.nn.pooling import Pool
from chainrule.ops.unpooling import (
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from chainrule.ops.windows import fold, unfold


class LPPool(Pool):
    """(Σ x^p)^(1/p) over windows: the base class of `LPPool1d`, `2d` and `3d`.

    Args:
        norm_type: p, not 0: 1 gives sums, a large one nearly maxima.
        kernel_size: Size of the window; one number, or one for each spatial axis, as all below.
        stride: Distance of neighbouring windows (default: the window's size).
        ceil_mode: Whether windows may hang over the end.

    Raises:
        ArgumentError: p is 0, or a size is no positive integer.
    """

    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if arguments.number(name, "norm_type", norm_type) == 0.0:
            raise ArgumentError(f"{name}: norm_type is 0, expected another number")
        self.norm_type = norm_type
        arguments.sizes(name, "kernel_size", kernel_size, self.axes)
        if stride is not None:
            arguments.sizes(name, "stride", stride, self.axes)
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = arguments.flag(name, "ceil_mode", ceil_mode)

    def forward(self, input: Tensor) -> Tensor:
        """Return the power sums of [N, C, *S]."""
        function: Any = {1: lp_pool1d, 2: lp_pool2d, 3: lp_pool3d}[self.axes]
        result: Tensor = function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )
        return result

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(LPPool):
    """Power sums over windows of sequences [N, C, L]; see `LPPool`."""

    axes = 1


class LPPool2d(LPPool):
    """Power sums over windows of images [N, C, H, W]; see `LPPool`."""

    axes = 2


class LPPool3d(LPPool):
    """Power sums over windows of volumes [N, C, D, H, W]; see `LPPool`."""

    axes = 3


class MaxUnpool(Pool):
    """Maxima put back where they lay: the base class of `MaxUnpool1d`, `2d` and `3d`.

    Args:
        kernel_size: Size of the pooling's window; one number, or one for each spatial axis.
        stride: Its stride (default: the window's size).
        padding: Its padding.

    Raises:
        ArgumentError: A size is no positive integer.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> pooled, indices = nn.MaxPool2d(2, return_indices=True)(chainrule.ones((1, 1, 4, 4)))
        >>> nn.MaxUnpool2d(2)(pooled, indices).shape
        (1, 1, 4, 4)
    """

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__()
        name, axes = type(self).__name__, self.axes
        self.kernel_size = arguments.sizes(name, "kernel_size", kernel_size, axes)
        given = self.kernel_size if stride is None else stride
        self.stride = arguments.sizes(name, "stride", given, axes)
        self.padding = arguments.sizes(name, "padding", padding, axes, least=0)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        """Return [N, C, *S'] with the input's elements at their indices and zeros elsewhere."""
        function: Any = {1: max_unpool1d, 2: max_unpool2d, 3: max_unpool3d}[self.axes]
        sizes = (self.kernel_size, self.stride, self.padding)
        result: Tensor = function(input, indices, *sizes, output_size)
        return result

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(MaxUnpool):
    """Maxima of sequences put back where they lay; see `MaxUnpool`."""

    axes = 1


class MaxUnpool2d(MaxUnpool):
    """Maxima of images put back where they lay; see `MaxUnpool`."""

    axes = 2


class MaxUnpool3d(MaxUnpool):
    """Maxima of volumes put back where they lay; see `MaxUnpool`."""

    axes = 3


class Unfold(Module):
    """The windows of images [N, C, H, W] as columns [N, C kh kw, number of windows].

    Args:
        kernel_size: Height and width of a window; one number or two, as all below.
        dilation: Distance of neighbouring elements of a window.
        padding: Zeros on every side.
        stride: Distance of neighbouring windows.

    Raises:
        ArgumentError: A size is no positive integer.
    """

    def __init__(
        self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        super().__init__()
        _check_window(type(self).__name__, kernel_size, dilation, padding, stride)
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the columns."""
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Columns added up to images where windows overlap: the transpose of `Unfold`.

    Args:
        output_size: Height and width of the images.
        kernel_size: Height and width of a window; one number or two, as all below.
        dilation: Distance of neighbouring elements of a window.
        padding: Rows and columns round the images that are dropped.
        stride: Distance of neighbouring windows.

    Raises:
        ArgumentError: A size is no positive integer.
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Size = 0,
        stride: Size = 1,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        arguments.sizes(name, "output_size", output_size, 2)
        _check_window(name, kernel_size, dilation, padding, stride)
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the images."""
        sizes = (self.kernel_size, self.dilation, self.padding, self.stride)
        return fold(input, self.output_size, *sizes)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


def _check_window(name: str, kernel: Size, dilation: Size, padding: Size, stride: Size) -> None:
    arguments.sizes(name, "kernel_size", kernel, 2)
    arguments.sizes(name, "dilation", dilation, 2)
    arguments.sizes(name, "padding", padding, 2, least=0)
    arguments.sizes(name, "stride", stride, 2)
