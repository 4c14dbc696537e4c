"""Lion: steps of one length, only their signs differ.

Takes: gradients. Gives: parameters moved by the sign of a running mean.
The one idea: a program search over update rules found this one: keep one running mean, walk along
the sign of its mixture with the gradient (Chen et al. 2023).
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_betas, check_flag, check_range


class Lion(Optimizer):
    """Lion, evolved sign momentum (Chen et al. 2023, algorithm 2).

    c = β₁ m + (1 - β₁) g; p ← p - lr (sign(c) + weight_decay p); m ← β₂ m + (1 - β₂) g.

    It keeps half the state of Adam. Every element moves by lr, so rates are 3 to 10 times smaller
    than Adam's, and weight decays as much larger.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: the length of a step of each element.
        betas: β₁ of the mixture that is walked along, β₂ of the running mean that is kept.
        weight_decay: Strength of the pull towards 0, decoupled.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor([3.0, -0.5], requires_grad=True)
        >>> optimizer = optim.Lion([x], lr=0.01)
        >>> (x**2).sum().backward()
        >>> optimizer.step()
        >>> [round(v, 4) for v in x.tolist()]
        [2.99, -0.49]
    """

    keeps = ("exp_avg",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_betas(self.name, group["betas"])
        check_flag(self.name, "maximize", group["maximize"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        value, grad = decayed(param, grad, group, decoupled=True)
        kept = self.read("betas", param, group, lambda: group["betas"][0], "beta1")
        new = self.read("betas", param, group, lambda: 1.0 - group["betas"][0], "1 - beta1")
        mean = self.remembered(state, "exp_avg", param)
        direction = (mean * kept + grad * new).sign()
        rate = number(lambda: group["lr"], param.dtype, "lr", id(group))
        param.copy_(value - direction * rate)
        mean.mul_(group["betas"][1]).add_(grad * (1.0 - group["betas"][1]))
