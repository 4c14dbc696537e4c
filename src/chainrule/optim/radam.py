"""RAdam: Adam that trusts its denominator only when enough gradients are behind it.

Takes: gradients. Gives: parameters moved by momentum alone at first, then as by Adam.
The one idea: the variance of Adam's step is huge while v has seen few gradients; its ratio to the
final one is known, and scales the step: a warm-up without settings (Liu et al. 2020).
"""

from __future__ import annotations

import math

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed, running_means
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_betas, check_flag, check_range


class RAdam(Optimizer):
    """RAdam, rectified Adam (Liu et al. 2020).

    With m and v as in `Adam`, ρ∞ = 2 / (1 - β₂) - 1, ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ):
    if ρₜ > 5: p ← p - lr r m / (1 - β₁ᵗ) / ((√v + eps) / √(1 - β₂ᵗ)) with
    r = √((ρₜ - 4) (ρₜ - 2) ρ∞ / ((ρ∞ - 4) (ρ∞ - 2) ρₜ)); else p ← p - lr m / (1 - β₁ᵗ).

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: about the length of a step of each element.
        betas: β₁ and β₂, how much of the running means is kept at each step.
        eps: Added to √v.
        weight_decay: Strength of the pull towards 0.
        decoupled_weight_decay: Whether weight decay bypasses the running means, as in `AdamW`.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.RAdam([x], lr=0.1)
        >>> (x**2).backward()
        >>> optimizer.step()  # the first steps are those of SGD
        >>> round(x.item(), 4)
        2.4
    """

    keeps = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "eps", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_betas(self.name, group["betas"])
        for setting in ("decoupled_weight_decay", "maximize"):
            check_flag(self.name, setting, group[setting])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        value, grad = decayed(param, grad, group, decoupled=group["decoupled_weight_decay"])
        state.setdefault("step", 0)
        mean, square = running_means(self, param, grad, state, group)

        def trust() -> float:
            return _trust(state["step"] + 1, group["betas"][1])

        def rate() -> float:
            step = state["step"] + 1
            return float(group["lr"] * (trust() or 1.0) / (1.0 - group["betas"][0] ** step))

        # Which of the two rules holds is known only at the call: s (√v + eps) + (1 - s).
        key = (id(group), state["step"])
        adaptive = number(lambda: float(trust() > 0), param.dtype, "adaptive", key)
        plain = number(lambda: float(not trust()), param.dtype, "plain", key)
        size = (square.sqrt() + group["eps"]) * adaptive + plain
        param.copy_(value - mean / size * number(rate, param.dtype, "rate", key))
        after(lambda: state.update(step=state["step"] + 1))


def _trust(step: int, beta: float) -> float:
    """Return r √(1 - β₂ᵗ), or 0 where the denominator is not to be trusted yet."""
    correction = 1.0 - beta**step
    last = 2.0 / (1.0 - beta) - 1.0
    length = last - 2.0 * step * beta**step / correction
    if length <= 5.0:
        return 0.0
    part = (length - 4.0) * (length - 2.0) * last / ((last - 4.0) * (last - 2.0) * length)
    return math.sqrt(part * correction)
