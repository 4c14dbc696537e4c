"""Settings of optimizers and schedules: checked where they are given.

Takes: a rule's name, a setting's name and what came. Gives: nothing, or the error.
The one idea: a rate of -0.1 or a momentum of 9 is a slip of the pen; it is said before the first
step, not after the first divergence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.ops.caution import caution


def check_range(
    name: str, setting: str, value: Any, *, low: float = 0.0, high: float = math.inf
) -> None:
    """Check a numeric setting against its range; the upper end, where there is one, is outside.

    Raises:
        ArgumentError: It is no finite number, or out of range.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (low <= value < high) or not math.isfinite(value):
        wanted = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to below {high:g}"
        hint = ""
        if isinstance(value, str):
            hint = f"a number without quotes: {setting}={value}"
        elif is_number and value < low == 0:
            hint = f"{setting}={-value!r}"
        raise ArgumentError(
            f"{name}: {setting} is {value!r}, expected a number {wanted}", hint=hint
        )


def check_betas(name: str, betas: Any, setting: str = "betas") -> None:
    """Check two decay rates of running means: each from 0 to below 1.

    Raises:
        ArgumentError: They are not two, or one is out of range.
    """
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ArgumentError(f"{name}: {setting} is {betas!r}, expected two numbers")
    for position, beta in enumerate(betas):
        check_range(name, f"{setting}[{position}]", beta, high=1.0)


def check_momentum(name: str, momentum: Any) -> None:
    """Check a momentum: at least 0; from 1 on it warns, for then old steps never fade.

    Raises:
        ArgumentError: It is negative or no number.
    """
    check_range(name, "momentum", momentum)
    if momentum >= 1:
        caution(
            f"{name}: momentum is {momentum}, so that steps grow for ever",
            hint=f"momentum=0.9 keeps nine tenths of the last step; below 1, not {momentum}",
        )


def check_flag(name: str, setting: str, value: Any) -> None:
    """Check a setting that is True or False.

    Raises:
        ArgumentError: It is something else.
    """
    if not isinstance(value, bool):
        raise ArgumentError(f"{name}: {setting} is {value!r}, expected True or False")


def check_count(name: str, setting: str, value: Any, *, least: int = 1) -> None:
    """Check a number of steps, epochs or iterations.

    Raises:
        ArgumentError: It is no integer, or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(
            f"{name}: {setting} is {value!r}, expected an integer of at least {least}"
        )


def check_word(setting: str, value: Any, known: Sequence[str]) -> None:
    """Check a setting that is one of a few words.

    Raises:
        ArgumentError: It is another one.
    """
    if value not in known:
        raise unknown_word(setting, str(value), known)
