"""Moments: running means of the gradient and of its square, which Adam and its kin share.

Takes: a gradient. Gives: both means, brought up to date in place.
The one idea: m ← β₁ m + (1 - β₁) g says where to go, v ← β₂ v + (1 - β₂) g² how far that is usual.
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import number
from chainrule.optim.optimizer import Group, Optimizer, State


def running_mean(
    rule: Optimizer, param: Tensor, grad: Tensor, state: State, group: Group
) -> Tensor:
    """Bring ``exp_avg`` up to date and return it."""
    kept = rule.read("betas", param, group, lambda: group["betas"][0], "beta1")
    new = rule.read("betas", param, group, lambda: 1.0 - group["betas"][0], "1 - beta1")
    mean = rule.remembered(state, "exp_avg", param)
    mean.mul_(kept).add_(grad * new)
    return mean


def running_means(
    rule: Optimizer, param: Tensor, grad: Tensor, state: State, group: Group
) -> tuple[Tensor, Tensor]:
    """Bring ``exp_avg`` and ``exp_avg_sq`` up to date and return them."""
    mean = running_mean(rule, param, grad, state, group)
    beta = group["betas"][1]
    square = rule.remembered(state, "exp_avg_sq", param)
    square.mul_(beta).add_(grad * (1.0 - beta) * grad)
    return mean, square


def decayed(param: Tensor, grad: Tensor, group: Group, *, decoupled: bool) -> tuple[Tensor, Tensor]:
    """Return parameter and gradient with weight decay in one of them.

    Decoupled, the parameter shrinks by the part ``lr weight_decay``; else the pull towards 0 is
    part of the gradient.
    """
    decay = group["weight_decay"]
    if not decay:
        return param, grad
    if not decoupled:
        return param, grad + decay * param
    kept = number(lambda: 1.0 - group["lr"] * decay, param.dtype, "decay", id(group))
    return param * kept, grad
