"""Normalisation: activations with mean 0 and variance 1, over a batch or over features.

Takes: inputs [N, C, ...] or [..., D]. Gives: the same shape.
The one idea: centre once, and reuse the centred values for the variance and for the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.core.errors import ShapeError
from chainrule.core.shape import expect
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.node import no_grad
from chainrule.graph.op import COMPOSITES, Composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating

__all__ = ["batch_norm", "batch_statistics", "layer_norm"]


def batch_statistics(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the biased variance of each channel of [N, C, ...], both [C]."""
    axes = _but_channels(input)
    mean = input.mean(axes, keepdims=True)
    return mean.reshape(input.shape[1]), (input - mean).square().mean(axes)


def _batch_samples() -> Iterable[Sample]:
    positive = In((2,), 0.5, 2.0)
    return (
        sample((3, 2), (2,), positive, (2,), (2,), training=True),
        sample((2, 2, 3), (2,), positive, (2,), (2,), training=True, name="positions"),
        sample((2, 2, 2, 1), (2,), positive, training=True, eps=0.1, name="no scale"),
        sample((3, 2), (2,), positive, (2,), (2,), name="evaluation"),
        sample((0, 2, 3), (2,), positive, (2,), (2,), name="no examples"),
    )


@public
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor | None = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return inputs with mean 0 and variance 1 in each channel, then scaled and moved.

    Args:
        input: [N, C, ...].
        running_mean: [C]; used unless ``training``, and then updated in place.
        running_var: [C]; likewise. Its update takes the unbiased variance, as PyTorch does.
        weight: Scale [C], or None.
        bias: Shift [C], or None.
        training: Take mean and (biased) variance from this batch instead of the running ones.
        momentum: Share of the new value in an update of a running one.
        eps: Added to the variance, so that a constant channel does not divide by 0.

    Returns:
        weight (input - mean) / sqrt(var + eps) + bias, of the input's shape.

    Raises:
        ShapeError: A channel vector has the wrong size, or a batch in training has one value for
            each channel, so that there is no variance.

    Source: Ioffe & Szegedy 2015, "Batch normalization".
    """
    expect_tensor("batch_norm", "input", input)
    if input.shape == (0,):  # nothing at all: PyTorch gives it back
        return floating(input)
    _check_channels("batch_norm", input, running_mean, running_var, weight, bias)
    x = floating(input)
    wide = x.float() if x.dtype.is_half else x
    shape = (1, x.shape[1], *(1,) * (x.ndim - 2))
    if training:
        _expect_variance(x)
        axes = _but_channels(x)
        mean = wide.mean(axes, keepdims=True)
        centred = wide - mean
        variance = centred.square().mean(axes, keepdims=True)
        if momentum is not None:
            _update(running_mean, running_var, mean, variance, x, momentum)
        result = centred * _scale(variance, weight, shape, eps)
        if bias is not None:
            result = result + bias.reshape(shape)
    else:
        if running_mean is None or running_var is None:
            raise ShapeError("batch_norm: evaluation needs running_mean and running_var")
        scale = _scale(running_var.reshape(shape), weight, shape, eps)
        shift = -running_mean.reshape(shape) * scale
        result = wide * scale + (shift if bias is None else shift + bias.reshape(shape))
    return result if result.dtype is x.dtype else result.to(x.dtype)


def _pure_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return `batch_norm` without its change of the running statistics."""
    mean = None if running_mean is None else running_mean.clone()
    var = None if running_var is None else running_var.clone()
    return batch_norm(input, mean, var, weight, bias, training, momentum, eps)


# The samples' check must not see the running statistics change.
COMPOSITES["batch_norm"] = Composite(_pure_batch_norm, _batch_samples)


def _scale(variance: Tensor, weight: Tensor | None, shape: tuple[int, ...], eps: float) -> Tensor:
    """Return weight / sqrt(variance + eps)."""
    inverse = (variance + eps).rsqrt()
    return inverse if weight is None else inverse * weight.reshape(shape)


def _update(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    x: Tensor,
    momentum: float | Tensor,
) -> None:
    """Move running statistics, in place, towards those of this batch."""
    channels = x.shape[1]
    count = x.size // channels
    with no_grad():
        if running_mean is not None:
            new = mean.detach().reshape(channels) * momentum
            running_mean.copy_(running_mean * (1.0 - momentum) + new)
        if running_var is not None:
            new = variance.detach().reshape(channels) * (momentum * count / (count - 1))
            running_var.copy_(running_var * (1.0 - momentum) + new)


def _but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _check_channels(op: str, x: Tensor, *vectors: Tensor | None) -> None:
    expect_tensor(op, "input", x)
    expect(
        x.ndim >= 2,
        "{}: input {} must have the axes [N, C, ...]",
        *(op, x.spec),
        hint="a single example needs a batch axis: x.unsqueeze(0)",
    )
    channels = x.shape[1]
    names = ("running_mean", "running_var", "weight", "bias")
    for name, vector in zip(names, vectors, strict=True):
        if vector is not None and vector.shape != (channels,):
            hint = f"nn.BatchNorm{max(x.ndim - 2, 1)}d({channels})"
            if x.ndim > 2 and vector.shape == (x.shape[-1],):
                order = ", ".join(map(str, (0, x.ndim - 1, *range(1, x.ndim - 1))))
                hint = f"channels belong on axis 1: x.permute({order})"
            raise ShapeError(
                f"{op}: {name} {vector.spec} does not fit the {channels} channels (axis 1) of "
                f"input {x.spec}",
                hint=hint,
            )


def _expect_variance(x: Tensor) -> None:
    count = x.size // max(x.shape[1], 1)
    expect(
        count > 1,
        "batch_norm: input {} has {} value for each channel; training needs at least 2, to have "
        "a variance",
        *(x.spec, count),
        hint="larger batches (DataLoader(..., drop_last=True)), or model.eval() to predict",
    )


def _layer_samples() -> Iterable[Sample]:
    return (
        sample((3, 4), (4,), (4,), normalized_shape=(4,)),
        sample((2, 2, 3), (2, 3), (2, 3), normalized_shape=(2, 3), name="two axes"),
        sample((2, 3), normalized_shape=(3,), eps=0.1, name="no scale"),
        sample((0, 3), (3,), (3,), normalized_shape=(3,), name="no examples"),
    )


@public
def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return inputs with mean 0 and variance 1 over the last axes, then scaled and moved.

    Args:
        input: [..., D], or more last axes.
        normalized_shape: Sizes of the axes that are normalised.
        weight: Scale of this shape, or None.
        bias: Shift of this shape, or None.
        eps: Added to the variance.

    Returns:
        weight (input - mean) / sqrt(var + eps) + bias, of the input's shape.

    Raises:
        ShapeError: The input does not end in these axes, or weight or bias has another shape.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[1.0, 3.0]])
        >>> F.layer_norm(x, 2, eps=0.0).tolist()
        [[-1.0, 1.0]]

    Source: Ba, Kiros & Hinton 2016, "Layer normalization".
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    expect(
        len(shape) > 0 and input.shape[-len(shape) :] == shape,
        "layer_norm: input {} does not end in the normalised shape {}",
        *(input.spec, list(shape)),
        hint=f"nn.LayerNorm({list(input.shape[-max(len(shape), 1) :])})",
    )
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and given.shape != shape:
            raise ShapeError(f"layer_norm: {name} {given.spec} must have the shape {list(shape)}")
    x = floating(input)
    wide = x.float() if x.dtype.is_half else x
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    centred = wide - wide.mean(axes, keepdims=True)
    variance = centred.square().mean(axes, keepdims=True)
    result = centred * (variance + eps).rsqrt()
    if weight is not None:
        result = result * weight
    if bias is not None:
        result = result + bias
    return result if result.dtype is x.dtype else result.to(x.dtype)


def _shape_last(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    normalized_shape: tuple[int, ...],
    eps: float = 1e-5,
) -> Tensor:
    return layer_norm(input, normalized_shape, weight, bias, eps)


# Samples hold tensors in order and attributes by name; the shape stands between them here.
COMPOSITES["layer_norm"] = Composite(_shape_last, _layer_samples)
