"""Sequences of different lengths: packed as in PyTorch, or padded with `lengths=`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.graph.tracing import TraceError

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

rnn = nn.utils.rnn
RTOL, ATOL = 1e-10, 1e-12  # float64: sums of a few dozen terms over a few steps
D, H = 3, 4
LENGTHS = [2, 5, 1, 5]
SORTED = [5, 3, 3, 1]
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {"bidirectional": True}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {"proj_size": 2}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
]


def named(case: Any) -> str:
    return case if isinstance(case, str) else "-".join(f"{k}={v}" for k, v in case.items())


def pair(name: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    theirs = getattr(torch.nn, name)(D, H, dtype=torch.float64, **settings)
    ours = getattr(nn, name)(D, H, dtype="float64", **settings)
    ours.load_state_dict({k: cr.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return theirs, ours


def batch(layer: Any, lengths: list[int], padding: float = 0.0) -> np.ndarray:
    """Return [N, T, D] or [T, N, D] with a number behind the ends."""
    x = np.random.default_rng(0).normal(size=(len(lengths), max(lengths), D))
    for n, length in enumerate(lengths):
        x[n, length:] = padding
    return x if layer.batch_first else x.swapaxes(0, 1).copy()


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple):
        return [part for item in result for part in flat(item)]
    return [result]


def score(result: Any) -> Any:
    return sum((part.sin() * (n + 1)).sum() for n, part in enumerate(flat(result)))


def reference(layer: Any, x: np.ndarray, lengths: list[int]) -> tuple[Any, Any]:
    """Return what PyTorch gives for packed sequences: padded output, state, gradient of x."""
    given = torch.tensor(x, requires_grad=True)
    utils = torch.nn.utils.rnn
    first = layer.batch_first
    packed = utils.pack_padded_sequence(given, lengths, first, enforce_sorted=False)
    out, state = layer(packed)
    padded, _ = utils.pad_packed_sequence(out, first)
    score((padded, state)).backward()
    return (padded, state), given.grad


def expect_same(theirs: Any, ours: Any) -> None:
    for a, b in zip(flat(theirs), flat(ours), strict=True):
        assert tuple(a.shape) == b.shape
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), RTOL, ATOL)


@pytest.mark.parametrize("way", ["lengths", "compiled", "packed"])
@pytest.mark.parametrize(("name", "settings"), LAYERS, ids=named)
def test_layer_agrees_with_pytorch(name: str, settings: dict[str, Any], way: str) -> None:
    """Outputs, states and gradients; what stands in padded places is not looked at."""
    theirs, ours = pair(name, settings)
    clean = batch(ours, LENGTHS)
    expected, gradient = reference(theirs, clean, LENGTHS)
    x = cr.tensor(batch(ours, LENGTHS, np.nan), requires_grad=True)

    def run(x: cr.Tensor, lengths: Any) -> Any:
        if way == "packed":
            packed = rnn.pack_padded_sequence(x, lengths, ours.batch_first, enforce_sorted=False)
            out, state = ours(packed)
            result = rnn.pad_packed_sequence(out, ours.batch_first)[0], state
        else:
            result = ours(x, lengths=lengths)
        score(result).backward()
        return result

    given = cr.tensor(LENGTHS) if way == "compiled" else LENGTHS
    result = (cr.compile(run) if way == "compiled" else run)(x, given)
    expect_same(expected, result)
    np.testing.assert_allclose(x.grad.numpy(), gradient.numpy(), RTOL, ATOL)
    for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), RTOL, ATOL)


def test_state_of_packed_sequences_stays_in_the_order_of_the_batch() -> None:
    theirs, ours = pair("LSTM", {})
    x = batch(ours, LENGTHS)
    state = [np.random.default_rng(n).normal(size=(1, len(LENGTHS), H)) for n in range(2)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), LENGTHS, enforce_sorted=False)
    expected = theirs(packed, tuple(torch.tensor(s) for s in state))[1]
    mine = rnn.pack_padded_sequence(cr.tensor(x), LENGTHS, enforce_sorted=False)
    result = ours(mine, tuple(cr.tensor(s) for s in state))[1]
    expect_same(expected, result)
    padded = ours(cr.tensor(x), tuple(cr.tensor(s) for s in state), lengths=LENGTHS)[1]
    expect_same(expected, padded)


def test_one_compiled_function_takes_all_lengths() -> None:
    layer = nn.GRU(D, H, dtype="float64", bidirectional=True)
    x = cr.randn((5, 2, D), dtype="float64")
    run = cr.compile(lambda x, lengths: layer(x, lengths=lengths)[0])
    for lengths in ([5, 5], [1, 4], [3, 1]):
        expected = layer(x, lengths=lengths)[0]
        result = run(x, cr.tensor(lengths))
        np.testing.assert_allclose(result.numpy(), expected.detach().numpy(), rtol=1e-12)
    assert len(run.causes) == 1
    with pytest.raises(ValueError, match="length 0 of sequence 0 is not from 1 to 5"):
        run(x, cr.tensor([0, 2]))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("lengths", "ordered"), [(SORTED, True), (LENGTHS, False)])
def test_packing_agrees_with_pytorch(first: bool, lengths: list[int], ordered: bool) -> None:
    shape = (len(lengths), 5, 2) if first else (5, len(lengths), 2)
    x = np.random.default_rng(1).normal(size=shape)
    theirs = torch.nn.utils.rnn
    given, mine = torch.tensor(x, requires_grad=True), cr.tensor(x, requires_grad=True)
    a = theirs.pack_padded_sequence(given, lengths, first, ordered)
    b = rnn.pack_padded_sequence(mine, cr.tensor(lengths), first, ordered)
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(other.detach().numpy(), one.detach().numpy())
    c = theirs.pad_packed_sequence(a, first, -1.0, 7)
    d = rnn.pad_packed_sequence(b, first, -1.0, 7)
    expect_same(c, d)
    score(c[0]).backward()
    score(d[0]).backward()
    np.testing.assert_allclose(mine.grad.numpy(), given.grad.numpy(), RTOL, ATOL)
    assert d[1].tolist() == c[1].tolist() == lengths


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("first", [False, True])
def test_padding_agrees_with_pytorch(side: str, first: bool) -> None:
    rng = np.random.default_rng(2)
    parts = [rng.normal(size=(n, 2)) for n in SORTED]
    theirs = torch.nn.utils.rnn
    a = theirs.pad_sequence([torch.tensor(p) for p in parts], first, 9.0, side)
    b = rnn.pad_sequence([cr.tensor(p) for p in parts], first, 9.0, side)
    np.testing.assert_array_equal(b.numpy(), a.numpy())
    if side == "right":
        for p, q in zip(parts, rnn.unpad_sequence(b, SORTED, first), strict=True):
            np.testing.assert_array_equal(q.numpy(), p)
    packed = rnn.pack_sequence([cr.tensor(p) for p in parts[::-1]], enforce_sorted=False)
    for p, q in zip(parts[::-1], rnn.unpack_sequence(packed), strict=True):
        np.testing.assert_array_equal(q.numpy(), p)
    whole = theirs.pack_sequence([torch.tensor(p) for p in parts])
    np.testing.assert_array_equal(
        rnn.pack_sequence([cr.tensor(p) for p in parts]).data.numpy(), whole.data.numpy()
    )


def test_permutations_are_inverted() -> None:
    assert rnn.invert_permutation(cr.tensor([2, 0, 1])).tolist() == [1, 2, 0]
    assert rnn.invert_permutation(None) is None


def _bad_packs() -> list[tuple[Any, type[Exception], str]]:
    x = cr.zeros((4, 2, D))
    return [
        (lambda: rnn.pack_padded_sequence(x, [4]), ValueError, "one for each"),
        (lambda: rnn.pack_padded_sequence(x, [2, 4]), ValueError, "enforce_sorted=False"),
        (lambda: rnn.pack_padded_sequence(x, [4, 0]), ValueError, "leave empty sequences out"),
        (lambda: rnn.pack_padded_sequence(x, [5, 1]), ValueError, "length 5 of sequence 0"),
        (lambda: rnn.pack_padded_sequence(x, [1.5, 1]), ValueError, "expected integers"),
        (lambda: rnn.pack_sequence([]), ValueError, "no sequences"),
        (lambda: rnn.pack_sequence([x[:0, 0]]), ValueError, "length 0 of sequence 0"),
        (lambda: rnn.pad_sequence([x, x[:, :1]]), ValueError, "differ only in their length"),
        (lambda: rnn.pad_sequence([x], padding_side="top"), ValueError, "padding_side"),
        (lambda: rnn.pad_packed_sequence(x), ValueError, "expected a PackedSequence"),
        (
            lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [4, 1]), total_length=3),
            ValueError,
            "total_length is 3",
        ),
        (
            lambda: rnn.pad_packed_sequence(rnn.PackedSequence(x, cr.tensor([1, 2]))),
            ValueError,
            "must not grow",
        ),
    ]


@pytest.mark.parametrize(("act", "kind", "text"), _bad_packs())
def test_wrong_packs_are_refused(act: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        act()


def test_packing_with_unknown_lengths_is_refused_while_tracing() -> None:
    @cr.compile
    def run(x: cr.Tensor, lengths: cr.Tensor) -> cr.Tensor:
        return rnn.pack_padded_sequence(x, lengths).data

    with pytest.raises(TraceError, match="lengths="):
        run(cr.zeros((4, 2, D)), cr.tensor([4, 1]))


LSTM, GRU = nn.LSTM(D, H), nn.GRU(D, H, 2, batch_first=True)
STATE = cr.zeros((1, 2, H))
X = cr.zeros((5, 2, D))
WRONG: list[tuple[Any, str]] = [
    (lambda: LSTM(X[:0]), "no time steps"),
    (lambda: LSTM(X[..., :2]), r"nn.LSTM\(2, 4\)"),
    (lambda: LSTM(X[0, 0]), "has 1 axes"),
    (lambda: LSTM(X[None]), "has 4 axes"),
    (lambda: LSTM(X.long()), "nn.Embedding"),
    (lambda: nn.GRUCell(3, 4)(X[0].long()), "nn.Embedding"),
    (lambda: LSTM(X, STATE), r"expected \(h, c\)"),
    (lambda: LSTM(X, (STATE,)), r"expected \(h, c\)"),
    (lambda: GRU(X, (STATE,)), "expected a tensor h"),
    (lambda: LSTM(X, (STATE, STATE[:, :1])), r"c f32\[1,1,4\] must have the shape"),
    (lambda: LSTM(X[:, 0], (STATE, STATE)), r"= \[1, 4\]"),
    (lambda: GRU(X, STATE), r"= \[2, 5, 4\]"),
    (lambda: LSTM(X, (STATE.double(), STATE)), "h.to"),
    (lambda: LSTM(X, lengths=[1]), "one for each"),
    (lambda: LSTM(X, lengths=[0, 1]), "leave empty sequences out"),
    (lambda: LSTM(X, lengths=[6, 1]), "pad the batch to the longest"),
    (lambda: LSTM(rnn.pack_padded_sequence(X, [5, 1]), lengths=[5, 1]), "leave lengths out"),
    (lambda: nn.LSTM(0, 4), "input_size is 0"),
    (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size is 4"),
    (lambda: nn.LSTM(3, 4, dropout=1.5), "dropout is 1.5"),
    (lambda: nn.LSTM(3, 4, bias=4), "bias is 4"),
    (lambda: nn.LSTM(3, 4, recurrent_init="orthagonal"), "orthogonal"),
    (lambda: nn.LSTM(3, 4, bias=False, forget_bias=1.0), "needs bias=True"),
    (lambda: nn.RNN(3, 4, nonlinearity="sigmoid"), "nonlinearity"),
    (lambda: nn.GRU(3, 4, dtype="int64"), "floating-point"),
    (lambda: nn.GRUCell(3, 4)(X), "a cell takes one step; nn.GRU takes sequences"),
    (lambda: nn.GRUCell(3, 4)(X[0], STATE), r"hx f32\[1,2,4\] must have the shape"),
    (lambda: nn.LSTMCell(3, 4)(X[0], STATE[0]), r"expected \(h, c\)"),
    (lambda: nn.RNNCell(3, 4)(X[0], STATE[0].double()), "hx.to"),
    (lambda: nn.functional.gru_cell(X[0], STATE[0], X[0], X[0]), "w_hh"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_calls_are_refused_with_the_remedy(number: int) -> None:
    act, text = WRONG[number]
    with pytest.raises((ValueError, TypeError), match=text):
        act()
