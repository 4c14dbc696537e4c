"""Memory: elements of buffers, as scalars and as vectors.

Takes: indices, guards and lanes. Gives: loads and stores, in the cheapest form that fits.
The one idea: how an index moves with the vector axis says which: not at all, one by one,
backwards, in steps, or anyhow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.codegen import types
from chainrule.codegen.loops_context import Affine, Context, Value
from chainrule.codegen.storage import from_memory
from chainrule.core.dtype import bool_
from chainrule.ir.expr import Buffer, Index, Within, extremes

_INT32 = 1 << 31
# Steps of the vector axis up to which whole vectors are loaded and the elements picked out.
_PICKED_STEP = 4


# --- conditions --------------------------------------------------------------------------------


def canonical(bound: Within) -> Within:
    """Return a condition with its terms in a fixed order."""
    terms = sorted(bound.index.terms, key=lambda term: (id(term[0]), term[1]))
    return Within(Index(tuple(terms), bound.index.offset), bound.size)


def all_hold(context: Context, bounds: Iterable[Within], copy: int) -> Value:
    """Write whether all conditions hold, for one place or for all lanes."""
    holding: Value | None = None
    for bound in bounds:
        if canonical(bound) in context.assumed:
            continue
        value = _holds(context, bound, copy)
        if value.text == "true":
            continue
        holding = value if holding is None else _both(context, holding, value)
    return holding or Value("true", False, 0)


def mask_of(context: Context, bounds: Iterable[Within], copy: int) -> str | None:
    """Write the lanes that are in use and in which all conditions hold; None: all lanes."""
    assert context.lane is not None
    inside, used = all_hold(context, bounds, copy), context.lane.masks[copy]
    if inside.text == "true":
        return used
    if used is None:
        return context.widen(inside, bool_)
    return _both(context, inside, Value(used, True, len(context.scopes))).text


def active_lanes(mask: str | None, width: int) -> list[bool] | None:
    """Return which lanes a mask lets through, or None if that is not known yet."""
    if mask is None:
        return [True] * width
    if mask.startswith("<"):
        return [part.endswith("true") for part in mask[1:-1].split(", ")]
    if mask.startswith("splat"):
        return ["true" in mask] * width
    return None


def lane_mask(flags: Sequence[bool]) -> str | None:
    """Return the mask that lets these lanes through; None if all."""
    if all(flags):
        return None
    return types.constants(["true" if flag else "false" for flag in flags], "i1")


def _holds(context: Context, bound: Within, copy: int) -> Value:
    affine = context.affine(bound.index, copy)
    base, size = affine.value, bound.size
    if not affine.lane:
        if base is None:
            return Value("true" if 0 <= affine.offset < size else "false", False, 0)
        return _holds_everywhere(context, base, affine.offset, size)
    assert context.lane is not None
    if base is None:
        places = (affine.offset + affine.lane * n for n in range(context.lane.width))
        flags = [0 <= place < size for place in places]
        return Value(lane_mask(flags) or "true", not all(flags), 0)
    key = ("within", base.text, affine.offset, affine.lane, size, context.lane.width)
    known = context.recall(key)
    if known is not None:
        return known
    reach = max(map(abs, extremes(bound.index))) + abs(affine.lane) * context.lane.width
    kind = "i32" if max(reach, size) < _INT32 else "i64"
    with context.at(base.level):
        places_text = context.steps(affine, kind)
        limit = types.constant(str(size), kind, context.lane.width)
        whole = types.many(kind, context.lane.width)
        text = context.function.value(f"icmp ult {whole} {places_text}, {limit}")
    return context.remember(key, Value(text, True, base.level))


def _holds_everywhere(context: Context, base: Value, offset: int, size: int) -> Value:
    key = ("within", base.text, offset, size)
    known = context.recall(key)
    if known is not None:
        return known
    with context.at(base.level):
        place = context.function.value(f"add i64 {base.text}, {offset}") if offset else base.text
        text = context.function.value(f"icmp ult i64 {place}, {size}")
    return context.remember(key, Value(text, False, base.level))


def _both(context: Context, x: Value, y: Value) -> Value:
    wide = x.wide or y.wide
    if wide:
        assert context.lane is not None
        first, second = context.widen(x, bool_), context.widen(y, bool_)
        kind = types.many("i1", context.lane.width)
        one = active_lanes(first, context.lane.width)
        two = active_lanes(second, context.lane.width)
        if one is not None and two is not None:
            flags = [a and b for a, b in zip(one, two, strict=True)]
            return Value(lane_mask(flags) or "true", not all(flags), 0)
    else:
        first, second, kind = x.text, y.text, "i1"
    level = max(x.level, y.level)
    key = ("both", first, second)
    known = context.recall(key)
    if known is None:
        with context.at(level):
            text = context.function.value(f"and {kind} {first}, {second}")
        known = context.remember(key, Value(text, wide, level))
    return known


# --- addresses ---------------------------------------------------------------------------------


def address(context: Context, buffer: Buffer, affine: Affine, dynamic: str | None = None) -> str:
    """Write the address of an element (of lane 0)."""
    kind, pointer = types.memory_type(buffer.dtype), context.pointers[buffer]
    if affine.value is not None:
        key = ("address", pointer, affine.value.text)
        known = context.recall(key)
        if known is None:
            with context.at(affine.value.level):
                text = context.function.value(
                    f"getelementptr {kind}, ptr {pointer}, i64 {affine.value.text}"
                )
            known = context.remember(key, Value(text, False, affine.value.level))
        pointer = known.text
    for offset in (dynamic, str(affine.offset) if affine.offset else None):
        if offset is not None:
            pointer = context.function.value(f"getelementptr {kind}, ptr {pointer}, i64 {offset}")
    return pointer


def allowed(context: Context, pointer: str, condition: Value, *, written: bool) -> str:
    """Write the choice of an address: where the condition does not hold, one that is unused."""
    if condition.text == "true":
        return pointer
    elsewhere = context.nowhere(written=written)
    return context.function.value(f"select i1 {condition.text}, ptr {pointer}, ptr {elsewhere}")


# --- loads -------------------------------------------------------------------------------------


def load_scalar(
    context: Context,
    buffer: Buffer,
    index: Index,
    guards: Sequence[Within],
    copy: int,
    dynamic: str | None,
) -> str:
    """Write the load of one element; zero where a guard does not hold."""
    inside = all_hold(context, guards, copy)
    pointer = address(context, buffer, context.affine(index, copy), dynamic)
    kind, align = types.memory_type(buffer.dtype), buffer.dtype.itemsize
    pointer = allowed(context, pointer, inside, written=False)
    text = context.function.value(f"load {kind}, ptr {pointer}, align {align}")
    return from_memory(context.function, context.target, text, buffer.dtype, 1)


def load_vector(
    context: Context,
    buffer: Buffer,
    index: Index,
    guards: Sequence[Within],
    copy: int,
    dynamic: Value | None,
) -> str:
    """Write the load of one element for each lane; zero where a guard does not hold."""
    assert context.lane is not None
    affine, width = context.affine(index, copy), context.lane.width
    mask = mask_of(context, guards, copy)
    active = active_lanes(mask, width)
    if dynamic is not None and dynamic.wide:
        text = _gather(context, buffer, affine, mask, dynamic.text)
    else:
        pointer = address(context, buffer, affine, dynamic.text if dynamic else None)
        if affine.lane == 1:
            text = load_lanes(context, buffer, pointer, mask)
        elif affine.lane == -1:
            text = _load_backwards(context, buffer, pointer, mask)
        elif active is None or affine.lane == 0:
            text = _gather_from(context, buffer, pointer, affine.lane, mask)
        elif 2 <= affine.lane <= _PICKED_STEP:
            text = _load_picked(context, buffer, pointer, affine.lane, active)
        else:
            text = _load_each(context, buffer, pointer, affine.lane, active)
    return from_memory(context.function, context.target, text, buffer.dtype, width)


def load_lanes(context: Context, buffer: Buffer, pointer: str, mask: str | None) -> str:
    """Write the load of neighbours as they are in memory; zero where a mask does not let it."""
    assert context.lane is not None
    kind, align, width = types.memory_type(buffer.dtype), buffer.dtype.itemsize, context.lane.width
    whole = types.many(kind, width)
    if mask is None:
        return context.function.value(f"load {whole}, ptr {pointer}, align {align}")
    flags = types.many("i1", width)
    symbol = f"llvm.masked.load.{types.suffix(kind, width)}.p0"
    context.function.module.declare(
        symbol, f"declare {whole} @{symbol}(ptr, i32, {flags}, {whole})"
    )
    return context.function.value(
        f"call {whole} @{symbol}(ptr {pointer}, i32 {align}, {flags} {mask}, "
        f"{whole} zeroinitializer)"
    )


def reverse(context: Context, text: str, kind: str) -> str:
    """Write the lanes of a vector in the opposite order."""
    assert context.lane is not None
    width = context.lane.width
    if text.startswith("<"):
        return "<" + ", ".join(reversed(text[1:-1].split(", "))) + ">"
    return types.shuffle(context.function, text, kind, width, range(width - 1, -1, -1))


def _load_backwards(context: Context, buffer: Buffer, pointer: str, mask: str | None) -> str:
    assert context.lane is not None
    kind = types.memory_type(buffer.dtype)
    lowest = context.function.value(
        f"getelementptr {kind}, ptr {pointer}, i64 {1 - context.lane.width}"
    )
    turned = None if mask is None else reverse(context, mask, "i1")
    return reverse(context, load_lanes(context, buffer, lowest, turned), kind)


def _load_each(
    context: Context, buffer: Buffer, pointer: str, step: int, active: Sequence[bool]
) -> str:
    """Load lane by lane: about twice as fast as a gather on current processors."""
    kind, align, width = types.memory_type(buffer.dtype), buffer.dtype.itemsize, len(active)
    whole = types.many(kind, width)
    text = "zeroinitializer" if not all(active) else "poison"
    for lane in (n for n in range(width) if active[n]):
        place = context.function.value(f"getelementptr {kind}, ptr {pointer}, i64 {step * lane}")
        element = context.function.value(f"load {kind}, ptr {place}, align {align}")
        text = context.function.value(f"insertelement {whole} {text}, {kind} {element}, i64 {lane}")
    return text


def _load_picked(
    context: Context, buffer: Buffer, pointer: str, step: int, active: Sequence[bool]
) -> str:
    """Load all elements from the first to the last that is needed, and pick."""
    kind, width = types.memory_type(buffer.dtype), len(active)
    whole = types.many(kind, width)
    used = [n * step for n in range(width) if active[n]]
    first, last = (used[0], used[-1]) if used else (0, -1)
    result = "zeroinitializer"
    for part in range(step):
        start = part * width
        if start > last or start + width <= first:
            continue
        source = pointer
        if start:
            source = context.function.value(f"getelementptr {kind}, ptr {pointer}, i64 {start}")
        needed = lane_mask([first <= start + n <= last for n in range(width)])
        loaded = load_lanes(context, buffer, source, needed)
        order = [
            width + place - start if place in used and start <= place < start + width else lane
            for lane, place in enumerate(range(0, width * step, step))
        ]
        picked = types.constants(order, "i32")
        result = context.function.value(
            f"shufflevector {whole} {result}, {whole} {loaded}, <{width} x i32> {picked}"
        )
    return result


def _gather_from(
    context: Context, buffer: Buffer, pointer: str, step: int, mask: str | None
) -> str:
    assert context.lane is not None
    kind = "i32" if abs(step) * context.lane.width < _INT32 else "i64"
    places = types.constants([step * n for n in range(context.lane.width)], kind)
    return _gather_at(context, buffer, pointer, places, kind, mask)


def _gather(
    context: Context, buffer: Buffer, affine: Affine, mask: str | None, dynamic: str
) -> str:
    places = context.steps(affine)
    assert context.lane is not None
    whole = types.many("i64", context.lane.width)
    total = context.function.value(f"add {whole} {places}, {dynamic}")
    return _gather_at(context, buffer, context.pointers[buffer], total, "i64", mask)


def _gather_at(
    context: Context, buffer: Buffer, pointer: str, places: str, place_kind: str, mask: str | None
) -> str:
    assert context.lane is not None
    kind, align, width = types.memory_type(buffer.dtype), buffer.dtype.itemsize, context.lane.width
    whole, flags = types.many(kind, width), types.many("i1", width)
    pointers = context.function.value(
        f"getelementptr {kind}, ptr {pointer}, {types.many(place_kind, width)} {places}"
    )
    symbol = f"llvm.masked.gather.{types.suffix(kind, width)}.{types.suffix('ptr', width)}"
    group = types.many("ptr", width)
    context.function.module.declare(
        symbol, f"declare {whole} @{symbol}({group}, i32, {flags}, {whole})"
    )
    used = mask or types.constant("true", "i1", width)
    return context.function.value(
        f"call {whole} @{symbol}({group} {pointers}, i32 {align}, {flags} {used}, "
        f"{whole} zeroinitializer)"
    )
