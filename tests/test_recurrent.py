"""Recurrent layers and cells against PyTorch's, in float64: values, gradients, state, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.testing import gradcheck, gradgradcheck

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

RTOL, ATOL = 1e-10, 1e-12  # float64: sums of a few dozen terms over a few steps
D, H, T, N = 3, 4, 5, 2

# name of the layer, keyword arguments
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2, "bias": False}),
    ("RNN", {"bidirectional": True, "batch_first": True}),
    ("LSTM", {}),
    ("LSTM", {"bias": False, "batch_first": True}),
    ("LSTM", {"num_layers": 3}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True, "bias": False}),
    ("GRU", {}),
    ("GRU", {"bias": False}),
    ("GRU", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
]
CELLS: list[tuple[str, dict[str, Any]]] = [
    ("RNNCell", {}),
    ("RNNCell", {"nonlinearity": "relu", "bias": False}),
    ("LSTMCell", {}),
    ("LSTMCell", {"bias": False}),
    ("GRUCell", {}),
    ("GRUCell", {"bias": False}),
]


def named(case: Any) -> str:
    return case if isinstance(case, str) else "-".join(f"{k}={v}" for k, v in case.items())


def pair(name: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Return PyTorch's layer and ours, with the same weights."""
    theirs = getattr(torch.nn, name)(D, H, dtype=torch.float64, **settings)
    ours = getattr(nn, name)(D, H, dtype="float64", **settings)
    ours.load_state_dict({k: cr.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return theirs, ours


def flat(result: Any) -> list[Any]:
    """Return the tensors in a result."""
    if isinstance(result, tuple):
        return [part for item in result for part in flat(item)]
    return [result]


def score(result: Any) -> Any:
    """Return a number that every element of a result moves in a way of its own."""
    return sum((part.sin() * (n + 1)).sum() for n, part in enumerate(flat(result)))


def first_state(layer: Any, shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or H, H] if isinstance(layer, torch.nn.LSTM) else [H]
    return [rng.normal(size=(rows, *shape, size)) for size in sizes]


def packed_up(parts: list[Any]) -> Any:
    return tuple(parts) if len(parts) > 1 else parts[0]


def expect_same_gradients(theirs: Any, ours: Any) -> None:
    for (name, p), (other, q) in zip(
        theirs.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert name == other
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), RTOL, ATOL, err_msg=name)


def expect_same(theirs: Any, ours: Any) -> None:
    for a, b in zip(flat(theirs), flat(ours), strict=True):
        assert tuple(a.shape) == b.shape
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), RTOL, ATOL)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("name", "settings"), LAYERS, ids=named)
def test_layer_agrees_with_pytorch(name: str, settings: dict[str, Any], compiled: bool) -> None:
    """Outputs, last states, gradients to input, first states and all weights."""
    theirs, ours = pair(name, settings)
    x = np.random.default_rng(0).normal(size=(N, T, D) if ours.batch_first else (T, N, D))
    x1 = torch.tensor(x, requires_grad=True)
    h1 = [torch.tensor(h, requires_grad=True) for h in first_state(theirs, (N,))]
    x2 = cr.tensor(x, requires_grad=True)
    h2 = [cr.tensor(h.detach().numpy(), requires_grad=True) for h in h1]

    def both(x: cr.Tensor, *state: cr.Tensor) -> Any:
        first, second = ours(x), ours(x, packed_up(list(state)))
        (score(first) + score(second)).backward()
        return first, second

    result = (cr.compile(both) if compiled else both)(x2, *h2)
    expected = theirs(x1), theirs(x1, packed_up(h1))
    (score(expected[0]) + score(expected[1])).backward()
    expect_same(expected, result)
    expect_same_gradients(theirs, ours)
    for a, b in zip([x1, *h1], [x2, *h2], strict=True):
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), RTOL, ATOL)


@pytest.mark.parametrize(("name", "settings"), LAYERS, ids=named)
def test_names_weights_and_text_are_those_of_pytorch(name: str, settings: dict[str, Any]) -> None:
    theirs, ours = pair(name, settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    mine = repr(ours).replace(", nonlinearity=relu", "")  # theirs does not tell
    assert mine == repr(theirs)
    assert [len(group) for group in ours.all_weights] == [len(g) for g in theirs.all_weights]
    assert ours.mode == theirs.mode
    ours.flatten_parameters()


@pytest.mark.parametrize(("name", "settings"), CELLS, ids=named)
def test_cell_agrees_with_pytorch(name: str, settings: dict[str, Any]) -> None:
    theirs, ours = pair(name, settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    x = np.random.default_rng(0).normal(size=(N, D))
    a = theirs(torch.tensor(x), theirs(torch.tensor(x)))
    b = ours(cr.tensor(x), ours(cr.tensor(x)))
    score(a).backward()
    score(b).backward()
    expect_same(a, b)
    expect_same_gradients(theirs, ours)
    expect_same(theirs(torch.tensor(x[0])), ours(cr.tensor(x[0])))


def test_cells_in_a_loop_are_the_layer() -> None:
    layer = nn.GRU(D, H, dtype="float64")
    cell = nn.GRUCell(D, H, dtype="float64")
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = cr.randn((T, N, D), dtype="float64")
    h, states = cr.zeros((N, H), dtype="float64"), []
    for step in x:
        h = cell(step, h)
        states.append(h)
    np.testing.assert_allclose(cr.stack(states).numpy(), layer(x)[0].numpy(), rtol=1e-13)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_one_sequence_needs_no_batch_axis(name: str) -> None:
    theirs, ours = pair(name, {"batch_first": True, "bidirectional": True})
    x = np.random.default_rng(1).normal(size=(T, D))
    h = first_state(theirs, ())
    expect_same(theirs(torch.tensor(x)), ours(cr.tensor(x)))
    expect_same(
        theirs(torch.tensor(x), packed_up([torch.tensor(a) for a in h])),
        ours(cr.tensor(x), packed_up([cr.tensor(a) for a in h])),
    )


@pytest.mark.parametrize("shape", [(1, 1, D), (1, N, D), (T, 1, D), (T, 0, D)])
def test_shortest_and_smallest_batches(shape: tuple[int, ...]) -> None:
    theirs, ours = pair("LSTM", {"num_layers": 2})
    x = np.ones(shape)
    if shape[1]:
        expect_same(theirs(torch.tensor(x)), ours(cr.tensor(x)))
    else:
        assert ours(cr.tensor(x))[0].shape == (T, 0, H)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("size", [1e4, -1e4, np.inf, np.nan])
def test_extreme_inputs_give_what_pytorch_gives(name: str, size: float) -> None:
    """Saturated gates are 0 and 1 without overflow; NaN stays in its own sequence."""
    theirs, ours = pair(name, {})
    x = np.random.default_rng(2).normal(size=(T, N, D))
    x[1, 0, 0] = size
    with np.errstate(invalid="ignore"):
        result = ours(cr.tensor(x))
    expect_same(theirs(torch.tensor(x)), result)
    compiled = cr.compile(ours)(cr.tensor(x))
    expect_same(theirs(torch.tensor(x)), compiled)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("RNN", {"bidirectional": True}),
        ("LSTM", {"proj_size": 1}),
        ("LSTM", {"num_layers": 2}),
        ("GRU", {}),
    ],
    ids=named,
)
def test_first_and_second_derivatives_agree_with_differences(
    name: str, settings: dict[str, Any]
) -> None:
    layer = getattr(nn, name)(2, 2, dtype="float64", **settings)
    x = cr.randn((3, 1, 2), dtype="float64")

    def function(x: cr.Tensor, weight: cr.Tensor) -> cr.Tensor:
        out, _ = layer(x * weight)
        return out

    weight = cr.randn((2,), dtype="float64")
    assert gradcheck(function, (x, weight))
    assert gradgradcheck(function, (x, weight))


def test_dropout_lies_between_layers_and_only_in_training() -> None:
    layer = nn.LSTM(D, H, num_layers=2, dropout=1.0, bias=False)
    x = cr.randn((T, N, D))
    assert not layer(x)[0].any().item()  # the second layer sees nothing but zeros
    assert layer(x)[1][0][0].any().item()  # the first one's state is its own
    assert layer.eval()(x)[0].any().item()
    step = cr.compile(nn.GRU(D, H, num_layers=2, dropout=0.5))
    first, second = step(x)[0], step(x)[0]
    assert (first != second).any().item()  # drawn anew at each call
    with pytest.warns(UserWarning, match="only one layer"):
        nn.GRU(D, H, dropout=0.5)


def test_first_weights_are_uniform_or_orthogonal_and_the_forget_gate_open() -> None:
    plain = nn.LSTM(50, 100)
    for parameter in plain.parameters():
        assert parameter.abs().max().item() <= 0.1
        assert parameter.std().item() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    kept = nn.LSTM(3, 5, recurrent_init="orthogonal", forget_bias=1.0, dtype="float64")
    for block in kept.weight_hh_l0.detach().numpy().reshape(4, 5, 5):
        np.testing.assert_allclose(block @ block.T, np.eye(5), atol=1e-12)
    bias = (kept.bias_ih_l0 + kept.bias_hh_l0).detach().numpy()
    np.testing.assert_allclose(bias[5:10], 1.0)
    assert np.abs(bias[:5]).max() < 1.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_kept(dtype: str) -> None:
    layer = nn.LSTM(D, H, bidirectional=True).to(dtype)
    x = cr.randn((T, N, D), dtype=dtype)
    expected, result = layer(x, lengths=[T, 2]), cr.compile(layer)(x, lengths=cr.tensor([T, 2]))
    for a, b in zip(flat(expected), flat(result), strict=True):
        assert a.dtype is b.dtype is cr.core.dtype.as_dtype(dtype)
        # Rounded after each op, or only where it is stored.
        np.testing.assert_allclose(a.float().numpy(), b.float().numpy(), atol=2e-2)


def test_other_dtypes_of_input_and_weights_meet_in_the_wider_one() -> None:
    layer = nn.GRU(D, H, num_layers=2, dtype="float64")
    y, h = layer(cr.ones((T, N, D)))
    assert y.dtype is h.dtype is cr.float64
    assert layer(cr.ones((T, N, D)), h)[0].dtype is cr.float64
    cell = nn.LSTMCell(D, H, dtype="float64")
    state = cell(cr.ones((N, D)))
    assert cell(cr.ones((N, D)), state)[0].dtype is cr.float64


def test_truncated_backpropagation_ends_where_the_state_is_detached() -> None:
    """The gradient of a piece is that of PyTorch with the state detached likewise."""
    theirs, ours = pair("LSTM", {})
    x = np.random.default_rng(3).normal(size=(2 * T, N, D))
    first, second = torch.tensor(x[:T]), torch.tensor(x[T:])
    _, (h, c) = theirs(first)
    score(theirs(second, (h.detach(), c.detach()))[0]).backward()

    @cr.compile
    def step(piece: cr.Tensor, state: Any) -> Any:
        ours.zero_grad()
        y, state = ours(piece, state)
        score(y).backward()
        return tuple(part.detach() for part in state)

    zeros = cr.zeros((1, N, H), dtype="float64")
    state = step(cr.tensor(x[:T]), (zeros, zeros))
    step(cr.tensor(x[T:]), state)
    expect_same_gradients(theirs, ours)
