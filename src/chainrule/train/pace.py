"""Pace: when the schedule of the learning rate steps.

Takes: a schedule, and whether it counts epochs or steps. Gives: its steps, at the right moments.
The one idea: all schedules count, but one waits for a figure: it gets the one that is monitored.
"""

from __future__ import annotations

from typing import Literal

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.optim.lr_scheduler import LRScheduler

__all__ = ["Every", "Pace"]

Every = Literal["epoch", "step"]


class Pace:
    """Steps a schedule.

    Args:
        schedule: The schedule, or None.
        every: Whether it counts epochs or steps (batches).

    Raises:
        ArgumentError: It is no schedule, ``every`` is another word, or a schedule that waits for a
            figure is to count steps.
    """

    def __init__(self, schedule: LRScheduler | None, every: Every) -> None:
        if every not in ("epoch", "step"):
            raise unknown_word("schedule_every", str(every), ("epoch", "step"))
        if schedule is not None and not isinstance(schedule, LRScheduler):
            raise ArgumentError(
                f"Trainer: schedule is {schedule!r}, expected a schedule",
                hint="optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)",
            )
        if schedule is not None and every == "step" and not schedule.counts_steps:
            raise ArgumentError(
                f"Trainer: {schedule.name} waits for a figure, which there is once an epoch",
                hint='schedule_every="epoch"',
            )
        self.schedule = schedule
        self.every = every

    def after_step(self) -> None:
        """Step, if steps are counted."""
        if self.schedule is not None and self.every == "step":
            self.schedule.step()

    def after_epoch(self, figure: float | None) -> None:
        """Step, if epochs are counted.

        Args:
            figure: The one that is monitored; None, as a figure that is not finite, never counts
                as an improvement.
        """
        if self.schedule is None or self.every != "epoch":
            return
        if self.schedule.counts_steps:
            self.schedule.step()
        else:
            self.schedule.step(float("nan") if figure is None else figure)
