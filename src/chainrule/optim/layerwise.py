"""LARS and LAMB: a step length of its own for each layer, for very large batches.

Takes: gradients. Gives: parameters moved by a set part of their own length.
The one idea: a step should be small beside the weights it changes; the ratio of their norms to
that of the step, layer by layer, sees to it (You et al. 2017, 2020).
"""

from __future__ import annotations

import math

from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import running_means
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_betas, check_flag, check_momentum, check_range


class LARS(Optimizer):
    """LARS, layer-wise adaptive rate scaling (You, Gitman & Ginsburg 2017, algorithm 1).

    λ = trust_coefficient ‖p‖ / (‖g‖ + weight_decay ‖p‖ + eps), or 1 where a norm is 0;
    v ← momentum v + lr λ (g + weight_decay p); p ← p - v.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate.
        momentum: Part of the last step that is kept; 1 or more is warned of.
        weight_decay: Strength of the pull towards 0.
        trust_coefficient: Part of its own length that a layer moves by, at ``lr=1``.
        eps: Added to the denominator.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.
    """

    keeps = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "weight_decay", "trust_coefficient", "eps"):
            check_range(self.name, setting, group[setting])
        check_momentum(self.name, group["momentum"])
        check_flag(self.name, "maximize", group["maximize"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        decay = group["weight_decay"]
        weight, slope = _norm(param), _norm(grad)
        ratio = group["trust_coefficient"] * weight / (slope + decay * weight + group["eps"])
        trust = _where_both(weight, slope, ratio)
        rate = number(lambda: group["lr"], param.dtype, "lr", id(group))
        kept = self.read("momentum", param, group, lambda: group["momentum"])
        step = (grad + decay * param) * (trust * rate)
        param.sub_(self.remembered(state, "momentum_buffer", param).mul_(kept).add_(step))


class LAMB(Optimizer):
    """LAMB, layer-wise adaptive moments (You et al. 2020, algorithm 2).

    With m and v as in `Adam`: r = m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps) + weight_decay p,
    p ← p - lr ‖p‖ / ‖r‖ r; the ratio is 1 where a norm is 0.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: part of its own length that a layer moves by.
        betas: β₁ and β₂, how much of the running means is kept at each step.
        eps: Added to the denominator.
        weight_decay: Strength of the pull towards 0.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.
    """

    keeps = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "eps", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_betas(self.name, group["betas"])
        check_flag(self.name, "maximize", group["maximize"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        state.setdefault("step", 0)
        mean, square = running_means(self, param, grad, state, group)

        def root() -> float:
            return math.sqrt(1.0 - group["betas"][1] ** (state["step"] + 1))

        def scale() -> float:
            return root() / float(1.0 - group["betas"][0] ** (state["step"] + 1))

        key = (id(group), state["step"])
        eps = number(lambda: group["eps"] * root(), param.dtype, "eps", key)
        step = mean / (square.sqrt() + eps) * number(scale, param.dtype, "scale", key)
        step = step + group["weight_decay"] * param if group["weight_decay"] else step
        weight, length = _norm(param), _norm(step)
        trust = _where_both(weight, length, weight / length)
        rate = number(lambda: group["lr"], param.dtype, "lr", id(group))
        param.sub_(step * (trust * rate))
        after(lambda: state.update(step=state["step"] + 1))


def _norm(x: Tensor) -> Tensor:
    return (x * x).sum().sqrt()


def _where_both(first: Tensor, second: Tensor, ratio: Tensor) -> Tensor:
    """Return a ratio of norms, or 1 where one of them is 0."""
    both = (first > 0) & (second > 0)
    return call("where", both, ratio, call("ones_like", ratio))
