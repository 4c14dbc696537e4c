"""NAdam: Adam that looks ahead along its momentum.

Takes: gradients. Gives: parameters moved as by Adam, with the coming step's momentum.
The one idea: Nesterov's trick in Adam: the momentum that the next step would add is added now
(Dozat 2016).
"""

from __future__ import annotations

import math

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed, running_means
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_betas, check_flag, check_range


class NAdam(Optimizer):
    """NAdam (Dozat 2016): Adam with Nesterov momentum that warms up.

    With g = gradient + weight_decay p, μₜ = β₁ (1 - ½ 0.96^(t momentum_decay)), and m and v as
    in `Adam`:
    p ← p - lr [(1 - μₜ) g / (1 - ∏ᵢ≤ₜ μᵢ) + μₜ₊₁ m / (1 - ∏ᵢ≤ₜ₊₁ μᵢ)] / (√(v / (1 - β₂ᵗ)) + eps).

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: about the length of a step of each element.
        betas: β₁ and β₂, how much of the running means is kept at each step.
        eps: Added to the denominator.
        weight_decay: Strength of the pull towards 0.
        momentum_decay: How fast the momentum warms up.
        decoupled_weight_decay: Whether weight decay bypasses the running means, as in `AdamW`.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.NAdam([x], lr=0.1)
        >>> (x**2).backward()
        >>> optimizer.step()
        >>> round(x.item(), 4)
        2.8944
    """

    keeps = ("step", "exp_avg", "exp_avg_sq", "mu_product")
    numbers = ("mu_product",)

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "eps", "weight_decay", "momentum_decay"):
            check_range(self.name, setting, group[setting])
        check_betas(self.name, group["betas"])
        for setting in ("decoupled_weight_decay", "maximize"):
            check_flag(self.name, setting, group[setting])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        value, grad = decayed(param, grad, group, decoupled=group["decoupled_weight_decay"])
        state.setdefault("step", 0)
        state.setdefault("mu_product", 1.0)
        mean, square = running_means(self, param, grad, state, group)

        def momentum(ahead: int) -> float:
            steps = (state["step"] + 1 + ahead) * group["momentum_decay"]
            return float(group["betas"][0] * (1.0 - 0.5 * 0.96**steps))

        def product() -> float:
            return float(state["mu_product"] * momentum(0))

        def root() -> float:
            return math.sqrt(1.0 - group["betas"][1] ** (state["step"] + 1))

        def now() -> float:
            return float(group["lr"] * root() * (1.0 - momentum(0)) / (1.0 - product()))

        def ahead() -> float:
            return float(group["lr"] * root() * momentum(1) / (1.0 - product() * momentum(1)))

        key = (id(group), state["step"], state["mu_product"])
        eps = number(lambda: group["eps"] * root(), param.dtype, "eps", key)
        step = grad * number(now, param.dtype, "rate of the gradient", key)
        step = step + mean * number(ahead, param.dtype, "rate of the momentum", key)
        param.copy_(value - step / (square.sqrt() + eps))
        after(lambda: state.update(mu_product=product(), step=state["step"] + 1))
