"""Adadelta: steps in the units of the parameters, so that no learning rate must be chosen.

Takes: gradients. Gives: parameters moved by the usual size of steps over that of gradients.
The one idea: a running mean instead of Adagrad's growing sum, and in the numerator the running
mean of the steps themselves: their units cancel those of the gradient (Zeiler 2012).
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_range


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012): it has no learning rate to choose.

    With g = gradient + weight_decay p:
    v ← ρ v + (1 - ρ) g², Δ = √(u + eps) / √(v + eps) g, u ← ρ u + (1 - ρ) Δ², p ← p - lr Δ.

    The paper's rule is ``lr=1.0``, the default: the length of a step follows from the steps
    before alone. ``lr`` is a factor for those who want shorter steps or a schedule all the same.
    The first steps are about √eps long, so ``eps`` decides how fast it gets going.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Factor of the step; 1 is the rule itself.
        rho: Part of both running means that is kept at each step.
        eps: Added to both running means.
        weight_decay: Strength of the pull towards 0 (L2 penalty).
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.Adadelta([x])
        >>> (1000 * x**2).backward()
        >>> optimizer.step()
        >>> round(3 - x.item(), 5)  # √eps / √(1 - rho), whatever the scale of the loss
        0.00316
    """

    keeps = ("step", "square_avg", "acc_delta")

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "eps", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_range(self.name, "rho", group["rho"], high=1.0)
        check_flag(self.name, "maximize", group["maximize"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        rho, eps = group["rho"], group["eps"]
        _, grad = decayed(param, grad, group, decoupled=False)
        state.setdefault("step", 0)
        square = self.remembered(state, "square_avg", param)
        square.mul_(rho).add_(grad * grad * (1.0 - rho))
        steps = self.remembered(state, "acc_delta", param)
        delta = (steps + eps).sqrt() / (square + eps).sqrt() * grad
        steps.mul_(rho).add_(delta * delta * (1.0 - rho))
        param.sub_(number(lambda: group["lr"], param.dtype, "lr", id(group)) * delta)
        after(lambda: state.update(step=state["step"] + 1))
