"""Dropout: units left out by chance during training (Srivastava et al. 2014).

Takes: any tensor. Gives: in training the same with elements set to 0 and the rest scaled up.
The one idea: a unit cannot rely on others that may be missing.
"""

from __future__ import annotations

from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.ops.regularization import dropout


class Dropout(Module):
    """Set each element to 0 with probability p in training, and scale the others by 1/(1 - p).

    Nothing happens in use (`Module.eval`); the scaling keeps the mean the same.

    Args:
        p: Probability of an element to be dropped.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Raises:
        ArgumentError: p is not a number from 0 to 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = arguments.number("Dropout", "p", p, low=0.0, high=1.0)
        self.inplace = arguments.flag("Dropout", "inplace", inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, in training with elements dropped."""
        return dropout(input, self.p, self.training)

    def scope_title(self) -> str:
        """Return ``Dropout 0.5``."""
        return f"Dropout {self.p:g}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"p={self.p}, inplace={self.inplace}"
