"""Loops and addresses written into a function: what packing, tiles and micro-kernels share.

Takes: counts and strides, as numbers or names of values. Gives: blocks of LLVM IR.
The one idea: counters and pointers live in stack slots, which LLVM's `sroa` turns into registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from chainrule.codegen.text import Function

# LLVM's names of the element types that contractions are computed in.
KINDS = {"float32": "float", "float64": "double"}


@contextmanager
def counted(f: Function, count: str | int, *, sure: bool = False) -> Iterator[str]:
    """Write a loop that runs ``count`` times; its body is written inside ``with``.

    Args:
        f: The function.
        count: How often, as a number or the name of an i64.
        sure: Whether it runs at least once, so that it is tested at the bottom only.
    """
    with stepped(f, 0, count, 1, sure=sure or (isinstance(count, int) and count > 0)) as i:
        yield i


@contextmanager
def stepped(
    f: Function, start: str | int, stop: str | int, step: int, *, sure: bool = False
) -> Iterator[str]:
    """Write a loop over ``range(start, stop, step)``; yields the name of its variable."""
    slot = f.alloca("i64", align=8)
    f.effect(f"store i64 {start}, ptr {slot}")
    head, body, after = f.new_label("head"), f.new_label("body"), f.new_label("after")
    f.effect(f"br label %{body if sure else head}")
    if not sure:
        f.begin(head)
        first = f.value(f"load i64, ptr {slot}")
        more = f.value(f"icmp slt i64 {first}, {stop}")
        f.effect(f"br i1 {more}, label %{body}, label %{after}")
    f.begin(body)
    i = f.value(f"load i64, ptr {slot}")
    yield i
    following = f.hidden("i64", f.value(f"add i64 {i}, {step}"))
    f.effect(f"store i64 {following}, ptr {slot}")
    again = f.value(f"icmp slt i64 {following}, {stop}")
    f.effect(f"br i1 {again}, label %{body}, label %{after}")
    f.begin(after)


@dataclass(slots=True)
class Variables:
    """Values that rounds of a loop pass on: LLVM types, and names of what they are at present."""

    kinds: list[str]
    values: list[str]


@contextmanager
def repeated(f: Function, count: str | int, *groups: Variables) -> Iterator[None]:
    """Write a loop that runs ``count`` times; its body sets what variables are in the next round.

    Values need no stack slots, which for large tiles are half of the text.
    """
    counter = Variables(["i64"], ["0"])
    groups = (*groups, counter)
    kinds = [kind for group in groups for kind in group.kinds]
    first = [value for group in groups for value in group.values]
    before, body, after = f.label, f.new_label("body"), f.new_label("after")
    sure = isinstance(count, int) and count > 0
    more = "true" if sure else f.value(f"icmp sgt i64 {count}, 0")
    f.effect(f"br label %{body}" if sure else f"br i1 {more}, label %{body}, label %{after}")
    f.begin(body)
    now = [f"%{f.new_label('now')}" for _ in first]
    phis = f.place()
    _set(groups, now)
    yield
    following = f.hidden("i64", f.value(f"add i64 {counter.values[0]}, 1"))
    counter.values = [following]
    last = [value for group in groups for value in group.values]
    for name, kind, old, new in zip(now, kinds, first, last, strict=True):
        phis.append(f"  {name} = phi {kind} [ {old}, %{before} ], [ {new}, %{f.label} ]")
    again = f.value(f"icmp slt i64 {following}, {count}")
    f.effect(f"br i1 {again}, label %{body}, label %{after}")
    end = f.label
    f.begin(after)
    if not sure:
        _set(
            groups,
            [
                f.value(f"phi {kind} [ {old}, %{before} ], [ {new}, %{end} ]")
                for kind, old, new in zip(kinds, first, last, strict=True)
            ],
        )


def _set(groups: Sequence[Variables], values: list[str]) -> None:
    """Give variables these values, in order."""
    for group in groups:
        group.values, values = values[: len(group.kinds)], values[len(group.kinds) :]


@contextmanager
def only_if(f: Function, condition: str) -> Iterator[None]:
    """Write a block that runs where an i1 holds."""
    then, after = f.new_label("then"), f.new_label("after")
    f.effect(f"br i1 {condition}, label %{then}, label %{after}")
    f.begin(then)
    yield
    f.effect(f"br label %{after}")
    f.begin(after)


def variants(f: Function, part: str | int, sizes: Sequence[int], border: int) -> Iterator[int]:
    """Yield the size of the parts before a border and that of the rest, each written for itself."""
    if len(sizes) == 1:
        yield sizes[0]
        return
    for size, test in zip(sizes, ("slt", "sge"), strict=True):
        with only_if(f, f.value(f"icmp {test} i64 {part}, {border}")):
            yield size


def times(f: Function, value: str | int, factor: int) -> str | int:
    """Write a product; numbers are multiplied here."""
    if isinstance(value, int):
        return value * factor
    if factor in (0, 1):
        return value if factor else 0
    return f.value(f"mul i64 {value}, {factor}")


def plus(f: Function, *values: str | int) -> str | int:
    """Write a sum; numbers are added here."""
    number = sum(v for v in values if isinstance(v, int))
    names = [v for v in values if isinstance(v, str)]
    if not names:
        return number
    total = names[0]
    for name in names[1:]:
        total = f.value(f"add i64 {total}, {name}")
    return f.value(f"add i64 {total}, {number}") if number else total


def smaller(f: Function, x: str | int, y: str | int) -> str | int:
    """Write the minimum of two numbers."""
    if isinstance(x, int) and isinstance(y, int):
        return min(x, y)
    f.module.declare("llvm.smin.i64", "declare i64 @llvm.smin.i64(i64, i64)")
    return f.value(f"call i64 @llvm.smin.i64(i64 {x}, i64 {y})")


def divided(f: Function, value: str | int, by: int) -> tuple[str | int, str | int]:
    """Write quotient and remainder of a non-negative value by a positive number."""
    if by == 1:
        return value, 0
    if isinstance(value, int):
        return divmod(value, by)
    return f.value(f"udiv i64 {value}, {by}"), f.value(f"urem i64 {value}, {by}")


def positions(f: Function, value: str | int, extents: Sequence[int]) -> list[str | int]:
    """Write the row-major position that belongs to a flat number."""
    found: list[str | int] = [0] * len(extents)
    moving = [n for n, extent in enumerate(extents) if extent > 1]
    for n in reversed(moving[1:]):
        value, found[n] = divided(f, value, extents[n])
    if moving:
        found[moving[0]] = value
    return found


def affine(f: Function, offset: int, terms: Sequence[tuple[str | int, int]]) -> str | int:
    """Write ``offset + Σ value · coefficient``."""
    return plus(f, offset, *(times(f, value, c) for value, c in terms if c))


def shifted(f: Function, pointer: str, kind: str, by: str | int) -> str:
    """Write the address ``by`` elements behind a pointer."""
    if by == 0:
        return pointer
    return f.value(f"getelementptr {kind}, ptr {pointer}, i64 {by}")


def argument(f: Function, number: int) -> str:
    """Write the load of an entry of ``%args``."""
    place = shifted(f, "%args", "ptr", number)
    return f.value(f"load ptr, ptr {place}")


class Cursor:
    """A pointer that loops move along.

    Args:
        f: The function.
        pointer: Where it starts.
        kind: LLVM type of the elements that it counts.
    """

    def __init__(self, f: Function, pointer: str, kind: str) -> None:
        self.f, self.kind = f, kind
        self.slot = f.alloca("ptr", align=8)
        self.set(pointer)

    def get(self) -> str:
        """Write the load of its address."""
        return self.f.value(f"load ptr, ptr {self.slot}")

    def set(self, pointer: str) -> None:
        """Write the store of an address."""
        self.f.effect(f"store ptr {pointer}, ptr {self.slot}")

    def move(self, pointer: str, by: int) -> None:
        """Set it to an address plus a number of elements."""
        if by:
            self.set(self.f.hidden("ptr", shifted(self.f, pointer, self.kind, by)))


def mask_text(lanes: int, used: int) -> str:
    """Return the constant mask whose first lanes are on."""
    bits = ", ".join("i1 true" if i < used else "i1 false" for i in range(lanes))
    return f"<{bits}>"


def load_vector(f: Function, kind: str, lanes: int, pointer: str, used: int) -> str:
    """Write the load of the first ``used`` elements of a vector; the others are zero."""
    size = 4 if kind == "float" else 8
    vector = f"<{lanes} x {kind}>"
    if used >= lanes:
        return f.value(f"load {vector}, ptr {pointer}, align {size}")
    name = f"llvm.masked.load.v{lanes}f{8 * size}.p0"
    mask = f"<{lanes} x i1>"
    f.module.declare(name, f"declare {vector} @{name}(ptr, i32, {mask}, {vector})")
    args = f"ptr {pointer}, i32 {size}, {mask} {mask_text(lanes, used)}, {vector} zeroinitializer"
    return f.value(f"call {vector} @{name}({args})")


def store_vector(f: Function, kind: str, lanes: int, value: str, pointer: str, used: int) -> None:
    """Write the store of the first ``used`` elements of a vector."""
    size = 4 if kind == "float" else 8
    vector = f"<{lanes} x {kind}>"
    if used >= lanes:
        f.effect(f"store {vector} {value}, ptr {pointer}, align {size}")
        return
    name = f"llvm.masked.store.v{lanes}f{8 * size}.p0"
    mask = f"<{lanes} x i1>"
    f.module.declare(name, f"declare void @{name}({vector}, ptr, i32, {mask})")
    args = f"{vector} {value}, ptr {pointer}, i32 {size}, {mask} {mask_text(lanes, used)}"
    f.effect(f"call void @{name}({args})")
