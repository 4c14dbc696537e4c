"""Initialisation rules: every family, distribution and fan; gains; structures; broken symmetry.

Oracle: theory. Moments are checked to five standard errors of a sample of that size, so a factor
that is a few percent off fails; kurtosis tells the distributions apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.nn import init

SHAPE = (60, 40, 3, 3)  # fan_in 360, fan_out 540
FANS = {"fan_in": 360.0, "fan_out": 540.0, "fan_avg": 450.0}
# E[x⁴] / E[x²]²; of a normal cut off at two deviations by hand: with c = 2 φ(2) / P(|z| < 2),
# E[z²] = 1 - 2c, E[z⁴] = 3 - 14c.
_CUT = 2 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
KURTOSIS = {
    "normal": 3.0,
    "uniform": 9 / 5,
    "trunc_normal": (3 - 14 * _CUT) / (1 - 2 * _CUT) ** 2,
}


def check(values: np.ndarray, variance: float, kurtosis: float) -> None:
    """Mean 0, the variance and the kurtosis, to five standard errors."""
    x = values.ravel().astype(np.float64)
    n, std = x.size, math.sqrt(variance)
    assert abs(x.mean()) < 5 * std / math.sqrt(n)
    # Var(x²) = (kurtosis - 1) variance².
    assert abs((x**2).mean() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / n)
    # The fourth moment's standard error is below sqrt(105 - 9) / sqrt(n) for all three.
    assert abs(((x / std) ** 4).mean() - kurtosis) < 5 * math.sqrt(96 / n)


@pytest.mark.parametrize("distribution", KURTOSIS)
@pytest.mark.parametrize("mode", FANS)
def test_scaling_has_the_moments_of_its_rule(mode: Any, distribution: Any) -> None:
    cr.manual_seed(5)
    weight = init.variance_scaling_(cr.zeros(SHAPE), 3.0, mode, distribution)
    check(weight.numpy(), 3.0 / FANS[mode], KURTOSIS[distribution])


NAMED: dict[str, tuple[Callable[[Any], Any], float]] = {
    "xavier": (lambda rule: rule(cr.zeros(SHAPE), gain=1.5), 1.5**2 / 450),
    "kaiming": (lambda rule: rule(cr.zeros(SHAPE), nonlinearity="relu"), 2 / 360),
    "kaiming out": (lambda rule: rule(cr.zeros(SHAPE), a=0.5, mode="fan_out"), 2 / 1.25 / 540),
    "lecun": (lambda rule: rule(cr.zeros(SHAPE)), 1 / 360),
}


@pytest.mark.parametrize(
    ("name", "distribution"), list(itertools.product(NAMED, KURTOSIS)), ids=lambda v: str(v)
)
def test_named_rule_has_the_moments_of_its_paper(name: str, distribution: str) -> None:
    cr.manual_seed(6)
    fill, variance = NAMED[name]
    weight = fill(getattr(init, f"{name.split()[0]}_{distribution}_"))
    check(weight.numpy(), variance, KURTOSIS[distribution])


def test_the_check_of_moments_can_fail() -> None:
    drawn = init.kaiming_normal_(cr.zeros(SHAPE), nonlinearity="relu").numpy()
    with pytest.raises(AssertionError):
        check(drawn * 1.05, 2 / 360, 3.0)
    with pytest.raises(AssertionError):
        check(drawn, 2 / 360, KURTOSIS["trunc_normal"])
    with pytest.raises(AssertionError):
        check(drawn + 0.1 / 6, 2 / 360, 3.0)


# --- gains -----------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[cr.Tensor], cr.Tensor]] = {
    "elu": F.elu,
    "celu": F.celu,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
}


def mean_square(f: Callable[[cr.Tensor], cr.Tensor], variance: float = 1.0) -> float:
    """Return E[f(z)²] for a normal z, by the trapezoid rule."""
    z = np.linspace(-12, 12, 48_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    y = f(cr.tensor(z * math.sqrt(variance), dtype="float64")).numpy()
    return float((density * y * y).sum() * (z[1] - z[0]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derived_gain_keeps_the_mean_square(name: str) -> None:
    assert init.calculate_gain(name) ** 2 * mean_square(FUNCTIONS[name]) == pytest.approx(
        1, rel=1e-7
    )


@pytest.mark.parametrize(("name", "alpha"), [("elu", 0.3), ("elu", 1.7), ("celu", 0.4)])
def test_gain_knows_alpha(name: str, alpha: float) -> None:
    f = getattr(F, name)
    square = mean_square(lambda x: f(x, alpha))
    assert init.calculate_gain(name, alpha) ** 2 * square == pytest.approx(1, rel=1e-7)


@pytest.mark.parametrize("name", [*FUNCTIONS, "tanh"])
def test_gain_leads_signals_to_a_stable_size(name: str) -> None:
    """The mean square of an infinitely wide network, layer by layer, from 4 and from 1/4."""
    f, gain = getattr(F, name), init.calculate_gain(name)
    for variance in (4.0, 0.25):
        for _ in range(30):
            variance = gain**2 * mean_square(f, variance)
        assert 0.5 < variance < 2.1


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish"])
def test_gain_of_smooth_rectifiers_is_the_largest_that_never_explodes(name: str) -> None:
    f, gain = getattr(F, name), init.calculate_gain(name)
    growth = [gain**2 * mean_square(f, v) / v for v in (0.1, 1.0, 10.0, 1e4)]
    assert growth == sorted(growth)
    assert 0.98 < growth[-1] <= 1.0


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        (nn.ELU(), 1.2451983007007066**2 / 200),
        (nn.SELU(), 1 / 200),
        (nn.Mish(), 2 / 200),
        (nn.Hardswish(), 2 / 200),
        (nn.PReLU(init=0.5), 2 / 1.25 / 200),
        (nn.RReLU(0.1, 0.3), 2 / 1.04 / 200),
        (nn.ReLU6(), 2 / 200),
        (nn.Softplus(), 1.0418668355353017**2 / 200),
        (nn.Softsign(), 2 / 500),
        (nn.Hardtanh(), 2 / 500),
        (nn.Hardsigmoid(), 2 / 500),
    ],
    ids=lambda v: type(v).__name__,
)
def test_default_weights_suit_the_activation_that_follows(
    activation: nn.Module, variance: float
) -> None:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 300), activation)
    check(model[0].weight.detach().numpy(), variance, 3.0)


# --- structures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 4, 3), 1), ((6, 2, 3, 3), 2), ((2, 5, 3, 1, 3), 1), ((4, 1, 5), 4)]
)
def test_dirac_is_pytorchs_and_keeps_the_input(shape: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    got = init.dirac_(cr.ones(shape), groups).numpy()
    want = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
    np.testing.assert_array_equal(got, want)
    if shape == (4, 4, 3):
        x = cr.randn(2, 4, 9)
        np.testing.assert_array_equal(F.conv1d(x, cr.tensor(got), padding=1).numpy(), x.numpy())


def test_sparse_leaves_the_same_number_in_each_column() -> None:
    cr.manual_seed(0)
    weight = init.sparse_(cr.ones((50, 400)), 0.33, std=0.5).numpy()
    assert ((weight == 0).sum(0) == math.ceil(0.33 * 50)).all()
    # Which rows are 0 is chance: each about a third of the time.
    assert (np.abs((weight == 0).mean(1) - 0.34) < 5 * math.sqrt(0.34 * 0.66 / 400)).all()
    rest = weight[weight != 0]
    assert abs(rest.std() / 0.5 - 1) < 5 / math.sqrt(2 * rest.size)


def test_orthogonal_keeps_lengths_through_fifty_layers() -> None:
    cr.manual_seed(0)
    x = cr.randn(64, dtype="float64")
    y = x
    for _ in range(50):
        y = init.orthogonal_(cr.zeros((64, 64), dtype="float64")) @ y
    assert float(y.square().sum()) == pytest.approx(float(x.square().sum()), rel=1e-12)


def test_units_that_start_alike_stay_alike() -> None:
    """Zero (and constant) weights: all hidden units remain one and the same; drawn ones differ."""
    cr.manual_seed(0)
    x, t = cr.randn(32, 5), cr.randn(32, 1)
    for fill, identical in (
        (init.zeros_, True),
        (lambda w: init.constant_(w, 0.3), True),
        (init.xavier_normal_, False),
    ):
        model = nn.Sequential(nn.Linear(5, 6), nn.Sigmoid(), nn.Linear(6, 1))
        for layer in (model[0], model[2]):
            fill(layer.weight)
        start = model[0].weight.detach().numpy()
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        for _ in range(20):
            optimizer.zero_grad()
            F.mse_loss(model(x), t).backward()
            optimizer.step()
        weight = model[0].weight.detach().numpy()
        assert np.abs(weight - start).max() > 1e-4  # it did learn
        assert bool(np.ptp(weight, axis=0).max() < 1e-6) is identical


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: init.kaiming_normal_(cr.zeros((3, 0))), "fan_in of weight f32[3,0] is 0"),
        (lambda: init.lecun_normal_(cr.zeros((3, 4, 0))), "leave weights without elements"),
        (lambda: init.kaiming_normal_(cr.zeros((0, 3)), mode="fan_out"), "fan_out of weight"),
        (lambda: init.xavier_normal_(cr.zeros(3)), "nn.init.zeros_, ones_"),
        (lambda: init.normal_(cr.zeros(3, dtype="int64")), "cannot hold real numbers"),
        (lambda: init.uniform_(cr.zeros(3), 1.0, -1.0), "hint: uniform_(tensor, -1.0, 1.0)"),
        (lambda: init.uniform_(cr.zeros(3), 0.0, math.inf), "no finite range"),
        (lambda: init.sparse_(cr.zeros((3, 3)), 1.5), "sparsity is 1.5, expected 0 to 1"),
        (lambda: init.sparse_(cr.zeros(3), 0.5), "not a matrix"),
        (lambda: init.dirac_(cr.zeros((3, 3))), "hint: nn.init.eye_"),
        (lambda: init.dirac_(cr.zeros((3, 3, 3)), 2), "3 outputs do not split into groups=2"),
        (lambda: init.eye_(cr.zeros((3, 3, 3))), "hint: nn.init.dirac_"),
        (lambda: init.calculate_gain("elu", math.nan), "expected a finite number"),
        (lambda: init.calculate_gain("sofplus"), "did you mean 'softplus'"),
        (lambda: init.variance_scaling_(cr.zeros((2, 2)), math.inf), "scale is inf"),
    ],
)
def test_impossible_rules_are_refused_with_a_remedy(call: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        call()
    assert text in str(caught.value)
