"""Verifier of kernels: the rules that code generators rely on.

Takes: a kernel or a contraction. Gives: nothing, or an error that names the rule it breaks.
The one idea: what passes here reaches outside of no buffer and runs its iterations in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from chainrule.core.dtype import bool_, int64
from chainrule.core.errors import ChainruleError, StateError
from chainrule.ir.bounds import meet, stays_inside
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Expr,
    Index,
    Inside,
    Load,
    Position,
    Read,
    Ref,
    Within,
    computed,
    walk,
)
from chainrule.ir.interpreter import expressions, statements
from chainrule.ir.kernel import Accumulate, Contraction, Declare, Kernel, Loop, Statement, Store
from chainrule.ir.scalar import check_call

_LOGICAL = frozenset(("logical_and", "logical_or"))
_NUMERIC = frozenset(("add", "multiply", "maximum", "minimum"))


def verify_kernel(kernel: Kernel | Contraction) -> None:
    """Check that a kernel keeps the rules of the language.

    Raises:
        StateError: It breaks one; the message names kernel and rule.
    """
    try:
        if isinstance(kernel, Contraction):
            _Checker(kernel.buffers, (), kernel.written).contraction(kernel)
        else:
            _Checker(kernel.buffers, kernel.scratch, kernel.written).kernel(kernel)
    except ChainruleError as error:
        raise StateError(
            f"kernel {kernel.name}: {error.message}", hint="this is a bug in chainrule"
        ) from error


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a statement finds around it."""

    axes: tuple[Axis, ...]
    accs: frozenset[Acc] = frozenset()
    vector: bool = False


class _Checker:
    """The checks of one kernel."""

    def __init__(
        self, buffers: Sequence[Buffer], scratch: Sequence[Buffer], written: frozenset[Buffer]
    ) -> None:
        self.buffers, self.scratch, self.written = frozenset(buffers), frozenset(scratch), written
        if len(self.buffers) + len(self.scratch) != len({*buffers, *scratch}):
            raise StateError("a buffer is an argument and scratch at once")
        if len(buffers) != len(self.buffers):
            raise StateError("a buffer is listed twice")
        if any(buffer.size < 0 for buffer in (*buffers, *scratch)):
            raise StateError("a buffer has a negative size")

    def kernel(self, kernel: Kernel) -> None:
        """Check a kernel."""
        if kernel.grain < 1:
            raise StateError(f"grain is {kernel.grain}, expected at least 1")
        if len(set(kernel.grid)) != len(kernel.grid):
            raise StateError("an axis is twice in the grid")
        self.body(kernel.body, _Scope(kernel.grid))
        self.all_written(kernel.body)
        self.separate(kernel.body, kernel.grid, (), self.written)

    def contraction(self, kernel: Contraction) -> None:
        """Check a contraction."""
        batch, rows, columns, depth = kernel.batch, kernel.rows, kernel.columns, kernel.depth
        axes = (*batch, *rows, *columns, *depth)
        if len(set(axes)) != len(axes):
            raise StateError("an axis belongs to two groups")
        acc = kernel.acc
        self.acc(acc)
        if acc.fn != "add" or acc.dtype is bool_:
            raise StateError(f"{acc.name} is {acc.fn} of {acc.dtype.name}, expected sums")
        operands = (("left", kernel.left, rows), ("right", kernel.right, columns))
        for side, load, own in operands:
            if load.guards or any(e is not None for e in load.dynamic):
                raise StateError(f"{side} has guards or gathers")
            self.expression(load, _Scope((*batch, *own, *depth)))
            if load.dtype is not acc.dtype:
                raise StateError(f"{side} is {load.dtype.name}, the sum {acc.dtype.name}")
            if load.source in self.written:
                raise StateError(f"{side} reads {load.source.name}, which is written")
        outer = (*batch, *rows, *columns)
        self.body(kernel.stores, _Scope(outer, frozenset((acc,))))
        self.all_written(kernel.stores)
        self.separate(kernel.stores, outer, (), self.written)

    def body(self, body: Iterable[Statement], scope: _Scope) -> None:
        """Check statements in order."""
        for statement in body:
            if isinstance(statement, Declare):
                self.acc(statement.acc)
                if statement.acc in scope.accs:
                    raise StateError(f"{statement.acc.name} is declared twice")
                scope = replace(scope, accs=scope.accs | {statement.acc})
            elif isinstance(statement, Accumulate):
                acc = statement.acc
                if acc not in scope.accs:
                    raise StateError(f"{acc.name} takes in a value before it is declared")
                self.expression(statement.value, scope)
                if statement.value.dtype is not acc.dtype:
                    got = statement.value.dtype.name
                    raise StateError(f"{acc.name} is {acc.dtype.name} and takes in {got}")
            elif isinstance(statement, Store):
                self.store(statement, scope)
            else:
                self.loop(statement, scope)

    def acc(self, acc: Acc) -> None:
        """Check a reduction."""
        allowed = _LOGICAL if acc.dtype is bool_ else _NUMERIC
        if acc.fn not in allowed:
            raise StateError(f"{acc.name}: there is no reduction {acc.fn} of {acc.dtype.name}")
        if acc.dtype.is_half:
            raise StateError(f"{acc.name} is {acc.dtype.name}, which is a type for storing only")

    def loop(self, loop: Loop, scope: _Scope) -> None:
        """Check a loop."""
        if loop.axis in scope.axes:
            raise StateError(f"axis {loop.axis} runs in two loops, one inside the other")
        if loop.unroll < 1:
            raise StateError(f"loop over {loop.axis} has unroll {loop.unroll}")
        if loop.vector:
            if scope.vector:
                raise StateError(f"vector loop over {loop.axis} is inside of a vector loop")
            inner = list(statements(loop.body))
            running = {s.acc for s in inner if isinstance(s, Accumulate)} & scope.accs
            parts = walk(*(e for s in inner for e in expressions(s)))
            for part in parts:
                if isinstance(part, Read) and part.acc in running:
                    raise StateError(
                        f"vector loop over {loop.axis} reads {part.acc.name} while it runs"
                    )
        axes = (*scope.axes, loop.axis)
        self.body(loop.body, replace(scope, axes=axes, vector=scope.vector or loop.vector))
        if loop.vector:
            self.separate(loop.body, (loop.axis,), scope.axes, self.written | self.scratch)

    def store(self, store: Store, scope: _Scope) -> None:
        """Check a store."""
        buffer = store.buffer
        if buffer not in self.written and buffer not in self.scratch:
            raise StateError(f"{buffer.name} is stored to, but not listed as written")
        self.expression(store.value, scope)
        if store.value.dtype is not computed(buffer.dtype):
            got = store.value.dtype.name
            raise StateError(f"{buffer.name} is {buffer.dtype.name} and gets {got}; cast it")
        if store.adds and (buffer.dtype.is_half or buffer.dtype is bool_):
            raise StateError(f"{buffer.name} is {buffer.dtype.name}, which nothing is added to")
        if store.dynamic is not None:
            self.expression(store.dynamic, scope)
        self.place(buffer, store.index, store.guards, store.dynamic, scope)

    def place(
        self,
        buffer: Buffer,
        index: Index,
        guards: Sequence[Within],
        dynamic: Expr | None,
        scope: _Scope,
    ) -> None:
        """Check a position in a buffer."""
        self.in_scope((index, *(guard.index for guard in guards)), scope)
        if dynamic is not None:
            if dynamic.dtype is not int64:
                raise StateError(f"{buffer.name}: a position is {dynamic.dtype.name}, not int64")
        elif not stays_inside(index, guards, buffer.size):
            raise StateError(f"{buffer.name}[{index}] may lie outside of {buffer.size} elements")

    def in_scope(self, indices: Iterable[Index], scope: _Scope) -> None:
        """Check that indices use only axes of loops around them."""
        for index in indices:
            for axis, _ in index.terms:
                if axis not in scope.axes:
                    raise StateError(f"index {index} uses {axis}, which no loop around it runs")

    def expression(self, root: Expr, scope: _Scope) -> None:
        """Check an expression and all its parts."""
        for part in walk(root):
            if isinstance(part, Call):
                check_call(part.fn, [arg.dtype for arg in part.args], part.dtype)
            elif isinstance(part, Read):
                if part.acc not in scope.accs:
                    raise StateError(f"{part.acc.name} is read where it is not declared")
            elif isinstance(part, Position):
                self.in_scope((part.index,), scope)
            elif isinstance(part, Inside):
                self.in_scope((bound.index for bound in part.bounds), scope)
            elif isinstance(part, Load):
                self.load(part, scope)
            elif part.dtype.is_half:
                raise StateError(f"a constant is {part.dtype.name}, a type for storing only")

    def load(self, load: Load, scope: _Scope) -> None:
        """Check a load."""
        buffer = load.source
        if not isinstance(buffer, Buffer):
            raise StateError(f"{buffer.name} is a tensor; kernels read buffers")
        if buffer not in self.buffers and buffer not in self.scratch:
            raise StateError(f"{buffer.name} is read, but not listed")
        if len(load.indices) != 1 or len(load.dynamic) > 1:
            raise StateError(f"{buffer.name} is read with several indices")
        dynamic = load.dynamic[0] if load.dynamic else None
        self.place(buffer, load.indices[0], load.guards, dynamic, scope)

    def all_written(self, body: Iterable[Statement]) -> None:
        """Check that what is listed as written is, and is an argument."""
        stored = {s.buffer for s in statements(body) if isinstance(s, Store)}
        for buffer in self.written - (stored & self.buffers):
            raise StateError(f"{buffer.name} is listed as written, but is not")

    def separate(
        self,
        body: Iterable[Statement],
        apart: Sequence[Axis],
        shared: Sequence[Axis],
        buffers: frozenset[Buffer],
    ) -> None:
        """Check that no iteration touches what another one of the same loops writes.

        Positions that are computed from data are not known here.
        """
        found = list(accesses(body))
        for first in found:
            if not first.writes or first.dynamic or first.buffer not in buffers:
                continue
            for second in found:
                if second.buffer is not first.buffer or second.dynamic:
                    continue
                if meet(first.where, second.where, apart, shared):
                    names = ", ".join(axis.name for axis in apart)
                    raise StateError(
                        f"iterations over {names} are not independent: one writes "
                        f"{first.buffer.name}[{first.where[0]}], another one touches "
                        f"[{second.where[0]}]"
                    )


@dataclass(frozen=True, slots=True)
class Access:
    """A load or store.

    Attributes:
        buffer: What it touches.
        writes: Whether it is a store.
        where: Index and guards.
        dynamic: Whether data decide where.
        adds: Whether it is a store that adds.
        path: Its place in the text: the number of the statement in each list around it.
        loops: Axes of the loops around it.
    """

    buffer: Buffer | Ref
    writes: bool
    where: tuple[Index, tuple[Within, ...]]
    dynamic: bool
    adds: bool
    path: tuple[int, ...]
    loops: tuple[Axis, ...]


def accesses(
    body: Iterable[Statement], path: tuple[int, ...] = (), loops: tuple[Axis, ...] = ()
) -> Iterator[Access]:
    """Yield all loads and stores in order.

    Args:
        body: Statements.
        path: Place of the statements in the text.
        loops: Axes of the loops around them.

    Yields:
        Accesses; neighbouring stores have one place in the text.
    """
    place, in_stores = 0, False
    for statement in body:
        if not (in_stores and isinstance(statement, Store)):
            place += 1
        in_stores = isinstance(statement, Store)
        here = (*path, place)
        if isinstance(statement, Loop):
            yield from accesses(statement.body, here, (*loops, statement.axis))
            continue
        for part in walk(*expressions(statement)):
            if isinstance(part, Load):
                where = part.indices[0], part.guards
                yield Access(part.source, False, where, bool(part.dynamic), False, here, loops)
        if isinstance(statement, Store):
            where = statement.index, statement.guards
            dynamic = statement.dynamic is not None
            yield Access(statement.buffer, True, where, dynamic, statement.adds, here, loops)


def in_place(kernel: Kernel | Contraction, read: Buffer, written: Buffer) -> bool:
    """Return whether a kernel does the same if two of its buffers are one memory.

    That is so if every element is loaded in the iteration that overwrites it, and before that.
    """
    if read.dtype.bits != written.dtype.bits or read in kernel.written:
        return False
    if isinstance(kernel, Contraction):
        if read in (kernel.left.source, kernel.right.source):
            return False
        body: tuple[Statement, ...] = kernel.stores
        grid = (*kernel.batch, *kernel.rows, *kernel.columns)
    else:
        body, grid = kernel.body, kernel.grid
    found = list(accesses(body))
    return all(
        _keeps_order(load, store, grid)
        for load in found
        if load.buffer is read and not load.writes
        for store in found
        if store.buffer is written and store.writes
    )


def _keeps_order(load: Access, store: Access, grid: tuple[Axis, ...]) -> bool:
    if load.dynamic or store.dynamic or load.path > store.path:
        return False
    # Iterations of loops that are round both come one after the other: they must not meet.
    common = tuple(a for a, b in zip(load.loops, store.loops, strict=False) if a is b)
    return meet(load.where, store.where, (*grid, *common)) is False
