"""Emission: machine code's text for a kernel of any sort.

Takes: kernels and contractions. Gives: LLVM IR in a module, and what to call.
The one idea: each sort has its own emitter; this is the only place that knows both.
"""

from __future__ import annotations

from chainrule.codegen.contraction import emit_contraction
from chainrule.codegen.emitted import Emitted
from chainrule.codegen.loops import emit_kernel
from chainrule.codegen.target import Target
from chainrule.codegen.text import Module
from chainrule.ir.kernel import Contraction, Kernel


def emit(module: Module, kernel: Kernel | Contraction, symbol: str, target: Target) -> Emitted:
    """Write the native functions of a kernel.

    Args:
        module: Where to write them.
        kernel: What they compute.
        symbol: Their name in the object code (several phases add to it).
        target: The processor.
    """
    if isinstance(kernel, Contraction):
        return emit_contraction(module, kernel, symbol, target)
    return emit_kernel(module, kernel, symbol, target)
