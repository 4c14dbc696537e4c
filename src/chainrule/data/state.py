"""State: reading back, key by key, what was saved as JSON.

Takes: a dictionary that came out of a file. Gives: values of the expected types, or a DataError
that names the key.
The one idea: nothing from a file is believed: every key must be there, none may be unknown, and
every value must have its type, size and range.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import DataError, did_you_mean

__all__ = ["State"]

# A larger axis cannot be addressed: the file is damaged.
MAX_SIZE = 2**48


class State:
    """A checked view of one JSON object.

    Args:
        value: What the file held.
        where: The path of the file, and the keys that lead to this object.
        keys: Exactly the keys that must be there.

    Raises:
        DataError: It is not an object, a key is missing, or one is unknown.

    Example:
        >>> State({"epoch": 3}, "last.json", ["epoch"]).integer("epoch", low=0)
        3
    """

    def __init__(self, value: object, where: str, keys: Collection[str]) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected an object, got {_kind(value)}")
        self._value: dict[str, Any] = value
        for key in keys:
            if key not in value:
                raise DataError(f"{where}: key {key!r} is missing")
        for key in value:
            if key not in keys:
                raise DataError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), keys))

    def fail(self, key: str, expected: str) -> NoReturn:
        """Raise the error that a key does not hold what was expected."""
        value = self._value[key]
        shown = repr(value) if isinstance(value, str | int | float | None) else _kind(value)
        raise DataError(f"{self.where}, key {key!r}: got {shown[:80]}, expected {expected}")

    def raw(self, key: str) -> object:
        """Return what is at a key, unchecked."""
        value: object = self._value[key]
        return value

    def text(self, key: str, choices: Collection[str] | None = None) -> str:
        """Return the text at a key, one of the choices if there are any."""
        value = self._value[key]
        if not isinstance(value, str) or (choices is not None and value not in choices):
            self.fail(key, "a text" if choices is None else "one of " + ", ".join(choices))
        return value

    def flag(self, key: str) -> bool:
        """Return the Boolean at a key."""
        value = self._value[key]
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return value

    def integer(self, key: str, *, low: int, high: int = 2**64) -> int:
        """Return the integer at a key, from ``low`` to ``high``."""
        value = self._value[key]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(key, f"an integer from {low} to {high}")
        return value

    def number(self, key: str) -> float:
        """Return the finite number at a key."""
        value = self._value[key]
        if not _is_finite(value):
            self.fail(key, "a finite number")
        return float(value)

    def items(self, key: str) -> list[Any]:
        """Return the list at a key, its items unchecked."""
        value = self._value[key]
        if not isinstance(value, list):
            self.fail(key, "a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of different texts at a key."""
        value = self.items(key)
        if not all(isinstance(item, str) for item in value) or len(set(value)) < len(value):
            self.fail(key, "a list of different texts")
        return tuple(value)

    def numbers(self, key: str) -> NDArray[np.float64]:
        """Return the flat list of finite numbers at a key, at least one."""
        value = self.items(key)
        if not value or not all(_is_finite(item) for item in value):
            self.fail(key, "a list of finite numbers")
        return np.array(value, dtype=np.float64)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the list of sizes at a key."""
        value = self.items(key)
        for size in value:
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_SIZE:
                self.fail(key, "a list of sizes")
        return tuple(value)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of float
        return False


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", type(None): "null", str: "a text"}
    return names.get(type(value), type(value).__name__)
