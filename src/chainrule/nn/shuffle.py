"""Layers that give channels and pixels another order.

Takes: [..., C, H, W]. Gives: the same elements in another order.
The one idea: resolution can be traded for channels and back without losing anything.
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.ops.shuffling import channel_shuffle, pixel_shuffle, pixel_unshuffle


class PixelShuffle(Module):
    """Make r² channels one channel of an image r times as large (Shi et al. 2016).

    Args:
        upscale_factor: r.

    Raises:
        ArgumentError: r is no positive integer.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.PixelShuffle(2)(chainrule.zeros((1, 8, 3, 3))).shape
        (1, 2, 6, 6)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = arguments.integer("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """Return [..., C, H r, W r] for [..., C r², H, W]."""
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Make blocks of r x r pixels r² channels: what undoes `PixelShuffle`.

    Args:
        downscale_factor: r.

    Raises:
        ArgumentError: r is no positive integer.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = arguments.integer(
            "PixelUnshuffle", "downscale_factor", downscale_factor
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return [..., C r², H, W] for [..., C, H r, W r]."""
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Give channels an order in which neighbours come from different groups (ShuffleNet).

    Args:
        groups: Into how many groups of neighbours the channels are split.

    Raises:
        ArgumentError: ``groups`` is no positive integer.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = arguments.integer("ChannelShuffle", "groups", groups)

    def forward(self, input: Tensor) -> Tensor:
        """Return [N, C, *S] with its channels shuffled."""
        return channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the argument."""
        return f"groups={self.groups}"
