"""Packing: nested Python state as a JSON tree and tensors by name, and back.

Takes: dictionaries, lists, tuples, numbers, texts, arrays and tensors, nested. Gives: JSON with a
reference in the place of each array, and the arrays; `unpack` gives back equal values.
The one idea: nothing is lost on the way: floats keep every bit (also NaN and inf, which JSON
lacks), tuples stay tuples, integer keys stay integers. What cannot be kept is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.core.errors import ChainruleError, DataError, StateError
from chainrule.graph.tensor import Tensor, tensor

__all__ = ["pack", "unpack"]

# Marks of objects that stand for something else than a dictionary.
TENSOR, ARRAY, TUPLE, FLOAT, ITEMS = "$tensor", "$array", "$tuple", "$float", "$items"
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON; tensors and arrays in it are put into ``tensors``.

    Args:
        value: Numbers, texts, None, tensors, arrays; dictionaries, lists and tuples of them.
        name: Begins the names of the tensors: ``model`` gives ``model.0.weight``.
        tensors: Where they are put.

    Raises:
        StateError: It holds something else; its place is named.

    Example:
        >>> tensors = {}
        >>> pack({"lr": 0.1, "betas": (0.9, 0.999)}, "optimizer", tensors)
        {'lr': 0.1, 'betas': {'$tuple': [0.9, 0.999]}}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT: str(value)}
    if isinstance(value, Tensor | np.ndarray):
        return {TENSOR if isinstance(value, Tensor) else ARRAY: _put(value, name, tensors)}
    if isinstance(value, list | tuple):
        items = [pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {TUPLE: items}
    if isinstance(value, Mapping):
        packed = [(key, pack(item, f"{name}.{key}", tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in packed):
            return dict(packed)
        return {ITEMS: [[pack(key, f"{name} (key)", tensors), item] for key, item in packed]}
    raise StateError(
        f"checkpoint: {name} is {type(value).__name__}, which cannot be saved",
        hint="a state_dict() holds numbers, texts, tensors, arrays, and lists and dictionaries",
    )


def unpack(packed: Any, tensors: Mapping[str, Tensor], where: str) -> Any:
    """Return what `pack` was given.

    Raises:
        DataError: It refers to a tensor that is missing, or is no packed value.
    """
    if isinstance(packed, list):
        return [unpack(item, tensors, where) for item in packed]
    if not isinstance(packed, dict):
        return packed
    mark = next(iter(packed), "")
    if not mark.startswith("$"):
        return {key: unpack(item, tensors, where) for key, item in packed.items()}
    inside = packed[mark]
    if len(packed) == 1:
        if mark in (TENSOR, ARRAY) and isinstance(inside, str):
            if inside not in tensors:
                raise DataError(f"{where}: refers to a tensor {inside!r} that is missing")
            found = tensors[inside]
            return found if mark == TENSOR else found.array
        if mark == FLOAT and inside in _FLOATS:
            return _FLOATS[inside]
        if mark == TUPLE and isinstance(inside, list):
            return tuple(unpack(item, tensors, where) for item in inside)
        if mark == ITEMS and isinstance(inside, list):
            return _dictionary(inside, tensors, where)
    raise DataError(f"{where}: {mark!r} is no mark of a packed value")


def _dictionary(items: list[Any], tensors: Mapping[str, Tensor], where: str) -> dict[Any, Any]:
    try:
        return {unpack(key, tensors, where): unpack(item, tensors, where) for key, item in items}
    except (TypeError, ValueError) as error:
        if isinstance(error, ChainruleError):
            raise
        raise DataError(f"{where}: damaged dictionary: {error}") from None


def _put(value: Tensor | np.ndarray[Any, Any], name: str, tensors: dict[str, Tensor]) -> str:
    free, number = name, 2
    while free in tensors:  # {"a.b": x, "a": {"b": y}}
        free, number = f"{name}#{number}", number + 1
    tensors[free] = value.detach() if isinstance(value, Tensor) else tensor(value)
    return free
