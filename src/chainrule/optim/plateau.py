"""Plateau: a rate that falls when a figure no longer improves.

Takes: an optimizer, and a figure at each step. Gives: a smaller rate when it has come to rest.
The one idea: the right moment to shorten the steps can be seen in the loss itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from chainrule.core.errors import ArgumentError, StateError
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedule import LRScheduler
from chainrule.optim.settings import check_count, check_range, check_word

# What `state_dict` keeps.
KEPT = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by a factor when a figure has not improved for some steps.

    Args:
        optimizer: The optimizer whose rates change.
        mode: ``min`` if smaller figures are better, ``max`` if larger ones are.
        factor: What the rate is multiplied by, below 1.
        patience: How many steps without improvement are borne.
        threshold: What counts as an improvement must be larger than this.
        threshold_mode: Whether it is a part of the best figure (``rel``) or a difference (``abs``).
        cooldown: Steps after a change in which nothing is counted.
        min_lr: The lowest rate, or one for each group.
        eps: Changes smaller than this are not made.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = ReduceLROnPlateau(optimizer, patience=1)
        >>> for loss in (1.0, 0.5, 0.6, 0.7, 0.8):
        ...     schedule.step(loss)
        >>> schedule.get_last_lr()
        [0.1]
    """

    counts_steps = False

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer)
        check_word("mode", mode, ("min", "max"))
        check_word("threshold_mode", threshold_mode, ("rel", "abs"))
        check_range(self.name, "factor", factor, high=1.0)
        for setting, count in (("patience", patience), ("cooldown", cooldown)):
            check_count(self.name, setting, count, least=0)
        for setting, value in (("threshold", threshold), ("eps", eps)):
            check_range(self.name, setting, value)
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = self.for_groups("min_lr", min_lr)
        self.begin()

    def begin(self) -> None:
        """Forget all figures."""
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def step(self, metrics: float | None = None) -> None:
        """Take in a figure, and lower the rates if it has not improved for too long.

        Args:
            metrics: The figure: the validation loss, say.

        Raises:
            ArgumentError: It is missing.
        """
        if metrics is None:
            raise ArgumentError(
                f"{self.name}.step: needs the figure that it watches",
                hint="scheduler.step(valid_loss)",
            )
        current = float(metrics)
        self.last_epoch += 1
        if self.is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def is_better(self, figure: float) -> bool:
        """Return whether a figure is an improvement on the best one."""
        margin = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        if self.best in (math.inf, -math.inf):
            margin = 0.0
        return figure < self.best - margin if self.mode == "min" else figure > self.best + margin

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            raise StateError(
                f"{self.name}: the optimizer has {len(groups)} parameter groups, but had "
                f"{len(self.min_lrs)} when the schedule was made",
                hint="make the schedule after add_param_group",
            )
        for group, least in zip(groups, self.min_lrs, strict=True):
            lower = max(group["lr"] * self.factor, least)
            if group["lr"] - lower > self.eps:
                group["lr"] = lower

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: numbers only, fit for JSON."""
        return {**{key: getattr(self, key) for key in KEPT}, "_last_lr": self.get_last_lr()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the rates.

        Raises:
            StateError: It is not the state of such a schedule.
        """
        missing = [key for key in KEPT if not isinstance(state_dict.get(key), int | float)]
        if missing:
            raise StateError(f"{self.name}.load_state_dict: {missing[0]} is missing")
        rates = state_dict.get("_last_lr", self.get_last_lr())
        if len(rates) != len(self.min_lrs):
            raise StateError(
                f"{self.name}.load_state_dict: rates of {len(rates)} parameter groups, "
                f"the optimizer has {len(self.min_lrs)}"
            )
        self.best = float(state_dict["best"])
        self.num_bad_epochs = int(state_dict["num_bad_epochs"])
        self.cooldown_counter = int(state_dict["cooldown_counter"])
        self.last_epoch = state_dict["last_epoch"]
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = float(lr)
