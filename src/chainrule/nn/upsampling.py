"""Upsampling layers: images, sequences and volumes of another size, without weights.

Takes: [N, C, *S]. Gives: [N, C, *S'].
The one idea: enlarging first and convolving afterwards leaves no chequerboard.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.ops.resampling import MODES, interpolate

Factor = float | Sequence[float]
OutputSize = int | Sequence[int]


class Upsample(Module):
    """Resample to a size or by a factor; the modes are those of `functional.interpolate`.

    Args:
        size: Output sizes, or one for all axes.
        scale_factor: Instead: output size / input size, or one factor for each axis.
        mode: ``nearest``, ``nearest-exact``, ``linear``, ``bilinear``, ``bicubic``,
            ``trilinear`` or ``area``.
        align_corners: Lay the corner elements of both on each other.
        recompute_scale_factor: Work with the ratio of the sizes instead of ``scale_factor``.

    Raises:
        ArgumentError: The mode is unknown, size and scale_factor are both or neither given, or
            one is not positive.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.Upsample(scale_factor=2)(chainrule.zeros((1, 3, 4, 5))).shape
        (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: OutputSize | None = None,
        scale_factor: Factor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (size is None) == (scale_factor is None):
            both = "neither" if size is None else "both"
            raise ArgumentError(
                f"{name}: {both} of size and scale_factor given, expected one",
                hint=f"nn.{name}(scale_factor=2)",
            )
        self.size = size
        if isinstance(size, list | tuple):
            self.size = arguments.sizes(name, "size", size, len(size))
        elif size is not None:
            self.size = arguments.integer(name, "size", size)
        if isinstance(scale_factor, list | tuple):
            scale_factor = tuple(
                arguments.positive(name, "scale_factor", factor) for factor in scale_factor
            )
        elif scale_factor is not None:
            scale_factor = arguments.positive(name, "scale_factor", scale_factor)
        self.scale_factor = scale_factor
        if mode not in MODES:
            raise unknown_word(f"{name} mode", mode, tuple(MODES))
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return [N, C, *S] resampled."""
        return interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        given = f"size={self.size}"
        if self.scale_factor is not None:
            given = f"scale_factor={self.scale_factor}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resample images [N, C, H, W] by the nearest pixel; see `Upsample`."""

    def __init__(self, size: OutputSize | None = None, scale_factor: Factor | None = None) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Resample images [N, C, H, W] bilinearly, corners on corners; see `Upsample`."""

    def __init__(self, size: OutputSize | None = None, scale_factor: Factor | None = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)
