"""Conversions: what a tensor tells of itself, and how it becomes Python, NumPy, another dtype.

Takes: a tensor. Gives: sizes, numbers, arrays, tensors of other types.
The one idea: whatever leaves is a copy or read-only, so elements never change behind a graph.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from chainrule.core.device import as_device, names_device
from chainrule.core.dtype import (
    Array,
    DTypeLike,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
    to_compute,
)
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import Shape, Spec
from chainrule.graph.explain import located
from chainrule.graph.op import FUNCTIONS
from chainrule.graph.tracing import Value, unknown_elements

if TYPE_CHECKING:
    from chainrule.graph.tensor import Tensor

# A device of the kind "CPU", number 0, as DLPack counts.
_DLPACK_CPU = (1, 0)

Operand = Any  # a tensor, a Python number or an array


def call(name: str, *args: Any, **kwargs: Any) -> Tensor:
    """Call a registered public function by name."""
    result: Tensor = FUNCTIONS[name](*args, **kwargs)
    return result


class Size(int):
    """The number of elements (array API: ``x.size``) that can be called (PyTorch: ``x.size()``)."""

    shape: Shape

    @overload
    def __call__(self) -> Shape: ...
    @overload
    def __call__(self, dim: int) -> int: ...
    def __call__(self, dim: int | None = None) -> Shape | int:
        """Return the shape, or the size of one axis."""
        if dim is None:
            return self.shape
        if not -len(self.shape) <= dim < len(self.shape):
            raise ShapeError(f"size: axis {dim} does not exist in shape {list(self.shape)}")
        return self.shape[dim]


class Conversions:
    """What a tensor is, and its ways out."""

    __slots__ = ()

    spec: Spec
    _array: Any

    @property
    @abstractmethod
    def array(self) -> Array:
        """The stored elements."""

    @abstractmethod
    def __getitem__(self, key: Any) -> Tensor: ...

    @abstractmethod
    def _rebind(self, result: Tensor, op: str) -> Self:
        """Make this handle stand for another tensor."""

    # --- what it is -----------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.spec.shape)

    @property
    def size(self) -> Size:
        """Number of elements; as in PyTorch ``x.size()`` is the shape, ``x.size(0)`` one size."""
        size = Size(self.spec.size)
        size.shape = self.spec.shape
        return size

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return self.spec.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Number of bytes that the elements occupy."""
        return self.spec.nbytes

    def dim(self) -> int:
        """Return the number of axes."""
        return self.ndim

    def numel(self) -> int:
        """Return the number of elements."""
        return self.spec.size

    def __len__(self) -> int:
        if not self.spec.shape:
            rule = f"len: the 0-d tensor {self.spec} has no length"
            raise located(ShapeError(rule, hint="use x.item()"), self)
        return self.spec.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # --- to Python and NumPy --------------------------------------------------------

    def numpy(self) -> Array:
        """Return a copy of the elements as a NumPy array (bfloat16 as float32)."""
        dtype = self.spec.dtype
        return to_compute(self.array, dtype) if dtype is bfloat16 else self.array.copy()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers (0-d: one number)."""
        return self.numpy().tolist()

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises:
            ShapeError: There is not exactly one element.
        """
        if self.spec.size != 1:
            rule = f"item: the tensor {self.spec} has {self.spec.size} elements, expected one"
            hint = "reduce it first (x.mean()), or use x.tolist()"
            raise located(ShapeError(rule, hint=hint), self)
        return to_compute(self.array, self.spec.dtype).item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = to_compute(self.array, self.spec.dtype)
        if self.spec.dtype is float16:
            array = self.array
        if dtype is not None and np.dtype(dtype) != array.dtype:
            return array.astype(dtype)
        if copy:
            return array.copy()
        view = array.view()
        view.flags.writeable = False
        return view

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.spec.dtype is bfloat16:
            raise ArgumentError("dlpack: NumPy has no bfloat16", hint="export x.float()")
        if dl_device is not None and (int(dl_device[0]), int(dl_device[1])) != _DLPACK_CPU:
            rule = f"dlpack: the tensor is on device {_DLPACK_CPU}, asked for {tuple(dl_device)}"
            raise BufferError(f"{rule}: it cannot be moved there")
        if copy is not False:
            # A copy: the consumer may write into what it gets, and our elements never change.
            return self.array.copy().__dlpack__(stream=None, max_version=max_version)
        if max_version is None or max_version < (1, 0):
            raise BufferError(
                "dlpack: without a copy the elements are read-only, which version 1.0 can say; "
                f"asked for version {max_version}"
            )
        view = self.array.view()
        view.flags.writeable = False
        return view.__dlpack__(stream=None, max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return _DLPACK_CPU

    # --- the array API standard -----------------------------------------------------

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return FUNCTIONS["array_namespace"](api_version)

    def to_device(self, device: str, /, *, stream: object = None) -> Tensor:
        """Return this tensor on a device.

        Args:
            device: Where; "cpu" is where tensors live.
            stream: For a GPU; has no meaning here.

        Raises:
            ArgumentError: The device is not one that tensors can live on.
        """
        as_device(device)
        if stream is not None:
            raise ArgumentError(f"to_device: stream={stream!r}, but the CPU has no streams")
        return self.to(device)

    def __bool__(self) -> bool:
        if self.spec.size != 1:
            rule = f"bool: the truth of a tensor {self.spec} is ambiguous: it has {self.spec.size} "
            rule += "elements"
            hint = "x.any() or x.all(); (x > 0) & (x < 1) instead of `and`"
            raise located(ShapeError(rule, hint=hint), self)
        if isinstance(self._array, Value):
            raise unknown_elements(self.spec, "bool")
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.spec.dtype.is_floating:
            raise TypeError(f"only integer tensors can be an index, this one is {self.spec}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    # --- other dtypes ---------------------------------------------------------------

    def to(self, target: DTypeLike | Conversions, dtype: DTypeLike | None = None) -> Tensor:
        """Return this tensor with another dtype (or on another device).

        Args:
            target: A dtype, a device name, or a tensor whose dtype is taken.
            dtype: The dtype, if ``target`` is a device.
        """
        if isinstance(target, Conversions):
            return call("astype", self, target.spec.dtype)
        if isinstance(target, str) and names_device(target):
            as_device(target)
            return call("astype", self, self.spec.dtype if dtype is None else dtype)
        return call("astype", self, as_dtype(target))

    def type_as(self, other: Tensor) -> Tensor:
        """Return this tensor with another one's dtype."""
        return call("astype", self, other.spec.dtype)

    def cpu(self) -> Tensor:
        """Return this tensor, which lives on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """Return this tensor on a GPU.

        Raises:
            ArgumentError: There is none that tensors can live on.
        """
        return self.to("cuda")

    def contiguous(self) -> Tensor:
        """Return this tensor: elements have no visible memory order."""
        return self.to(self.spec.dtype)

    # --- casts, last: some of them shadow names of Python's types in this class -------

    def float(self) -> Tensor:
        """Return the tensor as float32."""
        return self.to(float32)

    def double(self) -> Tensor:
        """Return the tensor as float64."""
        return self.to(float64)

    def half(self) -> Tensor:
        """Return the tensor as float16."""
        return self.to(float16)

    def bfloat16(self) -> Tensor:
        """Return the tensor as bfloat16."""
        return self.to("bfloat16")

    def long(self) -> Tensor:
        """Return the tensor as int64."""
        return self.to(int64)

    def int(self) -> Tensor:
        """Return the tensor as int32."""
        return self.to(int32)

    def bool(self) -> Tensor:
        """Return the tensor as bool."""
        return self.to(bool_)
