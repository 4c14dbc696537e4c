"""Tracing: a function of tensors is run once with unknown elements, and what it does is noted.

Takes: a function and its arguments. Gives: a program, and where its inputs come from and its
outputs go: arguments, results, and whatever tensors outside of the function it reads or changes.
The one idea: a tensor is a handle, so reading one from outside makes it an input, and one that
stands for something else at the end is an output; nothing about modules or optimizers is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary, ref

from chainrule.compiler.frames import Frames
from chainrule.compiler.loops import record_cond, record_scan, record_while
from chainrule.compiler.program import Assertion, Instruction, Program
from chainrule.core.dtype import Array
from chainrule.core.errors import ChainruleError, ShapeError, Site, StateError
from chainrule.core.scope import Scope, describe_scope, scopes
from chainrule.core.shape import MAX_ELEMENTS, Spec
from chainrule.core.site import user_site
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Node, mode
from chainrule.graph.op import Op
from chainrule.graph.tensor import Tensor
from chainrule.graph.tracing import Step as Round
from chainrule.graph.tracing import TraceError, Value

# Results that depend on nothing unknown are made once, while tracing, if they are that small.
SMALL = 64


@dataclass(slots=True, eq=False)
class Source:
    """Where an input of a program comes from at each call.

    Attributes:
        kind: ``argument`` (a tensor given to the function), ``state`` (a tensor that the function
            reads from outside), ``gradient`` (such a tensor's `.grad`) or ``given``.
        position: Number of the argument.
        tensor: The tensor outside.
        make: Returns the elements.
    """

    kind: Literal["argument", "state", "gradient", "given"]
    position: int = -1
    tensor: Tensor | None = None
    make: Callable[[], Array] | None = None


@dataclass(slots=True, eq=False)
class Target:
    """Where an output of a program goes at each call.

    Attributes:
        kind: ``result`` (returned), ``argument`` or ``state`` (the tensor stands for it from now
            on) or ``gradient`` (the tensor's `.grad` does).
        position: Number of the argument (also for the gradient of one, else -1), or the place
            among the results.
        tensor: The tensor outside.
        handle: For gradients, what `.grad` becomes.
    """

    kind: Literal["result", "argument", "state", "gradient"]
    position: int = -1
    tensor: Tensor | None = None
    handle: Tensor | None = None


@dataclass(slots=True, eq=False)
class Trace:
    """A traced function.

    Attributes:
        program: What it computes.
        sources: Where each of the program's inputs comes from.
        targets: Where each of the program's outputs goes.
        result: What the function returned, with a `Tensor` wherever there was one; those that
            are results stand in ``returned``.
        returned: The returned tensors that the program computes, in order.
        arguments: Identities of the argument tensors, which may be returned, with their numbers.
        gradients: The same of their gradients.
        effects: What else happens at each call, after it has succeeded.
        guards: Names and conditions; where one's value has changed, the trace is not valid.
        modules: The modules that ran; not kept alive by the trace.
        leaves: Tensors outside whose having a gradient is guarded.
    """

    program: Program
    sources: list[Source] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    result: Any = None
    returned: list[Tensor] = field(default_factory=list)
    arguments: dict[int, int] = field(default_factory=dict)
    gradients: dict[int, int] = field(default_factory=dict)
    effects: list[Callable[[], None]] = field(default_factory=list)
    guards: list[tuple[str, Callable[[], Any], Any]] = field(default_factory=list)
    modules: list[ref[Scope]] = field(default_factory=list)
    leaves: list[Tensor] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Lifted:
    """A tensor from outside while it stands for an input."""

    tensor: ref[Tensor]
    array: Array
    value: Value
    source: Source
    grad: Tensor | None
    node: Node | None


class Recorder:
    """What `apply` and its neighbours call while a function is traced (see `graph.tracing`)."""

    def __init__(self, name: str) -> None:
        self.trace = Trace(Program(name))
        self.lifted: list[_Lifted] = []
        self.handles: list[ref[Tensor]] = []
        self.frames = Frames(self.trace.program)
        self._known: dict[int, Array] = {}
        self._given: dict[object, Value] = {}
        self.undone: dict[int, Callable[[], None]] = {}
        self._cleared: set[int] = set()
        self.had_gradient: set[int] = set()
        self._places: WeakKeyDictionary[Node, tuple[Site | None, str]] = WeakKeyDictionary()
        self._layers: dict[tuple[int, ...], str] = {}
        self._modules: dict[int, Scope] = {}
        self._place: tuple[Site | None, str] | None = None

    # --- what the graph calls -------------------------------------------------------------

    def apply(self, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any], spec: Spec) -> Any:
        """Record an op, or compute it if its inputs were made here and are known.

        Raises:
            ShapeError: The result has more elements than can be counted.
        """
        if spec.size > MAX_ELEMENTS:
            raise ShapeError(
                f"{op.name}: the result {spec} of {', '.join(str(t.spec) for t in inputs)} is "
                f"absurdly large: {spec.size:.3g} elements",
                hint="look for a product of sizes where a sum was meant, or a missing reduction",
            )
        unknown = False
        for tensor in inputs:
            array = tensor._array
            if type(array) is not Value and id(array) not in self._known:
                self.lift(tensor)
            unknown = unknown or type(tensor._array) is Value
        if not unknown and spec.size <= SMALL:
            specs = tuple(t.spec for t in inputs)
            return self.known(evaluate(op, [t._array for t in inputs], attrs, specs, spec))
        values = tuple([self.value_of(tensor) for tensor in inputs])
        site, layer = self.place(4)
        step = Instruction(op, values, attrs, Value(spec), site, layer)
        return self.frames.append(self.frames.now, step)

    def lift(self, tensor: Tensor) -> None:
        """Make a tensor from outside an input of the program."""
        array = tensor._array
        if array is None:
            raise StateError("a derivative reads elements that its op does not declare in `saves`")
        if type(array) is not Value and id(array) not in self._known:
            self.enter(tensor, Source("state", tensor=tensor))

    def enter(self, tensor: Tensor, source: Source, name: str = "") -> None:
        """Let a tensor stand for a new input."""
        value = Value(tensor.spec, name)
        self.trace.program.inputs.append(value)
        self.trace.sources.append(source)
        lifted = _Lifted(ref(tensor), tensor._array, value, source, tensor.grad, tensor.node)
        self.lifted.append(lifted)
        tensor._array = value

    def known(self, array: Array) -> Array:
        """Note that elements were made inside the function, and never change."""
        self._known.setdefault(id(array), array)
        return array

    def given(self, spec: Spec, source: Callable[[], Any], name: str, key: object = None) -> Value:
        """Add an input whose elements are asked for at each call; one for all with a key."""
        if key is not None and key in self._given:
            return self._given[key]
        value = Value(spec, name)
        if key is not None:
            self._given[key] = value
        self.trace.program.inputs.append(value)
        self.trace.sources.append(Source("given", make=source))
        return value

    def undo(self, owner: object, action: Callable[[], None]) -> None:
        """Do something when tracing has ended; only the first action of an owner counts."""
        self._expect_outside("random numbers are drawn", "draw them before it, and pass them as xs")
        self.undone.setdefault(id(owner), action)

    def after(self, effect: Callable[[], None]) -> None:
        """Do something at each call, once it has succeeded."""
        self._expect_outside("a state is changed at each call", "change it after the loop")
        self.trace.effects.append(effect)

    def guard(self, condition: Callable[[], Any], name: str) -> None:
        """Trace anew when what this returns has changed."""
        self.trace.guards.append((name, condition, condition()))

    def require(self, ok: Tensor, error: ChainruleError) -> None:
        """Let a call fail unless a tensor of one bool is true."""
        if type(ok._array) is Value:
            frame = self.frames.now
            holds = self.frames.resolve(ok._array)
            frame.program.assertions.append(Assertion(holds, error))
        elif not ok._array.all():
            raise error

    def made(self, tensor: Tensor) -> None:
        """Note the handle of a result."""
        self.handles.append(ref(tensor))

    def recorded(self, node: Node, result: Tensor) -> None:
        """Note where in the user's program a node was made."""
        self._places[node] = self._place or (result.site, self._layer())

    def differentiating(self, node: Node | None) -> None:
        """Let what follows belong to the derivative of a node."""
        self._place = None if node is None else self._places.get(node)

    def accumulating(self, tensor: Tensor) -> None:
        """Guard that a leaf whose gradient is added to has one (or none) at each call."""
        grad = tensor.grad
        if id(tensor) in self._cleared:
            return
        self._cleared.add(id(tensor))
        before = next((x for x in self.lifted if x.tensor() is tensor), None)
        if grad is None and id(tensor) in self.had_gradient:
            return  # removed by hand: what was there at the beginning is not looked at
        if before is not None and before.source.kind == "argument":
            if grad is not None:
                raise TraceError(
                    f"compile: a gradient is added to the one that argument "
                    f"{before.source.position} {tensor.spec} has already",
                    hint="remove it in the compiled function: x.grad = None",
                )
            return
        if grad is not None and type(grad._array) is not Value:
            self.enter(grad, Source("gradient", tensor=tensor))
        present = grad is not None
        self.trace.leaves.append(tensor)
        self.trace.guards.append(
            ("whether a gradient is there to add to", lambda: tensor.grad is not None, present)
        )

    def cleared(self, tensor: Tensor) -> None:
        """Note that a leaf's gradient was removed, so that none from before is added to."""
        self._cleared.add(id(tensor))

    def scan(
        self, step: Round, carry: list[Tensor], xs: list[Tensor], length: int, *, reverse: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Record a loop over slices; return the last carry and the stacked results."""
        return record_scan(self, step, carry, xs, length, reverse=reverse)

    def cond(
        self, condition: Tensor, true: Callable[[], list[Tensor]], false: Callable[[], list[Tensor]]
    ) -> list[Tensor]:
        """Record a branch; return the results of the function that is chosen."""
        return record_cond(self, condition, true, false)

    def while_loop(
        self,
        condition: Callable[[list[Tensor]], Tensor],
        body: Callable[[list[Tensor]], list[Tensor]],
        carry: list[Tensor],
    ) -> list[Tensor]:
        """Record a loop that runs while a condition holds; return the last carry."""
        return record_while(self, condition, body, carry)

    # --- inside -----------------------------------------------------------------------------

    def value_of(self, tensor: Tensor) -> Value:
        """Return what stands for a tensor in the program that is being recorded."""
        if type(tensor._array) is not Value and id(tensor._array) not in self._known:
            self.lift(tensor)
        array = tensor._array
        if type(array) is Value:
            return self.frames.resolve(array)
        return self.frames.constant(array, Value(tensor.spec))

    def place(self, depth: int = 3) -> tuple[Site | None, str]:
        """Return the user's line and layer that what is being recorded belongs to."""
        return self._place or (user_site(depth), self._layer())

    def _expect_outside(self, what: str, remedy: str) -> None:
        frame = self.frames.now
        if frame.parent is not None:
            raise TraceError(f"compile: {what} inside of {frame.what}", hint=remedy)

    def _layer(self) -> str:
        stack = scopes()
        key = tuple(map(id, stack))
        if key not in self._layers:
            self._layers[key] = describe_scope()
            for scope in stack:
                if id(scope) not in self._modules:
                    self._modules[id(scope)] = scope
                    self.trace.modules.append(ref(scope))
        return self._layers[key]


def trace(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    tensors: list[Tensor],
    name: str = "",
    leaves: Iterable[Tensor] = (),
) -> Trace:
    """Run a function once with unknown elements and return what it does.

    Everything that the function changes is put back: it has not run.

    Args:
        function: The function.
        arguments: Its positional arguments.
        tensors: The tensors in them (at any depth), which become the first inputs.
        name: Its name.
        leaves: Leaves outside that an earlier trace found; whether they have a gradient before
            the call tells removing one in the function from there being none.

    Raises:
        TraceError: It reads elements, or mixes graphs recorded outside with its own.
    """
    recorder = Recorder(name or getattr(function, "__name__", "function"))
    recorder.had_gradient = {id(leaf) for leaf in leaves if leaf.grad is not None}
    before = mode.tracer
    mode.tracer = recorder
    try:
        for position, tensor in enumerate(tensors):
            _check_argument(tensor, position)
            source = Source("argument", position)
            recorder.enter(tensor, source, f"argument {position}")
        result = function(*arguments)
        return _finish(recorder, result, {id(t): n for n, t in enumerate(tensors)})
    finally:
        mode.tracer = before
        _put_back(recorder)


def _check_argument(tensor: Tensor, position: int) -> None:
    if not tensor.is_leaf:
        raise TraceError(
            f"compile: argument {position} {tensor.spec} is part of a graph recorded outside of "
            "the compiled function, which its gradient could not reach",
            hint="pass x.detach(), or compile the whole step, loss.backward() included",
        )


def _finish(recorder: Recorder, result: Any, arguments: dict[int, int]) -> Trace:
    """Find what the function has changed and returned."""
    done, program = recorder.trace, recorder.trace.program
    done.result = result
    done.arguments = arguments
    changed: set[int] = set()
    for lifted in recorder.lifted:
        tensor = lifted.tensor()
        if tensor is None or lifted.source.kind == "gradient":
            continue
        changed.add(id(tensor))
        position = arguments.get(id(tensor), -1)
        if tensor._array is not lifted.value:
            kind: Literal["argument", "state"] = "state" if position < 0 else "argument"
            _output(recorder, Target(kind, position, tensor), tensor, lifted.value)
        _gradient(recorder, lifted, tensor, position, changed)
    for returned in tensors_in(result):
        if id(returned) not in changed and type(returned._array) is Value:
            changed.add(id(returned))
            done.returned.append(returned)
            _output(recorder, Target("result", len(done.returned) - 1), returned, None)
    for handle in recorder.handles:
        escaped = handle()
        if escaped is None or id(escaped) in changed or type(escaped._array) is not Value:
            continue
        changed.add(id(escaped))
        _output(recorder, Target("state", tensor=escaped), escaped, None)
    _embed_dead(recorder)
    assert len(program.inputs) == len(done.sources)
    return done


def _output(recorder: Recorder, target: Target, tensor: Tensor, old: Value | None) -> None:
    recorder.trace.program.outputs.append(recorder.value_of(tensor))
    recorder.trace.program.overwrites.append(old)
    recorder.trace.targets.append(target)


def _gradient(
    recorder: Recorder, lifted: _Lifted, tensor: Tensor, position: int, changed: set[int]
) -> None:
    """Make the gradient that a leaf has received an output."""
    grad = tensor.grad
    if grad is None or grad is lifted.grad:
        return
    changed.add(id(grad))  # where it is returned too, it is that very tensor
    if position >= 0:
        # The argument of another call has another gradient.
        recorder.trace.gradients[id(grad)] = position
        _output(recorder, Target("gradient", position), grad, None)
        return
    old = next((x.value for x in recorder.lifted if x.tensor() is lifted.grad), None)
    _output(recorder, Target("gradient", position, tensor, grad), grad, old)


def _embed_dead(recorder: Recorder) -> None:
    """Make constants of tensors that were made inside (so nobody can change them)."""
    done = recorder.trace
    dead = {x.value for x in recorder.lifted if x.tensor() is None}
    for lifted in recorder.lifted:
        if lifted.value in dead:
            done.program.constants[lifted.value] = lifted.array
    kept = [
        (value, source)
        for value, source in zip(done.program.inputs, done.sources, strict=True)
        if value not in dead
    ]
    done.program.inputs = [value for value, _ in kept]
    done.sources = [source for _, source in kept]


def _put_back(recorder: Recorder) -> None:
    """Let every tensor from outside stand for what it stood for before."""
    for action in recorder.undone.values():
        action()
    for lifted in reversed(recorder.lifted):
        tensor = lifted.tensor()
        if tensor is None:
            continue
        tensor._array = lifted.array
        tensor.grad = lifted.grad
        if tensor.node is not lifted.node and (tensor.node is None or tensor.node.op is not None):
            tensor.node = lifted.node


def tensors_in(structure: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries, in order."""
    found: list[Tensor] = []
    stack = [structure]
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, tuple | list):
            stack.extend(reversed(item))
        elif isinstance(item, dict):
            stack.extend(reversed(item.values()))
    return found
