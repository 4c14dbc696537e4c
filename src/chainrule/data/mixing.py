"""Mixing: batches whose examples are blends of two, with blended targets.

Takes: batches (inputs, targets). Gives: batches of the same size, targets as soft classes.
The one idea: between two examples a network should answer between their targets; what it has not
seen it must not be sure of.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from chainrule.core.dtype import as_dtype
from chainrule.core.errors import ArgumentError, DataError, ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.ops.generator import Generator, default_generator
from chainrule.ops.random import rand, randn, randperm

__all__ = ["CutMix", "MixUp", "MixedLoader"]


class Box(NamedTuple):
    """A rectangle of pixels: rows top to bottom, columns left to right, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int


class Mixing(ABC):
    """Base class of mixings of two examples.

    Args:
        alpha: Of the distribution Beta(alpha, alpha) of the first example's share: 1 is uniform,
            smaller ones leave most examples nearly alone.
        num_classes: K; needed for targets that are class indices.
        generator: Source of random numbers; None: the default one.

    Raises:
        ArgumentError: ``alpha`` is not positive, or K is below 2.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        num_classes: int | None = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        name = type(self).__name__
        if (
            isinstance(alpha, bool)
            or not isinstance(alpha, int | float)
            or not 0 < alpha < math.inf
        ):
            raise ArgumentError(f"{name}: alpha is {alpha!r}, expected a positive number")
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 2):
            raise ArgumentError(
                f"{name}: num_classes is {num_classes!r}, expected an integer of at least 2"
            )
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self.generator = generator

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch in which each example is mixed with another one of it.

        Args:
            inputs: [N, ...] of a floating type.
            targets: Class indices [N], probabilities [N, K], or numbers [N, ...].

        Returns:
            Inputs of the same shape, and targets as floating-point numbers: [N, K] for classes.

        Raises:
            DataError: Inputs and targets are not a batch, or class indices come without
                ``num_classes`` or outside of it.
        """
        inputs, targets = as_tensor(inputs), as_tensor(targets)
        name = type(self).__name__
        if not inputs.ndim or not targets.ndim or inputs.shape[0] != targets.shape[0]:
            raise DataError(
                f"{name}: inputs {inputs.spec} and targets {targets.spec} are no batch: the first "
                "axis of both runs over the examples"
            )
        if not inputs.dtype.is_floating:
            raise DataError(
                f"{name}: inputs {inputs.spec} hold whole numbers, which cannot be blended",
                hint="inputs.float() / 255 for images of bytes",
            )
        soft = self._soft(targets)
        partner = randperm(inputs.shape[0], generator=self.generator)
        return self.mixed(inputs, soft, partner, self.draw())

    @abstractmethod
    def mixed(
        self, inputs: Tensor, targets: Tensor, partner: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        """Return the batch mixed with examples ``partner`` [N], of which 1 - share comes."""

    def draw(self) -> float:
        """Return a share from Beta(alpha, alpha): the share of one of two gamma numbers."""
        first, second = _log_gamma_number(self), _log_gamma_number(self)
        return 1.0 / (1.0 + math.exp(min(second - first, 700.0)))

    def _soft(self, targets: Tensor) -> Tensor:
        """Return targets that can be blended."""
        if targets.dtype.is_floating:
            return targets
        name = type(self).__name__
        if self.num_classes is None or targets.ndim != 1:
            raise DataError(
                f"{name}: targets {targets.spec} are class indices, which cannot be blended",
                hint=f"{name}(num_classes=10) makes them probabilities [N, 10]",
            )
        low, high = int(targets.min().item()), int(targets.max().item())
        if low < 0 or high >= self.num_classes:
            wrong = low if low < 0 else high
            raise DataError(
                f"{name}: target {wrong} is none of the {self.num_classes} classes, which are "
                f"numbered 0 to {self.num_classes - 1}"
            )
        return call("one_hot", targets, self.num_classes).to(as_dtype("float32"))


class MixUp(Mixing):
    """Blends of two examples: λ x + (1 - λ) x', and so for the targets.

    It smooths decisions between classes and resists wrong labels. The training loss rises with
    it, since its targets are uncertain; compare networks on data that are not mixed.

    Example:
        >>> import chainrule as cr
        >>> from chainrule.data import MixUp
        >>> mix = MixUp(0.2, num_classes=3, generator=cr.Generator(0))
        >>> inputs, targets = mix(cr.rand(4, 1, 8, 8), cr.tensor([0, 2, 1, 1]))
        >>> inputs.shape, targets.shape
        ((4, 1, 8, 8), (4, 3))

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization" (alpha 0.1 to 0.4).
    """

    def mixed(
        self, inputs: Tensor, targets: Tensor, partner: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        """Return share x + (1 - share) x'."""
        return _blend(inputs, partner, share), _blend(targets, partner, share)


class CutMix(Mixing):
    """Images [N, C, H, W] with a rectangle of another one; targets in proportion to the area.

    Sides are sqrt(1 - λ) of the image's, the middle lies anywhere, and what hangs over is cut
    off. Unlike a rectangle of zeros it wastes no pixels.

    Source: Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers with
    localizable features" (alpha 1).
    """

    def mixed(
        self, inputs: Tensor, targets: Tensor, partner: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        """Return the images with the rectangle of a share 1 - ``share`` of their area."""
        if inputs.ndim != 4:
            raise ShapeError(f"CutMix: inputs {inputs.spec} must be images [N, C, H, W]")
        height, width = inputs.shape[2:]
        row, column = (float(v) for v in rand(2, generator=self.generator).tolist())
        box = self.box(height, width, share, row, column)
        rows, columns = call("arange", height), call("arange", width)
        inside = ((rows >= box.top) & (rows < box.bottom)).unsqueeze(1)
        inside = inside & ((columns >= box.left) & (columns < box.right))
        images = call("where", inside, call("take", inputs, partner, 0), inputs)
        area = (box.bottom - box.top) * (box.right - box.left)
        return images, _blend(targets, partner, 1.0 - area / (height * width))

    def box(self, height: int, width: int, share: float, row: float, column: float) -> Box:
        """Return the rectangle round a point given as parts of height and width."""
        part = math.sqrt(1.0 - share) / 2
        middle, centre = int(row * height), int(column * width)
        tall, wide = int(part * height), int(part * width)
        return Box(
            max(middle - tall, 0),
            min(middle + tall, height),
            max(centre - wide, 0),
            min(centre + wide, width),
        )


class MixedLoader:
    """The batches of a loader, each of them mixed: for a `Trainer`, in the place of the loader.

    Args:
        loader: Gives batches (inputs, targets).
        mixing: A `MixUp` or `CutMix`.

    Example:
        >>> import numpy as np
        >>> from chainrule.data import DataLoader, MixedLoader, MixUp, TensorDataset
        >>> images, labels = np.zeros((8, 4), np.float32), np.arange(8) % 2
        >>> loader = DataLoader(TensorDataset(images, labels), batch_size=4)
        >>> [y.shape for _, y in MixedLoader(loader, MixUp(num_classes=2))]
        [(4, 2), (4, 2)]
    """

    def __init__(self, loader: Any, mixing: Mixing) -> None:
        self.loader = loader
        self.mixing = mixing
        self.dataset = getattr(loader, "dataset", None)
        self.batch_size = getattr(loader, "batch_size", None)
        self.drop_last = getattr(loader, "drop_last", False)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        batches = iter(self.loader)
        try:
            for inputs, targets in batches:
                yield self.mixing(inputs, targets)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs."""
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on in mid-epoch: the loader's state and the generator's."""
        held = self.loader.state_dict() if hasattr(self.loader, "state_dict") else None
        return {"loader": held, "generator": self._generator().get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        if state["loader"] is not None:
            self.loader.load_state_dict(state["loader"])
        self._generator().set_state(state["generator"])

    def _generator(self) -> Generator:
        return self.mixing.generator or default_generator()


def _blend(x: Tensor, partner: Tensor, share: float) -> Tensor:
    return x * share + call("take", x, partner, 0) * (1.0 - share)


def _log_gamma_number(mixing: Mixing) -> float:
    """Return the logarithm of a number from Gamma(alpha, 1) (Marsaglia & Tsang 2000).

    As a logarithm, since for small alpha the number itself is often 0 in floating point.
    """
    alpha, generator = mixing.alpha, mixing.generator
    d = (alpha + 1.0 if alpha < 1.0 else alpha) - 1.0 / 3.0
    while True:
        x = float(randn(1, dtype="float64", generator=generator).item())
        # 1 - u lies in (0, 1], so its logarithm is finite.
        u, w = (1.0 - v for v in rand(2, dtype="float64", generator=generator).tolist())
        cube = (1.0 + x / math.sqrt(9.0 * d)) ** 3
        if cube > 0 and math.log(u) < 0.5 * x * x + d - d * cube + d * math.log(cube):
            found = math.log(d * cube)
            return found + math.log(w) / alpha if alpha < 1.0 else found
