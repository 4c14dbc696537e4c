"""Losses of classes and labels: extremes, masks, weights, refusals. Oracle: PyTorch, or by hand.

Values, gradients and second gradients on samples are checked by test_every_op.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.data import DataLoader, TensorDataset
from chainrule.train import Trainer

HUGE = np.array([-1e4, -104.0, -30.0, 0.0, 30.0, 104.0, 1e4])


def value_and_gradient(loss: Any, x: np.ndarray, *rest: Any, **attrs: Any) -> tuple[Any, Any]:
    ours = cr.tensor(x, requires_grad=True)
    result = loss(ours, *rest, **attrs)
    result.sum().backward()
    return result.detach().numpy(), np.asarray(ours.grad)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name",
    [
        "binary_cross_entropy_with_logits",
        "multilabel_soft_margin_loss",
        "soft_margin_loss",
        "hinge_loss",
        "sigmoid_focal_loss",
    ],
)
def test_losses_from_huge_scores_are_exact(name: str, dtype: str) -> None:
    """By hand: what is right costs nothing, what is wrong costs as much as the score is large."""
    x = np.stack([HUGE, HUGE]).astype(dtype)
    yes = np.stack([np.ones(7), np.zeros(7)]).astype(dtype)
    signs = name in ("soft_margin_loss", "hinge_loss")
    attrs = {"alpha": -1.0} if "focal" in name else {}
    wide = x if name != "multilabel_soft_margin_loss" else x[..., None]
    target = (2 * yes - 1 if signs else yes).reshape(wide.shape)
    loss, gradient = value_and_gradient(
        getattr(F, name), wide, cr.tensor(target), reduction="none", **attrs
    )
    z = (x * (1 - 2 * yes)).astype(np.float64)  # large: wrong
    exact = np.where(z > 0, z, 0) + np.log1p(np.exp(-np.abs(z)))
    probability = np.where(z > 0, 1, np.exp(-np.abs(z))) / (1 + np.exp(-np.abs(z)))
    if "focal" in name:
        exact = exact * probability**2
    if name == "hinge_loss":
        exact = np.maximum(0, 1 + z)
    # (1 - t) x + softplus(-x) is exact to a rounding of x.
    digits = np.finfo(dtype).eps
    assert (np.abs(loss.reshape(2, 7) - exact) <= 16 * digits * exact + digits * np.abs(x)).all()
    slope = probability
    if "focal" in name:
        plain = np.where(z > 0, z, 0) + np.log1p(np.exp(-np.abs(z)))
        slope = probability**2 * (2 * (1 - probability) * plain + probability)
    if name == "hinge_loss":
        slope = (z > -1).astype(np.float64)
    wanted = slope * (1 - 2 * yes)
    np.testing.assert_allclose(gradient.reshape(2, 7), wanted, rtol=1e-5, atol=1e-12)


def test_certain_scores_cost_nothing_or_everything() -> None:
    """The limits at infinity, where PyTorch gives NaN for those that are right."""
    x = cr.tensor([np.inf, -np.inf, np.inf, -np.inf])
    t = cr.tensor([1.0, 0.0, 0.0, 1.0])
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert loss.tolist() == [0.0, 0.0, np.inf, np.inf]
    x.requires_grad_()
    F.binary_cross_entropy_with_logits(x[:2], t[:2]).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0] * 4


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_agrees_with_torch_up_to_its_limits(weighted: bool) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    x = np.array([0.0, 0.0, 1.0, 1.0, 0.5, 1e-5, 1 - 1e-9, 0.0])
    t = np.array([0.0, 1.0, 0.0, 1.0, 0.3, 1.0, 0.0, 0.5])
    w = np.linspace(0.0, 2.0, 8) if weighted else None
    loss, gradient = value_and_gradient(
        F.binary_cross_entropy, x, cr.tensor(t), None if w is None else cr.tensor(w)
    )
    theirs = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.binary_cross_entropy(
        theirs, torch.tensor(t), None if w is None else torch.tensor(w)
    )
    want.backward()
    np.testing.assert_allclose(loss, want.item(), rtol=1e-12)
    # PyTorch's limit is 1e-12 rounded to float32. Where right and certain its slope is 0, but that
    # of -ln(1 - x) at 0 is 1.
    expected = theirs.grad.numpy().copy()
    share = np.full(8, 1 / 8) if w is None else w / 8
    expected[[0, 3]] = share[[0, 3]] * [1, -1]
    np.testing.assert_allclose(gradient, expected, rtol=1e-8)


def test_impossible_classes_do_not_spoil_soft_targets() -> None:
    """0 ln 0 is 0: PyTorch gives NaN for a class masked out with -inf."""
    x = cr.tensor([[0.0, 0.0, -np.inf]], requires_grad=True)
    loss = F.cross_entropy(x, cr.tensor([[0.5, 0.5, 0.0]]))
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-7)
    assert F.cross_entropy(x, cr.tensor([[0.5, 0.4, 0.1]])).item() == np.inf


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_weights_agree_with_torch(p: int, reduction: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    x, t, w = rng.normal(size=(5, 4)), rng.integers(0, 4, 5), rng.uniform(0, 2, 4)
    got, gradient = value_and_gradient(
        F.multi_margin_loss, x, cr.tensor(t), p, 0.7, cr.tensor(w), reduction=reduction
    )
    theirs = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.multi_margin_loss(
        theirs, torch.tensor(t), p, 0.7, torch.tensor(w), reduction=reduction
    )
    want.sum().backward()
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-12, atol=1e-15)


# --- focal loss, by hand ------------------------------------------------------------------------


def test_focal_loss_by_hand() -> None:
    """Lin et al., figure 1: at gamma 2 an example with p = 0.9 counts 100 times less."""
    logits = np.log(np.array([[0.9, 0.1], [0.5, 0.5]]))
    loss = F.focal_loss(cr.tensor(logits), cr.tensor([0, 0]), reduction="none").numpy()
    np.testing.assert_allclose(loss, [0.1**2 * -math.log(0.9), 0.25 * math.log(2)], rtol=1e-12)
    plain = F.cross_entropy(cr.tensor(logits), cr.tensor([0, 0]), reduction="none").numpy()
    assert plain[0] / loss[0] == pytest.approx(100)
    yes = F.sigmoid_focal_loss(cr.tensor([math.log(9.0)], dtype="float64"), cr.tensor([1.0]))
    assert yes.item() == pytest.approx(0.25 * 0.1**2 * -math.log(0.9))
    no = F.sigmoid_focal_loss(cr.tensor([math.log(9.0)], dtype="float64"), cr.tensor([0.0]))
    assert no.item() == pytest.approx(0.75 * 0.9**2 * -math.log(0.1))


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    x, t = cr.tensor(rng.normal(size=(6, 4)) * 50), cr.tensor([0, 1, 2, 3, -100, 1])
    weight = cr.tensor([0.5, 1.0, 2.0, 0.0])
    for attrs in ({}, {"weight": weight}):
        got, want = F.focal_loss(x, t, gamma=0.0, **attrs), F.cross_entropy(x, t, **attrs)
        np.testing.assert_allclose(got.item(), want.item(), rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_gradient_of_certain_examples_is_finite(gamma: float) -> None:
    x = np.array([[1e4, -1e4], [-1e4, 1e4], [40.0, 0.0]])
    _, gradient = value_and_gradient(F.focal_loss, x, cr.tensor([0, 0, 0]), gamma=gamma)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[:2], [[0, 0], [-1 / 3, 1 / 3]], atol=1e-12)


# --- masks, weights, batches of nothing -----------------------------------------------------------


def test_all_targets_ignored_and_all_weights_zero_give_what_torch_gives() -> None:
    x, t = cr.tensor([[1.0, 2.0], [0.0, 1.0]]), cr.tensor([-100, -100])
    for loss in (F.cross_entropy, F.nll_loss, F.focal_loss):
        assert np.isnan(loss(x, t).item())
        assert loss(x, t, reduction="sum").item() == 0.0
        assert np.isnan(loss(x, cr.tensor([0, 1]), cr.zeros(2)).item())
        assert loss(x, cr.tensor([0, 1]), cr.zeros(2), reduction="sum").item() == 0.0
    y = cr.tensor([0.0, 1.0])
    assert F.binary_cross_entropy_with_logits(y, y, cr.zeros(2)).item() == 0.0


def test_ignored_targets_get_no_gradient_even_from_broken_scores() -> None:
    x = np.array([[1.0, 2.0], [np.nan, np.inf]])
    for loss in (F.cross_entropy, F.focal_loss):
        value, gradient = value_and_gradient(loss, x, cr.tensor([0, -100]))
        assert np.isfinite(value)
        assert np.isfinite(gradient[0]).all()


def test_a_batch_of_nothing_has_a_sum_of_0_and_no_mean() -> None:
    for loss, shape in (
        (F.binary_cross_entropy, (0,)),
        (F.hinge_loss, (0,)),
        (F.soft_margin_loss, (0, 3)),
        (F.multilabel_soft_margin_loss, (0, 3)),
        (F.sigmoid_focal_loss, (0,)),
        (F.dice_loss, (0, 4)),
    ):
        x = cr.zeros(shape)
        assert loss(x, x, reduction="sum").item() == 0.0
        assert np.isnan(loss(x, x, reduction="mean").item())
    assert np.isnan(F.cross_entropy(cr.zeros((0, 3)), cr.zeros(0, dtype="int64")).item())


# --- refusals -----------------------------------------------------------------------------------

X = cr.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: F.binary_cross_entropy(X + 2.0, X),
            "input 2 at position [0, 0] is not between 0 and 1",
        ),
        (
            lambda: F.binary_cross_entropy(X - 2.0, X),
            "hint: scores without a sigmoid go to binary_cross_entropy_with_logits",
        ),
        (lambda: F.binary_cross_entropy(X, X, cr.ones(2)), "does not broadcast to input f32[2,3]"),
        (lambda: F.hinge_loss(X, X), "target 0 at position [0, 0] is neither 1 nor -1"),
        (lambda: F.hinge_loss(X, X), "hint: 2 * target - 1 for targets 0 and 1"),
        (lambda: F.soft_margin_loss(X, X + 1.0, reduction="men"), "did you mean 'mean'"),
        (lambda: F.multi_margin_loss(X, cr.tensor([0, 3])), "target 3 at position [1] is not a"),
        (lambda: F.multi_margin_loss(X, cr.tensor([0, 3])), "needs at least 4 outputs"),
        (lambda: F.multi_margin_loss(X, cr.tensor([[0], [1]])), "hint: target.squeeze(1)"),
        (lambda: F.multi_margin_loss(X, cr.tensor([0.0, 1.0])), "hint: target.long()"),
        (lambda: F.multi_margin_loss(X, cr.tensor([0, 1]), 3), "p=3, expected 1 or 2"),
        (lambda: F.multilabel_margin_loss(X, cr.tensor([[0, -2, 1]] * 2)), "run from -1 to 2"),
        (lambda: F.focal_loss(X, cr.tensor([0, 1]), gamma=-1.0), "gamma=-1.0, expected 0 or more"),
        (lambda: F.sigmoid_focal_loss(X, X, alpha=2.0), "alpha=2.0, expected 0 to 1"),
        (lambda: F.dice_loss(X, X, smooth=-1.0), "smooth=-1.0"),
        (lambda: nn.MultiMarginLoss(p=3), "MultiMarginLoss: p is 3, expected 1 or 2"),
        (lambda: nn.BCELoss(reduction="avg"), "unknown BCELoss reduction: 'avg'"),
        (lambda: nn.FocalLoss(gamma=-2.0), "FocalLoss: gamma is -2.0"),
        (lambda: nn.SigmoidFocalLoss(alpha=3.0), "SigmoidFocalLoss: alpha is 3.0"),
    ],
)
def test_wrong_arguments_are_refused_with_a_remedy(call: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("call", "good", "bad"),
    [
        (F.hinge_loss, [1.0, -1.0], [1.0, 0.0]),
        (F.binary_cross_entropy, [0.0, 1.0], [0.0, 2.0]),
        (F.multilabel_margin_loss, [1, -1], [2, -1]),
    ],
)
def test_wrong_targets_are_found_in_compiled_functions_too(call: Any, good: Any, bad: Any) -> None:
    x = cr.tensor([0.2, 0.4])
    run = cr.compile(lambda t: call(x, t))
    np.testing.assert_allclose(run(cr.tensor(good)).item(), call(x, cr.tensor(good)).item())
    with pytest.raises(cr.ChainruleError, match=call.__name__):
        run(cr.tensor(bad))


# --- several losses watched -----------------------------------------------------------------------


def test_one_loss_is_trained_on_and_others_are_watched() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = (x.sum(1, keepdims=True) > 0).astype(np.float32)
    batches: Any = DataLoader(TensorDataset(x, y), batch_size=20)
    cr.manual_seed(0)
    model = nn.Linear(3, 1)
    watched = {
        "mse": lambda output, target: F.mse_loss(output.sigmoid(), target),
        "half": lambda output, target: F.mse_loss(output.sigmoid(), target, half=True),
        "hinge": lambda output, target: F.hinge_loss(output, 2 * target - 1),
        "focal": nn.SigmoidFocalLoss(),
    }
    trainer = Trainer(
        *(model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.1)),
        watch=watched,
        progress=False,
    )
    history = trainer.fit(batches, batches, epochs=8)
    for name in ("loss", *watched):
        curve = history.curve("valid", name)
        assert curve[-1] < 0.7 * curve[0], name
    with cr.no_grad():
        output, target = model(cr.tensor(x)), cr.tensor(y)
        for name, loss in watched.items():
            assert history.curve("valid", name)[-1] == pytest.approx(
                loss(output, target).item(), rel=1e-5
            )
    assert history.curve("valid", "half")[-1] * 2 == pytest.approx(
        history.curve("valid", "mse")[-1]
    )
