"""Layers of the Transformer: attention, then two linear layers, each around a short cut.

Takes: sequences [L, N, E] (or [N, L, E], or [L, E]). Gives: the same shape.
The one idea: every part only adds to what flows past it, so dozens of layers can be stacked
(Vaswani et al. 2017). With ``norm_first`` what flows past is never normalised, and training needs
no warm-up (Xiong et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.attention import MultiheadAttention, expect_heads
from chainrule.nn.dropout import Dropout
from chainrule.nn.init import Nonlinearity
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.nn.normalization import LayerNorm

ActivationLike = str | Callable[[Tensor], Tensor]

_NAMED: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class TransformerLayer(Module):
    """What layers of encoder and decoder share: self-attention and the linear layers.

    Attributes:
        self_attn: The attention of positions to each other.
        linear1: To the width ``dim_feedforward``.
        linear2: Back again.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: ActivationLike = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        width = arguments.integer(name, "d_model", d_model)
        heads = arguments.integer(name, "nhead", nhead)
        expect_heads(name, "d_model", width, "nhead", heads)
        inner = arguments.integer(name, "dim_feedforward", dim_feedforward)
        self.norm_first = arguments.flag(name, "norm_first", norm_first)
        self.activation = _activation(name, activation)
        rule = _rule(activation)
        self._attend = (width, heads, arguments.number(name, "dropout", dropout, low=0.0, high=1.0))
        self._shared = (bias, arguments.flag(name, "batch_first", batch_first), dtype, device)
        self._eps = arguments.number(name, "layer_norm_eps", layer_norm_eps, low=0.0)
        self.self_attn = self._attention()
        self._make_rest(width, inner, dropout, bias, rule, dtype, device)

    def _attention(self) -> MultiheadAttention:
        width, heads, dropout = self._attend
        bias, batch_first, dtype, device = self._shared
        return MultiheadAttention(
            *(width, heads, dropout, bias), batch_first=batch_first, dtype=dtype, device=device
        )

    def _norm(self) -> LayerNorm:
        bias, _, dtype, device = self._shared
        return LayerNorm(self._attend[0], self._eps, bias=bias, dtype=dtype, device=device)

    def _make_rest(
        self,
        width: int,
        inner: int,
        dropout: float,
        bias: bool,
        rule: Nonlinearity,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        self.linear1 = Linear(width, inner, bias, nonlinearity=rule, dtype=dtype, device=device)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(inner, width, bias, nonlinearity="linear", dtype=dtype, device=device)
        self.norm1, self.norm2 = self._norm(), self._norm()
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

    def _look_around(
        self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool
    ) -> Tensor:
        found, _ = self.self_attn(
            x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=is_causal
        )
        dropped: Tensor = self.dropout1(found)
        return dropped

    def _think(self, x: Tensor) -> Tensor:
        made: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return made

    def scope_title(self) -> str:
        """Return ``TransformerEncoderLayer 512, 8 heads``."""
        return f"{type(self).__name__} {self._attend[0]}, {self._attend[1]} heads"


class TransformerEncoderLayer(TransformerLayer):
    """A layer of an encoder: y = LayerNorm(x + SelfAttention(x)), LayerNorm(y + MLP(y)).

    With ``norm_first`` y = x + SelfAttention(LayerNorm(x)), y + MLP(LayerNorm(y)).

    Args:
        d_model: E, the width.
        nhead: Number of heads.
        dim_feedforward: Width between the two linear layers.
        dropout: Probability of leaving out weights of the attention and outputs of the parts.
        activation: ``"relu"``, ``"gelu"``, or a function between the two linear layers.
        layer_norm_eps: ``eps`` of `LayerNorm`.
        batch_first: Whether the batch is the first axis.
        norm_first: Whether parts normalise what they take, instead of the sum.
        bias: Whether linear layers and normalisations have a bias.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Raises:
        ArgumentError: ``d_model`` does not split evenly into heads, or a number is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> layer(chainrule.zeros((4, 5, 8)), is_causal=True).shape
        (4, 5, 8)
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence after the layer; for masks see `MultiheadAttention.forward`."""
        x, masks = src, (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._look_around(self.norm1(x), *masks)
            x = x + self.dropout2(self._think(self.norm2(x)))
        else:
            x = self.norm1(x + self._look_around(x, *masks))
            x = self.norm2(x + self.dropout2(self._think(x)))
        made: Tensor = x
        return made


class TransformerDecoderLayer(TransformerLayer):
    """A layer of a decoder: self-attention, attention to an encoder's result, linear layers.

    See `TransformerEncoderLayer` for the arguments.

    Attributes:
        multihead_attn: The attention to the encoder's result.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        >>> layer(chainrule.zeros((4, 3, 8)), chainrule.zeros((4, 5, 8)), tgt_is_causal=True).shape
        (4, 3, 8)
    """

    def _make_rest(
        self,
        width: int,
        inner: int,
        dropout: float,
        bias: bool,
        rule: Nonlinearity,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        self.multihead_attn = self._attention()
        super()._make_rest(width, inner, dropout, bias, rule, dtype, device)
        self.norm3, self.dropout3 = self._norm(), Dropout(dropout)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence after the layer.

        Args:
            tgt: The sequence.
            memory: What the encoder made.
            tgt_mask: Who may look where in the sequence; see `MultiheadAttention.forward`.
            memory_mask: Who may look where in the encoder's result.
            tgt_key_padding_mask: Padding of the sequence.
            memory_key_padding_mask: Padding of the encoder's result.
            tgt_is_causal: Position i looks only at positions 0 to i of the sequence.
            memory_is_causal: The same for the encoder's result.
        """
        x, around = tgt, (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        back = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + self._look_around(self.norm1(x), *around)
            x = x + self._look_back(self.norm2(x), *back)
            x = x + self.dropout3(self._think(self.norm3(x)))
        else:
            x = self.norm1(x + self._look_around(x, *around))
            x = self.norm2(x + self._look_back(x, *back))
            x = self.norm3(x + self.dropout3(self._think(x)))
        made: Tensor = x
        return made

    def _look_back(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None,
        padding: Tensor | None,
        is_causal: bool,
    ) -> Tensor:
        found, _ = self.multihead_attn(
            *(x, memory, memory, padding), need_weights=False, attn_mask=mask, is_causal=is_causal
        )
        dropped: Tensor = self.dropout2(found)
        return dropped


def _activation(layer: str, activation: ActivationLike) -> Callable[[Tensor], Tensor]:
    if isinstance(activation, str):
        if activation not in _NAMED:
            raise unknown_word(f"{layer} activation", activation, tuple(_NAMED))
        return _NAMED[activation]
    if not callable(activation):
        raise ArgumentError(
            f"{layer}: activation is {arguments.show(activation)}, expected a name or a function",
            hint='activation="gelu"',
        )
    return activation


def _rule(activation: ActivationLike) -> Nonlinearity:
    """Return the rule for the first weights before an activation."""
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
    known: tuple[Nonlinearity, ...] = get_args(Nonlinearity)
    return next((rule for rule in known if rule == name), "relu")
