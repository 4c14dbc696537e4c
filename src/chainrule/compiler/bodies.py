"""Bodies: what loops and branches have in common while they are recorded.

Takes: functions that a loop or branch calls. Gives: frames with what these do, and the results of
the loop or branch in the program around.
The one idea: a function sees only handles of its own; whatever else it touches it may read, but
not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import ref

from chainrule.compiler.frames import Frame
from chainrule.compiler.program import Instruction, Region, Value
from chainrule.compiler.regions import REGION_OUTPUT
from chainrule.core.dtype import Array
from chainrule.core.errors import StateError
from chainrule.core.shape import Spec
from chainrule.graph.node import Node, mode
from chainrule.graph.op import Op
from chainrule.graph.sample import Sample
from chainrule.graph.tensor import Tensor
from chainrule.graph.tracing import TraceError

if TYPE_CHECKING:
    from chainrule.compiler.trace import Recorder

Tensors = list[Tensor]


class _BodyInput(Op):
    """What a body gets: the gradient of a round ends here. Not in the registry."""

    name = "body_input"

    def infer(self, *inputs: Spec) -> Spec:
        raise StateError("body_input: it is given")

    def eval(self, *inputs: Array) -> Array:
        raise StateError("body_input: it is given")

    def samples(self) -> Iterable[Sample]:
        return ()

    def vjp(self, grad: Tensor, output: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return nothing: there is nothing before it in the body."""
        return ()


_BODY_INPUT = _BodyInput()


@contextmanager
def inside(recorder: Recorder, what: str) -> Iterator[Frame]:
    """Record into a frame of its own; nothing from outside may be changed meanwhile."""
    handles, lifted = len(recorder.handles), len(recorder.lifted)
    alive = (known() for known in (*recorder.handles, *(x.tensor for x in recorder.lifted)))
    before = [(t, t._array, t.grad) for t in alive if t is not None]
    frame = recorder.frames.open(what)
    try:
        yield frame
        for entry in recorder.lifted[lifted:]:
            tensor = entry.tensor()
            if tensor is not None:
                before.append((tensor, entry.value, entry.grad))
        for tensor, array, grad in before:
            if tensor._array is not array:
                raise _changed(what, f"changes a tensor {tensor.spec} from outside in place")
            if tensor.grad is not grad:
                raise _changed(what, f"adds to .grad of a tensor {tensor.spec} from outside")
    finally:
        recorder.frames.close()
        del recorder.handles[handles:]


@contextmanager
def deriving(recorder: Recorder, what: str, forward: Frame) -> Iterator[Frame]:
    """Record the derivative of a body into a frame of its own."""
    handles = len(recorder.handles)
    frame = recorder.frames.open(f"the derivative of {what}", forward)
    try:
        yield frame
    finally:
        recorder.frames.close()
        del recorder.handles[handles:]


def _changed(what: str, rule: str) -> TraceError:
    return TraceError(
        f"compile: {what} {rule}, which a compiled loop or branch cannot do",
        hint="make its new value a result (a part of the carry), and change the tensor afterwards",
    )


def handle(value: Value) -> Tensor:
    """Return what a function gets for an input of its body."""
    tensor = Tensor(value, value.spec)
    if mode.recording and value.spec.dtype.is_floating:
        tensor.node = Node(_BODY_INPUT, (), {}, (), value.spec)
        tensor.node.owner = ref(tensor)
    return tensor


def expect_no_gradients(what: str, handles: Tensors) -> None:
    """Raise if `backward` has gone through a function to what it got."""
    if any(tensor.grad is not None for tensor in handles):
        raise TraceError(
            f"compile: backward() is called inside of {what}, but it would have to go on outside",
            hint="call backward() after the loop, or chainrule.grad for a gradient inside of it",
        )


def ended(
    bodies: Sequence[Frame], region: Region, first: list[Value], *inner: list[Value]
) -> tuple[Value, ...]:
    """Complete the bodies of a region; return the region's inputs.

    Args:
        bodies: Its bodies.
        region: The region.
        first: The first inputs of the region: the carry, or the condition.
        inner: What stands for the first inputs in each body.
    """
    slices = dict.fromkeys(outer for frame in bodies for outer in frame.slices)
    fixed = dict.fromkeys(outer for frame in bodies for outer in frame.captured)
    for frame, own in zip(bodies, inner, strict=True):
        program = frame.program
        program.inputs = [*own]
        for outer in slices:
            program.inputs.append(frame.slices[outer])
        for outer in fixed:
            program.inputs.append(frame.captured.get(outer) or Value(outer.spec, outer.name))
        program.overwrites = [None] * len(program.outputs)
        frame.region = region
        region.bodies.append(program)
    return (*first, *slices, *fixed)


def record_results(
    recorder: Recorder,
    region: Region,
    inputs: tuple[Value, ...],
    bodies: Sequence[Frame],
    origin: str,
) -> Tensors:
    """Record the results of a region."""
    site, layer = recorder.place()
    results = []
    for place in range(region.outputs):
        attrs = {"region": region, "place": place}
        step = Instruction(REGION_OUTPUT, inputs, attrs, Value(region.spec(place)), site, layer)
        for frame in bodies:
            frame.first = frame.first or step
        result = Tensor(recorder.frames.append(recorder.frames.now, step), step.output.spec)
        result.origin, result.site = origin, site
        recorder.made(result)
        results.append(result)
    return results
