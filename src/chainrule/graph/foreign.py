"""Foreign values: what came where a tensor, or numbers to make one, should be.

Takes: the value. Gives: an error that says what it is and how a tensor is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import DTypeError
from chainrule.graph.conversion import Conversions, call
from chainrule.graph.explain import located
from chainrule.graph.op import FUNCTIONS

# NumPy's element-wise functions whose counterpart here has another name.
_COUNTERPARTS = {
    "absolute": "abs",
    "power": "pow",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
}


def no_numbers(data: Any, array: Array) -> DTypeError:
    """Return the error for data whose elements are not real numbers.

    Args:
        data: What the user gave.
        array: What NumPy made of it.
    """
    if array.dtype.kind == "O":
        found = next((v for v in array.flat if not isinstance(v, bool | int | float)), data)
        if found is None:
            hint = 'a missing value is float("nan")'
            return DTypeError("tensor: None is not a real number", hint=hint)
        return DTypeError(f"tensor: objects of type {type(found).__name__} are not real numbers")
    hints = {"c": "two real numbers for each: x.real, x.imag"}
    if array.dtype.kind in "UST":
        hints["UST"] = "classes: np.unique(x, return_inverse=True)[1]; numbers: x.astype(float)"
    return DTypeError(
        f"tensor: elements of type {array.dtype} are not real numbers",
        hint=next((hint for kinds, hint in hints.items() if array.dtype.kind in kinds), ""),
    )


def expect_tensor(op: str, name: str, value: object) -> None:
    """Raise unless an argument is a tensor.

    Args:
        op: The function, for messages.
        name: Its argument.
        value: What came.

    Raises:
        DTypeError: It is an array, a list, or something else.
    """
    if isinstance(value, Conversions):
        return
    kind = type(value)
    shown = "None" if value is None else f"a {kind.__module__.split('.')[0]}.{kind.__name__}"
    shown = shown.replace("builtins.", "")
    hint = f"chainrule.tensor({name})"
    if isinstance(value, np.ndarray):
        shown = f"a NumPy array {value.dtype}[{','.join(map(str, value.shape))}]"
        if value.dtype == np.float64:
            hint = f"chainrule.tensor({name}, dtype=chainrule.float32)"
    readable = isinstance(value, bool | int | float | list | tuple) or hasattr(value, "__array__")
    raise DTypeError(f"{op}: {name} is {shown}, expected a tensor", hint=hint if readable else "")


def numpy_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """Return what the function here gives that has the meaning of NumPy's: ``array * x``.

    Args:
        ufunc: NumPy's element-wise function, called by its name or as an array's operator.
        method: How: ``__call__``, ``reduce``, ...
        inputs: Tensors, arrays and numbers.
        options: NumPy's own arguments, which have no meaning for tensors.

    Raises:
        DTypeError: There is no such function, or its result was to be written into an array.
    """
    name = _COUNTERPARTS.get(ufunc.__name__, ufunc.__name__)
    if method == "__call__" and not options and name in FUNCTIONS:
        return call(name, *inputs)
    tensors = [value for value in inputs if isinstance(value, Conversions)]
    spec = tensors[0].spec if tensors else "of a tensor"
    numpy_name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    if "out" in options:
        rule = f"numpy.{numpy_name}: the result of {spec} cannot be written into an array"
        hint = "a = a + x makes a tensor of it; a += x.numpy() leaves it an array"
    else:
        rule = f"numpy.{numpy_name}: cannot be called with the tensor {spec} in this way"
        hint = f"np.{numpy_name}(x.numpy()), through which no gradient flows"
    raise located(DTypeError(rule, hint=hint), *tensors)


def numpy_function(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Return what a function of NumPy gives for the elements of tensors, as arrays."""
    return function(*_arrays(args), **{key: _arrays(value) for key, value in kwargs.items()})


def _arrays(value: Any) -> Any:
    if isinstance(value, Conversions):
        return np.asarray(value)
    if type(value) in (list, tuple):
        return type(value)(_arrays(item) for item in value)
    return value
