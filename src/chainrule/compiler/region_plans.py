"""Plans of regions: loops and branches become steps around the steps of their bodies.

Takes: a region, where its inputs lie and where its results shall lie. Gives: steps.
The one idea: a round works in place: it sees slices as parts of stacks, and writes the next carry
over the last one wherever nobody reads that any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    """The steps of a program whose inputs and outputs lie in given buffers."""

    steps: list[Step]
    constants: Constants


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
    results: dict[int, Buffer],
    origin: tuple[str, ...],
    build: Build,
) -> Body:
    """Return the steps that carry a region out.

    Args:
        region: The region.
        inputs: Where its inputs lie, row-major.
        results: Where its results shall lie, row-major.
        origin: The user's layer and line.
        build: Makes the steps of a body.
    """
    outputs = [
        results.get(n) or _buffer(f"{region.kind}{n}", region, n) for n in range(region.outputs)
    ]
    plan = _Plan(region, inputs, outputs, origin, build, [], {})
    if region.kind == "cond":
        plan.branch()
    elif region.kind == "while":
        plan.loop()
    else:
        plan.scan()
    return Body(plan.steps, plan.constants)


def _buffer(name: str, region: Region, place: int) -> Buffer:
    spec = region.spec(place)
    return Buffer(name, spec.dtype, spec.size)


@dataclass(slots=True, eq=False)
class _Plan:
    region: Region
    inputs: Sequence[Buffer]
    outputs: Sequence[Buffer]
    origin: tuple[str, ...]
    build: Build
    steps: list[Step]
    constants: Constants

    def scan(self) -> None:
        """Add the steps of a loop over slices."""
        region, count = self.region, self.region.carry
        carry = list(self.outputs[:count])
        self._begin(carry)
        if not region.length:
            return
        views: Views = []
        slices = [self._view(outer, views) for outer in self.inputs[count : region.fixed]]
        given = [*carry, *slices, *self.inputs[region.fixed :]]
        parts = [self._view(outer, views) for outer in self.outputs[count:]]
        steps, carried = self._round(region.bodies[0], given, carry, parts)
        self.steps.append(Repeat(region.length, tuple(steps), tuple(views), tuple(carried)))

    def loop(self) -> None:
        """Add the steps of a loop with a condition."""
        test, body = self.region.bodies
        carry = list(self.outputs)
        self._begin(carry)
        given = [*carry, *self.inputs[self.region.carry :]]
        ok = Buffer("ok", bool_, 1)
        tests = self._built(test, given, [ok])
        steps, carried = self._round(body, given, carry, [])
        self.steps.append(While(tuple(tests), ok, tuple(steps), tuple(carried)))

    def branch(self) -> None:
        """Add the steps of a branch."""
        given = self.inputs[1:]
        true, false = (self._built(body, given, self.outputs) for body in self.region.bodies)
        self.steps.append(Branch(self.inputs[0], tuple(true), tuple(false)))

    # --- parts ------------------------------------------------------------------------------

    def _begin(self, carry: Sequence[Buffer]) -> None:
        """Copy what a loop begins with to where the carry lies."""
        for source, target in zip(self.inputs, carry, strict=False):
            if target.size:
                kernel = copied(source, target)
                self.steps.append(Launch(kernel, kernel.buffers, self.origin))

    def _view(self, outer: Buffer, views: Views) -> Buffer:
        """Return what stands for a round's slice of a stack."""
        region = self.region
        size = outer.size // region.length
        inner = Buffer(f"{outer.name}_t", outer.dtype, size)
        first = size * (region.length - 1) if region.reverse else 0
        views.append((inner, outer, first, -size if region.reverse else size))
        return inner

    def _round(
        self, body: Program, given: Sequence[Buffer], carry: list[Buffer], parts: list[Buffer]
    ) -> tuple[list[Step], Carried]:
        """Return the steps of a round, and what has to be copied after it.

        Args:
            body: The round.
            given: Where its inputs lie.
            carry: Where the carry lies.
            parts: Where its results lie.
        """
        # What is a part of the carry and a result is written once, and copied from there.
        count = len(carry)
        where = dict(zip(body.outputs[count:], parts, strict=True))
        after: list[Buffer] = []
        outputs = list(zip(body.outputs[count:], parts, strict=True))
        inside = {*body.inputs, *body.constants}
        for value, buffer in zip(body.outputs[:count], carry, strict=True):
            own = where.get(value) if value not in inside else None
            if own is None:
                own = Buffer(f"{buffer.name}_next", buffer.dtype, buffer.size)
                outputs.append((value, own))
                where[value] = own
            after.append(own)
        values = [value for value, _ in outputs]
        program = replace(body, outputs=values, overwrites=[None] * len(values))
        steps = self._built(program, given, [buffer for _, buffer in outputs])
        carried: Carried = []
        for source, target in zip(after, carry, strict=True):
            if source in parts or after.count(source) > 1 or not target.size:
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
