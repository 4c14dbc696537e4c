"""Rates as functions: schedules that the user writes.

Takes: an optimizer and functions of the number of steps. Gives: its rates.
The one idea: any shape is a function; only the counting of steps is common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedule import ClosedFormLR, FactorLR

Function = Callable[[Any], float]


class LambdaLR(ClosedFormLR):
    """Multiply the first rate by a function of the number of steps.

    Args:
        optimizer: The optimizer whose rates change.
        lr_lambda: The function, or one for each group.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | Sequence[Function],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = functions_of("LambdaLR", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return base_lr times the function's value."""
        return float(base_lr * self.lr_lambdas[group](epoch))


class MultiplicativeLR(FactorLR):
    """Multiply the rate of the last step by a function of the number of steps.

    Args:
        optimizer: The optimizer whose rates change.
        lr_lambda: The function, or one for each group; called from the first step on.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | Sequence[Function],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = functions_of("MultiplicativeLR", optimizer, lr_lambda)
        # Products up to the last step asked for, so that each step multiplies once.
        self._known = [(0, 1.0)] * len(self.lr_lambdas)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float, group: int) -> float:
        """Return the product of the function's values from 1 to epoch."""
        done, product = self._known[group]
        if done > epoch:
            done, product = 0, 1.0
        while done < epoch:
            done += 1
            product *= self.lr_lambdas[group](done)
        self._known[group] = (done, product)
        return product

    def next_lr(self, epoch: float, lr: float, base_lr: float, group: int) -> float:
        """Return lr times the function's value."""
        return lr * self.lr_lambdas[group](epoch) if epoch else lr

    def restart(self) -> None:
        """Count steps from 0 again, from the rate that the schedule before has left."""
        self.last_epoch = 0
        for number, group in enumerate(self.optimizer.param_groups):
            self._exact[number] = False
            group["lr"] = self._left[number] = group["lr"] * self.lr_lambdas[number](0)


def functions_of(
    name: str, optimizer: Optimizer, given: Function | Sequence[Function]
) -> list[Function]:
    """Return a function for each parameter group.

    Raises:
        ArgumentError: There are too few or too many, or one cannot be called.
    """
    groups = len(optimizer.param_groups) if isinstance(optimizer, Optimizer) else 1
    functions = [given] * groups if callable(given) else list(given)
    if len(functions) != groups:
        raise ArgumentError(f"{name}: {len(functions)} functions for {groups} parameter groups")
    for function in functions:
        if not callable(function):
            raise ArgumentError(f"{name}: lr_lambda is {function!r}, expected a function")
    return functions
