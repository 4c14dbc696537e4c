"""Activation modules: results, printed form and state are PyTorch's; settings are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

CALLS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("ReLU", "ReLU6", "Sigmoid", "Tanh", "LogSigmoid", "Softsign")),
    *((name, {}) for name in ("ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Hardswish")),
    *((name, {}) for name in ("Hardsigmoid", "Hardtanh", "Hardshrink", "Softshrink", "GLU")),
    *((name, {}) for name in ("Tanhshrink", "Softplus", "LeakyReLU", "PReLU")),
    *((name, {"inplace": True}) for name in ("ReLU", "SiLU", "ELU", "Hardtanh", "LeakyReLU")),
    ("ReLU6", {}),
    ("ELU", {"alpha": 0.5}),
    ("CELU", {"alpha": 0.5}),
    ("GELU", {"approximate": "tanh"}),
    ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    ("Hardshrink", {"lambd": 0.2}),
    ("Softplus", {"beta": 2.0, "threshold": 1.0}),
    ("LeakyReLU", {"negative_slope": 0.2}),
    ("PReLU", {"num_parameters": 4, "init": 0.1}),
    ("Threshold", {"threshold": 0.1, "value": 20.0}),
    ("GLU", {"dim": 0}),
    ("Softmax", {"dim": 1}),
    ("LogSoftmax", {"dim": 0}),
    ("Softmin", {"dim": 1}),
]


@pytest.mark.parametrize(("name", "settings"), CALLS, ids=lambda v: str(v))
def test_module_is_pytorchs(name: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    ours, theirs = getattr(nn, name)(**settings), getattr(torch.nn, name)(**settings)
    shown = repr(theirs)
    # PyTorch says nothing of the place of some that can work in place; we always do.
    if settings.get("inplace") and "inplace" not in shown:
        shown = shown[:-1] + "inplace=True)"
    assert repr(ours) == shown
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    got, want = ours(cr.tensor(x)), theirs(torch.tensor(x.copy()))
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_rrelu_is_random_in_training_alone() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    layer, x = nn.RReLU(), -cr.ones(8)
    assert repr(layer) == repr(torch.nn.RReLU())
    assert len(set(layer(x).tolist())) == 8
    layer.eval()
    np.testing.assert_allclose(layer(x).numpy(), -11 / 48, rtol=1e-6)


def test_rrelu_draws_anew_at_each_call_of_a_compiled_function() -> None:
    run = cr.compile(nn.RReLU())
    x = -cr.ones(8)
    assert run(x).tolist() != run(x).tolist()


def test_softmax2d_is_over_channels() -> None:
    x = cr.randn(2, 3, 4, 5)
    np.testing.assert_allclose(nn.Softmax2d()(x).numpy().sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(nn.Softmax2d()(x[0]).numpy(), nn.Softmax2d()(x)[0].numpy())
    with pytest.raises(cr.ShapeError, match="expected images"):
        nn.Softmax2d()(x[0, 0])


def test_learned_slope_and_learned_beta_are_trained() -> None:
    """Both find the slope that made the data, in a compiled step."""
    x = cr.linspace(-3, 3, 61)
    for layer, target in ((nn.PReLU(), nn.LeakyReLU(0.6)), (nn.Swish(learned=True), nn.Swish(2.0))):
        optimizer = optim.Adam(layer.parameters(), lr=0.05)
        wanted = target(x)

        @cr.compile
        def step(
            x: cr.Tensor,
            wanted: cr.Tensor,
            layer: nn.Module = layer,
            optimizer: optim.Adam = optimizer,
        ) -> cr.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(layer(x), wanted)
            loss.backward()
            optimizer.step()
            return loss

        for _ in range(300):
            loss = step(x, wanted)
        assert loss.item() < 1e-6


def test_prelu_can_be_reset() -> None:
    layer = nn.PReLU(3, init=0.1)
    nn.init.zeros_(layer.weight)
    layer.reset_parameters()
    np.testing.assert_allclose(layer.weight.detach().numpy(), 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.PReLU(0), "PReLU: num_parameters is 0, expected at least 1"),
        (lambda: nn.PReLU(init=float("nan")), "PReLU: init is nan"),
        (lambda: nn.Softplus(beta=-1.0), "Softplus: beta is -1.0, expected a number above 0"),
        (lambda: nn.CELU(0.0), "CELU: alpha is 0.0, expected a number above 0"),
        (lambda: nn.RReLU(0.5, 0.1), "RReLU: slopes from lower=0.5 to upper=0.1"),
        (lambda: nn.Hardtanh(1.0, 0.0), "Hardtanh: min_val=1.0 must be below max_val=0.0"),
        (lambda: nn.Softshrink(-0.1), "Softshrink: lambd is -0.1"),
        (lambda: nn.Swish(beta=float("inf")), "Swish: beta is inf, expected a finite number"),
        (lambda: nn.ReLU(3), "ReLU: inplace is 3, expected True or False"),
        (lambda: nn.GELU("erf"), "unknown GELU approximate: 'erf'"),
    ],
)
def test_bad_settings_are_refused_at_construction(make: Any, text: str) -> None:
    with pytest.raises(cr.ArgumentError) as caught:
        make()
    assert text in str(caught.value)
