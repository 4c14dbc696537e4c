"""Activations: values and slopes at extremes, each one's documented property, and refusals.

Values, gradients and second gradients on samples are checked by test_every_op.py. The oracle here
is PyTorch, or the limit where PyTorch gives NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compiled import Together, differentiate
from references_activations import REFERENCES

import chainrule as cr
import chainrule.nn.functional as F

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

EXTREMES = [-np.inf, -1e4, -745.2, -104.0, -30.0, -9.0, -0.0, 0.0, 1e-8, 9.0, 30.0, 90.0, 1e4]
EXTREMES += [1e30, np.inf, np.nan]

# Slopes at -inf and +inf; what PyTorch gives there is often NaN.
SLOPES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("relu", "elu", "celu", "softplus", "silu", "gelu", "mish"), (0.0, 1.0)),
    **dict.fromkeys(("hardswish", "swish", "threshold"), (0.0, 1.0)),
    **dict.fromkeys(("sigmoid", "tanh", "softsign", "hardtanh", "relu6"), (0.0, 0.0)),
    **dict.fromkeys(("hardsigmoid",), (0.0, 0.0)),
    **dict.fromkeys(("hardshrink", "softshrink", "tanhshrink"), (1.0, 1.0)),
    "logsigmoid": (1.0, 0.0),
    "selu": (0.0, 1.0507009873554805),
    "leaky_relu": (0.01, 1.0),
    "rrelu": (11 / 48, 1.0),
}
ATTRS = {"threshold": {"threshold": 0.5, "value": -1.0}}


def reference(name: str) -> Callable[..., Any]:
    own = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
    return own.get(name) or REFERENCES[name]


def function(name: str) -> Callable[[cr.Tensor], cr.Tensor]:
    return lambda x: getattr(F, name)(x, **ATTRS.get(name, {}))


def slopes(f: Callable[[cr.Tensor], cr.Tensor], x: cr.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return first and second derivatives, element by element."""
    x = x.detach().requires_grad_()
    (first,) = cr.grad(f(x).sum(), x, create_graph=True)
    if first.node is None:
        return np.asarray(first), np.zeros(x.shape)
    (second,) = cr.grad(first.sum(), x)
    return first.numpy(), second.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SLOPES)
def test_values_at_extremes(name: str, dtype: str) -> None:
    x = np.array(EXTREMES, dtype)
    got = function(name)(cr.tensor(x)).numpy()
    want = reference(name)(torch.tensor(x), **ATTRS.get(name, {})).numpy()
    rtol = 2e-6 if dtype == "float32" else 1e-12
    # Near the smallest float32 PyTorch flushes to 0 what still has a value.
    np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-37 if dtype == "float32" else 0)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SLOPES)
def test_slopes_at_extremes_are_finite_and_those_of_the_limit(name: str, dtype: str) -> None:
    finite = np.array([v for v in EXTREMES if np.isfinite(v) and v not in (0.0, -0.0)], dtype)
    theirs = torch.tensor(finite, requires_grad=True)
    reference(name)(theirs, **ATTRS.get(name, {})).sum().backward()
    first, second = slopes(function(name), cr.tensor(finite))
    rtol = 2e-5 if dtype == "float32" else 1e-9
    want = theirs.grad.numpy()
    if name == "hardsigmoid":
        want = np.where(np.abs(finite) < 3, 1 / 6, 0)
    np.testing.assert_allclose(first, want, rtol=rtol, atol=1e-7 if dtype == "float32" else 1e-15)
    assert np.isfinite(second).all()
    first, second = slopes(function(name), cr.tensor([-np.inf, np.inf], dtype=dtype))
    np.testing.assert_allclose(first, SLOPES[name], rtol=1e-6)
    np.testing.assert_allclose(second, 0, atol=0)


def test_compiled_agrees_with_eager_at_extremes() -> None:
    """All of them in one program, for speed."""
    xs = [cr.tensor(EXTREMES, dtype="float64").requires_grad_() for _ in SLOPES]
    together = Together([function(name) for name in SLOPES], [1] * len(SLOPES), backward=True)
    results = together([[x] for x in xs])
    for name, x, got in zip(SLOPES, xs, results, strict=True):
        own = x.detach().requires_grad_()
        want = function(name)(own)
        differentiate(want)
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12, err_msg=name)
        assert x.grad is not None
        assert own.grad is not None
        # 1 - y² has no digits left where y rounds to 1: an ulp of 1 is all that can be asked.
        np.testing.assert_allclose(
            x.grad.numpy(), own.grad.numpy(), rtol=1e-12, atol=1e-15, err_msg=name
        )


# --- documented properties ------------------------------------------------------------------

DENSE = np.concatenate([np.linspace(-60, 60, 24_001), np.linspace(-3, 3, 6_001)])
# Range: lowest and highest result; a bound that is not reached is approached to 1e-9.
RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "relu": (0, math.inf),
    "softplus": (0, math.inf),
    "logsigmoid": (-math.inf, 0),
    "elu": (-1, math.inf),
    "celu": (-1, math.inf),
    "selu": (-1.7580993408473766, math.inf),
    "gelu": (-0.16997120747990369, math.inf),
    "silu": (-0.27846454276107374, math.inf),
    "mish": (-0.30884341301508437, math.inf),
    "hardswish": (-0.375, math.inf),
    "hardtanh": (-1, 1),
    "hardsigmoid": (0, 1),
    "relu6": (0, 6),
}
# Least and largest slope.
SLOPE_RANGES: dict[str, tuple[float, float]] = {
    "sigmoid": (0, 0.25),
    "tanh": (0, 1),
    "gelu": (-0.12890482, 1.12890482),
    "silu": (-0.09983932, 1.09983932),
    "mish": (-0.11253, 1.0885),
    "softsign": (0, 1),
    "tanhshrink": (0, 1),
    "hardsigmoid": (0, 1 / 6),
}


@pytest.mark.parametrize("name", RANGES)
def test_range_is_the_documented_one(name: str) -> None:
    y = function(name)(cr.tensor(DENSE)).numpy()
    low, high = RANGES[name]
    assert y.min() == pytest.approx(low, abs=1e-6) if math.isfinite(low) else y.min() < -50
    assert y.max() == pytest.approx(high, abs=1e-6) if math.isfinite(high) else y.max() > 50
    assert (y >= low - 1e-12).all()
    assert (y <= high + 1e-12).all()


@pytest.mark.parametrize("name", SLOPE_RANGES)
def test_slopes_stay_in_the_documented_range(name: str) -> None:
    first, _ = slopes(function(name), cr.tensor(DENSE))
    low, high = SLOPE_RANGES[name]
    assert first.min() == pytest.approx(low, abs=3e-5 if low else 3e-4)
    assert first.max() == pytest.approx(high, abs=1e-5)


@pytest.mark.parametrize(
    "name", ["tanh", "softsign", "hardtanh", "tanhshrink", "hardshrink", "softshrink"]
)
def test_zero_centred_ones_are_odd(name: str) -> None:
    x = cr.tensor(DENSE)
    np.testing.assert_array_equal(function(name)(-x).numpy(), -function(name)(x).numpy())


@pytest.mark.parametrize("name", ["sigmoid", "relu", "softplus", "hardsigmoid", "relu6"])
def test_others_are_not_zero_centred(name: str) -> None:
    assert function(name)(cr.tensor(DENSE)).numpy().min() >= 0


@pytest.mark.parametrize(
    ("name", "beyond"), [("sigmoid", 20), ("tanh", 10), ("hardtanh", 1), ("hardsigmoid", 3)]
)
def test_saturation_stops_the_gradient_on_both_sides(name: str, beyond: float) -> None:
    first, _ = slopes(function(name), cr.tensor([-beyond - 1e-9, beyond + 1e-9]))
    assert (np.abs(first) < 5e-9).all()


def test_softsign_saturates_more_slowly_than_tanh() -> None:
    x = cr.tensor([10.0, 100.0, 1e4])
    first, _ = slopes(F.softsign, x)
    np.testing.assert_allclose(first, 1 / (1 + x.numpy()) ** 2, rtol=1e-6)
    assert (slopes(F.tanh, x)[0] < 1e-7).all()


def test_a_dead_unit_gets_no_gradient_a_leaky_one_does() -> None:
    x = cr.tensor([-5.0, -0.1])
    assert slopes(F.relu, x)[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(slopes(F.leaky_relu, x)[0], 0.01)
    for name in ("elu", "celu", "selu", "silu", "gelu", "mish", "softplus"):
        assert (slopes(function(name), x)[0] != 0).all(), name


def test_selu_keeps_mean_0_and_variance_1() -> None:
    """The fixed point of Klambauer et al., by quadrature over a normal distribution."""
    z, weight = np.polynomial.hermite_e.hermegauss(200)
    y = F.selu(cr.tensor(z)).numpy()
    weight = weight / weight.sum()
    assert abs((weight * y).sum()) < 2e-3
    assert (weight * y**2).sum() == pytest.approx(1, abs=2e-3)


def test_swish_lies_between_half_the_identity_and_the_rectifier() -> None:
    x = cr.tensor(DENSE)
    np.testing.assert_allclose(F.swish(x, 0.0).numpy(), DENSE / 2)
    np.testing.assert_allclose(F.swish(x, 1e6).numpy(), np.maximum(DENSE, 0), atol=1e-6)
    np.testing.assert_allclose(F.swish(x).numpy(), F.silu(x).numpy(), rtol=1e-14)
    # At infinity the gate decides, whichever way it is turned.
    ends = cr.tensor([-np.inf, np.inf])
    assert F.swish(ends, 2.0).tolist() == [0.0, np.inf]
    assert F.swish(ends, -2.0).tolist() == [-np.inf, 0.0]


def test_rrelu_draws_each_slope_uniformly_and_repeats_with_its_seed() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the extra 'test' is not installed")
    x = -cr.ones((100, 50), dtype="float64")
    slope = -F.rrelu(x, 0.1, 0.4, training=True, generator=cr.Generator(3)).numpy().ravel()
    again = -F.rrelu(x, 0.1, 0.4, training=True, generator=cr.Generator(3)).numpy().ravel()
    np.testing.assert_array_equal(slope, again)
    assert stats.kstest(slope, stats.uniform(0.1, 0.3).cdf).pvalue > 1e-3
    np.testing.assert_allclose(F.rrelu(x, 0.1, 0.4).numpy(), -0.25)
    assert F.rrelu(-x, 0.1, 0.4, training=True).tolist() == (-x).tolist()


def test_gumbel_softmax_draws_with_the_probabilities_of_softmax() -> None:
    logits = cr.tensor([0.0, 1.0, 2.0, -np.inf]).expand(20_000, 4)
    cr.manual_seed(0)
    drawn = F.gumbel_softmax(logits, tau=0.5, hard=True).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    expected = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    # Standard deviation of a share: below sqrt(0.25 / 20,000) = 0.0035.
    np.testing.assert_allclose(drawn.mean(0), [*expected, 0], atol=0.016)
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.numpy().sum(-1), 1, rtol=1e-5)
    x = cr.tensor([0.5, 0.1, 0.2], requires_grad=True)
    F.gumbel_softmax(x, hard=True).square().sum().backward()
    assert x.grad is not None
    assert np.abs(x.grad.numpy()).sum() > 0


def test_prelu_slope_gets_no_gradient_from_positive_infinity() -> None:
    x = cr.tensor([[np.inf, -2.0]])
    weight = cr.tensor([0.25], requires_grad=True)
    F.prelu(x, weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [-2.0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: F.softplus(x, 0.0), "beta is 0.0, expected a number above 0"),
        (lambda x: F.celu(x, 0.0), "hint: relu(x) is the limit"),
        (lambda x: F.softshrink(x, -1.0), "lambd is -1.0, expected 0 or more"),
        (lambda x: F.rrelu(x, 0.4, 0.1), "hint: lower=0.1, upper=0.4"),
        (lambda x: F.prelu(x, cr.ones(2)), "each of the 3 channels of input f32[2,3]"),
        (lambda x: F.prelu(x, cr.ones(2)), "hint: nn.PReLU(3)"),
        (lambda x: F.glu(x), "axis 1 of input f32[2,3] has 3 elements, expected an even number"),
        (lambda x: F.softmin(x), "softmin(x, dim=-1)"),
        (lambda x: F.gumbel_softmax(x, tau=0.0), "tau is 0.0, expected a number above 0"),
        (lambda x: F.gelu(x, "tahn"), "did you mean 'tanh'"),
        (lambda x: F.hardtanh(x, 1.0, 0.5), "must not be above max_val=0.5"),
    ],
)
def test_bad_arguments_are_refused_with_a_remedy(call: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        call(cr.ones((2, 3)))
    assert text in str(caught.value)
