"""Recurrence: networks that carry a state from one time step to the next.

Takes: inputs [T, N, D] and a first state [N, H]. Gives: the state after each step, and the last.
The one idea: the products with the inputs do not wait for the state, so they are one product for
all steps in front of the loop; the loop itself is a `scan`, compiled once for any length.

Sources: Elman 1990, "Finding structure in time"; Hochreiter & Schmidhuber 1997, "Long short-term
memory", with the forget gate of Gers et al. 2000; Cho et al. 2014, "Learning phrase
representations using RNN encoder-decoder"; projections: Sak et al. 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import COMPOSITES, Composite, composite, public
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.contraction import linear, matmul
from chainrule.ops.loops import scan

__all__ = ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]

Kind = Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
# h, or h and c of an LSTM.
State = tuple[Tensor, ...]
# How many blocks of H rows the weights of a step have: its gates.
GATES: dict[str, int] = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}


class Weights(NamedTuple):
    """The weights of one layer and direction, with G gates.

    Attributes:
        ih: Of the input, [G H, D].
        hh: Of the state, [G H, H] (or [G H, P] behind a projection).
        bias_ih: [G H], or None.
        bias_hh: [G H], or None.
        hr: An LSTM's projection of the state, [P, H], or None.
    """

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    hr: Tensor | None = None


# --- one step ----------------------------------------------------------------------------------


@composite(lambda: _cell_samples(1))
def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """Return the next state of a recurrent network with tanh.

    h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), in the range [-1, 1].

    Args:
        input: x, [N, D] or [D].
        hx: h, [N, H] or [H].
        w_ih: [H, D].
        w_hh: [H, H].
        b_ih: [H], or None.
        b_hh: [H], or None.

    Returns:
        h', the shape of h.

    Raises:
        ShapeError: The shapes do not belong together.

    Source: Elman 1990, "Finding structure in time".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> one = chainrule.ones((1, 1))
        >>> F.rnn_tanh_cell(one, -one, one, one).tolist()
        [[0.0]]
    """
    return _cell("rnn_tanh", input, (hx,), Weights(w_ih, w_hh, b_ih, b_hh))[0]


@composite(lambda: _cell_samples(1))
def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """Return the next state of a recurrent network with ReLU.

    h' = max(0, x W_ihᵀ + b_ih + h W_hhᵀ + b_hh). Nothing bounds the state: start ``w_hh`` near the
    identity or orthogonal (Le et al. 2015, "A simple way to initialize recurrent networks").

    Args:
        input: x, [N, D] or [D].
        hx: h, [N, H] or [H].
        w_ih: [H, D].
        w_hh: [H, H].
        b_ih: [H], or None.
        b_hh: [H], or None.

    Returns:
        h', the shape of h.

    Raises:
        ShapeError: The shapes do not belong together.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> one = chainrule.ones((1, 1))
        >>> F.rnn_relu_cell(one, one, one, one).tolist()
        [[2.0]]
    """
    return _cell("rnn_relu", input, (hx,), Weights(w_ih, w_hh, b_ih, b_hh))[0]


@public
def lstm_cell(
    input: Tensor,
    hx: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the next state of a long short-term memory.

    With (i, f, g, o) the four blocks of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh::

        c' = σ(f) c + σ(i) tanh(g)
        h' = σ(o) tanh(c')

    The memory c is added to, not squashed, so gradients reach far back while σ(f) is near 1.

    Args:
        input: x, [N, D] or [D].
        hx: h and c, each [N, H] or [H].
        w_ih: [4 H, D].
        w_hh: [4 H, H].
        b_ih: [4 H], or None.
        b_hh: [4 H], or None.

    Returns:
        h' and c'.

    Raises:
        ShapeError: The shapes do not belong together.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; forget gate: Gers et al. 2000.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> h = chainrule.zeros((1, 2))
        >>> w = chainrule.zeros((8, 2))
        >>> F.lstm_cell(h, (h, h + 2.0), w, w)[1].tolist()  # half of it is forgotten
        [[1.0, 1.0]]
    """
    h, c = _cell("lstm", input, tuple(hx), Weights(w_ih, w_hh, b_ih, b_hh))
    return h, c


@composite(lambda: _cell_samples(3))
def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """Return the next state of a gated recurrent unit.

    With (r, z, n) the three blocks of x W_ihᵀ + b_ih, and (r', z', n') those of h W_hhᵀ + b_hh::

        h' = (1 - u) tanh(n + σ(r + r') n') + u h,   u = σ(z + z')

    Args:
        input: x, [N, D] or [D].
        hx: h, [N, H] or [H].
        w_ih: [3 H, D].
        w_hh: [3 H, H].
        b_ih: [3 H], or None.
        b_hh: [3 H], or None.

    Returns:
        h', the shape of h.

    Raises:
        ShapeError: The shapes do not belong together.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; with the
    reset gate behind the product, as in PyTorch and cuDNN.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> h = chainrule.ones((1, 2))
        >>> w = chainrule.zeros((6, 2))
        >>> F.gru_cell(h, h, w, w).tolist()
        [[0.5, 0.5]]
    """
    return _cell("gru", input, (hx,), Weights(w_ih, w_hh, b_ih, b_hh))[0]


def _cell_samples(gates: int) -> Iterable[Sample]:
    rows = gates * 3
    return (
        sample((2, 4), (2, 3), (rows, 4), (rows, 3), (rows,), (rows,)),
        sample((4,), (3,), (rows, 4), (rows, 3), name="one example, no bias"),
    )


def _lstm_samples() -> Iterable[Sample]:
    return (
        sample((2, 4), (2, 3), (2, 3), (12, 4), (12, 3), (12,), (12,)),
        sample((4,), (3,), (3,), (12, 4), (12, 3), name="one example, no bias"),
    )


def _lstm_joined(
    input: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    joined: Tensor = call("concat", lstm_cell(input, (h, c), w_ih, w_hh, b_ih, b_hh), -1)
    return joined


# Checks take functions of one result.
COMPOSITES["lstm_cell"] = Composite(_lstm_joined, _lstm_samples)


def _cell(kind: Kind, x: Tensor, state: State, weights: Weights) -> State:
    """Return the state after one step."""
    _check_cell(kind, x, state, weights)
    return _advance(kind, _project(kind, x, weights), state, weights)


def _check_cell(kind: Kind, x: Tensor, state: State, weights: Weights) -> None:
    op, gates = f"{kind}_cell", GATES[kind]
    for name, given in (("input", x), ("w_ih", weights.ih), ("w_hh", weights.hh)):
        expect_tensor(op, name, given)
    for h in state:
        expect_tensor(op, "hx", h)
        expect(
            h.ndim in (1, 2) and h.shape[:-1] == x.shape[:-1],
            "{}: hx {} must have the shape {}H] that belongs to input {}",
            *(op, h.spec, "[" + "".join(f"{n}, " for n in x.shape[:-1]), x.spec),
        )
        size = h.shape[-1]
        expect(
            weights.hh.shape == (gates * size, size),
            "{}: w_hh {} must be [{} H, H] = {} for hx {}",
            *(op, weights.hh.spec, gates, [gates * size, size], h.spec),
        )
    expect(
        weights.ih.ndim == 2 and weights.ih.shape[0] == weights.hh.shape[0],
        "{}: w_ih {} must have as many rows as w_hh {}",
        *(op, weights.ih.spec, weights.hh.spec),
    )


# --- a sequence --------------------------------------------------------------------------------


def recurrent_sequence(
    kind: Kind,
    x: Tensor,
    state: State,
    weights: Weights,
    mask: Tensor | None = None,
    *,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """Run one layer in one direction over all steps.

    Args:
        kind: Which network.
        x: [T, N, D]; finite where the mask is false.
        state: What it begins with, each [N, H].
        weights: Its weights.
        mask: [T, N, 1] booleans: where there is a step. Elsewhere the state stays as it is, so
            that backwards each sequence begins at its own end.
        reverse: Whether it runs from the last step to the first.

    Returns:
        h after each step, [T, N, H] (zeros where the mask is false), and the last state.
    """

    def step(state: State, given: tuple[Tensor, ...]) -> tuple[State, Tensor]:
        after = _advance(kind, given[0], state, weights)
        if mask is None:
            return after, after[0]
        there = given[1]
        kept = tuple(call("where", there, new, old) for new, old in zip(after, state, strict=True))
        return kept, call("where", there, after[0], 0.0)

    projected = _project(kind, x, weights)
    last, outputs = scan(
        step, state, (projected,) if mask is None else (projected, mask), reverse=reverse
    )
    return outputs, last


def _project(kind: Kind, x: Tensor, weights: Weights) -> Tensor:
    """Return what the inputs add to the gates of all steps, [..., G H]."""
    bias = weights.bias_ih
    if kind != "gru" and weights.bias_hh is not None:
        bias = weights.bias_hh if bias is None else bias + weights.bias_hh
    return linear(x, weights.ih, bias)


def _advance(kind: Kind, projected: Tensor, state: State, weights: Weights) -> State:
    """Return the state after a step, from what the input adds to its gates."""
    h = state[0]
    size = weights.hh.shape[0] // GATES[kind]
    recurrent = matmul(h, weights.hh.T)
    if kind == "gru":
        if weights.bias_hh is not None:
            recurrent = recurrent + weights.bias_hh
        reset, update, new = _blocks(projected, size)
        from_reset, from_update, from_new = _blocks(recurrent, size)
        u = (update + from_update).sigmoid()
        n = (new + (reset + from_reset).sigmoid() * from_new).tanh()
        return (n + u * (h - n),)
    if kind == "lstm":
        enter, forget, value, leave = _blocks(projected + recurrent, size)
        c = forget.sigmoid() * state[1] + enter.sigmoid() * value.tanh()
        h = leave.sigmoid() * c.tanh()
        return (h if weights.hr is None else matmul(h, weights.hr.T)), c
    activation: Callable[[Tensor], Tensor] = Tensor.tanh if kind == "rnn_tanh" else Tensor.relu
    return (activation(projected + recurrent),)


def _blocks(gates: Tensor, size: int) -> list[Tensor]:
    """Return the gates, each [..., H]."""
    return [gates[..., at : at + size] for at in range(0, gates.shape[-1], size)]
