"""Layers that change the shape and nothing else.

Takes: any tensor. Gives: the same elements in another shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module


class Flatten(Module):
    """Merge neighbouring axes into one; by default all but the batch axis.

    Args:
        start_dim: First axis that is merged.
        end_dim: Last axis that is merged.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.Flatten()(chainrule.zeros((2, 3, 4))).shape
        (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = arguments.integer("Flatten", "start_dim", start_dim, least=-64)
        self.end_dim = arguments.integer("Flatten", "end_dim", end_dim, least=-64)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with the axes merged."""
        return call("flatten", input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis into several.

    Args:
        dim: The axis.
        unflattened_size: Their sizes; one may be -1 and is worked out.

    Raises:
        ArgumentError: A size is neither positive nor -1.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = arguments.integer("Unflatten", "dim", dim, least=-64)
        given = [
            arguments.integer("Unflatten", "unflattened_size", size, least=-1)
            for size in unflattened_size
        ]
        if 0 in given or given.count(-1) > 1:
            raise ArgumentError(
                f"Unflatten: unflattened_size is {tuple(given)}, expected positive sizes, one of "
                "them -1 at most"
            )
        self.unflattened_size = tuple(given)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with the axis split."""
        if not -input.ndim <= self.dim < input.ndim:
            raise ArgumentError(f"Unflatten: axis {self.dim} does not exist in {input.spec}")
        axis = self.dim % input.ndim
        before, after = input.shape[:axis], input.shape[axis + 1 :]
        sizes, known = self.unflattened_size, 1
        for size in sizes:
            known *= 1 if size == -1 else size
        total = input.shape[axis]
        if total % known or (-1 not in sizes and known != total):
            raise ArgumentError(
                f"Unflatten: axis {self.dim} of {input.spec} has {total} elements, which do not "
                f"split into {sizes}"
            )
        split = tuple(total // known if size == -1 else size for size in sizes)
        return input.reshape(*before, *split, *after)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
