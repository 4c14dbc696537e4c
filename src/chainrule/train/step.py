"""Step: what is done with one batch.

Takes: a trainer and a batch. Gives: changed parameters, the model's output, the loss.
The one idea: these lines are all of training; to train in another way, copy and change them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.graph.tensor import Tensor

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

__all__ = ["Step", "train_step"]

Step = Callable[["Trainer", Any, Any], tuple[Any, Tensor]]


def train_step(trainer: Trainer, inputs: Any, targets: Any) -> tuple[Any, Tensor]:
    """Do one step of training: forward, backward, update.

    To train in another way, copy these lines, change them, and pass them as ``Trainer(step=...)``.

    Args:
        trainer: The trainer.
        inputs: Of one batch: a tensor, or a tuple of tensors.
        targets: Of one batch.

    Returns:
        The model's output and the loss.
    """
    trainer.optimizer.zero_grad()
    output = trainer.forward(inputs)
    loss = trainer.loss(output, targets)
    trainer.backward(loss)
    trainer.update()
    return output, loss
