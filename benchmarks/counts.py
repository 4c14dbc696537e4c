"""Counts: parameters, floating-point operations and bytes of a workload.

Takes: a workload. Gives: its parameters with first values, and the least work of a step.
The one idea: shapes follow from the layers, and contractions are all the work that counts.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.workloads import EPOCH, Layers, Workload

Shape = tuple[int, ...]
Array = np.ndarray[Any, Any]

# Passes over each parameter by the update: reads and writes of it and of the optimizer's memory.
_UPDATE_PASSES = {"": 0, "sgd": 2, "momentum": 4, "adam": 6}


class Contraction(NamedTuple):
    """A product in the forward pass: multiplications, and the elements of its result."""

    products: int
    elements: int


def parameters(layers: Layers, prefix: str = "") -> Iterator[tuple[str, Shape]]:
    """Yield names and shapes of trained parameters, named as in nested `Sequential`s."""
    for position, layer in enumerate(layers):
        name = f"{prefix}{position}."
        match layer:
            case ("linear", before, after):
                yield f"{name}weight", (after, before)
                yield f"{name}bias", (after,)
            case ("conv", before, after, kernel, _, _, bias):
                yield f"{name}weight", (after, before, kernel, kernel)
                if bias:
                    yield f"{name}bias", (after,)
            case ("batch_norm1d" | "batch_norm2d" | "layer_norm", size):
                yield f"{name}weight", (size,)
                yield f"{name}bias", (size,)
            case ("residual", main, shortcut):
                yield from parameters(main, f"{name}main.")
                yield from parameters(shortcut, f"{name}shortcut.")


def first_weights(workload: Workload) -> dict[str, Array]:
    """Return the values that all peers begin with: He's deviation, norms at 1, biases at 0."""
    rng = np.random.default_rng(7)
    made = {}
    for name, shape in parameters(workload.layers):
        if name.endswith("bias"):
            value = np.zeros(shape)
        elif len(shape) == 1:
            value = np.ones(shape)
        else:
            value = rng.normal(0.0, math.sqrt(2.0 / math.prod(shape[1:])), shape)
        made[name] = value.astype(np.float32)
    return made


def batch(workload: Workload) -> tuple[Array, Array]:
    """Return inputs and targets: a batch, or for `fit` a whole epoch."""
    rng = np.random.default_rng(zlib.crc32(workload.name.encode()))
    count = EPOCH if workload.kind == "fit" else workload.batch
    if workload.loss == "bce":
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        return corners, np.array([[0], [1], [1], [0]], np.float32)
    inputs = rng.random((count, *workload.shape), np.float32)
    if workload.loss == "mse":
        return inputs, inputs
    if workload.loss == "weighted":
        return inputs * 4 - 2, rng.normal(size=inputs.shape).astype(np.float32)
    return inputs, rng.integers(0, 10, count)


def contractions(layers: Layers, shape: Shape) -> tuple[list[Contraction], Shape]:
    """Return the products of one example in order, and the shape of its output."""
    found: list[Contraction] = []
    for layer in layers:
        match layer:
            case ("linear", before, after):
                found.append(Contraction(before * after, after))
                shape = (after,)
            case ("conv", before, after, kernel, stride, padding, _):
                sides = ((size + 2 * padding - kernel) // stride + 1 for size in shape[1:])
                shape = (after, *sides)
                elements = math.prod(shape)
                found.append(Contraction(elements * before * kernel * kernel, elements))
            case ("max_pool", size):
                shape = (shape[0], *(side // size for side in shape[1:]))
            case ("mean_pool",):
                shape = shape[:1]
            case ("flatten",):
                shape = (math.prod(shape),)
            case ("residual", main, shortcut):
                inner, after_main = contractions(main, shape)
                found += inner + contractions(shortcut, shape)[0]
                shape = after_main
    return found, shape


def flops(workload: Workload) -> int:
    """Return the floating-point operations of all products in a step (an epoch for `fit`).

    Backward there are two products for each: by the weights and, but for the first, by the input.
    """
    if workload.case:
        return workload.work[0]
    found, _ = contractions(workload.layers, workload.shape)
    forward = sum(c.products for c in found)
    total = forward
    if workload.kind != "infer" and found:
        total = 3 * forward - found[0].products
    return 2 * total * (EPOCH if workload.kind == "fit" else workload.batch)


def bytes_moved(workload: Workload) -> int:
    """Return the bytes that a step reads and writes if nothing stays in a cache between passes.

    Inputs once; the result of each product once out and once in, in training three times more
    (again in backward, and its gradient out and in); parameters once, in training also their
    update. Everything between products is taken to be fused into them. Without a product
    (layer norm, softmax) inputs, targets and the input's gradient are moved once.
    """
    if workload.case:
        return workload.work[1]
    inputs = workload.batch * math.prod(workload.shape)
    found, _ = contractions(workload.layers, workload.shape)
    weights = sum(math.prod(shape) for _, shape in parameters(workload.layers))
    if workload.kind == "gradient":
        return 4 * 3 * inputs
    kind = "momentum" if "momentum" in workload.settings else workload.optimizer
    results = workload.batch * sum(c.elements for c in found)
    passes = 2 if workload.kind == "infer" else 5
    moved = 4 * (inputs + passes * results + (1 + _UPDATE_PASSES[kind]) * weights)
    return moved * (EPOCH // workload.batch) if workload.kind == "fit" else moved
