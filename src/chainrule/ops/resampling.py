"""Resampling: images, sequences and volumes of another size.

Takes: inputs [N, C, *S]. Gives: [N, C, *S'].
The one idea: axes are resampled one after the other, each by a small table of positions and
weights; the derivative is the same operation with the table read the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from chainrule.core.dtype import Array, int64
from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.core.shape import Shape, Spec, expect, normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import Op, Saves, composite, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, tensor
from chainrule.ir.definition import Formulas, compute, read
from chainrule.ir.expr import Axis, Expr, Ref, cast, const, where
from chainrule.ir.expr import call as function
from chainrule.ops.positions import expect_integers
from chainrule.ops.resampling_tables import Grid, table

__all__ = ["MODES", "interpolate", "resample"]

# Spatial axes of each mode, and what an axis is resampled by.
MODES: dict[str, tuple[tuple[int, ...], str]] = {
    "nearest": ((1, 2, 3), "nearest"),
    "nearest-exact": ((1, 2, 3), "nearest-exact"),
    "area": ((1, 2, 3), "area"),
    "linear": ((1,), "linear"),
    "bilinear": ((2,), "linear"),
    "trilinear": ((3,), "linear"),
    "bicubic": ((2,), "cubic"),
}


def _table_samples() -> Iterable[Sample]:
    for grid, shape, axis in (
        (Grid("linear", 3, 5), (2, 3), 1),
        (Grid("linear", 4, 3, True), (2, 4, 2), 1),
        (Grid("nearest", 3, 7), (3, 2), 0),
        (Grid("cubic", 5, 4), (1, 5), 1),
        (Grid("linear", 7, 3, antialias=True), (7,), 0),
    ):
        index, weights = table(grid, False)
        places = In(index.shape, kind="int", values=index)
        yield sample(
            In(shape),
            places,
            In(weights.shape, values=weights),
            axis=axis,
            grid=grid,
            name=str(axis),
        )


@register
class Resample(Op):
    """Along an axis, y[o] = Σ_k weights[o, k] x[index[o, k]]; see `resampling_tables.table`.

    Index and weights are those of ``grid``; they come as tensors so that they are data of a
    program, not code. A weight of 0 in a table whose rows differ in length (transposed, or with
    antialiasing) stands for nothing at all.
    """

    name = "resample"
    # x is for the derivative to the weights alone, which nobody but a test asks for.
    saves = Saves(inputs=(0, 1))
    flops_per_element = 4

    def infer(
        self,
        x: Spec,
        index: Spec,
        weights: Spec,
        *,
        axis: int,
        grid: Grid,
        transposed: bool = False,
    ) -> Spec:
        expect_integers(self.name, index)
        expect(
            len(index.shape) == 2 and weights.shape == index.shape and weights.dtype is x.dtype,
            "resample: index {} and weights {} must be tables [out, K], weights of {}",
            *(index, weights, x.dtype),
        )
        normalize_axis(self.name, axis, len(x.shape))
        rows = grid.out if transposed else grid.size
        expect(
            x.shape[axis] == rows and x.shape[axis] > 0,
            "resample: x {} has {} elements along axis {}, the table is for {}",
            *(x, x.shape[axis], axis, rows),
        )
        return Spec((*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :]), x.dtype)

    def eval(
        self,
        x: Array,
        index: Array,
        weights: Array,
        *,
        axis: int,
        grid: Grid,
        transposed: bool = False,
    ) -> Array:
        index = np.clip(index, 0, x.shape[axis] - 1)
        along = (-1, *(1,) * (x.ndim - axis - 1))
        total: Array | None = None
        for k in range(index.shape[1]):
            share = weights[:, k].reshape(along)
            term = x.take(index[:, k], axis=axis) * share
            if transposed or grid.antialias:
                term = np.where(share == 0, np.zeros((), x.dtype), term)
            total = term if total is None else total + term
        assert total is not None
        return total

    def lower(
        self, x: Ref, index: Ref, weights: Ref, *, axis: int, grid: Grid, transposed: bool = False
    ) -> Formulas | None:
        shape = (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :])

        def body(*at: Axis) -> Expr:
            total: Expr | None = None
            for k in range(index.shape[1]):
                term = _term(x, index, weights, at, axis, k, transposed or grid.antialias)
                total = term if total is None else function("add", total, term)
            assert total is not None
            return total

        return (compute(shape, x.dtype, body),)

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        x: Tensor,
        index: Tensor,
        weights: Tensor,
        *,
        axis: int,
        grid: Grid,
        transposed: bool = False,
    ) -> tuple[Tensor | None, None, Tensor | None]:
        to_x = None if x.node is None else resample(grad, grid, axis, not transposed)
        if weights.node is None:
            return to_x, None, None
        out, taps = index.shape
        taken = call("take", x, index.reshape(-1), axis)
        taken = taken.reshape(*x.shape[:axis], out, taps, *x.shape[axis + 1 :])
        others = tuple(a for a in range(x.ndim + 1) if a not in (axis, axis + 1))
        return to_x, None, (taken * grad.unsqueeze(axis + 1)).sum(others)

    def samples(self) -> Iterable[Sample]:
        return _table_samples()


_RESAMPLE = Resample()


def _term(
    x: Ref, index: Ref, weights: Ref, at: Sequence[Axis], axis: int, k: int, padded: bool
) -> Expr:
    """Return one summand of an element."""
    places: list[Axis | int] = list(at)
    places[axis] = 0
    wanted = cast(read(index, at[axis], k), int64)
    wanted = function("maximum", wanted, const(0, int64))
    wanted = function("minimum", wanted, const(x.shape[axis] - 1, int64))
    dynamic: list[Expr | None] = [None] * len(at)
    dynamic[axis] = wanted
    share = read(weights, at[axis], k)
    term = function("multiply", read(x, *places, dynamic=dynamic), share)
    if not padded:
        return term
    zero = const(0, term.dtype)
    return where(function("equal", share, zero), zero, term)


def resample(x: Tensor, grid: Grid, axis: int, transposed: bool = False) -> Tensor:
    """Return a tensor resampled along one axis, or the transpose of that linear map."""
    index, weights = table(grid, transposed)
    places, shares = tensor(index), tensor(weights, dtype=x.dtype)
    return apply(_RESAMPLE, x, places, shares, axis=axis, grid=grid, transposed=transposed)


def _samples() -> Iterable[Sample]:
    return (
        sample((1, 2, 4), size=7),
        sample((1, 1, 3, 4), scale_factor=2.0, name="twice"),
        sample((1, 1, 5, 4), size=(3, 7), mode="nearest-exact", name="exact"),
        sample((1, 2, 3), scale_factor=2.5, mode="linear", name="linear"),
        sample((1, 1, 3, 4), scale_factor=2, mode="bilinear", name="bilinear"),
        sample((1, 1, 3, 4), size=(5, 2), mode="bilinear", align_corners=True, name="corners"),
        sample((1, 1, 4, 5), size=(6, 3), mode="bicubic", name="bicubic"),
        sample((1, 1, 8, 5), size=(3, 4), mode="bicubic", antialias=True, name="antialias"),
        sample((1, 1, 2, 3, 2), size=(3, 2, 4), mode="trilinear", name="trilinear"),
        sample((1, 1, 5, 4), size=(2, 3), mode="area", name="area"),
        sample((0, 2, 4), size=3, mode="linear", name="no examples"),
    )


@composite(_samples)
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return images, sequences or volumes of another size.

    Args:
        input: [N, C, *S] with one to three spatial axes.
        size: Output sizes, or one for all axes.
        scale_factor: Instead: output size / input size, or one factor for each axis.
        mode: ``nearest`` (element floor(o S/S'); PyTorch's and OpenCV's rule),
            ``nearest-exact`` (the nearest middle; Pillow's), ``linear`` [N, C, L],
            ``bilinear`` and ``bicubic`` [N, C, H, W], ``trilinear`` [N, C, D, H, W], ``area``
            (means, as `adaptive_avg_pool2d`).
        align_corners: Lay the first and the last elements of both on each other; default: the
            outer edges.
        recompute_scale_factor: Work with the ratio of the sizes instead of ``scale_factor``,
            which differs where that is not whole.
        antialias: For ``bilinear`` and ``bicubic``: widen the kernel where the output is
            smaller, so that every input element counts.

    Returns:
        [N, C, *S']; floor(S scale_factor) where that was given.

    Raises:
        ArgumentError: The mode is unknown or for another number of axes, an option does not go
            with it, or size and scale_factor are both or neither given.
        ShapeError: The input or the output is empty along a spatial axis.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.interpolate(chainrule.tensor([[[1.0, 3.0]]]), scale_factor=2, mode="linear").tolist()
        [[[1.0, 1.5, 2.5, 3.0]]]

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing" (a = -0.75;
    -0.5 with ``antialias``).
    """
    axes = _checked(input, mode, align_corners, antialias)
    x = input if input.dtype.is_floating else call("astype", input, "float32")
    out, scales = _sizes(x.shape[2:], size, scale_factor)
    if recompute_scale_factor:
        if scale_factor is None:
            raise ArgumentError("interpolate: recompute_scale_factor=True needs scale_factor")
        scales = (None,) * axes
    _expect_positive(input, out)
    if mode == "area":
        return call(f"adaptive_avg_pool{axes}d", x, out)
    kind = MODES[mode][1]
    grids = [
        Grid(kind, before, after, bool(align_corners), scale, antialias)
        for before, after, scale in zip(x.shape[2:], out, scales, strict=True)
    ]
    return _resampled(x, grids)


def _expect_positive(input: Tensor, out: Shape) -> None:
    expect(
        min((*input.shape[2:], *out)) > 0,
        "interpolate: input {} to size {}: every spatial size must be positive",
        *(input.spec, list(out)),
    )


def _resampled(x: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Resample all spatial axes, those that shrink first: there is less to do for the others."""
    if all(map(_repeats, grids)):
        return _repeated(x, tuple(grid.out for grid in grids))
    wide = x.float() if x.dtype.is_half else x
    for axis, grid in sorted(enumerate(grids, 2), key=lambda pair: pair[1].out / pair[1].size):
        if grid.out != grid.size or grid.scale not in (None, 1.0):
            wide = resample(wide, grid, axis)
    return wide if wide.dtype is x.dtype else wide.to(x.dtype)


def _repeats(grid: Grid) -> bool:
    """Return whether the nearest elements are just each one some times over."""
    whole = grid.out % grid.size == 0 and grid.scale in (None, grid.size / grid.out)
    return grid.mode == "nearest" and whole


def _repeated(x: Tensor, out: Shape) -> Tensor:
    """Return each element as often as the sizes say, by axes of size 1 that are stretched."""
    lead = x.shape[:2]
    thin, wide = list(lead), list(lead)
    for size, target in zip(x.shape[2:], out, strict=True):
        thin += [size, 1]
        wide += [size, target // size]
    return x.reshape(thin).expand(wide).reshape(*lead, *out)


def _checked(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> int:
    """Return the number of spatial axes."""
    expect_tensor("interpolate", "input", input)
    if mode not in MODES:
        raise unknown_word("interpolate mode", mode, tuple(MODES))
    allowed, kind = MODES[mode]
    axes = input.ndim - 2
    if axes not in allowed:
        fitting = [name for name, (counts, _) in MODES.items() if axes in counts]
        raise ArgumentError(
            f"interpolate: mode={mode!r} does not fit input {input.spec} with {max(axes, 0)} "
            "spatial axes after [N, C]",
            hint=f"mode={fitting[-1]!r}" if fitting else "add batch and channels: x[None, None]",
        )
    if align_corners is not None and kind not in ("linear", "cubic"):
        raise ArgumentError(
            f"interpolate: align_corners={align_corners} has no meaning for mode={mode!r}",
            hint="leave it out",
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(
            f"interpolate: antialias=True is for the modes bilinear and bicubic, not {mode!r}"
        )
    return axes


def _sizes(
    before: Shape, size: int | Sequence[int] | None, factor: float | Sequence[float] | None
) -> tuple[Shape, tuple[float | None, ...]]:
    """Return the output's sizes, and how many input elements each output element stands for."""
    axes = len(before)
    if (size is None) == (factor is None):
        both = "both" if size is not None else "neither"
        raise ArgumentError(f"interpolate: {both} of size and scale_factor given, expected one")
    if size is not None:
        sizes = (size,) * axes if isinstance(size, int) else tuple(size)
        if len(sizes) != axes or any(not isinstance(s, int) or s < 1 for s in sizes):
            raise ArgumentError(
                f"interpolate: size={size!r}, expected a positive integer, or {axes} of them"
            )
        return sizes, (None,) * axes
    assert factor is not None
    factors = (factor,) * axes if isinstance(factor, int | float) else tuple(factor)
    if len(factors) != axes or any(not 0.0 < f < math.inf for f in factors):
        raise ArgumentError(
            f"interpolate: scale_factor={factor!r}, expected a positive number, or {axes} of them"
        )
    out = tuple(int(s * float(f)) for s, f in zip(before, factors, strict=True))
    return out, tuple(1.0 / float(f) for f in factors)
