"""References of the element-wise, creation and random ops: PyTorch, NumPy, and the definition.

Each entry takes PyTorch tensors in the order of the op's inputs and its attributes by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import torch
except ImportError:  # the tests that read this table skip themselves
    torch = None  # type: ignore[assignment]

from chainrule.core.dtype import DType

Reference = Callable[..., Any]


def named(name: str) -> Reference:
    """Return PyTorch's function of a name, looked up when it is called."""

    def call(*inputs: Any, **attrs: Any) -> Any:
        return getattr(torch, name)(*inputs, **attrs)

    return call


def torch_dtype(dtype: DType) -> Any:
    return getattr(torch, dtype.name.rstrip("_"))


def full(*, shape: tuple[int, ...], value: float, dtype: DType) -> Any:
    filled = torch.full(shape, value, dtype=torch_dtype(dtype))
    return filled.float() if dtype.is_half else filled


def arange(*, start: float, step: float, count: int, dtype: DType) -> Any:
    return torch.as_tensor(np.asarray([start + i * step for i in range(count)], dtype.storage))


def linspace(
    *, start: float, stop: float, num: int, endpoint: bool = True, dtype: DType | None = None
) -> Any:
    kind = np.float32 if dtype is None else dtype.storage
    return np.linspace(start, stop, num, endpoint=endpoint).astype(kind)


def eye(*, n_rows: int, n_cols: int | None = None, k: int = 0) -> Any:
    return np.eye(n_rows, n_cols, k, dtype=np.float32)


def astype(x: Any, *, dtype: DType) -> Any:
    cast = x.to(torch_dtype(dtype))
    return cast.float() if dtype.is_half else cast


def clip(x: Any, low: Any, high: Any) -> Any:
    # Broadcast first: PyTorch's own gradient fails where the bounds widen the shape.
    return torch.clamp(*torch.broadcast_tensors(x, low, high))


def sign(x: Any) -> Any:
    # NaN stays NaN by the array API standard; PyTorch gives 0.
    return torch.where(torch.isnan(x), x, torch.sign(x)) if x.is_floating_point() else x.sign()


def where(condition: Any, x: Any, y: Any) -> Any:
    return torch.where(condition, x, y)


def random_bits(state: Any, *, shape: tuple[int, ...], dtype: DType) -> Any:
    """Philox4x32-10 with Python's integers, word by word, after Salmon et al. 2011, section 2.2."""
    key, low, high = (int(word) % 2**64 for word in state)
    count = int(np.prod(shape)) * dtype.itemsize // 4
    words: list[int] = []
    while len(words) < count:
        counter = ((high << 64 | low) + len(words) // 4) % 2**128
        words.extend(philox_block(key, counter))
    if dtype.itemsize == 8:
        pairs = zip(words[0:count:2], words[1:count:2], strict=True)
        words = [a | b << 32 for a, b in pairs]
    made = np.asarray(words[: int(np.prod(shape))], dtype.storage).reshape(shape)
    return torch.from_numpy(made.copy())


def philox_block(key: int, counter: int) -> list[int]:
    c = [counter >> 32 * i & 0xFFFFFFFF for i in range(4)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (second >> 32) ^ c[1] ^ k[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ c[3] ^ k[1],
            first & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


_SAME_NAME = (
    *("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "maximum", "minimum"),
    *("negative", "abs", "pow", "sqrt", "rsqrt", "square", "reciprocal", "exp2"),
    *("copysign", "exp", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "sigmoid", "tanh"),
    *("relu", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh"),
    *("acosh", "atanh", "hypot", "erf", "erfc", "erfinv", "floor", "ceil", "round", "trunc"),
    *("less", "less_equal", "greater", "greater_equal", "not_equal", "logical_and", "logical_or"),
    *("logical_xor", "logical_not", "isnan", "isinf", "isfinite", "signbit", "bitwise_and"),
    *("bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "clone"),
)

REFERENCES: dict[str, Reference] = {name: named(name) for name in _SAME_NAME} | {
    "equal": named("eq"),
    "bitwise_invert": named("bitwise_not"),
    "positive": named("clone"),
    "where": where,
    "clip": clip,
    "sign": sign,
    "astype": astype,
    "full": full,
    "arange": arange,
    "linspace": linspace,
    "eye": eye,
    "tril": lambda x, k=0: torch.tril(x, k),
    "triu": lambda x, k=0: torch.triu(x, k),
    "random_bits": random_bits,
}
