"""References for products, convolution, windows, activations, losses, normalisation, attention.

PyTorch throughout. Primitives that PyTorch does not name are its functions' derivatives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # every test that uses a reference is skipped then
    torch = None

Size = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Tensor = Any


def surrounded(x: Tensor, padding: Pairs, value: float = 0.0) -> Tensor:
    """Return x [N, C, *S] with a margin of a constant, which may differ before and after."""
    return F.pad(x, [width for pair in reversed(padding) for width in pair], value=value)


def convolution(
    x: Tensor, w: Tensor, *, stride: Size, padding: Pairs, dilation: Size, groups: int
) -> Tensor:
    function = (F.conv1d, F.conv2d, F.conv3d)[w.ndim - 3]
    wide = surrounded(x, padding)
    return function(wide, w, stride=stride, dilation=dilation, groups=groups)


def transposed(function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Tensor:
    """Return the transpose of a linear function at g, for an input like x."""
    x.requires_grad_()
    result = torch.autograd.grad(function(x), x, g, create_graph=g.requires_grad)[0]
    return result if g.requires_grad else result.detach()


def input_gradient(g: Tensor, w: Tensor, *, size: Size, groups: int, **attrs: Any) -> Tensor:
    x = torch.zeros(g.shape[0], w.shape[1] * groups, *size, dtype=g.dtype)
    return transposed(lambda x: convolution(x, w, groups=groups, **attrs), x, g)


def weight_gradient(x: Tensor, g: Tensor, *, kernel: Size, groups: int, **attrs: Any) -> Tensor:
    w = torch.zeros(g.shape[1], x.shape[1] // groups, *kernel, dtype=g.dtype)
    return transposed(lambda w: convolution(x, w, groups=groups, **attrs), w, g)


def with_bias(function: str) -> Callable[..., Tensor]:
    def reference(x: Tensor, w: Tensor, b: Tensor = None, **attrs: Any) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch copies for padding="same" and says so
            return getattr(F, function)(x, w, b, **attrs)

    return reference


def windows(x: Tensor, *, kernel: Size, stride: Size, padding: Pairs, dilation: Size) -> Tensor:
    """Return [N, C, *out, *kernel]."""
    result = surrounded(x, padding)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), 2):
        result = result.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    return result


def added_up(g: Tensor, *, size: Size, **attrs: Any) -> Tensor:
    kernel = tuple(g.shape[2 + len(size) :])
    x = torch.zeros(*g.shape[:2], *size, dtype=g.dtype)
    return transposed(lambda x: windows(x, kernel=kernel, **attrs), x, g)


def flat_windows(x: Tensor, **attrs: Any) -> Tensor:
    return windows(x, **attrs).flatten(x.ndim)


def maximum(x: Tensor, *, padding: Pairs, kernel: Size, **attrs: Any) -> Tensor:
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    wide = surrounded(x, padding, -torch.inf)
    if wide.numel() == 0:
        return flat_windows(x, kernel=kernel, padding=padding, **attrs).sum(-1)
    return function(wide, kernel, **attrs)


def maximum_position(x: Tensor, *, padding: Pairs, **attrs: Any) -> Tensor:
    wide = surrounded(x, padding, -torch.inf)
    found = flat_windows(wide, padding=((0, 0),) * len(padding), **attrs).detach().numpy()
    return torch.as_tensor(found.argmax(-1).astype("uint8"))


def taken(x: Tensor, index: Tensor, **attrs: Any) -> Tensor:
    return flat_windows(x, **attrs).gather(-1, index[..., None])[..., 0]


def put_back(g: Tensor, index: Tensor, *, size: Size, **attrs: Any) -> Tensor:
    x = torch.zeros(*g.shape[:2], *size, dtype=g.dtype)
    return transposed(lambda x: taken(x, index, **attrs), x, g)


def pooled(function: str) -> Callable[..., Tensor]:
    return lambda x, **attrs: getattr(F, function)(x, **attrs)


def along(function: str) -> Callable[..., Tensor]:
    def reference(x: Tensor, *, axis: int | None = None, dim: int | None = None) -> Tensor:
        return getattr(F, function)(x, dim=axis if dim is None else dim)

    return reference


def class_loss(function: str) -> Callable[..., Tensor]:
    def reference(x: Tensor, t: Tensor, weight: Tensor = None, **attrs: Any) -> Tensor:
        if weight is None or not weight.requires_grad:
            return getattr(F, function)(x, t, weight, **attrs)
        # PyTorch has no derivative with respect to weights; it must have the same value.
        logarithms = F.log_softmax(x, 1) if function == "cross_entropy" else x
        result = weighted(logarithms, t, weight, **attrs)
        expected = getattr(F, function)(x, t, weight.detach(), **attrs)
        torch.testing.assert_close(result, expected)
        return result

    return reference


def weighted(
    x: Tensor, t: Tensor, weight: Tensor, *, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return the weighted loss of logarithms [N, C], by the formula of PyTorch's manual."""
    if t.is_floating_point():
        t = t * (1 - label_smoothing) + label_smoothing / x.shape[1]
        return -(t * weight * x).sum(1).mean()
    counted = t != -100
    picked = F.one_hot(t.clamp(min=0), x.shape[1]).to(x) * counted[:, None]
    even = torch.ones_like(x) / x.shape[1] * counted[:, None]
    mixed = picked * (1 - label_smoothing) + even * label_smoothing
    total = -(mixed * weight * x).sum()
    return total / (picked * weight).sum() if reduction == "mean" else total


def binary_loss(x: Tensor, t: Tensor, weight: Tensor = None, **attrs: Any) -> Tensor:
    if weight is None:
        return F.binary_cross_entropy_with_logits(x, t, **attrs)
    return F.binary_cross_entropy_with_logits(x, t, reduction="none") * weight


def batch_norm(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor = None, bias: Tensor = None, **attrs: Any
) -> Tensor:
    finite = all(bool(v.isfinite().all()) for v in (x, weight, bias) if v is not None)
    if attrs.get("training") and finite:
        running = mean.detach().clone(), var.detach().clone()
        return F.batch_norm(x, *running, weight, bias, **attrs)
    # PyTorch has no derivative with respect to the running statistics, and computes
    # a x + b instead of a (x - mean) + bias, which differs in what becomes NaN.
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if attrs.get("training"):
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes), x.var(axes, correction=0)
    scale = (var.view(shape) + attrs.get("eps", 1e-5)).rsqrt()
    scaled = (x - mean.view(shape)) * (scale if weight is None else scale * weight.view(shape))
    return scaled if bias is None else scaled + bias.view(shape)


def layer_norm(
    x: Tensor, weight: Tensor = None, bias: Tensor = None, *, normalized_shape: Size, **attrs: Any
) -> Tensor:
    return F.layer_norm(x, normalized_shape, weight, bias, **attrs)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor = None, *, is_causal: bool = False, **attrs: Any
) -> Tensor:
    if all(bool(x.isfinite().all()) for x in (q, k, v)):
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, **attrs)
    if attrs.get("enable_gqa"):
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    # PyTorch adds -inf where a query may not look, so that inf and NaN there reach it.
    scores = q @ k.mT * attrs.get("scale", q.shape[-1] ** -0.5)
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is not None and mask.dtype is torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    nothing = (scores == -torch.inf).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(nothing, 0) @ v


def embedding(weight: Tensor, *, indices: Any, padding_idx: int | None = None) -> Tensor:
    return F.embedding(torch.tensor(indices, dtype=torch.int64), weight, padding_idx)


_CONVOLUTIONS = (
    *("conv1d", "conv2d", "conv3d"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)
_POOLINGS = (
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "unfold", "fold"),
)

REFERENCES: dict[str, Callable[..., Any]] = {
    "matmul": lambda x, y: x @ y,
    "linear": lambda x, w, b=None: F.linear(x, w, b),
    "tensordot": lambda x, y, axes: torch.tensordot(x, y, axes),
    "outer": lambda x, y: torch.outer(x, y),
    "vecdot": lambda x, y, axis=-1: torch.linalg.vecdot(x, y, dim=axis),
    "einsum": lambda *xs, equation: torch.einsum(equation, *xs),
    "conv": convolution,
    "conv_input_grad": input_gradient,
    "conv_weight_grad": weight_gradient,
    "sliding_window": windows,
    "overlap_add": added_up,
    "window_sum": lambda x, **attrs: flat_windows(x, **attrs).sum(-1),
    "max_pool": maximum,
    "max_pool_index": maximum_position,
    "window_take": taken,
    "window_put": put_back,
    "softmax": along("softmax"),
    "log_softmax": along("log_softmax"),
    "mse_loss": lambda x, t, **attrs: F.mse_loss(x, t, **attrs),
    "l1_loss": lambda x, t, **attrs: F.l1_loss(x, t, **attrs),
    "smooth_l1_loss": lambda x, t, **attrs: F.smooth_l1_loss(x, t, **attrs),
    "huber_loss": lambda x, t, **attrs: F.huber_loss(x, t, **attrs),
    "binary_cross_entropy_with_logits": binary_loss,
    "cross_entropy": class_loss("cross_entropy"),
    "nll_loss": class_loss("nll_loss"),
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "embedding": embedding,
    "scaled_dot_product_attention": attention,
    **{name: pooled(name) for name in _POOLINGS},
    **{name: with_bias(name) for name in _CONVOLUTIONS},
}
