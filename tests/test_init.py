"""Initialisation: moments against theory, fans and gains against PyTorch, the layers' defaults."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import init

SHAPES = [(300, 200), (64, 32, 5), (40, 30, 3, 3)]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


def check_moments(values: cr.Tensor, std: float) -> None:
    """Mean 0 and the given deviation, within five standard errors of a sample of that size."""
    array = values.numpy().astype(np.float64)
    assert abs(array.mean()) < 5 * std / math.sqrt(array.size)
    assert abs(array.std() / std - 1) < 5 / math.sqrt(array.size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("fill", "variance"),
    [
        (init.xavier_normal_, lambda i, o: 2 / (i + o)),
        (init.xavier_uniform_, lambda i, o: 2 / (i + o)),
        (lambda w: init.xavier_uniform_(w, gain=3.0), lambda i, o: 18 / (i + o)),
        (lambda w: init.kaiming_normal_(w, nonlinearity="relu"), lambda i, o: 2 / i),
        (lambda w: init.kaiming_uniform_(w, mode="fan_out"), lambda i, o: 2 / o),
        (lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)), lambda i, o: 1 / (3 * i)),
        (init.lecun_normal_, lambda i, o: 1 / i),
        (init.lecun_uniform_, lambda i, o: 1 / i),
        (init.variance_scaling_, lambda i, o: 1 / i),
        (lambda w: init.variance_scaling_(w, 2.0, "fan_avg", "normal"), lambda i, o: 4 / (i + o)),
        (init.normal_, lambda i, o: 1.0),
        (lambda w: init.normal_(w, std=0.01), lambda i, o: 1e-4),
        (lambda w: init.uniform_(w, -1, 1), lambda i, o: 1 / 3),
    ],
)
def test_moments_are_those_of_the_rule(fill: Any, variance: Any, shape: tuple[int, ...]) -> None:
    cr.manual_seed(1)
    weight = nn.Parameter(cr.zeros(shape))
    assert fill(weight) is weight
    assert weight.requires_grad
    assert weight.is_leaf
    check_moments(weight, math.sqrt(variance(*fans(shape))))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_truncated_normal_keeps_variance_and_bounds(mode: Any) -> None:
    cr.manual_seed(2)
    shape = (300, 200)
    weight = init.variance_scaling_(cr.zeros(shape), 1.0, mode, "trunc_normal")
    fan = {"fan_in": 200, "fan_out": 300, "fan_avg": 250}[mode]
    std = 1 / math.sqrt(fan)
    check_moments(weight, std)
    assert np.abs(weight.numpy()).max() <= 2 * std / init.TRUNCATED_STD * (1 + 1e-6)


def test_uniform_stays_inside_its_bounds() -> None:
    weight = init.xavier_uniform_(cr.zeros((100, 50))).numpy()
    assert np.abs(weight).max() <= math.sqrt(6 / 150)


def test_trunc_normal_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the extra 'test' is not installed")
    cr.manual_seed(3)
    drawn = init.trunc_normal_(cr.zeros(20_000, dtype="float64"), 1.0, 2.0, -1.0, 2.0).numpy()
    assert drawn.min() >= -1
    assert drawn.max() <= 2
    assert stats.kstest(drawn, stats.truncnorm(-1, 0.5, loc=1, scale=2).cdf).pvalue > 1e-3


def test_normal_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the extra 'test' is not installed")
    cr.manual_seed(3)
    drawn = init.normal_(cr.zeros(20_000, dtype="float64"), 1.0, 2.0).numpy()
    assert stats.kstest(drawn, stats.norm(1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 2, 3, 3), (20, 2, 3)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    weight = init.orthogonal_(cr.zeros(shape, dtype="float64"), gain=2.0).numpy()
    matrix = weight.reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_signs_are_not_an_accident_of_qr() -> None:
    """Haar measure: an element's mean is 0 (LAPACK's Q alone has a negative first diagonal)."""
    cr.manual_seed(0)
    first = [init.orthogonal_(cr.zeros((3, 3))).numpy()[0, 0] for _ in range(200)]
    assert abs(np.mean(first)) < 5 / math.sqrt(3 * 200)


def test_constants_fill() -> None:
    assert init.zeros_(cr.ones(3)).tolist() == [0, 0, 0]
    assert init.ones_(cr.zeros(3)).tolist() == [1, 1, 1]
    assert init.constant_(cr.zeros(2), 0.01).numpy().tolist() == [np.float32(0.01)] * 2
    assert init.eye_(cr.zeros((2, 3))).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_gains_and_fans_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    names = [
        "linear",
        "conv2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "selu",
    ]
    for name in names:
        expected = torch.nn.init.calculate_gain(name)
        assert init.calculate_gain(name) == pytest.approx(expected, rel=1e-15)
    expected = torch.nn.init.calculate_gain("leaky_relu", 0.3)
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(expected, rel=1e-15)
    for shape in SHAPES:
        expected = torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(shape))
        assert init.fans(cr.zeros(shape)) == expected


def test_same_seed_gives_same_weights() -> None:
    def weights(seed: int) -> np.ndarray:
        cr.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))[2].weight.numpy()

    np.testing.assert_array_equal(weights(7), weights(7))
    assert (weights(7) != weights(8)).any()


def test_generator_is_used_alone() -> None:
    cr.manual_seed(0)
    before = cr.default_generator().get_state()
    for fill in (init.normal_, init.uniform_, init.trunc_normal_, init.orthogonal_):
        a = fill(cr.zeros((3, 3)), generator=cr.Generator(5)).numpy()
        b = fill(cr.zeros((3, 3)), generator=cr.Generator(5)).numpy()
        np.testing.assert_array_equal(a, b)
    assert cr.default_generator().get_state() == before


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: init.xavier_normal_(cr.zeros(3)), "fans need at least two axes"),
        (lambda: init.kaiming_normal_(cr.zeros((3, 3)), mode="fan"), "unknown mode: 'fan'"),
        (lambda: init.kaiming_normal_(cr.zeros((3, 3)), nonlinearity="reul"), "'relu'"),
        (lambda: init.normal_(cr.zeros(3), std=-1.0), "std is -1.0"),
        (lambda: init.normal_(cr.zeros(3), std=float("nan")), "std is nan"),
        (lambda: init.trunc_normal_(cr.zeros(3), std=0.0), "std is 0.0"),
        (lambda: init.orthogonal_(cr.zeros(3)), "fewer than two axes"),
        (lambda: init.eye_(cr.zeros(3)), "not a matrix"),
        (lambda: init.variance_scaling_(cr.zeros((2, 2)), -1.0), "scale is -1.0"),
        (lambda: init.variance_scaling_(cr.zeros((2, 2)), 1, "fan_in", "gauss"), "gauss"),
    ],
)
def test_bad_argument_is_refused(call: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        call()
    assert text in str(caught.value)


# --- default weights of layers ----


def std(layer: Any) -> float:
    return float(layer.weight.numpy().std())


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        (nn.ReLU(), 2 / 200),
        (nn.LeakyReLU(0.5), 2 / 1.25 / 200),
        (nn.GELU(), 2 / 200),
        (nn.SiLU(), 2 / 200),
        (nn.Sigmoid(), 2 / 500),
        (nn.Tanh(), 2 / 500),
        (nn.Softmax(1), 1 / 200),
        (nn.Linear(300, 2), 1 / 200),
    ],
    ids=lambda v: type(v).__name__,
)
def test_sequential_sees_the_activation(activation: nn.Module, variance: float) -> None:
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(200, 300), nn.BatchNorm1d(300), nn.Dropout(0.1), nn.Identity(), activation
    )
    check_moments(model[0].weight, math.sqrt(variance))
    assert (model[0].bias == 0).all()


def test_default_alone_is_he_and_last_is_lecun() -> None:
    cr.manual_seed(0)
    layer = nn.Linear(200, 300)
    check_moments(layer.weight, math.sqrt(2 / 200))
    nn.Sequential(nn.Linear(200, 200), nn.Tanh(), layer)
    check_moments(layer.weight, math.sqrt(1 / 200))


def test_convolution_counts_its_fans_by_group_and_stride() -> None:
    cr.manual_seed(0)
    check_moments(nn.Conv2d(32, 64, 3, groups=4).weight, math.sqrt(2 / (8 * 9)))
    tanh = nn.Conv2d(32, 64, 3, groups=4, nonlinearity="tanh")
    check_moments(tanh.weight, math.sqrt(2 / (8 * 9 + 16 * 9)))
    up = nn.ConvTranspose2d(32, 64, 4, stride=2)
    check_moments(up.weight, math.sqrt(2 / (32 * 16 / 4)))


def test_signals_keep_their_variance_through_a_deep_network() -> None:
    """The purpose of all this, for fifty layers."""
    cr.manual_seed(0)
    relu = nn.Sequential(*(m for _ in range(50) for m in (nn.Linear(256, 256), nn.ReLU())))
    assert 0.1 < float(relu(cr.randn((64, 256))).numpy().std()) < 10
    linear = nn.Sequential(*(nn.Linear(256, 256) for _ in range(50)))
    assert 0.1 < float(linear(cr.randn((64, 256))).numpy().std()) < 10


def test_nested_sequential_is_seen_through() -> None:
    cr.manual_seed(0)
    inner = nn.Sequential(nn.Linear(200, 300))
    check_moments(inner[0].weight, math.sqrt(1 / 200))
    nn.Sequential(inner, nn.Sequential(nn.Dropout(0.5), nn.Sigmoid()))
    check_moments(inner[0].weight, math.sqrt(2 / 500))


def test_change_of_a_sequential_is_seen() -> None:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 300), nn.Tanh())
    model[1] = nn.ReLU()
    check_moments(model[0].weight, math.sqrt(2 / 200))


def test_sequential_never_changes_weights_that_somebody_set() -> None:
    loaded, filled, said, shared = (nn.Linear(4, 4) for _ in range(4))
    said = nn.Linear(4, 4, nonlinearity="relu")
    loaded.load_state_dict(nn.Linear(4, 4).state_dict())
    init.normal_(filled.weight, std=0.01)
    shared.weight = loaded.weight
    before = [layer.weight.numpy() for layer in (loaded, filled, said, shared)]
    for layer in (loaded, filled, said, shared):
        nn.Sequential(layer, nn.Tanh())
    for layer, weight in zip((loaded, filled, said, shared), before, strict=True):
        np.testing.assert_array_equal(layer.weight.numpy(), weight)


def test_before_an_unknown_module_nothing_changes() -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.numpy()
    nn.Sequential(layer, nn.Module())
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_reset_draws_anew() -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.numpy()
    layer.reset_parameters()
    assert (layer.weight.numpy() != before).all()
