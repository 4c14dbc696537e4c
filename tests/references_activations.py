"""References of activations: PyTorch's functions, with the limits where PyTorch gives NaN.

At ±inf PyTorch computes 0 times inf or inf / inf for some of them; what stands in for its result
there is the limit, written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lazy_torch import F, torch

if TYPE_CHECKING:
    from torch import Tensor

Reference = Callable[..., Any]


def named(name: str) -> Reference:
    return lambda x, **attrs: getattr(F, name)(x, **attrs)


def with_limits(function: Reference, low: float, high: float) -> Reference:
    """Return a function that has the given values at -inf and +inf."""

    def reference(x: Tensor, *args: Any, **attrs: Any) -> Tensor:
        result = function(x, *args, **attrs)
        result = torch.where(x == -torch.inf, torch.full_like(result, low), result)
        return torch.where(x == torch.inf, torch.full_like(result, high), result)

    return reference


def swish(x: Tensor, beta: Any = 1.0) -> Tensor:
    result = x * torch.sigmoid(x * beta)
    limit = torch.where(x * beta < 0, torch.zeros_like(x), x)
    return torch.where(x.isinf(), limit, result)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    return F.relu(x) if negative_slope == 0 else F.leaky_relu(x, negative_slope)


def softplus(x: Tensor, *, beta: float = 1.0, threshold: float | None = 20.0) -> Tensor:
    return F.softplus(x, beta=beta, threshold=1e6 if threshold is None else threshold)


def gated(gate: Reference) -> Reference:
    def reference(x: Tensor, dim: int = -1) -> Tensor:
        first, second = x.chunk(2, dim)
        return first * gate(second)

    return reference


_SILU = with_limits(F.silu, 0.0, torch.inf)
_GELU = with_limits(F.gelu, 0.0, torch.inf)

REFERENCES: dict[str, Reference] = {
    **{name: named(name) for name in ("logsigmoid", "elu", "celu", "selu", "hardtanh", "relu6")},
    **{name: named(name) for name in ("hardshrink", "softshrink", "threshold")},
    **{name: named(name) for name in ("tanhshrink", "rrelu", "glu", "softmin")},
    # The derivative of PyTorch's own is 1/6 rounded to float32, in float64 too (release 2.13).
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,
    "prelu": lambda x, weight: F.prelu(x, weight),
    "leaky_relu": leaky_relu,
    "softplus": softplus,
    "silu": _SILU,
    "gelu": _GELU,
    "mish": with_limits(F.mish, 0.0, torch.inf),
    "hardswish": with_limits(F.hardswish, 0.0, torch.inf),
    "softsign": with_limits(F.softsign, -1.0, 1.0),
    "swish": swish,
    "swiglu": gated(_SILU),
    "geglu": gated(_GELU),
    "reglu": gated(F.relu),
}
