"""Methods of tensors: every function of a tensor that also reads well behind it.

Takes: a tensor. Gives: what the public function of the same name gives.
The one idea: functions live in the room `ops`, which imports this one; methods find them by name
in the registry, so both spellings are one implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ShapeError
from chainrule.core.shape import Axes
from chainrule.graph.conversion import call
from chainrule.graph.op import FUNCTIONS
from chainrule.graph.operators import Operators

if TYPE_CHECKING:
    from chainrule.graph.tensor import Tensor


class Found(NamedTuple):
    """Values and their positions along an axis."""

    values: Tensor
    indices: Tensor


class Methods(Operators):
    """Methods that stand for functions of the same name."""

    __slots__ = ()

    # --- reductions -----------------------------------------------------------------

    def sum(
        self,
        axis: Axes = None,
        keepdims: bool = False,
        *,
        dim: Axes = None,
        keepdim: bool = False,
        dtype: DTypeLike | None = None,
    ) -> Tensor:
        """See `chainrule.sum`."""
        return call("sum", self, axis, keepdims=keepdims or keepdim, dim=dim, dtype=dtype)

    def mean(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """See `chainrule.mean`."""
        return call("mean", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def prod(
        self,
        axis: Axes = None,
        keepdims: bool = False,
        *,
        dim: Axes = None,
        keepdim: bool = False,
        dtype: DTypeLike | None = None,
    ) -> Tensor:
        """See `chainrule.prod`."""
        return call("prod", self, axis, keepdims=keepdims or keepdim, dim=dim, dtype=dtype)

    @overload
    def max(self) -> Tensor: ...
    @overload
    def max(self, dim: Methods) -> Tensor: ...
    @overload
    def max(self, dim: int, keepdim: bool = False) -> Found: ...
    def max(self, dim: int | Methods | None = None, keepdim: bool = False) -> Tensor | Found:
        """Return the maximum, or along an axis the values and their positions, as PyTorch does.

        `chainrule.max` and `amax` give the values alone. With a tensor in the place of the axis
        see `chainrule.maximum`.
        """
        if isinstance(dim, Methods):
            return call("maximum", self, dim)
        if dim is None:
            return call("max", self)
        where = call("argmax", self, dim, keepdims=True)
        values = call("take_along_axis", self, where, dim)
        if keepdim:
            return Found(values, where)
        return Found(values.squeeze(dim), where.squeeze(dim))

    @overload
    def min(self) -> Tensor: ...
    @overload
    def min(self, dim: Methods) -> Tensor: ...
    @overload
    def min(self, dim: int, keepdim: bool = False) -> Found: ...
    def min(self, dim: int | Methods | None = None, keepdim: bool = False) -> Tensor | Found:
        """Return the minimum, or along an axis the values and their positions, as PyTorch does.

        `chainrule.min` and `amin` give the values alone. With a tensor in the place of the axis
        see `chainrule.minimum`.
        """
        if isinstance(dim, Methods):
            return call("minimum", self, dim)
        if dim is None:
            return call("min", self)
        where = call("argmin", self, dim, keepdims=True)
        values = call("take_along_axis", self, where, dim)
        if keepdim:
            return Found(values, where)
        return Found(values.squeeze(dim), where.squeeze(dim))

    def all(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """See `chainrule.all`."""
        return call("all", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def any(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """See `chainrule.any`."""
        return call("any", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def logsumexp(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """See `chainrule.logsumexp`."""
        return call("logsumexp", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def amax(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """See `chainrule.max`."""
        return call("max", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def amin(
        self, axis: Axes = None, keepdims: bool = False, *, dim: Axes = None, keepdim: bool = False
    ) -> Tensor:
        """See `chainrule.min`."""
        return call("min", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def var(
        self,
        axis: Axes = None,
        correction: float | None = 1.0,
        keepdims: bool = False,
        *,
        dim: Axes = None,
        keepdim: bool = False,
    ) -> Tensor:
        """See `chainrule.var`; as in PyTorch the default (or None) divides by n - 1."""
        spread = 1.0 if correction is None else correction
        return call("var", self, axis, correction=spread, keepdims=keepdims or keepdim, dim=dim)

    def std(
        self,
        axis: Axes = None,
        correction: float | None = 1.0,
        keepdims: bool = False,
        *,
        dim: Axes = None,
        keepdim: bool = False,
    ) -> Tensor:
        """See `chainrule.std`; as in PyTorch the default (or None) divides by n - 1."""
        spread = 1.0 if correction is None else correction
        return call("std", self, axis, correction=spread, keepdims=keepdims or keepdim, dim=dim)

    def argmax(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Tensor:
        """See `chainrule.argmax`."""
        return call("argmax", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def argmin(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Tensor:
        """See `chainrule.argmin`."""
        return call("argmin", self, axis, keepdims=keepdims or keepdim, dim=dim)

    def cumsum(
        self, axis: int | None = None, *, dim: int | None = None, dtype: DTypeLike | None = None
    ) -> Tensor:
        """See `chainrule.cumsum`."""
        return call("cumsum", self, axis, dim=dim, dtype=dtype)

    def softmax(
        self, axis: int | None = None, *, dim: int | None = None, dtype: DTypeLike | None = None
    ) -> Tensor:
        """See `chainrule.softmax`; elements are converted to ``dtype`` first."""
        x = self if dtype is None else self.to(dtype)
        return call("softmax", x, axis, dim=dim)

    def log_softmax(
        self, axis: int | None = None, *, dim: int | None = None, dtype: DTypeLike | None = None
    ) -> Tensor:
        """See `chainrule.log_softmax`; elements are converted to ``dtype`` first."""
        x = self if dtype is None else self.to(dtype)
        return call("log_softmax", x, axis, dim=dim)

    def sort(
        self,
        axis: int = -1,
        descending: bool = False,
        *,
        dim: int | None = None,
        stable: bool = True,
    ) -> Found:
        """Return sorted values and their positions, as PyTorch does; see `chainrule.sort`."""
        order = call("argsort", self, axis, descending=descending, dim=dim, stable=stable)
        return Found(call("take_along_axis", self, order, axis if dim is None else dim), order)

    def argsort(
        self,
        axis: int = -1,
        descending: bool = False,
        *,
        dim: int | None = None,
        stable: bool = True,
    ) -> Tensor:
        """See `chainrule.argsort`."""
        return call("argsort", self, axis, descending=descending, dim=dim, stable=stable)

    def topk(
        self,
        k: int,
        axis: int = -1,
        largest: bool = True,
        sorted: bool = True,
        *,
        dim: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `chainrule.topk`; they come in order, whether ``sorted`` asks for it or not."""
        found: tuple[Tensor, Tensor] = FUNCTIONS["topk"](self, k, axis, largest, dim=dim)
        return found

    # --- movement -------------------------------------------------------------------

    @property
    def T(self) -> Tensor:  # noqa: N802 - the array API's name
        """The matrix with its two axes exchanged."""
        if self.ndim != 2:
            raise ShapeError(
                f"T: a matrix has two axes, this tensor is {self.spec}",
                hint="use x.mT or x.permute",
            )
        return call("permute", self, (1, 0))

    @property
    def mT(self) -> Tensor:  # noqa: N802 - the array API's name
        """The tensor with its last two axes exchanged."""
        if self.ndim < 2:
            raise ShapeError(f"mT: at least two axes are needed, this tensor is {self.spec}")
        return call("transpose", self, -1, -2)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """See `chainrule.reshape`."""
        return call("reshape", self, _spread(shape))

    def view(self, *shape: int | Sequence[int]) -> Tensor:
        """Return the tensor in another shape; a copy in meaning, since nothing is aliased."""
        return call("reshape", self, _spread(shape))

    def view_as(self, other: Tensor) -> Tensor:
        """Return the tensor in another one's shape."""
        return call("reshape", self, other.spec.shape)

    def permute(self, *axes: int | Sequence[int]) -> Tensor:
        """See `chainrule.permute`."""
        return call("permute", self, _spread(axes))

    def transpose(self, axis0: int, axis1: int) -> Tensor:
        """See `chainrule.transpose`."""
        return call("transpose", self, axis0, axis1)

    def t(self) -> Tensor:
        """Return the matrix transposed (fewer axes: unchanged)."""
        return self.T if self.ndim == 2 else self.to(self.spec.dtype)

    def expand(self, *shape: int | Sequence[int]) -> Tensor:
        """Return the tensor broadcast to a shape; -1 keeps a size. See `chainrule.expand`."""
        return call("expand", self, _spread(shape))

    def expand_as(self, other: Tensor) -> Tensor:
        """Return the tensor broadcast to another one's shape."""
        return call("expand", self, other.spec.shape)

    def repeat(self, *repeats: int | Sequence[int]) -> Tensor:
        """Return the tensor laid side by side along each axis; see `chainrule.tile`."""
        return call("tile", self, _spread(repeats))

    def squeeze(self, axis: Axes = None, *, dim: Axes = None) -> Tensor:
        """See `chainrule.squeeze`."""
        return call("squeeze", self, axis, dim=dim)

    def unsqueeze(self, axis: int | None = None, *, dim: int | None = None) -> Tensor:
        """See `chainrule.unsqueeze`."""
        return call("unsqueeze", self, axis, dim=dim)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """See `chainrule.flatten`."""
        return call("flatten", self, start_dim, end_dim)

    def flip(self, axis: Axes = None, *, dims: Axes = None) -> Tensor:
        """See `chainrule.flip`."""
        return call("flip", self, axis, dim=dims)

    def split(self, sizes: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
        """See `chainrule.split`."""
        return tuple(FUNCTIONS["split"](self, sizes, axis))

    def chunk(self, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
        """See `chainrule.chunk`."""
        return tuple(FUNCTIONS["chunk"](self, chunks, axis))

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """See `chainrule.gather`."""
        return call("gather", self, dim, index)

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """See `chainrule.scatter_add`."""
        return call("scatter_add", self, dim, index, src)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """See `chainrule.take`."""
        return call("index_select", self, dim, index)

    def tril(self, diagonal: int = 0) -> Tensor:
        """See `chainrule.tril`."""
        return call("tril", self, k=diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """See `chainrule.triu`."""
        return call("triu", self, k=diagonal)


def _spread(values: tuple[Any, ...]) -> tuple[int, ...]:
    """Accept both ``f(2, 3)`` and ``f((2, 3))``."""
    if len(values) == 1 and isinstance(values[0], tuple | list):
        return tuple(values[0])
    return values
