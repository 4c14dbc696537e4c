"""Muon: momentum whose directions all have the same strength.

Takes: gradients of matrices. Gives: the matrices moved along an orthogonal one.
The one idea: the momentum of a weight matrix is dominated by a few directions; the nearest
orthogonal matrix, found by a polynomial in matrix products, brings the rare ones up
(Jordan et al. 2024).
"""

from __future__ import annotations

import math

from chainrule.core.errors import ArgumentError
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_count, check_flag, check_momentum, check_range

# Coefficients of x ↦ a x + b x³ + c x⁵, steep at 0: Jordan et al. 2024.
COEFFICIENTS = (3.4445, -4.775, 2.0315)
ADJUSTMENTS = ("original", "match_rms_adamw")


class Muon(Optimizer):
    """Muon, momentum orthogonalised by Newton-Schulz (Jordan et al. 2024), for matrices.

    b ← momentum b + (1 - momentum) g; u = g + momentum (b - g) with ``nesterov``, else b;
    O = the polynomial applied to u / ‖u‖, ``ns_steps`` times;
    p ← (1 - lr weight_decay) p - lr √max(1, rows / columns) O.

    For hidden layers only: biases, embeddings and the last layer belong to `AdamW`. The
    iteration computes in the parameter's own dtype (PyTorch's in bfloat16).

    Args:
        params: Parameters of two axes, or groups of them; see `Optimizer`.
        lr: Learning rate.
        weight_decay: Strength of the pull towards 0, decoupled.
        momentum: Part of the running mean that is kept; 1 or more is warned of.
        nesterov: Whether to look ahead along the momentum.
        ns_coefficients: a, b and c of the polynomial a x + b x³ + c x⁵.
        eps: Least norm that u is divided by.
        ns_steps: How often the polynomial is applied.
        adjust_lr_fn: ``original`` (or None) as above; ``match_rms_adamw`` scales by
            0.2 √max(rows, columns), so that rates and decays of AdamW can be kept.

    Raises:
        ArgumentError: A setting is out of range, or a parameter is no matrix.
    """

    keeps = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "weight_decay", "eps"):
            check_range(self.name, setting, group[setting])
        check_momentum(self.name, group["momentum"])
        check_flag(self.name, "nesterov", group["nesterov"])
        check_count(self.name, "ns_steps", group["ns_steps"])
        if len(group["ns_coefficients"]) != 3:
            raise ArgumentError(
                f"{self.name}: ns_coefficients is {group['ns_coefficients']!r}, expected three"
            )
        if group["adjust_lr_fn"] not in (None, *ADJUSTMENTS):
            raise ArgumentError(
                f"{self.name}: adjust_lr_fn is {group['adjust_lr_fn']!r}, expected None or one of "
                f"{ADJUSTMENTS}"
            )
        for param in group["params"]:
            if param.ndim != 2:
                raise ArgumentError(
                    f"{self.name}: {self._names[param]} is {param.spec}, expected a matrix",
                    hint="give all other parameters to optim.AdamW: "
                    "[p for p in model.parameters() if p.ndim == 2]",
                )

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        kept = self.read("momentum", param, group, lambda: group["momentum"])
        new = self.read("momentum", param, group, lambda: 1.0 - group["momentum"], "new")
        mean = self.remembered(state, "momentum_buffer", param)
        mean.mul_(kept).add_(grad * new)
        step = grad + (mean - grad) * kept if group["nesterov"] else mean
        step = _orthogonal(step, group)
        value, _ = decayed(param, grad, group, decoupled=True)
        rows, columns = param.shape
        scale = math.sqrt(max(1.0, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        rate = number(lambda: group["lr"] * scale, param.dtype, f"lr x {scale:g}", id(group))
        param.copy_(value - step * rate)


def _orthogonal(x: Tensor, group: Group) -> Tensor:
    """Return about the nearest orthogonal matrix, by the Newton-Schulz iteration."""
    a, b, c = group["ns_coefficients"]
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x  # [short, long]: the products below are [short, short]
    x = x / (x * x).sum().sqrt().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.mT if tall else x
