"""The interpreter: what formulas, kernels and plans mean, in NumPy.

Takes: formulas or a plan, and arrays. Gives: the results; kernels write theirs in place.
The one idea: this is the definition of the kernel language that machine code is compared with,
so it is simple before it is fast: all positions of independent loops at once, the rest in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from chainrule.core.dtype import Array, DType, to_compute, to_storage, uint8
from chainrule.core.errors import StateError
from chainrule.ir.definition import Formula, Formulas, Prefix, Scatter
from chainrule.ir.expr import Acc, Axis, Buffer, Expr, Load, Read, Ref, walk
from chainrule.ir.kernel import (
    Accumulate,
    Branch,
    Check,
    Contraction,
    Declare,
    HostCall,
    Kernel,
    Launch,
    Loop,
    Plan,
    Repeat,
    Statement,
    Step,
    Store,
    While,
)
from chainrule.ir.space import (
    LIMIT,
    Find,
    Source,
    Space,
    blocks,
    checked,
    combine,
    neutral,
    reduce_last,
    running,
    values_of,
)

# --- formulas ----------------------------------------------------------------------------------


def evaluate(formulas: Formulas, arrays: Mapping[Ref, Array]) -> Array:
    """Return what the last formula defines.

    Args:
        formulas: In order; each may read those before it.
        arrays: Elements of the inputs, in storage form or, like the result, in the type that
            their dtype is computed in.

    Raises:
        StateError: A formula reads outside of a tensor.
    """
    known = {ref: np.ascontiguousarray(array).reshape(-1) for ref, array in arrays.items()}
    for formula in formulas:
        result = _evaluate(formula, known)
        known[formula.target] = result.reshape(-1)
    return known[formulas[-1].target].reshape(formulas[-1].target.shape)


def _evaluate(formula: Formula, known: Mapping[Ref, Array]) -> Array:
    def find(load: Load) -> Source:
        ref = load.source
        if not isinstance(ref, Ref):
            raise StateError(f"{ref.name}: a formula reads tensors, this is a buffer")
        flat = len(load.indices) == 1 and len(ref.shape) != 1
        return Source(known[ref], ref.dtype, (math.prod(ref.shape),) if flat else ref.shape)

    target = formula.target
    out = np.empty(target.shape, target.dtype.compute)
    if isinstance(formula, Scatter):
        return _scattered(formula, known, find)
    if isinstance(formula, Prefix):
        values = np.empty(target.shape, formula.body.dtype.compute)
        for space, where in blocks(formula.axes, 1):
            values[where] = values_of(formula.body, space, find)
        return running(formula.fn, values, formula.axis).astype(target.dtype.compute)
    for space, where in blocks(formula.axes, math.prod(a.extent for a in formula.reduced)):
        for axis in formula.reduced:
            space = space.along(axis, range(axis.extent))
        values = space.full(values_of(formula.body, space, find))
        if formula.fn:
            values = reduce_last(formula.fn, values, len(formula.reduced), formula.body.dtype)
        with np.errstate(all="ignore"):
            out[where] = values
    return out


def _scattered(formula: Scatter, known: Mapping[Ref, Array], find: Find) -> Array:
    target = formula.target
    out = np.array(to_compute(known[formula.initial], target.dtype))
    for space, _ in blocks(formula.axes, 1):
        offset, holds = np.asarray(0, np.int64), np.asarray(True)
        for n, (index, size) in enumerate(zip(formula.position, target.shape, strict=True)):
            position = space.position(index)
            extra = formula.dynamic[n] if n < len(formula.dynamic) else None
            if extra is not None:
                position = position + values_of(extra, space, find)
            holds = holds & (position >= 0) & (position < size)
            offset = offset * size + position
        values = space.full(values_of(formula.body, space, find))
        _write(out, space, offset, holds, values, adds=formula.fn == "add")
    return out


def _write(
    memory: Array, space: Space, offset: Array, holds: Array, values: Array, *, adds: bool
) -> None:
    """Write or add elements in row-major order, so that later ones win."""
    chosen = space.full(holds)
    places, values = space.full(offset)[chosen], values[chosen]
    if adds:
        with np.errstate(all="ignore"):
            np.add.at(memory, places, values)
    else:
        memory[places] = values


# --- kernels -----------------------------------------------------------------------------------


def run_kernel(kernel: Kernel | Contraction, memory: Mapping[Buffer, Array]) -> None:
    """Run a kernel.

    Args:
        kernel: The kernel.
        memory: The elements of each of its buffers: a 1-d array in storage form. Those that the
            kernel writes are changed.

    Raises:
        StateError: An array does not fit its buffer, or the kernel reaches outside of one.
    """
    for buffer in kernel.buffers:
        array = memory[buffer]
        if array.shape != (buffer.size,) or array.dtype != buffer.dtype.storage:
            raise StateError(
                f"{kernel.name}: buffer {buffer.name} got {array.dtype}{list(array.shape)}, "
                f"expected {buffer.dtype.storage}[{buffer.size}]"
            )
    arrays = {buffer: memory[buffer] for buffer in kernel.buffers}
    try:
        if isinstance(kernel, Contraction):
            _run_contraction(kernel, arrays)
            return
        scratch = sum(buffer.size for buffer in kernel.scratch)
        for space, _ in blocks(kernel.grid, max(_heaviest(kernel.body), scratch)):
            _Run(arrays, space, kernel.scratch).execute(kernel.body, space)
    except StateError as error:
        raise error.add_context(f"in kernel {kernel.name}") from None


class _Run:
    """Some grid iterations of a kernel, all at once."""

    def __init__(
        self, memory: Mapping[Buffer, Array], grid: Space, scratch: Sequence[Buffer] = ()
    ) -> None:
        self.memory = dict(memory)
        self.accs: dict[Acc, Array] = {}
        count = math.prod(grid.shape)
        self.iterations = np.arange(count, dtype=np.int64).reshape(grid.shape)
        self.scratch = frozenset(scratch)
        for buffer in scratch:  # one for each iteration, side by side
            self.memory[buffer] = _unwritten(buffer.dtype, buffer.size * count)

    def execute(self, body: Sequence[Statement], space: Space) -> None:
        """Run statements one after the other, each at all positions of the space."""
        waiting: list[Callable[[], None]] = []
        for statement in body:
            if isinstance(statement, Store):  # all values of neighbours first
                waiting.append(self.prepared(statement, space))
                continue
            _finish(waiting)
            if isinstance(statement, Declare):
                acc = statement.acc
                self.accs[acc] = np.full(space.shape, neutral(acc.fn, acc.dtype))
            elif isinstance(statement, Accumulate):
                self.accumulate(statement.acc, self.values(statement.value, space))
            else:
                self.loop(statement, space)
        _finish(waiting)

    def accumulate(self, acc: Acc, values: Array) -> None:
        """Take values into a reduction, over all dimensions that it was not declared in."""
        old = self.accs[acc]
        new = reduce_last(acc.fn, values, values.ndim - old.ndim, acc.dtype)
        self.accs[acc] = combine(acc.fn, old, new, acc.dtype)

    def loop(self, loop: Loop, space: Space) -> None:
        """Run independent iterations side by side, others one after the other."""
        axis = loop.axis
        if not _side_by_side(loop):
            for value in range(axis.extent):
                self.execute(loop.body, space.at(axis, value))
            return
        step = max(LIMIT // max(math.prod(space.shape) * _heaviest(loop.body), 1), 1)
        for start in range(0, axis.extent, step):
            values = range(start, min(start + step, axis.extent))
            self.execute(loop.body, space.along(axis, values))

    def prepared(self, store: Store, space: Space) -> Callable[[], None]:
        """Compute what a store writes; the result writes it."""
        buffer, holds = store.buffer, space.inside(store.guards)
        position = space.position(store.index)
        if store.dynamic is not None:
            position = position + self.values(store.dynamic, space)
            holds = holds & (position >= 0) & (position < buffer.size)
        checked(position, buffer.size, holds, space, buffer.name)
        values = to_storage(self.values(store.value, space), buffer.dtype)
        place = position + self.start(buffer, space)
        memory = self.memory[buffer]
        return lambda: _write(memory, space, place, holds, values, adds=store.adds)

    def values(self, expr: Expr, space: Space) -> Array:
        """Return the values of an expression at every position."""

        def find(load: Load) -> Source:
            buffer = load.source
            if not isinstance(buffer, Buffer):
                raise StateError(f"{buffer.name}: a kernel reads buffers, this is a tensor")
            start = self.start(buffer, space)
            return Source(self.memory[buffer], buffer.dtype, (buffer.size,), start)

        return space.full(values_of(expr, space, find, self.accs))

    def start(self, buffer: Buffer, space: Space) -> Array | int:
        """Return where each iteration's own part of a buffer begins."""
        if buffer not in self.scratch:
            return 0
        shape = self.iterations.shape
        inner = (1,) * (len(space.shape) - len(shape))
        return self.iterations.reshape(shape + inner) * buffer.size


def _finish(waiting: list[Callable[[], None]]) -> None:
    for write in waiting:
        write()
    waiting.clear()


def _heaviest(body: Iterable[Statement]) -> int:
    """Return how many positions are computed at once, at most."""
    most = 1
    for statement in body:
        if isinstance(statement, Loop):
            extent = statement.axis.extent if _side_by_side(statement) else 1
            most = max(most, extent * _heaviest(statement.body))
    return most


def _side_by_side(loop: Loop) -> bool:
    """Return whether the iterations of a loop may be interpreted all at once.

    That is so for vector loops, which claim it, and for serial ones in which no iteration reads
    what another one writes or reduces, and no two statements write to one buffer.
    """
    if loop.vector:
        return True
    inner = list(statements(loop.body))
    stores = [s for s in inner if isinstance(s, Store)]
    declared = {s.acc for s in inner if isinstance(s, Declare)}
    reduced = {s.acc for s in inner if isinstance(s, Accumulate)} - declared
    written = {store.buffer for store in stores}
    if len(written) < len(stores) and not all(store.adds for store in stores):
        return False
    parts = list(walk(*(e for s in inner for e in expressions(s))))
    return not any(
        (isinstance(part, Load) and part.source in written)
        or (isinstance(part, Read) and part.acc in reduced)
        for part in parts
    )


def statements(body: Iterable[Statement]) -> Iterator[Statement]:
    """Yield statements and those inside them, in order."""
    for statement in body:
        yield statement
        if isinstance(statement, Loop):
            yield from statements(statement.body)


def expressions(statement: Statement) -> tuple[Expr, ...]:
    """Return the expressions of a statement, without those of statements inside it."""
    if isinstance(statement, Accumulate):
        return (statement.value,)
    if isinstance(statement, Store):
        dynamic = () if statement.dynamic is None else (statement.dynamic,)
        return (*dynamic, statement.value)
    return ()


def _run_contraction(contraction: Contraction, memory: Mapping[Buffer, Array]) -> None:
    batch, rows, columns = contraction.batch, contraction.rows, contraction.columns
    depth, acc = contraction.depth, contraction.acc
    sizes = [math.prod(axis.extent for axis in axes) for axes in (rows, columns, depth)]
    largest = math.prod(sizes) // max(min(sizes), 1)
    wide = np.dtype(np.float64) if acc.dtype.is_floating else acc.dtype.compute
    for space, _ in blocks(batch, largest):
        run = _Run(memory, space)
        left = _operand(run, contraction.left, space, rows, depth)
        right = _operand(run, contraction.right, space, depth, columns)
        with np.errstate(all="ignore"):
            product = np.matmul(left.astype(wide), right.astype(wide)).astype(acc.dtype.compute)
        inner = _over(space, *rows, *columns)
        run.accs[acc] = product.reshape(inner.shape)
        run.execute(contraction.stores, inner)


def _operand(
    run: _Run, load: Load, space: Space, first: Sequence[Axis], second: Sequence[Axis]
) -> Array:
    """Return an operand as one matrix for each position of the batch."""
    sizes = (math.prod(axis.extent for axis in axes) for axes in (first, second))
    values = run.values(load, _over(space, *first, *second))
    return values.reshape(math.prod(space.shape), *sizes)


def _over(space: Space, *axes: Axis) -> Space:
    for axis in axes:
        space = space.along(axis, range(axis.extent))
    return space


# --- plans -------------------------------------------------------------------------------------


def run_plan(plan: Plan, memory: Mapping[Buffer, Array]) -> None:
    """Run a plan.

    Args:
        plan: The plan.
        memory: The elements of its inputs and outputs: 1-d arrays in storage form. The outputs
            are written.

    Raises:
        StateError: A check fails, or a kernel reaches outside of a buffer.
    """
    arena = _unwritten(uint8, plan.arena)
    known = {buffer: memory[buffer] for buffer in (*plan.inputs, *plan.outputs)}
    for buffer, content in plan.constants.items():
        known[buffer] = np.array(content, dtype=buffer.dtype.storage).reshape(-1)
    for buffer, offset in plan.temporaries.items():
        part = arena[offset : offset + buffer.size * buffer.dtype.itemsize]
        known[buffer] = part.view(buffer.dtype.storage)
    _run_steps(plan.steps, known)


def _run_steps(steps: Iterable[Step], known: Mapping[Buffer, Array]) -> None:
    for step in steps:
        if isinstance(step, Launch):
            pairs = zip(step.kernel.buffers, step.arguments, strict=True)
            run_kernel(step.kernel, {own: known[given] for own, given in pairs})
        elif isinstance(step, HostCall):
            _call_host(step, known)
        elif isinstance(step, Check):
            if not known[step.ok][0]:
                raise StateError(step.message)
        elif isinstance(step, Branch):
            _run_steps(step.true if known[step.condition][0] else step.false, known)
        elif isinstance(step, While):
            _while(step, known)
        else:
            _repeat(step, known)


def _call_host(step: HostCall, known: Mapping[Buffer, Array]) -> None:
    inputs = [to_compute(known[b].reshape(shape), b.dtype) for b, shape in step.inputs]
    buffer, shape = step.output
    with np.errstate(all="ignore"):
        result = to_storage(np.asarray(step.op.eval(*inputs, **step.attrs)), buffer.dtype)
    known[buffer][:] = np.broadcast_to(result, shape).reshape(-1)


def _repeat(step: Repeat, known: Mapping[Buffer, Array]) -> None:
    for turn in range(step.count):
        inside = dict(known)
        for inner, outer, first, stride in step.views:
            start = first + turn * stride
            inside[inner] = inside[outer][start : start + inner.size]
        _run_steps(step.steps, inside)
        for source, target in step.carried:
            inside[target][:] = inside[source]


def _while(step: While, known: Mapping[Buffer, Array]) -> None:
    while True:
        _run_steps(step.test, known)
        if not known[step.ok][0]:
            return
        _run_steps(step.steps, known)
        for source, target in step.carried:
            known[target][:] = known[source]


def _unwritten(dtype: DType, size: int) -> Array:
    """Return memory whose contents show that nothing was written yet: NaN, or all bits set."""
    return np.full(size * dtype.itemsize, 0xFF, np.uint8).view(dtype.storage)
