"""Normalisation of each example by itself: over groups of channels, neighbours, or one length.

Takes: inputs [N, C, ...] or [..., D]. Gives: the same shape.
The one idea: statistics of one example do not depend on who else is in the batch, so training
and use are the same function and a batch of one is enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from chainrule.core.dtype import DType
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import COMPOSITES, Composite, composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating
from chainrule.ops.windows import window_sum

__all__ = ["group_norm", "local_response_norm", "normalize", "rms_norm"]


def _group_samples() -> Iterable[Sample]:
    return (
        sample((2, 4, 3), (4,), (4,), num_groups=2),
        sample((2, 3, 2, 2), (3,), (3,), num_groups=3, name="each channel"),
        sample((3, 4), num_groups=1, eps=0.1, name="no scale"),
        sample((1, 4, 1, 3), (4,), num_groups=2, name="one example"),
        sample((0, 4, 3), (4,), (4,), num_groups=2, name="no examples"),
    )


@public
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return inputs with mean 0 and variance 1 in each group of channels of each example.

    It keeps its strength where batches are small and batch normalisation loses it; with large
    batches of images batch normalisation is usually better.

    Args:
        input: [N, C, ...].
        num_groups: G; channels are split into so many groups of neighbours. 1 normalises over
            all of an example, C over each channel (`instance_norm`).
        weight: Scale [C], or None.
        bias: Shift [C], or None.
        eps: Added to the variance, so that a constant group does not divide by 0.

    Returns:
        weight (input - mean) / sqrt(var + eps) + bias, of the input's shape; mean and (biased)
        variance over the C/G channels of a group and all positions.

    Raises:
        ShapeError: G does not divide C, a vector has another size, or the whole input is one
            value for each group, so that there is no variance.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[1.0, 3.0, 10.0, 30.0]])
        >>> F.group_norm(x, 2, eps=0.0).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Source: Wu & He 2018, "Group normalization".
    """
    expect_channels("group_norm", input, weight, bias)
    channels = input.shape[1]
    if not isinstance(num_groups, int) or num_groups < 1:
        raise ArgumentError(f"group_norm: num_groups={num_groups!r}, expected an integer from 1 on")
    expect(
        channels % num_groups == 0,
        "group_norm: the {} channels (axis 1) of input {} do not split into {} groups",
        *(channels, input.spec, num_groups),
        hint=f"num_groups={math.gcd(channels, num_groups)}",
    )
    expect(
        input.size != num_groups or input.shape[0] != 1,
        "group_norm: input {} has one value for each of {} groups, so there is no variance",
        *(input.spec, num_groups),
        hint="fewer groups than channels",
    )
    x, given = widened(input)
    split = x.reshape(x.shape[0], num_groups, channels // num_groups, *x.shape[2:])
    axes = tuple(range(2, split.ndim))
    centred = split - split.mean(axes, keepdims=True)
    inverse = (centred.square().mean(axes, keepdims=True) + eps).rsqrt()
    result = scaled((centred * inverse).reshape(x.shape), weight, bias)
    return result if result.dtype is given else result.to(given)


def _groups_last(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    num_groups: int,
    eps: float = 1e-5,
) -> Tensor:
    return group_norm(input, num_groups, weight, bias, eps)


# Samples hold tensors in order and attributes by name; the groups stand between them here.
COMPOSITES["group_norm"] = Composite(_groups_last, _group_samples)


def widened(input: Tensor) -> tuple[Tensor, DType]:
    """Return a floating input in a type that sums do not overflow, and the type it had."""
    x = floating(input)
    return (x.float() if x.dtype.is_half else x), x.dtype


def scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return x [N, C, ...] with a factor and a summand for each channel."""
    shape = (x.shape[1], *(1,) * (x.ndim - 2))
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def expect_channels(op: str, x: Tensor, *vectors: Tensor | None) -> None:
    """Check that an input has channels and that the vectors have one element for each.

    Raises:
        ShapeError: It has not, or one has another size.
    """
    expect_tensor(op, "input", x)
    expect(
        x.ndim >= 2,
        "{}: input {} must have the axes [N, C, ...]",
        *(op, x.spec),
        hint="a single example needs a batch axis: x.unsqueeze(0)",
    )
    for name, vector in zip(("weight", "bias"), vectors, strict=True):
        if vector is not None and vector.shape != (x.shape[1],):
            raise ShapeError(
                f"{op}: {name} {vector.spec} does not fit the {x.shape[1]} channels (axis 1) of "
                f"input {x.spec}",
                hint=f"{name} needs the shape [{x.shape[1]}]",
            )


def _response_samples() -> Iterable[Sample]:
    return (
        sample((2, 5, 3), size=3, alpha=0.5),
        sample((1, 4, 2, 2), size=2, alpha=0.5, beta=0.5, k=2.0, name="even"),
        sample((1, 2, 3), size=5, name="wider than the channels"),
        sample((0, 2, 3), size=3, name="no examples"),
    )


@composite(_response_samples)
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Return each activation divided by a power of those of the neighbouring channels.

    b = a / (k + alpha/n · Σ a²)^beta, the sum over n = ``size`` channels round each one; beyond
    the first and the last channel there are zeros. Strong activations quieten their neighbours.
    AlexNet used it; batch normalisation has taken its place.

    Args:
        input: [N, C, ...] with at least one axis of positions.
        size: n, how many neighbouring channels count, the channel itself included.
        alpha: Strength (the paper's α times n).
        beta: Power.
        k: What is there without any neighbour; 0 divides by 0 where all neighbours are 0.

    Returns:
        The input's shape.

    Raises:
        ArgumentError: ``size`` is below 1.
        ShapeError: The input has fewer than three axes.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[[1.0], [2.0], [3.0]]])
        >>> F.local_response_norm(x, size=3, alpha=3.0, beta=1.0, k=0.0)[0, 0]
        tensor([0.2])

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional
    neural networks", section 3.3.
    """
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(f"local_response_norm: size={size!r}, expected an integer from 1 on")
    expect_tensor("local_response_norm", "input", input)
    expect(
        input.ndim >= 3,
        "local_response_norm: input {} must have the axes [N, C, ...] with at least one of "
        "positions",
        input.spec,
        hint="x.unsqueeze(-1) for an input without positions",
    )
    x, given = widened(input)
    if x.size == 0:
        return input
    rows = x.square().reshape(x.shape[0], 1, x.shape[1], math.prod(x.shape[2:]))
    around = ((size // 2, (size - 1) // 2), (0, 0))
    total = window_sum(rows, (size, 1), (1, 1), around, (1, 1)).reshape(x.shape)
    result = x / (total * (alpha / size) + k) ** beta
    return result if result.dtype is given else result.to(given)


def _rms_samples() -> Iterable[Sample]:
    return (
        sample((3, 4), (4,), normalized_shape=(4,)),
        sample((2, 2, 3), (2, 3), normalized_shape=(2, 3), eps=0.1, name="two axes"),
        sample((2, 3), normalized_shape=(3,), eps=1e-3, name="no scale"),
        sample((0, 3), (3,), normalized_shape=(3,), eps=1e-3, name="no examples"),
    )


@public
def rms_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Return inputs divided by their root mean square over the last axes, then scaled.

    Layer normalisation without the mean and the shift: cheaper, and as good in transformers.

    Args:
        input: [..., D], or more last axes.
        normalized_shape: Sizes of the axes that are normalised.
        weight: Scale of this shape, or None.
        eps: Added to the mean square; None: the distance from 1 to the next number of the
            input's dtype.

    Returns:
        weight input / sqrt(mean(input²) + eps), of the input's shape.

    Raises:
        ShapeError: The input does not end in these axes, or the weight has another shape.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.rms_norm(chainrule.tensor([[3.0, 3.0, -3.0]]), 3, eps=0.0).tolist()
        [[1.0, 1.0, -1.0]]

    Source: Zhang & Sennrich 2019, "Root mean square layer normalization".
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    expect_tensor("rms_norm", "input", input)
    expect(
        len(shape) > 0 and input.shape[-len(shape) :] == shape,
        "rms_norm: input {} does not end in the normalised shape {}",
        *(input.spec, list(shape)),
        hint=f"nn.RMSNorm({list(input.shape[-max(len(shape), 1) :])})",
    )
    if weight is not None and weight.shape != shape:
        raise ShapeError(f"rms_norm: weight {weight.spec} must have the shape {list(shape)}")
    x, given = widened(input)
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    small = _epsilon(given) if eps is None else eps
    result = x * (x.square().mean(axes, keepdims=True) + small).rsqrt()
    if weight is not None:
        result = result * weight
    return result if result.dtype is given else result.to(given)


def _epsilon(dtype: DType) -> float:
    """Return the distance from 1 to the next number."""
    return 2.0 ** -{"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}[dtype.name]


def _rms_shape_last(
    input: Tensor,
    weight: Tensor | None = None,
    *,
    normalized_shape: tuple[int, ...],
    eps: float | None = None,
) -> Tensor:
    return rms_norm(input, normalized_shape, weight, eps)


COMPOSITES["rms_norm"] = Composite(_rms_shape_last, _rms_samples)


def _length_samples() -> Iterable[Sample]:
    away = In((3, 4), 0.2, 2.0, distinct=True)
    return (
        sample((3, 4)),
        sample((2, 3, 2), p=3.0, dim=-1, name="other norm"),
        sample(away, p=1.0, dim=0, name="sum"),
        sample((3, 4), p=2.0, dim=(0, 1), name="two axes"),
        sample((0, 3), name="no examples"),
    )


@composite(_length_samples)
def normalize(
    input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12
) -> Tensor:
    """Return vectors of length 1 along an axis: input / max(||input||_p, eps).

    Args:
        input: Any tensor with that axis.
        p: Which norm.
        dim: The axis along which vectors lie, or several.
        eps: The smallest length that is divided by, so that a vector of zeros stays one.

    Returns:
        The input's shape.

    Raises:
        ShapeError: There is no such axis.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.normalize(chainrule.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6, 0.8],
                [0. , 0. ]])
    """
    expect_tensor("normalize", "input", input)
    x = floating(input)
    axes = dim if isinstance(dim, int) else tuple(dim)
    length = call("vector_norm", x, p, axes, keepdims=True)
    return x / call("clip", length, eps, None)
