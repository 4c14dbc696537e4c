"""Element-wise ops at the edges: extreme values, domain ends, dtypes, and what they refuse.

Oracles: PyTorch for values and gradients, SciPy for accuracy, NumPy for creation. The plain
cases are generated from the ops' samples in test_every_op.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

from chainrule.core.dtype import ALL, DType, float32, float64, int8, int32, int64, uint8
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.graph.tensor import tensor
from chainrule.ops import (
    arithmetic,
    logic,
    powers,
    rounding,
    transcendental,
    trigonometric,
)
from chainrule.ops import special as erfs
from chainrule.ops.arithmetic import clip, divide, floor_divide, remainder
from chainrule.ops.powers import pow
from chainrule.ops.transcendental import logaddexp, sigmoid, softplus

EXTREMES = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-30, -1e-30, 1e-7, 20.0, -20.0, 88.0, -88.0, 89.5, -100.0),
    *(1e4, -1e4, 3e38, -3e38, np.inf, -np.inf, np.nan),
]
UNARY = [
    *(arithmetic.negative, arithmetic.abs, powers.sqrt, powers.rsqrt),
    *(powers.square, powers.reciprocal, powers.exp2),
    *(getattr(transcendental, n) for n in ("exp", "expm1", "log", "log2", "log10", "log1p")),
    *(getattr(transcendental, n) for n in ("sigmoid", "tanh", "relu", "softplus")),
    *(getattr(trigonometric, n) for n in ("asin", "acos", "atan", "atanh", "sinh", "cosh")),
    *(rounding.floor, rounding.ceil, rounding.round, rounding.trunc),
    *(erfs.erf, erfs.erfc, erfs.erfinv),
]


def peer() -> Any:
    return pytest.importorskip("torch", reason="the extra 'peers' is not installed")


def theirs(name: str) -> Any:
    torch = peer()
    if name == "softplus":  # PyTorch's own cuts off at 20, or overflows
        return lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype))
    return getattr(torch, name)


def gradients(function: Any, *arrays: Any, dtype: DType = float64) -> list[np.ndarray]:
    inputs = [tensor(a, dtype=dtype, requires_grad=True) for a in arrays]
    function(*inputs).sum().backward()
    return [np.asarray(x.grad) for x in inputs]


def torch_gradients(function: Any, *arrays: Any, dtype: str = "float64") -> list[np.ndarray]:
    torch = peer()
    inputs = [torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=True) for a in arrays]
    function(*inputs).sum().backward()
    return [x.grad.numpy() for x in inputs]


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
def test_value_at_extremes(function: Any, dtype: DType) -> None:
    torch = peer()
    points = np.asarray(EXTREMES, dtype.compute)
    want = theirs(function.__name__)(torch.tensor(points)).numpy()
    got = np.asarray(function(tensor(points)))
    # PyTorch flushes some subnormal results to 0.
    tolerance, tiny = (2e-6, 1.2e-38) if dtype is float32 else (1e-14, 0.0)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tiny)
    # max(-0.0, 0.0) may be either zero.
    zero = (want == 0) & (got == 0) & (function is not transcendental.relu)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
def test_gradient_at_extremes(function: Any) -> None:
    (got,) = gradients(function, EXTREMES)
    (want,) = torch_gradients(theirs(function.__name__), EXTREMES)
    if function is arithmetic.abs:
        want[-1] = np.nan  # the sign of NaN, by the array API standard; PyTorch's is 0
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-300)


def test_gradient_of_acosh_at_the_end_of_its_domain() -> None:
    points = [1.0, 1.0 + 1e-9, 2.0, 1e4, 0.5]
    (got,) = gradients(trigonometric.acosh, points)
    (want,) = torch_gradients(peer().acosh, points)
    np.testing.assert_allclose(got, want, rtol=1e-7)


def test_gradients_far_out_do_not_overflow() -> None:
    far = [1e200, -1e200]
    np.testing.assert_allclose(gradients(trigonometric.asinh, far)[0], [1e-200, 1e-200])
    np.testing.assert_allclose(gradients(trigonometric.acosh, far[:1])[0], [1e-200])
    np.testing.assert_allclose(gradients(trigonometric.hypot, far, far)[1], [0.5**0.5, -(0.5**0.5)])
    np.testing.assert_allclose(gradients(trigonometric.atan2, far, far)[0], [5e-201, -5e-201])


PAIRS = [
    *((0.0, 0.0), (0.0, 2.0), (0.0, -1.0), (0.0, 1.0), (-2.0, 3.0), (-2.0, 0.5), (2.0, 0.0)),
    *((-2.0, 2.0), (-2.0, -2.0), (np.inf, 2.0), (1.0, 7.5), (0.5, np.inf), (1e-300, 2.0)),
]


def test_pow_at_zero_and_negative_bases() -> None:
    torch = peer()
    base, exponent = map(list, zip(*PAIRS, strict=True))
    got = pow(tensor(base, dtype=float64), tensor(exponent, dtype=float64))
    want = torch.pow(torch.tensor(base).double(), torch.tensor(exponent).double())
    np.testing.assert_allclose(np.asarray(got), want.numpy())
    ours, other = gradients(pow, base, exponent), torch_gradients(torch.pow, base, exponent)
    np.testing.assert_allclose(ours[0], other[0])
    np.testing.assert_allclose(ours[1], other[1])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, 0.5, -0.5, 1.5, 2.0, 0.0])
def test_pow_with_number_as_exponent(exponent: float) -> None:
    points = [0.0, 0.3, 1.0, 2.5, -1.5, 1e3]
    (got,) = gradients(lambda x: pow(x, exponent), points)
    (want,) = torch_gradients(lambda x: x**exponent, points)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    value = pow(tensor(points, dtype=float64), exponent)
    np.testing.assert_allclose(
        np.asarray(value), (peer().tensor(points).double() ** exponent).numpy(), rtol=1e-6
    )


def test_pow_of_integers() -> None:
    base, exponent = [2, 1, -1, 0, -1, 3, -2], [-1, -1, -1, -1, -2, 4, 3]
    assert pow(tensor(base), tensor(exponent)).tolist() == [0, 1, -1, 0, 1, 81, -8]
    assert pow(tensor([2, 3]), 2).dtype is int64
    assert pow(2, tensor([1, 2, 3])).tolist() == [2, 4, 8]
    assert pow(tensor([4, 9]), 0.5).tolist() == [2.0, 3.0]
    with pytest.raises(ArgumentError, match="to the negative power -1"):
        pow(tensor([2, 3]), -1)


def test_sigmoid_keeps_relative_accuracy_everywhere() -> None:
    for dtype, tolerance, low in ((np.float32, 4e-7, -103.0), (np.float64, 1e-15, -745.0)):
        x = np.concatenate([np.linspace(low, 40, 4001), [1e4, -1e4]]).astype(dtype)
        exact = x.astype(np.float64)
        want = np.where(exact < -40, np.exp(np.minimum(exact, 0)), special.expit(exact))
        np.testing.assert_allclose(
            np.asarray(sigmoid(tensor(x))), want, rtol=tolerance, atol=np.finfo(dtype).tiny / 2**20
        )


def test_softplus_and_logaddexp_keep_relative_accuracy() -> None:
    x = np.concatenate([np.linspace(-745, 800, 4001), [1e4, -1e4, np.inf, -np.inf]])
    want = np.where(x < -40, np.exp(np.minimum(x, 0)), np.logaddexp(x, 0))
    np.testing.assert_allclose(np.asarray(softplus(tensor(x), threshold=None)), want, rtol=1e-14)
    # From PyTorch's threshold on it is x itself.
    np.testing.assert_allclose(np.asarray(softplus(tensor(x))), want, rtol=1e-10)
    infinite = np.array([np.inf, -np.inf, np.inf, -np.inf, 1.0])
    other = np.array([np.inf, -np.inf, -np.inf, 1.0, np.nan])
    got = np.asarray(logaddexp(tensor(infinite), tensor(other)))
    np.testing.assert_array_equal(got, [np.inf, -np.inf, np.inf, 1.0, np.nan])


def test_second_derivative_of_softplus_at_zero_is_a_quarter() -> None:
    from chainrule.graph.autodiff import grad

    x = tensor(0.0, dtype=float64, requires_grad=True)
    (first,) = grad(softplus(x), x, create_graph=True)
    (second,) = grad(first, x)
    assert (first.item(), second.item()) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("function", "oracle", "points", "units"),
    [
        (erfs.erf, np.vectorize(math.erf), np.linspace(-6.5, 6.5, 20001), 2),
        (erfs.erfc, np.vectorize(math.erfc), np.linspace(-6, 26, 20001), 5),
        (erfs.erfinv, special.erfinv, np.tanh(np.linspace(-17, 17, 20001)), 6),
        (erfs.erf, np.vectorize(math.erf), np.geomspace(1e-300, 1, 2001), 2),
        (erfs.erfinv, special.erfinv, np.geomspace(1e-300, 0.5, 2001), 6),
    ],
)
def test_error_functions_agree_with_their_oracles(
    function: Any, oracle: Any, points: np.ndarray, units: int
) -> None:
    got, want = np.asarray(function(tensor(points))), oracle(points)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    # The oracles err by about a unit in the last place themselves (erfinv: more).
    np.testing.assert_array_max_ulp(got[finite], want[finite], maxulp=units)


def test_error_function_in_float32_is_within_two_units() -> None:
    points = np.linspace(-5, 5, 200001).astype(np.float32)
    want = special.erf(points.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_max_ulp(np.asarray(erfs.erf(tensor(points))), want, maxulp=2)


def test_error_functions_of_views_and_many_elements() -> None:
    points = np.random.default_rng(0).standard_normal((3, 40_000))[:, ::-3]
    for function, oracle in ((erfs.erf, special.erf), (erfs.erfc, special.erfc)):
        got = np.asarray(function(tensor(points)))
        np.testing.assert_allclose(got, oracle(points), rtol=1e-14)


# --- dtypes ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", [transcendental.exp, powers.sqrt, erfs.erf, trigonometric.sin])
def test_float_function_of_integers_is_float32(function: Any) -> None:
    result = function(tensor([0, 1]))
    assert result.dtype is float32
    want = getattr(peer(), function.__name__)(peer().tensor([0, 1])).numpy()
    np.testing.assert_allclose(np.asarray(result), want, rtol=1e-6)


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_divide_gives_floats(dtype: DType) -> None:
    result = divide(tensor([1, 0], dtype=dtype), tensor([1, 1], dtype=dtype))
    assert result.dtype is (dtype if dtype.is_floating else float32)
    assert result.tolist() == [1.0, 0.0]


def test_booleans_add_and_multiply_as_or_and_and() -> None:
    x, y = tensor([True, True, False]), tensor([True, False, False])
    assert arithmetic.add(x, y).tolist() == [True, True, False]
    assert arithmetic.multiply(x, y).tolist() == [True, False, False]
    assert arithmetic.add(x, 1).tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda b: arithmetic.subtract(b, b), "subtract: got bool, expected numbers"),
        (lambda b: arithmetic.negative(b), "negative: got bool, expected numbers"),
        (lambda b: arithmetic.abs(b), "abs: got bool, expected numbers"),
        (lambda b: floor_divide(b, b), "floor_divide: got bool, expected numbers"),
        (lambda b: remainder(b, b), "remainder: got bool, expected numbers"),
        (lambda b: pow(b, b), "pow: got bool, expected numbers"),
        (lambda b: rounding.floor(b), "floor: got bool, expected numbers"),
        (lambda b: logic.bitwise_left_shift(b, b), "bitwise_left_shift: got bool"),
        (lambda b: logic.bitwise_and(b.float(), b.float()), "bitwise_and: got float32, expected"),
        (lambda b: logic.bitwise_invert(b.float()), "bitwise_invert: got float32, expected"),
        (lambda b: logic.where(b.long(), 1, 0), "where: the condition is i64"),
    ],
)
def test_dtype_that_makes_no_sense_is_refused_with_a_remedy(call: Any, text: str) -> None:
    with pytest.raises(DTypeError) as caught:
        call(tensor([True, False]))
    assert text in str(caught.value)
    assert "hint: " in str(caught.value)


def test_integer_division_by_zero_gives_zero() -> None:
    x, zero = tensor([7, -7, 0]), tensor([0, 0, 0])
    assert floor_divide(x, zero).tolist() == [0, 0, 0]
    assert remainder(x, zero).tolist() == [0, 0, 0]
    lowest = tensor([-128], dtype=int8)
    assert floor_divide(lowest, tensor([-1], dtype=int8)).tolist() == [-128]


def test_floor_division_and_remainder_have_python_signs() -> None:
    pairs = [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3)]
    x, y = (tensor(list(side)) for side in zip(*pairs, strict=True))
    assert floor_divide(x, y).tolist() == [a // b for a, b in pairs]
    assert remainder(x, y).tolist() == [a % b for a, b in pairs]
    xf, yf = x.double(), y.double()
    assert floor_divide(xf, yf).tolist() == [a // b for a, b in pairs]
    assert remainder(xf, yf).tolist() == [a % b for a, b in pairs]


def test_shift_beyond_the_width_is_defined() -> None:
    x = tensor([5, -5], dtype=int32)
    assert logic.bitwise_left_shift(x, 40).tolist() == [0, 0]
    assert logic.bitwise_right_shift(x, 40).tolist() == [0, -1]
    assert logic.bitwise_right_shift(x, 1).tolist() == [2, -3]


def test_rounding_of_integers_and_of_halves() -> None:
    assert rounding.round(tensor([3, -4])).dtype is int64
    halves = tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert rounding.round(halves).tolist() == [-2.0, -2.0, -0.0, 0.0, 2.0, 2.0]


# --- choices --------------------------------------------------------------------------


def test_clip_passes_gradient_at_bounds_and_to_bounds_beyond() -> None:
    torch = peer()
    x, low, high = (
        [0.0, 1.0, 2.0, -1.0, np.nan],
        [0.0, 0.0, 3.0, 0.0, 1.0],
        [1.0, 1.0, 1.0, 1.0, 2.0],
    )
    ours, other = gradients(clip, x, low, high), torch_gradients(torch.clamp, x, low, high)
    for got, want in zip(ours, other, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [uint8, int8, int64, float32, float64], ids=lambda d: d.name)
def test_clip_on_one_side(dtype: DType) -> None:
    x = tensor([0, 5, 100], dtype=dtype)
    assert clip(x, min=7).tolist() == [7, 7, 100]
    assert clip(x, max=7).tolist() == [0, 5, 7]
    assert clip(x, max=7).dtype is dtype
    with pytest.raises(ArgumentError, match="neither min nor max"):
        clip(x)


def test_clip_of_infinite_and_broadcast() -> None:
    x = tensor([-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(np.asarray(clip(x, min=0)), [0, np.inf, np.nan])
    assert clip(tensor([1.5]), tensor([[0.0], [2.0]]), 3).shape == (2, 1)
    assert clip(tensor([1, 5]), max=2.5).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_and_nan_share_the_gradient_as_in_pytorch(name: str) -> None:
    x, y = [0.0, 1.0, np.nan, 2.0, np.nan], [0.0, 0.0, 3.0, np.nan, np.nan]
    ours = gradients(getattr(arithmetic, name), x, y)
    other = torch_gradients(getattr(peer(), name), x, y)
    for got, want in zip(ours, other, strict=True):
        np.testing.assert_array_equal(got, want)


def test_where_does_not_leak_what_was_not_chosen() -> None:
    x = tensor([0.0, 4.0], dtype=float64, requires_grad=True)
    logic.where(x > 0, powers.sqrt(logic.where(x > 0, x, 1)), 0).sum().backward()
    assert np.asarray(x.grad).tolist() == [0.0, 0.25]


def test_where_promotes_its_choices() -> None:
    condition = tensor([True, False])
    assert logic.where(condition, 1.0, 0.0).dtype is float32
    assert logic.where(condition, tensor([1, 2]), 0).dtype is int64
    assert logic.where(condition, tensor([1, 2]), 0.5).tolist() == [1.0, 0.5]
    with pytest.raises(ShapeError, match="where: shapes"):
        logic.where(condition, tensor([1.0, 2.0, 3.0]), 0)


def test_comparison_with_nan_and_mixed_dtypes() -> None:
    x = tensor([1.0, np.nan, -0.0])
    assert logic.equal(x, x).tolist() == [True, False, True]
    assert logic.not_equal(x, x).tolist() == [False, True, False]
    assert logic.greater(tensor([1, 3]), 2.5).tolist() == [False, True]
    assert logic.less_equal(0, tensor([0.0])).tolist() == [True]
    assert logic.signbit(tensor([-0.0, 0.0, -np.nan])).tolist() == [True, False, True]


def test_factor_without_gradient_is_not_differentiated() -> None:
    """The product rule is worked out only for the factors that want it."""
    constant = tensor([2.0, 3.0])
    x = tensor([1.0, 1.0], requires_grad=True)
    op = (x * constant).node.op
    grads = op.vjp(tensor([1.0, 1.0]), x, x, constant)
    assert grads[1] is None
