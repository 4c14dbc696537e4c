"""Depthwise separable convolution: places first, channels afterwards.

Takes: [N, C, H, W]. Gives: [N, O, H', W'].
The one idea: a k x k convolution of every channel by itself and a 1 x 1 convolution over the
channels cost 1/O + 1/k² of the full convolution, and are nearly as good (Chollet 2017).
"""

from __future__ import annotations

from chainrule.core.dtype import DTypeLike
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.arguments import Size
from chainrule.nn.convolution import Conv2d, PaddingMode, PaddingWord
from chainrule.nn.init import Nonlinearity
from chainrule.nn.module import Module


class SeparableConv2d(Module):
    """A convolution of each channel by itself, then one of 1 x 1 over all channels.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: Size of the depthwise kernels; one number or two, as all below.
        stride: Step of the kernels.
        padding: Elements added on every side; ``"same"``: as many as keep the size.
        dilation: Distance of neighbouring kernel elements.
        depth_multiplier: How many kernels each channel has.
        bias: Whether the second convolution adds a number an output channel; the first has none.
        padding_mode: What is added: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        nonlinearity: The activation that follows, for the first weights; see `WeightLayer`.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        depthwise: The first convolution, weight [C depth_multiplier, 1, *kernel_size].
        pointwise: The second, weight [O, C depth_multiplier, 1, 1].

    Raises:
        ArgumentError: A size is no positive integer.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> layer = nn.SeparableConv2d(16, 32, 3, padding=1)
        >>> sum(p.numel() for p in layer.parameters())  # a Conv2d has 4640
        688
        >>> layer(chainrule.zeros((1, 16, 8, 8))).shape
        (1, 32, 8, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | PaddingWord = 0,
        dilation: Size = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        nonlinearity: Nonlinearity | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        name = "SeparableConv2d"
        channels = arguments.integer(name, "in_channels", in_channels)
        middle = channels * arguments.integer(name, "depth_multiplier", depth_multiplier)
        self.depthwise = Conv2d(
            channels,
            middle,
            kernel_size,
            stride,
            padding,
            dilation,
            groups=channels,
            bias=False,
            padding_mode=padding_mode,
            nonlinearity="linear",
            dtype=dtype,
            device=device,
        )
        self.pointwise = Conv2d(
            *(middle, out_channels, 1),
            bias=bias,
            nonlinearity=nonlinearity,
            dtype=dtype,
            device=device,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of [N, C, H, W]."""
        result: Tensor = self.pointwise(self.depthwise(input))
        return result

    def prepare_for(self, nonlinearity: Nonlinearity, slope: float = 0.0) -> None:
        """Scale freshly drawn weights for the activation that follows; see `WeightLayer`."""
        self.pointwise.prepare_for(nonlinearity, slope)
