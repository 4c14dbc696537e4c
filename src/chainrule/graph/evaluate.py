"""Evaluation: an op's definition applied to stored elements.

Takes: an op, its inputs' elements and attributes. Gives: its output's elements.
The one idea: 16-bit floating types are widened before an op and rounded once after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array, to_compute, to_storage
from chainrule.core.shape import Spec
from chainrule.graph.op import Op


def evaluate(
    op: Op, arrays: Sequence[Array], attrs: dict[str, Any], specs: tuple[Spec, ...], spec: Spec
) -> Array:
    """Return the stored elements of an op's result from those of its inputs.

    Args:
        op: The operation.
        arrays: Stored elements of its inputs.
        attrs: Its attributes.
        specs: Shape and dtype of each input.
        spec: Shape and dtype of the result.
    """
    half = spec.dtype.is_half
    for given in specs:
        half = half or given.dtype.is_half
    with np.errstate(all="ignore"):
        if half:
            wide = [to_compute(a, s.dtype) for a, s in zip(arrays, specs, strict=True)]
            return to_storage(np.asarray(op.eval(*wide, **attrs)), spec.dtype)
        return np.asarray(op.eval(*arrays, **attrs))
