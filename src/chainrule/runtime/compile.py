"""Compilation: a function of tensors becomes one native program for each signature.

Takes: a function that reads and changes tensors. Gives: one that does the same, faster.
The one idea: the first call with a signature is traced, and nothing is guessed later: whatever
the program depends on is compared at each call, and a new trace says why it was needed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from chainrule.compiler.trace import Trace, tensors_in, trace
from chainrule.core.errors import ArgumentError, ChainruleError
from chainrule.core.scope import changes
from chainrule.core.shape import Spec
from chainrule.graph.explain import hide_own_frames
from chainrule.graph.node import mode
from chainrule.graph.tensor import Tensor, from_numpy
from chainrule.runtime.kept import native_of
from chainrule.runtime.stages import Traced
from chainrule.runtime.step import CheckError, Step

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("chainrule.compile")

# How many signatures of one function are kept.
SIGNATURES = 16


@dataclass(slots=True, eq=False)
class _Entry:
    """A program and what it was made for."""

    step: Step
    modules: tuple[Any, ...]
    version: int
    recording: bool
    # Of the arguments, if they are different tensors without gradients and nothing else.
    plain: tuple[Spec, ...] | None
    # Other arguments, so that no new object gets their identity.
    constants: list[Any]


class Compiled(Generic[P, R]):
    """A function that runs as native code; see `compile`.

    Attributes:
        function: The function as it was written.
        name: Its name.
        causes: Why each trace was needed, in order.
    """

    def __init__(self, function: Callable[P, R], signatures: int = SIGNATURES) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        # A partial function has no name of its own.
        self.name = str(getattr(getattr(function, "func", function), "__name__", "function"))
        self.causes: list[str] = []
        self._limit = signatures
        self._entries: dict[Any, list[_Entry]] = {}
        self._last: _Entry | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if mode.tracer is not None:
            return self.function(*args, **kwargs)  # inside of another compiled function
        entry = self._last
        tensors: Any = args
        if entry is None or kwargs or not _is_like(args, entry) or not _holds(entry):
            key, tensors = _signature(args, kwargs)
            entry = self._find(key)
            if entry is None:
                try:
                    entry = self._make(key, args, kwargs)
                except ChainruleError as error:
                    hide_own_frames(error)
                    raise
            self._last = entry
        try:
            result: R = entry.step.run(tensors)
        except CheckError:
            # Nothing was changed. The eager function finds the fault again and says more about
            # it; where it finds none, since it rounds differently, its result is as good.
            return self.function(*args, **kwargs)
        return result

    def trace(self, *args: P.args, **kwargs: P.kwargs) -> Traced:
        """Return what the function does with such arguments, without doing it."""
        args, kwargs = _as_tensors(args), _as_tensors(kwargs)

        def call(*_: Any) -> Any:
            return self.function(*args, **kwargs)

        known = (entry for entries in self._entries.values() for entry in entries)
        leaves = [leaf for entry in known for leaf in entry.step.trace.leaves]
        return Traced(trace(call, (), tensors_in((args, kwargs)), self.name, leaves))

    # --- inside -----------------------------------------------------------------------------

    def _find(self, key: Any) -> _Entry | None:
        for entry in self._entries.get(key, ()):
            if _holds(entry):
                return entry
        return None

    def _make(self, key: Any, args: Any, kwargs: Any) -> _Entry:
        cause = self._cause(key)
        self.causes.append(cause)
        if len(self.causes) > 1:
            log.info("%s: traced again: %s", self.name, cause)
        traced = self.trace(*args, **kwargs)
        modules = _fingerprint(traced.trace)
        step = Step(traced.trace, native_of(traced.trace.program))
        others = [x for x in (*args, *kwargs.values()) if not isinstance(x, Tensor)]
        plain = None if others or kwargs else _plain(args)
        entry = _Entry(step, modules, changes.number, mode.recording, plain, others)
        if sum(map(len, self._entries.values())) >= self._limit:
            oldest = next(iter(self._entries))
            del self._entries[oldest]
        self._entries.setdefault(key, []).append(entry)
        return entry

    def _cause(self, key: Any) -> str:
        """Return why no program fits."""
        if not self._entries:
            return "first call"
        if key in self._entries:
            return _difference(self._entries[key][-1])
        last = next(reversed(self._entries))
        for position, (now, before) in enumerate(zip(key[2:], last[2:], strict=False)):
            if now != before:
                return f"argument {position} is {_shown(now)}, was {_shown(before)}"
        if key[0] != last[0]:
            return "recording of gradients was switched"
        return "the arguments have another structure"


def _plain(args: tuple[Any, ...]) -> tuple[Spec, ...] | None:
    """Return the specs of arguments that are different tensors without gradients, else None."""
    if len({id(t) for t in args}) < len(args) or any(t.node is not None for t in args):
        return None
    return tuple(t.spec for t in args)


def _is_like(args: tuple[Any, ...], entry: _Entry) -> bool:
    """Return whether arguments are surely of an entry's signature; this is all most calls need."""
    plain = entry.plain
    if plain is None or len(plain) != len(args) or mode.recording is not entry.recording:
        return False
    previous = None
    for argument, spec in zip(args, plain, strict=True):
        if type(argument) is not Tensor or argument.spec != spec or argument.node is not None:
            return False
        if argument is previous:
            return False
        previous = argument
    # More than two arguments could be equal without being neighbours.
    return len(args) < 3 or len({id(argument) for argument in args}) == len(args)


def _signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """Return what a program depends on, and the tensors in the arguments."""
    tensors: list[Tensor] = []
    key: list[Any] = [mode.recording, tuple(kwargs)]
    for argument in (*args, *kwargs.values()):
        if isinstance(argument, Tensor):
            tensors.append(argument)
            key.append((argument.spec, _gradient_of(argument)))
        else:
            key.append(_leaf(argument, tensors))
    if len(tensors) > 1 and len({id(t) for t in tensors}) < len(tensors):
        identities = [id(t) for t in tensors]
        key.append(tuple(identities.index(i) for i in identities))
    return tuple(key), tensors


def _gradient_of(argument: Tensor) -> str:
    """Return whether an argument takes part in differentiation, and has a gradient."""
    if argument.node is None:
        return ""
    return " with a gradient" if argument.grad is not None else " that requires one"


def _leaf(argument: Any, tensors: list[Tensor]) -> Any:
    """Return the part of the signature that an argument is; append the tensors in it."""
    if isinstance(argument, Tensor):
        tensors.append(argument)
        return argument.spec, _gradient_of(argument)
    if isinstance(argument, np.ndarray):
        made = from_numpy(argument)
        tensors.append(made)
        return made.spec, ""
    if isinstance(argument, tuple | list):
        return type(argument).__name__, *(_leaf(item, tensors) for item in argument)
    if isinstance(argument, dict):
        return "dict", *((name, _leaf(item, tensors)) for name, item in argument.items())
    if isinstance(argument, bool | int | float | str | bytes | type(None)):
        # 1, 1.0 and True are equal but not the same.
        return type(argument).__name__, argument
    return type(argument).__name__, id(argument)


def _as_tensors(structure: Any) -> Any:
    """Return arguments with tensors in the place of arrays."""
    if isinstance(structure, np.ndarray):
        return from_numpy(structure)
    if isinstance(structure, tuple) and not hasattr(structure, "_fields"):
        return tuple(_as_tensors(item) for item in structure)
    if isinstance(structure, list):
        return [_as_tensors(item) for item in structure]
    if isinstance(structure, dict):
        return {name: _as_tensors(item) for name, item in structure.items()}
    return structure


def _fingerprint(done: Trace) -> tuple[Any, ...]:
    """Return what of the modules that ran decides what they do."""
    return tuple(
        (name, value if isinstance(value, bool | int | float | str | tuple) else id(value))
        for module in done.modules
        for name, value in getattr(module(), "__dict__", {}).items()
        if not name.startswith("_")
    )


def _holds(entry: _Entry) -> bool:
    """Return whether everything outside is as it was when the program was made."""
    if entry.version != changes.number:
        if _fingerprint(entry.step.trace) != entry.modules:
            return False
        entry.version = changes.number
    for _, condition, value in entry.step.trace.guards:  # noqa: SIM110 - twice as fast as all()
        if condition() != value:
            return False
    return True


def _difference(entry: _Entry) -> str:
    now = _fingerprint(entry.step.trace)
    for (name, value), (_, before) in zip(now, entry.modules, strict=False):
        if value != before:
            return f"{name} of a module was changed"
    for name, condition, value in entry.step.trace.guards:
        if condition() != value:
            return f"{name} was changed"
    return "a module was changed"


def _shown(part: Any) -> str:
    if isinstance(part, tuple) and len(part) == 2 and hasattr(part[0], "shape"):
        return f"{part[0]}{part[1]}"
    return repr(part[1]) if isinstance(part, tuple) and len(part) == 2 else "another structure"


@overload
def compile(function: Callable[P, R], *, signatures: int = SIGNATURES) -> Compiled[P, R]: ...
@overload
def compile(
    function: None = None, *, signatures: int = SIGNATURES
) -> Callable[[Callable[P, R]], Compiled[P, R]]: ...
def compile(function: Any = None, *, signatures: int = SIGNATURES) -> Any:
    """Return a function that does the same as one native program.

    The function is run once with tensors whose elements are not known yet, and what it does is
    compiled: also ``loss.backward()``, ``optimizer.step()``, random numbers, and changes of
    parameters and buffers. Later calls with tensors of the same shapes and dtypes, and the same
    other arguments, run the program. Python statements between the operations (printing,
    appending to a list) happen only while tracing.

    Args:
        function: A function of tensors, numbers, and structures of them.
        signatures: How many programs (for different shapes, dtypes or other arguments) are kept.

    Returns:
        A `Compiled` function; ``trace(*args)`` shows what it does.

    Raises:
        TraceError: (when called) Elements are read while tracing: ``if loss > 3``, ``x.item()``.

    Example:
        >>> import chainrule
        >>> @chainrule.compile
        ... def f(x, y):
        ...     return (x * y).sum()
        >>> f(chainrule.ones(3), chainrule.ones(3)).item()
        3.0
    """
    if signatures < 1:
        raise ArgumentError(f"compile: signatures={signatures}, expected at least 1")
    if function is None:
        return lambda inner: Compiled(inner, signatures)
    return Compiled(function, signatures)
