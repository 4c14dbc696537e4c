"""Tensors: handles on immutable arrays that remember how they were made.

Takes: numbers, arrays, results of ops. Gives: `Tensor`, and `apply`, through which every
operation passes.
The one idea: a tensor is a handle. In-place methods rebind it to a new array; no two tensors
share elements that can change, so there is no aliasing to reason about.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self
from weakref import ref

import numpy as np

from chainrule.core.device import as_device
from chainrule.core.dtype import (
    Array,
    DType,
    DTypeLike,
    as_dtype,
    bool_,
    float32,
    float64,
    int64,
    promote,
    promote_scalar,
    to_compute,
    to_storage,
)
from chainrule.core.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    ShapeError,
    Site,
    StateError,
)
from chainrule.core.shape import Shape, Spec
from chainrule.core.site import user_site
from chainrule.graph.evaluate import evaluate
from chainrule.graph.explain import located
from chainrule.graph.foreign import no_numbers, numpy_function, numpy_ufunc
from chainrule.graph.methods import Methods
from chainrule.graph.node import Hook, Node, leaf, mode
from chainrule.graph.op import FUNCTIONS, Op, public
from chainrule.graph.tracing import Value, unknown_elements

Number = bool | int | float


class Tensor(Methods):
    """A multi-dimensional array whose operations are recorded for differentiation.

    Made by `tensor`, by creation functions, or as the result of an operation.

    Attributes:
        spec: Shape and dtype.
        grad: The gradient that `backward` has accumulated here, or None.
        node: What made this tensor, or the leaf that its gradient arrives at; None if it
            takes part in no differentiation.
        origin: Name of the function that made it ("" for data).
        site: Where in the user's program it was made.
    """

    __slots__ = (*("__weakref__", "_array", "grad", "hooks", "node", "origin", "site", "spec"),)

    __hash__ = object.__hash__

    def __init__(self, array: Array | Value | None, spec: Spec) -> None:
        # A `Value` while a function is being traced, None where a derivative may not look.
        self._array: Any = array
        self.spec = spec
        self.node: Node | None = None
        self.grad: Tensor | None = None
        self.hooks: dict[int, Hook] | None = None
        self.origin = ""
        self.site: Site | None = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        # NumPy arrays on the left of an operator must leave it to us.
        return numpy_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_function(function, args, kwargs)

    @property
    def array(self) -> Array:
        """The stored elements; not to be written to. For float16 and bfloat16 see `DType`."""
        array: Array | Value | None = self._array
        if isinstance(array, Value):
            raise unknown_elements(self.spec)
        if array is None:
            raise StateError("a derivative reads elements that its op does not declare in `saves`")
        return array

    @property
    def shape(self) -> Shape:
        """Size of each axis."""
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        return self.spec.dtype

    @property
    def device(self) -> str:
        """Where the elements live."""
        return "cpu"

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was not made by a recorded operation."""
        return self.node is None or self.node.op is None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded; it can be set on leaves."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self.is_leaf:
            if value:
                return
            raise GradientError(
                f"requires_grad: cannot be switched off on the result of {self.origin}",
                hint="use x.detach()",
            )
        if value and not self.dtype.is_floating:
            raise DTypeError(
                f"requires_grad: only floating-point tensors have gradients, not {self.spec}",
                hint="convert it first: x.float()",
            )
        self._rebind_leaf(value)

    def _rebind_leaf(self, requires_grad: bool) -> None:
        self.node = None
        if requires_grad:
            self.node = leaf(self.spec)
            self.node.owner = ref(self)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` and return this tensor."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Let `backward` leave a gradient in `.grad` although this is not a leaf.

        Raises:
            GradientError: This tensor takes part in no differentiation.
        """
        if self.node is None:
            raise GradientError("retain_grad: this tensor does not require a gradient")
        self.node.owner = ref(self)

    def register_hook(self, hook: Hook) -> int:
        """Call ``hook(grad)`` whenever a gradient reaches this tensor.

        A tensor that it returns takes the gradient's place.

        Returns:
            A number by which `remove_hook` takes it off again.

        Raises:
            GradientError: This tensor takes part in no differentiation.
        """
        if self.node is None:
            raise GradientError("register_hook: this tensor does not require a gradient")
        # A leaf's hooks stay with the handle, which outlives the nodes it is rebound to.
        hooks = self.hooks if self.is_leaf else self.node.hooks
        if hooks is None:
            hooks = {}
        number = max(hooks, default=0) + 1
        hooks[number] = hook
        if self.is_leaf:
            self.hooks = hooks
        else:
            self.node.hooks = hooks
        return number

    def remove_hook(self, number: int) -> None:
        """Take off a hook by the number that `register_hook` returned."""
        hooks = self.hooks if self.is_leaf or self.node is None else self.node.hooks
        if hooks is not None:
            hooks.pop(number, None)

    def detach(self) -> Tensor:
        """Return a tensor with the same elements that takes part in no differentiation."""
        if mode.tracer is not None:
            mode.tracer.lift(self)
        return Tensor(self._array, self.spec)

    def _rebind(self, result: Tensor, op: str) -> Self:
        """Make this handle stand for another tensor: what every in-place method does."""
        if mode.tracer is not None:
            mode.tracer.lift(self)
        if result.shape != self.shape:
            rule = f"{op}: the result {result.spec} does not fit in place into {self.spec}"
            hint = "use the operation that returns a new tensor: x = x + y for x += y"
            raise located(ShapeError(rule, hint=hint), self)
        if result.dtype is not self.dtype:
            if result.dtype.is_floating and not self.dtype.is_floating:
                rule = f"{op}: a {result.dtype.name} result does not fit in place into {self.spec}"
                hint = "convert the tensor first: x = x.float()"
                raise located(DTypeError(rule, hint=hint), self)
            result = result.to(self.dtype)
        if self.node is not None and self.node.op is None:
            if mode.recording:
                rule = f"{op}: in-place change of a leaf that requires a gradient: {self.spec}"
                hint = "put it under `with chainrule.no_grad():`; an optimizer's step() does so"
                raise located(GradientError(rule, hint=hint), self)
            self._array, self.spec = result._array, result.spec
            self._rebind_leaf(True)
            return self
        self._array, self.spec, self.node = result._array, result.spec, result.node
        self.origin, self.site = op, result.site
        return self

    def __repr__(self) -> str:
        if type(self._array) is Value:
            return f"tensor(traced {self.spec})"
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=1000)
        default = self.dtype in (float32, int64, bool_)
        extras = [] if default else [f"dtype={self.dtype!r}"]
        if self.size == 0 and self.ndim != 1:
            extras.insert(0, f"shape={self.shape}")
        if not self.is_leaf:
            extras.append(f"origin={self.origin!r}")
        elif self.requires_grad:
            extras.append("requires_grad=True")
        return f"tensor({', '.join([text, *extras])})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GradientError(
                f"deepcopy: only leaves can be copied, this is the result of {self.origin}",
                hint="copy x.detach()",
            )
        copy = type(self).__new__(type(self))
        Tensor.__init__(copy, self._array, self.spec)
        copy._rebind_leaf(self.requires_grad)
        copy.grad = self.grad.detach() if self.grad is not None else None
        memo[id(self)] = copy
        return copy

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it was computed from.

        Args:
            gradient: Gradient of some scalar with respect to this tensor; may be left out if
                this tensor has one element (then it is 1).
            retain_graph: Keep what was saved, so that backward can run again (default:
                ``create_graph``).
            create_graph: Record the backward pass itself, for higher derivatives.

        Raises:
            GradientError: This tensor depends on no leaf, has several elements and no
                ``gradient`` is given, or its graph has been freed.
        """
        run = FUNCTIONS["backward"]
        run(self, gradient, retain_graph=retain_graph, create_graph=create_graph)


def make(array: Array, dtype: DType) -> Tensor:
    """Return a tensor of elements that are already in the dtype's storage form."""
    return Tensor(array, Spec(array.shape, dtype))


def tensor(
    data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False, device: str = "cpu"
) -> Tensor:
    """Return a tensor with a copy of the data.

    Args:
        data: A number, nested sequences of numbers, a NumPy array, a tensor, or anything with
            ``__array__`` or ``__dlpack__``.
        dtype: Type of the elements; by default NumPy's own type for arrays, float32 for Python
            floats, int64 for integers, bool for booleans.
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Raises:
        ShapeError: Nested sequences are ragged.
        DTypeError: Elements are not real numbers.

    Example:
        >>> import chainrule
        >>> chainrule.tensor([[1.0, 2.0], [3.0, 4.0]]).shape
        (2, 2)
    """
    as_device(device)
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        array, found = data.array, data.dtype
        natural = found
    else:
        array, found = _read(data)
        natural = float32 if _is_python(data) and found is float64 else found
    target = natural if wanted is None else wanted
    if target is found:
        shared = not isinstance(data, Tensor | bool | int | float | list | tuple)
        result = make(array.copy() if shared else array, found)
    else:
        result = make(convert(array, found, target), target)
    if mode.tracer is not None:
        mode.tracer.known(result._array)
    if requires_grad:
        result.requires_grad = True
    return result


def from_numpy(array: Array) -> Tensor:
    """Return a tensor with a copy of a NumPy array and its dtype.

    Raises:
        DTypeError: The array's type has no counterpart.
    """
    return tensor(array)


def convert(array: Array, source: DType, target: DType) -> Array:
    """Return stored elements of one dtype in the storage form of another.

    Floating to integer truncates; out-of-range values wrap as NumPy's do.
    """
    with np.errstate(all="ignore"):
        computed = to_compute(array, source)
        if target.kind == "bool":
            return np.asarray(np.not_equal(computed, 0))
        result = to_storage(computed, target)
    return result.copy() if result is array else result


def _read(data: Any) -> tuple[Array, DType]:
    if not hasattr(data, "__array__") and hasattr(data, "__dlpack__"):
        data = np.from_dlpack(data)
    elif isinstance(data, Sequence) and not isinstance(data, str | bytes):
        data = _unwrap(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        rule = "tensor: nested sequences have unequal lengths"
        hint = "pad the rows to one length, or keep them as a list"
        raise located(ShapeError(rule, hint=hint)) from error
    if array.dtype.kind not in "biuf":
        raise located(no_numbers(data, array))
    found = as_dtype(array.dtype)
    return array.astype(found.storage, copy=False), found


def _is_python(data: Any) -> bool:
    return isinstance(data, bool | int | float | list | tuple) and not isinstance(data, np.generic)


def _unwrap(data: Any) -> Any:
    """Replace tensors inside nested sequences by Python numbers or arrays."""
    if isinstance(data, Tensor):
        return data.numpy()
    if isinstance(data, list | tuple):
        return [_unwrap(item) for item in data]
    return data


@public
def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """Return a tensor as it is, and anything else as a new one.

    Args:
        value: A tensor, number or array-like.
        like: A tensor that a Python number takes its dtype from (see `promote_scalar`).
    """
    if isinstance(value, Tensor):
        return value
    if like is not None and isinstance(value, bool | int | float):
        dtype = promote_scalar(like.dtype, value)
        return _number(value, dtype)
    return tensor(value)


def _scalar(value: Number, dtype: DType) -> Array:
    try:
        return np.asarray(value, dtype=dtype.compute)
    except OverflowError:
        raise ArgumentError(f"the number {value} does not fit {dtype.name}") from None


def _adapts(value: object, dtype: DType) -> bool:
    """Return whether a Python number takes the dtype as it is."""
    kind = type(value)
    return (kind is float or kind is int) and dtype.kind == "float"


def _number(value: Number, dtype: DType) -> Tensor:
    """Return a 0-d tensor of a number; its elements are shared, since they never change."""
    # 0.0 and -0.0 are one key but not one number.
    array = _constant(value, dtype) if value else to_storage(_scalar(value, dtype), dtype)
    if mode.tracer is not None:
        mode.tracer.known(array)
    return Tensor(array, Spec((), dtype))


@lru_cache(maxsize=1024)
def _constant(value: Number, dtype: DType) -> Array:
    with np.errstate(all="ignore"):
        return to_storage(_scalar(value, dtype), dtype)


def common(*values: Any) -> tuple[Tensor, ...]:
    """Return tensors of one dtype: the promotion of all tensors; Python numbers adapt.

    Raises:
        DTypeError: There is no common type, or no argument is a tensor or number.
    """
    if len(values) == 2:  # the frequent cases, each decided by a look at the types
        x, y = values
        if isinstance(x, Tensor):
            if isinstance(y, Tensor):
                if y.spec.dtype is x.spec.dtype:
                    return x, y
            elif _adapts(y, x.spec.dtype):
                return x, _number(y, x.spec.dtype)
        elif isinstance(y, Tensor) and _adapts(x, y.spec.dtype):
            return _number(x, y.spec.dtype), y
    arrays = [v for v in values if isinstance(v, Tensor)]
    if len(arrays) == len(values) and all(t.dtype is arrays[0].dtype for t in arrays):
        return tuple(arrays)
    if len(arrays) < len(values):
        values = tuple(
            v if isinstance(v, Tensor | bool | int | float) else tensor(v) for v in values
        )
        arrays = [v for v in values if isinstance(v, Tensor)] or [tensor(values[0])]
    dtype = promote(*(t.dtype for t in arrays))
    for value in values:
        if isinstance(value, bool | int | float):
            dtype = promote_scalar(dtype, value)
    reference = Tensor(None, Spec((), dtype))
    made = (as_tensor(value, reference) for value in values)
    return tuple(t if t.dtype is dtype else t.to(dtype) for t in made)


def apply(op: Op, *inputs: Tensor, **attrs: Any) -> Tensor:
    """Apply an op: infer the result's shape, compute its elements, record a node.

    Args:
        op: The operation.
        inputs: Its input tensors.
        attrs: Its attributes, hashable.

    Raises:
        ShapeError: The op's shape rule is violated.
    """
    specs = tuple([t.spec for t in inputs])
    spec = op.infer(*specs, **attrs)
    if mode.tracer is None:
        array = evaluate(op, [t.array for t in inputs], attrs, specs, spec)
    else:
        array = mode.tracer.apply(op, inputs, attrs, spec)
    result = Tensor(array, spec)
    result.origin = op.name
    result.site = user_site(2)
    if mode.tracer is not None:
        mode.tracer.made(result)
    if mode.recording and op.differentiable and spec.dtype.kind == "float":
        for given_input in inputs:
            if given_input.node is not None:
                nodes = tuple([t.node for t in inputs])
                result.node = record(op, inputs, nodes, attrs, specs, result)
                break
    return result


def record(
    op: Op,
    inputs: tuple[Tensor, ...],
    nodes: tuple[Node | None, ...],
    attrs: dict[str, Any],
    specs: tuple[Spec, ...],
    result: Tensor,
) -> Node:
    """Return the node of an op just applied, holding what its derivative declares to read."""
    node = Node(op, nodes, attrs, specs, result.spec)
    saves = op.saves
    node.saved = tuple(t._array if saves.keeps(i) else None for i, t in enumerate(inputs))
    if saves.output:
        node.saved_output = result._array
    if mode.tracer is not None:
        mode.tracer.recorded(node, result)
    return node
