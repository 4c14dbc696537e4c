"""References for movement, indexing, reductions, sorting: PyTorch, or NumPy for its own rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _torch() -> Any:
    import torch

    return torch


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _key(ranges: Any) -> tuple[Any, ...]:
    """Index tensors that broadcast to the block which ranges select."""
    torch, n = _torch(), len(ranges)
    key = []
    for axis, (start, count, step) in enumerate(ranges):
        along = start + step * torch.arange(count)
        key.append(along.reshape((-1,) + (1,) * (n - 1 - axis)))
    return tuple(key)


def _slice(x: Any, *, ranges: Any) -> Any:
    return x[_key(ranges)] if ranges else x.clone()


def _unslice(x: Any, *, shape: Any, ranges: Any) -> Any:
    return _slice_scatter(_torch().zeros(shape, dtype=x.dtype), x, ranges=ranges)


def _slice_scatter(x: Any, source: Any, *, ranges: Any) -> Any:
    return x.index_put(_key(ranges), source) if ranges else source.clone()


def _pad(x: Any, *, widths: Any, value: float) -> Any:
    flat = [width for pair in reversed(widths) for width in pair]
    return _torch().nn.functional.pad(x, flat, value=value) if flat else x.clone()


def _full_key(x: Any, indices: Any, axes: Any) -> tuple[Any, ...]:
    """Indices for every axis: found axes first, then those that are not looked up."""
    torch = _torch()
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    found = torch.broadcast_shapes(*(i.shape for i in indices))
    key: list[Any] = [None] * x.ndim
    for axis, index in zip(axes, indices, strict=True):
        wide = index.expand(found)
        key[axis] = wide.reshape(*found, *(1,) * len(rest))
    for place, axis in enumerate(rest):
        key[axis] = torch.arange(x.shape[axis]).reshape((-1,) + (1,) * (len(rest) - 1 - place))
    return tuple(key)


def _index(x: Any, *indices: Any, axes: Any, position: int, about: Any = None) -> Any:
    torch = _torch()
    block = len(torch.broadcast_shapes(*(i.shape for i in indices)))
    found = x[_full_key(x, indices, axes)]
    return found.movedim(tuple(range(block)), tuple(range(position, position + block)))


def _to_front(value: Any, indices: Any, position: int) -> Any:
    block = len(_torch().broadcast_shapes(*(i.shape for i in indices)))
    return value.movedim(tuple(range(position, position + block)), tuple(range(block)))


def _unindex(x: Any, *indices: Any, shape: Any, axes: Any, position: int) -> Any:
    zeros = _torch().zeros(shape, dtype=x.dtype)
    key = _full_key(zeros, indices, axes)
    return zeros.index_put(key, _to_front(x, indices, position), accumulate=True)


def _index_put(
    x: Any, value: Any, *indices: Any, axes: Any, position: int, unique: bool = False
) -> Any:
    """PyTorch leaves open which of equal positions stays; element by element the last one does."""
    torch = _torch()
    key = torch.broadcast_tensors(*_full_key(x, indices, axes))
    front = _to_front(value, indices, position)
    flat = [k.reshape(-1).tolist() for k in key]
    sizes = x.shape
    writer = {
        tuple(p % n for p, n in zip(place, sizes, strict=True)): number
        for number, place in enumerate(zip(*flat, strict=True))
    }
    result = x.clone()
    values = front.reshape(-1)
    for place, number in writer.items():
        result = result.index_put(tuple(torch.tensor(p) for p in place), values[number])
    return result


def _ungather(x: Any, index: Any, *, axis: int, size: int) -> Any:
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    zeros = _torch().zeros(shape, dtype=x.dtype)
    return zeros.scatter_add(axis, index % size, x)


def _reduction(name: str, *, torch_name: str = "") -> Callable[..., Any]:
    def reference(x: Any, *, axes: Any, keepdims: bool) -> Any:
        if not axes:
            return x.clone() if name not in ("any", "all") else x.bool()
        return getattr(_torch(), torch_name or name)(x, dim=axes, keepdim=keepdims)

    return reference


def _prod(x: Any, *, axes: Any, keepdims: bool) -> Any:
    if not axes:
        return x.clone()
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keepdims)
    return x


def _statistic(name: str) -> Callable[..., Any]:
    def reference(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        if name in ("var", "std"):
            options.setdefault("correction", 0.0)
        function = getattr(_torch(), name)
        return function(x, dim=_axes(x, axis), keepdim=keepdims, **options)

    return reference


def _vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    return _torch().linalg.vector_norm(x, ord, dim=_axes(x, axis), keepdim=keepdims)


def _count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.count_nonzero(x.numpy(), axis=axis, keepdims=keepdims)


def _arg(name: str) -> Callable[..., Any]:
    return lambda x, axis, keepdims: getattr(_torch(), name)(x, dim=axis, keepdim=keepdims)


def _squeeze(x: Any, axis: Any = None) -> Any:
    return x.squeeze() if axis is None else x.squeeze(axis)


def _roll(x: Any, shift: Any, axis: Any = None) -> Any:
    return x.roll(shift) if axis is None else x.roll(shift, axis)


def _repeat(x: Any, repeats: Any, axis: Any = None) -> Any:
    torch = _torch()
    counts = repeats if isinstance(repeats, int) else torch.tensor(repeats)
    return torch.repeat_interleave(x.reshape(-1) if axis is None else x, counts, axis or 0)


def _sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    return _torch().sort(x, dim=axis, descending=descending, stable=True).values


def _argsort(x: Any, *, axis: int, descending: bool) -> Any:
    return _torch().argsort(x, dim=axis, descending=descending, stable=True)


def _moveaxis(x: Any, source: Any, destination: Any) -> Any:
    return x.movedim(source, destination)


def _matrix_transpose(x: Any) -> Any:
    return x.mT


def _transpose(x: Any, axis0: int, axis1: int) -> Any:
    return x.transpose(axis0, axis1)


def _permute(x: Any, axes: Any) -> Any:
    return x.permute(axes)


def _searchsorted(x: Any, values: Any, *, side: str) -> Any:
    if x.ndim == 1:
        return np.searchsorted(x.numpy(), values.numpy(), side=side)
    pairs = zip(x.numpy(), values.numpy(), strict=True)
    return np.stack([np.searchsorted(row, wanted, side=side) for row, wanted in pairs])


REFERENCES: dict[str, Callable[..., Any]] = {
    "all": _reduction("all"),
    "any": _reduction("any"),
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
    "argsort": _argsort,
    "broadcast_to": lambda x, shape: x.broadcast_to(shape),
    "concat": lambda *tensors, axis: _torch().concat(tensors, axis),
    "count_nonzero": _count_nonzero,
    "cumprod": lambda x, axis: x.cumprod(axis),
    "cumsum": lambda x, axis: x.cumsum(axis),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: x.diagonal(offset, dim1, dim2),
    "expand": lambda x, shape: x.expand(shape),
    "expand_dims": lambda x, axis=0: x.unsqueeze(axis),
    "flatten": lambda x, start_dim=0, end_dim=-1: x.flatten(start_dim, end_dim),
    "flip": lambda x, axes: x.flip(axes),
    "gather": lambda x, index, axis: x.gather(axis, index % max(x.shape[axis], 1)),
    "index": _index,
    "index_put": _index_put,
    "logsumexp": _statistic("logsumexp"),
    "matrix_transpose": _matrix_transpose,
    "max": _reduction("max", torch_name="amax"),
    "mean": _statistic("mean"),
    "min": _reduction("min", torch_name="amin"),
    "moveaxis": _moveaxis,
    "movedim": _moveaxis,
    "narrow": lambda x, dim, start, length: x.narrow(dim, start, length),
    "one_hot": lambda x, num_classes: _torch().nn.functional.one_hot(x, num_classes),
    "pad": _pad,
    "permute": _permute,
    "permute_dims": _permute,
    "prod": _prod,
    "repeat": _repeat,
    "repeat_interleave": _repeat,
    "reshape": lambda x, shape: x.reshape(shape),
    "roll": _roll,
    "searchsorted": _searchsorted,
    "slice": _slice,
    "slice_scatter": _slice_scatter,
    "sort": _sort,
    "squeeze": _squeeze,
    "std": _statistic("std"),
    "sum": _reduction("sum"),
    "tile": lambda x, repeats: x.tile(repeats),
    "transpose": _transpose,
    "unflatten": lambda x, dim, sizes: x.unflatten(dim, sizes),
    "ungather": _ungather,
    "unindex": _unindex,
    "unslice": _unslice,
    "unsqueeze": lambda x, axis: x.unsqueeze(axis),
    "var": _statistic("var"),
    "vector_norm": _vector_norm,
}
