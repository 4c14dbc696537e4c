"""Adafactor: Adam's denominator from the means of rows and columns.

Takes: gradients. Gives: parameters moved by a part of their own size.
The one idea: of a matrix of squared gradients keep the means of rows and of columns only; their
product is close enough, and takes n + m numbers instead of n m (Shazeer & Stern 2018).
"""

from __future__ import annotations

from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.optim.moments import decayed
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_flag, check_range

# Spacing of numbers at 1.
SPACING = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018), without momentum, as PyTorch has it.

    With β = 1 - t^beta2_decay: R ← β R + (1 - β) mean of g² along rows, C the same along columns,
    V = R C / max(mean of R, ε₁) (for vectors V ← β V + (1 - β) g²);
    u = g / √max(V, ε₁²); p ← (1 - lr weight_decay) p -
    max(ε₂, rms(p)) min(lr, 1/√t) u / max(1, rms(u) / d).

    Args:
        params: Parameters, or groups of them; see `Optimizer`.
        lr: Largest step relative to the size of the parameter.
        beta2_decay: Power by which the running means come to rest, at most 0.
        eps: ε₁ against division by 0 (None: the spacing of numbers at 1), ε₂ the smallest size of
            a parameter.
        d: Updates with a root mean square above it are scaled down.
        weight_decay: Strength of the pull towards 0, decoupled.
        maximize: Walk uphill instead.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.
    """

    keeps = ("step",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "weight_decay"):
            check_range(self.name, setting, group[setting])
        check_range(self.name, "d", group["d"], low=1.0)
        decay = group["beta2_decay"]
        if isinstance(decay, bool | str) or not decay <= 0:
            raise ArgumentError(
                f"{self.name}: beta2_decay is {decay!r}, expected a number of at most 0",
                hint="beta2_decay=-0.8",
            )
        eps = group["eps"]
        if not isinstance(eps, tuple | list) or len(eps) != 2:
            raise ArgumentError(f"{self.name}: eps is {eps!r}, expected two numbers")
        for position, value in enumerate(eps):
            if value is not None or position == 1:
                check_range(self.name, f"eps[{position}]", value)
        check_flag(self.name, "maximize", group["maximize"])

    def shape_of(self, name: str, param: Tensor) -> tuple[int, ...]:
        """Return the shape of a tensor in a parameter's state."""
        shape = list(param.shape)
        axis = {"row_var": -1, "col_var": -2}.get(name)
        if axis is not None:
            shape[axis] = 1
        return tuple(shape)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter."""
        small, least = group["eps"]
        small = SPACING[param.dtype.name] if small is None else small
        state.setdefault("step", 0)
        key = (id(group), state["step"])

        def new() -> float:
            return float((state["step"] + 1) ** group["beta2_decay"])

        def pace() -> float:
            return float(min(group["lr"], 1.0 / (state["step"] + 1) ** 0.5))

        mixed = number(new, param.dtype, "1 - beta2", key)
        size = _rms(param).clamp(min=least) * number(pace, param.dtype, "pace", key)
        value, grad = decayed(param, grad, group, decoupled=True)
        variance = self._variance(param, grad, state, mixed, small)
        step = grad * variance.clamp(min=small * small).rsqrt()
        param.copy_(value - step * (size / (_rms(step) / group["d"]).clamp(min=1.0)))
        after(lambda: state.update(step=state["step"] + 1))

    def _variance(
        self, param: Tensor, grad: Tensor, state: State, mixed: Tensor | float, small: float
    ) -> Tensor:
        """Bring the running means up to date; return the estimate of g²."""
        square = grad * grad
        if grad.ndim < 2:
            mean = self.remembered(state, "variance", param)
            return mean.add_((square - mean) * mixed)
        rows = self.remembered(state, "row_var", param)
        rows.add_((square.mean(-1, keepdim=True) - rows) * mixed)
        columns = self.remembered(state, "col_var", param)
        columns.add_((square.mean(-2, keepdim=True) - columns) * mixed)
        return rows * columns / rows.mean(-2, keepdim=True).clamp(min=small)


def _rms(x: Tensor) -> Tensor:
    return call("mean", x * x).sqrt()
