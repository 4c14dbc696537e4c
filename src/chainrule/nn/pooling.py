"""Pooling layers: one number from each small window.

Takes: [N, C, *S] (or one example [C, *S]). Gives: the same with smaller spatial axes.
The one idea: whether a feature is there matters more than where exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.core.shape import Shape
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.arguments import Size
from chainrule.nn.module import Module
from chainrule.ops.avgpool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from chainrule.ops.maxpool import max_pool1d, max_pool2d, max_pool3d

OutputSize = int | Sequence[int | None] | None


class Pool(Module):
    """Base class of layers without weights that make spatial axes smaller.

    Attributes:
        axes: Number of spatial axes.
    """

    axes: int


class MaxPool(Pool):
    """The largest element of each window: the base class of `MaxPool1d`, `2d` and `3d`.

    Args:
        kernel_size: Size of the window; one number, or one for each spatial axis, as all below.
        stride: Distance of neighbouring windows (default: the window's size).
        padding: Elements that never win, added on every side; at most half of the window.
        dilation: Distance of neighbouring elements of a window.
        return_indices: Whether the maxima's positions are returned too.
        ceil_mode: Whether windows may hang over the end.

    Raises:
        ArgumentError: A size is no positive integer, or the padding is too large.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self.axes
        self.kernel_size = arguments.sizes(name, "kernel_size", kernel_size, axes)
        given = self.kernel_size if stride is None else stride
        self.stride = arguments.sizes(name, "stride", given, axes)
        self.padding = _padding(name, padding, self.kernel_size)
        self.dilation = arguments.sizes(name, "dilation", dilation, axes)
        self.return_indices = arguments.flag(name, "return_indices", return_indices)
        self.ceil_mode = arguments.flag(name, "ceil_mode", ceil_mode)

    def forward(self, input: Tensor) -> Any:
        """Return the maxima of [N, C, *S]; with ``return_indices`` a pair."""
        function: Any = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}[self.axes]
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation)
        return function(input, *sizes, self.ceil_mode, return_indices=self.return_indices)

    def scope_title(self) -> str:
        """Return ``MaxPool2d 2x2``."""
        return f"{type(self).__name__} {arguments.times(self.kernel_size)}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"kernel_size={_brief(self.kernel_size)}, stride={_brief(self.stride)}, "
            f"padding={_brief(self.padding)}, dilation={_brief(self.dilation)}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """The largest element of each window of sequences [N, C, L]; see `MaxPool`."""

    axes = 1


class MaxPool2d(MaxPool):
    """The largest element of each window of images [N, C, H, W]; see `MaxPool`."""

    axes = 2


class MaxPool3d(MaxPool):
    """The largest element of each window of volumes [N, C, D, H, W]; see `MaxPool`."""

    axes = 3


class AvgPool(Pool):
    """The mean of each window: the base class of `AvgPool1d`, `2d` and `3d`.

    Args:
        kernel_size: Size of the window; one number, or one for each spatial axis, as all below.
        stride: Distance of neighbouring windows (default: the window's size).
        padding: Zeros added on every side; at most half of the window.
        ceil_mode: Whether windows may hang over the end.
        count_include_pad: Whether the zeros count in the mean.
        divisor_override: What sums are divided by in place of their number (not in 1d).

    Raises:
        ArgumentError: A size is no positive integer, or the padding is too large.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self.axes
        self.kernel_size = arguments.sizes(name, "kernel_size", kernel_size, axes)
        given = self.kernel_size if stride is None else stride
        self.stride = arguments.sizes(name, "stride", given, axes)
        self.padding = _padding(name, padding, self.kernel_size)
        self.ceil_mode = arguments.flag(name, "ceil_mode", ceil_mode)
        self.count_include_pad = arguments.flag(name, "count_include_pad", count_include_pad)
        if divisor_override is not None:
            divisor_override = arguments.integer(name, "divisor_override", divisor_override)
            if axes == 1:
                raise ArgumentError(f"{name}: divisor_override exists for 2d and 3d only")
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Return the means of [N, C, *S]."""
        rest = (self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        if self.axes == 1:
            return avg_pool1d(input, self.kernel_size, *rest)
        function = avg_pool2d if self.axes == 2 else avg_pool3d
        return function(input, self.kernel_size, *rest, self.divisor_override)

    def scope_title(self) -> str:
        """Return ``AvgPool2d 2x2``."""
        return f"{type(self).__name__} {arguments.times(self.kernel_size)}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        # PyTorch writes tuples in one dimension and single numbers in the others.
        show = str if self.axes == 1 else _brief
        return (
            f"kernel_size={show(self.kernel_size)}, stride={show(self.stride)}, "
            f"padding={show(self.padding)}"
        )


class AvgPool1d(AvgPool):
    """The mean of each window of sequences [N, C, L]; see `AvgPool`."""

    axes = 1


class AvgPool2d(AvgPool):
    """The mean of each window of images [N, C, H, W]; see `AvgPool`."""

    axes = 2


class AvgPool3d(AvgPool):
    """The mean of each window of volumes [N, C, D, H, W]; see `AvgPool`."""

    axes = 3


class AdaptivePool(Pool):
    """Windows laid out so as to give a chosen size: the base class of the adaptive layers.

    Args:
        output_size: The size of the output; one number, or one for each spatial axis (None
            keeps a size). 1 gives one number a channel: global pooling.

    Raises:
        ArgumentError: A size is no positive integer.
    """

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        name = type(self).__name__
        many = isinstance(output_size, list | tuple)
        given = output_size if isinstance(output_size, list | tuple) else [output_size]
        if many and len(given) != self.axes:
            raise ArgumentError(
                f"{name}: output_size is {tuple(given)}, expected one size or {self.axes} of them"
            )
        checked = (
            None if size is None else arguments.integer(name, "output_size", size) for size in given
        )
        self.output_size = tuple(checked) * (1 if many else self.axes)

    def extra_repr(self) -> str:
        """Return the output size."""
        return f"output_size={_brief(self.output_size)}"


class AdaptiveAvgPool1d(AdaptivePool):
    """Means over windows that give a chosen length; see `AdaptivePool`."""

    axes = 1

    def forward(self, input: Tensor) -> Tensor:
        """Return the means of [N, C, L]."""
        return adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(AdaptivePool):
    """Means over windows that give a chosen image size; see `AdaptivePool`."""

    axes = 2

    def forward(self, input: Tensor) -> Tensor:
        """Return the means of [N, C, H, W]."""
        return adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(AdaptivePool):
    """Means over windows that give a chosen volume size; see `AdaptivePool`."""

    axes = 3

    def forward(self, input: Tensor) -> Tensor:
        """Return the means of [N, C, D, H, W]."""
        return adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(AdaptivePool):
    """Maxima over windows that give a chosen length; see `AdaptivePool`."""

    axes = 1

    def forward(self, input: Tensor) -> Tensor:
        """Return the maxima of [N, C, L]."""
        return adaptive_max_pool1d(input, self.output_size)


class AdaptiveMaxPool2d(AdaptivePool):
    """Maxima over windows that give a chosen image size; see `AdaptivePool`."""

    axes = 2

    def forward(self, input: Tensor) -> Tensor:
        """Return the maxima of [N, C, H, W]."""
        return adaptive_max_pool2d(input, self.output_size)


class AdaptiveMaxPool3d(AdaptivePool):
    """Maxima over windows that give a chosen volume size; see `AdaptivePool`."""

    axes = 3

    def forward(self, input: Tensor) -> Tensor:
        """Return the maxima of [N, C, D, H, W]."""
        return adaptive_max_pool3d(input, self.output_size)


def _padding(name: str, padding: Size, kernel: Shape) -> Shape:
    sides = arguments.sizes(name, "padding", padding, len(kernel), least=0)
    if any(2 * side > k for side, k in zip(sides, kernel, strict=True)):
        raise ArgumentError(
            f"{name}: padding is {_brief(sides)}, expected at most half of the window "
            f"{_brief(kernel)}, so that every window holds an element"
        )
    return sides


def _brief(values: tuple[int | None, ...]) -> Any:
    """Return one number where all are the same, as they are usually written."""
    return values[0] if len(set(values)) == 1 else values
