"""Activations: the bends between layers, beyond relu, sigmoid and tanh.

Takes: tensors of real numbers. Gives: tensors of the same shape.
The one idea: each is a formula in elementary functions; where a branch could overflow, its
argument is replaced before, so that neither value nor gradient becomes NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating

__all__ = [
    "elu",
    "gelu",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu6",
    "selu",
    "silu",
]

# Klambauer et al. 2017, "Self-normalizing neural networks", eq. 14: mean 0 and variance 1 are
# a fixed point of a layer with these two numbers.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _smooth_samples() -> Iterable[Sample]:
    return (sample((2, 3)), sample(In((5,), -6.0, 6.0)), sample(()), sample((0, 2), name="empty"))


def _bent_samples(*kinks: float) -> Iterable[Sample]:
    ends = (min(kinks) - 2.0, max(kinks) + 2.0)
    return (
        sample(In((2, 3), *ends, avoid=kinks)),
        sample(In((7,), *ends, avoid=kinks)),
        sample(In((), *ends, avoid=kinks)),
        sample((0, 2), name="empty"),
    )


@composite(_smooth_samples)
def logsigmoid(x: Tensor) -> Tensor:
    """Return ln(1 / (1 + e^-x)) = -softplus(-x), exact where the sigmoid itself rounds to 0."""
    return -call("softplus", -floating(x))


def _gelu_samples() -> Iterable[Sample]:
    return (
        *_smooth_samples(),
        sample((3, 2), approximate="tanh"),
        sample(In((4,), -6.0, 6.0), approximate="tanh", name="wide"),
    )


@composite(_gelu_samples)
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Return x times the probability that a standard normal variable is below x.

    Args:
        x: Any shape.
        approximate: ``"none"``: x (1 + erf(x / sqrt 2)) / 2; ``"tanh"``: the approximation
            x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    Returns:
        The same shape.

    Raises:
        ArgumentError: ``approximate`` is another word.

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units".
    """
    made = floating(x)
    if approximate == "none":
        return made * ((made * math.sqrt(0.5)).erf() + 1.0) * 0.5
    if approximate == "tanh":
        cubic = made * (1.0 + 0.044715 * (made * made))
        return made * ((cubic * math.sqrt(2 / math.pi)).tanh() + 1.0) * 0.5
    raise unknown_word("approximation of gelu", approximate, ("none", "tanh"))


@composite(_smooth_samples)
def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x), also called swish (Ramachandran, Zoph & Le 2017)."""
    made = floating(x)
    return made * made.sigmoid()


@composite(_smooth_samples)
def mish(x: Tensor) -> Tensor:
    """Return x tanh(softplus(x)) (Misra 2019)."""
    made = floating(x)
    return made * call("softplus", made).tanh()


def _leaky_samples() -> Iterable[Sample]:
    return (*_bent_samples(0.0), sample(In((4,), avoid=(0.0,)), negative_slope=0.2))


@composite(_leaky_samples)
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x where it is positive, and ``negative_slope`` x elsewhere.

    Args:
        x: Any shape.
        negative_slope: Slope for x <= 0; the derivative at 0 is this one.

    Returns:
        The same shape.

    Source: Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic
    models".
    """
    made = floating(x)
    return call("where", made > 0, made, made * negative_slope)


def _elu_samples() -> Iterable[Sample]:
    return (*_bent_samples(0.0), sample(In((4,), avoid=(0.0,)), alpha=0.5))


@composite(_elu_samples)
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, and ``alpha`` (e^x - 1) elsewhere.

    Args:
        x: Any shape.
        alpha: The value -alpha is approached far below 0.

    Returns:
        The same shape.

    Source: Clevert, Unterthiner & Hochreiter 2015, "Fast and accurate deep network learning by
    exponential linear units".
    """
    made = floating(x)
    positive = made > 0
    # e^x of a large x would be inf, and its gradient inf times 0.
    below = call("where", positive, 0.0, made)
    return call("where", positive, made, below.expm1() * alpha)


@composite(lambda: _bent_samples(0.0))
def selu(x: Tensor) -> Tensor:
    """Return 1.0507 elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return elu(x, _SELU_ALPHA) * _SELU_SCALE


def _hardtanh_samples() -> Iterable[Sample]:
    wide = In((3,), -3.0, 4.0, avoid=(-2.0, 3.0))
    return (*_bent_samples(-1.0, 1.0), sample(wide, min_val=-2.0, max_val=3.0))


@composite(_hardtanh_samples)
def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Return x limited to a range; the derivative at its ends is 0.

    Args:
        x: Any shape.
        min_val: Smallest result.
        max_val: Largest result.

    Returns:
        The same shape.

    Raises:
        ArgumentError: The range is empty.
    """
    if min_val >= max_val:
        raise ArgumentError(f"hardtanh: min_val={min_val} must be below max_val={max_val}")
    made = floating(x)
    inner = call("where", made >= max_val, max_val, made)
    return call("where", made <= min_val, min_val, inner)


@composite(lambda: _bent_samples(0.0, 6.0))
def relu6(x: Tensor) -> Tensor:
    """Return x limited to the range from 0 to 6 (Krizhevsky 2010)."""
    return hardtanh(x, 0.0, 6.0)


@composite(lambda: _bent_samples(-3.0, 3.0))
def hardswish(x: Tensor) -> Tensor:
    """Return x relu6(x + 3) / 6, a cheap `silu` (Howard et al. 2019, "MobileNetV3")."""
    made = floating(x)
    return made * hardtanh(made + 3.0, 0.0, 6.0) * (1.0 / 6.0)
