"""Padding layers: elements added round the last axes.

Takes: [N, C, *S] or [C, *S]. Gives: the same with larger spatial axes.
The one idea: what lies beyond the edge is a choice: a constant, a mirror, the edge, the other end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import ShapeError
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.nn.padding import Mode, pad

Widths = int | Sequence[int]


class Padding(Module):
    """Base class of padding layers.

    Args:
        padding: Width on all sides, or ``(left, right)`` of the last axis, then
            ``(top, bottom)`` of the one before it, and so on.

    Raises:
        ArgumentError: There are too few or too many widths, or one is no integer. Negative
            widths, which take elements away, go with a constant only.
    """

    axes: int
    mode: Mode
    value: float = 0.0

    def __init__(self, padding: Widths) -> None:
        super().__init__()
        name, count = type(self).__name__, 2 * self.axes
        least = -(2**62) if self.mode == "constant" else 0
        self.padding = arguments.sizes(name, "padding", padding, count, least=least)

    def forward(self, input: Tensor) -> Tensor:
        """Return the padded input."""
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(
                f"{type(self).__name__}: input {input.spec} has {input.ndim} axes, expected "
                f"[C, *S] or [N, C, *S] with {self.axes} spatial axes"
            )
        constant: Any = self.value if self.mode == "constant" else None
        return pad(input, self.padding, self.mode, constant)

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"{self.padding}"


class ConstantPadding(Padding):
    """Base class of layers that add a constant; see `Padding`.

    Args:
        padding: Widths; see `Padding`.
        value: What is added.
    """

    mode = "constant"

    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """Return widths and value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPadding):
    """Add a constant round sequences [N, C, L]; see `ConstantPadding`."""

    axes = 1


class ConstantPad2d(ConstantPadding):
    """Add a constant round images [N, C, H, W]; see `ConstantPadding`."""

    axes = 2


class ConstantPad3d(ConstantPadding):
    """Add a constant round volumes [N, C, D, H, W]; see `ConstantPadding`."""

    axes = 3


class ZeroPad1d(Padding):
    """Add zeros round sequences [N, C, L]; see `Padding`."""

    axes = 1
    mode = "constant"


class ZeroPad2d(Padding):
    """Add zeros round images [N, C, H, W]; see `Padding`."""

    axes = 2
    mode = "constant"


class ZeroPad3d(Padding):
    """Add zeros round volumes [N, C, D, H, W]; see `Padding`."""

    axes = 3
    mode = "constant"


class ReflectionPad1d(Padding):
    """Mirror sequences [N, C, L] at their edges, which are not repeated; see `Padding`."""

    axes = 1
    mode = "reflect"


class ReflectionPad2d(Padding):
    """Mirror images [N, C, H, W] at their edges, which are not repeated; see `Padding`."""

    axes = 2
    mode = "reflect"


class ReflectionPad3d(Padding):
    """Mirror volumes [N, C, D, H, W] at their edges, which are not repeated; see `Padding`."""

    axes = 3
    mode = "reflect"


class ReplicationPad1d(Padding):
    """Repeat the edges of sequences [N, C, L]; see `Padding`."""

    axes = 1
    mode = "replicate"


class ReplicationPad2d(Padding):
    """Repeat the edges of images [N, C, H, W]; see `Padding`."""

    axes = 2
    mode = "replicate"


class ReplicationPad3d(Padding):
    """Repeat the edges of volumes [N, C, D, H, W]; see `Padding`."""

    axes = 3
    mode = "replicate"


class CircularPad1d(Padding):
    """Continue sequences [N, C, L] with their other ends; see `Padding`."""

    axes = 1
    mode = "circular"


class CircularPad2d(Padding):
    """Continue images [N, C, H, W] with their other ends; see `Padding`."""

    axes = 2
    mode = "circular"


class CircularPad3d(Padding):
    """Continue volumes [N, C, D, H, W] with their other ends; see `Padding`."""

    axes = 3
    mode = "circular"
