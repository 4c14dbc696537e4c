"""Verifier of plans: every element is written before it is read, and nothing lives in two places.

Takes: a plan. Gives: nothing, or an error that names the rule it breaks.
The one idea: steps have numbers, each buffer lives from its first use to its last, and what
lives at one time must not share memory, but for an update in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chainrule.core.dtype import bool_
from chainrule.core.errors import ChainruleError, StateError
from chainrule.ir.expr import Buffer, Ref
from chainrule.ir.kernel import (
    Branch,
    Check,
    Contraction,
    HostCall,
    Kernel,
    Launch,
    Plan,
    Repeat,
    Statement,
    Step,
    While,
)
from chainrule.ir.verifier import accesses, in_place, verify_kernel

_ALIGNMENT = 64


def verify_plan(plan: Plan, shared: Mapping[Buffer, Buffer] | None = None) -> None:
    """Check that a plan keeps its rules, and each of its kernels.

    Args:
        plan: The plan.
        shared: For outputs whose memory is that of an input, the input.

    Raises:
        StateError: It breaks one; the message names plan and rule.
    """
    try:
        _Checker(plan, shared or {}).check()
    except ChainruleError as error:
        raise StateError(
            f"plan {plan.name}: {error.message}", hint="this is a bug in chainrule"
        ) from error


@dataclass(slots=True)
class _Life:
    """Numbers of the first and the last step that use a buffer."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a buffer lies: in which memory, at which byte, and how far that moves in a round.

    Over all rounds it begins at most ``down`` bytes before, and ``up`` bytes behind ``start``.
    """

    memory: object
    start: int
    size: int
    moves: tuple[int, ...] = ()
    down: int = 0
    up: int = 0

    def disjoint(self, other: _Place) -> bool:
        """Return whether two places share no byte."""
        if self.memory is not other.memory:
            return True
        if not self.size or not other.size:
            return True
        apart = self.start + self.size <= other.start or other.start + other.size <= self.start
        return (apart and self.moves == other.moves) or self.before(other) or other.before(self)

    def before(self, other: _Place) -> bool:
        """Return whether a place always ends before another one begins."""
        return self.start + self.up + self.size <= other.start - other.down

    def same_start(self, other: _Place) -> bool:
        """Return whether two places begin at one byte."""
        return self.start == other.start and self.moves == other.moves


@dataclass(slots=True)
class _Checker:
    """The checks of one plan, and what they have seen so far."""

    plan: Plan
    shared: Mapping[Buffer, Buffer]
    places: dict[Buffer, _Place] = field(default_factory=dict)
    written: set[Buffer] = field(default_factory=set)
    writable: set[Buffer] = field(default_factory=set)
    lives: dict[Buffer, _Life] = field(default_factory=dict)
    verified: set[Kernel | Contraction] = field(default_factory=set)
    launches: set[int] = field(default_factory=set)
    number: int = 0
    output_written: bool = False

    def check(self) -> None:
        """Check the plan."""
        plan = self.plan
        self.declare()
        for buffer, content in plan.constants.items():
            if math.prod(content.shape) != buffer.size:
                raise StateError(f"constant {buffer.name} has {content.shape}, not {buffer.size}")
        self.written |= {*plan.inputs, *plan.constants}
        self.writable |= {*plan.outputs, *plan.temporaries}
        self.steps(plan.steps)
        for buffer in plan.outputs:
            if buffer not in self.written and buffer.size:
                raise StateError(f"output {buffer.name} is never written")
        self.no_overlaps()

    def declare(self) -> None:
        """Check that each buffer has one place."""
        plan = self.plan
        for buffer in (*plan.inputs, *plan.outputs, *plan.constants, *plan.temporaries):
            if buffer in self.places:
                raise StateError(f"{buffer.name} is declared twice")
            size = buffer.size * buffer.dtype.itemsize
            self.places[buffer] = _Place(buffer, 0, size)
            if buffer in self.shared:
                self.places[buffer] = _Place(self.shared[buffer], 0, size)
            if buffer in plan.temporaries:
                offset = plan.temporaries[buffer]
                if offset % _ALIGNMENT or offset < 0 or offset + size > plan.arena:
                    raise StateError(
                        f"temporary {buffer.name} at {offset}, {size} bytes, is not aligned "
                        f"inside of an arena of {plan.arena}"
                    )
                self.places[buffer] = _Place(plan, offset, size)

    def steps(self, steps: Iterable[Step]) -> None:
        """Check steps in order."""
        for step in steps:
            self.number += 1
            if isinstance(step, Launch):
                self.launch(step)
            elif isinstance(step, HostCall):
                self.host_call(step)
            elif isinstance(step, Check):
                self.assertion(step)
            elif isinstance(step, Branch):
                self.branch(step)
            elif isinstance(step, While):
                self.loop(step)
            else:
                self.repeat(step)

    def use(self, buffer: Buffer) -> None:
        """Note that a step uses a buffer."""
        if buffer not in self.places:
            raise StateError(f"step {self.number} uses {buffer.name}, which lives nowhere")
        self.lives.setdefault(buffer, _Life(self.number, self.number)).last = self.number

    def read(self, buffer: Buffer) -> None:
        """Note that a step reads a buffer."""
        self.use(buffer)
        if buffer not in self.written and buffer.size:
            raise StateError(f"step {self.number} reads {buffer.name} before it is written")

    def write(self, buffer: Buffer) -> None:
        """Note that a step writes a buffer."""
        self.use(buffer)
        if buffer not in self.writable:
            raise StateError(f"step {self.number} writes {buffer.name}, which is given")
        self.written.add(buffer)
        self.output_written |= any(
            self.places[buffer].memory is self.places[out].memory for out in self.plan.outputs
        )

    def launch(self, step: Launch) -> None:
        """Check a launch."""
        kernel = step.kernel
        if kernel not in self.verified:
            verify_kernel(kernel)
            self.verified.add(kernel)
        if len(kernel.buffers) != len(step.arguments):
            raise StateError(f"{kernel.name} got {len(step.arguments)} buffers")
        given = dict(zip(kernel.buffers, step.arguments, strict=True))
        for own, buffer in given.items():
            if own.dtype is not buffer.dtype or own.size != buffer.size:
                raise StateError(
                    f"{kernel.name}: {own.name} is {own.dtype.name}[{own.size}], "
                    f"got {buffer.dtype.name}[{buffer.size}]"
                )
        for own in _needed(kernel):
            self.read(given[own])
        for own in kernel.written:
            self.write(given[own])
        self.launches.add(self.number)
        self.no_clash(kernel, given)

    def no_clash(self, kernel: Kernel | Contraction, given: Mapping[Buffer, Buffer]) -> None:
        """Check that what a launch writes shares memory with no other argument, or in place."""
        for target in kernel.written:
            place = self.places[given[target]]
            for own, buffer in given.items():
                other = self.places[buffer]
                if own is target or place.disjoint(other):
                    continue
                if not place.same_start(other) or not in_place(kernel, own, target):
                    raise StateError(
                        f"{kernel.name} writes {given[target].name} over {buffer.name}, "
                        "which it cannot do in place"
                    )

    def host_call(self, step: HostCall) -> None:
        """Check a call of an op."""
        target = step.output[0]
        for buffer, sizes in (*step.inputs, step.output):
            if math.prod(sizes) != buffer.size:
                raise StateError(f"{step.op.name}: {buffer.name} has {buffer.size}, not {sizes}")
        for buffer, _ in step.inputs:
            self.read(buffer)
            if not self.places[target].disjoint(self.places[buffer]):
                raise StateError(f"{step.op.name} writes {target.name} over {buffer.name}")
        self.write(target)

    def assertion(self, step: Check) -> None:
        """Check a check."""
        self.read(step.ok)
        if step.ok.dtype is not bool_ or step.ok.size != 1:
            raise StateError(f"a check reads {step.ok.name}, which is not one bool")
        if self.output_written:
            raise StateError(f"a check of {step.ok.name} comes after an output is written")

    def repeat(self, step: Repeat) -> None:
        """Check a loop of steps."""
        if step.count < 0:
            raise StateError(f"a loop runs {step.count} times")
        start = self.number
        outer_written = set(self.written)
        for inner, outer, first, stride in step.views:
            self.view(inner, outer, first, stride, step.count)
        self.steps(step.steps)
        targets = self.carry(step.carried)
        self.keep_alive(step.views, start, outer_written | targets)

    def branch(self, step: Branch) -> None:
        """Check a branch; only what both sides write is written after it."""
        self.flag(step.condition)
        before = set(self.written)
        self.steps(step.true)
        first, self.written = self.written, set(before)
        self.steps(step.false)
        self.written &= first

    def loop(self, step: While) -> None:
        """Check a loop with a condition."""
        start = self.number
        before = set(self.written)
        self.steps(step.test)
        self.number += 1
        self.flag(step.ok)
        tested = set(self.written)
        self.steps(step.steps)
        targets = self.carry(step.carried)
        self.written = tested
        self.keep_alive((), start, before | targets)

    def flag(self, buffer: Buffer) -> None:
        """Check what a branch or loop depends on."""
        self.read(buffer)
        if buffer.dtype is not bool_ or buffer.size != 1:
            raise StateError(f"a condition is {buffer.name}, which is not one bool")

    def carry(self, carried: Iterable[tuple[Buffer, Buffer]]) -> set[Buffer]:
        """Check copies from one round to the next; return the targets."""
        targets: set[Buffer] = set()
        for source, target in carried:
            if source.dtype is not target.dtype or source.size != target.size:
                raise StateError(f"{source.name} is carried to {target.name}, which is another")
            if source in targets:
                raise StateError(f"{source.name} is carried after it was carried to")
            targets.add(target)
            self.number += 1
            self.read(source)
            self.write(target)
        return targets

    def view(self, inner: Buffer, outer: Buffer, first: int, stride: int, count: int) -> None:
        """Declare a moving part of a buffer."""
        if inner in self.places:
            raise StateError(f"view {inner.name} is declared twice")
        ends = (first, first + max(count - 1, 0) * stride)
        if min(ends) < 0 or max(ends) + inner.size > outer.size or inner.dtype is not outer.dtype:
            raise StateError(f"view {inner.name} is not inside of {outer.name}")
        self.use(outer)
        place, item = self.places[outer], inner.dtype.itemsize
        way = max(count - 1, 0) * stride * item
        self.places[inner] = _Place(
            *(place.memory, place.start + first * item, inner.size * item),
            (*place.moves, stride * item),
            place.down + max(-way, 0),
            place.up + max(way, 0),
        )
        if outer in self.written:
            self.written.add(inner)
        if outer in self.writable:
            self.writable.add(inner)

    def keep_alive(
        self,
        views: Iterable[tuple[Buffer, Buffer, int, int]],
        start: int,
        before: set[Buffer],
    ) -> None:
        """Let everything that more than one round needs live through all rounds."""
        for inner, outer, _, _ in views:
            if inner in self.written:
                self.written.add(outer)
            life = self.lives.pop(inner, None)
            if life is not None:
                self.lives[outer].last = self.number
                before.add(outer)
        for buffer in before:
            life = self.lives.get(buffer)
            if life is not None and life.last > start:
                life.first, life.last = min(life.first, start), self.number

    def no_overlaps(self) -> None:
        """Check that what lives at the same time shares no memory."""
        for output, given in self.shared.items():
            used, made = self.lives.get(given), self.lives.get(output)
            if used and made and not self.gives_way(used, made):
                raise StateError(f"{output.name} is written while {given.name} is still read")
        lives = [(b, self.lives[b]) for b in self.plan.temporaries if b in self.lives]
        lives.sort(key=lambda entry: entry[1].first)
        for n, (first, one) in enumerate(lives):
            for second, two in lives[n + 1 :]:
                if two.first > one.last:
                    break
                if self.places[first].disjoint(self.places[second]):
                    continue
                if self.gives_way(one, two):
                    continue
                raise StateError(f"{first.name} and {second.name} live at once in one memory")

    def gives_way(self, one: _Life, two: _Life) -> bool:
        """Return whether a life ends before another one begins, or with an update in place.

        Updates in place were looked at with their launch.
        """
        return one.last < two.first or (one.last == two.first and one.last in self.launches)


def _needed(kernel: Kernel | Contraction) -> set[Buffer]:
    """Return the arguments that must have been written before: all but those it writes first."""
    body: tuple[Statement, ...]
    if isinstance(kernel, Contraction):
        body = kernel.stores
        needed = {kernel.left.source, kernel.right.source}
    else:
        body, needed = kernel.body, set()
    found = sorted(accesses(body), key=lambda a: (a.path, a.writes and not a.adds))
    seen: set[Buffer | Ref] = set()
    for access in found:
        if access.buffer not in seen and (access.adds or not access.writes):
            needed.add(access.buffer)
        seen.add(access.buffer)
    return {buffer for buffer in kernel.buffers if buffer in needed}
