"""Arguments of layers: checked when a layer is made, named in the error.

Takes: the layer's name, the argument's name and what came. Gives: the value in canonical form.
The one idea: a bad size is an error on the line that wrote it, not later inside a convolution.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import ArgumentError

Size = int | Sequence[int]


def show(value: object) -> str:
    """Return a value as the user wrote it, with its type where that is the fault."""
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    known = value is None or isinstance(value, bool | int | float)
    return text if known else f"{text} ({type(value).__name__})"


def integer(layer: str, name: str, value: Any, *, least: int = 1) -> int:
    """Return an integer of at least ``least``.

    Raises:
        ArgumentError: It is no integer (True and 3.0 are none), or too small.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        wanted = f"an integer of at least {least}"
        raise ArgumentError(f"{layer}: {name} is {show(value)}, expected {wanted}") from None
    if result < least:
        raise ArgumentError(f"{layer}: {name} is {result}, expected at least {least}")
    return result


def sizes(layer: str, name: str, value: Any, count: int, *, least: int = 1) -> tuple[int, ...]:
    """Return one integer for each spatial axis; a single one stands for all of them.

    Raises:
        ArgumentError: There are too few or too many, or one is no integer or too small.
    """
    if not isinstance(value, list | tuple):
        return (integer(layer, name, value, least=least),) * count
    if len(value) != count:
        raise ArgumentError(
            f"{layer}: {name} is {show(value)}, expected one integer or {count} of them"
        )
    return tuple(integer(layer, name, item, least=least) for item in value)


def times(values: Sequence[int]) -> str:
    """Return sizes as they are spoken: ``3x3``."""
    return "x".join(map(str, values))


def number(
    layer: str, name: str, value: Any, *, low: float = -math.inf, high: float = math.inf
) -> float:
    """Return a number between two bounds, which belong to the range.

    Raises:
        ArgumentError: It is no number, NaN, or out of range.
    """
    bad = isinstance(value, bool | str) or not hasattr(value, "__float__")
    if bad or not low <= float(value) <= high:
        hint = ""
        if not bad and (low, high) == (0.0, 1.0) and float(value) in range(2, 101):
            hint = f"{name}={float(value) / 100:g} is {float(value):g} %"
        raise ArgumentError(
            f"{layer}: {name} is {show(value)}, expected {_range(low, high)}", hint=hint
        )
    return float(value)


def finite(layer: str, name: str, value: Any) -> float:
    """Return a finite number.

    Raises:
        ArgumentError: It is no number, NaN or infinite.
    """
    result = number(layer, name, value)
    if math.isinf(result):
        raise ArgumentError(f"{layer}: {name} is {show(value)}, expected a finite number")
    return result


def positive(layer: str, name: str, value: Any) -> float:
    """Return a finite number above 0.

    Raises:
        ArgumentError: It is no such number.
    """
    result = finite(layer, name, value)
    if result <= 0:
        raise ArgumentError(f"{layer}: {name} is {show(value)}, expected a number above 0")
    return result


def flag(layer: str, name: str, value: Any) -> bool:
    """Return a Boolean.

    Raises:
        ArgumentError: It is something else: a size in the place of ``bias``, for example.
    """
    if not isinstance(value, bool):
        raise ArgumentError(f"{layer}: {name} is {show(value)}, expected True or False")
    return value


def divides(layer: str, groups: int, channels: int, name: str) -> None:
    """Check that channels split evenly into groups.

    Raises:
        ArgumentError: They do not.
    """
    if channels % groups:
        raise ArgumentError(f"{layer}: {name} is {channels}, not divisible by groups={groups}")


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a number"
    if math.isinf(high):
        return f"a number of at least {low:g}"
    return f"a number from {low:g} to {high:g}"
