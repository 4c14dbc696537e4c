"""Embedding: a table with a learned vector for each index.

Takes: integers of any shape. Gives: the same shape with one more axis.
The one idea: what is similar in use gets similar vectors, because gradients pull them together.
"""

from __future__ import annotations

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments, init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.attention import embedding


class Embedding(Module):
    """A table with a learned vector for each index.

    Vectors start from a standard normal distribution, as in PyTorch.

    Args:
        num_embeddings: K, the number of different indices.
        embedding_dim: D, the size of a vector.
        padding_idx: An index that stands for nothing: its vector is 0 and stays so.
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
        *,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = arguments.integer("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = arguments.integer("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(
                    f"Embedding: padding_idx is {padding_idx}, outside a table of "
                    f"{num_embeddings} vectors"
                )
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
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

    def forward(self, input: Tensor) -> Tensor:
        """Return the vectors of indices [*S]: [*S, D]."""
        return embedding(input, self.weight, self.padding_idx)

    def scope_title(self) -> str:
        """Return ``Embedding 10 -> 3``."""
        return f"Embedding {self.num_embeddings} -> {self.embedding_dim}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
