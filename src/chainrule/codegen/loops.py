"""Loops: a kernel as a native function over chunks of its grid.

Takes: a kernel. Gives: LLVM IR, through `Nest` for what happens in one grid iteration.
The one idea: a chunk is a run of consecutive grid iterations; a loop over the last grid axis
inside a loop over the others leaves divisions by constants once per run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chainrule.codegen import types
from chainrule.codegen.emitted import Emitted, Phase
from chainrule.codegen.loops_context import Bound, Context
from chainrule.codegen.loops_nest import Nest
from chainrule.codegen.loops_shape import changed_by
from chainrule.codegen.target import Target
from chainrule.codegen.text import Function, Module
from chainrule.core.errors import StateError
from chainrule.ir.expr import Axis, Buffer
from chainrule.ir.kernel import Kernel

# Bytes of a thread's stack that a kernel's own buffers may take.
SCRATCH_LIMIT = 1 << 16


def emit_kernel(module: Module, kernel: Kernel, symbol: str, target: Target) -> Emitted:
    """Write the native function of a kernel.

    Args:
        module: Where to write it.
        kernel: What it computes.
        symbol: Its name in the object code.
        target: The processor.

    Raises:
        StateError: Its scratch buffers do not fit on a thread's stack.
    """
    total = math.prod(axis.extent for axis in kernel.grid)
    if not total:
        return Emitted(())
    function = Function(module, symbol, ("ptr %args", "i64 %begin", "i64 %end"))
    pointers = {**_load_pointers(function, kernel.buffers), **_scratch(function, kernel)}
    nest = Nest(Context(function, target, pointers))
    with _grid(nest.context, kernel, total):
        nest.statements(kernel.body)
    function.effect("ret void")
    function.finish()
    return Emitted((Phase(symbol, -(-total // kernel.grain)),))


def _load_pointers(function: Function, buffers: Sequence[Buffer]) -> dict[Buffer, str]:
    """Write the loads of a phase's buffer pointers from ``%args``."""
    pointers = {}
    for number, buffer in enumerate(buffers):
        place = function.value(f"getelementptr ptr, ptr %args, i64 {number}")
        pointers[buffer] = function.value(f"load ptr, ptr {place}, align 8")
    return pointers


def _scratch(function: Function, kernel: Kernel) -> dict[Buffer, str]:
    needed = sum(buffer.size * buffer.dtype.itemsize for buffer in kernel.scratch)
    if needed > SCRATCH_LIMIT:
        raise StateError(
            f"{kernel.name}: scratch buffers take {needed} bytes, at most {SCRATCH_LIMIT} fit",
            hint="this is a bug in chainrule: such buffers belong into the arena",
        )
    return {
        buffer: function.alloca(f"[{buffer.size} x {types.memory_type(buffer.dtype)}]")
        for buffer in kernel.scratch
    }


@contextmanager
def _grid(context: Context, kernel: Kernel, total: int) -> Iterator[None]:
    """Write the loops over the grid iterations of chunks from ``%begin`` to ``%end``."""
    function, changed = context.function, changed_by(kernel.body)
    fixed = {axis: Bound(None, 0) for axis in kernel.grid if axis.extent == 1}
    moving = [axis for axis in kernel.grid if axis.extent > 1]
    if not moving:
        with context.scope(fixed, changed, function.place()):
            yield
        return
    first = function.value(f"mul i64 %begin, {kernel.grain}")
    last = function.value(f"mul i64 %end, {kernel.grain}")
    last = types.intrinsic(function, "smin", "i64", 1, (last, str(total)))
    *outer, inner = moving
    if not outer:
        ahead = function.place()
        with (
            function.loop(first, last) as counter,
            context.scope({**fixed, inner: Bound(counter)}, changed, ahead),
        ):
            yield
        return
    extent = inner.extent
    run = function.value(f"udiv i64 {first}, {extent}")
    stop = function.value(f"add i64 {last}, {extent - 1}")
    stop = function.value(f"udiv i64 {stop}, {extent}")
    ahead = function.place()
    with function.loop(run, stop) as counter:
        bounds = {**fixed, **_decompose(function, counter, outer)}
        start = function.value(f"mul i64 {counter}, {extent}")
        begin = function.value(f"sub i64 {first}, {start}")
        begin = types.intrinsic(function, "smax", "i64", 1, (begin, "0"))
        end = function.value(f"sub i64 {last}, {start}")
        end = types.intrinsic(function, "smin", "i64", 1, (end, str(extent)))
        with context.scope(bounds, changed, ahead):
            ahead = function.place()
            with (
                function.loop(begin, end) as place,
                context.scope({inner: Bound(place)}, changed, ahead),
            ):
                yield


def _decompose(function: Function, flat: str, axes: Sequence[Axis]) -> dict[Axis, Bound]:
    """Write the values of axes from their row-major number."""
    bounds = {}
    for axis in reversed(axes[1:]):
        bounds[axis] = Bound(function.value(f"urem i64 {flat}, {axis.extent}"))
        flat = function.value(f"udiv i64 {flat}, {axis.extent}")
    return {**bounds, axes[0]: Bound(flat)}
