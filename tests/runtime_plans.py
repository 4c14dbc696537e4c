"""Hand-made plans with kernels written in LLVM IR, for the tests of the runtime."""

from __future__ import annotations

import itertools

from chainrule.codegen import machine
from chainrule.core.dtype import DType, float32
from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import Contraction, Kernel, Launch, Plan
from chainrule.runtime.commands import Code

_numbers = itertools.count()

# out[i] = value computed from x[i]; chunks of ``grain`` elements.
_POINTWISE = """
define void @{name}(ptr %args, i64 %begin, i64 %end) {{
entry:
  %x = load ptr, ptr %args
  %second = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %second
  %from = mul i64 %begin, {grain}
  %last = mul i64 %end, {grain}
  %over = icmp ugt i64 %last, {size}
  %to = select i1 %over, i64 {size}, i64 %last
  br label %loop
loop:
  %i = phi i64 [ %from, %entry ], [ %i1, %body ]
  %more = icmp ult i64 %i, %to
  br i1 %more, label %body, label %out
body:
  %px = getelementptr {kind}, ptr %x, i64 %i
  %py = getelementptr {kind}, ptr %y, i64 %i
  %v = load {kind}, ptr %px
  {work}
  store {kind} %r, ptr %py
  %i1 = add i64 %i, 1
  br label %loop
out:
  ret void
}}
"""

# A dependent chain that takes about a microsecond for 300 rounds.
SLOW = """br label %slow
slow:
  %k = phi i64 [ 0, %body ], [ %k1, %slow ]
  %s = phi float [ %v, %body ], [ %s1, %slow ]
  %s1 = fadd float %s, 1.0
  %k1 = add i64 %k, 1
  %again = icmp ult i64 %k1, {rounds}
  br i1 %again, label %slow, label %written
written:
  %r = fadd float %s1, 0.0"""

_BINARY = """
define void @{name}(ptr %args, i64 %begin, i64 %end) {{
  %x = load ptr, ptr %args
  %second = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %second
  %third = getelementptr ptr, ptr %args, i64 2
  %z = load ptr, ptr %third
  %a = load float, ptr %x
  %b = load float, ptr %y
  %r = {fn} float %a, %b
  store float %r, ptr %z
  ret void
}}
"""


class Kernels:
    """Kernels of the form ``y[i] = f(x[i])`` and their machine code."""

    def __init__(self) -> None:
        self.code: dict[Kernel | Contraction, Code] = {}

    def pointwise(
        self, work: str, size: int, grain: int, *, kind: str = "float", dtype: DType = float32
    ) -> Kernel:
        """Return a kernel whose element is ``%r`` computed by LLVM IR from ``%v``."""
        name = f"hand{next(_numbers)}"
        text = _POINTWISE.format(name=name, grain=grain, size=size, kind=kind, work=work)
        if "%slow" in work:  # the loop's back edge starts in another block
            text = text.replace("[ %i1, %body ]", "[ %i1, %written ]")
        x, y = Buffer("x", dtype, size), Buffer("y", dtype, size)
        return self._add(name, text, (x, y), -(-size // grain))

    def binary(self, fn: str) -> Kernel:
        """Return a kernel of one element, ``z = fn(x, y)``."""
        name = f"hand{next(_numbers)}"
        buffers = tuple(Buffer(n, float32, 1) for n in "xyz")
        return self._add(name, _BINARY.format(name=name, fn=fn), buffers, 1)

    def _add(self, name: str, text: str, buffers: tuple[Buffer, ...], chunks: int) -> Kernel:
        address = machine.load(machine.assemble(text), [name], name)[name]
        kernel = Kernel(name, buffers, (), 1, (), written=frozenset({buffers[-1]}))
        self.code[kernel] = Code(((address, chunks),))
        return kernel


def chain(kernels: Kernels, steps: list[Kernel], size: int) -> Plan:
    """Return the plan that applies kernels one after the other, from an input to an output."""
    x, y = Buffer("input", float32, size), Buffer("output", float32, size)
    middle = [Buffer(f"t{n}", float32, size) for n in range(len(steps) - 1)]
    ends = [x, *middle, y]
    launches = tuple(
        Launch(k, (a, b), (f"layer{n}",))
        for n, (k, a, b) in enumerate(zip(steps, ends[:-1], ends[1:], strict=True))
    )
    room = -(-size * 4 // 64) * 64
    offsets = {b: n * room for n, b in enumerate(middle)}
    return Plan("chain", launches, (x,), (y,), {}, offsets, room * len(middle))
