"""Positions: how attention, which sees a set, learns the order of a sequence.

Takes: sequences of vectors, or queries and keys. Gives: the same with their places in them; or a
bias for the scores.
The one idea: a place is added to what stands there (sinusoids, a learned table), turns it
(rotary), or takes something off what is far away (ALiBi).
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor, tensor
from chainrule.nn import arguments, init
from chainrule.nn.dropout import Dropout
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.creation import arange
from chainrule.ops.joining import concat
from chainrule.ops.pieces import narrow, stack


class _Table(Module):
    """What encodings share that are added: a table with a vector for each place."""

    batch_first: bool
    max_len: int

    def _set(self, d_model: int, max_len: int, dropout: float, batch_first: bool) -> None:
        name = type(self).__name__
        self.d_model = arguments.integer(name, "d_model", d_model)
        self.max_len = arguments.integer(name, "max_len", max_len)
        self.batch_first = arguments.flag(name, "batch_first", batch_first)
        self.dropout = Dropout(arguments.number(name, "dropout", dropout, low=0.0, high=1.0))

    def _added(self, x: Tensor, table: Tensor) -> Tensor:
        name = type(self).__name__
        if x.ndim not in (2, 3) or x.shape[-1] != self.d_model:
            layout = "[N, T, E]" if self.batch_first else "[T, N, E]"
            raise ShapeError(f"{name}: input {x.spec}, expected {layout} with E = {self.d_model}")
        length = x.shape[-2] if self.batch_first or x.ndim == 2 else x.shape[0]
        _expect_length(name, length, self.max_len)
        rows = narrow(table, 0, 0, length)
        if x.ndim == 3 and not self.batch_first:
            rows = rows.unsqueeze(1)
        added: Tensor = self.dropout(x + rows)
        return added

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.d_model}, max_len={self.max_len}"


class SinusoidalEncoding(_Table):
    """Adds sines and cosines of the place, with wave lengths from 2π to 20000π.

    Element 2i of place t is sin(t / 10000^(2i / E)), element 2i + 1 the cosine of the same. A
    shift by k places is a rotation, the same everywhere, so relative places are easy to learn;
    nothing is learned, and longer sequences than in training have encodings too.

    Args:
        d_model: E, the width; even.
        max_len: Longest sequence.
        dropout: Probability of leaving out elements of the sum.
        batch_first: Whether sequences are [N, T, E] instead of [T, N, E].

    Raises:
        ArgumentError: ``d_model`` is odd.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> layer = nn.SinusoidalEncoding(4, max_len=8)
        >>> layer(chainrule.zeros((2, 1, 4)))[0].tolist()
        [[0.0, 1.0, 0.0, 1.0]]

    Source: Vaswani et al. 2017, "Attention is all you need", section 3.5.
    """

    def __init__(
        self,
        d_model: int,
        max_len: int = 5000,
        dropout: float = 0.0,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self._set(d_model, max_len, dropout, batch_first)
        _expect_even("SinusoidalEncoding", "d_model", d_model)
        angles = _angles(max_len, d_model, 10_000.0)
        waves = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(max_len, d_model)
        self.register_buffer("pe", tensor(waves, dtype="float32"), persistent=False)

    pe: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Return the sequence with its places added."""
        return self._added(input, self.pe.to(input.dtype))


class LearnedEncoding(_Table):
    """Adds a learned vector for each place, as BERT and GPT-2 do.

    There is none for places beyond ``max_len``, and those rarely seen in training stay poor.

    Args:
        d_model: E, the width.
        max_len: Longest sequence.
        dropout: Probability of leaving out elements of the sum.
        batch_first: Whether sequences are [N, T, E] instead of [T, N, E].
        dtype: Type of the table (default float32).
        device: Where it lives.

    Attributes:
        weight: The table, [max_len, E]; first values normal with standard deviation 0.02.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.LearnedEncoding(4, max_len=8)(chainrule.zeros((2, 1, 4))).shape
        (2, 1, 4)

    Source: Gehring et al. 2017, "Convolutional sequence to sequence learning".
    """

    weight: Parameter

    def __init__(
        self,
        d_model: int,
        max_len: int,
        dropout: float = 0.0,
        batch_first: bool = False,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self._set(d_model, max_len, dropout, batch_first)
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        self.weight = Parameter(call("zeros", (max_len, d_model), dtype=wanted))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, input: Tensor) -> Tensor:
        """Return the sequence with its places added."""
        return self._added(input, self.weight)


class RotaryEmbedding(Module):
    """Turns pairs of elements of queries and keys by angles that grow with their place (RoPE).

    Pair i of place t is turned by t / base^(2i / D). The product of a query and a key then
    depends on their distance only; values are not turned.

    Args:
        dim: D, the width of a head; even.
        max_len: Longest sequence.
        base: Of the wave lengths.
        interleaved: Whether neighbours make a pair (Su et al.); else element i and i + D/2 do, as
            in GPT-NeoX and Llama.

    Raises:
        ArgumentError: ``dim`` is odd.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> rotary = nn.RotaryEmbedding(4, max_len=8)
        >>> q = chainrule.ones((2, 3, 5, 4))  # [N, H, T, D]
        >>> rotary(q).shape
        (2, 3, 5, 4)

    Source: Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding".
    """

    cosines: Tensor
    sines: Tensor

    def __init__(
        self, dim: int, max_len: int = 4096, base: float = 10_000.0, interleaved: bool = True
    ) -> None:
        super().__init__()
        name = "RotaryEmbedding"
        self.dim = arguments.integer(name, "dim", dim)
        _expect_even(name, "dim", dim)
        self.max_len = arguments.integer(name, "max_len", max_len)
        self.base = arguments.number(name, "base", base, low=1.0)
        self.interleaved = arguments.flag(name, "interleaved", interleaved)
        angles = _angles(max_len, dim, self.base)
        self.register_buffer("cosines", tensor(np.cos(angles), dtype="float32"), persistent=False)
        self.register_buffer("sines", tensor(np.sin(angles), dtype="float32"), persistent=False)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        """Return queries or keys [..., T, D], turned.

        Args:
            input: Queries or keys.
            offset: The place of the first of them (while text is written one token at a time).
        """
        if input.ndim < 2 or input.shape[-1] != self.dim:
            raise ShapeError(
                f"RotaryEmbedding: input {input.spec}, expected [..., T, D] with D = {self.dim}"
            )
        start = arguments.integer("RotaryEmbedding", "offset", offset, least=0)
        length = input.shape[-2]
        _expect_length("RotaryEmbedding", start + length, self.max_len)
        cosines, sines = (
            narrow(table, 0, start, length).to(input.dtype) for table in (self.cosines, self.sines)
        )
        half = self.dim // 2
        if self.interleaved:
            pairs = input.reshape((*input.shape[:-1], half, 2))
            first, second = pairs[..., 0], pairs[..., 1]
        else:
            first, second = input[..., :half], input[..., half:]
        turned = (first * cosines - second * sines, first * sines + second * cosines)
        if self.interleaved:
            return stack(turned, -1).reshape(input.shape)
        return concat(turned, -1)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{self.dim}, max_len={self.max_len}, base={self.base:g}"


class AlibiBias(Module):
    """Takes off scores what grows with the distance: attention with linear biases (ALiBi).

    Head h of H takes off 2^(-8 h / H) times the distance. Nothing is learned, and sequences may be
    longer than those of the training.

    Args:
        num_heads: H. If it is no power of 2, slopes are those of the next lower one and then
            every second one of the next higher.

    Attributes:
        slopes: [H].

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.AlibiBias(8)(3)[0].tolist()
        [[0.0, -inf, -inf], [-0.5, 0.0, -inf], [-1.0, -0.5, 0.0]]

    Source: Press, Smith & Lewis 2022, "Train short, test long".
    """

    slopes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = arguments.integer("AlibiBias", "num_heads", num_heads)
        self.register_buffer(
            "slopes", tensor(_slopes(num_heads), dtype="float32"), persistent=False
        )

    def forward(self, length: int, keys: int | None = None, is_causal: bool = True) -> Tensor:
        """Return what is added to the scores: ``attn_mask`` of `scaled_dot_product_attention`.

        Args:
            length: T, number of queries.
            keys: S, number of keys (default: T); the queries are the last T of them.
            is_causal: Whether later keys get minus infinity; else distances count both ways.

        Returns:
            [H, T, S].
        """
        rows = arguments.integer("AlibiBias", "length", length)
        columns = rows if keys is None else arguments.integer("AlibiBias", "keys", keys)
        place = arange(rows).unsqueeze(-1) + (columns - rows)
        distance = place - arange(columns)  # [T, S]
        bias = self.slopes.reshape((self.num_heads, 1, 1)) * -distance.abs()
        if is_causal:
            bias = call("where", distance >= 0, bias, -math.inf)
        return bias

    def extra_repr(self) -> str:
        """Return the argument."""
        return str(self.num_heads)


def _angles(count: int, width: int, base: float) -> np.ndarray:
    """Return t / base^(2i / width) for places and pairs, [count, width / 2], in float64."""
    rates = base ** (-np.arange(0, width, 2) / width)
    return np.outer(np.arange(count), rates)


def _slopes(heads: int) -> np.ndarray:
    below = 2 ** int(math.log2(heads))
    first = 2.0 ** (-8.0 * np.arange(1, below + 1) / below)
    more = 2.0 ** (-8.0 * np.arange(1, 2 * below + 1, 2) / (2 * below))
    return np.concatenate([first, more[: heads - below]])


def _expect_even(layer: str, name: str, width: int) -> None:
    if width % 2:
        raise ArgumentError(
            f"{layer}: {name} is {width}, expected an even number: elements go in pairs",
            hint=f"{name}={width + 1}",
        )


def _expect_length(layer: str, length: int, most: int) -> None:
    if length > most:
        raise ShapeError(
            f"{layer}: a sequence of {length} places, but max_len is {most}",
            hint=f"max_len={length}, or cut the sequence",
        )
