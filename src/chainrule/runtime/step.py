"""One compiled signature: what happens at each call of a compiled function.

Takes: a trace, and the native program made of it. Gives: results, and new elements for the
tensors outside that the function changes.
The one idea: native code writes new elements over the old ones where nobody else can see them,
and into fresh memory where somebody can, so in-place updates are never visible elsewhere.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from sys import getrefcount
from threading import Lock
from typing import Any, Protocol

import numpy as np

from chainrule.compiler.trace import Source, Target, Trace
from chainrule.core.dtype import Array, float32, float64, to_storage
from chainrule.core.shape import Spec
from chainrule.graph.tensor import Tensor
from chainrule.runtime.blocks import ALIGNMENT
from chainrule.runtime.elements import aligned_empty
from chainrule.runtime.executable import Timing

# References to elements that nobody else can see: from the tensor, from the list of arrays as an
# output, from the variable that is looked at, and from the call that counts.
_OWN = 4


class Native(Protocol):
    """A loaded native program."""

    call: Callable[[list[Any]], int]

    def profile_call(self, arrays: list[Any]) -> tuple[int, list[Timing]]:
        """Do what ``call`` does; return also when each launch ran."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Who wants to know the times of the kernels of calls.

    Attributes:
        wanted: Asked before each call of a step.
        record: Called with the step, when it began, how long it took, and the times.
    """

    wanted: Callable[[Step], bool]
    record: Callable[[Step, float, float, list[Timing]], None]


class _Recorder:
    """The recording under way in this process, or None."""

    now: Recording | None = None


recording = _Recorder()


class _Slot:
    """A tensor outside whose elements the program replaces.

    Attributes:
        tensor: The tensor.
        read: Its place among the arrays as an input, or -1.
        write: Its place among the arrays as an output.
        spec: Shape and dtype of the new elements.
        fresh: Whether the new elements are in new memory.
        references: How many references to the old ones there are if nobody else sees them.
    """

    __slots__ = ("fresh", "read", "references", "spec", "tensor", "write")

    def __init__(self, tensor: Tensor, read: int, write: int, spec: Spec) -> None:
        self.tensor = tensor
        self.read = read
        self.write = write
        self.spec = spec
        self.fresh = False
        self.references = _OWN + (read >= 0)  # as an input too


class Step:
    """A traced function with its native program.

    Args:
        trace: The trace.
        native: The program; its call takes the arrays of inputs, then of outputs.
    """

    def __init__(self, trace: Trace, native: Native) -> None:
        self.trace = trace
        self.native = native
        self._lock = Lock()
        program = trace.program
        first = len(program.inputs)
        self._arrays: list[Any] = [None] * (first + len(program.outputs))
        self._arguments: list[tuple[int, int]] = []
        self._given: list[tuple[int, Spec, Callable[[], Any]]] = []
        self._cells: list[tuple[Any, Callable[[], Any]]] = []
        self._added: list[tuple[int, Tensor]] = []
        self._reads: list[tuple[int, Tensor]] = []
        self._writes: list[_Slot] = []
        self._results: list[tuple[int, Callable[[], Array]]] = []
        self._gradients: list[tuple[Target, _Slot]] = []
        self._changed: list[tuple[int, Target, Spec]] = []
        by_value = {}
        for place, (value, source) in enumerate(zip(program.inputs, trace.sources, strict=True)):
            by_value[value] = place
            self._add_source(place, source, value.spec)
        for number, target in enumerate(trace.targets):
            old = program.overwrites[number]
            read = -1 if old is None else by_value.get(old, -1)
            self._add_target(first + number, target, program.outputs[number].spec, read)
        written = {slot.read for slot in self._writes}
        self._reads = [read for read in self._reads if read[0] not in written]
        self._build = _builder(trace)

    # --- setting up -------------------------------------------------------------------------

    def _add_source(self, place: int, source: Source, spec: Spec) -> None:
        if source.kind == "argument":
            self._arguments.append((place, source.position))
        elif source.kind == "given":
            assert source.make is not None
            if not spec.shape and spec.dtype in _CELLS:
                cell = _CELLS[spec.dtype]()
                self._arrays[place] = np.ndarray((), spec.dtype.storage, memoryview(cell))
                self._cells.append((cell, source.make))
            else:
                self._given.append((place, spec, source.make))
        else:
            assert source.tensor is not None
            kept = self._reads if source.kind == "state" else self._added
            kept.append((place, source.tensor))

    def _add_target(self, place: int, target: Target, spec: Spec, read: int) -> None:
        if target.kind == "result":
            self._results.append((place, _maker(spec)))
        elif target.kind == "argument" or (target.kind == "gradient" and target.position >= 0):
            self._changed.append((place, target, spec))
        else:
            tensor = target.tensor if target.kind == "state" else target.handle
            assert tensor is not None
            slot = _Slot(tensor, read if target.kind == "state" else -1, place, spec)
            self._writes.append(slot)
            if target.kind == "gradient":
                self._gradients.append((target, slot))

    # --- running ----------------------------------------------------------------------------

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """Call the program; returns what the function returns.

        Args:
            tensors: The tensors in the arguments, in order.

        Raises:
            CheckError: A condition on the elements does not hold; nothing was changed.
        """
        # Long programs let other threads run, which must not change the list of arrays meanwhile.
        with self._lock:
            return self._run(tensors)

    def _run(self, tensors: Sequence[Tensor]) -> Any:
        arrays = self._arrays
        for place, position in self._arguments:
            arrays[place] = _contiguous(tensors[position]._array)
        for cell, number in self._cells:
            cell.value = number()
        for place, spec, make in self._given:
            arrays[place] = _elements(make(), spec)
        for place, leaf in self._added:
            assert leaf.grad is not None  # the trace's guards have looked
            arrays[place] = _contiguous(leaf.grad._array)
        for place, tensor in self._reads:
            if tensor._array is not arrays[place]:
                arrays[place] = tensor._array = _contiguous(tensor._array)
        for slot in self._writes:
            array = slot.tensor._array
            # What stands there is ours, from the last call; does nobody else see it?
            if array is not arrays[slot.write] or getrefcount(array) > slot.references:
                self._prepare(slot, arrays)
        made = []
        for place, make_array in self._results:
            arrays[place] = array = make_array()
            made.append(array)
        for place, _, spec in self._changed:
            arrays[place] = aligned_empty(spec)
        if recording.now is not None and recording.now.wanted(self):
            failed = self._recorded(arrays, recording.now)
        else:
            failed = self.native.call(arrays)
        if failed:
            raise CheckError(failed)
        self._commit(tensors, arrays)
        return self._build(made, tensors)

    def _recorded(self, arrays: list[Any], to: Recording) -> int:
        start = time.perf_counter()
        failed, timings = self.native.profile_call(arrays)
        end = max((t.end for t in timings), default=time.perf_counter() - start)
        to.record(self, start, end, timings)
        return failed

    def _prepare(self, slot: _Slot, arrays: list[Any]) -> None:
        """Let new elements of a tensor outside go into new memory."""
        array = slot.tensor._array
        if slot.read >= 0 and array is not arrays[slot.read]:
            arrays[slot.read] = slot.tensor._array = _contiguous(array)
        slot.fresh = True
        arrays[slot.write] = aligned_empty(slot.spec)

    def _commit(self, tensors: Sequence[Tensor], arrays: list[Any]) -> None:
        """Let the tensors outside stand for their new elements."""
        for slot in self._writes:
            if slot.fresh:
                slot.fresh = False
                slot.tensor._array = array = arrays[slot.write]
                slot.tensor.spec = slot.spec
                if slot.read >= 0:
                    arrays[slot.read] = array
        for target, slot in self._gradients:
            if target.tensor is not None and target.tensor.grad is not slot.tensor:
                target.tensor.grad = slot.tensor
        for place, target, spec in self._changed:
            owner = tensors[target.position]
            if target.kind == "gradient":
                owner.grad = Tensor(arrays[place], spec)
            else:
                owner._array, owner.spec = arrays[place], spec
            arrays[place] = None
        for place, _ in self._results:
            arrays[place] = None
        for effect in self.trace.effects:
            effect()


_CELLS = {float32: ctypes.c_float, float64: ctypes.c_double}


def _maker(spec: Spec) -> Callable[[], Array]:
    """Return what makes memory for a result; small ones need not be aligned."""
    if spec.nbytes < ALIGNMENT:
        return partial(np.empty, spec.shape, spec.dtype.storage)
    return partial(aligned_empty, spec)


def _contiguous(array: Array) -> Array:
    """Return elements in order, not copied where they are; NumPy's own gives () the shape (1,)."""
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _elements(given: Any, spec: Spec) -> Array:
    """Return given elements in storage form; a number may not be in it yet."""
    if isinstance(given, np.ndarray):
        return np.ascontiguousarray(given, spec.dtype.storage)
    with np.errstate(all="ignore"):
        return to_storage(np.asarray(given, spec.dtype.compute), spec.dtype)


class CheckError(Exception):
    """A condition on the elements of a compiled function's tensors does not hold."""


def _builder(trace: Trace) -> Callable[[list[Array], Sequence[Tensor]], Any]:
    """Return what makes the function's result of the arrays computed and the arguments."""
    places = {id(tensor): n for n, tensor in enumerate(trace.returned)}
    kinds = [(tensor.spec, tensor.origin, tensor.site) for tensor in trace.returned]

    def made(arrays: list[Array], place: int) -> Tensor:
        spec, origin, site = kinds[place]
        tensor = Tensor(arrays[place], spec)
        tensor.origin, tensor.site = origin, site
        return tensor

    if trace.result is None:
        return lambda arrays, arguments: None
    if len(kinds) == 1 and trace.result is trace.returned[0]:
        return lambda arrays, arguments: made(arrays, 0)

    def build(arrays: list[Array], arguments: Sequence[Tensor]) -> Any:
        tensors = [made(arrays, place) for place in range(len(kinds))]

        def put(item: Any) -> Any:
            if isinstance(item, Tensor):
                if id(item) in places:
                    return tensors[places[id(item)]]
                if id(item) in trace.gradients:
                    return arguments[trace.gradients[id(item)]].grad
                position = trace.arguments.get(id(item))
                return item if position is None else arguments[position]
            if isinstance(item, tuple):
                parts = [put(part) for part in item]
                return type(item)(*parts) if hasattr(item, "_fields") else tuple(parts)
            if isinstance(item, list):
                return [put(part) for part in item]
            if isinstance(item, dict):
                return {key: put(part) for key, part in item.items()}
            return item

        return put(trace.result)

    return build
