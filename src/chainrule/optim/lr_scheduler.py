"""Schedules: how the learning rate changes as training goes on.

Takes: an optimizer. Gives: a new ``lr`` in each of its groups at every `step`.
The one idea: a schedule is a function of the number of steps alone, so it can start anywhere, be
drawn before the training, and go on after a resume without remembering how it got there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chainrule.core.errors import ArgumentError, StateError
from chainrule.optim.optimizer import Optimizer, check_range


class LRScheduler(ABC):
    """Base class of schedules.

    Call `step` once an epoch (or once a batch: the numbers below count calls), after
    ``optimizer.step()``.

    Args:
        optimizer: The optimizer whose rates change.
        last_epoch: How many steps lie behind; -1 for a new training.

    Attributes:
        base_lrs: The rate that each group started from.
        last_epoch: How many steps lie behind.

    Raises:
        ArgumentError: A setting is out of range, or the optimizer is none.
        StateError: ``last_epoch`` is given, but no schedule was there before.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"{self.name}: got {type(optimizer).__name__}, expected an optimizer",
                hint=f"optim.lr_scheduler.{self.name}(optimizer, ...)",
            )
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise StateError(
                    f"{self.name}: last_epoch is {last_epoch}, but the optimizer does not know "
                    "the rate it started from",
                    hint="leave last_epoch out and use scheduler.load_state_dict(...)",
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    @abstractmethod
    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return the rate after a number of steps.

        Args:
            epoch: The number of steps.
            base_lr: The rate that the group started from.
            group: The group's number.
        """

    def step(self) -> None:
        """Go on by one step and set the rates."""
        self.last_epoch += 1
        self._apply()

    def _apply(self) -> None:
        if len(self.optimizer.param_groups) != len(self.base_lrs):
            raise StateError(
                f"{self.name}: the optimizer has {len(self.optimizer.param_groups)} parameter "
                f"groups, but had {len(self.base_lrs)} when the schedule was made",
                hint="make the schedule after add_param_group",
            )
        for group, lr in zip(self.optimizer.param_groups, self._rates(), strict=True):
            group["lr"] = lr

    def _rates(self) -> list[float]:
        return [self.lr_at(self.last_epoch, base, i) for i, base in enumerate(self.base_lrs)]

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return self._rates()

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: numbers only, fit for JSON."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the rates.

        Raises:
            StateError: It is not the state of such a schedule.
        """
        last, base = state_dict.get("last_epoch"), state_dict.get("base_lrs")
        if not isinstance(last, int) or not isinstance(base, list | tuple):
            raise StateError(f"{self.name}.load_state_dict: last_epoch or base_lrs is missing")
        if len(base) != len(self.base_lrs):
            raise StateError(
                f"{self.name}.load_state_dict: rates of {len(base)} parameter groups, "
                f"the optimizer has {len(self.base_lrs)}"
            )
        self.last_epoch, self.base_lrs = last, [float(lr) for lr in base]
        self._apply()


class StepLR(LRScheduler):
    """Multiply the rate by gamma every ``step_size`` steps.

    Args:
        optimizer: The optimizer whose rates change.
        step_size: Steps between two changes.
        gamma: Factor of each change.
        last_epoch: How many steps lie behind; -1 for a new training.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 4))
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        _check_count("StepLR", "step_size", step_size)
        check_range("StepLR", "gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return base_lr gamma^⌊epoch / step_size⌋."""
        return base_lr * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the rate by gamma at given steps: divided by 10 at half and three quarters, say.

    Args:
        optimizer: The optimizer whose rates change.
        milestones: The steps at which it changes; a step given twice changes it twice.
        gamma: Factor of each change.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        check_range("MultiStepLR", "gamma", gamma)
        given = list(milestones)
        for milestone in given:
            _check_count("MultiStepLR", "a milestone", milestone, least=0)
        self.milestones, self.gamma = sorted(given), gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return base_lr gamma^(number of milestones reached)."""
        return base_lr * self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(LRScheduler):
    """Multiply the rate by gamma at every step.

    Args:
        optimizer: The optimizer whose rates change.
        gamma: The factor.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        check_range("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return base_lr gamma^epoch."""
        return base_lr * self.gamma**epoch


class CosineAnnealingLR(LRScheduler):
    """Let the rate fall along half a cosine, without restarts (Loshchilov & Hutter 2017).

    After ``T_max`` steps it is ``eta_min``; further steps climb the cosine again.

    Args:
        optimizer: The optimizer whose rates change.
        T_max: Steps until the lowest rate.
        eta_min: The lowest rate.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        _check_count("CosineAnnealingLR", "T_max", T_max)
        check_range("CosineAnnealingLR", "eta_min", eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return eta_min + (base_lr - eta_min) (1 + cos(π epoch / T_max)) / 2."""
        height = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (base_lr - self.eta_min) * height


class LinearLR(LRScheduler):
    """Let the rate go from one part of itself to another in a straight line: a warm-up.

    Args:
        optimizer: The optimizer whose rates change.
        start_factor: Part of the rate at the start, above 0 and up to 1.
        end_factor: Part of the rate at the end.
        total_iters: Steps until the end.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("start_factor", start_factor), ("end_factor", end_factor)):
            check_range("LinearLR", name, value)
            if value > 1 or (value == 0 and name == "start_factor"):
                raise ArgumentError(f"LinearLR: {name} is {value}, expected above 0 and up to 1")
        _check_count("LinearLR", "total_iters", total_iters)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return base_lr times the factor on the line."""
        part = min(epoch, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


class ConstantLR(LRScheduler):
    """Hold the rate at a part of itself for some steps.

    Args:
        optimizer: The optimizer whose rates change.
        factor: The part, from 0 to 1.
        total_iters: Steps until the full rate.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        check_range("ConstantLR", "factor", factor)
        if factor > 1:
            raise ArgumentError(f"ConstantLR: factor is {factor}, expected from 0 to 1")
        _check_count("ConstantLR", "total_iters", total_iters, least=0)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return base_lr, times the factor until the end."""
        return base_lr * (self.factor if epoch < self.total_iters else 1.0)


class LambdaLR(LRScheduler):
    """Multiply the first rate by a function of the number of steps.

    Args:
        optimizer: The optimizer whose rates change.
        lr_lambda: The function, or one for each group.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ArgumentError(
                f"LambdaLR: {len(self.lr_lambdas)} functions for {groups} parameter groups"
            )
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return base_lr times the function's value."""
        return base_lr * self.lr_lambdas[group](epoch)


class SequentialLR(LRScheduler):
    """Follow one schedule after another: a warm-up, then a cosine.

    Each counts its own steps from 0.

    Args:
        optimizer: The optimizer whose rates change.
        schedulers: Schedules of this optimizer, in order.
        milestones: The steps at which the next one takes over.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1 or list(milestones) != sorted(milestones):
            raise ArgumentError(
                f"SequentialLR: milestones {list(milestones)} for {len(schedulers)} schedules; "
                "expected one less than schedules, rising"
            )
        if any(schedule.optimizer is not optimizer for schedule in schedulers):
            raise ArgumentError("SequentialLR: a schedule belongs to another optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float, group: int) -> float:
        """Return the rate of the schedule whose turn it is."""
        turn = bisect_right(self.milestones, epoch)
        start = self.milestones[turn - 1] if turn else 0
        return self.schedulers[turn].lr_at(epoch - start, base_lr, group)


def _check_count(name: str, setting: str, value: Any, *, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(
            f"{name}: {setting} is {value!r}, expected an integer of at least {least}"
        )
