"""Plans of regions: loops and branches become steps around the steps of their bodies.

Takes: a region, where its inputs lie and where its results shall lie. Gives: steps.
The one idea: a round works in place: it sees slices as parts of stacks, and writes the next carry
over the last one wherever nobody reads that any more. Where a carry of every round is wanted
anyway, all lie one behind the other (`History`), so that a round writes the next one's carry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from chainrule.compiler.kernels import copied
from chainrule.compiler.memory import touched
from chainrule.compiler.nodes import Group, Host
from chainrule.compiler.program import Program, Region
from chainrule.core.dtype import Array, bool_
from chainrule.graph.op import Op
from chainrule.ir.expr import Buffer, Ref
from chainrule.ir.kernel import Branch, Launch, Repeat, Step, While
from chainrule.ir.verifier import in_place

Constants = dict[Buffer, Array]
Views = list[tuple[Buffer, Buffer, int, int]]
Carried = list[tuple[Buffer, Buffer]]


class Body(NamedTuple):
    """The steps of a program whose inputs and outputs lie in given buffers.

    Attributes:
        steps: In order.
        constants: Buffers that they read, with their elements.
        moved: Results of a region that lie elsewhere than given: the buffer, and where they begin.
    """

    steps: list[Step]
    constants: Constants
    moved: Mapping[int, tuple[Buffer, int]] = MappingProxyType({})


class History(NamedTuple):
    """A carry whose values in all rounds lie one behind the other, with what the loop begins with.

    Attributes:
        carry: Number of the carry.
        parts: Results that are parts of it, and where they begin: what each round begins with, and
            what each ends with.
        size: Elements of a value.
        buffer: All of them, one more than there are rounds.
        begin: Where the first round finds its carry.
        step: How far on a round puts the next one's.
    """

    carry: int
    parts: dict[int, int]
    size: int
    buffer: Buffer
    begin: int
    step: int


# From a program, the buffers of its inputs, and those of its outputs.
Build = Callable[[Program, Sequence[Buffer], Sequence[Buffer]], Body]


def region_of(group: Group) -> Region | None:
    """Return the region whose results a group makes, if it does."""
    formula = group.roots[0].node.formula
    region = formula.attrs.get("region") if isinstance(formula, Host) else None
    return region if isinstance(region, Region) else None


def has_checks(program: Program) -> bool:
    """Return whether a program, or a region in it, may find its inputs wrong."""
    inside = (body for region in program.regions() for body in region.bodies)
    return (
        bool(program.assertions)
        or any(type(i.op).condition is not Op.condition for i in program.instructions)
        or any(map(has_checks, inside))
    )


def region_steps(
    region: Region,
    inputs: Sequence[Buffer],
    begins: Sequence[int],
    results: dict[int, Buffer],
    origin: tuple[str, ...],
    build: Build,
    free: Collection[int] = (),
    shifted: Collection[int] = (),
) -> Body:
    """Return the steps that carry a region out.

    Args:
        region: The region.
        inputs: Where its inputs lie, row-major.
        begins: Where in there they begin; only stacks begin elsewhere than at the start.
        results: Where its results shall lie, row-major.
        origin: The user's layer and line.
        build: Makes the steps of a body.
        free: Results that may also be the start of a larger buffer.
        shifted: Those of them that may be any part of one.
    """
    outputs = [
        results.get(n) or _buffer(f"{region.kind}{n}", region, n) for n in range(region.outputs)
    ]
    kept = {history.carry: history for history in _histories(region, free, shifted)}
    plan = _Plan(region, inputs, begins, outputs, origin, build, kept, [], {})
    if region.kind == "cond":
        plan.branch()
    elif region.kind == "while":
        plan.loop()
    else:
        plan.scan()
        plan.end(results)
    moved = {n: (h.buffer, first) for h in kept.values() for n, first in h.parts.items()}
    return Body(plan.steps, plan.constants, moved)


def _histories(region: Region, free: Collection[int], shifted: Collection[int]) -> list[History]:
    """Return the carries of a loop whose values in all rounds should lie one behind the other."""
    if region.kind != "scan" or not region.length:
        return []
    body, found = region.bodies[0], []
    stacks = list(enumerate(body.outputs))[region.carry :]
    taken: set[int] = set()
    for n in range(region.carry):
        given, made = body.inputs[n], body.outputs[n]
        size, dtype = given.spec.size, given.spec.dtype
        # The last round of a loop that goes backwards puts what it ends with at the start.
        first, second = (size, 0) if region.reverse else (0, size)
        parts = {}
        for value, at in ((given, first), (made, second)):
            fits = shifted if at else free
            place = next((p for p, v in stacks if v is value and p in fits), None)
            if (
                place is not None
                and place not in taken
                and (value is given or made not in body.inputs)
            ):
                parts[place] = at
        if size and parts:
            taken.update(parts)
            buffer = Buffer(f"history{n}", dtype, (region.length + 1) * size)
            begin = region.length * size if region.reverse else 0
            step = -size if region.reverse else size
            found.append(History(n, parts, size, buffer, begin, step))
    return found


def _buffer(name: str, region: Region, place: int) -> Buffer:
    spec = region.spec(place)
    return Buffer(name, spec.dtype, spec.size)


@dataclass(slots=True, eq=False)
class _Plan:
    region: Region
    inputs: Sequence[Buffer]
    begins: Sequence[int]
    outputs: Sequence[Buffer]
    origin: tuple[str, ...]
    build: Build
    kept: dict[int, History]
    steps: list[Step]
    constants: Constants

    def scan(self) -> None:
        """Add the steps of a loop over slices."""
        region, count = self.region, self.region.carry
        self._begin(self.outputs[:count])
        if not region.length:
            return
        views: Views = []
        sizes = [value.spec.size for value in region.bodies[0].inputs]
        carry = [self._carry(n, views) for n in range(count)]
        slices = [
            self._view(self.inputs[n], sizes[n], views, self.begins[n])
            for n in range(count, region.fixed)
        ]
        given = [*carry, *slices, *self.inputs[region.fixed :]]
        laid = {place for history in self.kept.values() for place in history.parts}
        parts = {
            n: self._view(self.outputs[n], self.outputs[n].size // region.length, views)
            for n in range(count, region.outputs)
            if n not in laid
        }
        nexts = {n: self._carry(n, views, later=1) for n in self.kept}
        steps, carried = self._round(region.bodies[0], given, carry, parts, nexts)
        self.steps.append(Repeat(region.length, tuple(steps), tuple(views), tuple(carried)))

    def end(self, results: Collection[int]) -> None:
        """Copy the last carry from where all of them lie to where it is wanted."""
        for n, history in self.kept.items():
            if n in results:
                last = history.begin + self.region.length * history.step
                kernel = copied(history.buffer, self.outputs[n], history.size, last, 0)
                self.steps.append(Launch(kernel, kernel.buffers, self.origin))

    def loop(self) -> None:
        """Add the steps of a loop with a condition."""
        test, body = self.region.bodies
        carry = list(self.outputs)
        self._begin(carry)
        given = [*carry, *self.inputs[self.region.carry :]]
        ok = Buffer("ok", bool_, 1)
        tests = self._built(test, given, [ok])
        steps, carried = self._round(body, given, carry, {}, {})
        self.steps.append(While(tuple(tests), ok, tuple(steps), tuple(carried)))

    def branch(self) -> None:
        """Add the steps of a branch."""
        given = self.inputs[1:]
        true, false = (self._built(body, given, self.outputs) for body in self.region.bodies)
        self.steps.append(Branch(self.inputs[0], tuple(true), tuple(false)))

    # --- parts ------------------------------------------------------------------------------

    def _begin(self, carry: Sequence[Buffer]) -> None:
        """Copy what a loop begins with to where the carry lies."""
        for n, target in enumerate(carry):
            if target.size:
                history = self.kept.get(n)
                into, at = (history.buffer, history.begin) if history else (target, 0)
                kernel = copied(self.inputs[n], into, target.size, 0, at)
                self.steps.append(Launch(kernel, kernel.buffers, self.origin))

    def _carry(self, n: int, views: Views, later: int = 0) -> Buffer:
        """Return where a round finds a part of the carry, or where the round after it does."""
        if n not in self.kept:
            return self.outputs[n]
        _, _, size, outer, begin, step = self.kept[n]
        inner = Buffer(f"{outer.name}_t", outer.dtype, size)
        views.append((inner, outer, begin + later * step, step))
        return inner

    def _view(self, outer: Buffer, size: int, views: Views, begin: int = 0) -> Buffer:
        """Return what stands for a round's slice of a stack."""
        region = self.region
        inner = Buffer(f"{outer.name}_t", outer.dtype, size)
        first = begin + (size * (region.length - 1) if region.reverse else 0)
        views.append((inner, outer, first, -size if region.reverse else size))
        return inner

    def _round(
        self,
        body: Program,
        given: Sequence[Buffer],
        carry: list[Buffer],
        parts: dict[int, Buffer],
        nexts: dict[int, Buffer],
    ) -> tuple[list[Step], Carried]:
        """Return the steps of a round, and what has to be copied after it.

        Args:
            body: The round.
            given: Where its inputs lie.
            carry: Where the carry lies.
            parts: Where its results lie, by their number; others are parts of histories.
            nexts: Where the next round finds its carry, if that is elsewhere.
        """
        # What is a part of the carry and a result is written once, and copied from there.
        outputs = [(body.outputs[n], buffer) for n, buffer in (*parts.items(), *nexts.items())]
        where = {body.outputs[n]: buffer for n, buffer in parts.items()}
        after: list[Buffer] = []
        targets: list[Buffer] = []
        inside = {*body.inputs, *body.constants}
        for n, buffer in enumerate(carry):
            if n in nexts:
                continue
            value = body.outputs[n]
            own = where.get(value) if value not in inside else None
            if own is None:
                own = Buffer(f"{buffer.name}_next", buffer.dtype, buffer.size)
                outputs.append((value, own))
                where[value] = own
            after.append(own)
            targets.append(buffer)
        values = [value for value, _ in outputs]
        program = replace(body, outputs=values, overwrites=[None] * len(values))
        steps = self._built(program, given, [buffer for _, buffer in outputs])
        carried: Carried = []
        for source, target in zip(after, targets, strict=True):
            if source in parts.values() or after.count(source) > 1 or not target.size:
                if target.size:
                    carried.append((source, target))
            elif _may_replace(steps, source, target):
                steps = [_replaced(step, source, target) for step in steps]
            else:
                carried.append((source, target))
        return steps, carried

    def _built(
        self, program: Program, given: Sequence[Buffer], outputs: Sequence[Buffer]
    ) -> list[Step]:
        made = self.build(program, given, outputs)
        self.constants.update(made.constants)
        return made.steps


def _may_replace(steps: list[Step], source: Buffer, target: Buffer) -> bool:
    """Return whether what is written to one buffer may be written over another at once."""
    writers = [n for n, step in enumerate(steps) if source in touched(step)[1]]
    readers = [n for n, step in enumerate(steps) if target in touched(step)[0]]
    if len(writers) != 1:
        return False
    step = steps[writers[0]]
    if not isinstance(step, Launch):
        return False
    if any(source in touched(s)[0] and not isinstance(s, Launch) for s in steps):
        return False
    if readers and max(readers) > writers[0]:
        return False
    if not readers or max(readers) < writers[0]:
        return True
    own = dict(zip(step.arguments, step.kernel.buffers, strict=True))
    return step.arguments.count(target) == 1 and in_place(step.kernel, own[target], own[source])


def _replaced(step: Step, old: Buffer, new: Buffer) -> Step:
    """Return a launch with one buffer in the place of another, any other step as it is."""
    if not isinstance(step, Launch):
        return step
    return replace(step, arguments=tuple(new if b is old else b for b in step.arguments))


def results_in(group: Group) -> dict[int, Ref]:
    """Return the results that a region's group makes, by their places."""
    found: dict[int, Ref] = {}
    for root in group.roots:
        formula = root.node.formula
        assert isinstance(formula, Host)
        found[formula.attrs["place"]] = formula.target
    return found
