"""Winograd's convolutions: fewer multiplications for small kernels (Lavin & Gray 2016).

Takes: a program. Gives: one in which large convolutions and their two derivatives are products
of transformed tiles, made block by block of images.
The one idea: along one axis m sums of r products with the same r weights need m + r - 1
multiplications, not m r, after additions on both sides (Toom 1963, Cook 1966, Winograd 1980):

    y = Aᵀ [(G w) ∘ (Bᵀ x)]

so with tiles in two axes a 3x3 kernel takes 16 multiplications for four results instead of 36.
All channels of a tile's element meet in one matrix product. A block of images is transformed,
multiplied and transformed back while it lies in the cache.

A kernel with stride s is taken apart into s x s kernels with every s-th element, which meet
every s-th element of the image; a transposed convolution makes its s x s results apart.

Rounding: for three weights and two results, as for two and two or three, errors are no larger
than those of the plain sum, for two and four about three times as large. What is not finite
reaches the same results (for two weights some more of its tile), but infinities become NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chainrule.compiler.program import Instruction, Program, Region, Value
from chainrule.compiler.regions import results_of
from chainrule.compiler.rewriting import Rewriter, rewritten
from chainrule.compiler.tiles import TILE_OUTPUT, TILE_TRANSFORM, Cut, Table
from chainrule.core.dtype import float32, float64
from chainrule.core.shape import Shape, Spec


class Tables(NamedTuple):
    """The numbers of one form: m results from r weights.

    Attributes:
        image: Bᵀ, [m + r - 1, m + r - 1].
        kernel: G, [m + r - 1, r].
        output: Aᵀ, [m, m + r - 1].
    """

    image: Table
    kernel: Table
    output: Table


_FOUR = ((1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, -1.0, 1.0, 0.0), (0.0, -1.0, 0.0, 1.0))
# By the number of weights and of results.
TABLES: dict[tuple[int, int], Tables] = {
    (3, 2): Tables(
        _FOUR,
        ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0)),
        ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, 1.0)),
    ),
    (2, 2): Tables(
        ((1.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 1.0)),
        ((1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
        ((1.0, 1.0, 0.0), (0.0, 1.0, 1.0)),
    ),
    (2, 3): Tables(
        _FOUR,
        ((1.0, 0.0), (0.5, 0.5), (0.5, -0.5), (0.0, 1.0)),
        ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, 0.0), (0.0, 1.0, 1.0, 1.0)),
    ),
    (2, 4): Tables(
        (
            (2.0, -1.0, -2.0, 1.0, 0.0),
            (0.0, 2.0, 1.0, -1.0, 0.0),
            (0.0, -2.0, 3.0, -1.0, 0.0),
            (0.0, -1.0, 0.0, 1.0, 0.0),
            (0.0, 2.0, -1.0, -2.0, 1.0),
        ),
        ((0.5, 0.0), (0.5, 0.5), (1 / 6, -1 / 6), (1 / 6, 1 / 3), (0.0, 1.0)),
        (
            (1.0, 1.0, 1.0, 1.0, 0.0),
            (0.0, 1.0, -1.0, 2.0, 0.0),
            (0.0, 1.0, 1.0, 4.0, 0.0),
            (0.0, 1.0, -1.0, 8.0, 1.0),
        ),
    ),
}

# Multiplications of the plain sum below which a convolution stays as it is.
SMALLEST = 2**24
# What an element of a transformed tile costs, of the operands and of the result, in
# multiplications.
_OPERAND, _RESULT = 16, 6
# So much less than the plain sum it must cost.
_GAIN = 0.85
# Bytes of transformed tiles in a block: they should stay in the second-level caches.
_BLOCK = 5 * 2**19
# So many blocks' bytes one image, or all of few, may take.
_MOST = 4
# Rows of a product, at least.
_ROWS = 48


class Work(NamedTuple):
    """The sizes of one convolution, as all three of its products have them.

    Attributes:
        images: Number of images.
        positions: Results of a kernel along each axis, for one of the strides' phases.
        taps: Weights of a kernel along each axis, for one phase.
        stride: Number of phases along each axis.
        inner: Channels of the image, of all phases.
        outer: Channels of the other side.
        itemsize: Bytes of an element.
    """

    images: int
    positions: tuple[int, int]
    taps: int
    stride: int
    inner: int
    outer: int
    itemsize: int


class Form(NamedTuple):
    """How a convolution is done.

    Attributes:
        tables: The numbers.
        step: Results of a tile along each axis.
        tiles: Tiles along each axis.
        block: Images of a block.
    """

    tables: Tables
    step: int
    tiles: tuple[int, int]
    block: int


def transform_convolutions(program: Program) -> Program:
    """Return a program of equal values, but for rounding."""
    if not any(i.op.name in _RULES for i in program.instructions):
        return program
    return rewritten(program, _changed)


def _changed(at: Instruction, program: Rewriter) -> Value | None:
    rule = _RULES.get(at.op.name)
    return rule(at, program) if rule is not None else None


# --- whether and how ---------------------------------------------------------------------------


def form_of(work: Work) -> Form | None:
    """Return how a convolution is best done with transformed tiles, or None if plainly."""
    plain = work.images * work.positions[0] * work.positions[1] * work.taps**2
    plain *= work.inner * work.outer
    if plain < SMALLEST:
        return None
    best: tuple[float, Form] | None = None
    for (taps, step), tables in TABLES.items():
        if taps == work.taps:
            tiles = (-(-work.positions[0] // step), -(-work.positions[1] // step))
            size, count = len(tables.image) ** 2, tiles[0] * tiles[1]
            cost = _cost(work, count, size)
            block = _block(work, count, size)
            # A less exact form has to be worth it.
            cost *= 1.25 if step == 4 else 1.0
            if block and (best is None or cost < best[0]):
                best = (cost, Form(tables, step, tiles, block))
    return best[1] if best is not None and best[0] < _GAIN * plain else None


def _cost(work: Work, count: int, size: int) -> float:
    tiles = work.images * count
    moved = _OPERAND * (tiles * work.inner + work.inner * work.outer) + _RESULT * tiles * work.outer
    return size * (tiles * work.inner * work.outer + moved)


def _block(work: Work, count: int, size: int) -> int:
    """Return how many images make a block: a divisor of all, or 0 if no number is good."""
    one = size * count * (work.inner + work.outer) * work.itemsize
    divisors = [n for n in range(1, work.images + 1) if work.images % n == 0]
    block = max((n for n in divisors if n * one <= _BLOCK), default=1)
    if block * count < _ROWS:
        block = min((n for n in divisors if n * count >= _ROWS), default=0)
    return block if block * one <= _MOST * _BLOCK else 0


def _work(x: Spec, w: Spec, positions: Shape, at: Instruction) -> Work | None:
    """Return the sizes of a convolution of x with w, or None for kinds that stay as they are."""
    attrs = at.attrs
    kernel, stride = w.shape[2:], attrs["stride"]
    square = len(kernel) == 2 and kernel[0] == kernel[1] and stride[0] == stride[1]
    if not square or attrs["groups"] != 1 or max(attrs["dilation"]) > 1 or kernel[0] % stride[0]:
        return None
    if x.dtype not in (float32, float64) or 0 in x.shape or 0 in positions:
        return None
    side = stride[0]
    return Work(
        x.shape[0],
        (positions[0], positions[1]),
        kernel[0] // side,
        side,
        side * side * w.shape[1],
        w.shape[0],
        x.dtype.itemsize,
    )


# --- the three products ------------------------------------------------------------------------


def _forward(at: Instruction, program: Rewriter) -> Value | None:
    """The convolution itself: y[q] = Σ x[q + t] w[t]."""
    x, w = at.inputs
    out = at.output.spec.shape
    work = _work(x.spec, w.spec, out[2:], at)
    form = form_of(work) if work else None
    if work is None or form is None:
        return None
    kernels = _kernels(program, w, (1, 2, 3, 0), form.tables.kernel, work.stride)
    cut = Cut(form.step, work.stride, _starts(at), form.tiles)
    found = _products(program, x, kernels, form, cut, 1)
    return _images(program, found, (0, 0), out)


def _to_input(at: Instruction, program: Rewriter) -> Value | None:
    """The transpose to the input: x[s q + u] = Σ y[q - t] w[s t + u], from the last t on."""
    g, w = at.inputs
    size = at.attrs["size"]
    if len(size) != 2:
        return None
    side, starts = at.attrs["stride"][0], _starts(at)
    first = (starts[0] // side, starts[1] // side)
    positions = tuple(
        (n - 1 + low) // side - q + 1 for n, low, q in zip(size, starts, first, strict=True)
    )
    x = Spec((g.spec.shape[0], w.spec.shape[1], *size), g.spec.dtype)
    work = _work(x, w.spec, positions, at)
    form = form_of(work) if work else None
    if work is None or form is None:
        return None
    mirrored = tuple(row[::-1] for row in form.tables.kernel)
    kernels = _kernels(program, w, (0, 2, 3, 1), mirrored, work.stride)
    back = work.taps - 1
    cut = Cut(form.step, 1, (back - first[0], back - first[1]), form.tiles)
    found = _products(program, g, kernels, form, cut, side)
    begin = (starts[0] - side * first[0], starts[1] - side * first[1])
    return _images(program, found, begin, at.output.spec.shape)


def _to_weights(at: Instruction, program: Rewriter) -> Value | None:
    """The transpose to the weights: w[t] = Σ x[q + t] y[q], the sums of all tiles first."""
    x, g = at.inputs
    w = at.output.spec
    work = _work(x.spec, w, g.spec.shape[2:], at)
    form = form_of(work) if work else None
    if work is None or form is None:
        return None
    tables, side = form.tables, work.stride
    size, channels = len(tables.image), w.shape[1]
    sums = Spec((size * size, work.inner, work.outer), w.dtype)
    images = [_blocks(program, value, form.block) for value in (x, g)]
    body = _Body(at, [sums, *(_one(value.spec) for value in images)])
    total, image, slope = body.inputs
    left = body.tiles(image, tables.image, Cut(form.step, side, _starts(at), form.tiles))
    spread = tuple(zip(*tables.output, strict=True))
    right = body.tiles(slope, spread, Cut(form.step, 1, (0, 0), form.tiles))
    product = body.new("matmul", body.new("permute", left, axes=(0, 2, 1)), right)
    zeros = program.new("full", shape=sums.shape, value=0.0, dtype=w.dtype)
    given = (zeros, *images)
    found = body.looped(program, [body.new("add", total, product)], given, carry=1, xs=2)
    back = _Body(at, [sums])
    apart = (size, size, side, side, channels, work.outer)
    split = back.new("reshape", back.inputs[0], shape=apart)
    turned = back.new("permute", split, axes=(0, 1, 4, 2, 3, 5))
    whole = (size, size, channels, 1, 1, side, side, work.outer)
    tiles = back.new("reshape", turned, shape=whole)
    kernels = back.apply(TILE_OUTPUT, tiles, table=tuple(zip(*tables.kernel, strict=True)))
    made = back.looped(program, [kernels], (found,))
    flat = program.new("reshape", made, shape=(channels, *w.shape[2:], work.outer))
    return program.new("permute", flat, axes=(3, 0, 1, 2))


_RULES: dict[str, Callable[[Instruction, Rewriter], Value | None]] = {
    "conv": _forward,
    "conv_input_grad": _to_input,
    "conv_weight_grad": _to_weights,
}


# --- parts -------------------------------------------------------------------------------------


def _starts(at: Instruction) -> tuple[int, int]:
    (top, _), (left, _) = at.attrs["padding"]
    return top, left


def _kernels(program: Rewriter, w: Value, axes: Shape, table: Table, side: int) -> Value:
    """Return kernels as transformed tiles, [1, P P, rows, columns].

    Args:
        program: Gets the instructions.
        w: The kernels, [O, C, K, K].
        axes: Their order as images: what is summed over, height, width, what is made.
        table: Transforms a tile.
        side: The stride. If what is summed over are the image's channels, its phases come first.
    """
    assert program.at is not None
    body = _Body(program.at, [w.spec])
    images = body.new("permute", body.inputs[0], axes=axes)
    cut = Cut(w.spec.shape[2] // side, side, (0, 0), (1, 1))
    tiles = body.apply(TILE_TRANSFORM, images, table=table, cut=cut)
    (rows, columns), size = (images.spec.shape[0], images.spec.shape[3]), len(table) ** 2
    shape = (size, rows, side * side * columns)
    if axes[0] == 1 and side > 1:
        split = body.new("reshape", tiles, shape=(size, rows, side * side, columns))
        tiles = body.new("permute", split, axes=(0, 2, 1, 3))
        shape = (size, side * side * rows, columns)
    return body.looped(program, [body.new("reshape", tiles, shape=shape)], (w,))


def _products(
    program: Rewriter, x: Value, kernels: Value, form: Form, cut: Cut, side: int
) -> Value:
    """Return the results of all tiles, [blocks, block, I, R, s, J, R, s, channels]."""
    assert program.at is not None
    images = _blocks(program, x, form.block)
    body = _Body(program.at, [_one(images.spec), kernels.spec])
    left = body.tiles(body.inputs[0], form.tables.image, cut)
    matrix = body.new("reshape", body.inputs[1], shape=kernels.spec.shape[1:])
    product = body.new("matmul", left, matrix)
    size, columns = len(form.tables.image), product.spec.shape[2] // side**2
    shape = (size, size, form.block, *form.tiles, side, side, columns)
    split = body.new("reshape", product, shape=shape)
    results = body.apply(TILE_OUTPUT, split, table=form.tables.output)
    return body.looped(program, [results], (images, kernels), xs=1)


def _blocks(program: Rewriter, x: Value, block: int) -> Value:
    """Return images [N, C, H, W] as blocks [N / block, block, H, W, C]."""
    n, c, h, w = x.spec.shape
    last = program.new("permute", x, axes=(0, 2, 3, 1))
    return program.new("reshape", last, shape=(n // block, block, h, w, c))


def _images(program: Rewriter, found: Value, begin: tuple[int, int], shape: Shape) -> Value:
    """Return a stretch of the results of all tiles as images [N, C, H, W]."""
    n, c, h, w = shape
    _, _, i, rows, u, j, columns, v, _ = found.spec.shape
    value = program.new("reshape", found, shape=(n, i * rows * u, j * columns * v, c))
    for axis, (start, size) in enumerate(zip(begin, (h, w), strict=True), 1):
        if value.spec.shape[axis] != size:
            ranges = [(0, whole, 1) for whole in value.spec.shape]
            ranges[axis] = (start, size, 1)
            value = program.new("slice", value, ranges=tuple(ranges))
    return program.new("permute", value, axes=(0, 3, 1, 2))


def _one(spec: Spec) -> Spec:
    """Return what a round gets of a stack."""
    return Spec(spec.shape[1:], spec.dtype)


class _Body(Rewriter):
    """A round of a loop that is being written.

    Args:
        like: The instruction whose line and layer its instructions have.
        specs: Of what it is given.
    """

    def __init__(self, like: Instruction, specs: list[Spec]) -> None:
        super().__init__(Program(like.op.name))
        self.at: Instruction = like
        self.inputs = [Value(spec) for spec in specs]

    def tiles(self, images: Value, table: Table, cut: Cut) -> Value:
        """Add transformed tiles, as matrices [P P, tiles, channels]."""
        found = self.apply(TILE_TRANSFORM, images, table=table, cut=cut)
        p, q, n, i, j, u, v, c = found.spec.shape
        return self.new("reshape", found, shape=(p * q, n * i * j, u * v * c))

    def looped(
        self,
        program: Rewriter,
        outputs: list[Value],
        given: tuple[Value, ...],
        carry: int = 0,
        xs: int = 0,
    ) -> Value:
        """Add the loop over these rounds to a program; return its first result.

        Args:
            program: The program.
            outputs: What a round makes.
            given: What the loop is given: the carry, stacks, and what all rounds share.
            carry: How many of these are handed on.
            xs: How many are stacks; without any there is one round, for its own kernels' sake.
        """
        body = Program(
            self.at.op.name,
            self.inputs,
            self.constants,
            self.instructions,
            outputs,
            [None] * len(outputs),
        )
        length = given[carry].spec.shape[0] if xs else 1
        region = Region("scan", [body], carry, xs, length)
        made = results_of(region, given, self.at, range(region.outputs))
        for instruction in made.values():
            program.append(instruction)
        return made[0].output
