"""Measures: everything that is measured on a pass through the data.

Takes: output, targets and loss of each batch. Gives: the loss, watched losses and metrics over
the whole pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chainrule.core.errors import ArgumentError, DataError, GradientError, ShapeError
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.train.batches import Batch
from chainrule.train.means import Means
from chainrule.train.metrics import Metrics, MetricSet, check_free_name

__all__ = ["Loss", "Measures", "checked_loss"]

Loss = Callable[[Any, Any], Tensor]


class Measures:
    """The loss, losses that are only watched, and metrics.

    Args:
        loss: Called with output and target; gives a scalar. None: no loss is measured.
        metrics: Names, objects, or a dictionary of them.
        watch: Other losses by name, measured without gradient.

    Raises:
        ArgumentError: A metric is unknown, a name is used twice, or a loss is no function.
    """

    def __init__(
        self,
        loss: Loss | None = None,
        metrics: Metrics = (),
        watch: Mapping[str, Loss] | None = None,
    ) -> None:
        self.metrics = MetricSet(metrics)
        self.watch = dict(watch or {})
        self.losses = dict(self.watch) if loss is None else {"loss": loss, **self.watch}
        for name in self.watch:
            check_free_name(name, self.metrics.names)
        for name, function in self.losses.items():
            if isinstance(function, type) or not callable(function):
                written = getattr(function, "__name__", repr(function))
                raise ArgumentError(
                    f"{name}: {written} is no loss function",
                    hint=f"pass an object: {written}()"
                    if isinstance(function, type)
                    else "pass a function (output, target) -> scalar tensor: nn.MSELoss()",
                )
        self._means = Means()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all that is measured."""
        return (*self.losses, *self.metrics.names)

    @property
    def examples(self) -> int:
        """Number of examples so far."""
        return self._means.examples

    def higher_is_better(self, name: str) -> bool:
        """Return in which direction a figure improves; losses fall."""
        return name in self.metrics.names and self.metrics.higher_is_better(name)

    def update(self, output: Any, batch: Batch, loss: float | None = None) -> None:
        """Take in a batch.

        Args:
            output: What the model gave; no gradient flows from here.
            batch: The batch.
            loss: Its loss, if it is known already.
        """
        with no_grad():
            detached = output.detach() if isinstance(output, Tensor) else output
            sums: dict[str, float] = {}
            for name, function in self.losses.items():
                if name == "loss" and loss is not None:
                    value = loss
                else:
                    value = checked_loss(function(detached, batch.targets), name).item()
                # A loss that is a sum already must not be counted once an example.
                summed = getattr(function, "reduction", "mean") == "sum"
                sums[name] = value if summed else value * batch.examples
            self._means.add_sums(sums, batch.examples)
            self.metrics.update(detached, batch.targets)

    def compute(self) -> dict[str, Any]:
        """Return all values over the batches since `reset`."""
        return {**self._means.compute(), **self.metrics.compute()}

    def reset(self) -> None:
        """Forget all batches."""
        self._means.reset()
        self.metrics.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return all sums."""
        return {"means": self._means.state_dict(), "metrics": self.metrics.state_dict()}

    def load_state_dict(self, state: Any, where: str) -> None:
        """Go on from saved sums.

        Raises:
            DataError: They are of other measures, or damaged.
        """
        if not isinstance(state, dict) or set(state) != {"means", "metrics"}:
            raise DataError(f"{where}: holds no measures")
        self.metrics.load_state_dict(state["metrics"], where)
        self._means.load_state_dict(state["means"], where)


def checked_loss(loss: Any, name: str) -> Tensor:
    """Return a loss if it is a scalar tensor.

    Raises:
        GradientError: It is no tensor.
        ShapeError: It has several elements.
    """
    if not isinstance(loss, Tensor):
        raise GradientError(
            f"{name}: the function gave {type(loss).__name__}, expected a scalar tensor",
            hint="compute it with tensor operations, without .item() or .numpy()",
        )
    if loss.size != 1:
        raise ShapeError(
            f"{name}: the function gave {loss.spec}, expected a scalar",
            hint='reduce it: loss.mean(), or reduction="mean"',
        )
    return loss
