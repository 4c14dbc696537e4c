"""Losses of numbers, distributions and distances: extremes, options, refusals, modules.

Values, gradients and second gradients on samples are checked by test_every_op.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn

A, B, C = (np.random.default_rng(i).standard_normal((4, 3)).astype(np.float32) for i in range(3))
SIGNS = np.array([1, -1, -1, 1])
MODULES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("MSELoss", {}, (A, B)),
    ("L1Loss", {"reduction": "sum"}, (A, B)),
    ("SmoothL1Loss", {"beta": 0.5}, (A, B)),
    ("HuberLoss", {"reduction": "none", "delta": 0.7}, (A, B)),
    ("GaussianNLLLoss", {"full": True}, (A, B, np.abs(C))),
    ("PoissonNLLLoss", {"log_input": True, "full": True}, (A, np.abs(B) * 3)),
    ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, (A, B)),
    ("BCELoss", {}, (1 / (1 + np.exp(-A)), (B > 0).astype(np.float32))),
    ("BCEWithLogitsLoss", {"pos_weight": np.array([2.0, 1.0, 0.5], np.float32)}, (A, B > 0)),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, (A, np.array([0, 2, 1, 1]))),
    ("NLLLoss", {}, (A, np.array([0, 2, 1, 1]))),
    ("SoftMarginLoss", {}, (A, np.sign(B))),
    ("MultiLabelSoftMarginLoss", {}, (A, (B > 0).astype(np.float32))),
    ("MultiLabelMarginLoss", {}, (A, np.array([[0, 1, -1], [2, -1, 0], [1, 0, 2], [-1, 0, 1]]))),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5}, (A, np.array([0, 2, 1, 1]))),
    ("HingeEmbeddingLoss", {"margin": 2.0}, (np.abs(A), np.sign(B))),
    ("MarginRankingLoss", {"margin": 0.5}, (A, B, np.sign(C))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (A, B, SIGNS)),
    ("TripletMarginLoss", {"margin": 2.0, "p": 1.0, "swap": True}, (A, B, C)),
    ("TripletMarginWithDistanceLoss", {"margin": 3.0}, (A, B, C)),
    ("CosineSimilarity", {"dim": 0}, (A, B)),
    ("PairwiseDistance", {"p": 1.0, "keepdim": True}, (A, B)),
    (
        "CTCLoss",
        {"blank": 1, "reduction": "sum"},
        (A[:, None], np.array([[2, 0]]), np.array([4]), np.array([2])),
    ),
]


@pytest.mark.parametrize(("name", "settings", "given"), MODULES, ids=[m[0] for m in MODULES])
def test_module_gives_what_pytorchs_gives(name: str, settings: Any, given: Any) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    arrays = {k for k, v in settings.items() if isinstance(v, np.ndarray)}
    ours = getattr(nn, name)(**{k: cr.tensor(v) if k in arrays else v for k, v in settings.items()})
    theirs = getattr(torch.nn, name)(
        **{k: torch.tensor(v) if k in arrays else v for k, v in settings.items()}
    )
    given = [g.astype(np.float32) if g.dtype == bool else g for g in given]
    got, want = ours(*map(cr.tensor, given)), theirs(*map(torch.tensor, given))
    assert got.dtype is cr.float32
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=3e-6, atol=1e-6)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_half_of_the_squared_error_is_the_textbooks() -> None:
    x, t = cr.tensor([1.0, 4.0, 3.0], requires_grad=True), cr.tensor([0.0, 0.0, 3.0])
    loss = nn.MSELoss(half=True)(x, t)
    assert loss.item() == pytest.approx((1 + 16 + 0) / (2 * 3))
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.array([1, 4, 0]) / 3, rtol=1e-6)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_mask_and_average_as_in_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    weight = np.random.default_rng(3).uniform(0, 2, A.shape).astype(np.float32)
    weight[1] = 0
    for reduction in ("mean", "sum", "none"):
        got = getattr(F, name)(
            cr.tensor(A), cr.tensor(B), weight=cr.tensor(weight), reduction=reduction
        )
        want = getattr(torch.nn.functional, name)(
            torch.tensor(A), torch.tensor(B), weight=torch.tensor(weight), reduction=reduction
        )
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-6)
    if name == "huber_loss":
        return  # its mean, as PyTorch's, is over all elements
    kept = getattr(F, name)(cr.tensor(A[[0, 2, 3]]), cr.tensor(B[[0, 2, 3]]))
    mask = cr.tensor([[1.0], [0.0], [1.0], [1.0]])
    masked = getattr(F, name)(cr.tensor(A), cr.tensor(B), weight=mask)
    np.testing.assert_allclose(masked.item(), kept.item(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_robust_losses_of_huge_errors_have_bounded_slopes(dtype: str) -> None:
    for loss in (F.l1_loss, F.huber_loss, F.smooth_l1_loss):
        x = cr.tensor([-1e4, 1e4, 1e30], dtype=dtype, requires_grad=True)
        loss(x, cr.zeros(3, dtype=dtype), reduction="sum").backward()
        assert x.grad is not None
        assert x.grad.tolist() == [-1.0, 1.0, 1.0]


# --- distributions ------------------------------------------------------------------------------


def test_gaussian_loss_is_minus_the_logarithm_of_the_density() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the extra 'test' is not installed")
    mean, var, y = 0.3, 2.5, -1.7
    got = F.gaussian_nll_loss(*(cr.tensor([v], dtype="float64") for v in (mean, y, var)), full=True)
    assert got.item() == pytest.approx(-stats.norm(mean, math.sqrt(var)).logpdf(y), rel=1e-14)
    same = F.gaussian_nll_loss(cr.tensor([mean]), cr.tensor([y]), var, full=True)
    assert same.item() == pytest.approx(got.item(), rel=1e-6)


def test_learned_variance_finds_the_spread_of_the_data() -> None:
    """The minimum over a constant variance is the mean squared error."""
    rng = np.random.default_rng(0)
    y = rng.normal(0, 3, 500)
    grid = np.linspace(4, 16, 1201)
    losses = [
        F.gaussian_nll_loss(cr.zeros(500, dtype="float64"), cr.tensor(y), float(v)).item()
        for v in grid[::40]
    ]
    assert grid[::40][int(np.argmin(losses))] == pytest.approx((y**2).mean(), abs=0.3)


@pytest.mark.parametrize("var", [0.0, 1e-9])
def test_gradient_of_a_variance_below_eps_passes_as_in_torch(var: float) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    ours = cr.tensor([var, np.inf], dtype="float64", requires_grad=True)
    theirs = torch.tensor([var, np.inf], dtype=torch.float64, requires_grad=True)
    F.gaussian_nll_loss(cr.zeros(2, dtype="float64"), cr.ones(2, dtype="float64"), ours).backward()
    one, zero = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    torch.nn.functional.gaussian_nll_loss(zero, one, theirs).backward()
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-12)


def test_divergence_of_impossible_outcomes() -> None:
    """0 ln 0 is 0, where PyTorch gives NaN; what happens but was held impossible costs inf."""
    x = cr.tensor([[math.log(0.5), math.log(0.5), -np.inf]])
    assert F.kl_div(x, cr.tensor([[0.5, 0.5, 0.0]]), reduction="sum").item() == pytest.approx(0)
    assert F.kl_div(x, cr.tensor([[0.5, 0.4, 0.1]]), reduction="sum").item() == np.inf
    both = F.kl_div(x, x, reduction="sum", log_target=True)
    assert both.item() == pytest.approx(0)


# --- distances ----------------------------------------------------------------------------------


def test_equal_and_zero_vectors_have_finite_gradients() -> None:
    for loss in (
        lambda x, y: F.cosine_similarity(x, y).sum(),
        lambda x, y: F.pairwise_distance(x, y, eps=0.0).sum(),
        lambda x, y: F.contrastive_loss(x, y, cr.tensor([-1, -1])),
        lambda x, y: F.cosine_embedding_loss(x, y, cr.tensor([1, -1])),
        lambda x, y: F.nt_xent_loss(x, y),
    ):
        x = cr.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
        y = cr.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
        loss(x, y).backward()
        assert x.grad is not None
        assert np.isfinite(x.grad.numpy()).all()


def test_nt_xent_by_hand() -> None:
    """Two examples, four unit vectors at 0, 90, 60 and 180 degrees; temperature 0.5."""
    angles = np.deg2rad([0.0, 90.0, 60.0, 180.0])
    z = np.stack([np.cos(angles), np.sin(angles)], 1)
    # Cosines: 1-2: 0, 1-3: 1/2, 1-4: -1, 2-3: √3/2, 2-4: 0, 3-4: -1/2. Pairs: 1-3, 2-4.
    cosines = {"a": 0.0, "b": 0.5, "c": -1.0, "d": 3**0.5 / 2, "f": -0.5}
    e = {name: math.exp(cosine / 0.5) for name, cosine in cosines.items()}
    expected = [
        -math.log(e["b"] / (e["a"] + e["b"] + e["c"])),
        -math.log(e["a"] / (e["a"] + e["d"] + e["a"])),
        -math.log(e["b"] / (e["b"] + e["d"] + e["f"])),
        -math.log(e["a"] / (e["c"] + e["a"] + e["f"])),
    ]
    first, second = cr.tensor(3 * z[:2]), cr.tensor(0.1 * z[2:])  # lengths do not matter
    got = F.nt_xent_loss(first, second, 0.5, reduction="none")
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    mean = nn.NTXentLoss(0.5)(first, second)
    assert mean.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_small_temperatures_do_not_overflow() -> None:
    x = cr.tensor(A, requires_grad=True)
    F.nt_xent_loss(x, cr.tensor(B), 1e-4).backward()
    assert x.grad is not None
    assert np.isfinite(x.grad.numpy()).all()


def test_contrastive_loss_is_hadsells_figure() -> None:
    """At distance 0: nothing for alike, margin² / 2 for different; beyond the margin nothing."""
    x = cr.zeros((3, 1), dtype="float64")
    y = cr.tensor([[0.0], [1.0], [2.5]], dtype="float64")
    alike = F.contrastive_loss(x, y, cr.tensor([1, 1, 1]), 2.0, reduction="none")
    other = F.contrastive_loss(x, y, cr.tensor([-1, -1, -1]), 2.0, reduction="none")
    assert alike.tolist() == [0.0, 0.5, 3.125]
    assert other.tolist() == [2.0, 0.5, 0.0]


def test_a_distance_of_ones_own() -> None:
    def squared(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        return (x - y).square().sum(-1)

    loss = nn.TripletMarginWithDistanceLoss(distance_function=squared, margin=5.0)
    a, p, n = map(cr.tensor, (A, B, C))
    expected = np.maximum(0, ((A - B) ** 2).sum(1) - ((A - C) ** 2).sum(1) + 5).mean()
    assert loss(a, p, n).item() == pytest.approx(float(expected), rel=1e-5)


# --- sequences ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["padded", "joined"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_agrees_with_torch_through_log_softmax(form: str, reduction: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(12, 3, 5)) * 3
    labels = np.array([[1, 1, 2, 4], [3, 2, 0, 0], [4, 4, 4, 0]])
    counts, ends = [4, 2, 3], [12, 9, 5]
    joined = np.concatenate([labels[n, :count] for n, count in enumerate(counts)])
    given = labels if form == "padded" else joined
    ours = cr.tensor(scores, requires_grad=True)
    theirs = torch.tensor(scores, requires_grad=True)

    @cr.compile
    def run(x: cr.Tensor, t: cr.Tensor) -> cr.Tensor:
        loss = F.ctc_loss(x.log_softmax(-1), t, ends, counts, reduction=reduction)
        loss.sum().backward()
        return loss

    got = run(ours, cr.tensor(given))
    want = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1), torch.tensor(given), ends, counts, reduction=reduction
    )
    want.sum().backward()
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-8, atol=1e-12)


def test_ctc_of_too_short_a_sequence_is_infinite_or_left_out() -> None:
    x = cr.zeros((2, 1, 3)).log_softmax(-1).detach().requires_grad_()
    labels = cr.tensor([[1, 1]])  # needs a blank between: three times
    assert F.ctc_loss(x, labels, [2], [2]).item() == np.inf
    loss = F.ctc_loss(x, labels, [2], [2], zero_infinity=True)
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad is not None
    assert (x.grad.numpy() == 0).all()


# --- refusals -----------------------------------------------------------------------------------

X = cr.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: F.gaussian_nll_loss(X, X, X - 1), "var -1 at position [0, 0] is negative"),
        (lambda: F.gaussian_nll_loss(X, X, X - 1), "hint: predict ln var"),
        (lambda: F.gaussian_nll_loss(X, X, cr.zeros(3)), "var f32[3] must have the shape of"),
        (lambda: F.gaussian_nll_loss(X, X, X, eps=0.0), "eps=0.0, expected a number above 0"),
        (lambda: F.kl_div(X, X, reduction="batch_mean"), "did you mean 'batchmean'"),
        (
            lambda: F.mse_loss(X, X, cr.ones(2)),
            "weight f32[2] does not broadcast to input",
        ),
        (lambda: F.huber_loss(X, cr.zeros((3, 2))), "must have the same shape"),
        (lambda: F.cosine_embedding_loss(X, X, cr.ones((2, 1))), "hint: target.reshape(2)"),
        (lambda: F.contrastive_loss(X, X, cr.tensor([0, 1])), "hint: 2 * target - 1"),
        (lambda: F.contrastive_loss(X, X, cr.tensor([1, 1]), -1.0), "margin=-1.0"),
        (lambda: F.triplet_margin_loss(X, X, X[:1]), "anchor f32[2,3] and negative f32[1,3]"),
        (lambda: F.triplet_margin_loss(X, X, X[:1]), "hint: negative.expand(2, 3)"),
        (lambda: F.nt_xent_loss(X, X, 0.0), "temperature=0.0, expected a number above 0"),
        (lambda: F.nt_xent_loss(X[0], X[0]), "expected vectors of examples [N, D]"),
        (lambda: F.ctc_loss(X, cr.tensor([1]), [3], [1]), "input length is not from 1 to T = 2"),
        (lambda: F.ctc_loss(X, cr.tensor([0]), [2], [1]), "or is the blank 0"),
        (lambda: F.ctc_loss(X, cr.tensor([1]), [2], [2]), "target length is not from 0 to S = 1"),
        (lambda: F.ctc_loss(X, cr.tensor([1]), [2], [1], blank=3), "blank=3, expected a class"),
        (lambda: F.ctc_loss(X, cr.tensor([1.0]), [2], [1]), "hint: targets.long()"),
        (lambda: nn.HuberLoss(delta=0.0), "HuberLoss: delta is 0.0, expected a number above 0"),
        (lambda: nn.SmoothL1Loss(beta=-1.0), "SmoothL1Loss: beta is -1.0"),
        (lambda: nn.GaussianNLLLoss(eps=0.0), "GaussianNLLLoss: eps is 0.0"),
        (lambda: nn.NTXentLoss(0.0), "NTXentLoss: temperature is 0.0"),
        (lambda: nn.TripletMarginLoss(margin=0.0), "TripletMarginLoss: margin is 0.0"),
        (lambda: nn.CosineEmbeddingLoss(margin=2.0), "a number from -1 to 1"),
        (lambda: nn.KLDivLoss(reduction="max"), "unknown KLDivLoss reduction: 'max'"),
    ],
)
def test_wrong_arguments_are_refused_with_a_remedy(call: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        call()
    assert text in str(caught.value)


def test_negative_variances_are_found_in_compiled_functions_too() -> None:
    run = cr.compile(lambda v: F.gaussian_nll_loss(X, X, v))
    assert run(X + 1).item() == 0.0
    with pytest.raises(cr.ArgumentError, match="negative"):
        run(X - 1)
