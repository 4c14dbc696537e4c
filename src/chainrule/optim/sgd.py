"""Stochastic gradient descent, with momentum.

Takes: gradients. Gives: parameters moved against them.
The one idea: walk downhill; momentum keeps the direction where steps agree (Polyak 1964), and
Nesterov's form looks ahead along it (Sutskever et al. 2013).
"""

from __future__ import annotations

from chainrule.core.errors import ArgumentError
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_momentum, check_range


class SGD(Optimizer):
    """Gradient descent, on as many examples as the gradient was computed from.

    With d = gradient + weight_decay p and momentum μ:
    v ← μ v + (1 - dampening) d (at first v = d); p ← p - lr v, or p - lr (d + μ v) with
    ``nesterov``; without momentum p ← p - lr d.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: length of a step.
        momentum: Part of the last step that is kept; 1 or more is warned of.
        dampening: Part of the gradient that does not enter the momentum.
        weight_decay: Strength of the pull towards 0 (L2 penalty).
        nesterov: Whether the gradient is taken as if one step ahead.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.SGD([x], lr=0.1)
        >>> (x**2).backward()
        >>> optimizer.step()
        >>> round(x.item(), 4)
        2.4
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        # Parameters that have not made their first step.
        self._fresh: set[Tensor] = set()
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_momentum(self.name, group["momentum"])
        for setting in ("nesterov", "maximize"):
            check_flag(self.name, setting, group[setting])
        check_range(self.name, "dampening", group["dampening"], low=float("-inf"))
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ArgumentError(
                f"{self.name}: nesterov needs momentum and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}",
                hint="momentum=0.9, nesterov=True",
            )

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * param
        if group["momentum"]:
            momentum = self.read("momentum", param, group, lambda: group["momentum"])
            if "momentum_buffer" not in state:
                self._fresh.add(param)
            velocity = self.remembered(state, "momentum_buffer", param)
            taken = grad
            if group["dampening"]:
                # The first step is not dampened.
                taken = grad * number(
                    lambda: 1.0 if param in self._fresh else 1.0 - group["dampening"],
                    *(param.dtype, "dampening"),
                )
                after(lambda: self._fresh.discard(param))
            velocity.mul_(momentum).add_(taken)
            grad = grad + momentum * velocity if group["nesterov"] else velocity
        param.sub_(number(lambda: group["lr"], param.dtype, "lr", id(group)) * grad)
