"""ASGD: the mean of the path is better than its end.

Takes: gradients. Gives: parameters moved against them, and in the state their mean.
The one idea: near the minimum SGD wanders round it; the mean of the places it visits is nearer
than any of them (Polyak & Juditsky 1992; this form: Bottou 2010).
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_range


class ASGD(Optimizer):
    """ASGD, averaged stochastic gradient descent (Polyak & Juditsky 1992).

    With g = gradient + weight_decay p, η₁ = lr, μ₁ = 1:
    p ← (1 - lambd ηₜ) p - ηₜ g; a ← a + μₜ (p - a);
    ηₜ₊₁ = lr / (1 + lambd lr t)^alpha; μₜ₊₁ = 1 / max(1, t - t0).

    The mean a stands in ``optimizer.state[p]["ax"]``; it follows p until step ``t0``.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Learning rate: length of the first step.
        lambd: Strength of the decay.
        alpha: Power by which η falls.
        t0: The step at which averaging begins.
        weight_decay: Strength of the pull towards 0 (L2 penalty).
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.ASGD([x], lr=0.1, lambd=0.0, t0=0)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     (x**2).backward()
        ...     optimizer.step()
        >>> round(x.item(), 4), round(optimizer.state[x]["ax"].item(), 4)
        (1.536, 1.728)
    """

    keeps = ("step", "eta", "mu", "ax")
    numbers = ("eta", "mu")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "lambd", "alpha", "t0", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_flag(self.name, "maximize", group["maximize"])

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        _, grad = decayed(param, grad, group, decoupled=False)
        for name, start in (("step", 0), ("eta", float(group["lr"])), ("mu", 1.0)):
            state.setdefault(name, start)
        mean = self.remembered(state, "ax", param)
        key = (id(group), state["step"], state["eta"], state["mu"])
        rate = number(lambda: state["eta"], param.dtype, "eta", key)
        kept = number(lambda: 1.0 - group["lambd"] * state["eta"], param.dtype, "kept", key)
        param.copy_(param * kept - grad * rate)
        mean.add_((param - mean) * number(lambda: state["mu"], param.dtype, "mu", key))

        def advance() -> None:
            step = state["step"] + 1
            fall = (1.0 + group["lambd"] * group["lr"] * step) ** group["alpha"]
            state.update(step=step, eta=group["lr"] / fall, mu=1.0 / max(1.0, step - group["t0"]))

        after(advance)
