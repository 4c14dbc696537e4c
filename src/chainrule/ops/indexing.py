"""Indexing: ``x[key]`` and ``x[key] = value``, with every key that NumPy takes.

Takes: a tensor and a key of integers, slices, None, Ellipsis, masks, lists and tensors.
Gives: the selected elements, or a tensor with them replaced.
The one idea: a key is planned once into at most three steps that are ops: take ranges, reshape,
and look up positions; the plan says nothing of elements, only of places.

Rules: NumPy, "Indexing on ndarrays" (numpy.org/doc/stable/user/basics.indexing.html).
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.core.dtype import int64
from chainrule.core.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from chainrule.core.shape import Shape, Spec, broadcast_shapes
from chainrule.graph.conversion import call
from chainrule.graph.op import public
from chainrule.graph.tensor import Tensor, as_tensor, make
from chainrule.ops.positions import About
from chainrule.ops.selection import look_up, put
from chainrule.ops.slicing import Range, put_ranges, take_ranges


@dataclass
class Plan:
    """What a key asks for.

    Attributes:
        spec: Shape and dtype of the tensor.
        ranges: For each axis of the tensor the range that is taken first.
        shape: Shape after that: axes at integers gone, new axes inserted.
        axes: Axes of that shape along which positions are looked up.
        indices: The positions, one integer tensor for each of ``axes``.
        origins: For each of ``axes`` the axis of the tensor that it was, for messages.
        position: Where the axes of the positions go among the axes that remain.
        unique: Whether no element can be selected twice.
    """

    spec: Spec
    ranges: list[Range] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    axes: list[int] = field(default_factory=list)
    indices: list[Tensor] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    position: int = 0
    unique: bool = True

    @property
    def result(self) -> Shape:
        """Shape of what the key selects."""
        if not self.indices:
            return tuple(self.shape)
        found = broadcast_shapes("getitem", *(i.shape for i in self.indices))
        rest = [n for axis, n in enumerate(self.shape) if axis not in self.axes]
        return (*rest[: self.position], *found, *rest[self.position :])

    @property
    def takes_all(self) -> bool:
        """Whether the ranges take every element in its place."""
        whole = ((0, n, 1) for n in self.spec.shape)
        return all(r == w for r, w in zip(self.ranges, whole, strict=True))


def _split(key: Any) -> list[Any]:
    return list(key) if isinstance(key, tuple) else [key]


def _item(op: str, item: Any) -> Any:
    """Return a part of a key as None, Ellipsis, a slice, an int, a bool or a tensor."""
    if item is None or item is Ellipsis or isinstance(item, slice | bool):
        return item
    if isinstance(item, np.bool_):
        return bool(item)
    if isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, Tensor):
        return _index_tensor(op, item)
    if isinstance(item, list | tuple) and not item:
        return make(np.zeros(0, dtype=np.int64), int64)
    if isinstance(item, list | tuple | np.ndarray):
        found = _index_tensor(op, call("as_tensor", item))
        is_number = isinstance(item, np.ndarray) and found.ndim == 0
        return found.item() if is_number else found
    if hasattr(item, "__index__"):
        return operator.index(item)
    raise DTypeError(
        f"{op}: {type(item).__name__} {item!r} is not an index",
        hint="index with integers, slices, None, ..., boolean masks or integer tensors",
    )


def _index_tensor(op: str, index: Tensor) -> Tensor:
    if index.dtype.is_floating:
        raise DTypeError(
            f"{op}: an index tensor holds integers or booleans, this one is {index.spec}",
            hint="convert it: index.long(), or compare it to make a mask: index > 0",
        )
    return index


def _consumed(item: Any) -> int:
    """Return how many axes of the tensor a part of a key stands for."""
    if item is None or isinstance(item, bool):
        return 0
    if isinstance(item, Tensor) and item.dtype.kind == "bool":
        return item.ndim
    return 1


def plan_key(op: str, x: Tensor, key: Any) -> Plan:
    """Return what a key asks for.

    Raises:
        IndexRangeError: An integer lies outside its axis, or there are more parts than axes.
        ShapeError: A mask does not have the size of its axes; positions do not broadcast.
        DTypeError: A part is of a type that cannot be an index.
        ArgumentError: A slice has step 0, or there are two Ellipses.
    """
    items = [_item(op, item) for item in _split(key)]
    used = 0
    for item in items:
        used += 0 if item is Ellipsis else _consumed(item)
    if used > x.ndim:
        raise IndexRangeError(
            f"{op}: {used} indices for the {x.ndim} axes of {x.spec}",
            hint="leave some out, or insert axes with None",
        )
    dots = [place for place, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError(f"{op}: '...' stands twice in the index", hint="keep one of them")
    fill = [slice(None)] * (x.ndim - used)
    place = dots[0] if dots else len(items)
    items[place : place + len(dots)] = fill
    planner = _Planner(op, x)
    for number, item in enumerate(items):
        # An Ellipsis parts the positions on its two sides even where it stands for no axis.
        if dots and number == place and not fill:
            planner.part()
        planner.add(item)
    return planner.finish()


class _Planner:
    """Walks along the parts of a key and the axes of the tensor at once."""

    def __init__(self, op: str, x: Tensor) -> None:
        self.op = op
        self.x = x
        self.plan = Plan(x.spec)
        self.axis = 0  # of x, the next one to be consumed
        self.slots: list[int] = []  # runs of positions: place among the remaining axes
        self.kept = 0  # axes that remain, so far
        self.parted = True

    def part(self) -> None:
        """Note that a slice or new axis stands between positions."""
        self.parted = True

    def add(self, item: Any) -> None:
        """Plan the next part of the key."""
        if item is None:
            self.plan.shape.append(1)
            self._keep()
        elif isinstance(item, slice):
            self._range(item)
        elif isinstance(item, bool):
            self._position_on_new_axis(item)
        elif isinstance(item, int):
            self._number(item)
        elif item.dtype.kind == "bool":
            self._mask(item)
        else:
            self._position(item)

    def _keep(self) -> None:
        self.kept += 1
        self.part()

    def _slot(self) -> None:
        """Note where positions stand; a run of neighbours has one place."""
        if self.parted:
            self.slots.append(self.kept)
        self.parted = False

    def _range(self, item: slice) -> None:
        size = self.x.shape[self.axis]
        try:
            start, stop, step = item.indices(size)
        except ValueError:
            raise ArgumentError(
                f"{self.op}: a slice has step 0", hint="x[::-1] reverses an axis"
            ) from None
        except TypeError:
            raise DTypeError(f"{self.op}: {item} has a bound that is not an integer") from None
        count = len(range(start, stop, step))
        self.plan.ranges.append((start, count, step) if count else (0, 0, 1))
        self.plan.shape.append(count)
        self.axis += 1
        self._keep()

    def _number(self, item: int) -> None:
        size = self.x.shape[self.axis]
        if not -size <= item < size:
            valid = f"from {-size} to {size - 1}" if size else "none: the axis is empty"
            raise IndexRangeError(
                f"{self.op}: index {item} is out of range for axis {self.axis} of size {size} "
                f"of {self.x.spec}; valid: {valid}"
            )
        self.plan.ranges.append((item % size, 1, 1))
        self.axis += 1
        self._slot()

    def _position(self, item: Tensor) -> None:
        size = self.x.shape[self.axis]
        self.plan.ranges.append((0, size, 1))
        self.plan.axes.append(len(self.plan.shape))
        self.plan.shape.append(size)
        self.plan.indices.append(item)
        self.plan.origins.append(self.axis)
        self.plan.unique = self.plan.unique and item.spec.size <= 1
        self.axis += 1
        self._slot()

    def _position_on_new_axis(self, item: bool) -> None:
        self.plan.axes.append(len(self.plan.shape))
        self.plan.shape.append(1)
        self.plan.indices.append(make(np.zeros(int(item), dtype=np.int64), int64))
        self.plan.origins.append(self.axis)
        self._slot()

    def _mask(self, item: Tensor) -> None:
        if item.ndim == 0:
            self._position_on_new_axis(bool(item.item()))
            return
        covered = self.x.shape[self.axis : self.axis + item.ndim]
        if item.shape != covered:
            axes = ", ".join(map(str, range(self.axis, self.axis + item.ndim)))
            raise ShapeError(
                f"{self.op}: mask {item.spec} for axes {axes} of {self.x.spec}, "
                f"expected the shape {list(covered)}",
                hint="compute the mask from the tensor itself: x[x > 0]",
            )
        # The masked axes are looked up as one: positions of a flat mask.
        self.plan.ranges.extend((0, size, 1) for size in covered)
        self.plan.axes.append(len(self.plan.shape))
        self.plan.shape.append(math.prod(covered))
        self.plan.indices.append(make(np.flatnonzero(item.array), int64))
        self.plan.origins.append(self.axis)
        self.axis += item.ndim
        self._slot()

    def finish(self) -> Plan:
        """Return the plan."""
        # Positions that stand apart have no common place: their axes go first.
        self.plan.position = self.slots[0] if len(self.slots) == 1 else 0
        return self.plan


def _part(x: Tensor, plan: Plan) -> Tensor:
    """Return the elements in the ranges, with integers' axes gone and new axes inserted."""
    if plan.takes_all and plan.shape != list(x.shape):
        return x.reshape(plan.shape)
    part = x if plan.takes_all and plan.indices else take_ranges(x, tuple(plan.ranges))
    return part if plan.shape == list(part.shape) else part.reshape(plan.shape)


@public
def getitem(x: Tensor, key: Any) -> Tensor:
    """Return what ``x[key]`` selects.

    Args:
        x: Any tensor.
        key: Integers, slices with any step, None (a new axis), ``...``, boolean masks, lists,
            arrays and tensors of integers, or a tuple of these; the meaning is NumPy's.

    Returns:
        A new tensor; where positions are given by tensors, their common shape stands in the
        place of the axes that they address, or first if these do not stand side by side.

    Raises:
        IndexRangeError: An index lies outside its axis, or there are more than axes.
        ShapeError: A mask does not have the size of its axes.
        DTypeError: A part of the key cannot be an index.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([[1, 2, 3], [4, 5, 6]])
        >>> x[:, -1].tolist(), x[x > 3].tolist(), x[[1, 0], [0, 2]].tolist()
        ([3, 6], [4, 5, 6], [4, 3])
    """
    x = as_tensor(x)
    plan = plan_key("getitem", x, key)
    part = _part(x, plan)
    if not plan.indices:
        return part
    about = About("getitem", x.spec, tuple(plan.origins))
    return look_up(part, plan.indices, tuple(plan.axes), plan.position, about)


@public
def setitem(x: Tensor, key: Any, value: Any) -> Tensor:
    """Return x with what ``x[key]`` selects replaced by a value; x itself stays as it is.

    ``x[key] = value`` makes the name x stand for this result. Gradients flow to the value and
    to the elements of x that stay.

    Args:
        x: Any tensor.
        key: As in `getitem`. Where it selects an element twice, the last value stays.
        value: A tensor or number that broadcasts to the selected shape; its dtype becomes x's.

    Raises:
        IndexRangeError: An index lies outside its axis, or there are more than axes.
        ShapeError: The value does not broadcast to what is selected.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([1, 2, 3])
        >>> x[:2] = 0
        >>> x.tolist()
        [0, 0, 3]
    """
    x = as_tensor(x)
    source = _value(x, value)
    mask = _whole_mask(x, key)
    if mask is not None and source.ndim == 0:
        return call("where", mask, source, x)
    plan = plan_key("setitem", x, key)
    source = _broadcast(x, source, plan.result)
    if plan.indices:
        source = put(
            _part(x, plan),
            source,
            plan.indices,
            axes=tuple(plan.axes),
            position=plan.position,
            unique=plan.unique,
            about=About("setitem", x.spec, tuple(plan.origins)),
        )
    counts = tuple(count for _, count, _ in plan.ranges)
    if source.shape != counts:
        source = source.reshape(counts)
    if plan.indices and plan.takes_all:
        return source
    return put_ranges(x, source, tuple(plan.ranges))


def _value(x: Tensor, value: Any) -> Tensor:
    source = as_tensor(value) if not isinstance(value, bool | int | float) else None
    if source is None:
        source = call("full", (), value, dtype=x.dtype)
    return source if source.dtype is x.dtype else source.to(x.dtype)


def _whole_mask(x: Tensor, key: Any) -> Tensor | None:
    """Return a mask that is the whole key, in a shape that broadcasts with x."""
    if not isinstance(key, Tensor) or key.dtype.kind != "bool" or key.ndim == 0:
        return None
    if key.shape != x.shape[: key.ndim]:
        return None
    return key.reshape(key.shape + (1,) * (x.ndim - key.ndim))


def _broadcast(x: Tensor, source: Tensor, shape: Shape) -> Tensor:
    extra = source.ndim - len(shape)
    if extra > 0 and all(size == 1 for size in source.shape[:extra]):
        source = source.reshape(source.shape[extra:])
    try:
        return source.expand(shape)
    except ShapeError:
        raise ShapeError(
            f"setitem: value {source.spec} does not broadcast to the selected shape {list(shape)} "
            f"of {x.spec}",
            hint="reshape the value, or select as many elements as it has",
        ) from None
