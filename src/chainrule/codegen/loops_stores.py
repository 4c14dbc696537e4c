"""Stores: values written to buffers.

Takes: store statements. Gives: instructions that first compute all values, then write them.
The one idea: values before writes, so a result may take over the memory of an operand that is
read at the same place. Vectors whose elements lie between each other's are woven into whole ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.codegen import types
from chainrule.codegen.loops_context import Affine, Context, Value
from chainrule.codegen.loops_memory import (
    active_lanes,
    address,
    all_hold,
    allowed,
    load_lanes,
    load_vector,
    mask_of,
    reverse,
)
from chainrule.codegen.loops_values import Values
from chainrule.codegen.scalars import call_function
from chainrule.codegen.storage import from_memory, to_memory
from chainrule.core.dtype import int64
from chainrule.ir.expr import Axis, Buffer, computed, walk
from chainrule.ir.kernel import Store

Write = Callable[[], None]

# Stores that are woven together, at most: the words of a block of random bits.
STRANDS = 4


def store_all(context: Context, values: Values, stores: Sequence[Store]) -> None:
    """Write stores that follow one another."""
    waiting: list[Write] = []
    written: set[Buffer] = set()
    woven = _woven(context, stores)
    for number, store in enumerate(stores):
        roots = [store.value] if store.dynamic is None else [store.value, store.dynamic]
        reads = {getattr(expr, "source", None) for expr in walk(*roots)}
        in_order = store.dynamic is not None or store.adds
        if not written.isdisjoint(reads) or (in_order and waiting):
            _run(waiting)
        copies = context.lane.copies if context.lane else 1
        for copy in range(copies):
            if in_order:
                # Positions may coincide, so one vector is written before the next is read.
                _prepare(context, values, store, copy)()
            elif number in woven and context.lane and context.lane.masks[copy] is None:
                whole = woven[number]
                if number == max(whole):
                    waiting.append(_weave(context, values, [stores[n] for n in whole], copy))
            else:
                waiting.append(_prepare(context, values, store, copy))
        written.add(store.buffer)
        if in_order:
            context.forget(store.buffer)
        else:
            waiting.append(lambda buffer=store.buffer: context.forget(buffer))  # type: ignore[misc]
    _run(waiting)


def _woven(context: Context, stores: Sequence[Store]) -> dict[int, list[int]]:
    """Return for stores that together fill memory the numbers of all of them, in its order."""
    if context.lane is None:
        return {}
    groups: dict[tuple[Buffer, int, frozenset[tuple[Axis, int]]], dict[int, int]] = {}
    reads = {getattr(e, "source", None) for store in stores for e in walk(store.value)}
    for number, store in enumerate(stores):
        plain = not store.guards and store.dynamic is None and not store.adds
        if plain and store.buffer not in reads:
            step = dict(store.index.terms).get(context.lane.axis, 0)
            key = (store.buffer, step, frozenset(store.index.terms))
            groups.setdefault(key, {}).setdefault(store.index.offset, number)
    found = {}
    for (_, step, _), group in groups.items():
        if 2 <= step == len(group) <= STRANDS and max(group) - min(group) == step - 1:
            whole = [group[offset] for offset in sorted(group)]
            found.update(dict.fromkeys(whole, whole))
    return found


def _weave(context: Context, values: Values, strands: Sequence[Store], copy: int) -> Write:
    """Compute what stores write side by side; returns what writes all of it at once."""
    assert context.lane is not None
    function, first, width = context.function, strands[0], context.lane.width
    kind = types.memory_type(first.buffer.dtype)
    vectors = []
    for store in strands:
        text = context.widen(values.value(store.value, copy), store.value.dtype)
        vectors.append(to_memory(function, context.target, text, first.buffer.dtype, width))
    pointer = address(context, first.buffer, context.affine(first.index, copy))

    def write() -> None:
        count = len(vectors)
        for part in range(count):
            # Lane n of this part is an element of strand n mod count.
            text = "poison"
            for number, vector in enumerate(vectors):
                places = range(part * width, (part + 1) * width)
                order = [
                    width + at // count if at % count == number else lane
                    for lane, at in enumerate(places)
                ]
                whole = types.many(kind, width)
                text = function.value(
                    f"shufflevector {whole} {text}, {whole} {vector}, "
                    f"<{width} x i32> {types.constants(order, 'i32')}"
                )
            place = function.value(f"getelementptr {kind}, ptr {pointer}, i64 {part * width}")
            _store(context, first.buffer, place, text, None)

    return write


def _run(waiting: list[Write]) -> None:
    for write in waiting:
        write()
    waiting.clear()


def _prepare(context: Context, values: Values, store: Store, copy: int) -> Write:
    """Compute what a store writes; returns what writes it."""
    value = values.value(store.value, copy)
    dynamic = values.value(store.dynamic, copy) if store.dynamic is not None else None
    index = context.affine(store.index, copy)
    moves = index.lane != 0 or value.wide or (dynamic is not None and dynamic.wide)
    inside = all_hold(context, store.guards, copy)
    if context.lane is None or not (moves or inside.wide or store.adds):
        return _prepare_scalar(context, store, copy, value.text, dynamic)
    vector = context.widen(value, store.value.dtype)
    mask = mask_of(context, store.guards, copy)
    if dynamic is not None and index.lane == 1 and not dynamic.wide:
        return _prepare_row(context, store, index, vector, dynamic, mask)
    if dynamic is not None or index.lane not in (1, -1):
        return lambda: _store_lanes(context, store, copy, vector, dynamic)
    if store.adds:
        before = load_vector(context, store.buffer, store.index, store.guards, copy, None)
        vector = _sum(context, store.buffer, before, vector, context.lane.width)
    bits = to_memory(
        context.function, context.target, vector, store.buffer.dtype, context.lane.width
    )
    pointer = address(context, store.buffer, index)
    if index.lane == -1:
        kind = types.memory_type(store.buffer.dtype)
        bits = reverse(context, bits, kind)
        mask = None if mask is None else reverse(context, mask, "i1")
        back = f"getelementptr {kind}, ptr {pointer}, i64 {1 - context.lane.width}"
        pointer = context.function.value(back)
    return lambda: _store(context, store.buffer, pointer, bits, mask)


def _prepare_row(
    context: Context, store: Store, index: Affine, vector: str, dynamic: Value, mask: str | None
) -> Write:
    """Compute what goes to neighbours from a place on that was computed; returns what writes it."""
    assert context.lane is not None
    function, buffer, width = context.function, store.buffer, context.lane.width
    _, mask = _places(context, buffer, index, context.widen(dynamic, int64), mask)
    pointer = address(context, buffer, index, dynamic.text)
    if store.adds:
        bits = load_lanes(context, buffer, pointer, mask)
        before = from_memory(function, context.target, bits, buffer.dtype, width)
        vector = _sum(context, buffer, before, vector, width)
    bits = to_memory(function, context.target, vector, buffer.dtype, width)
    return lambda: _store(context, buffer, pointer, bits, mask)


def _sum(context: Context, buffer: Buffer, x: str, y: str, lanes: int) -> str:
    kind = computed(buffer.dtype)
    return call_function(context.function, context.target, "add", (x, y), (kind, kind), kind, lanes)


def _store(context: Context, buffer: Buffer, pointer: str, bits: str, mask: str | None) -> None:
    assert context.lane is not None
    kind, align, width = types.memory_type(buffer.dtype), buffer.dtype.itemsize, context.lane.width
    whole = types.many(kind, width)
    if mask is None:
        context.function.effect(f"store {whole} {bits}, ptr {pointer}, align {align}")
        return
    active = active_lanes(mask, width)
    if active is not None and sum(active) == 1:
        # LLVM 22.0 makes such a store of shortened numbers too wide (llvm-project issue 179489).
        lane = active.index(True)
        text = context.function.value(f"extractelement {whole} {bits}, i64 {lane}")
        place = context.function.value(f"getelementptr {kind}, ptr {pointer}, i64 {lane}")
        context.function.effect(f"store {kind} {text}, ptr {place}, align {align}")
        return
    flags = types.many("i1", width)
    symbol = f"llvm.masked.store.{types.suffix(kind, width)}.p0"
    context.function.module.declare(symbol, f"declare void @{symbol}({whole}, ptr, i32, {flags})")
    context.function.effect(
        f"call void @{symbol}({whole} {bits}, ptr {pointer}, i32 {align}, {flags} {mask})"
    )


def _prepare_scalar(
    context: Context, store: Store, copy: int, value: str, dynamic: Value | None
) -> Write:
    buffer, offset = store.buffer, dynamic.text if dynamic else None
    index = context.affine(store.index, copy)
    inside = all_hold(context, store.guards, copy)
    if dynamic is not None:
        inside = _within_buffer(context, store, copy, dynamic, inside)
    pointer = allowed(context, address(context, buffer, index, offset), inside, written=True)
    if store.adds:
        before = _load(context, buffer, pointer)
        value = _sum(context, buffer, before, value, 1)
    bits = to_memory(context.function, context.target, value, buffer.dtype, 1)
    kind, align = types.memory_type(buffer.dtype), buffer.dtype.itemsize
    return lambda: context.function.effect(f"store {kind} {bits}, ptr {pointer}, align {align}")


def _load(context: Context, buffer: Buffer, pointer: str) -> str:
    kind, align = types.memory_type(buffer.dtype), buffer.dtype.itemsize
    bits = context.function.value(f"load {kind}, ptr {pointer}, align {align}")
    return from_memory(context.function, context.target, bits, buffer.dtype, 1)


def _within_buffer(
    context: Context, store: Store, copy: int, dynamic: Value, inside: Value
) -> Value:
    """Take into a condition that a position that was computed lies in the buffer."""
    affine = context.affine(store.index, copy)
    place = context.function.value(f"add i64 {dynamic.text}, {affine.offset}")
    if affine.value is not None:
        place = context.function.value(f"add i64 {place}, {affine.value.text}")
    text = context.function.value(f"icmp ult i64 {place}, {store.buffer.size}")
    if inside.text != "true":
        text = context.function.value(f"and i1 {text}, {inside.text}")
    return Value(text, False, len(context.scopes))


def _store_lanes(
    context: Context, store: Store, copy: int, vector: str, dynamic: Value | None
) -> None:
    """Write lane after lane, in the order of the axis: where lanes meet, the last one wins."""
    assert context.lane is not None
    function, buffer, width = context.function, store.buffer, context.lane.width
    element, kind = types.element_type(buffer.dtype), types.memory_type(buffer.dtype)
    affine = context.affine(store.index, copy)
    mask = mask_of(context, store.guards, copy)
    places = ""
    if dynamic is not None:
        places, mask = _places(context, buffer, affine, context.widen(dynamic, int64), mask)
    active = active_lanes(mask, width)
    pointer = context.pointers[buffer] if places else address(context, buffer, affine)
    for lane in range(width):
        if active is not None and not active[lane]:
            continue
        offset = str(affine.lane * lane)
        if places:
            offset = function.value(f"extractelement <{width} x i64> {places}, i64 {lane}")
        place = function.value(f"getelementptr {kind}, ptr {pointer}, i64 {offset}")
        if active is None:
            flag = function.value(f"extractelement <{width} x i1> {mask}, i64 {lane}")
            place = allowed(context, place, Value(flag, False, 0), written=True)
        text = function.value(f"extractelement <{width} x {element}> {vector}, i64 {lane}")
        if store.adds:
            text = _sum(context, buffer, _load(context, buffer, place), text, 1)
        bits = to_memory(function, context.target, text, buffer.dtype, 1)
        function.effect(f"store {kind} {bits}, ptr {place}, align {buffer.dtype.itemsize}")


def _places(
    context: Context, buffer: Buffer, affine: Affine, dynamic: str, mask: str | None
) -> tuple[str, str]:
    """Write positions that were computed, and which of them may be written."""
    assert context.lane is not None
    width = context.lane.width
    whole = types.many("i64", width)
    places = context.function.value(f"add {whole} {context.steps(affine)}, {dynamic}")
    size = types.constant(str(buffer.size), "i64", width)
    fits = context.function.value(f"icmp ult {whole} {places}, {size}")
    if mask is not None:
        fits = context.function.value(f"and {types.many('i1', width)} {fits}, {mask}")
    return places, fits
