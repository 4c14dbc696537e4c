"""Accumulators: running reductions, as one number, one per lane, or vectors of partial results.

Takes: declared reductions and values. Gives: updates, and partial results taken together.
The one idea: partial vectors are combined pairwise in an order that depends on their number
alone, so the bits do not depend on anything else.
"""

from __future__ import annotations

from chainrule.codegen import types
from chainrule.codegen.loops_context import Accumulator, Context
from chainrule.codegen.scalars import call_function
from chainrule.core.dtype import DType
from chainrule.ir.expr import Acc

_INFINITY = float("inf")


def neutral(fn: str, dtype: DType) -> str:
    """Return the number that does not change any other under a reduction, as a constant."""
    if dtype.kind == "bool":
        return types.literal(fn in ("multiply", "minimum", "logical_and"), dtype)
    if fn in ("add", "multiply"):
        return types.literal(fn == "multiply", dtype)
    if dtype.kind == "float":
        return types.literal(-_INFINITY if fn == "maximum" else _INFINITY, dtype)
    lowest = -(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0
    return types.literal(lowest if fn == "maximum" else lowest + (1 << dtype.bits) - 1, dtype)


def declare(context: Context, acc: Acc, partial: dict[int, int]) -> None:
    """Write the start of a reduction.

    Args:
        context: Where to write.
        acc: The reduction.
        partial: For each width the number of vectors of partial results to keep beside it.
    """
    lane = context.lane
    width, copies = (lane.width, lane.copies) if lane else (1, 1)
    slots = [_slot(context, acc, width) for _ in range(copies)]
    context.accumulators[acc] = Accumulator(slots, lane is not None)
    context.forget(acc)
    for wide, count in partial.items():
        begin_parts(context, acc, wide, count)


def begin_parts(context: Context, acc: Acc, width: int, count: int) -> None:
    """Write the start of vectors of partial results."""
    parts = [_slot(context, acc, width) for _ in range(count)]
    context.accumulators[acc].parts[width] = parts


def _slot(context: Context, acc: Acc, width: int) -> str:
    kind = types.element_type(acc.dtype)
    whole = types.many(kind, width)
    slot = context.function.alloca(whole)
    start = types.constant(neutral(acc.fn, acc.dtype), kind, width)
    context.function.effect(f"store {whole} {start}, ptr {slot}")
    return slot


def accumulate(context: Context, acc: Acc, value: str, copy: int) -> None:
    """Write the update of a reduction: of a scalar, or in vectors of one copy's lanes."""
    accumulator, lane = context.accumulators[acc], context.lane
    width = lane.width if lane else 1
    slot, mask = accumulator.slots[0], None
    if lane is not None and accumulator.wide:
        slot = accumulator.slots[copy]
    elif lane is not None:
        slot, mask = accumulator.parts[width][copy], lane.masks[copy]
    whole = types.many(types.element_type(acc.dtype), width)
    before = context.function.value(f"load {whole}, ptr {slot}")
    after = combine(context, acc, before, value, width)
    if mask is not None:
        flags = types.many("i1", width)
        after = context.function.value(f"select {flags} {mask}, {whole} {after}, {whole} {before}")
    context.function.effect(f"store {whole} {after}, ptr {slot}")


def combine(context: Context, acc: Acc, x: str, y: str, width: int) -> str:
    """Write the reduction of two numbers in each lane."""
    dtypes = (acc.dtype, acc.dtype)
    return call_function(context.function, context.target, acc.fn, (x, y), dtypes, acc.dtype, width)


def fold(context: Context, acc: Acc) -> None:
    """Write taking the vectors of partial results into the reduction itself."""
    accumulator = context.accumulators[acc]
    kind = types.element_type(acc.dtype)
    for width, parts in accumulator.parts.items():
        whole = types.many(kind, width)
        texts = [context.function.value(f"load {whole}, ptr {part}") for part in parts]
        total = across(context, acc, _pairwise(context, acc, texts, width), width)
        before = context.function.value(f"load {kind}, ptr {accumulator.slots[0]}")
        after = combine(context, acc, before, total, 1)
        context.function.effect(f"store {kind} {after}, ptr {accumulator.slots[0]}")
    accumulator.parts = {}
    context.forget(acc)


def _pairwise(context: Context, acc: Acc, texts: list[str], width: int) -> str:
    while len(texts) > 1:
        paired = [
            combine(context, acc, x, y, width)
            for x, y in zip(texts[::2], texts[1::2], strict=False)
        ]
        texts = paired + texts[len(texts) & ~1 :]
    return texts[0]


def across(context: Context, acc: Acc, vector: str, width: int) -> str:
    """Write the reduction of all lanes of a vector: halves onto each other until one is left."""
    kind = types.element_type(acc.dtype)
    while width > 1:
        half = width // 2
        low = types.shuffle(context.function, vector, kind, width, range(half))
        high = types.shuffle(context.function, vector, kind, width, range(half, width))
        if half == 1:
            low = context.function.value(f"extractelement <1 x {kind}> {low}, i64 0")
            high = context.function.value(f"extractelement <1 x {kind}> {high}, i64 0")
        vector = combine(context, acc, low, high, half)
        width = half
    return vector
