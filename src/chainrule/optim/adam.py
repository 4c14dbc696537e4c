"""Adam: a step length of its own for each element of each parameter.

Takes: gradients. Gives: parameters moved against their running mean, divided by its usual size.
The one idea: m and v are running means of the gradient and of its square; m / √v is a step of
about 1 whatever the scale of the gradient (Kingma & Ba 2015).
"""

from __future__ import annotations

import math

from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed, running_means
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_betas, check_flag, check_range


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), with the running means corrected for their start from 0.

    With g = gradient + weight_decay p:
    m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g²,
    p ← p - lr m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps).

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: about the length of a step of each element.
        betas: β₁ and β₂, how much of the running means is kept at each step.
        eps: Added to the denominator; steps become smaller where gradients are below it.
        weight_decay: Strength of the pull towards 0, as part of the gradient (L2 penalty).
        amsgrad: Divide by the largest v so far, so that steps never grow (Reddi et al. 2018).
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.
    """

    keeps = ("step", "exp_avg", "exp_avg_sq")
    # Whether weight decay bypasses the running means.
    decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "eps", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_betas(self.name, group["betas"])
        for setting in ("amsgrad", "maximize"):
            check_flag(self.name, setting, group[setting])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        value, grad = decayed(param, grad, group, decoupled=self.decoupled)
        state.setdefault("step", 0)
        mean, square = running_means(self, param, grad, state, group)
        if group["amsgrad"]:
            largest = self.remembered(state, "max_exp_avg_sq", param)
            square = largest.copy_(call("maximum", largest, square))

        # The two corrections are numbers: applied to the step and to eps they cost nothing.
        def correction(position: int) -> float:
            return float(1.0 - group["betas"][position] ** (state["step"] + 1))

        def rate() -> float:
            return float(group["lr"] * math.sqrt(correction(1)) / correction(0))

        # Parameters that have made equally many steps will always have.
        key = (id(group), state["step"])
        eps = number(lambda: group["eps"] * math.sqrt(correction(1)), param.dtype, "eps", key)
        step = mean / (square.sqrt() + eps) * number(rate, param.dtype, "rate", key)
        param.copy_(value - step)
        after(lambda: state.update(step=state["step"] + 1))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    p ← (1 - lr weight_decay) p at each step, and nothing of it enters the running means.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: about the length of a step of each element.
        betas: β₁ and β₂, how much of the running means is kept at each step.
        eps: Added to the denominator.
        weight_decay: Strength of the pull towards 0.
        amsgrad: Divide by the largest v so far.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.
    """

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
