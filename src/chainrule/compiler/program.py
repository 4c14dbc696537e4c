"""Programs: what a traced function does, as a straight list of ops on values.

Takes: the record of a trace. Gives: what passes rewrite.
The one idea: every value is made once, by one instruction; nothing is ever overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from chainrule.core.dtype import Array
from chainrule.core.errors import Site, StateError
from chainrule.core.shape import Spec
from chainrule.graph.op import Op
from chainrule.graph.tracing import Value

__all__ = ["Assertion", "Instruction", "Program", "Region", "Value", "region_of", "verify"]


@dataclass(slots=True, eq=False)
class Instruction:
    """One op applied to values.

    Attributes:
        op: The operation.
        inputs: Its inputs.
        attrs: Its attributes.
        output: Its result.
        site: The user's line.
        layer: Path of the module that was running (``model.head (Linear 4 -> 3)``), or "".
    """

    op: Op
    inputs: tuple[Value, ...]
    attrs: dict[str, Any]
    output: Value
    site: Site | None = None
    layer: str = ""


@dataclass(slots=True, eq=False)
class Assertion:
    """A condition on values that must hold, or the call fails with a message.

    Attributes:
        ok: A bool value of one element.
        error: Builds the error.
    """

    ok: Value
    error: Exception


@dataclass(slots=True, eq=False)
class Program:
    """Instructions in order, each using only inputs, constants and results of earlier ones.

    Attributes:
        name: Of the traced function.
        inputs: Values that each call gives.
        constants: Values that never change, with their elements (in storage form).
        instructions: What is computed.
        outputs: Values that each call gives back; one may appear twice, or be an input.
        overwrites: For each output the input whose memory it takes over if nobody else needs
            it (a parameter and its updated self), or None.
        assertions: What must hold before any output is written.
    """

    name: str
    inputs: list[Value] = field(default_factory=list)
    constants: dict[Value, Array] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    overwrites: list[Value | None] = field(default_factory=list)
    assertions: list[Assertion] = field(default_factory=list)

    def uses(self) -> dict[Value, int]:
        """Return how often each value is read, by instructions, outputs and assertions."""
        counts: dict[Value, int] = {}
        for value in self._read():
            counts[value] = counts.get(value, 0) + 1
        return counts

    def _read(self) -> Iterable[Value]:
        for instruction in self.instructions:
            yield from instruction.inputs
        yield from self.outputs
        for assertion in self.assertions:
            yield assertion.ok

    @property
    def text(self) -> str:
        """The program as text, one line for each value."""
        names: dict[Value, str] = {}
        lines = [f"program {self.name}"]
        for value in self.inputs:
            names[value] = f"%{len(names)}"
            lines.append(f"  {names[value]} = input {value.name} : {value.spec}".rstrip())
        for value, array in self.constants.items():
            names[value] = f"%{len(names)}"
            shown = f" {array.item()!r}" if array.size == 1 else ""
            lines.append(f"  {names[value]} = constant{shown} : {value.spec}")
        for instruction in self.instructions:
            output = instruction.output
            names[output] = f"%{len(names)}"
            inputs = ", ".join(names.get(v, "?") for v in instruction.inputs)
            attrs = "".join(f" {k}={v!r}" for k, v in instruction.attrs.items())
            lines.append(
                f"  {names[output]} = {instruction.op.name}({inputs}){attrs} : {output.spec}"
            )
        lines.extend(f"  assert {names.get(a.ok, '?')}: {a.error}" for a in self.assertions)
        for value, old in zip(self.outputs, self.overwrites, strict=True):
            over = f" over {names.get(old, '?')}" if old is not None else ""
            lines.append(f"  return {names.get(value, '?')}{over}")
        for region in self.regions():
            for body in region.bodies:
                lines.extend(f"  {line}" for line in body.text.splitlines())
        return "\n".join(lines) + "\n"

    def regions(self) -> list[Region]:
        """Return the loops and branches among the instructions, in order, each once."""
        found = (region_of(instruction) for instruction in self.instructions)
        return list(dict.fromkeys(region for region in found if region is not None))


@dataclass(slots=True, eq=False)
class Region:
    """A loop or a branch: programs that run several times, or perhaps not at all.

    Each of its results is the output of one instruction ``region_output`` with this region and
    the result's ``place`` as attributes; all of these have the same inputs.

    Attributes:
        kind: ``scan``, ``cond`` or ``while``.
        bodies: One round of a scan; the two branches; the condition and one round.
        carry: Number of values handed on from round to round: the first inputs of the region
            and of the bodies of loops, and the first outputs of a round.
        xs: Number of inputs, after those, of which each round gets the next slice.
        length: Number of rounds of a scan; its further outputs are stacked.
        reverse: Whether a scan goes from the last slice to the first.

    All other inputs are the same in every round; those of a branch come after its condition.
    """

    kind: Literal["scan", "cond", "while"]
    bodies: list[Program]
    carry: int = 0
    xs: int = 0
    length: int = 0
    reverse: bool = False

    @property
    def outputs(self) -> int:
        """Number of results."""
        return len(self.bodies[-1].outputs)

    @property
    def fixed(self) -> int:
        """Number of the first input that is the same in every round."""
        return 1 if self.kind == "cond" else self.carry + self.xs

    def spec(self, place: int) -> Spec:
        """Return shape and dtype of a result."""
        spec = self.bodies[-1].outputs[place].spec
        if self.kind != "scan" or place < self.carry:
            return spec
        return Spec((self.length, *spec.shape), spec.dtype)

    def inner_spec(self, number: int, spec: Spec) -> Spec:
        """Return what a body gets of an input of the region."""
        sliced = self.carry <= number < self.carry + self.xs
        return Spec(spec.shape[1:], spec.dtype) if sliced else spec

    def __repr__(self) -> str:
        if self.kind != "scan":
            return f"<{self.kind}>"
        return f"<scan of {self.length}{' reversed' if self.reverse else ''}>"


def region_of(instruction: Instruction) -> Region | None:
    """Return the loop or branch that an instruction is a result of, if it is one."""
    region = instruction.attrs.get("region")
    return region if isinstance(region, Region) else None


def verify(program: Program, after: str) -> None:
    """Check that a program is well formed.

    Raises:
        StateError: A value is used before it is made, made twice, or has a shape that its op
            does not give.
    """

    def wrong(rule: str) -> StateError:
        return StateError(f"compiler: after {after}: {rule}", hint="this is a bug in chainrule")

    known: set[Value] = {*program.inputs, *program.constants}
    checked: set[Region] = set()
    for number, instruction in enumerate(program.instructions):
        what = f"instruction {number} ({instruction.op.name})"
        if any(value not in known for value in instruction.inputs):
            raise wrong(f"{what} reads a value that is not made yet")
        if instruction.output in known:
            raise wrong(f"{what} makes a value that is made already")
        spec = instruction.op.infer(*(v.spec for v in instruction.inputs), **instruction.attrs)
        if spec != instruction.output.spec:
            raise wrong(f"{what} gives {spec}, declared is {instruction.output.spec}")
        known.add(instruction.output)
        region = region_of(instruction)
        if region is not None and region not in checked:
            checked.add(region)
            _verify_region(region, instruction, after, wrong)
    if any(value not in known for value in program.outputs):
        raise wrong("an output is never made")
    if len(program.outputs) != len(program.overwrites):
        raise wrong("outputs and overwrites differ in number")


def _verify_region(
    region: Region, instruction: Instruction, after: str, wrong: Callable[[str], StateError]
) -> None:
    given = [region.inner_spec(n, v.spec) for n, v in enumerate(instruction.inputs)]
    if region.kind == "cond":
        del given[0]
    for body in region.bodies:
        verify(body, after)
        if [value.spec for value in body.inputs] != given:
            raise wrong(f"the body of a {region.kind} takes other inputs than it gets")
    specs = [value.spec for value in region.bodies[-1].outputs]
    if region.kind != "cond" and specs[: region.carry] != given[: region.carry]:
        raise wrong(f"the carry of a {region.kind} changes")
    if region.kind == "cond" and specs != [v.spec for v in region.bodies[0].outputs]:
        raise wrong("the branches of a cond make different results")
