"""Combined: schedules one after another, or all at once.

Takes: schedules of one optimizer. Gives: a schedule.
The one idea: a warm-up and a decay are two schedules; each is simpler than both in one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from chainrule.core.errors import ArgumentError, StateError
from chainrule.optim.decay import LinearLR
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedule import LRScheduler, check_one_optimizer, states_of
from chainrule.optim.settings import check_count


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
        super().__init__(optimizer)
        if len(milestones) != len(schedulers) - 1 or list(milestones) != sorted(milestones):
            raise ArgumentError(
                f"SequentialLR: milestones {list(milestones)} for {len(schedulers)} schedules; "
                "expected one less than schedules, rising"
            )
        check_one_optimizer(self.name, schedulers, optimizer)
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        self.begin()
        for _ in range(last_epoch + 1):
            self.step()

    def begin(self) -> None:
        """Set the rates of the first step, as when the schedule was made."""
        self.last_epoch = 0
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        self.schedulers[bisect_right(self.milestones, 0)].begin()

    def step(self, value: float | None = None, /) -> None:
        """Go on by one step, with the schedule whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self.milestones, self.last_epoch)
        schedule = self.schedulers[turn]
        if turn and self.milestones[turn - 1] == self.last_epoch:
            schedule.restart()
        else:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: numbers only, fit for JSON."""
        return {"last_epoch": self.last_epoch, "_schedulers": states_of(self.schedulers)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the rates.

        Raises:
            StateError: It is not the state of such a schedule.
        """
        last = state_dict.get("last_epoch")
        if not isinstance(last, int):
            raise StateError(f"{self.name}.load_state_dict: last_epoch is missing")
        turn = bisect_right(self.milestones, last)
        states = _states(self.name, state_dict, len(self.schedulers))
        self.last_epoch = last
        # The one whose turn it is comes last and so sets the rates.
        for number in (*(n for n in range(len(states)) if n != turn), turn):
            self.schedulers[number].load_state_dict(states[number])


class ChainedScheduler(LRScheduler):
    """Follow several schedules at once: each step changes the rate that the one before has left.

    Args:
        schedulers: Schedules of one optimizer, in order.
        optimizer: Their optimizer; by default that of the first.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> from chainrule.optim.lr_scheduler import ConstantLR, ExponentialLR
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=1.0)
        >>> parts = [ConstantLR(optimizer, 0.1, total_iters=2), ExponentialLR(optimizer, 0.9)]
        >>> schedule = ChainedScheduler(parts)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 4))
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [0.1, 0.09, 0.81, 0.729]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if optimizer is None and schedulers:
            optimizer = getattr(schedulers[0], "optimizer", None)
        check_one_optimizer("ChainedScheduler", schedulers, optimizer)
        assert optimizer is not None
        super().__init__(optimizer)
        self.schedulers = list(schedulers)
        self.last_epoch = 0

    def begin(self) -> None:
        """Set the rates of the first step, as when the schedules were made."""
        self.last_epoch = 0
        for schedule in self.schedulers:
            schedule.begin()

    def step(self, value: float | None = None, /) -> None:
        """Go on by one step of each schedule."""
        self.last_epoch += 1
        for schedule in self.schedulers:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: numbers only, fit for JSON."""
        return {"last_epoch": self.last_epoch, "_schedulers": states_of(self.schedulers)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the rates.

        Raises:
            StateError: It is not the state of such a schedule.
        """
        states = _states(self.name, state_dict, len(self.schedulers))
        self.last_epoch = state_dict.get("last_epoch", 0)
        for schedule, state in zip(self.schedulers, states, strict=True):
            schedule.load_state_dict(state)


def warmup(schedule: LRScheduler, steps: int, start_factor: float = 0.01) -> SequentialLR:
    """Return a schedule that lets the rate rise in a straight line first, then follows another.

    The first steps of Adam and of networks with large batches are wild; a rate that rises from
    near 0 keeps them small (Goyal et al. 2017).

    Args:
        schedule: The schedule afterwards, which counts its steps from the end of the rise.
        steps: Steps of the rise.
        start_factor: Part of the full rate at the first step.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> from chainrule.optim.lr_scheduler import CosineAnnealingLR, warmup
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = warmup(CosineAnnealingLR(optimizer, 4), steps=2, start_factor=0.5)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 2))
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [0.5, 0.75, 1.0, 0.85, 0.5, 0.15]
    """
    check_count("warmup", "steps", steps)
    if not isinstance(schedule, LRScheduler):
        raise ArgumentError(
            f"warmup: got {type(schedule).__name__}, expected a schedule",
            hint="warmup(CosineAnnealingLR(optimizer, T_max), steps=500)",
        )
    rise = LinearLR(schedule.optimizer, start_factor, total_iters=steps)
    return SequentialLR(schedule.optimizer, [rise, schedule], [steps])


def _states(name: str, state_dict: Mapping[str, Any], count: int) -> list[Any]:
    states = state_dict.get("_schedulers")
    if not isinstance(states, list | tuple) or len(states) != count:
        raise StateError(f"{name}.load_state_dict: expected the states of {count} schedules")
    return list(states)
