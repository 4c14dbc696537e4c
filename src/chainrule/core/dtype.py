"""Data types: what a tensor's elements are, and how two types promote to one.

Takes: a type in any spelling (ours, NumPy's, Python's, a word). Gives: one interned `DType`.
The one idea: float16 and bfloat16 are storage types; every op computes them in float32 and
rounds once, so their meaning does not depend on the machine.

Promotion follows the Python array API standard 2025.12 within a kind; where the standard
leaves mixed kinds open (integer with floating), the floating type wins, as in PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.core.errors import DTypeError, unknown_word

Array = npt.NDArray[Any]
Kind = Literal["bool", "int", "uint", "float"]
Scalar = bool | int | float


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """The type of a tensor's elements.

    Attributes:
        name: ``float32``, ``int64``, ...
        short: Name used in error messages: ``f32``, ``i64``, ...
        kind: ``bool``, ``int``, ``uint`` or ``float``.
        bits: Size of one element in bits.
        storage: NumPy type in which elements are kept (bfloat16: the bits as uint16).
        compute: NumPy type in which ops compute (float16 and bfloat16: float32).
        is_half: Whether this is a 16-bit floating type: stored short, computed in float32.
    """

    name: str
    short: str
    kind: Kind
    bits: int
    storage: np.dtype[Any]
    compute: np.dtype[Any]
    is_half: bool = False

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return self.storage.itemsize

    @property
    def is_floating(self) -> bool:
        """Whether elements are real numbers, so that gradients exist."""
        return self.kind == "float"

    def __repr__(self) -> str:
        return f"chainrule.{self.name}"


def _plain(name: str, short: str, kind: Kind) -> DType:
    numpy_type = np.dtype(name)
    return DType(name, short, kind, numpy_type.itemsize * 8, numpy_type, numpy_type)


bool_ = _plain("bool", "bool", "bool")
int8 = _plain("int8", "i8", "int")
int16 = _plain("int16", "i16", "int")
int32 = _plain("int32", "i32", "int")
int64 = _plain("int64", "i64", "int")
uint8 = _plain("uint8", "u8", "uint")
uint16 = _plain("uint16", "u16", "uint")
uint32 = _plain("uint32", "u32", "uint")
uint64 = _plain("uint64", "u64", "uint")
float32 = _plain("float32", "f32", "float")
float64 = _plain("float64", "f64", "float")
float16 = DType("float16", "f16", "float", 16, np.dtype("float16"), float32.compute, True)
bfloat16 = DType("bfloat16", "bf16", "float", 16, np.dtype("uint16"), float32.compute, True)

ALL = (
    *(bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
    *(float16, bfloat16, float32, float64),
)
_BY_NAME = {dtype.name: dtype for dtype in ALL} | {
    "half": float16,
    "float": float32,
    "double": float64,
    "long": int64,
    "int": int32,
    "short": int16,
}
_BY_NUMPY = {dtype.storage: dtype for dtype in ALL if dtype is not bfloat16}
_BY_PYTHON: dict[object, DType] = {bool: bool_, int: int64, float: float32}

DTypeLike = DType | str | np.dtype[Any] | type


def as_dtype(value: DTypeLike) -> DType:
    """Return the `DType` for any spelling of it.

    Args:
        value: A `DType`, a name (``"float32"``), a NumPy type, or Python's bool, int, float.

    Raises:
        ArgumentError: The name is unknown.
        DTypeError: NumPy's type has no counterpart (complex, object, text).
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        if value not in _BY_NAME:
            raise unknown_word("dtype", value, _BY_NAME)
        return _BY_NAME[value]
    if value in _BY_PYTHON:
        return _BY_PYTHON[value]
    try:
        return _BY_NUMPY[np.dtype(value).newbyteorder("=")]
    except (KeyError, TypeError):
        raise DTypeError(
            f"dtype: {value!r} has no counterpart here",
            hint="use one of " + ", ".join(dtype.name for dtype in ALL),
        ) from None


def promote(*dtypes: DType) -> DType:
    """Return the type that holds the result of combining elements of all the types.

    Raises:
        DTypeError: uint64 with a signed integer: no integer type holds both.
    """
    result = dtypes[0]
    for dtype in dtypes[1:]:
        if dtype is not result:
            result = _promote_two(result, dtype)
    return result


def promote_scalar(dtype: DType, scalar: Scalar) -> DType:
    """Return the type of combining an array with a Python number, which adapts to the array."""
    if isinstance(scalar, bool) or dtype.kind == "float":
        return dtype
    if isinstance(scalar, int):
        return int64 if dtype.kind == "bool" else dtype
    return float32


def _promote_two(a: DType, b: DType) -> DType:
    if a.kind == b.kind:
        if a.bits == b.bits:  # float16 with bfloat16: neither holds the other
            return float32
        return a if a.bits > b.bits else b
    if "bool" in (a.kind, b.kind):
        return b if a.kind == "bool" else a
    if "float" in (a.kind, b.kind):
        return a if a.kind == "float" else b
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if unsigned is uint64:
        raise DTypeError(
            f"dtype: {a.name} and {b.name} have no common integer type",
            hint="convert one of them first: x.to(chainrule.int64)",
        )
    bits = max(signed.bits, unsigned.bits * 2)
    return _BY_NAME[f"int{bits}"]


def to_compute(array: Array, dtype: DType) -> Array:
    """Return stored elements in the type that ops compute in."""
    if dtype is bfloat16:
        wide = array.astype(np.uint32)
        np.left_shift(wide, np.uint32(16), out=wide)
        return wide.view(np.float32)
    return array.astype(dtype.compute, copy=False)


def to_storage(array: Array, dtype: DType) -> Array:
    """Return computed elements in the type that they are stored in, rounded to nearest even."""
    if dtype is bfloat16:
        return _round_bfloat16(np.asarray(array, dtype=np.float32))
    return array.astype(dtype.storage, copy=False)


def _round_bfloat16(array: Array) -> Array:
    bits = np.ascontiguousarray(array).view(np.uint32).reshape(array.shape)
    nearest_even = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    with np.errstate(over="ignore"):  # a NaN with all bits set wraps; it is replaced below
        rounded = ((bits + nearest_even) >> np.uint32(16)).astype(np.uint16)
    # Rounding could carry a NaN's payload into the sign bit; keep it a quiet NaN instead.
    quiet_nan = ((bits >> np.uint32(16)) | np.uint32(0x40)).astype(np.uint16)
    return np.asarray(np.where(np.isnan(array), quiet_nan, rounded), dtype=np.uint16)
