"""Selection: look elements up by position, and the ways back.

Takes: a tensor and integer tensors of positions along some of its axes. Gives: the elements
there, or a tensor with elements added or replaced there.
The one idea: `index` and `unindex` (add up at positions) are each other's derivative.

Layout: the positions broadcast to one shape; its axes stand at ``position`` among the axes of x
that are not looked up. Positions are checked before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ChainruleError
from chainrule.core.shape import (
    Shape,
    Spec,
    broadcast_shapes,
    expect,
    normalize_axis,
    one_axis,
    scalar_axis,
)
from chainrule.graph.conversion import call
from chainrule.graph.op import Op, Saves, public, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor
from chainrule.ir.definition import Formulas, Scatter, axes_of, compute, filled, read
from chainrule.ir.expr import Axis, Expr, Ref, index_of
from chainrule.ir.expr import Index as Place
from chainrule.ops.positions import (
    About,
    AxisTuple,
    add_rows,
    checked,
    expect_integers,
    flat_rows,
    inside_condition,
    position_in,
    scattered_sum,
    whole,
)

# More than there can be axes: all inputs from the second on are positions.
_POSITIONS = tuple(range(1, 66))


def _found_shape(
    op: str, shape: Shape, indices: tuple[Spec, ...], axes: AxisTuple, position: int
) -> Shape:
    """Return the shape of what positions select."""
    expect_integers(op, *indices)
    expect(
        len(indices) == len(axes) == len(set(axes)) and max(axes, default=0) < len(shape),
        "{}: {} tensors of positions for the axes {} of shape {}",
        *(op, len(indices), list(axes), list(shape)),
    )
    found = broadcast_shapes(op, *(index.shape for index in indices))
    rest = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return (*rest[:position], *found, *rest[position:])


def _specs(refs: Iterable[Ref]) -> tuple[Spec, ...]:
    return tuple(Spec(ref.shape, ref.dtype) for ref in refs)


def _move_block(x: Array, start: int, count: int, target: int) -> Array:
    """Return a view with ``count`` neighbouring axes moved to another place."""
    if start == target or count == 0:
        return x
    axes = list(range(x.ndim))
    block = axes[start : start + count]
    del axes[start : start + count]
    axes[target:target] = block
    return x.transpose(axes)


def _places(
    at: Sequence[Axis], indices: Sequence[Ref], shape: Shape, axes: AxisTuple, position: int
) -> tuple[tuple[Place, ...], tuple[Expr | None, ...]]:
    """Return for each axis of a shape where a selected element stands: an index to be added
    to a position that is looked up, or to nothing."""
    count = max(len(index.shape) for index in indices)
    found = at[position : position + count]
    rest = iter((*at[:position], *at[position + count :]))
    by_axis = dict(zip(axes, indices, strict=True))
    places = [index_of(0 if axis in by_axis else next(rest)) for axis in range(len(shape))]
    dynamic = [
        position_in(by_axis[axis], found, size) if axis in by_axis else None
        for axis, size in enumerate(shape)
    ]
    return tuple(places), tuple(dynamic)


def _front(ndim: int, axes: AxisTuple) -> list[int]:
    """Return the order of axes that brings some of them to the front."""
    return [*axes, *(axis for axis in range(ndim) if axis not in axes)]


def _look_up(x: Array, indices: tuple[Array, ...], axes: AxisTuple, position: int) -> Array:
    if len(axes) == 1:
        found = x.take(indices[0], axis=axes[0])
        return _move_block(found, axes[0], indices[0].ndim, position)
    found = x.transpose(_front(x.ndim, axes))[indices]
    return _move_block(found, 0, found.ndim - (x.ndim - len(axes)), position)


@register
class Index(Op):
    """The elements at given positions along some axes."""

    name = "index"
    saves = Saves(inputs=_POSITIONS)
    flops_per_element = 0

    def infer(
        self,
        x: Spec,
        *indices: Spec,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> Spec:
        return Spec(_found_shape(self.name, x.shape, indices, axes, position), x.dtype)

    def eval(
        self,
        x: Array,
        *indices: Array,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> Array:
        return _look_up(x, checked(self.name, indices, x.shape, axes, about), axes, position)

    def lower(
        self,
        x: Ref,
        *indices: Ref,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> Formulas | None:
        shape = _found_shape(self.name, x.shape, _specs(indices), axes, position)
        if 0 in x.shape:  # nothing to read, and nothing is read where the condition holds
            return (filled(shape, 0, x.dtype),)

        def body(*at: Axis) -> Expr:
            places, dynamic = _places(at, indices, x.shape, axes, position)
            return read(x, *places, dynamic=dynamic)

        return (compute(shape, x.dtype, body),)

    def condition(
        self, x: Ref, *indices: Ref, axes: AxisTuple, about: About | None = None, **layout: Any
    ) -> tuple[Formulas, ChainruleError] | None:
        return inside_condition(self.name, indices, x.shape, axes, about)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        *indices: Tensor,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> tuple[Tensor | None, ...]:
        found = apply(_UNINDEX, grad, *indices, shape=x.shape, axes=axes, position=position)
        return (found, *(None for _ in indices))

    def samples(self) -> Iterable[Sample]:
        return [
            sample((4, 3), whole((5,), 4), axes=(0,), position=0),
            sample((2, 3, 4), whole((2, 2), 3), axes=(1,), position=1),
            sample((3, 2, 4), whole((2, 1), 3), whole((3,), 4), axes=(0, 2), position=0),
            sample((3, 2, 4), whole((2,), 2), whole((1,), 4), axes=(1, 2), position=1),
            sample((3, 2), whole((), 3), axes=(0,), position=0),
            sample((3, 0), In((0,), kind="int"), axes=(0,), position=1, name="empty"),
        ]


@register
class Unindex(Op):
    """Zeros, with elements added at given positions; the derivative of `index`."""

    name = "unindex"
    saves = Saves(inputs=_POSITIONS)

    def infer(
        self,
        x: Spec,
        *indices: Spec,
        shape: Shape,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> Spec:
        found = _found_shape(self.name, shape, indices, axes, position)
        expect(
            found == x.shape,
            "unindex: {} for positions that select shape {}",
            *(x, list(found)),
        )
        return Spec(shape, x.dtype)

    def eval(
        self,
        x: Array,
        *indices: Array,
        shape: Shape,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> Array:
        indices = checked(self.name, indices, shape, axes, about)
        sizes = tuple(shape[axis] for axis in axes)
        rows = flat_rows(indices, sizes)
        source = _move_block(x, position, rows.ndim, 0)
        rest = source.shape[rows.ndim :]
        result = np.zeros((math.prod(sizes), math.prod(rest)), dtype=x.dtype)
        add_rows(result, rows.reshape(-1), source.reshape(rows.size, result.shape[1]))
        order = np.argsort(_front(len(shape), axes))
        return result.reshape(*sizes, *rest).transpose(order)

    def lower(
        self,
        x: Ref,
        *indices: Ref,
        shape: Shape,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> Formulas | None:
        at = axes_of(x.shape)
        places, dynamic = _places(at, indices, shape, axes, position)
        return scattered_sum(shape, x.dtype, at, places, dynamic, read(x, *at))

    def condition(
        self,
        x: Ref,
        *indices: Ref,
        shape: Shape,
        axes: AxisTuple,
        about: About | None = None,
        **layout: Any,
    ) -> tuple[Formulas, ChainruleError] | None:
        return inside_condition(self.name, indices, shape, axes, about)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        *indices: Tensor,
        shape: Shape,
        axes: AxisTuple,
        position: int,
        about: About | None = None,
    ) -> tuple[Tensor | None, ...]:
        found = apply(_INDEX, grad, *indices, axes=axes, position=position)
        return (found, *(None for _ in indices))

    def samples(self) -> Iterable[Sample]:
        crossed = whole((2, 1), 3), whole((3,), 4)
        return [
            sample((5, 3), whole((5,), 4), shape=(4, 3), axes=(0,), position=0),
            sample((2, 2, 2, 4), whole((2, 2), 3), shape=(2, 3, 4), axes=(1,), position=1),
            sample((2, 3, 2), *crossed, shape=(3, 2, 4), axes=(0, 2), position=0),
            sample((2,), whole((), 3), shape=(3, 2), axes=(0,), position=0),
            sample((0, 2), In((0,), kind="int"), shape=(3, 2), axes=(0,), position=0),
        ]


@register
class IndexPut(Op):
    """The first tensor with elements at given positions replaced; the last one of equals stays."""

    name = "index_put"
    saves = Saves(inputs=_POSITIONS[1:])
    flops_per_element = 0

    def infer(
        self,
        x: Spec,
        value: Spec,
        *indices: Spec,
        axes: AxisTuple,
        position: int,
        unique: bool = False,
        about: About | None = None,
    ) -> Spec:
        found = _found_shape(self.name, x.shape, indices, axes, position)
        expect(
            found == value.shape,
            "index_put: value {} for positions that select shape {} of {}",
            *(value, list(found), x),
        )
        return x

    def eval(
        self,
        x: Array,
        value: Array,
        *indices: Array,
        axes: AxisTuple,
        position: int,
        unique: bool = False,
        about: About | None = None,
    ) -> Array:
        indices = checked(self.name, indices, x.shape, axes, about)
        sizes = tuple(x.shape[axis] for axis in axes)
        rows = flat_rows(indices, sizes)
        front = _front(x.ndim, axes)
        result = x.transpose(front).copy(order="C")
        source = _move_block(value, position, rows.ndim, 0)
        rest = result.shape[len(axes) :]
        # One flat list of rows: NumPy then writes in order, so that the last of equals stays.
        result.reshape(math.prod(sizes), -1 if result.size else 0)[rows.reshape(-1)] = (
            source.reshape(rows.size, math.prod(rest)) if result.size else 0
        )
        return result.transpose(np.argsort(front))

    def lower(
        self,
        x: Ref,
        value: Ref,
        *indices: Ref,
        axes: AxisTuple,
        position: int,
        unique: bool = False,
        about: About | None = None,
    ) -> Formulas | None:
        at = axes_of(value.shape)
        places, dynamic = _places(at, indices, x.shape, axes, position)
        target = Ref("out", x.shape, x.dtype)
        return (Scatter(target, x, at, places, dynamic, read(value, *at)),)

    def condition(
        self,
        x: Ref,
        value: Ref,
        *indices: Ref,
        axes: AxisTuple,
        about: About | None = None,
        **layout: Any,
    ) -> tuple[Formulas, ChainruleError] | None:
        return inside_condition(self.name, indices, x.shape, axes, about)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        value: Tensor,
        *indices: Tensor,
        axes: AxisTuple,
        position: int,
        unique: bool = False,
        about: About | None = None,
    ) -> tuple[Tensor | None, ...]:
        nothing = call("zeros", value.shape, dtype=grad.dtype)
        kept = apply(_INDEX_PUT, grad, nothing, *indices, axes=axes, position=position)
        taken = apply(_INDEX, grad, *indices, axes=axes, position=position)
        if not unique:
            sizes = tuple(x.shape[axis] for axis in axes)
            stays = _last_writers(sizes, indices)
            rest = len(x.shape) - len(axes) - position
            taken = taken * stays.reshape((1,) * position + stays.shape + (1,) * rest)
        return (kept, taken, *(None for _ in indices))

    def samples(self) -> Iterable[Sample]:
        crossed = whole((2, 1), 3), whole((3,), 4)
        return [
            sample((4, 3), (5, 3), whole((5,), 4), axes=(0,), position=0),
            sample((2, 3, 4), (2, 2, 2, 4), whole((2, 2), 3), axes=(1,), position=1),
            sample((3, 2, 4), (2, 3, 2), *crossed, axes=(0, 2), position=0),
            sample((3, 2), (2,), whole((), 3), axes=(0,), position=0, unique=True),
            sample((3, 2), (0, 2), In((0,), kind="int"), axes=(0,), position=0),
        ]


def _last_writers(sizes: Shape, indices: tuple[Tensor, ...]) -> Tensor:
    """Return which positions are the last of those equal to them: theirs is what stays."""
    shape = broadcast_shapes("index_put", *(index.shape for index in indices))
    order = call("arange", math.prod(shape)).reshape(shape)
    slots = call("zeros", sizes, dtype=order.dtype)
    axes = tuple(range(len(sizes)))
    written = apply(_INDEX_PUT, slots, order, *indices, axes=axes, position=0)
    return apply(_INDEX, written, *indices, axes=axes, position=0) == order


_INDEX, _UNINDEX, _INDEX_PUT = Index(), Unindex(), IndexPut()


def look_up(
    x: Tensor, indices: Iterable[Tensor], axes: AxisTuple, position: int, about: About | None
) -> Tensor:
    """Return the elements at positions along some axes; see the module for the layout."""
    return apply(_INDEX, x, *indices, axes=axes, position=position, about=about)


def put(
    x: Tensor,
    value: Tensor,
    indices: Iterable[Tensor],
    *,
    axes: AxisTuple,
    position: int,
    unique: bool,
    about: About | None,
) -> Tensor:
    """Return x with the elements at positions replaced; ``unique``: no position comes twice."""
    layout = {"axes": axes, "position": position, "unique": unique, "about": about}
    return apply(_INDEX_PUT, x, value, *indices, **layout)


@public
def take(x: Tensor, indices: Tensor, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """Return the elements at positions along an axis; rows of a table, for an embedding.

    Args:
        x: Any tensor.
        indices: Integers of any shape; negative ones count from the end.
        axis: Along which axis; None looks up in the flattened tensor.
        dim: Another name for ``axis``.

    Returns:
        A tensor of the shape of x with the axis replaced by the shape of the positions.

    Raises:
        IndexRangeError: A position lies outside the axis.
        DTypeError: Positions are not integers.

    Example:
        >>> import chainrule
        >>> table = chainrule.tensor([[1, 2], [3, 4], [5, 6]])
        >>> chainrule.take(table, chainrule.tensor([2, 0]), axis=0).tolist()
        [[5, 6], [1, 2]]
    """
    return _take("take", x, indices, one_axis("take", axis, dim, None))


def _take(function: str, x: Tensor, indices: Tensor, axis: int | None) -> Tensor:
    x, indices = as_tensor(x), as_tensor(indices)
    expect_integers(function, indices.spec)
    if scalar_axis(axis, x.ndim):
        return _take(function, x.reshape(1), indices.reshape(-1), 0).reshape(
            () if indices.size == 1 and function == "index_select" else indices.shape
        )
    flat = x.reshape(-1) if axis is None else x
    where = normalize_axis(function, 0 if axis is None else axis, flat.ndim)
    about = About(function, x.spec, (where,))
    return look_up(flat, (indices,), (where,), where, about)


@public
def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the elements at positions along an axis; PyTorch's name for `take`."""
    return _take("index_select", x, index, dim)


@public
def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """Return x with slices of a source added at positions along an axis.

    Args:
        x: Any tensor.
        dim: The axis.
        index: Integers, 1-d; where one comes twice both slices are added.
        source: Slice i along the axis is added at ``index[i]``.
        alpha: What the source is multiplied by.

    Raises:
        IndexRangeError: A position lies outside the axis.
        ShapeError: The source does not have the size of the index along the axis.

    Example:
        >>> import chainrule
        >>> ones, index = chainrule.ones((3,)), chainrule.tensor([0, 0, 2])
        >>> chainrule.index_add(chainrule.zeros((3,)), 0, index, ones).tolist()
        [2.0, 0.0, 1.0]
    """
    x, index, source = as_tensor(x), as_tensor(index), as_tensor(source)
    if scalar_axis(dim, x.ndim):
        flat, places = source.reshape(-1), index.reshape(-1)
        return index_add(x.reshape(1), 0, places, flat, alpha=alpha).reshape(())
    axis = normalize_axis("index_add", dim, x.ndim)
    expect(index.ndim == 1, "index_add: the index must be 1-d, got {}", index.spec)
    layout = {"shape": x.shape, "axes": (axis,), "position": axis}
    about = About("index_add", x.spec, (axis,))
    source = source if alpha == 1 else source * alpha
    return x + apply(_UNINDEX, source, index, **layout, about=about)
