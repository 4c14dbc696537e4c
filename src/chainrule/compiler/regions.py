"""Regions: what loops and branches of a program mean.

Takes: a region and the elements of its inputs. Gives: the elements of its results.
The one idea: a round is a program, whose meaning is that of its ops one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.compiler.program import Instruction, Program, Region, Value
from chainrule.core.dtype import Array, bool_, to_compute, to_storage
from chainrule.core.shape import Spec
from chainrule.graph.evaluate import evaluate
from chainrule.graph.op import Cost, Op
from chainrule.graph.sample import Sample


class RegionOutput(Op):
    """One result of a loop or a branch. Not in the registry: it holds programs."""

    name = "region_output"
    differentiable = False

    def infer(self, *inputs: Spec, region: Region, place: int) -> Spec:
        return region.spec(place)

    def eval(self, *inputs: Array, region: Region, place: int) -> Array:
        specs = _specs(region, inputs)
        stored = [to_storage(np.asarray(a), s.dtype) for a, s in zip(inputs, specs, strict=True)]
        return to_compute(run_region(region, stored)[place], region.spec(place).dtype)

    def samples(self) -> Iterable[Sample]:
        return ()

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        """Return the work of all rounds for the first result, and none for the others."""
        region: Region = attrs["region"]
        if attrs["place"]:
            return Cost(0, 0)
        rounds = region.length if region.kind == "scan" else 1
        costs = [
            instruction.op.cost(*(v.spec for v in instruction.inputs), **instruction.attrs)
            for body in region.bodies
            for instruction in body.instructions
        ]
        return Cost(rounds * sum(c.flops for c in costs), rounds * sum(c.bytes for c in costs))


REGION_OUTPUT = RegionOutput()


def _specs(region: Region, inputs: Sequence[Array]) -> list[Spec]:
    """Return shape and dtype of what each body gets, and of the condition before that."""
    specs = [value.spec for value in region.bodies[-1].inputs]
    if region.kind == "cond":
        return [Spec((), bool_), *specs]
    return specs


def run_region(region: Region, inputs: Sequence[Array]) -> list[Array]:
    """Return all results of a region from its inputs, all in storage form."""
    if region.kind == "cond":
        body = region.bodies[0 if np.asarray(inputs[0]).item() else 1]
        return run_program(body, inputs[1:])
    count = region.carry
    carry, xs, fixed = list(inputs[:count]), inputs[count : region.fixed], inputs[region.fixed :]
    if region.kind == "while":
        while run_program(region.bodies[0], [*carry, *fixed])[0].item():
            carry = run_program(region.bodies[1], [*carry, *fixed])
        return carry
    specs = [region.spec(n) for n in range(count, region.outputs)]
    ys = [np.empty(spec.shape, spec.dtype.storage) for spec in specs]
    rounds = range(region.length)
    for number in reversed(rounds) if region.reverse else rounds:
        results = run_program(region.bodies[0], [*carry, *(x[number] for x in xs), *fixed])
        carry = results[:count]
        for y, result in zip(ys, results[count:], strict=True):
            y[number] = result
    return [*carry, *ys]


def run_program(program: Program, inputs: Sequence[Array]) -> list[Array]:
    """Return the outputs of a program from its inputs, all in storage form.

    Raises:
        ChainruleError: An assertion does not hold.
    """
    known: dict[Value, Array] = dict(program.constants)
    known.update(zip(program.inputs, map(np.asarray, inputs), strict=True))
    for instruction in program.instructions:
        known[instruction.output] = _evaluated(instruction, known)
    for assertion in program.assertions:
        if not known[assertion.ok].all():
            raise assertion.error
    return [known[value] for value in program.outputs]


def _evaluated(instruction: Instruction, known: dict[Value, Array]) -> Array:
    specs = tuple(value.spec for value in instruction.inputs)
    arrays = [known[value] for value in instruction.inputs]
    return evaluate(instruction.op, arrays, instruction.attrs, specs, instruction.output.spec)


def results_of(
    region: Region, inputs: tuple[Value, ...], like: Instruction, places: Iterable[int]
) -> dict[int, Instruction]:
    """Return instructions for results of a region, with the line and layer of another one."""
    return {
        place: replace(
            like,
            op=REGION_OUTPUT,
            inputs=inputs,
            attrs={"region": region, "place": place},
            output=Value(region.spec(place)),
        )
        for place in places
    }
