"""Cycle: schedules that rise and fall, and begin anew.

Takes: an optimizer and the shape of a cycle. Gives: its rates, and momentum running the other way.
The one idea: a rate that rises again leaves narrow minima; a lower momentum keeps it stable while
it is high (Smith 2017; Loshchilov & Hutter 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from chainrule.core.errors import ArgumentError, StateError
from chainrule.optim.optimizer import Group, Optimizer
from chainrule.optim.schedule import ClosedFormLR
from chainrule.optim.settings import check_count, check_range, check_word

Rates = float | list[float]
# Shapes of cycles: all alike, each half as high, or fading with the steps.
MODES = ("triangular", "triangular2", "exp_range")


class CosineAnnealingWarmRestarts(ClosedFormLR):
    """Let the rate fall along half a cosine again and again (SGDR; Loshchilov & Hutter 2017).

    Args:
        optimizer: The optimizer whose rates change.
        T_0: Steps of the first fall.
        T_mult: Factor by which each fall is longer than the last one.
        eta_min: The lowest rate.
        last_epoch: How many steps lie behind; -1 for a new training.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=1.0)
        >>> schedule = CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
        >>> [round(schedule.lr_at(step, 1.0, 0), 2) for step in range(7)]
        [1.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        name = "CosineAnnealingWarmRestarts"
        check_count(name, "T_0", T_0)
        check_count(name, "T_mult", T_mult)
        check_range(name, "eta_min", eta_min)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return eta_min + (base_lr - eta_min) (1 + cos(π T_cur / T_i)) / 2."""
        length, since = self.T_0, epoch
        if self.T_mult == 1:
            since = epoch % length
        while since >= length:
            since, length = since - length, length * self.T_mult
        height = (1 + math.cos(math.pi * since / length)) / 2
        return self.eta_min + (base_lr - self.eta_min) * height


class _MomentumCycle(ClosedFormLR):
    """A schedule that can move momentum (β₁ of Adam) the other way.

    Attributes:
        base_momentums: The lowest, for each group; empty if momentum stays.
        max_momentums: The highest.
    """

    base_momentums: list[float]
    max_momentums: list[float]

    def take_momentum(self, optimizer: Optimizer, *, cycle: bool, low: Rates, high: Rates) -> None:
        """Take over the momentum, if so wished.

        Raises:
            ArgumentError: The optimizer has none, or one is out of range.
        """
        self.base_momentums, self.max_momentums = [], []
        if not cycle:
            return
        self._setting = "betas" if "betas" in optimizer.defaults else "momentum"
        if self._setting not in optimizer.defaults:
            raise ArgumentError(
                f"{self.name}: {optimizer.name} has neither momentum nor betas to cycle",
                hint="cycle_momentum=False",
            )
        self.base_momentums = self.for_groups("base_momentum", low)
        self.max_momentums = self.for_groups("max_momentum", high)
        for momentum in self.max_momentums:
            check_range(self.name, "max_momentum", momentum, high=1.0)
        # Compiled steps must not be traced anew at each step.
        optimizer.let_vary(self._setting)

    def with_momentum(self, group: int, momentum: float) -> Group:
        """Return the settings of a group with this momentum."""
        if self._setting == "momentum":
            return {"momentum": momentum}
        return {"betas": (momentum, *self.optimizer.param_groups[group]["betas"][1:])}


class CyclicLR(_MomentumCycle):
    """Let the rate go up and down in straight lines (Smith 2017); for steps, not epochs.

    Modes: ``triangular`` cycles alike, ``triangular2`` halves each, ``exp_range`` scales by
    gamma^steps.

    Args:
        optimizer: The optimizer whose rates change.
        base_lr: The lowest rate, or one for each group.
        max_lr: The highest.
        step_size_up: Steps of the way up.
        step_size_down: Steps of the way down; None: as many.
        mode: ``triangular``, ``triangular2`` or ``exp_range``.
        gamma: Of ``exp_range``.
        scale_fn: A function of its own in the place of the mode.
        scale_mode: Whether it is given the number of the ``cycle``, from 1, or ``iterations``.
        cycle_momentum: Whether momentum (β₁ of Adam) goes down and up meanwhile.
        base_momentum: The lowest momentum.
        max_momentum: The highest.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Rates,
        max_lr: Rates,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Rates = 0.8,
        max_momentum: Rates = 0.9,
        last_epoch: int = -1,
    ) -> None:
        super(ClosedFormLR, self).__init__(optimizer)
        check_count(self.name, "step_size_up", step_size_up)
        down = step_size_up if step_size_down is None else step_size_down
        check_count(self.name, "step_size_down", down)
        check_range(self.name, "gamma", gamma)
        if scale_fn is None:
            check_word("mode", mode, MODES)
        check_word("scale_mode", scale_mode, ("cycle", "iterations"))
        self._lowest = self.for_groups("base_lr", base_lr)
        self.max_lrs = self.for_groups("max_lr", max_lr)
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self._scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.take_momentum(optimizer, cycle=cycle_momentum, low=base_momentum, high=max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, self._lowest, strict=True):
                group["lr"] = lr
        super().__init__(optimizer, last_epoch)

    def first_lrs(self) -> list[float]:
        """Return the lowest rate of each group."""
        return self._lowest

    def scale_fn(self, x: float) -> float:
        """Return the factor of a cycle's height."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "triangular":
            return 1.0
        if self.mode == "triangular2":
            return float(1 / 2.0 ** (x - 1))
        return float(self.gamma**x)

    def height(self, epoch: float) -> float:
        """Return how far up the rate is after a number of steps: from 0 to 1."""
        cycle = math.floor(1 + epoch / self.total_size)
        x = 1.0 + epoch / self.total_size - cycle
        rises = x <= self.step_ratio
        part = x / self.step_ratio if rises else (x - 1) / (self.step_ratio - 1)
        return part * self.scale_fn(cycle if self.scale_mode == "cycle" else epoch)

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return base_lr + (max_lr - base_lr) height."""
        return base_lr + (self.max_lrs[group] - base_lr) * self.height(epoch)

    def settings_at(self, epoch: float, group: int) -> Group:
        """Return the momentum: max_momentum - (max_momentum - base_momentum) height."""
        if not self.max_momentums:
            return {}
        high = self.max_momentums[group]
        momentum = high - (high - self.base_momentums[group]) * self.height(epoch)
        return self.with_momentum(group, momentum)


class _Phase(NamedTuple):
    """A phase of the one-cycle rule: its last step, and what leads where.

    Rates: 0 the first, 1 the highest, 2 the lowest; momenta: 0 the highest, 1 the lowest.
    """

    end: float
    rates: tuple[int, int]
    momenta: tuple[int, int]


class OneCycleLR(_MomentumCycle):
    """Let the rate rise once and fall far below where it began (Smith & Topin 2019); for steps.

    The rate goes from max_lr / div_factor to max_lr, then to the first one / final_div_factor;
    with ``three_phase`` first back to where it began, at the same pace, then down.

    Args:
        optimizer: The optimizer whose rates change.
        max_lr: The highest rate, or one for each group.
        total_steps: Steps of the cycle; or ``epochs`` and ``steps_per_epoch``.
        epochs: Number of epochs.
        steps_per_epoch: Steps in each.
        pct_start: The part of the steps on which the rate rises, from 0 to 1.
        anneal_strategy: ``cos`` or ``linear``.
        cycle_momentum: Whether momentum (β₁ of Adam) goes down and up meanwhile.
        base_momentum: The lowest momentum.
        max_momentum: The highest.
        div_factor: How far the first rate is below the highest.
        final_div_factor: How far the last rate is below the first.
        three_phase: Whether the fall has two phases.
        last_epoch: How many steps lie behind; -1 for a new training.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], momentum=0.9)
        >>> schedule = OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
        >>> [round(schedule.lr_at(step, 0.04, 0), 2) for step in range(10)]
        [0.04, 0.52, 1.0, 0.95, 0.81, 0.61, 0.39, 0.19, 0.05, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Rates,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: Rates = 0.85,
        max_momentum: Rates = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        super(ClosedFormLR, self).__init__(optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        check_range(self.name, "pct_start", pct_start)
        if pct_start > 1:
            raise ArgumentError(f"{self.name}: pct_start is {pct_start}, expected from 0 to 1")
        check_word("anneal_strategy", anneal_strategy, ("cos", "linear"))
        for setting, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            check_range(self.name, setting, value)
            if value == 0:
                raise ArgumentError(f"{self.name}: {setting} is 0, expected above 0")
        self.anneal_strategy = anneal_strategy
        self.final_div_factor = final_div_factor
        self.max_lrs = self.for_groups("max_lr", max_lr)
        rise, last = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        self._phases = [_Phase(rise, (0, 1), (0, 1)), _Phase(last, (1, 2), (1, 0))]
        if three_phase:
            fall = float(2 * pct_start * self.total_steps) - 2
            self._phases[1:] = [_Phase(fall, (1, 0), (1, 0)), _Phase(last, (0, 2), (0, 0))]
        self.take_momentum(optimizer, cycle=cycle_momentum, low=base_momentum, high=max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["initial_lr"] = lr / div_factor
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return the rate of the phase that a step lies in."""
        phase, part = self._phase(epoch)
        rates = (base_lr, self.max_lrs[group], base_lr / self.final_div_factor)
        return self._between(rates[phase.rates[0]], rates[phase.rates[1]], part)

    def settings_at(self, epoch: float, group: int) -> Group:
        """Return the momentum of the phase that a step lies in."""
        if not self.max_momentums:
            return {}
        phase, part = self._phase(epoch)
        momenta = (self.max_momentums[group], self.base_momentums[group])
        start, end = momenta[phase.momenta[0]], momenta[phase.momenta[1]]
        return self.with_momentum(group, self._between(start, end, part))

    def _phase(self, epoch: float) -> tuple[_Phase, float]:
        """Return the phase that a step lies in, and how much of it is over."""
        if epoch > self.total_steps:
            raise StateError(
                f"{self.name}: step {epoch:g} of {self.total_steps}",
                hint="total_steps is the number of all batches: epochs x batches of an epoch; "
                'with Trainer, schedule_every="step"',
            )
        start = 0.0
        for phase in self._phases[:-1]:
            if epoch <= phase.end:
                break
            start = phase.end
        else:
            phase = self._phases[-1]
        width = phase.end - start
        return phase, (epoch - start) / width if width else 1.0

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _total_steps(total: Any, epochs: Any, steps_per_epoch: Any) -> int:
    if total is None and (epochs is None or steps_per_epoch is None):
        raise ArgumentError(
            "OneCycleLR: needs total_steps, or epochs and steps_per_epoch",
            hint="total_steps=epochs * len(loader)",
        )
    if total is None:
        check_count("OneCycleLR", "epochs", epochs)
        check_count("OneCycleLR", "steps_per_epoch", steps_per_epoch)
        return int(epochs * steps_per_epoch)
    check_count("OneCycleLR", "total_steps", total)
    return int(total)
