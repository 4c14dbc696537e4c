"""Elements of tensors as memory that machine code writes.

Takes: shapes and dtypes. Gives: aligned arrays.
The one idea: elements of tensors never change as long as somebody else can see them, so an array's
reference count must count its views too.
"""

from __future__ import annotations

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.shape import Spec
from chainrule.runtime.blocks import aligned_memory


def aligned_empty(spec: Spec) -> Array:
    """Return an uninitialised array that owns its memory, aligned for vector loads."""
    size = spec.nbytes
    if not size:
        return np.empty(spec.shape, spec.dtype.storage)
    # Its base is no array, so NumPy lets every view of it refer to the array itself: its
    # reference count then says whether anybody else can see the elements.
    return np.ndarray(spec.shape, spec.dtype.storage, memoryview(aligned_memory(size)))
