"""Attention and MultiheadAttention against PyTorch, with weights copied both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn
from chainrule.testing import gradcheck, gradgradcheck

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

RNG = np.random.default_rng(0)
L, S, N, E, H = 4, 5, 3, 8, 2


def made(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def close(got: Any, wanted: Any, what: str = "") -> None:
    if wanted is None:
        assert got is None, what
        return
    wanted = wanted.detach().numpy()
    np.testing.assert_allclose(
        np.asarray(got.detach()), wanted, rtol=1e-9, atol=1e-11, err_msg=what
    )


# --- scaled_dot_product_attention ----


@pytest.mark.parametrize(
    ("shapes", "settings"),
    [
        (((2, 4, 3, 5), (2, 2, 6, 5), (2, 2, 6, 3)), {"enable_gqa": True}),
        (((2, 4, 3, 5), (2, 1, 6, 5), (2, 4, 6, 3)), {}),
        (((2, 2, 1, 5), (2, 2, 1, 5), (2, 2, 1, 5)), {"is_causal": True}),
        (((1, 1, 3, 5), (1, 1, 3, 5), (1, 1, 3, 5)), {"scale": 0.3}),
        # Long enough for queries to be taken in parts.
        (((1, 2, 101, 4), (1, 2, 101, 4), (1, 2, 101, 3)), {"is_causal": True}),
        (((101, 4), (60, 4), (60, 3)), {"is_causal": True}),
        (((2, 96, 4), (1, 120, 4), (2, 120, 3)), {"is_causal": True}),
    ],
)
def test_attention_agrees_with_torch(shapes: Any, settings: dict[str, Any]) -> None:
    arrays = [made(*shape) for shape in shapes]
    ours = [cr.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = F.scaled_dot_product_attention(*ours, **settings)
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, **settings)
    close(y, z)
    y.square().sum().backward()
    z.square().sum().backward()
    for x, other in zip(ours, theirs, strict=True):
        close(x.grad, other.grad)


def test_attention_dropout_keeps_the_mean_and_all_dropped_is_zero() -> None:
    q, k = cr.zeros((50, 20, 1)), cr.zeros((50, 30, 1))
    v = cr.ones((50, 30, 1))
    result = F.scaled_dot_product_attention(q, k, v, None, 0.2, generator=cr.Generator(0)).numpy()
    # The mean of 30 weights, each 0 or 1.25: a deviation of 0.091 a row, 0.003 in the mean.
    assert result.mean() == pytest.approx(1.0, abs=0.012)
    assert result.std() == pytest.approx(0.0913, rel=0.1)
    assert not F.scaled_dot_product_attention(q, k, v, None, 1.0).numpy().any()
    q, k, v = cr.zeros((40, 100, 1)), cr.zeros((40, 100, 1)), cr.ones((40, 100, 1))
    rows = F.scaled_dot_product_attention(q, k, v, None, 0.2, is_causal=True).numpy()
    np.testing.assert_allclose(rows[:, 50:].mean(), 1.0, atol=0.01)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: F.scaled_dot_product_attention(x, x, x, cr.ones((3, 3))), "does not broadcast"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, cr.ones((4, 4), dtype="int64")),
         "attn_mask.bool()"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, cr.ones((2, 4), dtype="bool")),
         "mask[:, None, None, :]"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, None, 1.5), "dropout_p=1.5"),
        (lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2]), "enable_gqa=True"),
        (lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :3], enable_gqa=True),
         "4 heads of query f32[2,4,4,3] cannot share the 3 of value"),
        (lambda x: F.scaled_dot_product_attention(x[0, 0, 0], x, x), "x.unsqueeze(0)"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, x[0, 0, :, :1] > 0, is_causal=True),
         "mask.tril()"),
    ],
)  # fmt: skip
def test_attention_refuses_what_does_not_fit(call: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        call(cr.ones((2, 4, 4, 3)))
    assert text in str(caught.value)


# --- MultiheadAttention ----


def pair(**settings: Any) -> tuple[Any, Any]:
    """Return both layers with the same weights, which travel from theirs to ours."""
    ours = nn.MultiheadAttention(E, H, dtype="float64", **settings)
    theirs = torch.nn.MultiheadAttention(E, H, dtype=torch.float64, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape)) * 0.5))
    ours.load_state_dict({k: cr.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def compare(settings: dict[str, Any], shapes: Any, call: dict[str, Any], one: bool = False) -> None:
    ours, theirs = pair(**settings)
    arrays = [made(*shape) for shape in shapes]
    a = [cr.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    a, b = ([a[0]] * 3, [b[0]] * 3) if one else (a, b)

    def given(make: Any) -> dict[str, Any]:
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}

    y, weights = ours(*a, **given(cr.tensor))
    z, others = theirs(*b, **given(torch.tensor))
    close(y, z, "result")
    close(weights, others, "weights")
    factor = made(*y.shape)
    (y * cr.tensor(factor)).sum().backward()
    (z * torch.tensor(factor)).sum().backward()
    for x, other in zip(a[: 1 if one else 3], b, strict=False):
        close(x.grad, other.grad, "input")
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(p.grad, q.grad, name)


BATCHED = ((L, N, E), (S, N, E), (S, N, E))
CAUSAL = ~np.tri(L, dtype=bool)
PADDING = np.array([[False] * 4 + [True], [False] * 5, [False, True, True, False, True]])
LOOKS = RNG.random((L, S)) > 0.7
LOOKS[:, 0] = False
EACH = RNG.random((N * H, L, S)) > 0.7
EACH[:, :, 0] = False


@pytest.mark.parametrize(
    ("settings", "shapes", "call"),
    [
        ({}, BATCHED, {}),
        ({"bias": False}, BATCHED, {"average_attn_weights": False}),
        ({"batch_first": True}, ((N, L, E), (N, S, E), (N, S, E)), {"need_weights": False}),
        ({"kdim": 3, "vdim": 6}, ((L, N, E), (S, N, 3), (S, N, 6)), {}),
        ({"kdim": 3, "bias": False}, ((L, N, E), (S, N, 3), (S, N, E)), {"need_weights": False}),
        ({"add_bias_kv": True}, BATCHED, {"attn_mask": LOOKS, "key_padding_mask": PADDING}),
        ({"add_zero_attn": True}, BATCHED, {"attn_mask": made(L, S)}),
        ({"add_zero_attn": True, "add_bias_kv": True}, BATCHED, {"key_padding_mask": PADDING}),
        ({}, BATCHED, {"attn_mask": LOOKS}),
        ({}, BATCHED, {"attn_mask": EACH, "average_attn_weights": False}),
        ({}, BATCHED, {"attn_mask": EACH, "key_padding_mask": PADDING * LOOKS[0]}),
        ({}, BATCHED, {"attn_mask": made(N * H, L, S), "need_weights": False}),
        ({}, BATCHED, {"key_padding_mask": np.where(PADDING, -np.inf, 0.0)}),
        ({}, BATCHED, {"attn_mask": made(L, S), "key_padding_mask": made(N, S)}),
        ({}, ((L, E), (S, E), (S, E)), {}),
        ({"batch_first": True}, ((L, E), (S, E), (S, E)), {"key_padding_mask": PADDING[0]}),
        ({}, ((L, E), (S, E), (S, E)), {"attn_mask": EACH[:H], "need_weights": False}),
        ({}, ((1, 1, E), (1, 1, E), (1, 1, E)), {}),
    ],
)  # fmt: skip
def test_multihead_attention_agrees_with_torch(settings: Any, shapes: Any, call: Any) -> None:
    compare(settings, shapes, call)


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"attn_mask": CAUSAL, "is_causal": True},
        {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
        {"attn_mask": CAUSAL, "key_padding_mask": PADDING[:, :L], "need_weights": False},
    ],
)
def test_self_attention_agrees_with_torch(call: dict[str, Any]) -> None:
    """One product projects queries, keys and values."""
    compare({}, ((L, N, E),), call, one=True)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("more", [{}, {"add_bias_kv": True}])
def test_is_causal_alone_is_the_causal_mask(need_weights: bool, more: dict[str, bool]) -> None:
    layer, x = nn.MultiheadAttention(E, H, **more), cr.randn(L, N, E)
    mask, padding = cr.tensor(CAUSAL), cr.tensor(PADDING[:, :L])
    for padded in (None, padding):
        got = layer(x, x, x, padded, need_weights, is_causal=True)
        wanted = layer(x, x, x, padded, need_weights, mask)
        for one, other in zip(got, wanted, strict=True):
            if other is not None:
                np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("need_weights", [False, True])
def test_query_that_may_look_at_nothing_gets_the_bias_of_the_projection(need_weights: bool) -> None:
    layer, x = nn.MultiheadAttention(E, H), cr.randn(L, N, E).requires_grad_()
    padding = cr.tensor(np.array([[True] * L, [False] * L, [False] * L]))
    found, _ = layer(x, x, x, padding, need_weights)
    assert layer.out_proj.bias is not None
    np.testing.assert_array_equal(
        found[:, 0].detach().numpy(), np.broadcast_to(layer.out_proj.bias.detach().numpy(), (L, E))
    )
    found.sum().backward()
    assert x.grad is not None
    assert not x.grad.numpy()[:, 0].any()
    assert np.isfinite(x.grad.numpy()).all()


def test_dropout_is_in_force_only_while_training() -> None:
    layer, x = nn.MultiheadAttention(E, H, dropout=0.5), cr.randn(L, N, E)
    first, _ = layer(x, x, x)
    assert (first != layer(x, x, x)[0]).any()
    assert (layer(x, x, x, average_attn_weights=False)[1] == 0).any()
    layer.eval()
    np.testing.assert_array_equal(
        layer(x, x, x)[0].detach().numpy(), layer(x, x, x)[0].detach().numpy()
    )


def test_state_travels_to_torch() -> None:
    ours = nn.MultiheadAttention(E, H, dtype="float64")
    theirs = torch.nn.MultiheadAttention(E, H, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = made(L, N, E)
    close(ours(*[cr.tensor(x)] * 3)[0], theirs(*[torch.tensor(x)] * 3)[0])


@pytest.mark.parametrize("need_weights", [False, True])
def test_second_derivatives_agree_with_differences(need_weights: bool) -> None:
    layer = nn.MultiheadAttention(4, 2, dtype="float64", batch_first=True)
    x = cr.tensor(made(1, 2, 4))
    assert gradcheck(lambda v: layer(v, v, v, None, need_weights)[0], x)
    assert gradgradcheck(lambda v: layer(v, v, v, None, need_weights)[0], x)


def test_compiled_layer_agrees_with_eager() -> None:
    layer = nn.MultiheadAttention(E, H, dtype="float64", add_bias_kv=True, kdim=3)
    q, k, v = (cr.tensor(made(*shape)) for shape in ((L, N, E), (S, N, 3), (S, N, E)))

    def step(q: Any, k: Any, v: Any) -> Any:
        layer.zero_grad()
        found, weights = layer(q, k, v, cr.tensor(PADDING))
        (found.square().sum() + weights.square().sum()).backward()
        return found, weights, [p.grad for p in layer.parameters()]

    eager, compiled = step(q, k, v), cr.compile(step)(q, k, v)
    for got, wanted in zip((*compiled[:2], *compiled[2]), (*eager[:2], *eager[2]), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-9, atol=1e-10)


X = cr.ones((4, 3, 8))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.MultiheadAttention(10, 4), "num_heads=5, or embed_dim=12"),
        (lambda: nn.MultiheadAttention(8, 0), "num_heads is 0"),
        (lambda: nn.MultiheadAttention(8, 2, dropout=2), "dropout is 2"),
        (lambda: nn.MultiheadAttention(8, 2, dtype="int32"), "expected a floating-point type"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X, X, cr.zeros((4, 3), dtype="bool")),
         "key_padding_mask bool[4,3] does not fit, expected [3, 4]"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=cr.zeros((3, 3))),
         "attn_mask f32[3,3] does not fit, expected [4, 4] or [6, ..., ...]"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=cr.zeros((4, 4), dtype="int64")),
         "attn_mask.bool()"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X[:, :, :3], X), "kdim=3, if it is meant"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X[0], X), "key f32[3,8] has 2 axes"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X[:, :2], X[:, :2]), "batch_first=True"),
    ],
)  # fmt: skip
def test_bad_argument_is_refused_with_a_remedy(make: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        make()
    assert text in str(caught.value)
