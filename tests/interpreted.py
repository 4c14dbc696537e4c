"""A function traced, scheduled into kernels, and run by the interpreter: for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.compiler.pipeline import build
from chainrule.compiler.trace import Source, Trace, trace
from chainrule.graph.tensor import Tensor
from chainrule.ir.interpreter import run_plan


def interpreted(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Tensor:
    """Return what a function of tensors returns, one tensor."""
    done = trace(function, tuple(inputs), list(inputs))
    arrays = _run(done, inputs)
    for target, array in zip(done.targets, arrays, strict=True):
        if target.kind == "result":
            result: Tensor = done.result
            return Tensor(array, result.spec)
    known: Tensor = done.result  # it does not depend on the inputs, or is one of them
    return known


def interpreted_gradients(
    function: Callable[..., Any], inputs: Sequence[Tensor]
) -> list[np.ndarray | None]:
    """Return the gradients that a function leaves in its arguments."""
    done = trace(function, tuple(inputs), list(inputs))
    found: list[np.ndarray | None] = [None] * len(inputs)
    for target, array in zip(done.targets, _run(done, inputs), strict=True):
        if target.kind == "gradient":
            found[target.position] = array
    return found


def _run(done: Trace, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    plan = build(done.program, check=True)
    memory = {}
    for buffer, source in zip(plan.inputs, done.sources, strict=True):
        memory[buffer] = np.ascontiguousarray(_elements(source, inputs)).reshape(-1)
    for buffer in plan.outputs:
        memory[buffer] = np.zeros(buffer.size, buffer.dtype.storage)
    run_plan(plan, memory)
    values = done.program.outputs
    return [
        memory[buffer].reshape(value.spec.shape)
        for buffer, value in zip(plan.outputs, values, strict=True)
    ]


def _elements(source: Source, inputs: Sequence[Tensor]) -> np.ndarray:
    if source.kind == "argument":
        return inputs[source.position].array
    if source.make is not None:
        return source.make()
    assert source.tensor is not None
    tensor = source.tensor.grad if source.kind == "gradient" else source.tensor
    assert tensor is not None
    return tensor.array
