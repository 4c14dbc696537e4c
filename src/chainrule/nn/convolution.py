"""Convolutional layers in one, two and three dimensions, and their transposes.

Takes: [N, C, *S] (or one example [C, *S]). Gives: [N, O, *S'].
The one idea: one small set of weights is used at every place, so what is learned in one corner
holds in all (LeCun et al. 1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.core.shape import Shape
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.arguments import Size
from chainrule.nn.init import Nonlinearity
from chainrule.nn.padding import pad
from chainrule.nn.weight import WeightLayer
from chainrule.ops.convnd import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
PaddingWord = Literal["same", "valid"]
_MODES = ("zeros", "reflect", "replicate", "circular")
_CONV = {1: conv1d, 2: conv2d, 3: conv3d}
_TRANSPOSED = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}


class _ConvBase(WeightLayer):
    """What convolutions and their transposes share: arguments and their texts."""

    _axes: int
    in_channels: int
    out_channels: int
    kernel_size: Shape
    stride: Shape
    padding: Shape | PaddingWord
    dilation: Shape
    groups: int
    padding_mode: PaddingMode

    def _set_sizes(
        self, channels: tuple[int, int], kernel: Size, stride: Size, dilation: Size, groups: int
    ) -> None:
        name, axes = type(self).__name__, self._axes
        self.in_channels = arguments.integer(name, "in_channels", channels[0])
        self.out_channels = arguments.integer(name, "out_channels", channels[1])
        self.kernel_size = arguments.sizes(name, "kernel_size", kernel, axes)
        self.stride = arguments.sizes(name, "stride", stride, axes)
        self.dilation = arguments.sizes(name, "dilation", dilation, axes)
        self.groups = arguments.integer(name, "groups", groups)
        arguments.divides(name, self.groups, self.in_channels, "in_channels")
        arguments.divides(name, self.groups, self.out_channels, "out_channels")

    def scope_title(self) -> str:
        """Return ``Conv2d 3 -> 16, 5x5, stride 2``."""
        title = f"{type(self).__name__} {self.in_channels} -> {self.out_channels}"
        title += ", " + arguments.times(self.kernel_size)
        if max(self.stride) > 1:
            title += f", stride {arguments.times(self.stride)}"
        return title

    def extra_repr(self) -> str:
        """Return the arguments, leaving out those that have their default."""
        ones = (1,) * self._axes
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        if self.padding != (0,) * self._axes:
            parts.append(f"padding={self.padding}")
        if self.dilation != ones:
            parts.append(f"dilation={self.dilation}")
        parts += self._extra_parts()
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def _extra_parts(self) -> list[str]:
        return []


class Conv(_ConvBase):
    """A convolution: the base class of `Conv1d`, `Conv2d` and `Conv3d`.

    Args:
        in_channels: C.
        out_channels: O, the number of kernels.
        kernel_size: Size of a kernel; one number, or one for each spatial axis, as all below.
        stride: Step of the kernel.
        padding: Elements added on every side; ``"same"``: as many as keep the size;
            ``"valid"``: none.
        dilation: Distance of neighbouring kernel elements.
        groups: Number of independent parts that channels are split into.
        bias: Whether a number a kernel is added.
        padding_mode: What is added: ``zeros``, or the image ``reflect``-ed, its edge
            ``replicate``-d, or itself again (``circular``).
        nonlinearity: The activation that follows, for the first weights; see `WeightLayer`.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        weight: [O, C/groups, *kernel_size].
        bias: [O], or None.

    Raises:
        ArgumentError: A size is no positive integer, or groups do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | PaddingWord = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        nonlinearity: Nonlinearity | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self._set_sizes((in_channels, out_channels), kernel_size, stride, dilation, groups)
        if padding_mode not in _MODES:
            raise unknown_word(f"{name} padding_mode", padding_mode, _MODES)
        self.padding_mode = padding_mode
        self.padding = self._padding(padding)
        per_group = self.in_channels // self.groups
        receptive = math.prod(self.kernel_size)
        self._make_parameters(
            (self.out_channels, per_group, *self.kernel_size),
            self.out_channels,
            (per_group * receptive, self.out_channels // self.groups * receptive),
            bias=arguments.flag(name, "bias", bias),
            nonlinearity=nonlinearity,
            dtype=dtype,
            device=device,
        )

    def _padding(self, padding: Size | PaddingWord) -> Shape | PaddingWord:
        name = type(self).__name__
        if not isinstance(padding, str):
            return arguments.sizes(name, "padding", padding, self._axes, least=0)
        if padding not in ("same", "valid"):
            raise unknown_word(f"{name} padding", padding, ("same", "valid"))
        if padding == "same" and max(self.stride) > 1:
            raise ArgumentError(
                f"{name}: padding='same' keeps the size, so stride must be 1, got {self.stride}",
                hint=f"padding={self.kernel_size[0] // 2}, stride={self.stride[0]}",
            )
        return padding

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of [N, C, *S]."""
        padding: Shape | PaddingWord = self.padding
        if self.padding_mode != "zeros":
            input = pad(input, self._sides(), self.padding_mode)
            padding = (0,) * self._axes
        convolve = _CONV[self._axes]
        return convolve(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _sides(self) -> list[int]:
        """Return the padding as `pad` takes it: both ends of each axis, the last axis first."""
        if isinstance(self.padding, str):
            same = self.padding == "same"
            totals = [
                d * (k - 1) * same for k, d in zip(self.kernel_size, self.dilation, strict=True)
            ]
        else:
            totals = [2 * p for p in self.padding]
        return [side for total in reversed(totals) for side in (total // 2, total - total // 2)]


class Conv1d(Conv):
    """A convolution over sequences [N, C, L]; for the arguments see `Conv`."""

    _axes = 1


class Conv2d(Conv):
    """A convolution over images [N, C, H, W]; for the arguments see `Conv`."""

    _axes = 2


class Conv3d(Conv):
    """A convolution over volumes [N, C, D, H, W]; for the arguments see `Conv`."""

    _axes = 3


class ConvTranspose(_ConvBase):
    """A transposed convolution: the base class of `ConvTranspose1d`, `2d` and `3d`.

    It does what a convolution does to gradients of its input. With a stride it makes images
    larger, as decoders and generators do.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: Size of a kernel; one number, or one for each spatial axis, as all below.
        stride: Distance at which input elements are laid out in the output.
        padding: Elements cut off on every side.
        output_padding: Elements added at the end, fewer than stride or dilation.
        groups: Number of independent parts that channels are split into.
        bias: Whether a number an output channel is added.
        dilation: Distance of neighbouring kernel elements.
        nonlinearity: The activation that follows, for the first weights; see `WeightLayer`.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        weight: [C, O/groups, *kernel_size].
        bias: [O], or None.

    Raises:
        ArgumentError: A size is no positive integer, or groups do not divide the channels.
    """

    output_padding: Shape
    padding: Shape

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        nonlinearity: Nonlinearity | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self._axes
        self._set_sizes((in_channels, out_channels), kernel_size, stride, dilation, groups)
        self.padding_mode = "zeros"
        self.padding = arguments.sizes(name, "padding", padding, axes, least=0)
        self.output_padding = arguments.sizes(name, "output_padding", output_padding, axes, least=0)
        per_group = self.out_channels // self.groups
        receptive = math.prod(self.kernel_size)
        # An output sums over only those inputs that land on it: one in `stride` along each axis.
        landing = receptive / math.prod(self.stride)
        self._make_parameters(
            (self.in_channels, per_group, *self.kernel_size),
            self.out_channels,
            (self.in_channels // self.groups * landing, per_group * receptive),
            bias=arguments.flag(name, "bias", bias),
            nonlinearity=nonlinearity,
            dtype=dtype,
            device=device,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the transposed convolution of [N, C, *S].

        Args:
            input: [N, C, *S], or one example.
            output_size: The output's spatial sizes (a whole shape is accepted too): one of those
                that the stride leaves open; it takes the place of ``output_padding``.

        Raises:
            ArgumentError: No output has this size.
        """
        added = self.output_padding
        if output_size is not None:
            added = self._padding_for(input, tuple(output_size))
        rest = (self.stride, self.padding, added, self.groups, self.dilation)
        return _TRANSPOSED[self._axes](input, self.weight, self.bias, *rest)

    def _padding_for(self, input: Tensor, wanted: Shape) -> Shape:
        """Return the output padding that gives an output a size."""
        least = tuple(
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for size, stride, padding, dilation, kernel in zip(
                input.shape[-self._axes :],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        )
        size = wanted[-self._axes :] if len(wanted) in (self._axes, input.ndim) else ()
        added = tuple(w - low for w, low in zip(size, least, strict=False))
        fits = all(0 <= a < stride for a, stride in zip(added, self.stride, strict=False))
        if len(added) != self._axes or not fits:
            most = tuple(low + stride - 1 for low, stride in zip(least, self.stride, strict=True))
            raise ArgumentError(
                f"{type(self).__name__}: output_size is {wanted}, expected {self._axes} sizes "
                f"from {least} to {most} for input {input.spec}"
            )
        return added

    def _extra_parts(self) -> list[str]:
        if self.output_padding == (0,) * self._axes:
            return []
        return [f"output_padding={self.output_padding}"]


class ConvTranspose1d(ConvTranspose):
    """A transposed convolution of sequences [N, C, L]; for the arguments see `ConvTranspose`."""

    _axes = 1


class ConvTranspose2d(ConvTranspose):
    """A transposed convolution of images [N, C, H, W]; for the arguments see `ConvTranspose`."""

    _axes = 2


class ConvTranspose3d(ConvTranspose):
    """A transposed convolution of volumes [N, C, D, H, W]; see `ConvTranspose`."""

    _axes = 3
