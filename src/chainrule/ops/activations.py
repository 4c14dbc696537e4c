"""Activations without kinks: smooth bends between layers, beyond sigmoid, tanh and softplus.

Takes: tensors of real numbers. Gives: tensors of the same shape.
The one idea: each is a formula in elementary functions. Where one would overflow or multiply 0
by infinity its limit stands instead, so neither values nor derivatives of any order become NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating

__all__ = [
    "celu",
    "elu",
    "gelu",
    "logsigmoid",
    "mish",
    "selu",
    "silu",
    "softsign",
    "swish",
    "tanhshrink",
]

# Klambauer et al. 2017, "Self-normalizing neural networks", eq. 14: mean 0 and variance 1 are
# a fixed point of a layer with these two numbers.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

# Beyond these the value is 0 below and x above, to the last digit of float64: e^-800 = 0, and
# erf(-30 / sqrt 2) = -1.
_LOGISTIC_END = 800.0
_NORMAL_END = 30.0


def smooth_samples() -> Iterable[Sample]:
    """Return samples for a function without kinks."""
    return (
        sample((2, 3)),
        sample(In((5,), -6.0, 6.0)),
        sample(()),
        sample((0, 2), name="empty"),
    )


def bent_samples(*kinks: float) -> Iterable[Sample]:
    """Return samples that keep away from kinks."""
    ends = (min(kinks) - 2.0, max(kinks) + 2.0)
    return (
        sample(In((2, 3), *ends, avoid=kinks)),
        sample(In((7,), *ends, avoid=kinks)),
        sample(In((), *ends, avoid=kinks)),
        sample((0, 2), name="empty"),
    )


def _between(x: Tensor, end: float, inner: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``inner(x)`` from -end to end, its value at -end below, and x above.

    ``x sigmoid(x)`` at -inf would be inf times 0, and so would derivatives at both infinities.
    """
    above = x > end
    within = call("where", above, end, call("where", x < -end, -end, x))
    return call("where", above, x, inner(within))


@composite(smooth_samples)
def logsigmoid(x: Tensor) -> Tensor:
    """Return ln(1 / (1 + e^-x)) = -softplus(-x), exact where the sigmoid itself rounds to 0.

    Derivative: sigmoid(-x). Range: below 0. For logarithms of probabilities of yes/no; as an
    activation it never dies, but its results are all negative.
    """
    return -call("softplus", -floating(x), threshold=None)


def _gelu_samples() -> Iterable[Sample]:
    return (
        *smooth_samples(),
        sample((3, 2), approximate="tanh"),
        sample(In((4,), -6.0, 6.0), approximate="tanh", name="wide"),
    )


@composite(_gelu_samples)
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Return x times the probability that a standard normal variable is below x: x Φ(x).

    Derivative: Φ(x) + x φ(x), with φ the normal density; from -0.13 to 1.13. Range: from -0.17
    up, 0 at -inf. The usual choice in Transformers; dearer than `relu`, and not monotonic.

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
    if approximate == "none":
        return _between(floating(x), _NORMAL_END, _gelu_by_erf)
    if approximate == "tanh":
        return _between(floating(x), _NORMAL_END, _gelu_by_tanh)
    raise unknown_word("approximation of gelu", approximate, ("none", "tanh"))


def _gelu_by_erf(x: Tensor) -> Tensor:
    return x * ((x * math.sqrt(0.5)).erf() + 1.0) * 0.5


def _gelu_by_tanh(x: Tensor) -> Tensor:
    cubic = x * (1.0 + 0.044715 * (x * x))
    return x * ((cubic * math.sqrt(2 / math.pi)).tanh() + 1.0) * 0.5


@composite(smooth_samples)
def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x s(x), with s the sigmoid; also called swish.

    Derivative: s(x) (1 + x (1 - s(x))), from -0.1 to 1.1. Range: from -0.28 up, 0 at -inf.
    Smooth and never quite dead; not monotonic, and dearer than `relu`.

    Args:
        x: Any shape.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Elfwing, Uchibe & Doya 2018, "Sigmoid-weighted linear units"; Ramachandran, Zoph &
    Le 2017, "Searching for activation functions".
    """
    return _between(floating(x), _LOGISTIC_END, lambda y: y * y.sigmoid())


def _swish_samples() -> Iterable[Sample]:
    return (
        *smooth_samples(),
        sample((2, 3), beta=2.5),
        sample((4,), beta=0.0, name="no gate"),
        sample((4,), beta=-1.0, name="turned"),
        sample((2, 3), In((), 0.5, 2.0), name="learned"),
    )


@composite(_swish_samples)
def swish(x: Tensor, beta: Tensor | float = 1.0) -> Tensor:
    """Return x s(beta x), with s the sigmoid.

    Derivative: s(beta x) (1 + beta x (1 - s(beta x))); with respect to beta: x² s (1 - s).
    Range: from -0.28 / beta up. Between x / 2 (beta = 0) and `relu` (beta large).

    Args:
        x: Any shape.
        beta: How sharply it bends: a number, or a tensor that broadcasts with x to x's shape
            and may be learned.

    Returns:
        The same shape.

    Source: Ramachandran, Zoph & Le 2017, "Searching for activation functions".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.swish(chainrule.tensor([-4.0, 2.0]), beta=0.0).tolist()
        [-2.0, 1.0]
    """
    made = floating(x)
    infinite = made.isinf()
    finite = call("where", infinite, 0.0, made)
    # At infinity x s(beta x) would be inf times 0 where the gate is shut.
    end = call("where", made * beta < 0, 0.0, made)
    return call("where", infinite, end, finite * (finite * beta).sigmoid())


@composite(smooth_samples)
def mish(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x tanh(softplus(x)).

    Derivative: tanh(p) + x s(x) / cosh²(p), with p = softplus(x) and s the sigmoid; from -0.11
    to 1.09. Range: from -0.31 up, 0 at -inf. Much like `silu`, and dearer still.

    Args:
        x: Any shape.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function".
    """

    def inner(y: Tensor) -> Tensor:
        return y * call("softplus", y, threshold=None).tanh()

    return _between(floating(x), _LOGISTIC_END, inner)


@composite(smooth_samples)
def softsign(x: Tensor) -> Tensor:
    """Return x / (1 + |x|).

    Derivative: 1 / (1 + |x|)². Range: from -1 to 1, around 0. Like `tanh`, but it saturates
    slowly: the derivative falls as 1 / x² instead of e^-2x.

    Source: Turian, Bergstra & Bengio 2009, "Quadratic features and deep architectures for
    chunking"; Glorot & Bengio 2010.
    """
    made = floating(x)
    size = made.abs()
    far = size > 1.0
    near = call("where", far, 0.0, made)
    # x / (1 + |x|) at infinity would be NaN, and its derivative a difference of near equals.
    rest = 1.0 / (1.0 + call("where", far, size, 1.0))
    return call("where", far, made.sign() * (1.0 - rest), near / (1.0 + near.abs()))


@composite(smooth_samples)
def tanhshrink(x: Tensor) -> Tensor:
    """Return x - tanh(x).

    Derivative: tanh²(x), so 0 at 0: small signals (about x³ / 3 is left) all but vanish, large
    ones pass. Range: all numbers, around 0. For sparse codes; a poor activation of deep networks.
    """
    made = floating(x)
    return made - made.tanh()


def _elu_samples() -> Iterable[Sample]:
    return (*bent_samples(0.0), sample(In((4,), avoid=(0.0,)), alpha=0.5))


@composite(_elu_samples)
def elu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where it is positive, and alpha (e^x - 1) elsewhere.

    Derivative: 1 where positive, alpha e^x elsewhere (alpha at 0). Range: above -alpha. Results
    average nearer to 0 than those of `relu`, and units do not die at once; they saturate below.

    Args:
        x: Any shape.
        alpha: The value -alpha is approached far below 0.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

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


@composite(lambda: (*bent_samples(0.0), sample(In((4,), avoid=(0.0,)), alpha=0.5)))
def celu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where it is positive, and alpha (e^(x / alpha) - 1) elsewhere.

    Derivative: 1 where positive, e^(x / alpha) elsewhere: continuous for every alpha, where that
    of `elu` jumps unless alpha is 1. Range: above -alpha.

    Args:
        x: Any shape.
        alpha: The value -alpha is approached far below 0; above 0.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Raises:
        ArgumentError: ``alpha`` is not positive.

    Source: Barron 2017, "Continuously differentiable exponential linear units".
    """
    if not alpha > 0:
        raise ArgumentError(
            f"celu: alpha is {alpha}, expected a number above 0",
            hint="relu(x) is the limit for alpha = 0",
        )
    made = floating(x)
    positive = made > 0
    below = call("where", positive, 0.0, made)
    return call("where", positive, made, (below / alpha).expm1() * alpha)


@composite(lambda: bent_samples(0.0))
def selu(x: Tensor, inplace: bool = False) -> Tensor:
    """Return 1.0507 elu(x, 1.6733).

    Derivative: 1.0507 where positive, 1.7581 e^x elsewhere. Range: above -1.7581. Between layers
    with weights of mean 0 and variance 1 / fan_in, signals of any depth tend to mean 0 and
    variance 1 by themselves. That fails with other weights, and with ordinary dropout.

    Args:
        x: Any shape.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, "Self-normalizing neural networks".
    """
    return elu(x, SELU_ALPHA) * SELU_SCALE
