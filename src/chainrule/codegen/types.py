"""Types: how numbers of each dtype look in LLVM's assembly language.

Takes: dtypes and Python numbers. Gives: type names and constants, for any number of lanes.
The one idea: one lane is the scalar type, so the same emitters write scalar and vector code.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from chainrule.codegen.text import Function
from chainrule.core.dtype import DType, Scalar, bool_


def element_type(dtype: DType) -> str:
    """Return the type that elements are computed in: bool is i1, 16-bit floats are float."""
    if dtype is bool_:
        return "i1"
    if dtype.kind == "float":
        return "double" if dtype.bits == 64 else "float"
    return f"i{dtype.bits}"


def memory_type(dtype: DType) -> str:
    """Return the type of elements in memory: bool is i8, 16-bit floats are i16."""
    if dtype is bool_:
        return "i8"
    return f"i{dtype.bits}" if dtype.is_half else element_type(dtype)


def many(kind: str, lanes: int) -> str:
    """Return the type of several lanes of an element type; of one lane it is itself."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def suffix(kind: str, lanes: int) -> str:
    """Return how names of intrinsics spell a type: ``v16f32``."""
    short = {"half": "f16", "float": "f32", "double": "f64", "ptr": "p0"}.get(kind, kind)
    return short if lanes == 1 else f"v{lanes}{short}"


def literal(value: Scalar, dtype: DType) -> str:
    """Return a number as a constant of the type that its dtype is computed in."""
    if dtype is bool_:
        return "true" if value else "false"
    if dtype.kind == "float":
        number = float(value) if dtype.bits == 64 else float(np.float32(value))
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    # LLVM takes a pattern of bits in either reading; numbers out of range wrap round.
    return str(int(value) % (1 << dtype.bits))


def constant(text: str, kind: str, lanes: int) -> str:
    """Return a constant in all lanes."""
    return text if lanes == 1 else f"splat ({kind} {text})"


def constants(texts: Sequence[str | int], kind: str) -> str:
    """Return a vector of constants."""
    return "<" + ", ".join(f"{kind} {text}" for text in texts) + ">"


def number(value: Scalar, dtype: DType, lanes: int) -> str:
    """Return a number as a constant in all lanes."""
    return constant(literal(value, dtype), element_type(dtype), lanes)


def splat(function: Function, value: str, kind: str, lanes: int) -> str:
    """Write instructions that put a scalar (not a constant) into all lanes."""
    if lanes == 1:
        return value
    whole = many(kind, lanes)
    first = function.value(f"insertelement {whole} poison, {kind} {value}, i64 0")
    return function.value(
        f"shufflevector {whole} {first}, {whole} poison, <{lanes} x i32> zeroinitializer"
    )


def shuffle(function: Function, value: str, kind: str, lanes: int, order: Sequence[int]) -> str:
    """Write the instruction that takes lanes of a vector in a given order."""
    whole = many(kind, lanes)
    picked = constants(order, "i32")
    return function.value(
        f"shufflevector {whole} {value}, {whole} poison, <{len(order)} x i32> {picked}"
    )


def intrinsic(
    function: Function, name: str, kind: str, lanes: int, args: Sequence[str], more: str = ""
) -> str:
    """Write a call of an intrinsic whose arguments and result have one type.

    Args:
        function: Where to write.
        name: Without prefix and type: ``fabs``.
        kind: Element type.
        lanes: Number of lanes.
        args: Operands.
        more: Further arguments that all calls share: ``i1 false``.
    """
    whole = many(kind, lanes)
    symbol = f"llvm.{name}.{suffix(kind, lanes)}"
    kinds = [whole] * len(args) + ([more.split()[0]] if more else [])
    function.module.declare(symbol, f"declare {whole} @{symbol}({', '.join(kinds)})")
    given = [f"{whole} {arg}" for arg in args] + ([more] if more else [])
    return function.value(f"call {whole} @{symbol}({', '.join(given)})")
