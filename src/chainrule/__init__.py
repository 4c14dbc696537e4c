"""chainrule: deep learning you can see through.

Tensors and functions are here; `nn`, `optim`, `data`, `train`, `models`, `testing` are loaded when
they are first used, so that importing this package is quick.

Example:
    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x**2).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
"""

from __future__ import annotations

import importlib
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

import chainrule.ops.indexing  # noqa: F401 - x[...] is looked up in the registry
from chainrule.core.dtype import (
    DType,
    bfloat16,
    bool_,
    float16,
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
from chainrule.core.errors import (
    ArgumentError,
    ChainruleError,
    DataError,
    DTypeError,
    GradientError,
    IndexRangeError,
    MissingExtraError,
    ShapeError,
    StateError,
)
from chainrule.graph.autodiff import grad, jvp, vjp
from chainrule.graph.node import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from chainrule.graph.op import FUNCTIONS
from chainrule.graph.tensor import Tensor, as_tensor, from_numpy, tensor
from chainrule.graph.tracing import TraceError
from chainrule.ops.arithmetic import (
    abs,
    add,
    clip,
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
    broadcast_tensors,
    broadcast_to,
    expand_dims,
    flatten,
    matrix_transpose,
    moveaxis,
    movedim,
    permute_dims,
    squeeze,
    transpose,
    unflatten,
    unsqueeze,
)
from chainrule.ops.cast import astype, clone, positive
from chainrule.ops.caution import LikelyMistakeWarning
from chainrule.ops.contraction import matmul, outer, tensordot, vecdot
from chainrule.ops.control import checkpoint
from chainrule.ops.creation import (
    arange,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from chainrule.ops.cumulative import cumprod, cumsum, cumulative_prod, cumulative_sum
from chainrule.ops.differences import diff
from chainrule.ops.einsum import einsum
from chainrule.ops.gathering import (
    gather,
    nonzero,
    one_hot,
    scatter,
    scatter_add,
    take_along_axis,
)
from chainrule.ops.generator import Generator, default_generator, manual_seed
from chainrule.ops.joining import cat, concat
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
from chainrule.ops.loops import cond, scan, while_loop
from chainrule.ops.movement import expand, flip, pad, permute, reshape
from chainrule.ops.philox import random_bits
from chainrule.ops.pieces import (
    chunk,
    diagonal,
    narrow,
    repeat,
    repeat_interleave,
    roll,
    split,
    stack,
    tile,
    unbind,
    unstack,
)
from chainrule.ops.powers import copysign, exp2, pow, reciprocal, rsqrt, sqrt, square
from chainrule.ops.random import (
    bernoulli,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    truncated_normal,
    uniform,
)
from chainrule.ops.ranges import eye, linspace, meshgrid, tril, triu
from chainrule.ops.reduce import amax, amin, max, min, prod, sum
from chainrule.ops.rounding import ceil, floor, round, trunc
from chainrule.ops.selection import index_add, index_select, take
from chainrule.ops.sets import isin
from chainrule.ops.softmax import log_softmax, softmax
from chainrule.ops.sorting import argsort, searchsorted, sort, topk
from chainrule.ops.special import erf, erfc, erfinv
from chainrule.ops.statistics import logsumexp, mean, norm, std, var, vector_norm
from chainrule.ops.transcendental import (
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    relu,
    sigmoid,
    softplus,
    tanh,
)
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

if TYPE_CHECKING:
    from chainrule import array_api, data, linalg, models, nn, optim, testing, train
    from chainrule.array_api import asarray, finfo, from_dlpack, iinfo
    from chainrule.runtime.compile import compile
    from chainrule.runtime.profile import profile
    from chainrule.runtime.workers import get_num_threads, set_num_threads

__version__ = "0.1.0"

newaxis = None

# PyTorch's spellings of functions whose standard name is another.
mul = multiply
sub = subtract
div = divide
neg = negative
clamp = clip
eq = equal
ne = not_equal
lt = less
le = less_equal
gt = greater
ge = greater_equal

_LAZY_ROOMS = ("array_api", "data", "linalg", "models", "nn", "optim", "testing", "train")
# Functions that need the compiler or are seldom used, by the file that they stand in.
_LAZY_FUNCTIONS = {
    **dict.fromkeys(("asarray", "finfo", "from_dlpack", "iinfo"), "chainrule.array_api"),
    "compile": "chainrule.runtime.compile",
    **dict.fromkeys(("get_num_threads", "set_num_threads"), "chainrule.runtime.workers"),
    "profile": "chainrule.runtime.profile",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY_ROOMS:
        return importlib.import_module(f"chainrule.{name}")
    if name in _LAZY_FUNCTIONS:
        value = getattr(importlib.import_module(_LAZY_FUNCTIONS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


# Tensors find the namespace of the array API standard by this name.
FUNCTIONS["array_namespace"] = lambda version: __getattr__("array_api").array_namespace(version)

__all__ = [
    "ArgumentError",
    "ChainruleError",
    "DType",
    "DTypeError",
    "DataError",
    "Generator",
    "GradientError",
    "IndexRangeError",
    "LikelyMistakeWarning",
    "MissingExtraError",
    "ShapeError",
    "StateError",
    "Tensor",
    "TraceError",
    "__version__",
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "array_api",
    "as_tensor",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "bernoulli",
    "bfloat16",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool_",
    "broadcast_arrays",
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "ceil",
    "checkpoint",
    "chunk",
    "clamp",
    "clip",
    "clone",
    "compile",
    "concat",
    "cond",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "data",
    "default_generator",
    "diagonal",
    "diff",
    "div",
    "divide",
    "e",
    "einsum",
    "empty",
    "empty_like",
    "enable_grad",
    "eq",
    "equal",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expand",
    "expand_dims",
    "expm1",
    "eye",
    "finfo",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "gather",
    "ge",
    "get_num_threads",
    "grad",
    "greater",
    "greater_equal",
    "gt",
    "hypot",
    "iinfo",
    "index_add",
    "index_select",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "jvp",
    "le",
    "less",
    "less_equal",
    "linalg",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "lt",
    "manual_seed",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "models",
    "moveaxis",
    "movedim",
    "mul",
    "multiply",
    "nan",
    "narrow",
    "ne",
    "neg",
    "negative",
    "newaxis",
    "nn",
    "no_grad",
    "nonzero",
    "norm",
    "normal",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "permute",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "prod",
    "profile",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "random_bits",
    "randperm",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "repeat_interleave",
    "reshape",
    "roll",
    "round",
    "rsqrt",
    "scan",
    "scatter",
    "scatter_add",
    "searchsorted",
    "set_grad_enabled",
    "set_num_threads",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "sub",
    "subtract",
    "sum",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensor",
    "tensordot",
    "testing",
    "tile",
    "topk",
    "train",
    "transpose",
    "tril",
    "triu",
    "trunc",
    "truncated_normal",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unbind",
    "unflatten",
    "uniform",
    "unsqueeze",
    "unstack",
    "var",
    "vecdot",
    "vector_norm",
    "vjp",
    "where",
    "while_loop",
    "zeros",
    "zeros_like",
]
