"""Rprop: step lengths from the signs of gradients alone.

Takes: gradients. Gives: parameters moved by a length of their own each.
The one idea: same sign as before, go faster; sign has changed, a minimum was passed: go slower,
and leave this gradient out (Riedmiller & Braun 1993).
"""

from __future__ import annotations

from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_range


class Rprop(Optimizer):
    """Rprop, resilient backpropagation (Riedmiller & Braun 1993), for full batches.

    Each element has a length δ, at first ``lr``. Where the gradient has the sign of the last one,
    δ ← min(η₊ δ, largest); where it has the other, δ ← max(η₋ δ, smallest) and the gradient
    counts as 0. Then p ← p - sign(g) δ.

    With mini-batches the sign is noise, and lengths go astray: use `RMSprop`.

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Length of the first step; later changes of it have no effect.
        etas: Factors η₋ below 1 and η₊ above 1.
        step_sizes: Smallest and largest length.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> optimizer = optim.Rprop([x], lr=0.1)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (x**2).backward()
        ...     optimizer.step()
        >>> round(x.item(), 4)  # 3 - 0.1 - 0.12
        2.78
    """

    keeps = ("step", "prev", "step_size")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        check_range(self.name, "lr", group["lr"])
        check_flag(self.name, "maximize", group["maximize"])
        slower, faster = self._pair(group, "etas")
        if not 0 < slower < 1 < faster:
            raise ArgumentError(
                f"{self.name}: etas is {group['etas']!r}, expected 0 < slower < 1 < faster",
                hint="etas=(0.5, 1.2)",
            )
        smallest, largest = self._pair(group, "step_sizes")
        if not 0 <= smallest <= largest:
            raise ArgumentError(
                f"{self.name}: step_sizes is {group['step_sizes']!r}, expected 0 <= smallest <= "
                "largest",
                hint="step_sizes=(1e-6, 50)",
            )

    def _pair(self, group: Group, setting: str) -> tuple[Any, Any]:
        pair = group[setting]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ArgumentError(f"{self.name}: {setting} is {pair!r}, expected two numbers")
        for position, value in enumerate(pair):
            check_range(self.name, f"{setting}[{position}]", value)
        return pair[0], pair[1]

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        (slower, faster), (smallest, largest) = group["etas"], group["step_sizes"]
        state.setdefault("step", 0)
        last = self.remembered(state, "prev", param)
        length = self.remembered(state, "step_size", param, group["lr"])
        agreement = grad * last
        turned = agreement < 0
        longer = call("where", agreement > 0, length * faster, length)
        length.copy_(call("where", turned, length * slower, longer).clamp(smallest, largest))
        grad = call("where", turned, call("zeros_like", grad), grad)
        param.sub_(grad.sign() * length)
        last.copy_(grad)
        after(lambda: state.update(step=state["step"] + 1))
