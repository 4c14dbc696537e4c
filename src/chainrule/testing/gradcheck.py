"""Gradient check: derivatives against central differences of the function itself.

Takes: a function of float64 tensors. Gives: a report with the worst element, or an error.
The one idea: the output is projected on a fixed random direction, so one scalar function is
differentiated, by us backwards and by differences element by element.

The difference is of fourth order,
    f'(x) = [f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)] / 12h + O(h^4)
(Abramowitz & Stegun 1964, 25.3.6): with h = 5e-4 its error is near 1e-12 for smooth functions,
so a tolerance of 1e-6 leaves nothing to chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.core.dtype import Array, float64
from chainrule.core.errors import DTypeError, GradientError, ShapeError
from chainrule.graph.autodiff import grad
from chainrule.graph.node import enable_grad, no_grad
from chainrule.graph.tensor import Tensor, tensor

STEP = 5e-4
TOLERANCE = 1e-6
# Below this size a gradient is compared absolutely: differences carry about 1e-12 of noise.
FLOOR = 1e-3

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class GradientReport:
    """Outcome of a gradient check.

    Attributes:
        op: The operation that made the function's result.
        error: Largest relative error found.
        tolerance: What was allowed.
        input: Position of the input with the worst element.
        index: Index of the worst element in that input.
        analytic: Its derivative by backpropagation.
        numeric: Its derivative by differences.
    """

    op: str
    error: float
    tolerance: float
    input: int
    index: tuple[int, ...]
    analytic: float
    numeric: float

    def __bool__(self) -> bool:
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "right" if self else "wrong"
        return (
            f"{self.op}: gradient {verdict}: worst at input {self.input}, element "
            f"{list(self.index)}: backpropagation {self.analytic:.9g}, differences "
            f"{self.numeric:.9g}, relative error {self.error:.2e} (allowed {self.tolerance:.0e})"
        )


def numerical_gradient(
    function: Function, inputs: Tensor | Sequence[Tensor], *, eps: float = STEP
) -> tuple[Array, ...]:
    """Return the gradient of a scalar function by central differences of fourth order.

    Args:
        function: A function of the inputs with one element as result.
        inputs: Where it is evaluated; only floating-point inputs are varied.
        eps: The step h.

    Returns:
        For each input an array of its shape: d function / d element (zeros for integer inputs).

    Raises:
        ShapeError: The function's result has several elements.

    Example:
        >>> import chainrule
        >>> from chainrule.testing import numerical_gradient
        >>> x = chainrule.tensor([1.0, 2.0], dtype="float64")
        >>> (g,) = numerical_gradient(lambda x: (x * x).sum(), x)
        >>> g.round(6).tolist()
        [2.0, 4.0]
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    arrays = [x.numpy() for x in given]

    def value() -> float:
        result = function(*(tensor(a, dtype=x.dtype) for a, x in zip(arrays, given, strict=True)))
        if result.size != 1:
            raise ShapeError(
                f"numerical_gradient: the function gave {result.spec}, expected one element",
                hint="reduce the result: lambda x: f(x).sum()",
            )
        return float(result.item())

    with no_grad():
        return tuple(
            _differences(value, a, eps) if x.dtype.is_floating else np.zeros(a.shape)
            for a, x in zip(arrays, given, strict=True)
        )


def _differences(value: Callable[[], float], array: Array, eps: float) -> Array:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        total = 0.0
        for steps, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            array[index] = kept + steps * eps
            total += weight * value()
        array[index] = kept
        gradient[index] = total / (12.0 * eps)
    return gradient


def gradcheck(
    function: Function,
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float = STEP,
    tolerance: float = TOLERANCE,
    raise_exception: bool = True,
) -> GradientReport:
    """Compare backpropagation with central differences.

    Args:
        function: A function of the inputs with one tensor as result.
        inputs: Where it is checked; floating-point inputs must be float64.
        eps: The step of the differences.
        tolerance: Largest relative error allowed.
        raise_exception: Whether a failure is an error (else read the report's truth).

    Returns:
        A report, true if every element agrees.

    Raises:
        GradientError: An element disagrees; the text names the op and the worst element.
        DTypeError: An input is not float64, so differences would be noise.
    """
    given = _checked_inputs(inputs)
    rng = np.random.default_rng(0)
    direction: list[Tensor] = []

    def projected(*xs: Tensor) -> Tensor:
        result = function(*xs)
        if not direction:
            direction.append(tensor(rng.uniform(0.5, 1.5, result.shape), dtype=result.dtype))
        return (result * direction[0]).sum()

    with enable_grad():
        fresh = [x.detach().requires_grad_(x.dtype.is_floating) for x in given]
        result = function(*fresh)
        scalar = projected(*fresh)
        analytic = _gradients(scalar, fresh)
    numeric = numerical_gradient(projected, given, eps=eps)
    report = _compare(result.origin or "function", given, analytic, numeric, tolerance)
    if raise_exception and not report:
        raise GradientError(f"gradcheck: {report}")
    return report


def gradgradcheck(
    function: Function,
    inputs: Tensor | Sequence[Tensor],
    *,
    eps: float = STEP,
    tolerance: float = TOLERANCE,
    raise_exception: bool = True,
) -> GradientReport:
    """Compare second derivatives with central differences of the first.

    The gradient itself, as a function of the inputs and of the incoming gradient, is checked as
    in `gradcheck`, whose arguments, result and errors it shares.
    """
    given = _checked_inputs(inputs)
    value = function(*given)
    rng = np.random.default_rng(1)
    incoming = tensor(rng.uniform(0.5, 1.5, value.shape), dtype=value.dtype)
    weights = [tensor(rng.uniform(0.5, 1.5, x.shape), dtype=float64) for x in given]

    def first_derivative(*xs: Tensor) -> Tensor:
        *points, seed = xs
        with enable_grad():
            linked = [
                x if x.node is not None or not x.dtype.is_floating else x.requires_grad_()
                for x in points
            ]
            output = function(*linked)
            targets = [x for x in linked if x.dtype.is_floating]
            if output.node is None:
                return sum((x * 0).sum() for x in targets) + (seed * 0).sum()
            found = grad(output, targets, seed, create_graph=True, allow_unused=True)
        floating = [w for w, x in zip(weights, points, strict=True) if x.dtype.is_floating]
        total = (seed * 0).sum()
        for weight, gradient in zip(floating, found, strict=True):
            if gradient is not None:
                total = total + (weight * gradient).sum()
        return total

    try:
        return gradcheck(
            first_derivative,
            [*given, incoming],
            eps=eps,
            tolerance=tolerance,
            raise_exception=raise_exception,
        )
    except GradientError as error:
        name = value.origin or "function"
        raise GradientError(f"gradgradcheck of {name}: {error.message}") from error


def _checked_inputs(inputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for position, x in enumerate(given):
        if x.dtype.is_floating and x.dtype is not float64:
            raise DTypeError(
                f"gradcheck: input {position} is {x.spec}, expected float64",
                hint="convert it: x.double()",
            )
    return given


def _gradients(scalar: Tensor, inputs: Sequence[Tensor]) -> list[Array]:
    targets = [x for x in inputs if x.requires_grad]
    if scalar.node is None:
        found: tuple[Tensor | None, ...] = (None,) * len(targets)
    else:
        found = grad(scalar, targets, allow_unused=True)
    by_target = {id(t): g for t, g in zip(targets, found, strict=True)}
    gradients = (by_target.get(id(x)) for x in inputs)
    return [
        np.zeros(x.shape) if g is None else g.numpy()
        for x, g in zip(inputs, gradients, strict=True)
    ]


def _compare(
    op: str,
    inputs: Sequence[Tensor],
    analytic: Sequence[Array],
    numeric: Sequence[Array],
    tolerance: float,
) -> GradientReport:
    worst = GradientReport(op, 0.0, tolerance, 0, (), 0.0, 0.0)
    for position, (x, a, n) in enumerate(zip(inputs, analytic, numeric, strict=True)):
        if not x.dtype.is_floating or a.size == 0:
            continue
        scale = np.maximum(np.maximum(np.abs(a), np.abs(n)), FLOOR)
        error = np.abs(a - n) / scale
        error = np.where(np.isnan(error), np.inf, error)
        index = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
        if error[index] > worst.error:
            found = float(error[index]), float(a[index]), float(n[index])
            worst = GradientReport(op, found[0], tolerance, position, index, found[1], found[2])
    return worst
