"""Context of loops: which axes are bound to what, and what has been computed where.

Takes: the loops round the place that is written. Gives: names of values known there.
The one idea: an instruction is written in front of the outermost loop that it does not depend
on, and remembered there, so nothing is computed twice and no optimiser has to move it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from chainrule.codegen import types
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function, Lines
from chainrule.core.dtype import DType, int64
from chainrule.ir.expr import Acc, Axis, Buffer, Index, Within

# What statements change: reductions and memory.
Changed = frozenset["Acc | Buffer"]


class Value(NamedTuple):
    """A value that has been computed.

    Attributes:
        text: Its name, or a constant.
        wide: Whether it is a vector, with one lane for each value of the vector axis.
        level: How many of the loops round the current place it is inside of.
    """

    text: str
    wide: bool
    level: int

    @property
    def is_constant(self) -> bool:
        """Whether it is a number rather than the name of one."""
        return not self.text.startswith("%")


class Bound(NamedTuple):
    """The value of an axis: a name (None: nothing) plus a number."""

    text: str | None
    offset: int = 0


class Affine(NamedTuple):
    """The value of an index: a name (None: nothing) plus a number, plus ``lane`` per lane."""

    value: Value | None
    offset: int
    lane: int


@dataclass(frozen=True, slots=True)
class Lane:
    """The vector axis.

    Attributes:
        axis: Its iterations are side by side; it is bound to that of lane 0 of copy 0.
        width: Number of lanes of a vector.
        copies: Number of vectors that are worked on at once, one behind the other.
        masks: For each copy the lanes that are in use (a constant or name; None: all).
    """

    axis: Axis
    width: int
    copies: int
    masks: tuple[str | None, ...]


@dataclass(slots=True)
class Accumulator:
    """Where a running reduction is kept.

    Attributes:
        slots: Pointers: one, or where ``wide`` one vector for each copy.
        wide: Whether every lane has its own (declared inside the vector loop).
        parts: For each width pointers to vectors that have not been taken into the slot yet.
    """

    slots: list[str]
    wide: bool
    parts: dict[int, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Scope:
    """A loop, or one iteration of an unrolled one.

    Attributes:
        axes: Axes that it binds.
        changed: What its statements change.
        ahead: The place in front of it.
    """

    axes: frozenset[Axis]
    changed: Changed
    ahead: Lines


class Context:
    """The state of writing one function.

    Args:
        function: Where instructions go.
        target: The processor.
        pointers: Names of the pointers to buffers.
    """

    def __init__(self, function: Function, target: Target, pointers: dict[Buffer, str]) -> None:
        self.function = function
        self.target = target
        self.pointers = pointers
        self.axes: dict[Axis, Bound] = {}
        self.lane: Lane | None = None
        self.accumulators: dict[Acc, Accumulator] = {}
        self.assumed: set[Within] = set()
        self.scopes: list[Scope] = []
        self._memos: list[dict[Hashable, tuple[Value, Changed]]] = [{}]
        self._levels: dict[Axis, int] = {}
        self._nowhere: dict[bool, str] = {}

    # --- scopes --------------------------------------------------------------------------------

    @contextmanager
    def scope(self, axes: dict[Axis, Bound], changed: Changed, ahead: Lines) -> Iterator[None]:
        """Bind axes for what is written inside; ``ahead`` is the place in front of it."""
        for thing in changed:
            self.forget(thing)
        self.scopes.append(Scope(frozenset(axes), changed, ahead))
        self._memos.append({})
        self.axes.update(axes)
        self._levels.update(dict.fromkeys(axes, len(self.scopes)))
        try:
            yield
        finally:
            self.scopes.pop()
            self._memos.pop()
            for axis in axes:
                del self.axes[axis], self._levels[axis]

    def rebind(self, axis: Axis, bound: Bound) -> None:
        """Give an axis a value, outside of any scope; what depended on the old one is forgotten."""
        if axis in self.axes:
            self._memos = [{} for _ in self._memos]
        self.axes[axis] = bound
        self._levels[axis] = 0

    @contextmanager
    def lanes(self, lane: Lane) -> Iterator[None]:
        """Write inside vectors."""
        before, self.lane = self.lane, lane
        try:
            yield
        finally:
            self.lane = before

    def level(self, axes: frozenset[Axis], changed: Changed) -> int:
        """Return inside how many loops a value must be that depends on axes and changed things."""
        for level in range(len(self.scopes), 0, -1):
            scope = self.scopes[level - 1]
            if not (axes.isdisjoint(scope.axes) and changed.isdisjoint(scope.changed)):
                return level
        return 0

    @contextmanager
    def at(self, level: int) -> Iterator[None]:
        """Write at the end of what is inside ``level`` loops."""
        if level == len(self.scopes):
            yield
        else:
            with self.function.writing_at(self.scopes[level].ahead):
                yield

    def recall(self, key: Hashable) -> Value | None:
        """Return a remembered value."""
        for memo in reversed(self._memos):
            if key in memo:
                return memo[key][0]
        return None

    def remember(self, key: Hashable, value: Value, changed: Changed = frozenset()) -> Value:
        """Remember a value until one of the things that it was read from is changed."""
        self._memos[value.level][key] = (value, changed)
        return value

    def forget(self, thing: Acc | Buffer) -> None:
        """Forget what was computed from a thing, as it changes."""
        for memo in self._memos:
            stale = [key for key, (_, changed) in memo.items() if thing in changed]
            for key in stale:
                del memo[key]

    # --- values --------------------------------------------------------------------------------

    def affine(self, index: Index, copy: int) -> Affine:
        """Write the value of an index."""
        offset, lane = index.offset, 0
        parts = []
        for axis, factor in index.terms:
            bound = self.axes[axis]
            offset += factor * bound.offset
            if bound.text is not None:
                parts.append((self._levels[axis], bound.text, factor))
            if self.lane is not None and axis is self.lane.axis:
                lane += factor
                offset += factor * copy * self.lane.width
        parts.sort()
        total: Value | None = None
        prefix: tuple[tuple[str, int], ...] = ()
        for level, name, factor in parts:
            prefix += ((name, factor),)
            total = self.recall(prefix) or self._add(prefix, total, name, factor, level)
        return Affine(total, offset, lane)

    def _add(self, key: Hashable, total: Value | None, name: str, factor: int, level: int) -> Value:
        with self.at(level):
            text = name if factor == 1 else self.function.value(f"mul nsw i64 {name}, {factor}")
            if total is not None:
                text = self.function.value(f"add nsw i64 {total.text}, {text}")
        return self.remember(key, Value(text, False, level))

    def widen(self, value: Value, dtype: DType) -> str:
        """Return a value as a vector."""
        assert self.lane is not None
        if value.wide:
            return value.text
        kind, width = types.element_type(dtype), self.lane.width
        if value.is_constant:
            return types.constant(value.text, kind, width)
        key = ("splat", value.text, width)
        known = self.recall(key)
        if known is None:
            with self.at(value.level):
                text = types.splat(self.function, value.text, kind, width)
            known = self.remember(key, Value(text, True, value.level))
        return known.text

    def steps(self, affine: Affine, kind: str = "i64") -> str:
        """Write an index in all lanes."""
        assert self.lane is not None
        width = self.lane.width
        ramp = [affine.offset + affine.lane * n for n in range(width)]
        moving = types.constants(ramp, kind)
        if affine.value is None:
            return moving
        base = affine.value
        if kind == "i64":
            whole = self.widen(base, int64)
        else:
            narrow = self.function.value(f"trunc i64 {base.text} to {kind}")
            whole = types.splat(self.function, narrow, kind, width)
        return self.function.value(f"add {types.many(kind, width)} {whole}, {moving}")

    def nowhere(self, *, written: bool) -> str:
        """Return the pointer to memory for reads (it is zero) or writes that must not happen."""
        if written not in self._nowhere:
            pointer = self.function.alloca("[8 x i8]")
            self.function.allocas.append(f"  store i64 0, ptr {pointer}")
            self._nowhere[written] = pointer
        return self._nowhere[written]
