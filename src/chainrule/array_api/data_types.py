"""Data types as the array API standard names and asks for them.

Takes: dtypes and tensors. Gives: their limits, their kind, what they promote to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.core.device import as_device
from chainrule.core.dtype import (
    ALL,
    DType,
    DTypeLike,
    as_dtype,
    bfloat16,
    float32,
    promote,
    promote_scalar,
)
from chainrule.core.errors import ArgumentError, DTypeError, unknown_word
from chainrule.graph.tensor import Tensor

Kind = str | DType

# The standard's words for groups of dtypes; tensors are real, so one group is empty.
KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int",),
    "unsigned integer": ("uint",),
    "integral": ("int", "uint"),
    "real floating": ("float",),
    "complex floating": (),
    "numeric": ("int", "uint", "float"),
}


@dataclass(frozen=True)
class FloatLimits:
    """What a floating type can hold.

    Attributes:
        bits: Size of a number.
        eps: Distance from 1 to the next larger number.
        max: Largest number.
        min: Smallest number, -max.
        smallest_normal: Smallest positive number with all its digits.
        dtype: The type.
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType

    @property
    def tiny(self) -> float:
        """PyTorch's name for `smallest_normal`."""
        return self.smallest_normal


@dataclass(frozen=True)
class IntegerLimits:
    """What an integer type can hold.

    Attributes:
        bits: Size of a number.
        max: Largest number.
        min: Smallest number.
        dtype: The type.
    """

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(value: DTypeLike | Tensor) -> DType:
    return value.dtype if isinstance(value, Tensor) else as_dtype(value)


def finfo(type: DTypeLike | Tensor, /) -> FloatLimits:
    """Return the limits of a floating type.

    Args:
        type: The type, or a tensor of it.

    Raises:
        DTypeError: It is not floating.

    Example:
        >>> import chainrule
        >>> chainrule.finfo(chainrule.float32).eps
        1.1920928955078125e-07
    """
    dtype = _dtype_of(type)
    if not dtype.is_floating:
        raise DTypeError(f"finfo: {dtype.name} is not a floating type", hint="chainrule.iinfo")
    if dtype is bfloat16:  # float32 without the last 16 bits
        largest = 2.0**127 * (2 - 2.0**-7)
        wide = np.finfo(float32.storage)
        return FloatLimits(16, 2.0**-7, largest, -largest, float(wide.smallest_normal), dtype)
    info = np.finfo(dtype.storage)
    limits = (float(info.eps), float(info.max), float(info.min), float(info.smallest_normal))
    return FloatLimits(dtype.bits, *limits, dtype)


def iinfo(type: DTypeLike | Tensor, /) -> IntegerLimits:
    """Return the limits of an integer type.

    Args:
        type: The type, or a tensor of it.

    Raises:
        DTypeError: It is not an integer type.

    Example:
        >>> import chainrule
        >>> chainrule.iinfo(chainrule.int8).max
        127
    """
    dtype = _dtype_of(type)
    if dtype.kind not in ("int", "uint"):
        raise DTypeError(f"iinfo: {dtype.name} is not an integer type", hint="chainrule.finfo")
    info = np.iinfo(dtype.storage)
    return IntegerLimits(dtype.bits, int(info.max), int(info.min), dtype)


def can_cast(from_: DTypeLike | Tensor, to: DTypeLike, /) -> bool:
    """Return whether one type promotes to another, so that a cast loses nothing of its kind.

    Example:
        >>> import chainrule
        >>> chainrule.array_api.can_cast(chainrule.int8, chainrule.int32)
        True
    """
    target = as_dtype(to)
    try:
        return promote(_dtype_of(from_), target) is target
    except DTypeError:
        return False


def result_type(*arrays_and_dtypes: Tensor | DTypeLike | bool | int | float) -> DType:
    """Return the type of combining tensors, types and Python numbers, which adapt.

    Raises:
        ArgumentError: There is neither a tensor nor a type.
        DTypeError: There is no common type.

    Example:
        >>> import chainrule
        >>> chainrule.array_api.result_type(chainrule.int8, chainrule.uint8)
        chainrule.int16
    """
    numbers = [v for v in arrays_and_dtypes if isinstance(v, bool | int | float)]
    types = [_dtype_of(v) for v in arrays_and_dtypes if not isinstance(v, bool | int | float)]
    if not types:
        raise ArgumentError(
            "result_type: got no tensor and no dtype", hint="chainrule.tensor(1.0).dtype"
        )
    dtype = promote(*types)
    for number in numbers:
        dtype = promote_scalar(dtype, number)
    return dtype


def isdtype(dtype: DType, kind: Kind | tuple[Kind, ...]) -> bool:
    """Return whether a type is of a kind.

    Args:
        dtype: The type.
        kind: A type, a word such as "integral" or "real floating", or several of them.

    Raises:
        ArgumentError: The word is unknown.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in KINDS:
        raise unknown_word("kind of dtype", kind, KINDS)
    return dtype.kind in KINDS[kind]


class NamespaceInfo:
    """What this namespace offers, as the standard's inspection functions tell it."""

    def capabilities(self) -> dict[str, Any]:
        """Return whether masks are indices, shapes may depend on elements, and the most axes."""
        most = 64  # NumPy's, which holds the elements
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": most}

    def default_device(self) -> str:
        """Return where tensors are made."""
        return "cpu"

    def devices(self) -> tuple[str, ...]:
        """Return where tensors can live."""
        return ("cpu",)

    def default_dtypes(self, *, device: str | None = None) -> dict[str, DType]:
        """Return the types of what is made of Python numbers; there are no complex ones."""
        as_device(device or "cpu")
        return {
            "real floating": float32,
            "integral": as_dtype("int64"),
            "indexing": as_dtype("int64"),
        }

    def dtypes(
        self, *, device: str | None = None, kind: Kind | tuple[Kind, ...] | None = None
    ) -> dict[str, DType]:
        """Return the standard's types by name; 16-bit floating ones are beyond it.

        Args:
            device: Where.
            kind: Only those of a kind, see `isdtype`.
        """
        as_device(device or "cpu")
        found = {dtype.name: dtype for dtype in ALL if not dtype.is_half}
        if kind is None:
            return found
        return {name: dtype for name, dtype in found.items() if isdtype(dtype, kind)}
