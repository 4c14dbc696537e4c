"""Gains: what weights must make up for, activation by activation.

Takes: the name of an activation and its setting. Gives: a factor for weights, or their variance.
The one idea: a layer keeps the mean square of signals at 1 if weights have variance
gain² / fan_in with gain² = 1 / E[f(z)²], z standard normal (the argument of He et al. 2015). That
state must also be stable. It is not where f(z)² / z² rises with the size of z, as for GELU and
SiLU: those get √2, the largest gain with which no signal grows without bound. Small signals
shrink then, so deep networks of such units want normalisation layers.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from chainrule.core.errors import ArgumentError, unknown_word

Nonlinearity = Literal[
    "linear",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
    "gelu",
    "silu",
    "softmax",
    "elu",
    "celu",
    "mish",
    "hardswish",
    "softplus",
    "logsigmoid",
    "softsign",
    "hardtanh",
    "hardsigmoid",
]

# 1 / sqrt(E[f(z)²]) by quadrature to 20 digits.
_SOFTPLUS = 1.0418668355353017
_SOFTSIGN = 2.3375333631085397

_IDENTITIES = (
    *("linear", "identity", "sigmoid", "hardsigmoid", "softmax"),
    *(f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)),
)
_RECTIFIERS = ("relu", "relu6", "gelu", "silu", "swish", "mish", "hardswish")
_FIXED = {
    **dict.fromkeys(_IDENTITIES, 1.0),
    **dict.fromkeys(_RECTIFIERS, math.sqrt(2)),
    "tanh": 5 / 3,
    "selu": 0.75,
    "softsign": _SOFTSIGN,
    **dict.fromkeys(("softplus", "logsigmoid"), _SOFTPLUS),
    # E = P(|z| < 1) - 2 φ(1) + P(|z| > 1).
    "hardtanh": 1 / math.sqrt(1 - math.sqrt(2 / math.pi) * math.exp(-0.5)),
}
# Names with a setting, and what it is if nothing is said.
_SETTINGS = {"leaky_relu": 0.01, "prelu": 0.25, "elu": 1.0, "celu": 1.0}

_HE = (
    *("relu", "leaky_relu", "gelu", "silu", "mish", "hardswish"),
    *("elu", "celu", "softplus", "logsigmoid"),
)
_XAVIER = ("sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights make up for what an activation does to the variance.

    Args:
        nonlinearity: ``linear``, ``conv1d`` ..., ``sigmoid``, ``tanh``, ``relu``,
            ``leaky_relu``, ``selu`` as in PyTorch, and ``relu6``, ``prelu``, ``elu``, ``celu``,
            ``gelu``, ``silu`` (``swish``), ``mish``, ``hardswish``, ``softplus``,
            ``logsigmoid``, ``softsign``, ``hardtanh``, ``hardsigmoid``, ``softmax``.
        param: The negative slope of ``leaky_relu`` (default 0.01) and ``prelu`` (0.25), alpha of
            ``elu`` and ``celu`` (1).

    Returns:
        1, 5/3 for tanh, 3/4 for selu, √2 for relu and what tends to it (gelu, silu, mish,
        hardswish), √(2 / (1 + slope²)) for leaky_relu; and 1 / √E[f(z)²] over a standard normal
        z for elu (1.245), softplus (1.042), softsign (2.338), hardtanh (1.392).

    Raises:
        ArgumentError: The name is unknown, or the setting is not a finite number.

    Example:
        >>> from chainrule.nn import init
        >>> round(init.calculate_gain("elu"), 3)
        1.245
    """
    if nonlinearity in _FIXED:
        return _FIXED[nonlinearity]
    if nonlinearity not in _SETTINGS:
        raise unknown_word("nonlinearity", nonlinearity, [*_FIXED, *_SETTINGS])
    setting = _SETTINGS[nonlinearity] if param is None else param
    if isinstance(setting, bool | str) or not math.isfinite(setting):
        raise ArgumentError(
            f"calculate_gain: param of {nonlinearity} is {param!r}, expected a finite number"
        )
    if nonlinearity in ("leaky_relu", "prelu"):
        return math.sqrt(2 / (1 + setting**2))
    rate = 1.0 if nonlinearity == "elu" else setting
    return 1.0 / math.sqrt(0.5 + _below(setting, rate))


def _below(alpha: float, width: float) -> float:
    """Return the part of E[f(z)²] below 0, for f(z) = alpha (e^(z / width) - 1).

    It is alpha² (e^(2/w²) Φ(-2/w) - 2 e^(1/2w²) Φ(-1/w) + 1/2).
    """
    if width < 0.1:  # the exponentials would overflow; what is left is f = -alpha
        return alpha * alpha / 2

    def part(k: float) -> float:
        return math.exp(k * k / 2) * math.erfc(k / math.sqrt(2)) / 2

    return alpha * alpha * (part(2 / width) - 2 * part(1 / width) + 0.5)


def default_variance(
    nonlinearity: str, slope: float | None, fan_in: float, fan_out: float
) -> float:
    """Return the variance of a layer's first weights for the activation that follows it.

    He, gain² / fan_in, for the ReLU family (relu, leaky_relu, elu, gelu, silu, softplus ...);
    Xavier, 2 / (fan_in + fan_out), for sigmoid, tanh and their kin; LeCun, 1 / fan_in, where no
    activation follows, and for selu, whose own scaling is derived from it.

    Args:
        nonlinearity: The activation.
        slope: Its setting, where `calculate_gain` takes one; None: its default.
        fan_in: How many inputs an output sums over.
        fan_out: How many outputs an input reaches.

    Raises:
        ArgumentError: The name is unknown.
    """
    if nonlinearity in _HE:
        return calculate_gain(nonlinearity, slope) ** 2 / max(1.0, fan_in)
    if nonlinearity in _XAVIER:
        return 2.0 / max(1.0, fan_in + fan_out)
    if nonlinearity in ("linear", "selu", "softmax"):
        return 1.0 / max(1.0, fan_in)
    raise unknown_word("nonlinearity", nonlinearity, get_args(Nonlinearity))
