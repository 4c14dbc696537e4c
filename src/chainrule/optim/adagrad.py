"""Adagrad: steps that shorten where gradients have been large.

Takes: gradients. Gives: parameters moved against them, divided by the size of all so far.
The one idea: an element that has seldom had a gradient may take a long step, one that often had
takes short ones (Duchi, Hazan & Singer 2011). The sum only grows, so every step shortens.
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_range


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011).

    With g = gradient + weight_decay p:
    G ← G + g², p ← p - lr / (1 + (t - 1) lr_decay) g / (√G + eps).

    It helps where gradients are rare (words); in long trainings its steps become too short.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: about the length of the first step of each element.
        lr_decay: How fast the rate falls with the number of steps.
        weight_decay: Strength of the pull towards 0 (L2 penalty).
        initial_accumulator_value: What G starts from.
        eps: Added to the denominator.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor([3.0, -0.5], requires_grad=True)
        >>> optimizer = optim.Adagrad([x], lr=0.1)
        >>> (x**2).sum().backward()
        >>> optimizer.step()
        >>> [round(v, 4) for v in x.tolist()]
        [2.9, -0.4]
    """

    keeps = ("step", "sum")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            check_range(self.name, setting, group[setting])
        check_flag(self.name, "maximize", group["maximize"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        _, grad = decayed(param, grad, group, decoupled=False)
        state.setdefault("step", 0)
        total = self.remembered(state, "sum", param, group["initial_accumulator_value"])
        total.add_(grad * grad)

        def rate() -> float:
            return float(group["lr"] / (1.0 + state["step"] * group["lr_decay"]))

        key = (id(group), state["step"] if group["lr_decay"] else 0)
        size = total.sqrt() + group["eps"]
        param.sub_(number(rate, param.dtype, "rate", key) * (grad / size))
        after(lambda: state.update(step=state["step"] + 1))
