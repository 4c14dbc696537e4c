"""References for normalisation by groups, resampling, shuffling, pooling, embedding bags.

PyTorch throughout; where it has no function, its formula in PyTorch's operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # every test that uses a reference is skipped then
    torch = None

Size = tuple[int, ...]
Tensor = Any


def group_norm(
    x: Tensor, weight: Tensor = None, bias: Tensor = None, *, num_groups: int, eps: float = 1e-5
) -> Tensor:
    if x.isfinite().all():
        return F.group_norm(x, num_groups, weight, bias, eps)
    # PyTorch computes a x + b instead of a (x - mean) + bias: which elements become NaN differs.
    split = x.reshape(x.shape[0], num_groups, -1)
    centred = split - split.mean(-1, keepdim=True)
    result = (centred * (centred.square().mean(-1, keepdim=True) + eps).rsqrt()).reshape(x.shape)
    return per_channel(result, weight, bias)


def per_channel(x: Tensor, weight: Tensor = None, bias: Tensor = None) -> Tensor:
    shape = (-1, *(1,) * (x.ndim - 2))
    x = x if weight is None else x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


def instance_norm(
    x: Tensor,
    mean: Tensor = None,
    var: Tensor = None,
    weight: Tensor = None,
    bias: Tensor = None,
    *,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    if use_input_stats:
        if x.isfinite().all() and x.numel():
            return F.instance_norm(x, None, None, weight, bias, True, 0.1, eps)
        axes = tuple(range(2, x.ndim))
        centred = x - x.mean(axes, keepdim=True)
        scaled = centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
        return per_channel(scaled, weight, bias)
    # PyTorch has no derivative with respect to the running statistics.
    shape = (-1, *(1,) * (x.ndim - 2))
    return per_channel((x - mean.view(shape)) * (var.view(shape) + eps).rsqrt(), weight, bias)


def local_response_norm(x: Tensor, **attrs: Any) -> Tensor:
    return F.local_response_norm(x, **attrs) if x.numel() else x


def rms_norm(
    x: Tensor, weight: Tensor = None, *, normalized_shape: Size, eps: float | None = None
) -> Tensor:
    return F.rms_norm(x, normalized_shape, weight, eps)


def resampled(
    x: Tensor, index: Tensor, weights: Tensor, *, axis: int, grid: Any, transposed: bool = False
) -> Tensor:
    """Return the product with the matrix that the table stands for."""
    taken = x.index_select(axis, index.reshape(-1)).unflatten(axis, tuple(index.shape))
    shape = (*index.shape, *(1,) * (x.ndim - axis - 1))
    return (taken * weights.view(shape)).sum(axis + 1)


def largest_of_segments(x: Tensor, segment: Tensor, *, count: int) -> Tensor:
    result = torch.full((count, x.shape[1]), -1)
    for row in range(count):
        members = (segment == row).nonzero()[:, 0]
        if len(members):
            result[row] = members[x[members].argmax(0)]
    return result


def embedding_bag(
    weight: Tensor, factors: Tensor = None, *, indices: Any, offsets: Any = None, **attrs: Any
) -> Tensor:
    index = torch.tensor(indices, dtype=torch.int64)
    starts = None if offsets is None else torch.tensor(offsets)
    if attrs.get("mode") == "max" and not weight.isfinite().all():
        bags = index.tensor_split(starts[1:]) if offsets is not None else list(index)
        rows = [weight[bag].amax(0) if len(bag) else weight[0] * 0 for bag in bags]
        return torch.stack(
            [row if len(b) else torch.zeros_like(row) for row, b in zip(rows, bags, strict=True)]
        )
    return F.embedding_bag(index, weight, starts, per_sample_weights=factors, **attrs)


def unpooled(axes: int) -> Callable[..., Tensor]:
    def reference(x: Tensor, index: Tensor, **attrs: Any) -> Tensor:
        return getattr(F, f"max_unpool{axes}d")(x, index, **attrs)

    return reference


def maxout(x: Tensor, *, num_pieces: int, dim: int = -1) -> Tensor:
    axis = dim % x.ndim
    return x.unflatten(axis, (x.shape[axis] // num_pieces, num_pieces)).amax(axis + 1)


def interpolate(x: Tensor, **attrs: Any) -> Tensor:
    if x.numel() == 0:
        return x.new_zeros(*x.shape[:2], attrs["size"])
    if not attrs.get("antialias") or x.isfinite().all():
        return F.interpolate(x, **attrs)
    # PyTorch also multiplies elements outside of the kernel, by 0, so that NaN reaches them.
    basis = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    shares = F.interpolate(basis, **attrs)
    parts = torch.where(shares == 0, 0.0, shares * x.reshape(-1, 1, 1, 1))
    return parts.sum(0, keepdim=True)


def shuffled(x: Tensor, *, upscale_factor: int) -> Tensor:
    if x.numel():
        return F.pixel_shuffle(x, upscale_factor)
    n, channels, height, width = x.shape
    r = upscale_factor
    return x.reshape(n, channels // r**2, height * r, width * r)


def unshuffled(x: Tensor, *, downscale_factor: int) -> Tensor:
    if x.numel():
        return F.pixel_unshuffle(x, downscale_factor)
    n, channels, height, width = x.shape
    r = downscale_factor
    return x.reshape(n, channels * r**2, height // r, width // r)


def plain(function: str) -> Callable[..., Tensor]:
    return lambda *xs, **attrs: getattr(F, function)(*xs, **attrs)


_PLAIN = (
    *("normalize", "channel_shuffle", "bilinear"),
    *("lp_pool1d", "lp_pool2d", "lp_pool3d", "adaptive_max_pool3d"),
)

REFERENCES: dict[str, Callable[..., Any]] = {
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "local_response_norm": local_response_norm,
    "rms_norm": rms_norm,
    "resample": resampled,
    "interpolate": interpolate,
    "pixel_shuffle": shuffled,
    "pixel_unshuffle": unshuffled,
    "maxout": maxout,
    "segment_argmax": largest_of_segments,
    "embedding_bag": embedding_bag,
    **{f"max_unpool{axes}d": unpooled(axes) for axes in (1, 2, 3)},
    **{name: plain(name) for name in _PLAIN},
}
