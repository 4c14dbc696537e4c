"""Convolutional networks for small images.

Takes: images [N, C, H, W]. Gives: one logit a class.
The one idea: the same small filters look everywhere, and pooling lets the next ones see further.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule import nn
from chainrule.core.errors import ShapeError
from chainrule.graph.tensor import Tensor


class SimpleConvNet(nn.Module):
    """The convolutional network of "Deep Learning from Scratch" (Saitoh 2016, ch. 7).

    conv 5x5 (30 filters) - ReLU - max pooling 2x2 - linear 100 - ReLU - linear. Weights start
    from a normal distribution of deviation 0.01, biases from zero, as in the book.

    Args:
        input_shape: (C, H, W).
        n_outputs: Number of classes.
        filters: Number of filters.
        hidden: Width of the hidden layer.
        init_std: Deviation of the initial weights.
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (1, 28, 28),
        n_outputs: int = 10,
        *,
        filters: int = 30,
        hidden: int = 100,
        init_std: float = 0.01,
    ) -> None:
        super().__init__()
        channels, height, width = _image_shape("SimpleConvNet", input_shape, smallest=6)
        pooled = ((height - 4) // 2) * ((width - 4) // 2)
        self.conv = nn.Conv2d(channels, filters, 5)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(filters * pooled, hidden)
        self.head = nn.Linear(hidden, n_outputs)
        for layer in (self.conv, self.hidden, self.head):
            nn.init.normal_(layer.weight, std=init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, n_outputs] for images [N, C, H, W]."""
        x = self.pool(self.conv(x).relu())  # [N, filters, (H-4)/2, (W-4)/2]
        x = self.hidden(x.flatten(1)).relu()  # [N, hidden]
        logits: Tensor = self.head(x)
        return logits


class ConvNet(nn.Module):
    """The default network for images: stages of convolution, batch norm, ReLU and pooling.

    Each stage halves the image and doubles the filters until the image is 7 pixels or fewer.

    Args:
        input_shape: (C, H, W).
        n_outputs: Number of classes.
        filters: Number of filters in the first stage.
        hidden: Width of the hidden layer.
        dropout: Probability of dropping a hidden unit in training (Srivastava et al. 2014).

    Example:
        >>> import chainrule
        >>> from chainrule.models import ConvNet
        >>> ConvNet((1, 28, 28), 10)(chainrule.zeros((2, 1, 28, 28))).shape
        (2, 10)
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_outputs: int,
        *,
        filters: int = 32,
        hidden: int = 128,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        channels, height, width = _image_shape("ConvNet", input_shape, smallest=4)
        stages: list[nn.Module] = []
        while not stages or (max(height, width) > 7 and min(height, width) >= 2):
            # The bias would be subtracted again by the batch norm's mean.
            stages += [
                nn.Conv2d(channels, filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels, filters = filters, filters * 2
            height, width = height // 2, width // 2
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, n_outputs] for images [N, C, H, W]."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def _image_shape(name: str, shape: Sequence[int], *, smallest: int) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ShapeError(
            f"{name}: input_shape {tuple(shape)} is not (channels, height, width) with sides of "
            f"at least {smallest}",
            hint="images are [N, C, H, W]; for other data use MLP",
        )
    return shape[0], shape[1], shape[2]
