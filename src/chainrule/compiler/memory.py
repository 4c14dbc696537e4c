"""Memory: where each buffer lives.

Takes: steps in order, and the buffers of the caller. Gives: the byte offset of every other
buffer in one arena.
The one idea: which buffers live at the same time is known before anything runs, so memory is
laid out once, and a result takes over the memory of an operand that nobody reads again.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import Branch, Check, HostCall, Launch, Repeat, Step, While, steps_inside
from chainrule.ir.verifier import in_place

ALIGNMENT = 64


def touched(step: Step) -> tuple[tuple[Buffer, ...], tuple[Buffer, ...]]:
    """Return the buffers that a step reads (or may read), and those that it writes."""
    if isinstance(step, Launch):
        kernel = step.kernel
        pairs = list(zip(kernel.buffers, step.arguments, strict=True))
        return step.arguments, tuple(b for own, b in pairs if own in kernel.written)
    if isinstance(step, HostCall):
        return tuple(buffer for buffer, _ in step.inputs), (step.output[0],)
    if isinstance(step, Check):
        return (step.ok,), ()
    views: dict[Buffer, Buffer] = {}
    if isinstance(step, Repeat):
        views = {inner: outer for inner, outer, _, _ in step.views}
    # Nothing writes or reads what has no elements, but views of it need a place too.
    reads, writes = [*flags(step), *(b for b in views.values() if not b.size)], []
    for source, target in carried(step):
        reads.append(source)
        writes.append(target)
    for part in steps_inside(step):
        found = touched(part)
        reads.extend(found[0])
        writes.extend(found[1])
    return (
        tuple(dict.fromkeys(views.get(b, b) for b in reads)),
        tuple(dict.fromkeys(views.get(b, b) for b in writes)),
    )


def flags(step: Step) -> tuple[Buffer, ...]:
    """Return the bools that decide what a step does."""
    if isinstance(step, Branch):
        return (step.condition,)
    return (step.ok,) if isinstance(step, While) else ()


def carried(step: Step) -> tuple[tuple[Buffer, Buffer], ...]:
    """Return what a loop copies after each round."""
    return step.carried if isinstance(step, Repeat | While) else ()


def viewed(step: Step) -> set[Buffer]:
    """Return the buffers of which a loop sees another part in each round."""
    return {outer for _, outer, _, _ in step.views} if isinstance(step, Repeat) else set()


def laid_out(
    steps: Sequence[Step], outside: Iterable[Buffer], kept: Iterable[Buffer] = ()
) -> tuple[dict[Buffer, int], int]:
    """Return the byte offset of each buffer that is not the caller's, and the arena's size.

    Args:
        steps: In order.
        outside: Buffers of the caller, and constants.
        kept: Buffers that are needed after the steps.
    """
    given = set(outside)
    last: dict[Buffer, int] = {}
    for number, step in enumerate(steps):
        for buffers in touched(step):
            for buffer in buffers:
                if buffer not in given:
                    last[buffer] = number
    last.update((buffer, len(steps)) for buffer in kept if buffer in last)
    arena = _Arena()
    offsets: dict[Buffer, int] = {}
    for number, step in enumerate(steps):
        reads, writes = touched(step)
        inside = steps_inside(step)
        if inside:
            own = {b for b in (*reads, *writes) if last.get(b) == number and b not in offsets}
            own -= viewed(step)  # they are larger than what a round sees of them
            writes = tuple(b for b in writes if b not in own)
        # What has no elements has a place, but no memory: nothing is taken or given back.
        offsets.update((b, 0) for b in (*reads, *writes) if not b.size and b not in given)
        dying = dict.fromkeys(b for b in reads if b.size and last.get(b) == number and b in offsets)
        for buffer in dict.fromkeys(writes):
            if buffer in given or buffer in offsets:
                continue
            heir = _inherited(step, buffer, dying)
            if heir is None:
                offsets[buffer] = arena.take(_bytes(buffer))
            else:
                offsets[buffer] = offsets[heir]
                del dying[heir]
            if last[buffer] == number:
                dying[buffer] = None
        if inside:
            _lay_out_inside(step, own, given, offsets, arena)
        for buffer in dying:
            arena.give(offsets[buffer], _bytes(buffer))
    return offsets, arena.size


def _lay_out_inside(
    step: Step, own: set[Buffer], given: set[Buffer], offsets: dict[Buffer, int], arena: _Arena
) -> None:
    """Give the buffers that only a loop or branch uses their places, in one stretch."""
    inside = steps_inside(step)
    touching = {buffer for part in inside for found in touched(part) for buffer in found}
    ends = [*flags(step), *(source for source, _ in carried(step))]
    found, size = laid_out(inside, given | (touching - own), ends)
    if size:
        start = arena.take(size)
        offsets.update((buffer, start + at) for buffer, at in found.items())
        arena.give(start, size)
    else:
        offsets.update(found)


def _bytes(buffer: Buffer) -> int:
    size = max(buffer.size * buffer.dtype.itemsize, 1)
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Arena:
    """Free stretches of memory, sorted by offset."""

    def __init__(self) -> None:
        self.size = 0
        self.free: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        """Return the offset of a stretch: in the smallest free one, or at the end."""
        fits = [(length, at) for at, length in self.free if length >= size]
        if fits:
            length, at = min(fits)
            self.free.remove((at, length))
            if length > size:
                bisect.insort(self.free, (at + size, length - size))
            return at
        if self.free and sum(self.free[-1]) == self.size:
            at, _ = self.free.pop()
        else:
            at = self.size
        self.size = at + size
        return at

    def give(self, at: int, size: int) -> None:
        """Free a stretch."""
        n = bisect.bisect(self.free, (at, 0))
        if n < len(self.free) and self.free[n][0] == at + size:
            size += self.free.pop(n)[1]
        if n and sum(self.free[n - 1]) == at:
            before = self.free.pop(n - 1)
            at, size, n = before[0], before[1] + size, n - 1
        self.free.insert(n, (at, size))


def _inherited(step: Step, output: Buffer, dying: dict[Buffer, None]) -> Buffer | None:
    """Return the operand whose memory an output can take over."""
    if not isinstance(step, Launch) or not dying:
        return None
    same = [b for b in dying if b.dtype.itemsize == output.dtype.itemsize and b.size == output.size]
    return next((b for b in same if in_place(step.kernel, b, output)), None)
