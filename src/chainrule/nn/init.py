"""Initialisation: the first values of weights, filled in place.

Takes: a tensor, usually a parameter. Gives: the same tensor with new values from chainrule's
generator, so that the same seed gives the same weights everywhere.
The one idea: keep the variance of signals the same from layer to layer. A sum of fan_in products
has fan_in times the variance of one, so weights are drawn with variance gain² / fan_in.

Sources: LeCun et al. 1998, "Efficient BackProp" (1/fan_in); Glorot & Bengio 2010 ("Xavier",
2/(fan_in + fan_out)); He et al. 2015 ("Kaiming", 2/fan_in for ReLU); Saxe et al. 2014 (orthogonal).
"""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import numpy as np

from chainrule.core.errors import ArgumentError, DTypeError, ShapeError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, from_numpy
from chainrule.nn.gain import Nonlinearity, calculate_gain, default_variance
from chainrule.ops.generator import Generator
from chainrule.ops.random import rand, randn, truncated_normal

__all__ = [
    "Distribution",
    "FanMode",
    "Nonlinearity",
    "calculate_gain",
    "constant_",
    "default_variance",
    "dirac_",
    "eye_",
    "fans",
    "kaiming_normal_",
    "kaiming_trunc_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_trunc_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "variance_scaling_",
    "xavier_normal_",
    "xavier_trunc_normal_",
    "xavier_uniform_",
    "zeros_",
]

T = TypeVar("T", bound=Tensor)
FanMode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "trunc_normal", "uniform"]
# Standard deviation of a unit normal distribution cut off at two deviations.
TRUNCATED_STD = 0.87962566103423978


def fans(weight: Tensor) -> tuple[int, int]:
    """Return how many inputs an output sums over, and how many outputs an input reaches.

    Args:
        weight: [outputs, inputs, *kernel], as linear and convolutional layers keep it.

    Returns:
        fan_in and fan_out: inputs (outputs) times the number of elements of the kernel.

    Raises:
        ShapeError: The tensor has fewer than two axes.
    """
    if weight.ndim < 2:
        raise ShapeError(
            f"init: fans need at least two axes [outputs, inputs], got {weight.spec}",
            hint="fill vectors with nn.init.zeros_, ones_, constant_, normal_ or uniform_",
        )
    receptive = math.prod(weight.shape[2:])
    return weight.shape[1] * receptive, weight.shape[0] * receptive


# Model files written for PyTorch reach for it under this name.
_calculate_fan_in_and_fan_out = fans


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with numbers drawn uniformly from [a, b): mean (a + b) / 2, variance (b - a)² / 12.

    Raises:
        ArgumentError: a is above b, or one of them is not finite.
        DTypeError: The tensor does not hold real numbers.
    """
    _expect_floating("uniform_", tensor)
    if not -math.inf < a <= b < math.inf:
        hint = f"uniform_(tensor, {b}, {a})" if b < a else ""
        raise ArgumentError(f"uniform_: from a={a} to b={b} is no finite range", hint=hint)
    with no_grad():
        drawn = rand(tensor.shape, dtype=tensor.dtype, generator=generator)
        return tensor.copy_(drawn * (b - a) + a)


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> T:
    """Fill with numbers drawn from a normal distribution.

    Raises:
        ArgumentError: ``std`` is negative, infinite or NaN.
        DTypeError: The tensor does not hold real numbers.
    """
    _expect_floating("normal_", tensor)
    if not (std >= 0 and math.isfinite(std)):
        raise ArgumentError(f"normal_: std is {std}, expected a finite number of at least 0")
    with no_grad():
        drawn = randn(tensor.shape, dtype=tensor.dtype, generator=generator)
        return tensor.copy_(drawn * std + mean)


def trunc_normal_(
    tensor: T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> T:
    """Fill with numbers drawn from a normal distribution cut off at the values a and b.

    Raises:
        ArgumentError: ``std`` is not positive, or next to nothing lies between a and b.
        DTypeError: The tensor does not hold real numbers.
    """
    _expect_floating("trunc_normal_", tensor)
    with no_grad():
        drawn = truncated_normal(
            *(mean, std, a, b), tensor.shape, dtype=tensor.dtype, generator=generator
        )
        return tensor.copy_(drawn)


def constant_(tensor: T, val: float) -> T:
    """Fill with one value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: T) -> T:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: T) -> T:
    """Fill with 0. Units whose weights all start from zero stay identical: for biases only."""
    return constant_(tensor, 0.0)


def eye_(tensor: T) -> T:
    """Fill a matrix with the identity.

    Raises:
        ShapeError: The tensor is not a matrix.
    """
    if tensor.ndim != 2:
        hint = "nn.init.dirac_ for the weight of a convolution" if tensor.ndim > 2 else ""
        raise ShapeError(f"eye_: {tensor.spec} is not a matrix", hint=hint)
    with no_grad():
        return tensor.copy_(call("eye", *tensor.shape, dtype=tensor.dtype))


def variance_scaling_(
    tensor: T,
    scale: float = 1.0,
    mode: FanMode = "fan_in",
    distribution: Distribution = "trunc_normal",
    generator: Generator | None = None,
) -> T:
    """Fill with numbers of mean 0 and variance scale / fan.

    All the named rules are cases of this one: LeCun scale 1, He scale 2 with ``fan_in``; Xavier
    scale 1 with ``fan_avg``, the mean of fan_in and fan_out.

    Args:
        tensor: [outputs, inputs, *kernel].
        scale: The square of the gain.
        mode: Which fan divides.
        distribution: ``normal``; ``trunc_normal``: cut off at two deviations and widened so that
            the variance is kept; ``uniform`` on ±√(3 variance).
        generator: Source of random numbers (default: the one that `manual_seed` seeds), as in
            every function here that draws.

    Raises:
        ArgumentError: An unknown word, or the scale is not a positive finite number.
        ShapeError: The tensor has fewer than two axes, or none of the inputs (outputs) that the
            fan counts.
    """
    if not 0 < scale < math.inf:
        raise ArgumentError(f"variance_scaling_: scale is {scale}, expected a positive number")
    std = math.sqrt(scale / _fan(tensor, mode))
    if distribution == "normal":
        return normal_(tensor, 0.0, std, generator)
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return uniform_(tensor, -bound, bound, generator)
    if distribution == "trunc_normal":
        wide = std / TRUNCATED_STD
        return trunc_normal_(tensor, 0.0, wide, -2 * wide, 2 * wide, generator)
    raise unknown_word("distribution", distribution, ("normal", "trunc_normal", "uniform"))


# --- the named rules --------------------------------------------------------------------------


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill uniformly with variance 2 gain² / (fan_in + fan_out) (Glorot & Bengio 2010)."""
    return variance_scaling_(tensor, gain**2, "fan_avg", "uniform", generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill normally with variance 2 gain² / (fan_in + fan_out) (Glorot & Bengio 2010)."""
    return variance_scaling_(tensor, gain**2, "fan_avg", "normal", generator)


def xavier_trunc_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with variance 2 gain² / (fan_in + fan_out), normal within two deviations."""
    return variance_scaling_(tensor, gain**2, "fan_avg", "trunc_normal", generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Fill uniformly with variance gain² / fan (He et al. 2015).

    Args:
        tensor: [outputs, inputs, *kernel].
        a: Negative slope, for ``leaky_relu``; 0 makes it ReLU.
        mode: ``fan_in`` keeps the variance forwards, ``fan_out`` backwards.
        nonlinearity: The activation that follows; see `calculate_gain`.
    """
    scale = calculate_gain(nonlinearity, a) ** 2
    return variance_scaling_(tensor, scale, mode, "uniform", generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Fill normally with variance gain² / fan (He et al. 2015); see `kaiming_uniform_`."""
    scale = calculate_gain(nonlinearity, a) ** 2
    return variance_scaling_(tensor, scale, mode, "normal", generator)


def kaiming_trunc_normal_(
    tensor: T,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Fill with variance gain² / fan, normal within two deviations; see `kaiming_uniform_`."""
    scale = calculate_gain(nonlinearity, a) ** 2
    return variance_scaling_(tensor, scale, mode, "trunc_normal", generator)


def lecun_uniform_(tensor: T, generator: Generator | None = None) -> T:
    """Fill uniformly with variance 1 / fan_in (LeCun et al. 1998)."""
    return variance_scaling_(tensor, 1.0, "fan_in", "uniform", generator)


def lecun_normal_(tensor: T, generator: Generator | None = None) -> T:
    """Fill normally with variance 1 / fan_in (LeCun et al. 1998)."""
    return variance_scaling_(tensor, 1.0, "fan_in", "normal", generator)


def lecun_trunc_normal_(tensor: T, generator: Generator | None = None) -> T:
    """Fill with variance 1 / fan_in, normal within two deviations."""
    return variance_scaling_(tensor, 1.0, "fan_in", "trunc_normal", generator)


# --- structures -------------------------------------------------------------------------------


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with a (semi-)orthogonal matrix, drawn uniformly among them (Saxe et al. 2014).

    Axes behind the first are flattened into one. Rows (or columns, if there are fewer) are
    orthogonal and of length ``gain``.

    Raises:
        ShapeError: The tensor has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ShapeError(
            f"orthogonal_: {tensor.spec} has fewer than two axes",
            hint="fill vectors with nn.init.zeros_, ones_, constant_, normal_ or uniform_",
        )
    _expect_floating("orthogonal_", tensor)
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    if rows == 0 or columns == 0:
        return tensor
    tall = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(randn(tall, dtype="float64", generator=generator).numpy())
    # The signs of R's diagonal are an accident of the algorithm; without them Q is uniform.
    q = q * np.sign(np.diag(r))
    values = gain * (q if rows >= columns else q.T).reshape(tensor.shape)
    with no_grad():
        return tensor.copy_(from_numpy(values).to(tensor.dtype))


def dirac_(tensor: T, groups: int = 1) -> T:
    """Fill a convolution's weight so that it gives back its input.

    Output channel i of each group copies input channel i, as far as there are both.

    Args:
        tensor: [outputs, inputs, *kernel] with one to three spatial axes.
        groups: Number of groups of the convolution.

    Raises:
        ShapeError: The tensor has not three to five axes.
        ArgumentError: The outputs do not split into the groups.
    """
    if not 3 <= tensor.ndim <= 5:
        raise ShapeError(
            f"dirac_: {tensor.spec} is not the weight of a convolution [outputs, inputs, *kernel]",
            hint="nn.init.eye_ for a matrix" if tensor.ndim == 2 else "",
        )
    if groups < 1 or tensor.shape[0] % groups:
        raise ArgumentError(
            f"dirac_: {tensor.shape[0]} outputs do not split into groups={groups} of equal size"
        )
    values = np.zeros(tensor.shape)
    each = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(each, tensor.shape[1])):
            values[(group * each + channel, channel, *middle)] = 1.0
    with no_grad():
        return tensor.copy_(from_numpy(values).to(tensor.dtype))


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> T:
    """Fill a matrix normally, with a part of each column 0 (Martens 2010).

    Args:
        tensor: [outputs, inputs].
        sparsity: Part of each column that is 0, from 0 to 1; the number is rounded up.
        std: Standard deviation of the rest.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).

    Raises:
        ShapeError: The tensor is not a matrix.
        ArgumentError: The sparsity is not from 0 to 1, or ``std`` is negative or not finite.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: {tensor.spec} is not a matrix")
    if not 0.0 <= sparsity <= 1.0:
        raise ArgumentError(f"sparse_: sparsity is {sparsity}, expected 0 to 1")
    rows = tensor.shape[0]
    normal_(tensor, 0.0, std, generator)
    with no_grad():
        order = rand(tensor.shape, dtype="float64", generator=generator).argsort(0).argsort(0)
        kept = (order >= math.ceil(sparsity * rows)).to(tensor.dtype)
        return tensor.mul_(kept)


def _expect_floating(op: str, tensor: Tensor) -> None:
    if not tensor.dtype.is_floating:
        raise DTypeError(
            f"{op}: tensor {tensor.spec} cannot hold real numbers",
            hint="x.float() makes a copy that can",
        )


def _fan(weight: Tensor, mode: str) -> float:
    fan_in, fan_out = fans(weight)
    known = {"fan_in": float(fan_in), "fan_out": float(fan_out), "fan_avg": (fan_in + fan_out) / 2}
    if mode not in known:
        raise unknown_word("mode", mode, known)
    if not known[mode]:
        side = "outputs" if mode == "fan_out" else "inputs"
        raise ShapeError(
            f"init: {mode} of weight {weight.spec} is 0: there are no {side} to sum over",
            hint="leave weights without elements as they are",
        )
    return known[mode]
