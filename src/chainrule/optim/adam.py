"""Adam: a step length of its own for each element of each parameter.

Takes: gradients. Gives: parameters moved against their running mean, divided by its usual size.
The one idea: m and v are running means of the gradient and of its square; m / √v is a step of
about 1 whatever the scale of the gradient (Kingma & Ba 2015).
"""

from __future__ import annotations

import math

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.optim.optimizer import Group, Optimizer, Params, State, check_range


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
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ArgumentError(f"{self.name}: betas is {betas!r}, expected two numbers")
        for position, beta in enumerate(betas):
            check_range(self.name, f"betas[{position}]", beta, high=1.0)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        if not state:
            zero = call("zeros_like", grad)
            state |= {"step": 0, "exp_avg": zero, "exp_avg_sq": zero}
        beta1, beta2 = group["betas"]
        state["step"] += 1
        decay = group["weight_decay"]
        value: Tensor = param
        if decay and self.decoupled:
            value = value * (1.0 - group["lr"] * decay)
        elif decay:
            grad = grad + decay * value
        mean = state["exp_avg"] * beta1 + grad * (1.0 - beta1)
        square = state["exp_avg_sq"] * beta2 + grad * (1.0 - beta2) * grad
        state["exp_avg"], state["exp_avg_sq"] = mean, square
        if group["amsgrad"]:
            largest = state.get("max_exp_avg_sq", square)
            square = state["max_exp_avg_sq"] = call("maximum", largest, square)
        # The two corrections are numbers: applied to the step and to eps they cost nothing.
        correction1 = 1.0 - beta1 ** state["step"]
        correction2 = math.sqrt(1.0 - beta2 ** state["step"])
        denominator = square.sqrt() + group["eps"] * correction2
        rate = group["lr"] * correction2 / correction1
        param.copy_(value - mean / denominator * rate)


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
