"""Evaluation: a model in use, without gradients.

Takes: a model and data. Gives: its measures over all examples, or its outputs.
The one idea: batch norm and dropout must be in the mode for use, and back afterwards as they were,
each module by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ShapeError, StateError
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Module
from chainrule.train.batches import batches, call_model, input_batches, no_batches
from chainrule.train.compiled import forward_of
from chainrule.train.measures import Loss, Measures
from chainrule.train.metrics import Metrics

__all__ = ["evaluate", "evaluating", "measure", "predict", "run_model"]


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Put a model into the mode for use, without gradients, for a block; then back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def evaluate(
    model: Module,
    loader: Iterable[Any],
    loss: Loss | None = None,
    *,
    metrics: Metrics = (),
    watch: Mapping[str, Loss] | None = None,
    compile: bool = True,
) -> dict[str, Any]:
    """Return the loss and metrics of a model over all examples of a loader.

    Means are over examples: a last batch that is smaller counts less.

    Args:
        model: The model; its mode is afterwards what it was before.
        loader: Yields pairs (inputs, targets).
        loss: Function (output, target) -> scalar tensor.
        metrics: Names (``accuracy``, ``f1``, ``mae``, ``rmse``, ``r2``, ``top5``, ``confusion``,
            ``per_class``) or metric objects.
        watch: More loss functions by name.
        compile: Whether the model runs as native code, if it can.

    Returns:
        ``{"loss": ..., name: ..., "examples": N}``.

    Raises:
        StateError: The loader is empty.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> x = chainrule.tensor([[1.0], [2.0], [3.0]])
        >>> evaluate(nn.Identity(), [(x, x + 1)], nn.MSELoss(), metrics=["mae"])
        {'loss': 1.0, 'mae': 1.0, 'examples': 3}
    """
    return measure(model, loader, Measures(loss, metrics, watch), compile=compile)


def measure(
    model: Module, loader: Iterable[Any], measures: Measures, *, compile: bool
) -> dict[str, Any]:
    """Return what `evaluate` does, for measures that are there already."""
    measures.reset()
    with evaluating(model):
        for batch in batches(loader, "loader"):
            measures.update(run_model(model, batch.inputs, compile=compile), batch)
    if not measures.examples:
        raise no_batches(loader, "loader", 1)
    return {**measures.compute(), "examples": measures.examples}


def run_model(model: Module, inputs: Any, *, compile: bool) -> Any:
    """Return a model's output for a batch of inputs."""
    return forward_of(model)(inputs) if compile else call_model(model, inputs)


def predict(
    model: Module, loader: Iterable[Any] | Tensor | Array, *, compile: bool = True
) -> Array:
    """Return the outputs of a model for all examples, in order.

    Args:
        model: The model; its mode is afterwards what it was before.
        loader: Yields inputs, or tuples that begin with them; or all inputs as one array [N, ...].
        compile: Whether the model runs as native code, if it can.

    Returns:
        [N, ...]; bfloat16 as float32.

    Raises:
        StateError: The loader is empty.
        ShapeError: The outputs of batches do not fit behind each other.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> predict(nn.ReLU(), chainrule.tensor([[-1.0], [2.0]])).tolist()
        [[0.0], [2.0]]
    """
    outputs: list[Array] = []
    with evaluating(model):
        for inputs in input_batches(loader):
            output = run_model(model, inputs, compile=compile)
            if not isinstance(output, Tensor):
                raise StateError(
                    f"predict: the model gave {type(output).__name__}, expected a tensor",
                    hint="wrap it in a module whose forward returns the output that is wanted",
                )
            outputs.append(output.numpy())
    if not outputs:
        raise no_batches(loader, "loader", 1)
    shapes = {output.shape[1:] for output in outputs}
    if len(shapes) > 1 or not outputs[0].ndim:
        listing = " and ".join(str(list(shape)) for shape in sorted(shapes))
        raise ShapeError(f"predict: outputs of examples have different shapes: {listing}")
    return np.concatenate(outputs)
