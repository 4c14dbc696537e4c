"""Optimizers in common: groups of parameters, settings, state that can be saved.

Takes: parameters with gradients in `.grad`. Gives: changed parameters, one `step` at a time.
The one idea: a rule is one function of parameter, gradient, state and settings; everything
else about an optimizer stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar

from chainrule.core.errors import ArgumentError, DTypeError, StateError
from chainrule.core.shape import expect
from chainrule.graph.autodiff import MIXED, USED
from chainrule.graph.conversion import call
from chainrule.graph.node import enable_grad, no_grad
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.graph.traced import clear_gradient, guard, number, untraced
from chainrule.ops.caution import caution

Group = dict[str, Any]
State = dict[str, Any]
Params = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]


class Optimizer(ABC):
    """Base class of optimizers.

    A subclass checks its settings in `check` and changes one parameter in `update`.

    Args:
        params: Parameters, pairs of name and parameter, or groups: dictionaries with ``params``
            and settings that differ from the defaults.
        defaults: Settings by name.

    Attributes:
        param_groups: The groups: dictionaries with ``params`` and every setting. A schedule
            changes ``lr`` there.
        state: For each parameter what the rule remembers of it.

    Raises:
        ArgumentError: There are no parameters, one is not a leaf, one appears twice, or a
            setting is out of range.
    """

    def __init__(self, params: Params | Tensor, defaults: Group) -> None:
        self.name = type(self).__name__
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        self._names: dict[Tensor, str] = {}
        self._warned = False
        self._version = 0
        # Settings that compiled steps read anew at each call.
        self.varying = {"lr"}
        self._fixed = self._reader()
        groups = _as_groups(self.name, params)
        if not groups:
            raise ArgumentError(
                f"{self.name}: got no parameters",
                hint="a generator can be read only once: pass model.parameters() anew, and check "
                "that the model assigns its layers to attributes",
            )
        for group in groups:
            self.add_param_group(group)

    # What a saved state of one parameter must contain.
    keeps: ClassVar[tuple[str, ...]] = ()
    # What of it are numbers, beside ``step``; the rest are tensors.
    numbers: ClassVar[tuple[str, ...]] = ()

    # --- what a rule defines ----------------------------------------------------------------

    @abstractmethod
    def check(self, group: Group) -> None:
        """Raise ArgumentError unless a group's settings are in range."""

    @abstractmethod
    def update(self, param: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Change one parameter, and the tensors in its state, in place; recording is off.

        Settings that a schedule changes are read through `chainrule.graph.traced.number`.
        """

    def remembered(self, state: State, name: str, param: Tensor, start: float = 0.0) -> Tensor:
        """Return a tensor of a parameter's state, filled with ``start`` before the first step."""
        if name not in state:
            with untraced():  # in a compiled step it is there before the first call
                shape = self.shape_of(name, param)
                state[name] = call("full", shape, start, dtype=param.dtype)
        found: Tensor = state[name]
        return found

    def shape_of(self, name: str, param: Tensor) -> tuple[int, ...]:
        """Return the shape of a tensor in a parameter's state."""
        return param.shape

    def read(
        self, setting: str, param: Tensor, group: Group, value: Callable[[], float], label: str = ""
    ) -> Tensor | float:
        """Return a number that follows from a setting, anew at each call if it may change."""
        if setting not in self.varying:
            return value()
        return number(value, param.dtype, label or setting, id(group))

    def let_vary(self, setting: str) -> None:
        """Let compiled steps read a setting at each call, as they do ``lr``; for schedules."""
        if setting not in self.varying:
            self.varying.add(setting)
            self._fixed = self._reader()
            self._version += 1

    def _reader(self) -> Callable[[Group], object]:
        fixed = [name for name in self.defaults if name not in self.varying]
        return itemgetter(*fixed) if fixed else type

    # --- what users call --------------------------------------------------------------------

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Change every parameter that has a gradient.

        Args:
            closure: Computes the loss and its gradients anew; called first.

        A gradient that those of an earlier step were left in causes a `LikelyMistakeWarning`.

        Returns:
            What the closure returned.

        Raises:
            ShapeError: A gradient has not its parameter's shape.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        guard(self._settings, f"a setting of {self.name}")
        changed: list[State] = []
        with no_grad():
            for group in self.param_groups:
                maximize = group.get("maximize", False)
                for param in group["params"]:
                    grad = param.grad
                    if grad is None:
                        continue
                    if grad.spec != param.spec:
                        self._check_gradient(param, grad)
                    if grad.origin == MIXED:
                        self._warn_of_mixed(param)
                    state = self.state.setdefault(param, {})
                    changed.append(state)
                    self.update(param, -grad if maximize else grad, state, group)
                    grad.origin = USED
        if changed and "step" in changed[0]:
            # Numbers that follow from the number of steps are shared by those that had equally
            # many; another function may let some of them step alone.
            guard(
                partial(_steps, changed), f"which parameters of {self.name} had equally many steps"
            )
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none or param.grad is None:
                    clear_gradient(param)
                else:
                    param.grad = call("zeros_like", param.grad)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with settings of their own.

        Args:
            param_group: A dictionary with ``params`` and settings; the rest are the defaults.

        Raises:
            ArgumentError: As at construction.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise ArgumentError(
                f"{self.name}: a parameter group is a dictionary with 'params'",
                hint='optimizer.add_param_group({"params": layer.parameters(), "lr": 1e-4})',
            )
        given = param_group["params"]
        members = [given] if isinstance(given, Tensor) else list(given)
        params = [self._member(position, member) for position, member in enumerate(members)]
        known = {id(p) for group in self.param_groups for p in group["params"]}
        identities = [id(p) for p in params]
        if known & set(identities) or len(set(identities)) < len(identities):
            raise ArgumentError(
                f"{self.name}: a parameter is given twice, so it would be changed twice a step",
                hint="model.parameters() yields shared parameters once",
            )
        group: Group = {**self.defaults, **param_group, "params": params}
        unknown = set(group) - set(self.defaults) - {"params", "initial_lr", "name"}
        if unknown:
            listing = ", ".join(self.defaults)
            raise ArgumentError(
                f"{self.name}: unknown setting {sorted(unknown)[0]!r} in a parameter group",
                hint=f"known: {listing}",
            )
        self.check(group)
        self.param_groups.append(group)
        self._version += 1

    def _member(self, position: int, member: Any) -> Tensor:
        name = f"parameter {position}"
        if isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str):
            name, member = member
        if not isinstance(member, Tensor):
            raise ArgumentError(
                f"{self.name}: {name} is a {type(member).__name__}, expected tensors",
                hint=f"optim.{self.name}(model.parameters(), lr=...)",
            )
        if not member.is_leaf:
            raise ArgumentError(
                f"{self.name}: {name} {member.spec} is the result of {member.origin}, not a leaf, "
                "so changing it would change nothing",
                hint="pass the tensor that it was computed from, or x.detach().requires_grad_()",
            )
        if not member.dtype.is_floating:
            raise DTypeError(f"{self.name}: {name} {member.spec} is not of a floating-point type")
        self._names[member] = name
        return member

    def _settings(self) -> tuple[object, ...]:
        """Return what a compiled step was made for: all settings but those that vary."""
        settings = (self._version, *map(self._fixed, self.param_groups))
        if len(self.varying) == 1:
            return settings
        # Without momentum a rule has other steps.
        return settings + tuple(
            bool(group[name])
            for name in sorted(self.varying - {"lr"})
            for group in self.param_groups
        )

    def _check_gradient(self, param: Tensor, grad: Tensor) -> None:
        name = self._names[param]
        expect(
            grad.shape == param.shape,
            "{}: {} is {}, but its gradient is {}",
            *(self.name, name, param.spec, grad.spec),
            hint="a gradient put into .grad by hand must have the parameter's shape",
        )
        raise DTypeError(
            f"{self.name}: {name} is {param.spec}, but its gradient is {grad.spec}",
            hint="the model was converted after backward(): call optimizer.zero_grad()",
        )

    def _warn_of_mixed(self, param: Tensor) -> None:
        if self._warned:
            return
        self._warned = True
        caution(
            f"{self.name}: the gradient of {self._names[param]} {param.spec} has those of earlier "
            "steps in it, because they were not removed before backward() added the new one",
            hint="optimizer.zero_grad() before each loss.backward()",
        )

    # --- saving -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state; parameters stand as numbers, in the order of the groups.

        Returns:
            ``{"state": {0: {...}, ...}, "param_groups": [{"lr": ..., "params": [0, ...]}, ...]}``,
            the same form as PyTorch's. Tensors in it are a snapshot.
        """
        numbers: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers[param] = len(numbers)
            packed = {key: value for key, value in group.items() if key != "params"}
            groups.append({**packed, "params": [numbers[p] for p in group["params"]]})
        state = {
            numbers[param]: {key: _snapshot(value) for key, value in kept.items()}
            for param, kept in self.state.items()
            if param in numbers
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and state, as `state_dict` (or PyTorch's) gives them.

        Everything is checked before anything is changed.

        Raises:
            StateError: The groups or the shapes are not those of this optimizer.
            ArgumentError: A setting is out of range.
        """
        try:
            groups, states = list(state_dict["param_groups"]), dict(state_dict["state"])
            sizes = [len(group["params"]) for group in groups]
            numbers = [number for group in groups for number in group["params"]]
        except (KeyError, TypeError) as error:
            raise StateError(
                f"{self.name}.load_state_dict: not the state of an optimizer ({error!r})"
            ) from None
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise StateError(
                f"{self.name}.load_state_dict: the saved groups have {sizes} parameters, "
                f"this optimizer's have {own}",
                hint="make the optimizer with the same model and groups as the saved one",
            )
        params = [param for group in self.param_groups for param in group["params"]]
        by_number = dict(zip(numbers, params, strict=True))
        loaded = {
            by_number[number]: self._loaded(by_number[number], kept)
            for key, kept in states.items()
            if (number := _number(key)) in by_number
        }
        fresh = [
            {
                **group,
                **{k: _plain(v) for k, v in saved.items() if k in group and k != "params"},
                **{k: v for k, v in saved.items() if k == "initial_lr"},
            }
            for group, saved in zip(self.param_groups, groups, strict=True)
        ]
        for group in fresh:
            self.check(group)
        for group, values in zip(self.param_groups, fresh, strict=True):
            group.update(values)
        self.state = loaded
        self._version += 1

    def _loaded(self, param: Tensor, kept: Mapping[str, Any]) -> State:
        where = f"{self.name}.load_state_dict"
        missing = [key for key in self.keeps if key not in kept]
        if missing:
            raise StateError(f"{where}: {missing[0]} of {self._names[param]} is missing")
        state: State = {}
        for key, value in kept.items():
            if value is None:
                continue
            if key == "step" or key in self.numbers:
                state[key] = self._loaded_number(where, key, param, value)
                continue
            tensor = as_tensor(value).detach()
            if tensor.shape != self.shape_of(key, param):
                raise StateError(
                    f"{where}: {key} of {self._names[param]} is {tensor.spec}, the parameter is "
                    f"{param.spec}"
                )
            state[key] = tensor.to(param.dtype)
        return state

    def _loaded_number(self, where: str, key: str, param: Tensor, value: Any) -> float:
        plain = value.item() if hasattr(value, "item") and value.ndim == 0 else value
        if not isinstance(plain, int | float) or not plain >= 0:
            raise StateError(f"{where}: {key} of {self._names[param]} is {value!r}")
        return int(plain) if key == "step" else float(plain)

    def __repr__(self) -> str:
        lines = []
        for position, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {position}: {len(group['params'])} parameters, {settings}")
        return "\n".join([f"{self.name}(", *lines, ")"])


def _as_groups(name: str, params: Any) -> list[Group]:
    if isinstance(params, Tensor):
        raise ArgumentError(
            f"{name}: got one tensor, expected several", hint=f"optim.{name}([x], lr=...)"
        )
    if hasattr(params, "parameters"):
        raise ArgumentError(
            f"{name}: got a module, expected its parameters",
            hint=f"optim.{name}(model.parameters(), lr=...)",
        )
    if isinstance(params, dict) or not isinstance(params, Iterable):
        raise ArgumentError(
            f"{name}: got {type(params).__name__}, expected parameters",
            hint=f"optim.{name}(model.parameters(), lr=...)",
        )
    members = list(params)
    if members and all(isinstance(member, dict) for member in members):
        return members
    return [{"params": members}] if members else []


_STEP = itemgetter("step")


def _steps(states: list[State]) -> object:
    """Return which states have seen equally many steps."""
    counts = list(map(_STEP, states))
    if len(set(counts)) == 1:
        return None
    order: dict[int, int] = {}
    return tuple(order.setdefault(count, len(order)) for count in counts)


def _snapshot(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(key: Any) -> Any:
    """Return a parameter's number; JSON makes texts of the keys of dictionaries."""
    return int(key) if isinstance(key, str) and key.isdigit() else key
