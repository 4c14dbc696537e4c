"""Ops: the contract that every primitive operation fulfils, and the registry of all of them.

Takes: a class that declares what the system must know of one operation. Gives: a singleton in
`OPS`, or an error that says what is missing.
The one idea: shape rule, meaning, derivative, what it saves and its test samples stand in one
place, so no part of the system needs to know an op by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from chainrule.core.dtype import Array
from chainrule.core.errors import ChainruleError, StateError
from chainrule.core.shape import Spec
from chainrule.graph.explain import explain
from chainrule.graph.sample import Sample
from chainrule.ir.definition import Formulas

if TYPE_CHECKING:
    from chainrule.graph.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Saves:
    """What the derivative of an op reads besides the incoming gradient.

    Attributes:
        inputs: Positions of the inputs whose elements are read, or None for all of them.
        output: Whether the elements of the output are read.
    """

    inputs: tuple[int, ...] | None = ()
    output: bool = False

    def keeps(self, position: int) -> bool:
        """Return whether the input at a position is kept for the derivative."""
        return self.inputs is None or position in self.inputs


NOTHING = Saves()
INPUTS = Saves(inputs=None)
OUTPUT = Saves(output=True)


@dataclass(frozen=True)
class Cost:
    """Work of one call: floating-point operations, and bytes read and written at least."""

    flops: int
    bytes: int


class Op(ABC):
    """A primitive operation with one output.

    A subclass declares `name`, `saves`, `infer`, `eval`, `samples`, and `vjp` unless
    `differentiable` is False. It holds no state: everything that varies from call to call
    comes as an input tensor or as a hashable keyword attribute.
    """

    name: ClassVar[str]
    saves: ClassVar[Saves] = NOTHING
    differentiable: ClassVar[bool] = True
    # Name of the ONNX operator with the same meaning, where one exists.
    onnx: ClassVar[str] = ""
    # Floating-point operations per output element; contractions override `cost`.
    flops_per_element: ClassVar[int] = 1

    @abstractmethod
    def infer(self, *inputs: Any, **attrs: Any) -> Spec:
        """Return the output's shape and dtype from the inputs' `Spec`, or raise ShapeError."""

    @abstractmethod
    def eval(self, *inputs: Any, **attrs: Any) -> Array:
        """Return the output's elements from the inputs', in NumPy: the definition of the op.

        It never writes into an input; the result may be a view of one.
        """

    def vjp(self, grad: Tensor, output: Tensor, *inputs: Any, **attrs: Any) -> tuple[Any, ...]:
        """Return for each input its gradient, a Tensor, or None where there is none.

        Written with tensor operations, so that derivatives of any order exist. A gradient may
        have the broadcast shape; it is summed back to the input's shape by the caller. Elements
        of inputs and output may be read only as `saves` declares; shapes and dtypes always.
        """
        raise StateError(f"{self.name}: has no derivative")

    def lower(self, *inputs: Any, **attrs: Any) -> Formulas | None:
        """Return the formulas of the output's elements from the inputs' `Ref`.

        The last one is the output itself. They agree with `eval` on every input, NaN and
        infinities included. Elements of 16-bit floating types are float32 inside formulas.
        None: there is no formula; compiled programs call `eval`.
        """
        return None

    def condition(self, *inputs: Any, **attrs: Any) -> tuple[Formulas, ChainruleError] | None:
        """Return what must hold of the inputs' elements, and the error where it does not.

        The last formula is a bool of shape (). None: every element is allowed. Compiled programs
        check in this way what `eval` checks in eager ones.
        """
        return None

    @abstractmethod
    def samples(self) -> Iterable[Sample]:
        """Return the inputs on which the tests check the op; attributes as in `eval`."""

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        """Return the work of one call for inputs of the given shapes."""
        output = self.infer(*inputs, **attrs)
        moved = output.nbytes + sum(spec.nbytes for spec in inputs)
        return Cost(output.size * self.flops_per_element, moved)


OPS: dict[str, Op] = {}
FUNCTIONS: dict[str, Callable[..., Any]] = {}


@dataclass(frozen=True)
class Composite:
    """A public function written with other functions, and the samples that check it."""

    function: Callable[..., Any]
    samples: Callable[[], Iterable[Sample]]
    differentiable: bool = True


COMPOSITES: dict[str, Composite] = {}


def register(cls: type[Op]) -> type[Op]:
    """Put an op into the registry (a class decorator).

    Raises:
        StateError: The op is incomplete, or its name is taken.
    """
    name = getattr(cls, "name", "")
    if not name:
        raise StateError(f"op {cls.__name__}: has no name")
    if name in OPS:
        raise StateError(f"op {name}: registered twice")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if cls.differentiable and cls.vjp is Op.vjp:
        missing.append("vjp (or differentiable = False)")
    if missing:
        raise StateError(f"op {name}: incomplete, lacks {', '.join(missing)}")
    OPS[name] = cls()
    return cls


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function public under its name: `Tensor` methods find it, errors say where.

    An error raised inside gets the layer path, the user's line and the origin of the arguments
    added once. A result is known by this name (`Tensor.origin`), not by that of the last op.
    """
    name = function.__name__

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ChainruleError as error:
            if not error.context:
                explain(error, function.__code__, args, kwargs)
            raise

    @wraps(function)
    def named(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = function(*args, **kwargs)
        except ChainruleError as error:
            if not error.context:
                explain(error, function.__code__, args, kwargs)
            raise
        if getattr(result, "origin", ""):
            for arg in args:
                if arg is result:
                    return result  # handed through: it keeps the name of what made it
            result.origin = name  # type: ignore[attr-defined]  # a Tensor, see getattr above
        return result

    # The result of a primitive bears the op's name already.
    FUNCTIONS[name] = call if name in OPS else named
    return FUNCTIONS[name]


def composite(
    samples: Callable[[], Iterable[Sample]], *, differentiable: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function written with other functions public, with samples that check it.

    Args:
        samples: Returns the samples; inputs are passed in order, attributes by name.
        differentiable: Whether gradients are checked too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        call = public(function)
        COMPOSITES[function.__name__] = Composite(call, samples, differentiable)
        return call

    return decorate
