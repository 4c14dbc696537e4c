"""Shuffling: channels become pixels, pixels become channels, channels change places.

Takes: inputs [..., C, H, W] or [N, C, ...]. Gives: the same elements in another order.
The one idea: each is a reshape, a permutation of axes and a reshape back.
"""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.core.errors import ArgumentError
from chainrule.core.shape import expect
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def _shuffle_samples() -> Iterable[Sample]:
    return (
        sample((1, 8, 2, 3), upscale_factor=2),
        sample((9, 1, 2), upscale_factor=3, name="one image"),
        sample((0, 4, 2, 2), upscale_factor=2, name="no examples"),
    )


@composite(_shuffle_samples)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Return r² channels of small images as one channel of an image r times as large.

    out[c, h r + i, w r + j] = in[c r² + i r + j, h, w]. After a convolution it enlarges images
    without the chequerboard that a transposed convolution can leave.

    Args:
        input: [..., C r², H, W].
        upscale_factor: r.

    Returns:
        [..., C, H r, W r].

    Raises:
        ArgumentError: r is below 1.
        ShapeError: The channels are no multiple of r².

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.pixel_shuffle(chainrule.arange(4).reshape(4, 1, 1), 2).tolist()
        [[[0, 1], [2, 3]]]

    Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network".
    """
    r = _factor("pixel_shuffle", "upscale_factor", upscale_factor)
    _expect_image("pixel_shuffle", input)
    *lead, channels, height, width = input.shape
    expect(
        channels % (r * r) == 0,
        "pixel_shuffle: the {} channels of input {} are no multiple of upscale_factor² = {}",
        *(channels, input.spec, r * r),
    )
    n, out = len(lead), channels // (r * r)
    split = input.reshape(*lead, out, r, r, height, width)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return split.permute(*order).reshape(*lead, out, height * r, width * r)


def _unshuffle_samples() -> Iterable[Sample]:
    return (
        sample((1, 2, 4, 6), downscale_factor=2),
        sample((1, 3, 6), downscale_factor=3, name="one image"),
        sample((0, 1, 2, 2), downscale_factor=2, name="no examples"),
    )


@composite(_unshuffle_samples)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Return blocks of r x r pixels as r² channels: what undoes `pixel_shuffle`.

    Args:
        input: [..., C, H r, W r].
        downscale_factor: r.

    Returns:
        [..., C r², H, W].

    Raises:
        ArgumentError: r is below 1.
        ShapeError: Height or width is no multiple of r.
    """
    r = _factor("pixel_unshuffle", "downscale_factor", downscale_factor)
    _expect_image("pixel_unshuffle", input)
    *lead, channels, height, width = input.shape
    expect(
        height % r == 0 and width % r == 0,
        "pixel_unshuffle: the {} x {} pixels of input {} do not split into blocks of {} x {}",
        *(height, width, input.spec, r, r),
    )
    n = len(lead)
    split = input.reshape(*lead, channels, height // r, r, width // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return split.permute(*order).reshape(*lead, channels * r * r, height // r, width // r)


def _channel_samples() -> Iterable[Sample]:
    return (
        sample((2, 6, 2), groups=3),
        sample((1, 4, 1, 2), groups=2, name="images"),
        sample((0, 4, 3), groups=2, name="no examples"),
    )


@composite(_channel_samples)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Return channels in an order in which neighbours come from different groups.

    Between two convolutions with groups it lets all see all (ShuffleNet).

    Args:
        input: [N, C, ...].
        groups: G; channel g C/G + k comes to the place k G + g.

    Returns:
        The input's shape.

    Raises:
        ArgumentError: ``groups`` is below 1.
        ShapeError: The channels do not split into so many groups.

    Source: Zhang et al. 2018, "ShuffleNet".
    """
    count = _factor("channel_shuffle", "groups", groups)
    expect_tensor("channel_shuffle", "input", input)
    expect(
        input.ndim >= 3 and input.shape[1] % count == 0,
        "channel_shuffle: input {} must have the axes [N, C, ...] with C a multiple of {} groups",
        *(input.spec, count),
    )
    shape = input.shape
    split = input.reshape(shape[0], count, shape[1] // count, *shape[2:])
    return split.permute(0, 2, 1, *range(3, split.ndim)).reshape(shape)


def _factor(op: str, name: str, value: int) -> int:
    if not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{op}: {name}={value!r}, expected an integer from 1 on")
    return value


def _expect_image(op: str, x: Tensor) -> None:
    expect_tensor(op, "input", x)
    expect(x.ndim >= 3, "{}: input {} must have the axes [..., C, H, W]", op, x.spec)
