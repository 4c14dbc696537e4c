"""L-BFGS: Newton's method with a curvature learned from the last steps.

Takes: a closure that computes the loss and its gradients. Gives: parameters moved, in several
evaluations of the closure a step.
The one idea: differences of gradients over differences of places tell the curvature; a few of
them give H g without ever forming H (Nocedal 1980; Liu & Nocedal 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chainrule.core.errors import ArgumentError, StateError
from chainrule.graph.conversion import call
from chainrule.graph.node import enable_grad, mode, no_grad
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.graph.tracing import TraceError
from chainrule.optim.line_search import Point, strong_wolfe
from chainrule.optim.optimizer import Group, Optimizer, Params, State
from chainrule.optim.settings import check_count, check_range

# Below this a pair of differences says nothing about curvature (PyTorch's value).
LEAST_CURVATURE = 1e-10
TENSORS = ("d", "prev_flat_grad")
LISTS = ("old_dirs", "old_stps")
NUMBERS = ("func_evals", "n_iter", "t", "H_diag", "prev_loss")


class LBFGS(Optimizer):
    """L-BFGS (Liu & Nocedal 1989), with a line search if wished.

    For small problems on full batches: it takes far fewer steps than gradient descent, but each
    evaluates the loss several times, and noise of mini-batches misleads it. It decides by numbers
    what to do next, so it runs eagerly; inside ``chainrule.compile`` it is refused. The closure
    itself may call a compiled function.

    Args:
        params: Parameters; one group only.
        lr: Length of a step along the direction found; the line search begins with it.
        max_iter: Iterations in one `step`.
        max_eval: Evaluations of the closure in one `step`; None: 1.25 ``max_iter``.
        tolerance_grad: Stop where the largest gradient is below.
        tolerance_change: Stop where the place or the loss changes by less.
        history_size: How many differences are kept.
        line_search_fn: None, or ``strong_wolfe``: step lengths that fulfil Wolfe's conditions.

    Raises:
        ArgumentError: A setting is out of range, or the parameters are unfit.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> x = chainrule.tensor([-1.0, 2.0], dtype="float64", requires_grad=True)
        >>> optimizer = optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=50)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2  # Rosenbrock's valley
        ...     loss.backward()
        ...     return loss
        >>> loss = optimizer.step(closure)
        >>> [round(v, 4) for v in x.tolist()]
        [1.0, 1.0]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if max_eval is None and isinstance(max_iter, int):
            max_eval = max_iter * 5 // 4
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""
        for setting in ("lr", "tolerance_grad", "tolerance_change"):
            check_range(self.name, setting, group[setting])
        for setting in ("max_iter", "max_eval", "history_size"):
            check_count(self.name, setting, group[setting])
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ArgumentError(
                f"{self.name}: line_search_fn is {group['line_search_fn']!r}, expected None or "
                "'strong_wolfe'"
            )

    def add_param_group(self, param_group: Group) -> None:
        """Take the parameters; a second group is refused.

        Raises:
            ArgumentError: There is a group already, or as at construction.
        """
        if self.param_groups:
            raise ArgumentError(
                f"{self.name}: takes one group of parameters, for its direction is one vector",
                hint=f"optim.{self.name}(model.parameters())",
            )
        super().add_param_group(param_group)

    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Move one parameter by its part of a step along the direction."""
        param.add_(grad)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Minimise for up to ``max_iter`` iterations.

        Args:
            closure: Clears the gradients, computes the loss, calls ``backward`` and returns the
                loss; called several times.

        Returns:
            The loss before.

        Raises:
            ArgumentError: There is no closure.
            TraceError: A function that is being compiled calls it.
        """
        if mode.tracer is not None:
            raise TraceError(
                f"{self.name}.step: cannot be compiled, for it decides by the numbers it computes "
                "what to do next",
                hint="compile the loss and its gradients, and call the compiled function in the "
                "closure",
            )
        if closure is None:
            raise ArgumentError(
                f"{self.name}.step: needs a closure, for it evaluates the loss several times",
                hint="def closure(): optimizer.zero_grad(); loss = ...; loss.backward(); "
                "return loss",
            )
        with no_grad():
            return self._minimise(closure)

    # --- the algorithm ----------------------------------------------------------------------

    def _minimise(self, closure: Callable[[], Tensor]) -> Tensor:
        group = self.param_groups[0]
        state = self.state.setdefault(group["params"][0], {"func_evals": 0, "n_iter": 0})
        with enable_grad():
            first = closure()
        loss, grad = float(first.item()), self._gradient()
        evaluations = 1
        state["func_evals"] += 1
        if _largest(grad) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(grad, state, group)
            state["d"], before = direction, loss
            state["prev_flat_grad"], state["prev_loss"] = grad, loss
            # The first direction is the bare gradient, whose length says nothing.
            first_step = state["n_iter"] == 1
            part = min(1.0, 1.0 / float(grad.abs().sum().item())) if first_step else 1.0
            state["t"] = t = part * float(group["lr"])
            slope = _dot(grad, direction)
            if slope > -group["tolerance_change"]:
                break
            begin = Point(0.0, loss, grad, slope)
            most = group["max_eval"] - evaluations
            last = iteration == group["max_iter"]
            end, used = self._walk(closure, begin, direction, t, most=most, last=last)
            state["t"], loss, grad = end.t, end.loss, end.grad
            evaluations += used
            state["func_evals"] += used
            if last or evaluations >= group["max_eval"]:
                break
            if _largest(grad) <= group["tolerance_grad"]:
                break
            if _largest(direction) * abs(end.t) <= group["tolerance_change"]:
                break
            if abs(loss - before) < group["tolerance_change"]:
                break
        return first

    def _walk(
        self,
        closure: Callable[[], Tensor],
        begin: Point,
        direction: Tensor,
        t: float,
        *,
        most: int,
        last: bool,
    ) -> tuple[Point, int]:
        """Walk along a direction; return where it ended and how often the loss was evaluated."""
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        if group["line_search_fn"] is None:
            self._move(direction * t)
            if last:  # nobody will ask for the loss there
                return Point(t, begin.loss, begin.grad, begin.slope), 0
            return self._evaluate(closure, t, direction), 1
        start = [param.detach().clone() for param in params]

        def at(length: float) -> Point:
            self._move(direction * length)
            point = self._evaluate(closure, length, direction)
            for param, value in zip(params, start, strict=True):
                param.copy_(value)
            return point

        tolerance = group["tolerance_change"]
        end, used = strong_wolfe(
            at, t, begin, _largest(direction), tolerance_change=tolerance, most=most
        )
        self._move(direction * end.t)
        return end, used

    def _direction(self, grad: Tensor, state: State, group: Group) -> Tensor:
        """Return - H g, by two loops over the differences (Nocedal 1980)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -grad
        change = grad - state["prev_flat_grad"]
        step = state["d"] * state["t"]
        curvature = _dot(change, step)
        if curvature > LEAST_CURVATURE:
            kept = group["history_size"] - 1
            for key, value in (
                ("old_dirs", change),
                ("old_stps", step),
                ("ro", 1.0 / curvature),
            ):
                state[key] = [*state[key][max(len(state[key]) - kept, 0) :], value]
            state["H_diag"] = curvature / _dot(change, change)
        pairs = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
        direction: Tensor = -grad
        weights: list[float] = []
        for change, step, ro in reversed(pairs):
            weights.append(_dot(step, direction) * ro)
            direction = direction - change * weights[-1]
        direction = direction * state["H_diag"]
        for (change, step, ro), weight in zip(pairs, reversed(weights), strict=True):
            direction = direction + step * (weight - _dot(change, direction) * ro)
        return direction

    # --- parameters as one vector -----------------------------------------------------------

    def _evaluate(self, closure: Callable[[], Tensor], t: float, direction: Tensor) -> Point:
        with enable_grad():
            loss = float(closure().item())
        grad = self._gradient()
        return Point(t, loss, grad, _dot(grad, direction))

    def _gradient(self) -> Tensor:
        parts = []
        for param in self.param_groups[0]["params"]:
            grad = call("zeros_like", param.detach()) if param.grad is None else param.grad
            if grad.spec != param.spec:
                self._check_gradient(param, grad)
            parts.append(grad.detach().reshape(-1))
        return call("concat", parts)

    def _move(self, step: Tensor) -> None:
        group, start = self.param_groups[0], 0
        for param in group["params"]:
            end = start + param.numel()
            piece = step[start:end].reshape(param.shape).to(param.dtype)
            self.update(param, piece, {}, group)
            start = end

    # --- saving -----------------------------------------------------------------------------

    def _loaded(self, param: Tensor, kept: Mapping[str, Any]) -> State:
        """Return the state as it was saved: vectors over all parameters, lists, numbers."""
        where = f"{self.name}.load_state_dict"
        size = sum(param.numel() for param in self.param_groups[0]["params"])

        def vector(name: str, value: Any) -> Tensor:
            tensor = as_tensor(value).detach()
            if tensor.shape != (size,):
                raise StateError(
                    f"{where}: {name} is {tensor.spec}, the parameters have {size} elements"
                )
            return tensor

        state: State = {"func_evals": 0, "n_iter": 0}
        for name, value in kept.items():
            if value is None or name == "al":  # scratch space of PyTorch's
                continue
            if name in TENSORS:
                state[name] = vector(name, value)
            elif name in LISTS:
                state[name] = [vector(name, item) for item in value]
            elif name == "ro":
                state[name] = [float(item) for item in value]
            elif name in NUMBERS:
                state[name] = int(value) if name in NUMBERS[:2] else float(value)
        missing = [name for name in (*LISTS, "ro", *TENSORS) if name not in state]
        if state["n_iter"] and missing:
            raise StateError(f"{where}: {missing[0]} is missing")
        return state


def _dot(first: Tensor, second: Tensor) -> float:
    return float((first * second).sum().item())


def _largest(x: Tensor) -> float:
    return float(x.abs().amax().item())
