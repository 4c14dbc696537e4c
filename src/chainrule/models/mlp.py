"""Multi-layer perceptron: linear layers with an activation between them.

Takes: a batch of examples of any shape, flattened. Gives: one number a class, or the prediction.
The one idea: stacked linear layers are one linear layer; the activation makes depth count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from chainrule import nn
from chainrule.graph.tensor import Tensor

Activation = Literal["relu", "sigmoid", "tanh", "gelu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


class MLP(nn.Module):
    """A multi-layer perceptron (Rumelhart, Hinton & Williams 1986).

    Args:
        input_shape: Shape of one example, without the batch axis.
        n_outputs: Number of classes, or of predicted values.
        hidden: Width of each hidden layer.
        activation: Non-linearity after each hidden layer.
        dropout: Probability of dropping a hidden unit in training.

    Example:
        >>> import chainrule
        >>> from chainrule.models import MLP
        >>> model = MLP((1, 28, 28), 10, hidden=(100,))
        >>> model(chainrule.zeros((2, 1, 28, 28))).shape
        (2, 10)
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_outputs: int,
        *,
        hidden: Sequence[int] = (100,),
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
        width = math.prod(input_shape)
        for size in hidden:
            layers += [nn.Linear(width, size), _ACTIVATIONS[activation]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        layers.append(nn.Linear(width, n_outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores.

        Args:
            x: [N, *input_shape].

        Returns:
            [N, n_outputs]; logits for classification.
        """
        result: Tensor = self.layers(x)
        return result
