"""Tools of tests of the code generator: kernels in, machine code run, arrays compared."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from chainrule.codegen import machine
from chainrule.codegen.loops import emit_kernel
from chainrule.codegen.target import Target, host
from chainrule.codegen.text import Module
from chainrule.core.dtype import Array, DType, bool_, to_storage
from chainrule.ir.expr import Axis, Buffer, Load, add, walk
from chainrule.ir.interpreter import run_kernel
from chainrule.ir.interpreter import statements as all_statements
from chainrule.ir.kernel import Kernel, Statement, Store

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_numbers = itertools.count()
# Elements in front of and behind each buffer, that must stay as they are.
MARGIN = 80

TARGETS = {
    "host": host(),
    "256 bits": Target("host", 32, 16, host().fma, False),
    "128 bits": Target("host", 16, 16, host().fma, False),
    "scalar": Target("host", 0, 16, host().fma, False),
}


def kernel_of(
    body: Sequence[Statement],
    grid: Sequence[Axis] = (),
    *,
    grain: int = 1,
    scratch: Sequence[Buffer] = (),
) -> Kernel:
    """Return a kernel of statements; its buffers are those that they read and write."""
    read: dict[Buffer, None] = {}
    written: dict[Buffer, None] = {}
    for statement in all_statements(body):
        roots = [getattr(statement, "value", None), getattr(statement, "dynamic", None)]
        for expr in walk(*(root for root in roots if root is not None)):
            if isinstance(expr, Load):
                assert isinstance(expr.source, Buffer)
                read[expr.source] = None
        if isinstance(statement, Store):
            written[statement.buffer] = None
    own = set(scratch)
    buffers = tuple(b for b in {**read, **written} if b not in own)
    return Kernel(
        "test", buffers, tuple(grid), grain, tuple(body), tuple(scratch), frozenset(written) - own
    )


def run_compiled(
    kernel: Kernel,
    memory: Mapping[Buffer, Array],
    target: Target | None = None,
    *,
    split: bool = False,
) -> dict[Buffer, Array]:
    """Return what a kernel makes of copies of arrays; ``split``: one chunk a call, backwards."""
    module, symbol = Module(), f"test_{next(_numbers)}"
    emitted = emit_kernel(module, kernel, symbol, target or host())
    places = {b: np.zeros(b.size + 2 * MARGIN, b.dtype.storage) for b in kernel.buffers}
    for buffer, place in places.items():
        place.view(np.uint8)[:] = 0xA5
        place[MARGIN : MARGIN + buffer.size] = memory[buffer]
    if emitted.phases:
        address = machine.load(machine.assemble(module.text), [symbol], symbol)[symbol]
        function = _SIGNATURE(address)
        first = [p.ctypes.data + MARGIN * p.itemsize for p in places.values()]
        pointers = (ctypes.c_void_p * len(first))(*first)
        for phase in emitted.phases:
            calls = [(n, n + 1) for n in reversed(range(phase.chunks))]
            for begin, end in calls if split else [(0, phase.chunks)]:
                function(pointers, begin, end)
    for buffer, place in places.items():
        edges = np.concatenate([place[:MARGIN], place[MARGIN + buffer.size :]])
        assert np.all(edges.view(np.uint8) == 0xA5), f"{buffer.name}: written outside"
    return {b: p[MARGIN : MARGIN + b.size].copy() for b, p in places.items()}


def run_interpreted(kernel: Kernel, memory: Mapping[Buffer, Array]) -> dict[Buffer, Array]:
    """Return what the interpreter makes of copies of arrays."""
    copies = {buffer: memory[buffer].copy() for buffer in kernel.buffers}
    run_kernel(kernel, copies)
    return copies


def random_array(dtype: DType, size: int, rng: np.random.Generator) -> Array:
    """Return numbers of a dtype, in storage form."""
    if dtype is bool_:
        return np.asarray(rng.integers(0, 2, size), dtype=bool)
    if dtype.kind == "float":
        return to_storage(rng.standard_normal(size).astype(dtype.compute) * 2, dtype)
    low = -5 if dtype.kind == "int" else 0
    return np.asarray(rng.integers(low, 9, size), dtype=dtype.storage)


def check(
    kernel: Kernel,
    memory: Mapping[Buffer, Array],
    *,
    rtol: float = 0.0,
    targets: Sequence[str] = ("host",),
) -> None:
    """Check that machine code and interpreter write the same, however chunks are split."""
    expected = run_interpreted(kernel, memory)
    for name in targets:
        got = run_compiled(kernel, memory, TARGETS[name])
        again = run_compiled(kernel, memory, TARGETS[name], split=True)
        for buffer in kernel.buffers:
            assert np.array_equal(_bits(got[buffer]), _bits(again[buffer])), "depends on split"
            compare(got[buffer], expected[buffer], rtol, f"{name}: {buffer.name}")


def compare(got: Array, expected: Array, rtol: float, what: str) -> None:
    """Check that arrays agree; NaN agrees with NaN."""
    if got.dtype.kind == "f" and rtol:
        scale = np.nanmax(np.abs(expected[np.isfinite(expected)]), initial=1.0)
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * scale, err_msg=what)
    else:
        np.testing.assert_array_equal(got, expected, err_msg=what)


def _bits(array: Array) -> Array:
    return array.view(np.uint8)


def load(buffer: Buffer, *positions: object, guards: Sequence[object] = ()) -> Load:
    """Return a load at the sum of positions."""
    return Load(buffer, (add(*positions),), tuple(guards))  # type: ignore[arg-type]
