"""Compiled: steps and forward passes of a trainer as native programs.

Takes: functions of tensors. Gives: the same functions compiled, or as they are where that fails.
The one idea: a model that Python has to look into while it runs still trains, and the reason why
it is not compiled is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

from chainrule.core.errors import ChainruleError
from chainrule.graph.tracing import TraceError
from chainrule.nn.module import Module
from chainrule.runtime.compile import Compiled
from chainrule.train.batches import call_model

__all__ = ["WhereItCan", "forward_of"]

# Forward passes of models that have been evaluated.
_forwards: WeakKeyDictionary[Module, WhereItCan] = WeakKeyDictionary()


class WhereItCan:
    """A function that runs compiled if it can be traced, and else as it is.

    Args:
        function: A function of tensors.
        say: Called once with the reason, if it cannot be compiled.
    """

    def __init__(
        self, function: Callable[..., Any], say: Callable[[str], None] | None = None
    ) -> None:
        self.function = function
        self._compiled: Compiled[..., Any] | None = Compiled(function)
        self._say = say

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        if self._compiled is None:
            return self.function(*args)
        try:
            return self._compiled(*args)
        except TraceError as error:
            self._compiled = None
            if self._say is not None:
                self._say(f"not compiled, so it runs more slowly: {_one_line(error)}")
            return self.function(*args)


def forward_of(model: Module) -> WhereItCan:
    """Return the compiled forward pass of a model: ``forward_of(model)(inputs)``."""
    known = _forwards.get(model)
    if known is None:
        # The program must not keep the model alive, or the table would hold it for good.
        weak = ref(model)

        def forward(inputs: Any) -> Any:
            return call_model(weak(), inputs)

        known = _forwards[model] = WhereItCan(forward)
    return known


def _one_line(error: ChainruleError) -> str:
    return "; ".join((error.message, *error.context))
