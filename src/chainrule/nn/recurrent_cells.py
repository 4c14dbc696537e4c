"""Recurrent cells: one step of a recurrent layer, for loops of one's own.

Takes: the input of a step [N, D] and the state [N, H]. Gives: the next state.
The one idea: what stands between two steps (attention, sampling, another input) is the user's; the
loop is Python's, or `chainrule.scan`.
"""

from __future__ import annotations

from typing import Any, Literal

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.parameter import Parameter
from chainrule.nn.recurrent import plain_kind
from chainrule.nn.recurrent_weights import Recurrent, RecurrentInit
from chainrule.ops.recurrent import Kind, gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell


class RNNCellBase(Recurrent):
    """Base class of `RNNCell`, `LSTMCell` and `GRUCell`."""

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def _set_up(
        self,
        kind: Kind,
        input_size: int,
        hidden_size: int,
        bias: bool,
        recurrent_init: RecurrentInit,
        forget_bias: float | None,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        name = type(self).__name__
        self.kind = kind
        self.input_size = arguments.integer(name, "input_size", input_size)
        self.hidden_size = arguments.integer(name, "hidden_size", hidden_size)
        self.bias = arguments.flag(name, "bias", bias)
        if not self.bias:
            self.bias_ih = self.bias_hh = None
        groups = [("", self.input_size)]
        self._make_weights(groups, self.hidden_size, recurrent_init, forget_bias, dtype, device)

    def _checked(self, input: Tensor, state: tuple[Tensor, ...] | None, parts: int) -> list[Tensor]:
        """Return the state, zeros if there is none, after a look at what came."""
        name = type(self).__name__
        expect_tensor(name, "input", input)
        expect(
            input.ndim in (1, 2) and input.shape[-1] == self.input_size,
            "{}: input {} must be [N, {}] or [{}]",
            *(name, input.spec, self.input_size, self.input_size),
            hint="a cell takes one step; nn." + name.removesuffix("Cell") + " takes sequences",
        )
        self._expect_floating(input)
        shape, kind = (*input.shape[:-1], self.hidden_size), self._state_dtype(input)
        if state is None:
            return [call("zeros", shape, dtype=kind) for _ in range(parts)]
        for x in state:
            expect_tensor(name, "hx", x)
            expect(
                x.shape == shape,
                "{}: hx {} must have the shape {} for input {}",
                *(name, x.spec, list(shape), input.spec),
                hint="leave hx out to begin with zeros",
            )
            if x.dtype is not kind:
                raise DTypeError(
                    f"{name}: hx is {x.spec}, expected {kind.name} as of input and weights",
                    hint=f"hx.to(chainrule.{kind.name})",
                )
        return list(state)

    def scope_title(self) -> str:
        """Return ``LSTMCell 10 -> 20``."""
        return f"{type(self).__name__} {self.input_size} -> {self.hidden_size}"

    def extra_repr(self) -> str:
        """Return the arguments that are not the default."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of `RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990).

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether b_ih and b_hh are added.
        nonlinearity: ``tanh`` or ``relu``.
        recurrent_init: How W_hh starts: ``uniform`` or ``orthogonal``.
        dtype: Type of the weights (default float32).
        device: Where they live.

    Attributes:
        weight_ih: W_ih, [H, D].
        weight_hh: W_hh, [H, H].
        bias_ih: b_ih, [H], or None.
        bias_hh: b_hh, [H], or None.

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> cell = nn.RNNCell(4, 8)
        >>> h = cell(chainrule.zeros((3, 4)))
        >>> cell(chainrule.ones((3, 4)), h).shape
        (3, 8)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        recurrent_init: RecurrentInit = "uniform",
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.nonlinearity = nonlinearity
        kind = plain_kind("RNNCell", nonlinearity)
        sizes = (input_size, hidden_size)
        self._set_up(kind, *sizes, bias, recurrent_init, None, dtype, device)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state [N, H] of input [N, D] and state [N, H] (None: zeros)."""
        (h,) = self._checked(input, None if hx is None else (hx,), 1)
        step = rnn_tanh_cell if self.kind == "rnn_tanh" else rnn_relu_cell
        return step(input, h, *self._weights("")[:4])

    def extra_repr(self) -> str:
        """Return the arguments that are not the default."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of `LSTM` (Hochreiter & Schmidhuber 1997).

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether b_ih and b_hh are added.
        recurrent_init: How W_hh starts: ``uniform`` or ``orthogonal``.
        forget_bias: What the biases of the forget gate add up to at first; None: drawn.
        dtype: Type of the weights (default float32).
        device: Where they live.

    Attributes:
        weight_ih: W_ih, [4 H, D], in the order i, f, g, o.
        weight_hh: W_hh, [4 H, H].
        bias_ih: b_ih, [4 H], or None.
        bias_hh: b_hh, [4 H], or None.

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> cell = nn.LSTMCell(4, 8)
        >>> h, c = cell(chainrule.zeros((3, 4)))
        >>> h, c = cell(chainrule.ones((3, 4)), (h, c))
        >>> h.shape, c.shape
        ((3, 8), (3, 8))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        recurrent_init: RecurrentInit = "uniform",
        forget_bias: float | None = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        sizes = (input_size, hidden_size)
        self._set_up("lstm", *sizes, bias, recurrent_init, forget_bias, dtype, device)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the next (h, c), each [N, H], of input [N, D] and (h, c) (None: zeros)."""
        state: Any = hx
        if hx is not None and not (isinstance(state, tuple | list) and len(state) == 2):
            raise ArgumentError(
                f"LSTMCell: hx is a {type(hx).__name__}, expected (h, c)",
                hint="h, c = cell(x, (h, c))",
            )
        h, c = self._checked(input, None if hx is None else tuple(hx), 2)
        return lstm_cell(input, (h, c), *self._weights("")[:4])


class GRUCell(RNNCellBase):
    """One step of `GRU` (Cho et al. 2014).

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether b_ih and b_hh are added.
        recurrent_init: How W_hh starts: ``uniform`` or ``orthogonal``.
        dtype: Type of the weights (default float32).
        device: Where they live.

    Attributes:
        weight_ih: W_ih, [3 H, D], in the order r, z, n.
        weight_hh: W_hh, [3 H, H].
        bias_ih: b_ih, [3 H], or None.
        bias_hh: b_hh, [3 H], or None.

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> cell = nn.GRUCell(4, 8)
        >>> cell(chainrule.zeros((3, 4))).shape
        (3, 8)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        recurrent_init: RecurrentInit = "uniform",
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        sizes = (input_size, hidden_size)
        self._set_up("gru", *sizes, bias, recurrent_init, None, dtype, device)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state [N, H] of input [N, D] and state [N, H] (None: zeros)."""
        (h,) = self._checked(input, None if hx is None else (hx,), 1)
        return gru_cell(input, h, *self._weights("")[:4])
