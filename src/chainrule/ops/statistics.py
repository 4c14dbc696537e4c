"""Statistics: means, spreads and sizes of elements along axes.

Takes: a tensor and the axes to reduce. Gives: a tensor of a floating dtype.
The one idea: 16-bit numbers are widened first and rounded once at the end, since a sum of many
of them overflows or loses its small terms.
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.core.dtype import DType, float32
from chainrule.core.shape import Axes
from chainrule.graph.conversion import call
from chainrule.graph.op import composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.reduce import AxisTuple, max, min, prepared, reduced_shape, sum


def _widened(op: str, x: Tensor, axis: Axes, dim: Axes) -> tuple[Tensor, AxisTuple, DType]:
    """Return the tensor to compute with, the axes, and the dtype of the result."""
    value, axes = prepared(op, x, axis, dim)
    target = value.dtype if value.dtype.is_floating else float32
    if value.dtype.is_half or not value.dtype.is_floating:
        value = value.to(float32)
    return value, axes, target


def _rounded(x: Tensor, dtype: DType) -> Tensor:
    return x if x.dtype is dtype else x.to(dtype)


def _count(x: Tensor, axes: AxisTuple) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def _samples() -> list[Sample]:
    return [
        sample((3, 4), axis=1),
        sample((3, 4), keepdims=True),
        sample((2, 3, 4), axis=(0, -1)),
        sample((5,), axis=0, keepdims=True),
    ]


@composite(_samples)
def mean(x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None) -> Tensor:
    """Return the arithmetic mean of elements along axes (default: of all).

    Args:
        x: Any tensor; integers and booleans become float32.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dim: Another name for ``axis``.

    Returns:
        The mean; NaN where there are no elements.

    Raises:
        ShapeError: An axis does not exist or is named twice.

    Example:
        >>> import chainrule
        >>> chainrule.mean(chainrule.tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0).tolist()
        [2.0, 4.0]
    """
    value, axes, target = _widened("mean", x, axis, dim)
    return _rounded(_mean(value, axes, keepdims), target)


def _mean(x: Tensor, axes: AxisTuple, keepdims: bool) -> Tensor:
    return sum(x, axes, keepdims=keepdims) / _count(x, axes)


def _spread_samples() -> list[Sample]:
    return [*_samples(), sample((4, 3), axis=0, correction=1.0)]


@composite(_spread_samples)
def var(
    x: Tensor,
    axis: Axes = None,
    *,
    correction: float = 0.0,
    keepdims: bool = False,
    dim: Axes = None,
) -> Tensor:
    """Return the variance of elements along axes (default: of all).

    The mean is taken off first and the squares are added then, so that a large mean does not
    cancel what is asked for: sum((x - mean)²) / (n - correction).

    Args:
        x: Any tensor; integers and booleans become float32.
        axis: One axis or several.
        correction: 0 divides by n, 1 by n - 1 (the method's default, as in PyTorch).
        keepdims: Keep the axes, with size 1.
        dim: Another name for ``axis``.

    Returns:
        The variance; NaN where n does not exceed the correction.

    Example:
        >>> import chainrule
        >>> chainrule.var(chainrule.tensor([1.0, 2.0, 3.0, 6.0])).item()
        3.5
    """
    value, axes, target = _widened("var", x, axis, dim)
    return _rounded(_variance(value, axes, correction, keepdims), target)


def _variance(x: Tensor, axes: AxisTuple, correction: float, keepdims: bool) -> Tensor:
    centred = x - _mean(x, axes, True)
    divisor = _count(x, axes) - correction
    return sum(centred * centred, axes, keepdims=keepdims) / (divisor if divisor > 0 else 0.0)


@composite(_spread_samples)
def std(
    x: Tensor,
    axis: Axes = None,
    *,
    correction: float = 0.0,
    keepdims: bool = False,
    dim: Axes = None,
) -> Tensor:
    """Return the standard deviation along axes; see `var`. Its gradient at 0 is 0.

    Example:
        >>> import chainrule
        >>> chainrule.std(chainrule.tensor([1.0, 3.0])).item()
        1.0
    """
    value, axes, target = _widened("std", x, axis, dim)
    return _rounded(_root(_variance(value, axes, correction, keepdims), 2.0), target)


def _root(x: Tensor, order: float) -> Tensor:
    """Return a root whose derivative at 0 is 0, where it would be infinite and give NaN."""
    at_zero = x == 0
    lifted = call("where", at_zero, 1.0, x)
    root = call("sqrt", lifted) if order == 2 else lifted ** (1 / order)
    return call("where", at_zero, 0.0, root)


def _logsumexp_samples() -> list[Sample]:
    return [*_samples(), sample(In((2, 3), low=-900.0, high=900.0), axis=1, name="large")]


@composite(_logsumexp_samples)
def logsumexp(x: Tensor, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None) -> Tensor:
    """Return log(sum(exp(x))) along axes (default: over all), without overflow.

    The largest element is taken off before exp and added after log. Where all elements are
    -inf the result is -inf and the gradient 0.

    Args:
        x: Any tensor; integers and booleans become float32.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dim: Another name for ``axis``.

    Returns:
        The result; -inf where there are no elements.

    Example:
        >>> import chainrule
        >>> chainrule.logsumexp(chainrule.tensor([1000.0, 1000.0])).item()
        1000.693...
    """
    value, axes, target = _widened("logsumexp", x, axis, dim)
    shape = reduced_shape("logsumexp", value.shape, axes, keepdims)
    if _count(value, axes) == 0:
        return call("full", shape, -math.inf, dtype=target)
    top = max(value.detach(), axes, keepdims=True)
    limits = np.finfo(top.dtype.storage)
    top = top.clip(float(limits.min), float(limits.max))  # inf - inf would be NaN
    total = sum((value - top).exp(), axes, keepdims=True)
    nothing = total == 0
    shift = call("where", nothing, -math.inf, top)
    result = call("where", nothing, 1.0, total).log() + shift
    return _rounded(result if keepdims else result.reshape(shape), target)


def _norm_samples() -> list[Sample]:
    # Of one sign: equal amounts of opposite sign would tie.
    away = In((3, 4), low=0.2, high=2.0, distinct=True)
    return [
        *_samples(),
        sample(away, axis=1, ord=1),
        sample(away, axis=0, ord=math.inf),
        sample(away, ord=3, keepdims=True),
        sample(away, axis=1, ord=-math.inf),
    ]


@composite(_norm_samples)
def vector_norm(
    x: Tensor,
    ord: float = 2.0,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    dim: Axes = None,
) -> Tensor:
    """Return the length of vectors along axes (default: of all elements as one vector).

    sum(|x|^ord)^(1 / ord); inf: the largest, -inf: the smallest |x|; 0: how many are not 0.

    Args:
        x: Any tensor; integers and booleans become float32.
        ord: Which norm.
        axis: One axis or several.
        keepdims: Keep the axes, with size 1.
        dim: Another name for ``axis``.

    Returns:
        The norm; its gradient at the zero vector is 0.

    Example:
        >>> import chainrule
        >>> chainrule.vector_norm(chainrule.tensor([3.0, 4.0])).item()
        5.0
    """
    value, axes, target = _widened("vector_norm", x, axis, dim)
    if ord == math.inf:
        result = max(value.abs(), axes, keepdims=keepdims)
    elif ord == -math.inf:
        result = min(value.abs(), axes, keepdims=keepdims)
    elif ord == 0:
        result = sum((value != 0).to(value.dtype), axes, keepdims=keepdims)
    elif ord == 1:
        result = sum(value.abs(), axes, keepdims=keepdims)
    elif ord == 2:
        result = _root(sum(value * value, axes, keepdims=keepdims), 2.0)
    else:
        result = _root(sum(_powers(value.abs(), ord), axes, keepdims=keepdims), ord)
    return _rounded(result, target)


def _powers(size: Tensor, order: float) -> Tensor:
    """Return powers whose derivative at 0 is 0, where it would be infinite and give NaN."""
    if order > 1:
        return size**order
    at_zero = size == 0
    powers = call("where", at_zero, 1.0, size) ** order
    return call("where", at_zero, 0.0 if order > 0 else math.inf, powers)


@public
def norm(
    x: Tensor, p: float = 2.0, axis: Axes = None, *, keepdims: bool = False, dim: Axes = None
) -> Tensor:
    """Return the length of vectors along axes; PyTorch's name for `vector_norm`."""
    return vector_norm(x, p, axis, keepdims=keepdims, dim=dim)
