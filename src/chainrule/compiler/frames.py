"""Frames: the programs that are being recorded, one inside of the other.

Takes: values, wherever they were made. Gives: what stands for them in the program that is being
recorded now.
The one idea: a body sees values from outside as inputs that are the same in every round. The
derivative of a body sees values of the body itself too: they are made results of its loop, and
come back round by round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chainrule.compiler.program import Instruction, Program, Region, Value
from chainrule.compiler.regions import REGION_OUTPUT
from chainrule.core.dtype import Array
from chainrule.core.errors import StateError
from chainrule.graph.explain import located
from chainrule.graph.op import OPS
from chainrule.graph.tracing import TraceError

# Ops that only move elements: cheaper to do again than to keep their results.
_MOVING = frozenset(("expand", "reshape", "permute", "flip", "clone"))


@dataclass(slots=True, eq=False)
class Frame:
    """A program that is being recorded.

    Attributes:
        program: The program.
        what: For errors: ``the body of a scan``.
        parent: The frame around it; None for the whole function.
        forward: The frame that this one is the derivative of.
        captured: Values from outside, with what stands for them here.
        slices: Stacked values from outside, with what stands for a round's slice of them.
        constants: Values of elements that never change, by the identity of their array.
        makers: The instruction that makes each value.
        region: The loop or branch that it has become a part of.
        first: The region's first result, whose inputs the others share.
        results: Values that were made results of the region afterwards, with these.
        known: For a derivative, what stands for values of the body that it is one of.
        outside: For what stands for a value from outside, that value.
        stacks: For what stands for a slice, the stacked value.
        fixed: Whether values that were looked at are the same in every round.
    """

    program: Program
    what: str = ""
    parent: Frame | None = None
    forward: Frame | None = None
    captured: dict[Value, Value] = field(default_factory=dict)
    slices: dict[Value, Value] = field(default_factory=dict)
    constants: dict[int, Value] = field(default_factory=dict)
    makers: dict[Value, Instruction] = field(default_factory=dict)
    region: Region | None = None
    first: Instruction | None = None
    results: dict[Value, Value] = field(default_factory=dict)
    known: dict[Value, Value] = field(default_factory=dict)
    outside: dict[Value, Value] = field(default_factory=dict)
    stacks: dict[Value, Value] = field(default_factory=dict)
    fixed: dict[Value, bool] = field(default_factory=dict)


class Frames:
    """The frames of a function that is being traced.

    Args:
        program: That of the whole function.

    Attributes:
        now: The frame that instructions go into.
    """

    def __init__(self, program: Program) -> None:
        self.root = self.now = Frame(program)
        self._homes: dict[Value, Frame] = {}

    def open(self, what: str, forward: Frame | None = None) -> Frame:
        """Begin a frame inside the current one."""
        name = f"{what} of {self.root.program.name}"
        self.now = Frame(Program(name), what, self.now, forward)
        return self.now

    def close(self) -> None:
        """Go back to the frame around the current one."""
        assert self.now.parent is not None
        self.now = self.now.parent

    def home(self, value: Value) -> Frame:
        """Return the frame that a value was made in."""
        return self._homes.get(value, self.root)

    def own(self, frame: Frame, value: Value) -> Value:
        """Note that a value was made in a frame."""
        if frame is not self.root:
            self._homes[value] = frame
        return value

    def append(self, frame: Frame, instruction: Instruction) -> Value:
        """Put an instruction into a frame; its inputs must be the frame's."""
        frame.program.instructions.append(instruction)
        frame.makers[instruction.output] = instruction
        return self.own(frame, instruction.output)

    def constant(self, array: Array, value: Value) -> Value:
        """Return what stands for elements that never change; a new value for new ones."""
        frame = self.now
        known = frame.constants.get(id(array))
        if known is None:
            known = frame.constants[id(array)] = self.own(frame, value)
            frame.program.constants[known] = array
        return known

    # --- values from elsewhere ----------------------------------------------------------------

    def resolve(self, value: Value, frame: Frame | None = None) -> Value:
        """Return what stands for a value in a frame, by default the current one.

        Raises:
            TraceError: It was made inside of a body that has ended.
        """
        frame = self.now if frame is None else frame
        home = self.home(value)
        if home is frame:
            return value
        if home is frame.forward:
            if value not in frame.known:
                frame.known[value] = self._of_forward(value, home, frame)
            return frame.known[value]
        if frame.parent is None:
            raise _escaped(value, home)
        return self.capture(self.resolve(value, frame.parent), frame)

    def capture(self, outer: Value, frame: Frame) -> Value:
        """Return the input of a frame that is a value of the frame around it in every round."""
        known = frame.captured.get(outer)
        if known is None:
            known = frame.captured[outer] = self.own(frame, Value(outer.spec, outer.name))
            frame.outside[known] = outer
        return known

    def slice(self, outer: Value, frame: Frame) -> Value:
        """Return the input of a frame that is in each round the next slice of an outer value."""
        known = frame.slices.get(outer)
        if known is None:
            spec = outer.spec._replace(shape=outer.spec.shape[1:])
            known = frame.slices[outer] = self.own(frame, Value(spec, outer.name))
            frame.stacks[known] = outer
        return known

    def _of_forward(self, value: Value, home: Frame, frame: Frame) -> Value:
        """Return what stands for a value of the frame that another one is the derivative of."""
        assert frame.parent is not None
        assert home.region is not None
        again = self._again(value, home, frame)
        if again is not None:
            return again
        outer = home.stacks[value] if value in home.stacks else self._result(value, home)
        outer = self.resolve(outer, frame.parent)
        scan = home.region.kind == "scan"
        return self.slice(outer, frame) if scan else self.capture(outer, frame)

    def _again(self, value: Value, home: Frame, frame: Frame) -> Value | None:
        """Return a value that is the same in every round, or only moved, by doing it again."""
        if value in home.outside:
            assert frame.parent is not None
            return self.capture(self.resolve(home.outside[value], frame.parent), frame)
        if value in home.program.constants:
            made = self.own(frame, Value(value.spec))
            frame.program.constants[made] = home.program.constants[value]
            return made
        maker = home.makers.get(value)
        if maker is None or (maker.op.name not in _MOVING and not _is_fixed(value, home)):
            return None
        inputs = tuple(self.resolve(v, frame) for v in maker.inputs)
        return self.append(frame, _copied(maker, inputs, Value(value.spec)))

    def _result(self, value: Value, home: Frame) -> Value:
        """Make a value of a body a result of its region, and return that."""
        region, first = home.region, home.first
        if region is None or first is None or home.parent is None:
            raise StateError("compile: a derivative is taken of a body that has not ended")
        if value not in home.results:
            for body in region.bodies:
                if body is home.program:
                    body.outputs.append(value)
                else:
                    body.outputs.append(_zeros(body, value))
                body.overwrites.append(None)
            attrs = {"region": region, "place": region.outputs - 1}
            output = Value(region.spec(region.outputs - 1))
            made = Instruction(REGION_OUTPUT, first.inputs, attrs, output, first.site, first.layer)
            home.results[value] = self.append(home.parent, made)
        return home.results[value]


def _is_fixed(value: Value, home: Frame) -> bool:
    """Return whether a value of a loop's body is the same in every round."""
    if home.region is None or home.region.kind != "scan":
        return False
    todo = [value]
    while todo:
        at = todo[-1]
        maker = home.makers.get(at)
        if at in home.fixed:
            todo.pop()
        elif maker is None:
            home.fixed[at] = at in home.program.constants or at in home.outside
        elif all(v in home.fixed for v in maker.inputs):
            home.fixed[at] = all(home.fixed[v] for v in maker.inputs)
        else:
            todo.extend(v for v in maker.inputs if v not in home.fixed)
    return home.fixed[value]


def _copied(maker: Instruction, inputs: tuple[Value, ...], output: Value) -> Instruction:
    return Instruction(maker.op, inputs, maker.attrs, output, maker.site, maker.layer)


def _zeros(body: Program, like: Value) -> Value:
    """Return zeros in the place of what the other branch makes."""
    shape, dtype = like.spec
    output = Value(like.spec)
    attrs = {"shape": shape, "value": dtype.compute.type(0).item(), "dtype": dtype}
    body.instructions.append(Instruction(OPS["full"], (), attrs, output))
    return output


def _escaped(value: Value, home: Frame) -> TraceError:
    return located(
        TraceError(
            f"compile: a tensor {value.spec} that was made in {home.what} is used outside of it",
            hint="return it: as a part of the carry, as a result y, or as the branch's result",
        )
    )
