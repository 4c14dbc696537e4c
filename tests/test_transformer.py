"""Transformer and its layers against PyTorch; positions against the papers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.testing import gradgradcheck

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

RNG = np.random.default_rng(0)
L, S, N, E, H, D = 3, 4, 2, 8, 2, 12


def made(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def close(got: Any, wanted: Any, what: str = "") -> None:
    np.testing.assert_allclose(
        np.asarray(got.detach()), wanted.detach().numpy(), rtol=1e-8, atol=1e-10, err_msg=what
    )


def pair(name: str, *args: Any, **settings: Any) -> tuple[Any, Any]:
    """Return both modules without dropout and with the same weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors, which nobody asked for
        theirs = getattr(torch.nn, name)(*args, dropout=0.0, dtype=torch.float64, **settings)
    functions = {torch.nn.functional.silu: F.silu}
    mine = {k: functions.get(v, v) if callable(v) else v for k, v in settings.items()}
    ours = getattr(nn, name)(*args, dropout=0.0, dtype="float64", **mine)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape)) * 0.4))
    ours.load_state_dict({k: cr.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def compare(ours: Any, theirs: Any, arrays: Any, **masks: Any) -> None:
    a = [cr.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]

    def given(make: Any) -> dict[str, Any]:
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in masks.items()}

    y, z = ours(*a, **given(cr.tensor)), theirs(*b, **given(torch.tensor))
    close(y, z, "result")
    factor = made(*y.shape)
    (y * cr.tensor(factor)).sum().backward()
    (z * torch.tensor(factor)).sum().backward()
    for x, other in zip(a, b, strict=True):
        close(x.grad, other.grad, "input")
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(p.grad, q.grad, name)


PADDING = np.array([[False, False, False, True], [False, False, True, True]])
CAUSAL = np.triu(np.full((S, S), -np.inf), 1)


@pytest.mark.parametrize(
    ("settings", "masks"),
    [
        ({}, {}),
        ({"norm_first": True, "activation": "gelu"}, {"src_mask": CAUSAL, "is_causal": True}),
        ({"batch_first": True, "bias": False}, {"src_key_padding_mask": PADDING}),
        (
            {"activation": torch.nn.functional.silu, "layer_norm_eps": 1e-3},
            {"src_mask": CAUSAL < 0},
        ),
    ],
)
def test_encoder_layer_agrees_with_torch(settings: Any, masks: Any) -> None:
    shape = (N, S, E) if settings.get("batch_first") else (S, N, E)
    compare(*pair("TransformerEncoderLayer", E, H, D, **settings), [made(*shape)], **masks)


@pytest.mark.parametrize(
    ("settings", "masks"),
    [
        ({}, {"tgt_mask": CAUSAL[:L, :L], "tgt_is_causal": True}),
        ({"norm_first": True, "batch_first": True}, {"memory_key_padding_mask": PADDING}),
        ({"activation": "gelu", "bias": False}, {"memory_mask": np.where(made(L, S) > 1, -1e4, 0)}),
        ({}, {"tgt_key_padding_mask": PADDING[:, 1:]}),
    ],
)
def test_decoder_layer_agrees_with_torch(settings: Any, masks: Any) -> None:
    first = settings.get("batch_first")
    shapes = ((N, L, E), (N, S, E)) if first else ((L, N, E), (S, N, E))
    arrays = [made(*shape) for shape in shapes]
    compare(*pair("TransformerDecoderLayer", E, H, D, **settings), arrays, **masks)


@pytest.mark.parametrize("settings", [{}, {"norm_first": True, "batch_first": True, "bias": False}])
def test_transformer_agrees_with_torch(settings: dict[str, Any]) -> None:
    ours, theirs = pair("Transformer", E, H, 2, 1, D, **settings)
    shapes = ((N, S, E), (N, L, E)) if settings else ((S, N, E), (L, N, E))
    masks = {"src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING}
    arrays = [made(*shape) for shape in shapes]
    compare(ours, theirs, arrays, tgt_mask=CAUSAL[:L, :L], tgt_is_causal=True, **masks)


def test_transformer_takes_single_examples_of_one_position() -> None:
    ours, theirs = pair("Transformer", E, H, 1, 1, D)
    compare(ours, theirs, [made(1, E), made(1, E)])


def test_stack_ends_with_its_norm_and_its_copies_are_independent() -> None:
    layer = nn.TransformerEncoderLayer(E, H, D, 0.0)
    stack = nn.TransformerEncoder(layer, 2, nn.LayerNorm(E))
    assert [k for k in stack.state_dict() if "linear1.bias" in k] == [
        "layers.0.linear1.bias",
        "layers.1.linear1.bias",
    ]
    x = cr.randn(S, N, E)
    wanted = stack.norm(layer(layer(x)))  # type: ignore[misc]
    np.testing.assert_allclose(stack(x).detach().numpy(), wanted.detach().numpy(), atol=1e-6)
    with cr.no_grad():
        stack.layers[0].linear1.bias.fill_(1.0)
    assert not stack.layers[1].linear1.bias.numpy().any()
    first, second = (x for n, x in nn.Transformer(E, H, 2, 1, D).named_parameters()
                     if n.startswith("encoder") and n.endswith("linear1.weight"))  # fmt: skip
    assert (first != second).any()


def test_generated_mask_is_torchs() -> None:
    ours = nn.Transformer.generate_square_subsequent_mask(4)
    theirs = torch.nn.Transformer.generate_square_subsequent_mask(4)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_second_derivatives_agree_with_differences() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 3, 0.0, "gelu", dtype="float64", norm_first=True)
    assert gradgradcheck(lambda x: layer(x, is_causal=True), cr.tensor(made(2, 1, 4)))


def test_compiled_training_agrees_with_eager() -> None:
    """Three steps of a Transformer with dropout; then a step without, in evaluation."""
    losses = []
    for compiled in (False, True):
        cr.manual_seed(0)
        model = nn.Transformer(E, H, 1, 1, D, 0.1, batch_first=True, dtype="float64")
        rule = optim.AdamW(model.parameters(), lr=1e-2)
        x, y = (cr.tensor(np.random.default_rng(2).normal(size=(N, n, E))) for n in (S, L))

        def step(x: Any, y: Any, model: Any = model, rule: Any = rule) -> Any:
            rule.zero_grad()
            loss = (model(x, y, tgt_is_causal=True) - y).square().mean()
            loss.backward()
            rule.step()
            return loss

        run = cr.compile(step) if compiled else step
        losses.append([run(x, y).item() for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.TransformerEncoderLayer(10, 4), "nhead=5, or d_model=12"),
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="tanhh"), "unknown"),
        (lambda: nn.TransformerEncoderLayer(8, 2, activation=3), 'activation="gelu"'),
        (lambda: nn.TransformerEncoderLayer(8, 2, 0), "dim_feedforward is 0"),
        (lambda: nn.TransformerDecoderLayer(8, 2, dropout=-1), "dropout is -1"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 4), 0), "num_layers is 0"),
        (lambda: nn.TransformerDecoder(3, 2), "nn.TransformerDecoderLayer(512, 8)"),
        (lambda: nn.Transformer(8, 2, 1, 1, 4)(cr.ones((2, 3, 8)), cr.ones((2, 4, 8))),
         "batch_first=True"),
        (lambda: nn.SinusoidalEncoding(5), "d_model=6"),
        (lambda: nn.RotaryEmbedding(6, 4)(cr.ones((5, 6))), "max_len=5"),
        (lambda: nn.RotaryEmbedding(6)(cr.ones((5, 4))), "with D = 6"),
        (lambda: nn.LearnedEncoding(4, 2)(cr.ones((3, 1, 4))), "a sequence of 3 places"),
    ],
)  # fmt: skip
def test_bad_argument_is_refused_with_a_remedy(make: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        make()
    assert text in str(caught.value)


# --- positions ----


def test_sinusoids_are_those_of_the_paper() -> None:
    layer = nn.SinusoidalEncoding(6, max_len=50, batch_first=True)
    got = layer(cr.zeros((1, 40, 6))).numpy()[0]
    for place in (0, 1, 17, 39):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            np.testing.assert_allclose(got[place, 2 * i], np.sin(angle), atol=1e-6)
            np.testing.assert_allclose(got[place, 2 * i + 1], np.cos(angle), atol=1e-6)
    sequence_first = nn.SinusoidalEncoding(6)(cr.zeros((40, 1, 6))).numpy()[:, 0]
    np.testing.assert_array_equal(sequence_first, got)
    assert not layer.state_dict()


def test_learned_places_are_rows_of_a_table() -> None:
    layer = nn.LearnedEncoding(4, 6)
    layer(cr.zeros((3, 2, 4))).sum().backward()
    assert layer.weight.grad is not None
    np.testing.assert_array_equal(layer.weight.grad.numpy()[:, 0], [2, 2, 2, 0, 0, 0])
    x = cr.zeros((2, 3, 4))
    first = nn.LearnedEncoding(4, 6, batch_first=True)
    first.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(first(x)[1].detach().numpy(), layer.weight[:3].detach().numpy())


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_turns_pairs_as_complex_numbers(interleaved: bool) -> None:
    """Su et al. 2021, equations 14 and 34: (x_2i + i x_2i+1) e^(i t theta_i)."""
    layer = nn.RotaryEmbedding(6, interleaved=interleaved)
    x = made(2, 5, 6)
    first, second = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :3], x[..., 3:])
    rates = 10_000.0 ** (-2 * np.arange(3) / 6)
    turned = (first + 1j * second) * np.exp(1j * np.outer(np.arange(7, 12), rates))
    parts = [turned.real, turned.imag]
    wanted = np.stack(parts, -1).reshape(x.shape) if interleaved else np.concatenate(parts, -1)
    np.testing.assert_allclose(layer(cr.tensor(x), 7).numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_rotary_scores_depend_on_the_distance_only() -> None:
    layer, q, k = nn.RotaryEmbedding(8), cr.randn(1, 8), cr.randn(1, 8)
    scores = [(layer(q, 3 + n) * layer(k, n)).sum().item() for n in (0, 5, 40)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4, atol=1e-5)


def test_alibi_slopes_are_those_of_the_paper() -> None:
    """Press et al. 2022, section 3: 1/2 to 1/256 for 8 heads; appendix's rule for 12."""
    np.testing.assert_allclose(nn.AlibiBias(8).slopes.numpy(), 0.5 ** np.arange(1, 9))
    wanted = [*0.5 ** np.arange(1.0, 9.0), *0.5 ** np.array([0.5, 1.5, 2.5, 3.5])]
    np.testing.assert_allclose(nn.AlibiBias(12).slopes.numpy(), wanted, rtol=1e-6)


def test_alibi_takes_off_the_distance() -> None:
    bias = nn.AlibiBias(2)(2, 4, is_causal=False).numpy()
    np.testing.assert_allclose(
        bias[0], -(2.0**-4) * np.array([[2, 1, 0, 1], [3, 2, 1, 0]]), rtol=1e-6
    )
    q = cr.randn(1, 2, 3, 4)
    found = F.scaled_dot_product_attention(q, q, q, nn.AlibiBias(2)(3))
    np.testing.assert_allclose(found[:, :, 0].numpy(), q[:, :, 0].numpy(), rtol=1e-6)
