"""Decay: schedules that let the rate fall, by steps, powers or a cosine.

Takes: an optimizer and the shape of the fall. Gives: its rates, one `step` at a time.
The one idea: long steps find the valley, short ones its ground; a rate divided by 10 lets the loss
fall once more when it seemed to have come to rest.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from chainrule.core.errors import ArgumentError
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedule import ClosedFormLR, FactorLR
from chainrule.optim.settings import check_count, check_range


class StepLR(FactorLR):
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
        check_count("StepLR", "step_size", step_size)
        check_range("StepLR", "gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float, group: int) -> float:
        """Return gamma^⌊epoch / step_size⌋."""
        return float(self.gamma ** (epoch // self.step_size))


class MultiStepLR(FactorLR):
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
            check_count("MultiStepLR", "a milestone", milestone, least=0)
        self.milestones, self.gamma = sorted(given), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float, group: int) -> float:
        """Return gamma^(number of milestones reached)."""
        return float(self.gamma ** bisect_right(self.milestones, epoch))

    def next_lr(self, epoch: float, lr: float, base_lr: float, group: int) -> float:
        """Return lr, times gamma at a milestone."""
        return float(lr * self.gamma ** self.milestones.count(int(epoch)))


class ExponentialLR(FactorLR):
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

    def factor(self, epoch: float, group: int) -> float:
        """Return gamma^epoch."""
        return float(self.gamma**epoch)


class ConstantLR(FactorLR):
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
        check_count("ConstantLR", "total_iters", total_iters, least=0)
        self.part, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float, group: int) -> float:
        """Return the part until the end, then 1."""
        return self.part if epoch < self.total_iters else 1.0


class LinearLR(FactorLR):
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
        check_count("LinearLR", "total_iters", total_iters)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float, group: int) -> float:
        """Return the factor on the line."""
        part = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * part


class PolynomialLR(FactorLR):
    """Let the rate fall to 0 along a power of the steps left: a straight line with power 1.

    Args:
        optimizer: The optimizer whose rates change.
        total_iters: Steps until 0.
        power: The power.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        check_count("PolynomialLR", "total_iters", total_iters)
        check_range("PolynomialLR", "power", power)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float, group: int) -> float:
        """Return (1 - epoch / total_iters)^power, 0 after the end."""
        return float((1.0 - min(epoch, self.total_iters) / self.total_iters) ** self.power)


class CosineAnnealingLR(ClosedFormLR):
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
        check_count("CosineAnnealingLR", "T_max", T_max)
        check_range("CosineAnnealingLR", "eta_min", eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return eta_min + (base_lr - eta_min) (1 + cos(π epoch / T_max)) / 2."""
        height = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (base_lr - self.eta_min) * height

    def next_lr(self, epoch: float, lr: float, base_lr: float, group: int) -> float:
        """Return eta_min + (lr - eta_min) times the cosine's fall in one step."""
        if epoch == 0:
            return lr
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # From the lowest point there is no factor that leads up again.
            return lr + (base_lr - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        fall = 1 + math.cos(math.pi * epoch / self.T_max)
        fall /= 1 + math.cos(math.pi * (epoch - 1) / self.T_max)
        return fall * (lr - self.eta_min) + self.eta_min


def step_at_fractions(
    optimizer: Optimizer,
    epochs: int,
    fractions: Sequence[float] = (0.5, 0.75),
    gamma: float = 0.1,
) -> MultiStepLR:
    """Return a schedule that divides the rate by 10 at half and three quarters of the epochs.

    The recipe of ResNet and DenseNet on CIFAR (He et al. 2016; Huang et al. 2017).

    Args:
        optimizer: The optimizer whose rates change.
        epochs: The epochs of the whole training.
        fractions: Where the rate changes, as parts of the epochs.
        gamma: Factor of each change.

    Raises:
        ArgumentError: A fraction is not between 0 and 1, or another setting is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> optimizer = optim.SGD([chainrule.zeros(1, requires_grad=True)], lr=0.1)
        >>> step_at_fractions(optimizer, epochs=164).milestones
        [82, 123]
    """
    check_count("step_at_fractions", "epochs", epochs)
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise ArgumentError(
                f"step_at_fractions: a fraction is {fraction}, expected between 0 and 1",
                hint="fractions=(0.5, 0.75) are parts of the epochs",
            )
    return MultiStepLR(optimizer, [round(epochs * fraction) for fraction in fractions], gamma)
