"""Dropout and noise: leaving elements out, or blurring them, at random while training.

Takes: a tensor and a strength. Gives: the tensor changed by chance, its mean unchanged.
The one idea: dividing by the share that is kept leaves the expected value unchanged, so nothing
has to be done when predicting (Srivastava et al. 2014).
"""

from __future__ import annotations

import math

from chainrule.core.errors import ArgumentError
from chainrule.core.shape import Shape, expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import public
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating
from chainrule.ops.generator import Generator
from chainrule.ops.random import rand, randn

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "gaussian_noise",
]

# SELU(-inf) = -scale alpha: what a self-normalising layer gives for "off" (Klambauer et al. 2017).
_OFF = -1.7580993408473766


@public
def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return the input with each element set to 0 with probability p, else divided by 1 - p.

    Args:
        input: Any shape.
        p: Probability of leaving an element out, 0 to 1.
        training: False: return the input as it is.
        generator: Source of random numbers; None: the default one.

    Returns:
        The same shape; all zeros for p = 1.

    Raises:
        ArgumentError: p is not a probability.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.ones((2, 2))
        >>> F.dropout(x, 0.5, training=False).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    _check_probability("dropout", p)
    return _dropped(floating(input), input.shape, p, training, generator)


@public
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """Return sequences [N, C, L] or [C, L] with whole channels left out; see `dropout2d`."""
    return _whole_channels("dropout1d", input, p, training, generator, (2, 3), 3)


@public
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """Return images with whole channels set to 0 with probability p, else divided by 1 - p.

    Neighbouring pixels of a feature map are nearly equal, so that leaving out single ones hides
    nothing; between convolutions use this, between linear layers `dropout`.

    Args:
        input: [N, C, H, W], or [N, C, L] (as in PyTorch; no single image).
        p: Probability of leaving a channel out, 0 to 1.
        training: False: return the input as it is.
        generator: Source of random numbers; None: the default one.

    Returns:
        The same shape.

    Raises:
        ArgumentError: p is not a probability.
        ShapeError: The input has another number of axes.

    Source: Tompson et al. 2015, "Efficient object localization using convolutional networks".
    """
    return _whole_channels("dropout2d", input, p, training, generator, (3, 4), 3)


@public
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """Return volumes [N, C, D, H, W] or [C, D, H, W] with channels left out; see `dropout2d`."""
    return _whole_channels("dropout3d", input, p, training, generator, (4, 5), 5)


@public
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return the input with elements switched off, mean 0 and variance 1 being kept.

    An element is set with probability p to -1.758, the lower end of SELU; then all are scaled
    and moved so that what had mean 0 and variance 1 has it still. For networks of `selu` only.

    Args:
        input: Any shape.
        p: Probability of switching an element off, 0 to 1.
        training: False (the default, as in PyTorch): return the input as it is.
        generator: Source of random numbers; None: the default one.

    Returns:
        The same shape; all zeros for p = 1.

    Raises:
        ArgumentError: p is not a probability.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks".
    """
    _check_probability("alpha_dropout", p)
    return _switched_off(floating(input), input.shape, p, training, generator)


@public
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return the input [N, C, ...] with whole channels switched off; see `alpha_dropout`.

    Raises:
        ArgumentError: p is not a probability.
        ShapeError: The input has no channels.
    """
    _check_probability("feature_alpha_dropout", p)
    expect_tensor("feature_alpha_dropout", "input", input)
    expect(
        input.ndim >= 2 or not training,
        "feature_alpha_dropout: input {} must have the axes [N, C, ...]",
        input.spec,
    )
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _switched_off(floating(input), shape, p, training, generator)


@public
def gaussian_noise(
    input: Tensor,
    std: float = 0.1,
    training: bool = True,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return the input with normally distributed numbers of mean 0 added.

    On inputs a mild regulariser, for small noise the same as a penalty on the gradient's length.

    Args:
        input: Any shape.
        std: Standard deviation of the noise, in the input's unit.
        training: False: return the input as it is.
        generator: Source of random numbers; None: the default one.

    Returns:
        The same shape.

    Raises:
        ArgumentError: ``std`` is negative or not finite.

    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".
    """
    if not 0.0 <= std < math.inf:
        raise ArgumentError(f"gaussian_noise: std={std}, expected a number of at least 0")
    x = floating(input)
    if not training or std == 0.0:
        return x
    noise = randn(x.shape, generator=generator) * std
    return x + (noise if noise.dtype is x.dtype else noise.to(x.dtype))


def _check_probability(op: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"{op}: p={p}, expected a probability from 0 to 1")


def _dropped(
    x: Tensor, drawn: Shape, p: float, training: bool, generator: Generator | None
) -> Tensor:
    """Return x with what belongs to each draw, of a shape that broadcasts, kept or set to 0."""
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    kept = rand(drawn, generator=generator) >= p
    scale = call("where", kept, 1.0 / (1.0 - p), 0.0)
    return x * (scale if scale.dtype is x.dtype else scale.to(x.dtype))


def _whole_channels(
    op: str,
    input: Tensor,
    p: float,
    training: bool,
    generator: Generator | None,
    axes: tuple[int, int],
    batched: int,
) -> Tensor:
    """Drop channels; an input of at least ``batched`` axes has examples before them."""
    _check_probability(op, p)
    expect_tensor(op, "input", input)
    expect(
        input.ndim in axes,
        "{}: input {} has {} axes, expected {} or {}",
        *(op, input.spec, input.ndim, *axes),
        hint="F.dropout leaves out single elements of any shape",
    )
    lead = 2 if input.ndim >= batched else 1
    drawn = (*input.shape[:lead], *(1,) * (input.ndim - lead))
    return _dropped(floating(input), drawn, p, training, generator)


def _switched_off(
    x: Tensor, drawn: Shape, p: float, training: bool, generator: Generator | None
) -> Tensor:
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    factor = 1.0 / math.sqrt((_OFF * _OFF * p + 1.0) * (1.0 - p))
    shift = -factor * _OFF * p  # brings the mean back to 0
    kept = rand(drawn, generator=generator) >= p
    scale = call("where", kept, factor, 0.0)
    offset = call("where", kept, shift, factor * _OFF + shift)
    if scale.dtype is not x.dtype:
        scale, offset = scale.to(x.dtype), offset.to(x.dtype)
    return x * scale + offset
