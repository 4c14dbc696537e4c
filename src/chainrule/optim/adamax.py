"""Adamax: Adam with the largest gradient in the place of the root mean square.

Takes: gradients. Gives: parameters moved against their running mean, divided by its peak.
The one idea: the p-norm behind Adam's denominator, for p → ∞ (Kingma & Ba 2015, section 7.1).
"""

from __future__ import annotations

from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed, running_mean
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_betas, check_flag, check_range


class Adamax(Optimizer):
    """Adamax (Kingma & Ba 2015, section 7.1).

    With g = gradient + weight_decay p:
    m ← β₁ m + (1 - β₁) g, u ← max(β₂ u, |g| + eps), p ← p - lr / (1 - β₁ᵗ) m / u.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: the greatest length of a step of each element.
        betas: β₁ of the running mean, β₂ by which the peak fades.
        eps: Added to the absolute gradient.
        weight_decay: Strength of the pull towards 0 (L2 penalty).
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.Adamax([x], lr=0.1)
        >>> (x**2).backward()
        >>> optimizer.step()
        >>> round(x.item(), 4)
        2.9
    """

    keeps = ("step", "exp_avg", "exp_inf")

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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
        _, grad = decayed(param, grad, group, decoupled=False)
        state.setdefault("step", 0)
        mean = running_mean(self, param, grad, state, group)
        peak = self.remembered(state, "exp_inf", param)
        peak.copy_(call("maximum", peak * group["betas"][1], grad.abs() + group["eps"]))

        def rate() -> float:
            return float(group["lr"] / (1.0 - group["betas"][0] ** (state["step"] + 1)))

        key = (id(group), state["step"])
        param.sub_(mean / peak * number(rate, param.dtype, "rate", key))
        after(lambda: state.update(step=state["step"] + 1))
