"""Schedule: the base of all schedules of learning rates.

Takes: an optimizer. Gives: a new ``lr`` in each of its groups at every `step`.
The one idea: a rate is a function of the number of steps alone, so it can begin anywhere, be drawn
before the training, and gather no rounding. Only where something else changes the rate too
(another schedule, the user) does each step start from the rate it finds, as PyTorch's do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from chainrule.core.errors import ArgumentError, StateError
from chainrule.optim.optimizer import Group, Optimizer
from chainrule.optim.settings import check_range


class LRScheduler(ABC):
    """Base class of schedules.

    Call `step` once an epoch (or once a batch: all numbers of steps count calls), after
    ``optimizer.step()``.

    Args:
        optimizer: The optimizer whose rates change.

    Attributes:
        optimizer: The optimizer.
        last_epoch: How many steps lie behind.

    Raises:
        ArgumentError: The optimizer is none.
    """

    last_epoch: float
    # Whether the number of steps is all that it goes by.
    counts_steps: ClassVar[bool] = True

    def __init__(self, optimizer: Optimizer) -> None:
        self.name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"{self.name}: got {type(optimizer).__name__}, expected an optimizer",
                hint=f"optim.lr_scheduler.{self.name}(optimizer, ...)",
            )
        self.optimizer = optimizer

    @abstractmethod
    def step(self, value: float | None = None, /) -> None:
        """Go on by one step and set the rates."""

    @abstractmethod
    def begin(self) -> None:
        """Set the rates of the first step, as when the schedule was made."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: numbers only, fit for JSON."""

    @abstractmethod
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the rates."""

    def restart(self) -> None:
        """Count steps from 0 again, in the turn that a `SequentialLR` gives."""
        self.begin()

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def for_groups(self, setting: str, value: Any) -> list[float]:
        """Return a setting for each group: one number stands for all.

        Raises:
            ArgumentError: There are too few or too many, or one is below 0.
        """
        groups = len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, list | tuple) else [value] * groups
        if len(values) != groups:
            raise ArgumentError(
                f"{self.name}: {len(values)} values of {setting} for {groups} parameter groups"
            )
        for item in values:
            check_range(self.name, setting, item)
        return values


class ClosedFormLR(LRScheduler):
    """Base class of schedules that are a function of the number of steps.

    A subclass defines `lr_at`. If it should go well with other schedules of the same optimizer, it
    also defines `next_lr`.

    Args:
        optimizer: The optimizer whose rates change.
        last_epoch: How many steps lie behind; -1 for a new training.

    Attributes:
        base_lrs: The rate that each group started from.
        last_epoch: How many steps lie behind.

    Raises:
        ArgumentError: A setting is out of range, or the optimizer is none.
        StateError: ``last_epoch`` is given, but no schedule was there before.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> class InverseRoot(ClosedFormLR):
        ...     def lr_at(self, epoch, base_lr, group):
        ...         return base_lr / (1 + epoch) ** 0.5
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = InverseRoot(optimizer)
        >>> for _ in range(3):
        ...     optimizer.step()
        ...     schedule.step()
        >>> schedule.get_last_lr()
        [0.5]
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise StateError(
                    f"{self.name}: last_epoch is {last_epoch}, but the optimizer does not know "
                    "the rate it started from",
                    hint="leave last_epoch out and use scheduler.load_state_dict(...)",
                )
        self.base_lrs = self.first_lrs()
        self.last_epoch = last_epoch
        self._left = self.get_last_lr()  # the rates that the last step left behind
        self._exact = [True] * len(self._left)  # whether nobody else has changed them
        if last_epoch == -1:
            self.begin()
        else:
            self.step(last_epoch + 1)

    def first_lrs(self) -> list[float]:
        """Return the rate that each group starts from."""
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    @abstractmethod
    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return the rate after a number of steps.

        Args:
            epoch: The number of steps.
            base_lr: The rate that the group started from.
            group: The group's number.
        """

    def next_lr(self, epoch: float, lr: float, base_lr: float, group: int) -> float:
        """Return the rate after a step, from a rate that something else has changed.

        Args:
            epoch: The number of steps, this one included.
            lr: The rate before.
            base_lr: The rate that the group started from.
            group: The group's number.
        """
        return self.lr_at(epoch, base_lr, group)

    def settings_at(self, epoch: float, group: int) -> Group:
        """Return other settings of a group after a number of steps."""
        return {}

    def step(self, epoch: float | None = None) -> None:
        """Go on by one step and set the rates.

        Args:
            epoch: Go to this number of steps instead.
        """
        groups = self._groups()
        if epoch is None:
            self.last_epoch += 1
        else:
            self.last_epoch = epoch
            self._exact = [True] * len(groups)
            self._left = [group["lr"] for group in groups]
        for number, group in enumerate(groups):
            self._exact[number] &= group["lr"] == self._left[number]
            self._set(number, group)

    def begin(self) -> None:
        """Set the rates of the first step, as when the schedule was made."""
        self.last_epoch = 0
        for number, group in enumerate(self._groups()):
            self._exact[number] = group["lr"] == self.base_lrs[number]
            self._set(number, group)

    def restart(self) -> None:
        """Count steps from 0 again, in the turn that a `SequentialLR` gives."""
        self.step(0)

    def _set(self, number: int, group: Group) -> None:
        base = self.base_lrs[number]
        if self._exact[number]:
            rate = self.lr_at(self.last_epoch, base, number)
        else:
            rate = self.next_lr(self.last_epoch, group["lr"], base, number)
        group["lr"] = self._left[number] = rate
        group.update(self.settings_at(self.last_epoch, number))

    def _groups(self) -> list[Group]:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise StateError(
                f"{self.name}: the optimizer has {len(groups)} parameter groups, but had "
                f"{len(self.base_lrs)} when the schedule was made",
                hint="make the schedule after add_param_group",
            )
        return groups

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: numbers only, fit for JSON."""
        return {
            "last_epoch": self.last_epoch,
            "base_lrs": list(self.base_lrs),
            "_last_lr": list(self._left),
            "exact": list(self._exact),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` (or PyTorch's) was taken, and set the rates.

        Raises:
            StateError: It is not the state of such a schedule.
        """
        last, base = state_dict.get("last_epoch"), state_dict.get("base_lrs")
        if not isinstance(last, int | float) or not isinstance(base, list | tuple):
            raise StateError(f"{self.name}.load_state_dict: last_epoch or base_lrs is missing")
        if len(base) != len(self.base_lrs):
            raise StateError(
                f"{self.name}.load_state_dict: rates of {len(base)} parameter groups, "
                f"the optimizer has {len(self.base_lrs)}"
            )
        self.last_epoch, self.base_lrs = last, [float(lr) for lr in base]
        planned = [self.lr_at(last, base, i) for i, base in enumerate(self.base_lrs)]
        self._left = [float(lr) for lr in state_dict.get("_last_lr", planned)]
        # PyTorch's state does not say; its rates differ from the plan by rounding.
        near = [_near(a, b) for a, b in zip(self._left, planned, strict=True)]
        self._exact = [bool(flag) for flag in state_dict.get("exact", near)]
        for number, group in enumerate(self._groups()):
            group["lr"] = self._left[number]
            group.update(self.settings_at(last, number))


class FactorLR(ClosedFormLR):
    """Base class of schedules that multiply the rate by a factor at each step."""

    @abstractmethod
    def factor(self, epoch: float, group: int) -> float:
        """Return the factor by which the first rate is multiplied after a number of steps."""

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return base_lr factor(epoch)."""
        return base_lr * self.factor(epoch, group)

    def next_lr(self, epoch: float, lr: float, base_lr: float, group: int) -> float:
        """Return lr factor(epoch) / factor(epoch - 1)."""
        if epoch == 0:
            return lr * self.factor(0, group)
        before = self.factor(epoch - 1, group)
        return lr * (self.factor(epoch, group) / before) if before else lr


def states_of(schedules: Sequence[LRScheduler]) -> list[dict[str, Any]]:
    """Return the states of several schedules."""
    return [schedule.state_dict() for schedule in schedules]


def check_one_optimizer(
    name: str, schedules: Sequence[LRScheduler], optimizer: Optimizer | None
) -> None:
    """Raise unless schedules can be combined.

    Raises:
        ArgumentError: There is none, one is something else, waits for a figure, or belongs to
            another optimizer.
    """
    if not schedules:
        raise ArgumentError(f"{name}: got no schedules")
    for schedule in schedules:
        if not isinstance(schedule, LRScheduler):
            raise ArgumentError(f"{name}: {schedule!r} is no schedule")
        if not schedule.counts_steps:
            raise ArgumentError(
                f"{name}: {schedule.name} waits for a figure at each step, so it cannot be one "
                "of several",
                hint="call its step(figure) beside this one's",
            )
        if schedule.optimizer is not optimizer:
            raise ArgumentError(f"{name}: a schedule belongs to another optimizer")


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
