"""Losses, normalisation, dropout, embedding, attention: values against PyTorch, and messages."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.ops.activations import gelu
from chainrule.ops.activations_piecewise import hardtanh
from chainrule.ops.attention import scaled_dot_product_attention
from chainrule.ops.caution import LikelyMistakeWarning
from chainrule.ops.cross_entropy import cross_entropy, nll_loss
from chainrule.ops.embedding import embedding
from chainrule.ops.generator import Generator
from chainrule.ops.losses import l1_loss, mse_loss
from chainrule.ops.losses_binary import binary_cross_entropy_with_logits
from chainrule.ops.normalization import batch_norm, batch_statistics, layer_norm
from chainrule.ops.regularization import dropout
from chainrule.ops.softmax import log_softmax, softmax


def scores(*shape: int, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape) * scale


# --- cross-entropy ---------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["classes", "ignored", "soft"])
@pytest.mark.parametrize("extra", [(), (2, 3)], ids=["vector", "image"])
def test_cross_entropy_agrees_with_torch(
    reduction: str, smoothing: float, weighted: bool, target: str, extra: tuple[int, ...]
) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    x = scores(6, 5, *extra)
    t: Any = rng.integers(0, 5, (6, *extra))
    if target == "ignored":
        t[rng.random(t.shape) < 0.4] = -100
    if target == "soft":
        t = rng.dirichlet(np.ones(5), (6, *extra)).transpose(0, -1, *range(1, 1 + len(extra)))
    w = rng.uniform(0.5, 2, 5) if weighted else None
    ours = cr.tensor(x, requires_grad=True)
    theirs = torch.tensor(x, requires_grad=True)
    attrs: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    result = cross_entropy(ours, cr.tensor(t), None if w is None else cr.tensor(w), **attrs)
    expected = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(t), None if w is None else torch.tensor(w), **attrs
    )
    np.testing.assert_allclose(np.asarray(result), expected.detach().numpy(), rtol=1e-11)
    result.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_of_huge_scores_is_finite_and_exact(dtype: str) -> None:
    x = cr.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
    loss = cross_entropy(x, cr.tensor([0, 0]), reduction="none")
    assert loss.tolist() == [0.0, 2e4]
    loss.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0, 0.0], [-1.0, 1.0, 0.0]]


def test_cross_entropy_of_an_impossible_class_is_infinite() -> None:
    x = cr.tensor([[0.0, -np.inf]])
    assert cross_entropy(x, cr.tensor([1])).item() == np.inf
    assert cross_entropy(x, cr.tensor([0])).item() == 0.0


def test_cross_entropy_of_ignored_targets_alone_is_nan_as_in_torch() -> None:
    loss = cross_entropy(cr.tensor(scores(2, 3)), cr.tensor([-100, -100]))
    assert np.isnan(loss.item())
    assert cross_entropy(cr.tensor(scores(2, 3)), cr.tensor([-100, -100]), reduction="sum") == 0


def test_nll_of_log_softmax_is_cross_entropy() -> None:
    x, t = cr.tensor(scores(4, 3)), cr.tensor([0, 2, 1, 1])
    loss = nll_loss(log_softmax(x, 1), t)
    np.testing.assert_allclose(loss.item(), cross_entropy(x, t).item(), rtol=1e-12)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            np.array([0, 1, 10, 3]),
            "cross_entropy: target 10 at position [2] is not a class: input f64[4,10] has 10 "
            "classes, so targets run from 0 to 9",
        ),
        (np.array([0, 1, 12, 3]), "hint: the last layer needs at least 13 outputs"),
        (np.array([1, 2, 10, 3]), "hint: classes count from 0: target - 1"),
        (np.array([1, 2, -1, 3]), "hint: ignore_index=-1 leaves such targets out"),
        (np.zeros((4, 1), np.int64), "needs a target of shape [4], got i64[4,1]"),
        (np.zeros((4, 1), np.int64), "hint: target.squeeze(1)"),
        (np.zeros(3, np.int64), "got i64[3]: 4 predictions, 3 targets"),
        (np.eye(10, dtype=np.int64)[:4], "hint: target.float() if these are probabilities"),
        (np.zeros(4), "target f64[4] holds real numbers, expected classes as integers"),
        (np.zeros(4), "hint: target.long(), or mse_loss for regression"),
        (np.zeros((4, 1)), "hint: target.squeeze(1).long()"),
        (np.zeros(4, bool), "holds Booleans, expected classes as integers"),
        (np.zeros((4, 9)), "must have the shape of input f64[4,10]"),
    ],
)
def test_wrong_targets_of_cross_entropy_name_the_remedy(target: np.ndarray, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        cross_entropy(cr.tensor(scores(4, 10)), cr.tensor(target))
    assert text in str(caught.value)


def test_classes_on_the_last_axis_of_scores_are_refused_with_the_permutation() -> None:
    with pytest.raises(cr.ShapeError, match=r"input\.permute\(0, 3, 1, 2\)"):
        cross_entropy(cr.tensor(scores(2, 4, 4, 3)), cr.tensor(np.zeros((2, 4, 4), np.int64)))


def test_other_wrong_arguments_of_cross_entropy_are_refused() -> None:
    x, t = cr.tensor(scores(2, 3)), cr.tensor([0, 1])
    with pytest.raises(cr.ShapeError, match="one element for each of the 3 classes"):
        cross_entropy(x, t, cr.ones((2,)))
    with pytest.raises(cr.ArgumentError, match=r"label_smoothing=1\.5, expected 0 to 1"):
        cross_entropy(x, t, label_smoothing=1.5)
    with pytest.raises(cr.ArgumentError, match="unknown reduction of cross_entropy: 'avg'"):
        cross_entropy(x, t, reduction="avg")


def test_probabilities_instead_of_scores_cause_a_warning_at_the_users_line() -> None:
    x = softmax(cr.tensor(scores(8, 4)), 1)
    with pytest.warns(LikelyMistakeWarning, match="leave the softmax out of the model") as caught:
        cross_entropy(x, cr.tensor(np.zeros(8, np.int64)))
    assert caught[0].filename == __file__


def test_scores_cause_no_warning_though_one_row_sums_to_one() -> None:
    x = np.abs(scores(8, 4))
    x[0] /= x[0].sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cross_entropy(cr.tensor(x), cr.tensor(np.zeros(8, np.int64)))
        cross_entropy(cr.zeros((8, 4)), cr.tensor(np.zeros(8, np.int64)))


# --- other losses ------------------------------------------------------------------------


def test_a_column_against_a_vector_is_refused_not_broadcast() -> None:
    with pytest.raises(cr.ShapeError) as caught:
        mse_loss(cr.ones((8, 1)), cr.ones((8,)))
    text = str(caught.value)
    assert text.startswith(
        "mse_loss: input f32[8,1] and target f32[8] must have the same shape; broadcast to "
        "[8, 8] they would compare every input with every target"
    )
    assert "hint: input.squeeze(1), or target.unsqueeze(1)" in text
    with pytest.raises(cr.ShapeError, match=r"hint: target\.squeeze\(1\)"):
        mse_loss(cr.ones((8,)), cr.ones((8, 1)))
    with pytest.raises(cr.ShapeError, match=r"hint: target\.reshape\(4, 2\)"):
        l1_loss(cr.ones((4, 2)), cr.ones((8,)))
    with pytest.raises(cr.ShapeError, match=r"hint: target\.expand\(4, 2\)"):
        l1_loss(cr.ones((4, 2)), cr.ones((1, 2)))


def test_float64_targets_do_not_turn_the_loss_into_float64() -> None:
    loss = mse_loss(cr.ones((3,)), cr.tensor(np.zeros(3)))
    assert loss.dtype is cr.float32


def test_binary_cross_entropy_agrees_with_torch_at_extreme_scores() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4, 3.0])
    t = np.array([0.0, 1.0, 0.5, 1.0, 0.0, 1.0])
    w = np.array(3.0)
    ours, theirs = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    result = binary_cross_entropy_with_logits(ours, cr.tensor(t), pos_weight=cr.tensor(w))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        theirs, torch.tensor(t), pos_weight=torch.tensor(w)
    )
    np.testing.assert_allclose(result.item(), expected.item(), rtol=1e-12)
    result.backward()
    expected.backward()
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize(
    ("value", "hint"), [(-1.0, r"\(target \+ 1\) / 2"), (3.0, "cross_entropy for more than two")]
)
def test_binary_targets_outside_of_0_and_1_are_refused(value: float, hint: str) -> None:
    with pytest.raises(cr.ArgumentError, match=hint):
        binary_cross_entropy_with_logits(cr.zeros((2,)), cr.tensor([0.0, value]))


# --- softmax and activations ---------------------------------------------------------------


def test_softmax_needs_an_axis() -> None:
    with pytest.raises(cr.ArgumentError, match=r"softmax\(x, dim=-1\)"):
        softmax(cr.ones((2, 2)))


def test_log_softmax_of_far_apart_scores_is_exact() -> None:
    result = log_softmax(cr.tensor([0.0, 1000.0]), 0)
    assert result.tolist() == [-1000.0, 0.0]


def test_activations_refuse_unknown_words_and_empty_ranges() -> None:
    with pytest.raises(cr.ArgumentError, match="did you mean 'tanh'"):
        gelu(cr.ones((2,)), approximate="tahn")
    with pytest.raises(cr.ArgumentError, match="must not be above"):
        hardtanh(cr.ones((2,)), 1.0, 0.0)


# --- normalisation -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)], ids=str)
def test_batch_norm_updates_running_statistics_as_torch_does(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    x = scores(*shape)
    ours = cr.zeros((3,), dtype="float64"), cr.ones((3,), dtype="float64")
    theirs = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for _ in range(3):
        result = batch_norm(cr.tensor(x), *ours, training=True, momentum=0.3)
        expected = torch.nn.functional.batch_norm(
            torch.tensor(x), *theirs, training=True, momentum=0.3
        )
    np.testing.assert_allclose(np.asarray(result), expected.numpy(), rtol=1e-11, atol=1e-13)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=1e-12)
    mean, variance = batch_statistics(cr.tensor(x))
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(np.asarray(mean), x.mean(axes))
    np.testing.assert_allclose(np.asarray(variance), x.var(axes))


def test_batch_norm_in_half_precision_computes_in_float32() -> None:
    x = cr.tensor(scores(64, 2, scale=100.0), dtype="float16")
    result = batch_norm(x, None, None, training=True)
    assert result.dtype is cr.float16
    np.testing.assert_allclose(np.asarray(result.double().mean(0)), 0, atol=1e-3)


def test_wrong_inputs_of_batch_norm_name_the_remedy() -> None:
    one = cr.ones((16,))
    with pytest.raises(cr.ShapeError, match=r"(?s)has 1 value for each channel.*drop_last=True"):
        batch_norm(cr.ones((1, 16)), None, None, training=True)
    with pytest.raises(cr.ShapeError, match=r"hint: nn\.BatchNorm2d\(8\)"):
        batch_norm(cr.ones((2, 8, 3, 3)), None, None, one, training=True)
    with pytest.raises(cr.ShapeError, match=r"x\.permute\(0, 3, 1, 2\)"):
        batch_norm(cr.ones((2, 8, 8, 16)), one, one)
    with pytest.raises(cr.ShapeError, match="evaluation needs running_mean"):
        batch_norm(cr.ones((2, 8)), None, None)


def test_layer_norm_of_another_shape_is_refused() -> None:
    with pytest.raises(cr.ShapeError, match=r"does not end in the normalised shape \[5\]"):
        layer_norm(cr.ones((2, 4)), 5)
    with pytest.raises(cr.ShapeError, match=r"weight f32\[2\] must have the shape \[4\]"):
        layer_norm(cr.ones((2, 4)), 4, cr.ones((2,)))


# --- dropout, embedding, attention ------------------------------------------------------------


def test_dropout_keeps_the_expected_value_and_repeats_with_its_seed() -> None:
    x = cr.ones((200, 200))
    first = dropout(x, 0.25, generator=Generator(7))
    second = dropout(x, 0.25, generator=Generator(7))
    values = np.asarray(first)
    np.testing.assert_array_equal(values, np.asarray(second))
    np.testing.assert_allclose(np.unique(values), [0.0, 4 / 3], rtol=1e-6)
    # Standard deviation of the share of zeros: sqrt(0.25 * 0.75 / 40,000) = 0.0022.
    assert abs((values == 0).mean() - 0.25) < 0.01


def test_dropout_gradient_passes_where_elements_were_kept() -> None:
    x = cr.ones((50,), dtype="float64").requires_grad_()
    result = dropout(x, 0.5)
    result.sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), np.asarray(result))


def test_dropout_at_the_ends_of_its_range() -> None:
    x = cr.tensor([1.0, 2.0])
    assert dropout(x, 0.0).tolist() == [1.0, 2.0]
    assert dropout(x, 1.0).tolist() == [0.0, 0.0]
    assert dropout(x, 0.9, training=False).tolist() == [1.0, 2.0]
    with pytest.raises(cr.ArgumentError, match=r"p=1\.5, expected a probability"):
        dropout(x, 1.5)


def test_embedding_gives_no_gradient_to_the_padding_row() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    table, index = scores(4, 3), np.array([[1, 0, 1], [3, 1, 2]])
    ours, theirs = cr.tensor(table, requires_grad=True), torch.tensor(table, requires_grad=True)
    embedding(cr.tensor(index), ours, padding_idx=1).square().sum().backward()
    expected = torch.nn.functional.embedding(torch.tensor(index), theirs, padding_idx=1)
    expected.square().sum().backward()
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-12)


def test_wrong_indices_of_embedding_are_refused() -> None:
    table = cr.ones((50, 8))
    with pytest.raises(cr.IndexRangeError, match=r"index 50 at position \[1\] is not a row"):
        embedding(cr.tensor([3, 50]), table)
    with pytest.raises(cr.IndexRangeError, match=r"index -1 at position \[0\]"):
        embedding(cr.tensor([-1, 5]), table)
    with pytest.raises(cr.DTypeError, match=r"hint: x\.long\(\)"):
        embedding(cr.tensor([1.0]), table)


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float"])
def test_attention_agrees_with_torch(mask: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, t, 4)) for t in (5, 6, 6))
    given: Any = None
    if mask == "bool":
        given = rng.random((5, 6)) < 0.5
        given[2] = False
    if mask == "float":
        given = rng.standard_normal((2, 1, 5, 6))
        given[0, 0, 1] = -np.inf
    ours = [cr.tensor(a, requires_grad=True) for a in (q, k, v)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    result = scaled_dot_product_attention(
        *ours, None if given is None else cr.tensor(given), is_causal=mask == "causal"
    )
    expected = torch.nn.functional.scaled_dot_product_attention(
        *theirs, None if given is None else torch.tensor(given), is_causal=mask == "causal"
    )
    np.testing.assert_allclose(
        np.asarray(result), expected.detach().numpy(), rtol=1e-10, atol=1e-13
    )
    result.square().sum().backward()
    expected.square().sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), rtol=1e-9, atol=1e-13)


def test_wrong_arguments_of_attention_are_refused() -> None:
    x = cr.ones((3, 4))
    with pytest.raises(cr.ArgumentError, match="both attn_mask and is_causal"):
        scaled_dot_product_attention(x, x, x, x > 0, is_causal=True)
    with pytest.raises(cr.ShapeError, match="must have the same last axis"):
        scaled_dot_product_attention(x, cr.ones((3, 5)), x)
    with pytest.raises(cr.ShapeError, match="one row for each position, got 3 != 2"):
        scaled_dot_product_attention(x, x, cr.ones((2, 4)))
