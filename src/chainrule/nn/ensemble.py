"""Ensemble: several models that vote.

Takes: models of one task. Gives: a model whose prediction is the mean of theirs.
The one idea: models trained from different beginnings make different mistakes; their mean makes
fewer (Hansen & Salamon 1990; Lakshminarayanan, Pritzel & Blundell 2017).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor
from chainrule.nn.containers import ModuleList
from chainrule.nn.module import Module

MEANS = ("logits", "probabilities", "values")


class Ensemble(Module):
    """Averages the predictions of several models.

    ``mean`` says of what: ``probabilities`` softmaxes each output over axis 1 and returns the
    logarithm of the mean, which cross entropy and accuracy take as they take logits; ``logits`` and
    ``values`` (regression) return the mean of the outputs themselves.

    Args:
        models: The models; their parameters are the ensemble's.
        mean: ``probabilities``, ``logits`` or ``values``.

    Raises:
        ArgumentError: There are no models, or ``mean`` is another word.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> models = [nn.Linear(3, 2) for _ in range(5)]
        >>> ensemble = Ensemble(models)
        >>> ensemble(chainrule.zeros((4, 3))).exp().sum(1).round(decimals=3).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        models: Iterable[Module],
        mean: Literal["probabilities", "logits", "values"] = "probabilities",
    ) -> None:
        super().__init__()
        members = list(models)
        if not members:
            raise ArgumentError("Ensemble: got no models")
        for member in members:
            if not isinstance(member, Module):
                raise ArgumentError(
                    f"Ensemble: got {type(member).__name__}, expected models",
                    hint="Ensemble([model_a, model_b])",
                )
        if mean not in MEANS:
            raise unknown_word("mean", str(mean), MEANS)
        self.models = ModuleList(members)
        self.mean = mean

    def forward(self, *args: Any) -> Tensor:
        """Return the mean prediction of all models."""
        outputs = [model(*args) for model in self.models]
        if self.mean != "probabilities":
            return _mean(outputs)
        logs = call("stack", [call("log_softmax", output, 1) for output in outputs])
        # log of the mean of probabilities, without leaving logarithms: small ones stay exact.
        return call("logsumexp", logs, 0) - call("log", call("full", (), float(len(outputs))))

    def extra_repr(self) -> str:
        """Return how the predictions are averaged."""
        return f"mean={self.mean}"


def _mean(outputs: list[Tensor]) -> Tensor:
    total = outputs[0]
    for output in outputs[1:]:
        total = total + output
    return total / len(outputs)
