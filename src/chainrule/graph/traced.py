"""Traced: how functions behave that need a number, a check or an effect at each call.

Takes: sources of numbers, conditions, effects. Gives: the same in eager and compiled functions.
The one idea: what Python does beside the operations is registered, so that it happens again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chainrule.core.dtype import Array, DType
from chainrule.core.errors import ChainruleError
from chainrule.core.shape import Spec
from chainrule.graph.node import mode
from chainrule.graph.tensor import Tensor
from chainrule.graph.tracing import Value


def is_traced(*tensors: Tensor) -> bool:
    """Return whether elements of a tensor are not known, because a function is being traced."""
    if mode.tracer is None:
        return False
    for tensor in tensors:
        mode.tracer.lift(tensor)
    return any(type(tensor._array) is Value for tensor in tensors)


def given(source: Callable[[], Array], spec: Spec, name: str, key: object = None) -> Tensor:
    """Return a tensor whose elements are asked for now, and at each call of a compiled function.

    Args:
        source: Returns the elements, in storage form.
        spec: Shape and dtype.
        name: What it is, for people.
        key: Asked for twice with one key, the elements are the same.
    """
    if mode.tracer is None:
        return Tensor(source(), spec)
    return Tensor(mode.tracer.given(spec, source, name, key), spec)


def number(
    source: Callable[[], float], dtype: DType, name: str, key: object = None
) -> Tensor | float:
    """Return a Python number that may differ at each call of a compiled function.

    Args:
        source: Returns the number.
        dtype: Floating dtype of the tensor that stands for it while tracing.
        name: What it is, for people.
        key: Asked for twice with one key, the number is the same, so it is computed once.

    Returns:
        The number itself, or while tracing a 0-d tensor.
    """
    if mode.tracer is None:
        return source()
    spec = Spec((), dtype)
    named = None if key is None else (name, dtype, key)
    return Tensor(mode.tracer.given(spec, source, name, named), spec)


@contextmanager
def untraced() -> Iterator[None]:
    """Compute what is inside, even while a function is traced: it has happened before the call."""
    tracer = mode.tracer
    mode.tracer = None
    try:
        yield
    finally:
        mode.tracer = tracer


def clear_gradient(tensor: Tensor) -> None:
    """Remove a leaf's gradient."""
    if mode.tracer is not None:
        mode.tracer.cleared(tensor)
    tensor.grad = None


def after(effect: Callable[[], None]) -> None:
    """Do something now; if a function is being traced, at each call of it instead."""
    if mode.tracer is None:
        effect()
    else:
        mode.tracer.after(effect)


def guard(condition: Callable[[], object], name: str) -> None:
    """Let a compiled function be traced anew when what ``condition`` returns has changed."""
    if mode.tracer is not None:
        mode.tracer.guard(condition, name)


def require(ok: Tensor, error: ChainruleError) -> None:
    """Let a compiled function fail unless a tensor of one bool is true; only while tracing."""
    if mode.tracer is not None:
        mode.tracer.require(ok, error)
