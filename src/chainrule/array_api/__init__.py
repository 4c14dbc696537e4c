"""The functions of the Python array API standard 2025.12, for real dtypes.

Takes: tensors. Gives: tensors, by the names, signatures and meanings of the standard.
The one idea: most functions of `chainrule` follow the standard already and stand here as they
are; the others get its signatures. Complex dtypes, the functions that need them and the extension
`fft` are left out.

Libraries written for the standard find this namespace through `Tensor.__array_namespace__`.

Next room: compiler, which turns recorded operations into programs.
"""

from __future__ import annotations

import sys
from math import e, inf, nan, pi
from types import ModuleType

from chainrule.array_api import linalg
from chainrule.array_api.creation import (
    arange,
    asarray,
    astype,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from chainrule.array_api.data_types import (
    NamespaceInfo,
    can_cast,
    finfo,
    iinfo,
    isdtype,
    result_type,
)
from chainrule.array_api.functions import (
    broadcast_shapes,
    clip,
    conj,
    cumulative_prod,
    cumulative_sum,
    diff,
    expand_dims,
    imag,
    nextafter,
    prod,
    real,
    reshape,
    searchsorted,
    squeeze,
    sum,
    take,
)
from chainrule.core.dtype import bool_ as bool
from chainrule.core.dtype import (
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from chainrule.core.errors import ArgumentError
from chainrule.ops.arithmetic import (
    abs,
    add,
    divide,
    floor_divide,
    maximum,
    minimum,
    multiply,
    negative,
    remainder,
    sign,
    subtract,
)
from chainrule.ops.axes import (
    broadcast_arrays,
    broadcast_to,
    matrix_transpose,
    moveaxis,
    permute_dims,
)
from chainrule.ops.cast import positive
from chainrule.ops.contraction import matmul, tensordot, vecdot
from chainrule.ops.gathering import nonzero, take_along_axis
from chainrule.ops.joining import concat
from chainrule.ops.logic import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    signbit,
    where,
)
from chainrule.ops.movement import flip
from chainrule.ops.pieces import repeat, roll, stack, tile, unstack
from chainrule.ops.powers import copysign, pow, reciprocal, sqrt, square
from chainrule.ops.ranges import meshgrid
from chainrule.ops.reduce import max, min
from chainrule.ops.rounding import ceil, floor, round, trunc
from chainrule.ops.sets import isin, unique_all, unique_counts, unique_inverse, unique_values
from chainrule.ops.sorting import argsort, sort
from chainrule.ops.statistics import mean, std, var
from chainrule.ops.transcendental import exp, expm1, log, log1p, log2, log10, logaddexp, tanh
from chainrule.ops.trigonometric import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    hypot,
    sin,
    sinh,
    tan,
)
from chainrule.ops.truth import all, any, argmax, argmin, count_nonzero

__array_api_version__ = "2025.12"

newaxis = None

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


def __array_namespace_info__() -> NamespaceInfo:  # noqa: N807 - the standard's name
    """Return what this namespace offers."""
    return NamespaceInfo()


def array_namespace(api_version: str | None = None) -> ModuleType:
    """Return this namespace.

    Args:
        api_version: A version of the standard that it has to follow.

    Raises:
        ArgumentError: The version is not known here.
    """
    if api_version is not None and api_version not in _VERSIONS:
        raise ArgumentError(
            f"__array_namespace__: version {api_version!r} of the array API standard is unknown",
            hint=f"known: {', '.join(_VERSIONS)}",
        )
    return sys.modules[__name__]


__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "can_cast",
    "ceil",
    "clip",
    "concat",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "divide",
    "e",
    "empty",
    "empty_like",
    "equal",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "finfo",
    "flip",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "from_dlpack",
    "full",
    "full_like",
    "greater",
    "greater_equal",
    "hypot",
    "iinfo",
    "imag",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "linalg",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "nan",
    "negative",
    "newaxis",
    "nextafter",
    "nonzero",
    "not_equal",
    "ones",
    "ones_like",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "prod",
    "real",
    "reciprocal",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "roll",
    "round",
    "searchsorted",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sort",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "tril",
    "triu",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unstack",
    "var",
    "vecdot",
    "where",
    "zeros",
    "zeros_like",
]
