"""Passes over loops and branches: bodies are simplified, and relieved of what rounds share.

Takes: a program. Gives: the program with smaller bodies of its loops and branches.
The one idea: a body is a program, so every pass applies to it; besides, what is the same in every
round moves in front of the loop, and what nobody reads is neither handed on nor stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chainrule.compiler.dead import remove_dead
from chainrule.compiler.panels import Panels
from chainrule.compiler.program import Instruction, Program, Region, Value, region_of
from chainrule.compiler.region_batching import Batching
from chainrule.compiler.regions import results_of
from chainrule.core.dtype import Array
from chainrule.graph.op import Op

Optimise = Callable[[Program], Program]

# Ops that cost nothing inside of a kernel: they move in front of a loop only with others.
_FREE = frozenset(("expand", "reshape", "permute", "flip", "clone", "slice", "full", "arange"))


def optimise_regions(program: Program, optimise: Optimise) -> Program:
    """Return a program with simplified loops and branches.

    Args:
        program: The program; what is not read has been removed from it.
        optimise: Simplifies the program of a body.
    """
    if not program.regions():
        return program
    read = program.uses()
    results: dict[Region, list[Instruction]] = {}
    for instruction in program.instructions:
        region = region_of(instruction)
        if region is not None and read.get(instruction.output):
            results.setdefault(region, []).append(instruction)
    same: dict[Value, Value] = {}
    constants = dict(program.constants)
    instructions: list[Instruction] = []
    for given in program.instructions:
        inputs = tuple([same.get(value, value) for value in given.inputs])
        region = region_of(given)
        if region is None:
            instructions.append(replace(given, inputs=inputs))
        elif region in results:
            wanted = {i.attrs["place"]: i.output for i in results.pop(region)}
            work = _Work(region, inputs, constants)
            instructions.extend(work.simplified(given, wanted, optimise, same))
    return replace(
        program,
        constants=constants,
        instructions=instructions,
        outputs=[_final(value, same) for value in program.outputs],
        assertions=[replace(a, ok=_final(a.ok, same)) for a in program.assertions],
    )


def _final(value: Value, same: dict[Value, Value]) -> Value:
    return same.get(value, value)


@dataclass(slots=True, eq=False)
class _Input:
    """An input of a region.

    Attributes:
        kind: ``carry``, ``slice`` or ``fixed``.
        outer: Its value.
        inner: What stands for it in each body.
        place: For a carry, the result that it has become, in the original region.
    """

    kind: str
    outer: Value
    inner: list[Value]
    place: int = -1


class _Work:
    """A region that is being simplified.

    Args:
        region: The region.
        inputs: Its inputs.
        constants: Of the program around it; what moves there adds its own.
    """

    def __init__(
        self, region: Region, inputs: Sequence[Value], constants: dict[Value, Array]
    ) -> None:
        self.region = region
        self.bodies = list(region.bodies)
        self.constants = constants
        given = list(inputs)
        self.condition = [given.pop(0)] if region.kind == "cond" else []
        self.inputs: list[_Input] = []
        for n, outer in enumerate(given):
            kind = "fixed"
            if n < region.carry + region.xs:
                kind = "carry" if n < region.carry else "slice"
            inner = [body.inputs[n] for body in self.bodies]
            self.inputs.append(_Input(kind, outer, inner, n if kind == "carry" else -1))
        # For each result of the region its place among the outputs of a body.
        self.places = list(range(region.outputs))

    def simplified(
        self,
        like: Instruction,
        wanted: dict[int, Value],
        optimise: Optimise,
        same: dict[Value, Value],
    ) -> list[Instruction]:
        """Return the instructions that take the place of the region's results.

        Args:
            like: One of them.
            wanted: The results that are read, by their places.
            optimise: Simplifies the program of a body.
            same: Gets the results that turn out to be other values.
        """
        self._settle_constants()
        self._prune(set(wanted))
        self.bodies = [optimise(body) for body in self.bodies]
        self._drop_still_carries(wanted, same)
        hoisted = self._hoist()
        wanted = {n: value for n, value in wanted.items() if value not in same}
        behind: list[Instruction] = []
        if self.region.kind == "scan" and self.region.length:
            before, behind = self._batch(wanted, same)
            hoisted.extend(before)
        twins = self._twins()
        self._prune({twins.get(n, n) for n, value in wanted.items() if value not in same})
        region, inputs = self._region()
        made = results_of(region, inputs, like, range(region.outputs))
        outputs: dict[int, Value] = {}
        for place, output in wanted.items():
            if output in same:
                continue
            first = twins.get(place, place)
            if first in outputs:
                same[output] = outputs[first]
            else:
                outputs[first] = output
        last = [replace(made[self.places.index(p)], output=v) for p, v in outputs.items()]
        for instruction in behind:
            inputs = tuple(same.get(value, value) for value in instruction.inputs)
            last.append(replace(instruction, inputs=inputs))
        return [*hoisted, *last]

    def _twins(self) -> dict[int, int]:
        """Return for stacked results the first one that is stacked of the same values."""
        first: dict[Value, int] = {}
        twins = {}
        if self.region.kind == "scan":
            for place, value in zip(self.places, self.bodies[0].outputs, strict=True):
                if place >= self.region.carry:
                    twins[place] = first.setdefault(value, place)
        return twins

    # --- inputs -----------------------------------------------------------------------------

    def _settle_constants(self) -> None:
        """Let bodies know numbers that never change."""
        for given in [*self.inputs]:
            array = self.constants.get(given.outer)
            if given.kind == "fixed" and array is not None and array.size == 1:
                self.inputs.remove(given)
                for n, inner in enumerate(given.inner):
                    body = self.bodies[n]
                    self.bodies[n] = replace(body, constants={**body.constants, inner: array})
        self._fit()

    def _fit(self) -> None:
        """Let the bodies have the inputs that are left, in order."""
        order = {"carry": 0, "slice": 1, "fixed": 2}
        self.inputs.sort(key=lambda given: order[given.kind])
        for n, body in enumerate(self.bodies):
            self.bodies[n] = replace(body, inputs=[given.inner[n] for given in self.inputs])

    def _prune(self, wanted: set[int]) -> None:
        """Leave out results that are not wanted, and inputs that are not needed for the others."""
        kept = set(wanted)
        carries = {given.place: given for given in self.inputs if given.kind == "carry"}
        while True:
            read = self._read(kept)
            more = {p for p, c in carries.items() if any(i in read for i in c.inner)}
            if more <= kept:
                break
            kept |= more
        at = [n for n, place in enumerate(self.places) if place in kept]
        self.places = [self.places[n] for n in at]
        for n in self._result_bodies():
            body = self.bodies[n]
            outputs = [body.outputs[k] for k in at]
            self.bodies[n] = replace(body, outputs=outputs, overwrites=[None] * len(at))
        self.bodies = [remove_dead(body) for body in self.bodies]
        self.inputs = [
            given
            for given in self.inputs
            if (
                given.place in kept
                if given.kind == "carry"
                else any(i in read for i in given.inner)
            )
        ]
        self._fit()

    def _result_bodies(self) -> list[int]:
        """Return the numbers of the bodies whose outputs are results."""
        return [0, 1] if self.region.kind == "cond" else [len(self.bodies) - 1]

    def _read(self, kept: set[int]) -> set[Value]:
        """Return what bodies read in order to make some results."""
        results = self._result_bodies()
        read: set[Value] = set()
        for n, body in enumerate(self.bodies):
            if n in results:
                outputs = zip(self.places, body.outputs, strict=True)
                read.update(value for place, value in outputs if place in kept)
            else:
                read.update(body.outputs)
            read.update(check.ok for check in body.assertions)
            for instruction in reversed(body.instructions):
                if instruction.output in read:
                    read.update(instruction.inputs)
        return read

    def _drop_still_carries(self, wanted: dict[int, Value], same: dict[Value, Value]) -> None:
        """Let parts of the carry that never change be the same in every round."""
        if self.region.kind == "cond":
            return
        body = self.bodies[-1]
        for given in self.inputs:
            if given.kind == "carry":
                at = self.places.index(given.place)
                if body.outputs[at] is given.inner[-1]:
                    given.kind = "fixed"
                    if given.place in wanted:
                        same[wanted[given.place]] = given.outer
        for given in self.inputs:
            if given.kind == "fixed" and given.place in self.places:
                at = self.places.index(given.place)
                del self.places[at]
                outputs = [v for n, v in enumerate(body.outputs) if n != at]
                body = replace(body, outputs=outputs, overwrites=[None] * len(outputs))
                given.place = -1
        self.bodies[-1] = body
        self._fit()

    # --- what rounds share ------------------------------------------------------------------

    def _hoist(self) -> list[Instruction]:
        """Move what is the same in every round out of the bodies; return it."""
        if self.region.kind == "cond" or (self.region.kind == "scan" and not self.region.length):
            return []
        hoisted: list[Instruction] = []
        for n, body in enumerate(self.bodies):
            outer = {g.inner[n]: g.outer for g in self.inputs if g.kind == "fixed"}
            outer.update({v: v for v in body.constants if body.constants[v].size == 1})
            fixed = set(outer)
            moves: list[Instruction] = []
            for instruction in body.instructions:
                if all(v in fixed for v in instruction.inputs) and self._may_move(instruction):
                    fixed.add(instruction.output)
                    moves.append(instruction)
            ends = _worth_moving(moves, body)
            needed = _needed(moves, ends)
            taken = [i for i in moves if i.output in needed]
            if not taken:
                continue
            hoisted.extend(self._taken(n, taken, outer, ends))
            gone = {i.output for i in taken if i.output in ends}
            rest = [i for i in body.instructions if i.output not in gone]
            self.bodies[n] = replace(self.bodies[n], instructions=rest)
        self._fit()
        return hoisted

    def _may_move(self, instruction: Instruction) -> bool:
        """Return whether an instruction may run though perhaps no round does."""
        return self.region.kind == "scan" or type(instruction.op).condition is Op.condition

    def _taken(
        self, n: int, taken: list[Instruction], outer: dict[Value, Value], ends: set[Value]
    ) -> list[Instruction]:
        """Return copies of a body's instructions for the program around it.

        Args:
            n: Number of the body.
            taken: The instructions.
            outer: For what they read, the value outside; gets their results too.
            ends: Those results that the body goes on reading.
        """
        body = self.bodies[n]
        made: list[Instruction] = []
        for value in dict.fromkeys(v for i in taken for v in i.inputs):
            if value in body.constants:
                outer[value] = Value(value.spec)
                self.constants[outer[value]] = body.constants[value]
        for instruction in taken:
            output = Value(instruction.output.spec)
            inputs = tuple(outer[v] for v in instruction.inputs)
            made.append(replace(instruction, inputs=inputs, output=output))
            outer[instruction.output] = output
            if instruction.output in ends:
                inner = [Value(output.spec) for _ in self.bodies]
                inner[n] = instruction.output
                self.inputs.append(_Input("fixed", output, inner))
        return made

    # --- what rounds need not wait for ------------------------------------------------------

    def _batch(
        self, wanted: dict[int, Value], same: dict[Value, Value]
    ) -> tuple[list[Instruction], list[Instruction]]:
        """Do products of all rounds at once; return those in front of and behind the loop.

        Args:
            wanted: The results that are read, by their places; it is changed.
            same: Gets the results that turn out to be other values.
        """
        stacks = {g.inner[0]: g.outer for g in self.inputs if g.kind == "slice"}
        fixed = {g.inner[0]: g.outer for g in self.inputs if g.kind == "fixed"}
        for inner, array in self.bodies[0].constants.items():
            fixed[inner] = Value(inner.spec)
            self.constants[fixed[inner]] = array
        work = Batching(self.bodies[0], self.region.length, stacks, fixed)
        work.take_products_of_slices()
        self.inputs.extend(_Input("slice", outer, [inner]) for outer, inner in work.slices)
        values = dict(zip(self.places, work.body.outputs, strict=True))
        for take in (work.take_sum, work.take_sum_of_sums):
            for given in self.inputs:
                value = values.get(given.place)
                if given.kind == "carry" and value is not None and given.place in wanted:
                    output = wanted[given.place]
                    if take(given.inner[0], given.outer, value, output):
                        del wanted[given.place]
        for place in [n for n in wanted if n >= self.region.carry]:
            if values[place] in stacks:
                same[wanted.pop(place)] = stacks[values[place]]
            elif work.take_result(values[place], wanted[place]):
                del wanted[place]
        panels = Panels(work.body, self.region.length, fixed)
        panels.lay_out()
        self.inputs.extend(_Input("fixed", outer, [inner]) for outer, inner in panels.inputs)
        first = max([self.region.outputs, *self.places])
        outputs = [*work.body.outputs]
        for number, (value, stack) in enumerate(work.results.items(), first):
            wanted[number] = stack
            self.places.append(number)
            outputs.append(value)
        self.bodies = [replace(panels.body, outputs=outputs, overwrites=[None] * len(outputs))]
        self._fit()
        return [*work.before, *panels.before], work.after

    def _region(self) -> tuple[Region, tuple[Value, ...]]:
        counts = [given.kind for given in self.inputs]
        region = replace(
            self.region,
            bodies=self.bodies,
            carry=counts.count("carry"),
            xs=counts.count("slice"),
        )
        return region, (*self.condition, *(given.outer for given in self.inputs))


def _worth_moving(moves: list[Instruction], body: Program) -> set[Value]:
    """Return the results that are worth moving in front of a loop.

    A transposed operand of a product is one: products are quicker where rows lie in a row. So is
    what a loop inside of this one would copy in each of our rounds.
    """
    readers = ("matmul", "region_output")
    operands = {v for i in body.instructions if i.op.name in readers for v in i.inputs}
    return {
        i.output
        for i in moves
        if i.op.name not in _FREE or (i.op.name == "permute" and i.output in operands)
    }


def _needed(moves: list[Instruction], ends: set[Value]) -> set[Value]:
    """Return results that are worth moving, and what they are made of."""
    needed = set(ends)
    for instruction in reversed(moves):
        if instruction.output in needed:
            needed.update(instruction.inputs)
    return needed
