"""Creation of tensors, with the standard's signatures.

Takes: shapes, numbers, arrays of any library. Gives: tensors.
The one idea: the functions of `chainrule` take PyTorch's habits too; these take the standard's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.device import as_device
from chainrule.core.dtype import DType, as_dtype
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops import creation, ranges
from chainrule.ops.cast import astype as _astype
from chainrule.ops.cast import clone

Shape = int | tuple[int, ...]


def _place(device: str | None) -> str:
    return as_device("cpu" if device is None else device)


def _near(k: int, rows: int = 0, columns: int = 0) -> int:
    """Return a diagonal of a matrix, or the first beyond it in place of a remoter one."""
    return max(-rows, min(k, columns))


def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: str | None = None, copy: bool | None = None
) -> Tensor:
    """Return a tensor of anything that holds real numbers.

    Args:
        obj: A tensor, number, nested sequence, or an array of another library.
        dtype: Type of the elements (default: the object's; float32 and int64 of Python numbers).
        device: Where it lives.
        copy: True: a tensor of its own. False: never copy, which only a tensor allows. None: copy
            what is not a tensor.

    Raises:
        ArgumentError: ``copy`` is False and the elements have to be copied.
        DTypeError: Elements are not real numbers.

    Example:
        >>> import chainrule
        >>> chainrule.array_api.asarray([1, 2]).dtype
        chainrule.int64
    """
    _place(device)
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, complex | np.complexfloating):
        raise DTypeError(f"asarray: {obj} is complex; tensors are real")
    if isinstance(obj, Tensor):
        if wanted is None or wanted is obj.dtype:
            return clone(obj) if copy else obj
        if copy is not False:
            return _astype(obj, wanted)
    if copy is False:
        shown = obj.spec if isinstance(obj, Tensor) else f"an object of type {type(obj).__name__}"
        raise ArgumentError(f"asarray: copy=False, but {shown} has to be copied", hint="copy=None")
    return tensor(obj, dtype=wanted)


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """Return a tensor with the elements of another library's array, through DLPack.

    Args:
        x: An object with ``__dlpack__``.
        device: Where the tensor lives.
        copy: False asks for shared memory, which tensors never have, since their elements do not
            change.

    Raises:
        ArgumentError: ``copy`` is False, or x is not such an object or lives on a GPU.

    Example:
        >>> import chainrule
        >>> import numpy as np
        >>> chainrule.from_dlpack(np.array([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    _place(device)
    if isinstance(x, Tensor):
        return clone(x) if copy else x
    if not hasattr(x, "__dlpack__"):
        raise ArgumentError(
            f"from_dlpack: a {type(x).__name__} has no __dlpack__", hint="chainrule.asarray(x)"
        )
    if copy is False:
        raise ArgumentError(
            "from_dlpack: copy=False, but tensors share memory with no other library",
            hint="copy=None",
        )
    kind = x.__dlpack_device__()[0]
    if int(kind) != 1:
        raise ArgumentError(
            f"from_dlpack: the array is on a device of kind {int(kind)}; tensors live on the CPU",
            hint="move it there first: x.cpu()",
        )
    return tensor(np.from_dlpack(x))


def arange(
    start: int | float,
    /,
    stop: int | float | None = None,
    step: int | float = 1,
    *,
    dtype: DType | None = None,
    device: str | None = None,
) -> Tensor:
    """Return equally spaced numbers; see `chainrule.arange`."""
    return creation.arange(start, stop, step, dtype=dtype, device=_place(device))


def linspace(
    start: float,
    stop: float,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: str | None = None,
    endpoint: bool = True,
) -> Tensor:
    """Return ``num`` equally spaced numbers; see `chainrule.linspace`."""
    place = _place(device)
    return ranges.linspace(start, stop, num, endpoint=endpoint, dtype=dtype, device=place)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DType | None = None,
    device: str | None = None,
) -> Tensor:
    """Return ones on a diagonal and zeros elsewhere; see `chainrule.eye`."""
    k = _near(k, n_rows, n_rows if n_cols is None else n_cols)
    return ranges.eye(n_rows, n_cols, k=k, dtype=dtype, device=_place(device))


def full(
    shape: Shape,
    fill_value: bool | int | float,
    *,
    dtype: DType | None = None,
    device: str | None = None,
) -> Tensor:
    """Return one value everywhere; see `chainrule.full`."""
    return creation.full(shape, fill_value, dtype, device=_place(device))


def zeros(shape: Shape, *, dtype: DType | None = None, device: str | None = None) -> Tensor:
    """Return zeros; see `chainrule.zeros`."""
    return creation.zeros(shape, dtype=dtype, device=_place(device))


def ones(shape: Shape, *, dtype: DType | None = None, device: str | None = None) -> Tensor:
    """Return ones; see `chainrule.ones`."""
    return creation.ones(shape, dtype=dtype, device=_place(device))


def empty(shape: Shape, *, dtype: DType | None = None, device: str | None = None) -> Tensor:
    """Return a tensor to be filled later; see `chainrule.empty`."""
    return creation.empty(shape, dtype=dtype, device=_place(device))


def full_like(
    x: Tensor,
    /,
    fill_value: bool | int | float,
    *,
    dtype: DType | None = None,
    device: str | None = None,
) -> Tensor:
    """Return one value everywhere, in the shape of x; see `chainrule.full_like`."""
    return creation.full_like(x, fill_value, dtype=dtype, device=_place(device))


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: str | None = None) -> Tensor:
    """Return zeros of the shape of x; see `chainrule.zeros_like`."""
    return creation.zeros_like(x, dtype=dtype, device=_place(device))


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: str | None = None) -> Tensor:
    """Return ones of the shape of x; see `chainrule.ones_like`."""
    return creation.ones_like(x, dtype=dtype, device=_place(device))


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: str | None = None) -> Tensor:
    """Return a tensor of the shape of x to be filled later; see `chainrule.empty_like`."""
    return creation.empty_like(x, dtype=dtype, device=_place(device))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return matrices with zeros above a diagonal; see `chainrule.tril`."""
    return ranges.tril(x, _near(k, *x.shape[-2:]))


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return matrices with zeros below a diagonal; see `chainrule.triu`."""
    return ranges.triu(x, _near(k, *x.shape[-2:]))


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: str | None = None) -> Tensor:
    """Return the elements of x in another dtype; see `chainrule.astype`."""
    _place(device)
    return _astype(x, dtype, copy=copy)
