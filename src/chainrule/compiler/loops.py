"""Loops and branches while tracing.

Takes: the functions of a round, or of two branches. Gives: regions of the program that is being
recorded.
The one idea: each function runs once, with handles of values that stand for any round's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chainrule.compiler.bodies import (
    Tensors,
    ended,
    expect_no_gradients,
    handle,
    inside,
    record_results,
)
from chainrule.compiler.frames import Frame
from chainrule.compiler.loop_gradients import CondGradient, ScanGradient, WhileGradient
from chainrule.compiler.program import Region, Value
from chainrule.graph.node import Node, mode, next_number
from chainrule.graph.tensor import Tensor
from chainrule.graph.tracing import Step

if TYPE_CHECKING:
    from chainrule.compiler.trace import Recorder


def record_scan(
    recorder: Recorder, step: Step, carry: Tensors, xs: Tensors, length: int, *, reverse: bool
) -> tuple[Tensors, Tensors]:
    """Record a loop over slices; return the last carry and the stacked results."""
    frames = recorder.frames
    init = [recorder.value_of(tensor) for tensor in carry]
    stacks = [recorder.value_of(tensor) for tensor in xs]
    start = next_number()
    with inside(recorder, "the body of a scan") as frame:
        first = [frames.own(frame, Value(value.spec)) for value in init]
        given = [handle(v) for v in (*first, *(frames.slice(v, frame) for v in stacks))]
        ends = [tensor.node for tensor in given]
        after, ys = step(given[: len(init)], given[len(init) :])
        expect_no_gradients(frame.what, given)
        frame.program.outputs = [recorder.value_of(tensor) for tensor in (*after, *ys)]
    region = Region("scan", [], len(init), len(frame.slices), length, reverse)
    inputs = ended([frame], region, init, first)
    results = record_results(recorder, region, inputs, [frame], "scan")
    if mode.recording:
        outs = [tensor.node for tensor in (*after, *ys)]
        loop = ScanGradient(recorder, frame, region, start, ends, outs)
        loop.record([tensor.node for tensor in (*carry, *xs)], results)
    return results[: len(init)], results[len(init) :]


def record_while(
    recorder: Recorder,
    condition: Callable[[Tensors], Tensor],
    body: Callable[[Tensors], Tensors],
    carry: Tensors,
) -> Tensors:
    """Record a loop that runs while a condition holds; return the last carry."""
    init = [recorder.value_of(tensor) for tensor in carry]
    start = next_number()
    ends: list[Node | None] = []
    outs: list[Node | None] = []
    bodies: list[Frame] = []
    firsts: list[list[Value]] = []
    for name in ("condition", "body"):
        with inside(recorder, f"the {name} of a while_loop") as frame:
            firsts.append([recorder.frames.own(frame, Value(v.spec)) for v in init])
            given = [handle(value) for value in firsts[-1]]
            ends = [tensor.node for tensor in given]
            made = body(list(given)) if bodies else [condition(list(given))]
            expect_no_gradients(frame.what, given)
            frame.program.outputs = [recorder.value_of(tensor) for tensor in made]
            outs = [tensor.node for tensor in made]
        bodies.append(frame)
    region = Region("while", [], len(init))
    inputs = ended(bodies, region, init, *firsts)
    results = record_results(recorder, region, inputs, bodies, "while_loop")
    if mode.recording:
        WhileGradient(recorder, bodies[1], region, start, ends, outs).record(
            [tensor.node for tensor in carry], results
        )
    return results


def record_cond(
    recorder: Recorder,
    condition: Tensor,
    true: Callable[[], Tensors],
    false: Callable[[], Tensors],
) -> Tensors:
    """Record a branch; return the results of the function that is chosen."""
    decides = recorder.value_of(condition)
    start = next_number()
    bodies: list[Frame] = []
    outs: list[list[Node | None]] = []
    for function in (true, false):
        with inside(recorder, "a branch of a cond") as frame:
            made = function()
            frame.program.outputs = [recorder.value_of(tensor) for tensor in made]
            outs.append([tensor.node for tensor in made])
        bodies.append(frame)
    region = Region("cond", [])
    inputs = ended(bodies, region, [decides], [], [])
    results = record_results(recorder, region, inputs, bodies, "cond")
    if mode.recording:
        CondGradient(recorder, bodies, decides, start, outs).record(results)
    return results
