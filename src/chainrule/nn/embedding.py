"""Embedding: a learned vector for each of a number of things.

Takes: integers [*S] (`Embedding`), or bags of them (`EmbeddingBag`). Gives: [*S, D], or [B, D].
The one idea: what things have in common shows in their vectors, because gradients pull them
together.
"""

from __future__ import annotations

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments, init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.embedding import embedding
from chainrule.ops.embedding_bag import embedding_bag


class Table(Module):
    """Base class of layers that look vectors up.

    Attributes:
        weight: [K, D].
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    sparse: bool
    weight: Parameter

    def _set_up(
        self,
        sizes: tuple[int, int],
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        dtype: DTypeLike | None,
        device: str | None,
    ) -> None:
        name = type(self).__name__
        self.num_embeddings = arguments.integer(name, "num_embeddings", sizes[0])
        self.embedding_dim = arguments.integer(name, "embedding_dim", sizes[1])
        if padding_idx is not None:
            if not -self.num_embeddings <= padding_idx < self.num_embeddings:
                raise ArgumentError(
                    f"{name}: padding_idx is {padding_idx}, outside a table of "
                    f"{self.num_embeddings} vectors"
                )
            padding_idx %= self.num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = None if max_norm is None else arguments.positive(name, "max_norm", max_norm)
        self.norm_type = arguments.number(name, "norm_type", norm_type)
        self.scale_grad_by_freq = arguments.flag(name, "scale_grad_by_freq", scale_grad_by_freq)
        if sparse:
            raise ArgumentError(
                f"{name}: sparse=True is not supported: gradients are whole tables",
                hint="leave it out",
            )
        self.sparse = False
        as_device(device or "cpu")
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = Parameter(call("zeros", shape, dtype=as_dtype(dtype or "float32")))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new vectors."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def _take_over(self, vectors: Tensor, freeze: bool) -> None:
        with no_grad():
            self.weight.copy_(vectors)
        self.weight.requires_grad = not freeze

    def scope_title(self) -> str:
        """Return ``Embedding 10 -> 3``."""
        return f"{type(self).__name__} {self.num_embeddings} -> {self.embedding_dim}"

    def _options(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.max_norm is not None:
            parts.append(f"max_norm={self.max_norm}")
        if self.norm_type != 2.0:
            parts.append(f"norm_type={self.norm_type}")
        if self.scale_grad_by_freq:
            parts.append("scale_grad_by_freq=True")
        return ", ".join(parts)


class Embedding(Table):
    """A table with a learned vector for each index.

    Vectors start from a standard normal distribution, as in PyTorch.

    Args:
        num_embeddings: K, the number of different indices.
        embedding_dim: D, the size of a vector.
        padding_idx: An index that stands for nothing: its vector is 0 and stays so.
        max_norm: Vectors that are looked up and longer are first shortened to this length.
        norm_type: Which norm measures the length.
        scale_grad_by_freq: Whether the gradient of a vector is divided by the number of times
            that it was looked up.
        sparse: Only False: gradients are whole tables here.
        dtype: Type of the vectors (default float32).
        device: Where they live.

    Attributes:
        weight: [K, D].

    Raises:
        ArgumentError: A size is no positive integer, or ``padding_idx`` is outside the table.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.Embedding(10, 3)(chainrule.tensor([[1, 2], [4, 5]])).shape
        (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        self._set_up((num_embeddings, embedding_dim), *options, dtype, device)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """Return a layer with given vectors [K, D], which are trained only if not frozen.

        Raises:
            ShapeError: The vectors are no table.
        """
        expect(embeddings.ndim == 2, "Embedding: vectors {} must be [K, D]", embeddings.spec)
        rows, width = embeddings.shape
        layer = cls(rows, width, padding_idx, dtype=embeddings.dtype)
        layer._take_over(embeddings, freeze)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """Return the vectors of indices [*S]: [*S, D]."""
        options = (self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)
        return embedding(input, self.weight, *options)

    def extra_repr(self) -> str:
        """Return the arguments."""
        first, second, *rest = self._options().split(", ")
        padding = [] if self.padding_idx is None else [f"padding_idx={self.padding_idx}"]
        return ", ".join([first, second, *padding, *rest])


class EmbeddingBag(Table):
    """One vector for each bag of indices: the sum, mean or maximum of theirs.

    The same as `Embedding` and a reduction, for bags of different lengths (words of a text).

    Args:
        num_embeddings: K, the number of different indices.
        embedding_dim: D, the size of a vector.
        max_norm: Vectors that are looked up and longer are first shortened to this length.
        norm_type: Which norm measures the length.
        scale_grad_by_freq: Whether the gradient of a vector is divided by the number of times
            that it was looked up.
        mode: ``sum``, ``mean`` or ``max``.
        sparse: Only False: gradients are whole tables here.
        include_last_offset: Whether offsets have one entry more, the end of the last bag.
        padding_idx: An index that counts for nothing.
        dtype: Type of the vectors (default float32).
        device: Where they live.

    Attributes:
        weight: [K, D].

    Raises:
        ArgumentError: A size is no positive integer, the mode is unknown, or ``padding_idx`` is
            outside the table.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> words, starts = chainrule.tensor([1, 2, 4, 5, 4]), chainrule.tensor([0, 3])
        >>> nn.EmbeddingBag(10, 3)(words, starts).shape
        (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("sum", "mean", "max"):
            raise unknown_word("EmbeddingBag mode", mode, ("sum", "mean", "max"))
        self.mode = mode
        self.include_last_offset = arguments.flag(
            "EmbeddingBag", "include_last_offset", include_last_offset
        )
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        self._set_up((num_embeddings, embedding_dim), *options, dtype, device)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, mode: str = "mean"
    ) -> EmbeddingBag:
        """Return a layer with given vectors [K, D], which are trained only if not frozen.

        Raises:
            ShapeError: The vectors are no table.
        """
        expect(embeddings.ndim == 2, "EmbeddingBag: vectors {} must be [K, D]", embeddings.spec)
        rows, width = embeddings.shape
        layer = cls(rows, width, mode=mode, dtype=embeddings.dtype)
        layer._take_over(embeddings, freeze)
        return layer

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Return [B, D] for indices [B, n], or [N] with the beginnings of the bags [B]."""
        return embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        parts = [self._options(), f"mode={self.mode!r}"]
        if self.padding_idx is not None:
            parts.append(f"padding_idx={self.padding_idx}")
        return ", ".join(parts)
