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

from chainrule.core.errors import ArgumentError, ShapeError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, from_numpy
from chainrule.ops.generator import Generator
from chainrule.ops.random import rand, randn, truncated_normal

T = TypeVar("T", bound=Tensor)
FanMode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "trunc_normal", "uniform"]
Nonlinearity = Literal[
    "linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "softmax"
]

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


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights make up for what an activation does to the variance.

    Args:
        nonlinearity: ``linear``, ``conv1d`` ..., ``sigmoid``, ``tanh``, ``relu``,
            ``leaky_relu``, ``selu``, ``gelu``, ``silu``.
        param: The negative slope of ``leaky_relu`` (default 0.01).

    Returns:
        1, 5/3 for tanh, √2 for relu, gelu and silu, √(2 / (1 + slope²)) for leaky_relu,
        3/4 for selu.

    Raises:
        ArgumentError: The name is unknown.
    """
    linear = ("linear", "identity", "sigmoid", "softmax")
    convolutions = tuple(f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3))
    gains = dict.fromkeys((*linear, *convolutions), 1.0)
    gains |= {"tanh": 5 / 3, "selu": 0.75}
    gains |= dict.fromkeys(("relu", "gelu", "silu"), math.sqrt(2))
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in gains:
        raise unknown_word("nonlinearity", nonlinearity, [*gains, "leaky_relu"])
    return gains[nonlinearity]


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with numbers drawn uniformly from [a, b)."""
    with no_grad():
        drawn = rand(tensor.shape, dtype=tensor.dtype, generator=generator)
        return tensor.copy_(drawn * (b - a) + a)


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> T:
    """Fill with numbers drawn from a normal distribution.

    Raises:
        ArgumentError: ``std`` is negative, infinite or NaN.
    """
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
    """
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
        raise ShapeError(f"eye_: {tensor.spec} is not a matrix")
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
        ArgumentError: An unknown word, or the scale is not positive.
        ShapeError: The tensor has fewer than two axes.
    """
    if not scale > 0:
        raise ArgumentError(f"variance_scaling_: scale is {scale}, expected a positive number")
    std = math.sqrt(scale / max(1.0, _fan(tensor, mode)))
    if distribution == "normal":
        return normal_(tensor, 0.0, std, generator)
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return uniform_(tensor, -bound, bound, generator)
    if distribution == "trunc_normal":
        wide = std / TRUNCATED_STD
        return trunc_normal_(tensor, 0.0, wide, -2 * wide, 2 * wide, generator)
    raise unknown_word("distribution", distribution, ("normal", "trunc_normal", "uniform"))


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill uniformly with variance 2 gain² / (fan_in + fan_out) (Glorot & Bengio 2010)."""
    return variance_scaling_(tensor, gain**2, "fan_avg", "uniform", generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill normally with variance 2 gain² / (fan_in + fan_out) (Glorot & Bengio 2010)."""
    return variance_scaling_(tensor, gain**2, "fan_avg", "normal", generator)


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
    return variance_scaling_(
        tensor, calculate_gain(nonlinearity, a) ** 2, mode, "uniform", generator
    )


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Fill normally with variance gain² / fan (He et al. 2015); see `kaiming_uniform_`."""
    return variance_scaling_(
        tensor, calculate_gain(nonlinearity, a) ** 2, mode, "normal", generator
    )


def lecun_uniform_(tensor: T, generator: Generator | None = None) -> T:
    """Fill uniformly with variance 1 / fan_in (LeCun et al. 1998)."""
    return variance_scaling_(tensor, 1.0, "fan_in", "uniform", generator)


def lecun_normal_(tensor: T, generator: Generator | None = None) -> T:
    """Fill normally with variance 1 / fan_in (LeCun et al. 1998)."""
    return variance_scaling_(tensor, 1.0, "fan_in", "normal", generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with a (semi-)orthogonal matrix, drawn uniformly among them (Saxe et al. 2014).

    Axes behind the first are flattened into one. Rows (or columns, if there are fewer) are
    orthogonal and of length ``gain``.

    Raises:
        ShapeError: The tensor has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: {tensor.spec} has fewer than two axes")
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


def default_variance(nonlinearity: str, slope: float, fan_in: float, fan_out: float) -> float:
    """Return the variance of a layer's first weights for the activation that follows it.

    He for the ReLU family (relu, leaky_relu, gelu, silu), Xavier for sigmoid and tanh, LeCun
    where no activation follows, and for selu, whose own scaling is derived from it.
    """
    if nonlinearity in ("relu", "leaky_relu", "gelu", "silu"):
        return calculate_gain(nonlinearity, slope) ** 2 / max(1.0, fan_in)
    if nonlinearity in ("sigmoid", "tanh"):
        return 2.0 / max(1.0, fan_in + fan_out)
    if nonlinearity in ("linear", "selu", "softmax"):
        return 1.0 / max(1.0, fan_in)
    known = ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "gelu", "silu", "softmax")
    raise unknown_word("nonlinearity", nonlinearity, known)


def _fan(weight: Tensor, mode: str) -> float:
    fan_in, fan_out = fans(weight)
    known = {"fan_in": float(fan_in), "fan_out": float(fan_out), "fan_avg": (fan_in + fan_out) / 2}
    if mode not in known:
        raise unknown_word("mode", mode, known)
    return known[mode]
