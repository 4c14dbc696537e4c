"""RMSprop: gradients divided by their usual size.

Takes: gradients. Gives: parameters moved against them, each element at its own scale.
The one idea: Adagrad's sum becomes a running mean, so that steps do not shorten for ever
(Tieleman & Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning").
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_momentum, check_range


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012), with momentum and centring (Graves 2013).

    With g = gradient + weight_decay p:
    v ← α v + (1 - α) g²; s = √v + eps, or √(v - m²) + eps with m ← α m + (1 - α) g if
    ``centered``; p ← p - lr g / s, or with momentum b ← momentum b + g / s, p ← p - lr b.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: about the length of a step of each element.
        alpha: Part of the running mean that is kept at each step.
        eps: Added to the denominator.
        weight_decay: Strength of the pull towards 0 (L2 penalty).
        momentum: Part of the last step that is kept; 1 or more is warned of.
        centered: Whether to divide by the deviation of the gradient instead of its size.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.RMSprop([x], lr=0.01)
        >>> (x**2).backward()
        >>> optimizer.step()
        >>> round(x.item(), 4)
        2.9
    """

    keeps = ("step", "square_avg")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "eps", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_range(self.name, "alpha", group["alpha"], high=1.0)
        check_momentum(self.name, group["momentum"])
        for setting in ("centered", "maximize"):
            check_flag(self.name, setting, group[setting])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        alpha = group["alpha"]
        _, grad = decayed(param, grad, group, decoupled=False)
        state.setdefault("step", 0)
        square = self.remembered(state, "square_avg", param)
        square.mul_(alpha).add_(grad * grad * (1.0 - alpha))
        size: Tensor = square
        if group["centered"]:
            mean = self.remembered(state, "grad_avg", param)
            mean.add_((grad - mean) * (1.0 - alpha))
            size = square - mean * mean
        step = grad / (size.sqrt() + group["eps"])
        if group["momentum"]:
            kept = self.read("momentum", param, group, lambda: group["momentum"])
            step = self.remembered(state, "momentum_buffer", param).mul_(kept).add_(step)
        param.sub_(number(lambda: group["lr"], param.dtype, "lr", id(group)) * step)
        after(lambda: state.update(step=state["step"] + 1))
