"""Parameters: the tensors of a module that training changes.

Takes: a tensor with initial values. Gives: a leaf that a module finds among its attributes.
The one idea: being a parameter is a type, so no registration is needed.
"""

from __future__ import annotations

from typing import Any, Self

from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import DTypeError
from chainrule.graph.tensor import Tensor, as_tensor


class Parameter(Tensor):
    """A tensor that belongs to a module and, by default, requires a gradient.

    Args:
        data: Initial values; a tensor's elements are shared, never changed.
        requires_grad: Whether it is trained.

    Raises:
        DTypeError: The values are not floating-point numbers but are to be trained.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> w = nn.Parameter(chainrule.zeros(3))
        >>> w.requires_grad, w.is_leaf
        (True, True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        values = as_tensor(data)
        super().__init__(values.array, values.spec)
        if requires_grad and not values.dtype.is_floating:
            raise DTypeError(
                f"Parameter: {values.spec} cannot be trained: only floating-point tensors can",
                hint="convert it (x.float()), or keep it with module.register_buffer",
            )
        self.requires_grad = requires_grad

    def astype_(self, dtype: DTypeLike) -> Self:
        """Change the dtype of this handle and of its gradient, and return it."""
        target = as_dtype(dtype)
        if target is not self.dtype:
            values = self.detach().to(target)
            self._array, self.spec = values.array, values.spec
            self._rebind_leaf(self.requires_grad)
            if self.grad is not None:
                self.grad = self.grad.detach().to(target)
        return self

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
