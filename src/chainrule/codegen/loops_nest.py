"""Nests: statements and the loops round them.

Takes: statements of a kernel. Gives: instructions, with vector loops in whole vectors and a rest.
The one idea: the rest runs the very same arithmetic with lanes masked off, so results do not
depend on where a loop ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.codegen import loops_accumulators as accumulators
from chainrule.codegen import types
from chainrule.codegen.loops_context import Bound, Context, Lane
from chainrule.codegen.loops_memory import canonical, lane_mask
from chainrule.codegen.loops_shape import (
    accumulated,
    always_guarded,
    changed_by,
    loops_in,
    reads,
    vector_width,
    weight,
)
from chainrule.codegen.loops_stores import store_all
from chainrule.codegen.loops_values import Values
from chainrule.codegen.text import Function, Lines
from chainrule.ir.expr import Acc, Axis, Index, Within
from chainrule.ir.kernel import Accumulate, Declare, Loop, Statement, Store

# Serial loops of up to so many iterations are written out, if that stays below the next limit.
_WRITTEN_ITERATIONS = 16
# Instructions of straight code: of loops that are written out, and of vectors worked on at once;
# LLVM takes more time than in proportion to their number.
_LONGEST = 500
_LONGEST_AT_ONCE = 250


class Nest:
    """Writes statements in a context.

    Args:
        context: Where to write.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.values = Values(context)
        # Reductions whose partial vectors live only as long as the vector loop.
        self._short: set[Acc] = set()

    @property
    def _function(self) -> Function:
        return self.context.function

    def statements(self, body: Sequence[Statement]) -> None:
        """Write statements one after the other."""
        finished: dict[int, list[Acc]] = {}
        at = 0
        while at < len(body):
            statement = body[at]
            if isinstance(statement, Store):
                end = at
                while end < len(body) and isinstance(body[end], Store):
                    end += 1
                run = [s for s in body[at:end] if isinstance(s, Store)]
                store_all(self.context, self.values, run)
                at = end
                continue
            if isinstance(statement, Declare):
                self._declare(statement.acc, body, at, finished)
            elif isinstance(statement, Accumulate):
                self._accumulate(statement)
            else:
                self._loop(statement)
            for acc in finished.pop(at, ()):
                accumulators.fold(self.context, acc)
            at += 1

    # --- reductions ----------------------------------------------------------------------------

    def _declare(
        self, acc: Acc, body: Sequence[Statement], at: int, finished: dict[int, list[Acc]]
    ) -> None:
        """Begin a reduction; vectors of partial results live until its last update here."""
        partial: dict[int, int] = {}
        self._short.discard(acc)
        if self.context.lane is None:
            users = [n for n in range(at + 1, len(body)) if acc in accumulated(body[n])]
            loops = [loop for n in users for loop in loops_in(body[n]) if loop.vector]
            for loop in (loop for loop in loops if acc in accumulated(loop)):
                width, copies = self._vectors(loop)
                if width > 1:
                    partial[width] = max(partial.get(width, 0), copies)
            if partial and any(acc in reads(body[n]) for n in range(users[0], users[-1] + 1)):
                partial = {}
                self._short.add(acc)
            if partial:
                finished.setdefault(users[-1], []).append(acc)
        accumulators.declare(self.context, acc, partial)

    def _accumulate(self, statement: Accumulate) -> None:
        lane = self.context.lane
        copies = lane.copies if lane else 1
        texts = []
        for copy in range(copies):
            if lane is None:
                texts.append(self.values.value(statement.value, copy).text)
            else:
                texts.append(self.values.vector(statement.value, copy))
        for copy, text in enumerate(texts):
            accumulators.accumulate(self.context, statement.acc, text, copy)
        self.context.forget(statement.acc)

    # --- loops ---------------------------------------------------------------------------------

    def _loop(self, loop: Loop) -> None:
        if not loop.axis.extent:
            return
        width, copies = self._vectors(loop) if loop.vector else (1, 1)
        if width == 1 or self.context.lane is not None:
            self._serial(loop)
            return
        short = [acc for acc in accumulated(loop) if acc in self._short]
        for acc in short:
            accumulators.begin_parts(self.context, acc, width, copies)
        guard = always_guarded(loop)
        if guard is not None:
            self._guarded(loop, width, copies, guard)
        else:
            self._vector(loop, width, copies, 0, loop.axis.extent)
        for acc in short:
            accumulators.fold(self.context, acc)

    def _vectors(self, loop: Loop) -> tuple[int, int]:
        """Return how many lanes a vector has, and how many vectors are worked on at once."""
        extent = loop.axis.extent
        width = vector_width(loop, self.context.target)
        while width > 1 and width // 2 >= extent:
            width //= 2
        most = max(1, _LONGEST_AT_ONCE // weight(loop.body, loop.axis, width))
        return width, max(1, min(loop.unroll, most, -(-extent // width)))

    def _serial(self, loop: Loop) -> None:
        extent = loop.axis.extent
        if _is_written_out(loop, self.context.lane):
            for value in range(extent):
                self._iteration(loop, Bound(None, value))
            return
        step = max(1, min(loop.unroll, extent)) if not loop.vector else 1
        # A loop of one round is none: LLVM would find out, and make constants of its masks.
        whole = extent - extent % step if step < extent else 0
        ahead = self._function.place()
        changed = changed_by(loop.body)
        if whole:
            with self._function.loop(0, whole, step, entered=True, strided=True) as counter:
                axis = loop.axis if step == 1 else Axis("", 1)
                with self.context.scope({axis: Bound(counter)}, changed, ahead):
                    if step == 1:
                        self.statements(loop.body)
                    else:
                        for number in range(step):
                            self._iteration(loop, Bound(counter, number))
        for value in range(whole, extent):
            self._iteration(loop, Bound(None, value))

    def _iteration(self, loop: Loop, bound: Bound) -> None:
        """Write one iteration of a loop that is written out."""
        ahead = self._function.place()
        with self.context.scope({loop.axis: bound}, changed_by(loop.body), ahead):
            self.statements(loop.body)

    def _vector(self, loop: Loop, width: int, copies: int, first: int, last: int) -> None:
        """Write a vector loop: whole groups of vectors in a loop, then the rest in one go."""
        step = width * copies
        middle = last - (last - first) % step
        if middle > first + step:
            ahead = self._function.place()
            with self._function.loop(first, middle, step, entered=True) as counter:
                self._group(loop, Bound(counter), width, (None,) * copies, ahead)
        elif middle > first:
            self._group(loop, Bound(None, first), width, (None,) * copies, self._function.place())
        rest = last - middle
        if rest:
            masks: list[str | None] = [None] * (rest // width)
            if rest % width:
                masks.append(lane_mask([n < rest % width for n in range(width)]))
            bound = Bound(None, middle)
            self._group(loop, bound, width, tuple(masks), self._function.place())

    def _guarded(self, loop: Loop, width: int, copies: int, guard: Within) -> None:
        """Write a vector loop over those iterations only in which a condition holds."""
        terms = tuple(term for term in guard.index.terms if term[0] is not loop.axis)
        base = self.context.affine(Index(terms, guard.index.offset), 0)
        extent = loop.axis.extent
        self.context.assumed.add(canonical(guard))
        if base.value is None:
            first, last = max(0, -base.offset), min(extent, guard.size - base.offset)
            if first < last:
                self._vector(loop, width, copies, first, last)
        else:
            begin = self._function.value(f"sub i64 {-base.offset}, {base.value.text}")
            end = self._function.value(f"add i64 {begin}, {guard.size}")
            begin = types.intrinsic(self._function, "smax", "i64", 1, (begin, "0"))
            end = types.intrinsic(self._function, "smin", "i64", 1, (end, str(extent)))
            self._between(loop, width, copies, begin, end)
        self.context.assumed.discard(canonical(guard))

    def _between(self, loop: Loop, width: int, copies: int, first: str, last: str) -> None:
        """Write a vector loop whose bounds are known only when it runs."""
        function, step = self._function, width * copies
        count = function.value(f"sub i64 {last}, {first}")
        none = function.value(f"icmp slt i64 {count}, 0")
        count = function.value(f"select i1 {none}, i64 0, i64 {count}")
        rest = function.value(f"urem i64 {count}, {step}")
        whole = function.value(f"sub i64 {count}, {rest}")
        middle = function.value(f"add i64 {first}, {whole}")
        ahead = function.place()
        with function.loop(first, middle, step) as counter:
            self._group(loop, Bound(counter), width, (None,) * copies, ahead)
        ahead = function.place()
        with function.loop(middle, last, width) as counter:
            left = function.value(f"sub i64 {last}, {counter}")
            short = function.value(f"trunc i64 {left} to i32")
            limit = types.splat(function, short, "i32", width)
            ramp = types.constants(range(width), "i32")
            mask = function.value(f"icmp ult <{width} x i32> {ramp}, {limit}")
            self._group(loop, Bound(counter), width, (mask,), ahead)

    def _group(
        self, loop: Loop, bound: Bound, width: int, masks: tuple[str | None, ...], ahead: Lines
    ) -> None:
        """Write the body once, for as many vectors as there are masks."""
        with self.context.scope({loop.axis: bound}, changed_by(loop.body), ahead):
            lane = Lane(loop.axis, width, len(masks), masks)
            with self.context.lanes(lane):
                self.statements(loop.body)


def _is_written_out(loop: Loop, lane: Lane | None) -> bool:
    """Return whether a serial loop is so small that it is written iteration by iteration."""
    if loop.axis.extent == 1:
        return True
    loops = loops_in(loop)
    if any(inner.vector for inner in loops):
        return False
    iterations = math.prod(inner.axis.extent for inner in loops)
    if iterations > _WRITTEN_ITERATIONS:
        return False
    axis, width, copies = (lane.axis, lane.width, lane.copies) if lane else (None, 1, 1)
    return iterations * copies * weight(loop.body, axis, width) <= _LONGEST
