"""Padding as in `torch.nn.functional`: elements added round the last axes.

Takes: a tensor, the number of elements at both ends of each axis, the last axis first.
Gives: the larger tensor. The array function `chainrule.pad` takes the widths axis by axis instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from chainrule.core.errors import unknown_word
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.tensor import Tensor, from_numpy
from chainrule.ops.movement import pad as pad_axes

Mode = Literal["constant", "zeros", "reflect", "replicate", "circular"]
# What NumPy calls the same.
_MODES: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def pad(
    input: Tensor, pad: Sequence[int], mode: Mode = "constant", value: float | None = None
) -> Tensor:
    """Return the tensor with elements added at the ends of its last axes.

    Args:
        input: Any tensor.
        pad: Widths ``(left, right)`` of the last axis, then ``(top, bottom)`` of the one before
            it, and so on. A negative width takes elements away.
        mode: ``constant``: one value; ``reflect``: the tensor mirrored, without its edge;
            ``replicate``: its edge; ``circular``: its other end.
        value: The constant (default 0).

    Raises:
        ShapeError: The widths do not come in pairs, there are more than axes, or the tensor is
            too small to be mirrored or wrapped that far.
        ArgumentError: The mode is unknown.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.pad(chainrule.tensor([[1, 2, 3]]), (2, 0), mode="reflect").tolist()
        [[3, 2, 1, 2, 3]]
    """
    expect(
        len(pad) % 2 == 0 and len(pad) // 2 <= input.ndim,
        "pad: widths {} are not pairs for at most {} axes of {}",
        *(list(pad), input.ndim, input.spec),
        hint="F.pad(x, (left, right, top, bottom))",
    )
    pairs = [(int(lo), int(hi)) for lo, hi in zip(pad[::2], pad[1::2], strict=True)]
    if mode in ("constant", "zeros"):
        widths = [(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]
        return pad_axes(input, widths, 0.0 if value is None else value)
    if mode not in _MODES:
        raise unknown_word("pad mode", mode, ["constant", *_MODES])
    for distance, (lo, hi) in enumerate(pairs):
        axis = input.ndim - 1 - distance
        if lo or hi:
            input = _extend(input, axis, lo, hi, mode)
    return input


def _extend(x: Tensor, axis: int, lo: int, hi: int, mode: str) -> Tensor:
    size = x.shape[axis]
    off, over = (max(-lo, 0), max(-hi, 0)), (max(lo, 0), max(hi, 0))
    left = size - sum(off)
    most = {"reflect": size - 1, "circular": left}.get(mode, max(over) if size else 0)
    expect(
        (left if mode == "circular" else size + lo + hi) >= 0,
        "pad: widths {} of axis {} of {} take more elements than there are",
        *([lo, hi], axis, x.spec),
    )
    expect(
        max(over) <= most,
        "pad: widths {} of axis {} of {} are above {}, which mode {!r} allows",
        *([lo, hi], axis, x.spec, most, mode),
    )
    places = np.arange(size)
    if mode == "circular":  # what is left wraps round; the other modes continue the whole
        index = np.pad(places[off[0] : size - off[1]], over, mode="wrap")
    else:
        index = np.pad(places, over, mode=_MODES[mode])
        index = index[off[0] : len(index) - off[1]]
    return call("take", x, from_numpy(index), axis)
