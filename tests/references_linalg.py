"""References for linear algebra, differences and sets: torch.linalg throughout.

LAPACK leaves the signs of vectors open, so PyTorch's factors get the signs of NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import torch
except ImportError:  # every test that uses a reference is skipped then
    torch = None

Tensor = Any


def symmetric(x: Tensor) -> Tensor:
    return (x + x.mT) / 2


def packed(x: Tensor, *factors: Tensor) -> Tensor:
    """Return factors one after another in the last axis."""
    batch = x.shape[:-2]
    sizes = [factor.numel() // max(1, batch.numel()) for factor in factors]
    return torch.cat([f.reshape(*batch, n) for f, n in zip(factors, sizes, strict=True)], -1)


def signs(ours: Any, theirs: Tensor, axis: int) -> Tensor:
    """Return 1 or -1 for each vector, by which PyTorch's becomes NumPy's."""
    products = (torch.as_tensor(np.asarray(ours)) * theirs.detach()).sum(axis, keepdim=True)
    return torch.where(products < 0, -1.0, 1.0)


def eigh(x: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(symmetric(x))
    ours = np.linalg.eigh(symmetric(x.detach()).numpy()).eigenvectors
    return packed(x, values, vectors * signs(ours, vectors, -2))


def svd(x: Tensor, *, full_matrices: bool) -> Tensor:
    u, s, vh = torch.linalg.svd(x, full_matrices=full_matrices)
    ours = np.linalg.svd(x.detach().numpy(), full_matrices=full_matrices)
    return packed(x, u * signs(ours.U, u, -2), s, vh * signs(ours.Vh, vh, -1))


def qr(x: Tensor, *, mode: str) -> Tensor:
    q, r = torch.linalg.qr(x, mode=mode)
    sign = signs(np.linalg.qr(x.detach().numpy(), mode=mode).Q, q, -2)
    return packed(x, q * sign, r * sign.mT)


def cofactors(x: Tensor) -> Tensor:
    if x.numel() == 0:
        return x.clone()
    return torch.linalg.det(x)[..., None, None] * torch.linalg.inv(x).mT


def solve(a: Tensor, b: Tensor, *, triangle: str = "") -> Tensor:
    if triangle:
        return torch.linalg.solve_triangular(a, b, upper=triangle == "upper")
    return torch.linalg.solve(a, b)


def cond(x: Tensor, *, p: Any = None) -> Tensor:
    if p in (None, 2, -2):
        return torch.linalg.cond(x, p)
    # torch.linalg.cond fails in its own backward pass for other norms.
    return torch.linalg.matrix_norm(x, p) * torch.linalg.matrix_norm(torch.linalg.inv(x), p)


def triangular(a: Tensor, b: Tensor, **attrs: Any) -> Tensor:
    return torch.linalg.solve_triangular(a, b, **attrs)


def named(function: str) -> Callable[..., Tensor]:
    def reference(*inputs: Tensor, **attrs: Any) -> Tensor:
        return getattr(torch.linalg, function)(*inputs, **attrs)

    return reference


def trace(x: Tensor, *, offset: int = 0) -> Tensor:
    return torch.diagonal(x, offset, -2, -1).sum(-1)


def diff(x: Tensor, *, n: int = 1, axis: int = -1) -> Tensor:
    return torch.diff(x, n, axis)


REFERENCES: dict[str, Callable[..., Any]] = {
    **{name: named(name) for name in ("det", "inv", "svdvals", "matrix_power", "matrix_norm")},
    **{name: named(name) for name in ("matrix_rank", "vander")},
    "cholesky": lambda x: torch.linalg.cholesky(symmetric(x)),
    "cofactors": cofactors,
    "cross": lambda x, y, **attrs: torch.linalg.cross(*torch.broadcast_tensors(x, y), **attrs),
    "diff": diff,
    "eigh": eigh,
    "eigvalsh": lambda x: torch.linalg.eigvalsh(symmetric(x)),
    "isin": lambda x, y, **attrs: torch.isin(x, y, **attrs),
    "matrix_cond": cond,
    "pinv": lambda x, atol, rtol: torch.linalg.pinv(x, atol=atol.detach(), rtol=rtol.detach()),
    "qr": qr,
    "slogdet": lambda x: torch.stack(tuple(torch.linalg.slogdet(x)), -1),
    "solve": solve,
    "solve_triangular": triangular,
    "svd": svd,
    "trace": trace,
}
