"""Weights of recurrent layers: their names, and what they start with.

Takes: sizes. Gives: parameters under PyTorch's names.
The one idea: what happens at every step is repeated many times, so the weights of the state decide
whether signals survive: an orthogonal matrix neither shrinks nor blows them up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from chainrule.core.device import as_device
from chainrule.core.dtype import DType, DTypeLike, as_dtype, promote
from chainrule.core.errors import ArgumentError, DTypeError, unknown_word
from chainrule.core.shape import Shape
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments, init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.recurrent import GATES, Kind, Weights

RecurrentInit = Literal["uniform", "orthogonal"]


class Recurrent(Module):
    """Base class of recurrent layers and cells.

    All weights and biases start from a uniform distribution over [-1/√H, 1/√H], as in PyTorch.

    Attributes:
        kind: The formula of a step.
        input_size: D.
        hidden_size: H.
        bias: Whether there are biases.
        recurrent_init: ``uniform``, or ``orthogonal``: the weights of the state start as
            orthogonal matrices, one for each gate (Saxe et al. 2014).
        forget_bias: What the biases of an LSTM's forget gate add up to at first, or None. With 1
            the memory is kept from the start (Jozefowicz et al. 2015).
    """

    kind: Kind
    input_size: int
    hidden_size: int
    bias: bool
    recurrent_init: RecurrentInit
    forget_bias: float | None
    _groups: tuple[str, ...]

    def _make_weights(
        self,
        groups: Sequence[tuple[str, int]],
        state: int,
        recurrent_init: RecurrentInit,
        forget_bias: float | None,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        """Make the weights of each group: of the ending of its names, and its input's size."""
        name = type(self).__name__
        if recurrent_init not in get_args(RecurrentInit):
            raise unknown_word(f"{name} recurrent_init", recurrent_init, get_args(RecurrentInit))
        if forget_bias is not None:
            forget_bias = arguments.number(name, "forget_bias", forget_bias)
            if not self.bias:
                raise ArgumentError(f"{name}: forget_bias={forget_bias:g} needs bias=True")
        self.recurrent_init = recurrent_init
        self.forget_bias = forget_bias
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        if not wanted.is_floating:
            raise DTypeError(f"{name}: dtype is {wanted.name}, expected a floating-point type")
        self._groups = tuple(ending for ending, _ in groups)
        rows = GATES[self.kind] * self.hidden_size
        for ending, wide in groups:
            shapes: dict[str, Shape] = {"weight_ih": (rows, wide), "weight_hh": (rows, state)}
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if state != self.hidden_size:
                shapes |= {"weight_hr": (state, self.hidden_size)}
            for what, shape in shapes.items():
                setattr(self, what + ending, Parameter(call("zeros", shape, dtype=wanted)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)
        size = self.hidden_size
        for ending in self._groups:
            weights = self._weights(ending)
            if self.recurrent_init == "orthogonal":
                with no_grad():
                    shape = (size, weights.hh.shape[1])
                    blocks = [
                        init.orthogonal_(call("zeros", shape, dtype=weights.hh.dtype))
                        for _ in range(GATES[self.kind])
                    ]
                    weights.hh.copy_(call("concat", blocks))
            if self.forget_bias is not None:
                assert weights.bias_ih is not None
                assert weights.bias_hh is not None
                with no_grad():
                    weights.bias_ih[size : 2 * size] = self.forget_bias
                    weights.bias_hh[size : 2 * size] = 0.0

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [
            [
                getattr(self, name + ending)
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
                if isinstance(getattr(self, name + ending, None), Parameter)
            ]
            for ending in self._groups
        ]

    def _expect_floating(self, x: Tensor) -> None:
        if not x.dtype.is_floating:
            raise DTypeError(
                f"{type(self).__name__}: input {x.spec} is not of a floating-point type",
                hint="indices become vectors by nn.Embedding; other numbers by x.float()",
            )

    def _state_dtype(self, x: Tensor) -> DType:
        """Return the dtype of the state for an input."""
        return promote(x.dtype, self._weights(self._groups[0]).hh.dtype)

    def _weights(self, ending: str) -> Weights:
        return Weights(
            getattr(self, "weight_ih" + ending),
            getattr(self, "weight_hh" + ending),
            getattr(self, "bias_ih" + ending, None),
            getattr(self, "bias_hh" + ending, None),
            getattr(self, "weight_hr" + ending, None),
        )
