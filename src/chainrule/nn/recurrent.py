"""Recurrent layers: a state that is carried along a sequence.

Takes: sequences [T, N, D]. Gives: the state after each step [T, N, H], and the last one.
The one idea: the same weights at every step, so a network of fixed size reads any length; compiled
it is a loop, whose code and time to compile do not depend on the length.

A long text is cut into pieces, and the state carried on without its past (truncated
backpropagation through time, Williams & Peng 1990): see the example of `LSTM`.
"""

from __future__ import annotations

from typing import Literal

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import unknown_word
from chainrule.nn.recurrent_base import RNNBase
from chainrule.nn.recurrent_weights import RecurrentInit
from chainrule.ops.recurrent import Kind


class RNN(RNNBase):
    """The plain recurrent network: h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh).

    Good for short memories; over many steps gradients vanish or blow up (Bengio et al. 1994):
    clip them (`nn.utils.clip_grad_norm_`), and use `LSTM` or `GRU` for longer ones.

    Args:
        input_size: D, the features of a step.
        hidden_size: H, the size of the state.
        num_layers: How many layers lie on each other.
        nonlinearity: ``tanh``, or ``relu`` (whose state nothing bounds).
        bias: Whether b_ih and b_hh are added.
        batch_first: Whether input and output are [N, T, *] instead of [T, N, *].
        dropout: Probability of leaving out an element between layers, in training.
        bidirectional: Whether each layer also runs from the end; both states are joined.
        recurrent_init: How W_hh starts: ``uniform``, or ``orthogonal``, which suits ``relu``.
        dtype: Type of the weights (default float32).
        device: Where they live.

    Attributes:
        weight_ih_l0: W_ih of layer 0, [H, D]; ``weight_ih_l0_reverse`` backwards.
        weight_hh_l0: W_hh, [H, H].
        bias_ih_l0: b_ih, [H], if there are biases.
        bias_hh_l0: b_hh, [H].

    Raises:
        ArgumentError: A size is not a positive integer, or another argument is out of range.

    Source: Elman 1990, "Finding structure in time".

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> rnn = nn.RNN(4, 8, num_layers=2)
        >>> y, h = rnn(chainrule.zeros((5, 3, 4)))  # [T, N, D]
        >>> y.shape, h.shape
        ((5, 3, 8), (2, 3, 8))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_init: RecurrentInit = "uniform",
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.nonlinearity = nonlinearity
        self._set_up(
            plain_kind("RNN", nonlinearity),
            (input_size, hidden_size, 0),
            num_layers,
            (bias, batch_first, bidirectional),
            dropout,
            recurrent_init,
            None,
            dtype,
            device,
        )

    def extra_repr(self) -> str:
        """Return the arguments that are not the default."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


def plain_kind(layer: str, nonlinearity: str) -> Kind:
    """Return the formula of a step with an activation.

    Raises:
        ArgumentError: There is no such one.
    """
    kinds: dict[str, Kind] = {"tanh": "rnn_tanh", "relu": "rnn_relu"}
    if nonlinearity not in kinds:
        raise unknown_word(f"{layer} nonlinearity", str(nonlinearity), kinds)
    return kinds[nonlinearity]


class LSTM(RNNBase):
    """Long short-term memory: a state c that gates write to, erase and read.

    With i, f, g, o the four blocks of W_ih x_t + b_ih + W_hh h_(t-1) + b_hh::

        c_t = σ(f) c_(t-1) + σ(i) tanh(g)
        h_t = σ(o) tanh(c_t)            (with proj_size: h_t = W_hr (σ(o) tanh(c_t)))

    Where σ(f) is near 1 the memory and its gradient pass unchanged, so it learns dependencies over
    hundreds of steps, for four times the work of `RNN`. Gradients may still blow up: clip them.

    Args:
        input_size: D, the features of a step.
        hidden_size: H, the size of the state.
        num_layers: How many layers lie on each other.
        bias: Whether b_ih and b_hh are added.
        batch_first: Whether input and output are [N, T, *] instead of [T, N, *].
        dropout: Probability of leaving out an element between layers, in training.
        bidirectional: Whether each layer also runs from the end; both states are joined.
        proj_size: P, the size that h is projected to; 0 for no projection (Sak et al. 2014).
        recurrent_init: How W_hh starts: ``uniform``, or ``orthogonal`` gate by gate.
        forget_bias: What the biases of the forget gate add up to at first; None: drawn like the
            others. 1 keeps the memory from the start (Jozefowicz et al. 2015).
        dtype: Type of the weights (default float32).
        device: Where they live.

    Attributes:
        weight_ih_l0: W_ih of layer 0, [4 H, D], in the order i, f, g, o;
            ``weight_ih_l0_reverse`` backwards.
        weight_hh_l0: W_hh, [4 H, H] (with a projection [4 H, P]).
        bias_ih_l0: b_ih, [4 H], if there are biases.
        bias_hh_l0: b_hh, [4 H].
        weight_hr_l0: W_hr, [P, H], if there is a projection.

    Raises:
        ArgumentError: A size is not a positive integer, or another argument is out of range.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory"; forget gate: Gers et al. 2000.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> lstm = nn.LSTM(4, 8, batch_first=True)
        >>> state, pieces = None, chainrule.zeros((3, 10, 4)).split(5, 1)  # of 10 steps
        >>> for x in pieces:
        ...     y, state = lstm(x, state)
        ...     y.square().mean().backward()
        ...     _ = nn.utils.clip_grad_norm_(lstm.parameters(), 1.0)
        ...     state = tuple(part.detach() for part in state)  # gradients end at the piece
        >>> y.shape, state[0].shape
        ((3, 5, 8), (1, 3, 8))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        recurrent_init: RecurrentInit = "uniform",
        forget_bias: float | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self._set_up(
            "lstm",
            (input_size, hidden_size, proj_size),
            num_layers,
            (bias, batch_first, bidirectional),
            dropout,
            recurrent_init,
            forget_bias,
            dtype,
            device,
        )


class GRU(RNNBase):
    """Gated recurrent unit: a state that is kept or replaced unit by unit.

    With r, z, n the three blocks of W_ih x_t + b_ih, and r', z', n' those of W_hh h_(t-1) + b_hh::

        u = σ(z + z')
        h_t = (1 - u) tanh(n + σ(r + r') n') + u h_(t-1)

    Three quarters of the weights of `LSTM` and one state, often with the same results; an `LSTM`
    counts better (Weiss et al. 2018).

    Args:
        input_size: D, the features of a step.
        hidden_size: H, the size of the state.
        num_layers: How many layers lie on each other.
        bias: Whether b_ih and b_hh are added.
        batch_first: Whether input and output are [N, T, *] instead of [T, N, *].
        dropout: Probability of leaving out an element between layers, in training.
        bidirectional: Whether each layer also runs from the end; both states are joined.
        recurrent_init: How W_hh starts: ``uniform``, or ``orthogonal`` gate by gate.
        dtype: Type of the weights (default float32).
        device: Where they live.

    Attributes:
        weight_ih_l0: W_ih of layer 0, [3 H, D], in the order r, z, n; ``weight_ih_l0_reverse``
            backwards.
        weight_hh_l0: W_hh, [3 H, H].
        bias_ih_l0: b_ih, [3 H], if there are biases.
        bias_hh_l0: b_hh, [3 H].

    Raises:
        ArgumentError: A size is not a positive integer, or another argument is out of range.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; with the
    reset gate behind the product, as in PyTorch and cuDNN.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> gru = nn.GRU(4, 8, bidirectional=True)
        >>> x = chainrule.zeros((5, 3, 4))  # [T, N, D]
        >>> y, h = gru(x, lengths=[5, 2, 1])
        >>> y.shape, h.shape
        ((5, 3, 16), (2, 3, 8))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_init: RecurrentInit = "uniform",
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self._set_up(
            "gru",
            (input_size, hidden_size, 0),
            num_layers,
            (bias, batch_first, bidirectional),
            dropout,
            recurrent_init,
            None,
            dtype,
            device,
        )
