"""The Transformer: stacks of its layers, and encoder and decoder together.

Takes: sequences of vectors. Gives: sequences of vectors.
The one idea: attention alone, without recurrence, so all positions are computed at once
(Vaswani et al. 2017, "Attention is all you need").
"""

from __future__ import annotations

import copy
import math

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments, init
from chainrule.nn.containers import ModuleList
from chainrule.nn.module import Module
from chainrule.nn.normalization import LayerNorm
from chainrule.nn.transformer_layers import (
    ActivationLike,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)
from chainrule.ops.creation import arange


def _copies(owner: str, name: str, layer: Module, count: int) -> ModuleList:
    if not isinstance(layer, Module):
        raise ArgumentError(
            f"{owner}: {name} is {arguments.show(layer)}, expected a layer",
            hint=f"nn.{owner}(nn.{owner}Layer(512, 8), 6)",
        )
    number = arguments.integer(owner, "num_layers", count)
    return ModuleList([copy.deepcopy(layer) for _ in range(number)])


class TransformerEncoder(Module):
    """A stack of copies of a layer.

    Copies start from the same weights, as in PyTorch; `Transformer` draws new ones.

    Args:
        encoder_layer: A `TransformerEncoderLayer`, or a module that is called like one.
        num_layers: How many copies.
        norm: A normalisation of the result, or None; needed if layers normalise first.
        enable_nested_tensor: Accepted for PyTorch's sake.
        mask_check: Accepted for PyTorch's sake.

    Raises:
        ArgumentError: ``num_layers`` is not positive.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies("TransformerEncoder", "encoder_layer", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Return the sequence after all layers; see `MultiheadAttention.forward` for the masks."""
        x = src
        for layer in self.layers:
            x = layer(
                x,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """A stack of copies of a layer that looks at an encoder's result too.

    Args:
        decoder_layer: A `TransformerDecoderLayer`, or a module that is called like one.
        num_layers: How many copies.
        norm: A normalisation of the result, or None.

    Raises:
        ArgumentError: ``num_layers`` is not positive.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies("TransformerDecoder", "decoder_layer", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the sequence after all layers; see `TransformerDecoderLayer.forward`."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder: from one sequence of vectors to another.

    Weights start uniform by Xavier's rule, as in PyTorch.

    Args:
        d_model: E, the width.
        nhead: Number of heads.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        dim_feedforward: Width between the two linear layers.
        dropout: Probability of leaving things out; see `TransformerEncoderLayer`.
        activation: Between the two linear layers.
        custom_encoder: In the place of the encoder.
        custom_decoder: In the place of the decoder.
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
        >>> model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        >>> mask = nn.Transformer.generate_square_subsequent_mask(3)
        >>> src, tgt = chainrule.zeros((4, 5, 8)), chainrule.zeros((4, 3, 8))
        >>> model(src, tgt, tgt_mask=mask).shape
        (4, 3, 8)

    Source: Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: ActivationLike = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        settings = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        more = (batch_first, norm_first, bias)
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        if custom_encoder is None:
            layer = TransformerEncoderLayer(*settings, *more, dtype=dtype, device=device)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype, device=device)
            self.encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        if custom_decoder is None:
            other = TransformerDecoderLayer(*settings, *more, dtype=dtype, device=device)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype, device=device)
            self.decoder = TransformerDecoder(other, num_decoder_layers, norm)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all matrices anew."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the decoder's result for ``tgt``, which looks at the encoder's for ``src``.

        Raises:
            ShapeError: The two differ in batch size or width.
        """
        self._check(src, tgt)
        assert self.encoder is not None
        assert self.decoder is not None
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        result: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return result

    def _check(self, src: Tensor, tgt: Tensor) -> None:
        batch = 0 if self.batch_first else 1
        alike = src.ndim == tgt.ndim and (src.ndim < 3 or src.shape[batch] == tgt.shape[batch])
        if not alike or src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            layout = "[N, L, E]" if self.batch_first else "[L, N, E]"
            raise ShapeError(
                f"Transformer: src {src.spec} and tgt {tgt.spec} must both be {layout} (or [L, E]) "
                f"with one batch size and E = {self.d_model}",
                hint="" if self.batch_first else "batch_first=True for [N, L, E]",
            )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, *, dtype: DTypeLike | None = None) -> Tensor:
        """Return a mask [sz, sz] to be added: minus infinity for what comes later, else 0."""
        places = arange(arguments.integer("Transformer", "sz", sz))
        nothing = call("full", (), 0.0, dtype=dtype or "float32")
        made: Tensor = call("where", places > places.unsqueeze(-1), -math.inf, nothing)
        return made
