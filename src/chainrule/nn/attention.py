"""Multi-head attention: several attentions side by side, each with projections of its own.

Takes: queries, keys, values [L, N, E] (or [N, L, E], or [L, E]). Gives: [L, N, E], and weights.
The one idea: a head looks for one kind of relation; heads share the width between them, so
several cost no more than one (Vaswani et al. 2017).
"""

from __future__ import annotations

import math

from chainrule.core.device import as_device
from chainrule.core.dtype import DType, DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.core.shape import Shape
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments, init
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.attention import attention_weights, scaled_dot_product_attention
from chainrule.ops.contraction import linear, matmul
from chainrule.ops.creation import arange, zeros
from chainrule.ops.joining import concat
from chainrule.ops.regularization import dropout

NAME = "MultiheadAttention"


class MultiheadAttention(Module):
    """Concat(head_1, ..., head_H) W_O with head_i = Attention(Q W_i, K W_i, V W_i).

    Masks are as in PyTorch: *True means left out*, the opposite of the ``attn_mask`` of
    `scaled_dot_product_attention`. A query for which everything is left out gets zeros from every
    head (with ``need_weights`` PyTorch gives NaN).

    Args:
        embed_dim: E, width of queries and of the result.
        num_heads: H; each head is E / H wide.
        dropout: Probability of leaving a weight out while training.
        bias: Whether projections have a bias.
        add_bias_kv: Adds a learned key and value that every query may look at.
        add_zero_attn: Adds a key and value of zeros.
        kdim: Width of keys (default: E).
        vdim: Width of values (default: E).
        batch_first: Whether the batch is the first axis, [N, L, E], instead of the second.
        dtype: Type of the parameters (default float32).
        device: Where they live.

    Attributes:
        in_proj_weight: Projections of queries, keys and values on top of each other, [3 E, E];
            None if keys or values have widths of their own.
        q_proj_weight: Otherwise the projection of queries, [E, E].
        k_proj_weight: That of keys, [E, kdim].
        v_proj_weight: That of values, [E, vdim].
        in_proj_bias: [3 E], or None.
        out_proj: W_O, a `Linear`.

    Raises:
        ArgumentError: ``embed_dim`` does not split evenly into heads, or a number is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> layer = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = chainrule.zeros((4, 5, 8))
        >>> found, weights = layer(x, x, x)
        >>> found.shape, weights.shape
        ((4, 5, 8), (4, 5, 5))

    Source: Vaswani et al. 2017, "Attention is all you need".
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.embed_dim = arguments.integer(NAME, "embed_dim", embed_dim)
        self.num_heads = arguments.integer(NAME, "num_heads", num_heads)
        expect_heads(NAME, "embed_dim", self.embed_dim, "num_heads", self.num_heads)
        self.head_dim = self.embed_dim // self.num_heads
        self.dropout = arguments.number(NAME, "dropout", dropout, low=0.0, high=1.0)
        self.kdim = embed_dim if kdim is None else arguments.integer(NAME, "kdim", kdim)
        self.vdim = embed_dim if vdim is None else arguments.integer(NAME, "vdim", vdim)
        self.batch_first = arguments.flag(NAME, "batch_first", batch_first)
        self.add_zero_attn = arguments.flag(NAME, "add_zero_attn", add_zero_attn)
        arguments.flag(NAME, "bias", bias)
        arguments.flag(NAME, "add_bias_kv", add_bias_kv)
        as_device(device or "cpu")
        wanted = as_dtype(dtype or "float32")
        if not wanted.is_floating:
            raise DTypeError(f"{NAME}: dtype is {wanted.name}, expected a floating-point type")
        self._make_projections(wanted, bias=bias, more=add_bias_kv)
        self.out_proj = Linear(embed_dim, embed_dim, bias, nonlinearity="linear", dtype=wanted)
        self.reset_parameters()

    def _make_projections(self, dtype: DType, *, bias: bool, more: bool) -> None:
        width = self.embed_dim
        joint = self.kdim == width and self.vdim == width

        def made(wanted: bool, *shape: int) -> Parameter | None:
            return Parameter(call("zeros", shape, dtype=dtype)) if wanted else None

        self.in_proj_weight = made(joint, 3 * width, width)
        self.q_proj_weight = made(not joint, width, width)
        self.k_proj_weight = made(not joint, width, self.kdim)
        self.v_proj_weight = made(not joint, width, self.vdim)
        self.in_proj_bias = made(bias, 3 * width)
        self.bias_k = made(more, 1, 1, width)
        self.bias_v = made(more, 1, 1, width)

    def reset_parameters(self) -> None:
        """Draw new weights, as PyTorch does: uniform by Xavier's rule; biases of 0."""
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        for name in names:
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        for added in (self.bias_k, self.bias_v):
            if added is not None:
                init.xavier_normal_(added)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        self.out_proj.reset_parameters()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what each query has found, and how it weighted the keys.

        Args:
            query: [L, N, E], with ``batch_first`` [N, L, E], or for a single example [L, E].
            key: [S, N, kdim], and so on.
            value: [S, N, vdim], and so on.
            key_padding_mask: [N, S] (or [S]): True for keys that are padding; numbers are added
                to the scores.
            need_weights: Whether weights are returned; without, long sequences take less memory.
            attn_mask: [L, S] or [N H, L, S]: True where a query may not look; numbers are added.
            average_attn_weights: Whether the weights are averaged over heads.
            is_causal: Query i looks only at keys 0 to i. With an ``attn_mask`` this is only a
                hint that the mask says so, as in PyTorch; the mask is what counts.

        Returns:
            [L, N, E] (as the queries), and weights [N, L, S], or [N, H, L, S] for each head, or
            None.

        Raises:
            ShapeError: Shapes do not belong together.
            DTypeError: A mask holds whole numbers.
        """
        q, k, v = self._batched(query, key, value)
        batch, length, _ = q.shape
        shape = (batch, self.num_heads, length, k.shape[1])
        mask = _merged(key_padding_mask, attn_mask, shape, q.dtype, query.ndim == 2)
        causal = is_causal and attn_mask is None
        q, k, v = self._projected(q, k, v, query is key is value)
        k, v, added = self._with_more(k, v)
        if causal and (added or mask is not None):
            mask, causal = _with_causal(mask, shape), False
        if added and mask is not None:
            mask = _padded(mask, added)
        q, k, v = (self._heads(x) for x in (q, k, v))
        found, weights = self._found(q, k, v, mask, causal, need_weights)
        found = found.transpose(1, 2).reshape((batch, length, self.embed_dim))
        result = self.out_proj(found)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if query.ndim == 2:
            return result.squeeze(0), None if weights is None else weights.squeeze(0)
        return result if self.batch_first else result.transpose(0, 1), weights

    # --- parts --------------------------------------------------------------------------

    def _batched(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as [N, L, E], after checking them."""
        layout = "[N, L, E]" if self.batch_first else "[L, N, E]"
        named = (("query", query, self.embed_dim), ("key", key, self.kdim))
        for name, x, width in (*named, ("value", value, self.vdim)):
            if x.ndim not in (2, 3) or x.ndim != query.ndim:
                raise ShapeError(
                    f"{NAME}: {name} {x.spec} has {x.ndim} axes, expected {layout} for all, or "
                    "[L, E] for all",
                )
            if x.shape[-1] != width:
                raise ShapeError(
                    f"{NAME}: {name} {x.spec} is {x.shape[-1]} wide, expected {width}",
                    hint="" if name == "query" else f"{name[0]}dim={x.shape[-1]}, if it is meant",
                )
        if query.ndim == 2:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        elif not self.batch_first:
            one = query is key is value
            query = query.transpose(0, 1)
            key, value = (query, query) if one else (key.transpose(0, 1), value.transpose(0, 1))
        if key.shape[:2] != value.shape[:2] or query.shape[0] != key.shape[0]:
            raise ShapeError(
                f"{NAME}: query {query.spec}, key {key.spec}, value {value.spec} (as [N, L, E]) "
                "must have one batch size, and keys as many positions as values",
                hint="" if self.batch_first else "batch_first=True for [N, L, E]",
            )
        return query, key, value

    def _projected(
        self, q: Tensor, k: Tensor, v: Tensor, one: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the projections; those of the same input are one product."""
        width, bias = self.embed_dim, self.in_proj_bias
        if self.in_proj_weight is not None and one:
            first, second, third = linear(q, self.in_proj_weight, bias).split(width, -1)
            return first, second, third
        parts = (None, None, None) if bias is None else bias.split(width)
        if self.in_proj_weight is not None:
            weights: tuple[Tensor, ...] = self.in_proj_weight.split(width)
        else:
            own = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            weights = tuple(w for w in own if w is not None)
        q, k, v = (linear(x, w, b) for x, w, b in zip((q, k, v), weights, parts, strict=True))
        return q, k, v

    def _with_more(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return keys and values with those that are added, and how many there are."""
        batch, _, width = k.shape
        added = 0
        if self.bias_k is not None and self.bias_v is not None:
            k = concat([k, self.bias_k.expand((batch, 1, width))], 1)
            v = concat([v, self.bias_v.expand((batch, 1, width))], 1)
            added += 1
        if self.add_zero_attn:
            nothing = zeros((batch, 1, width), dtype=k.dtype)
            k, v = concat([k, nothing], 1), concat([v, nothing], 1)
            added += 1
        return k, v, added

    def _found(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, wanted: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return what heads find, [N, H, L, D], and the weights if they are wanted."""
        p = self.dropout if self.training else 0.0
        if not wanted:
            return scaled_dot_product_attention(q, k, v, mask, p, causal), None
        weights = attention_weights(q * (1.0 / math.sqrt(self.head_dim)), k, mask, causal)
        weights = dropout(weights, p)
        return matmul(weights, v), weights

    def _heads(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        return x.reshape((batch, length, self.num_heads, self.head_dim)).transpose(1, 2)

    def scope_title(self) -> str:
        """Return ``MultiheadAttention 128, 4 heads``."""
        return f"{NAME} {self.embed_dim}, {self.num_heads} heads"

    def extra_repr(self) -> str:
        """Return the arguments."""
        parts = [f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"]
        parts += [f"dropout={self.dropout}"] if self.dropout else []
        parts += ["batch_first=True"] if self.batch_first else []
        return ", ".join(parts)


def expect_heads(layer: str, name: str, width: int, heads_name: str, heads: int) -> None:
    """Check that a width splits evenly into heads.

    Raises:
        ArgumentError: It does not.
    """
    if width % heads:
        fitting = [n for n in range(1, width + 1) if width % n == 0]
        nearest = min(fitting, key=lambda n: (abs(n - heads), n))
        larger = math.ceil(width / heads) * heads
        raise ArgumentError(
            f"{layer}: {name}={width} does not split evenly into {heads_name}={heads}",
            hint=f"{heads_name}={nearest}, or {name}={larger}",
        )


# --- masks: booleans say where a query may look, numbers are added to scores -------------------


def _merged(
    padding: Tensor | None, mask: Tensor | None, shape: Shape, dtype: DType, single: bool
) -> Tensor | None:
    """Return both masks as one that broadcasts to the scores [N, H, L, S], or None."""
    batch, heads, length, keys = shape
    found = []
    if mask is not None:
        fits = mask.shape in ((length, keys), (batch * heads, length, keys))
        _check_mask("attn_mask", mask, fits, f"[{length}, {keys}] or [{batch * heads}, ..., ...]")
        found.append(mask if mask.ndim == 2 else mask.reshape(shape))
    if padding is not None:
        wanted = ((keys,),) if single else ((batch, keys),)
        _check_mask("key_padding_mask", padding, padding.shape in wanted, str(list(wanted[0])))
        found.append(padding.reshape((batch, 1, 1, keys)))
    if all(m.dtype.kind == "bool" for m in found):
        allowed = [~m for m in found]
        return allowed[0] & allowed[1] if len(allowed) == 2 else next(iter(allowed), None)
    numbers = [_as_numbers(m, dtype) for m in found]
    return numbers[0] + numbers[1] if len(numbers) == 2 else numbers[0]


def _check_mask(name: str, mask: Tensor, fits: bool, expected: str) -> None:
    if mask.dtype.kind != "bool" and not mask.dtype.is_floating:
        raise DTypeError(
            f"{NAME}: {name} {mask.spec} holds whole numbers, expected booleans (True: left out) "
            "or real numbers (added to the scores)",
            hint=f"{name}.bool()",
        )
    if not fits:
        other = ", transposed" if mask.ndim == 2 else ""
        raise ShapeError(
            f"{NAME}: {name} {mask.spec} does not fit, expected {expected}",
            hint="queries come before keys, and all examples before the next axis" + other,
        )


def _as_numbers(mask: Tensor, dtype: DType) -> Tensor:
    if mask.dtype.kind != "bool":
        return mask
    return call("where", mask, call("full", (), -math.inf, dtype=dtype), 0.0)


def _with_causal(mask: Tensor | None, shape: Shape) -> Tensor:
    """Return a mask that leaves out later keys too."""
    rows, columns = arange(shape[-2], dtype="int32"), arange(shape[-1], dtype="int32")
    allowed = rows.unsqueeze(-1) >= columns
    if mask is None:
        return allowed
    return mask & allowed if mask.dtype.kind == "bool" else call("where", allowed, mask, -math.inf)


def _padded(mask: Tensor, added: int) -> Tensor:
    """Return a mask for more keys, which every query may look at."""
    shape = (*mask.shape[:-1], added)
    more = call("full", shape, mask.dtype.kind == "bool", dtype=mask.dtype)
    return concat([mask, more], -1)
