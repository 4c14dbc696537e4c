"""How a contraction is cut: tiles of rows and columns, blocks of depth, chunks of parallel work.

Takes: a `Form` and a target. Gives: a `Tiling`, from shapes alone.
The one idea: an axis is cut into nearly equal parts, so that no tile is a leftover; the shape of
the tile is the one with the least estimated time that fits into the registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from chainrule.codegen.contraction_form import Form, Line, across, product
from chainrule.codegen.target import Target

# Multiply-adds of one lane in a microsecond; decides only how many chunks there are.
PER_LANE = 2500
# Microseconds: below SMALL a contraction is one chunk, else chunks take CHUNK or more.
SMALL = 8
CHUNK = 10
MOST_CHUNKS = 64
# Bytes of a panel in one block of a long depth: a quarter of a second-level cache.
BLOCK_BYTES = 256 * 1024
# Up to so many rows or columns, tiles of dot products are preferred to pieces of a long depth.
FEW = 8
# Depth from which blocks are thought of.
LONG = 2048
# Steps of a block whose rows of the right operand lie far apart: so many stay in the cache as they
# are, and need not be packed (measured: 128 and 256 are as good, from 1.5 to 8 KB apart).
FAR_STEPS = 256
FAR = 1024  # bytes
# Packing them pays where so many tiles of rows read them (measured: with 4 to 20 tiles 4 to 20 %
# slower than reading them in place, with 100 and more up to 17 % faster), or where there are many
# steps, each in pages of its own.
OFTEN = 32
VERY_FAR = 8192  # bytes
# With so many panels, chunks need not share out tiles of rows as well.
ENOUGH = 8


@dataclass(frozen=True, slots=True)
class RowTiles:
    """Tiles of rows: all of the inner row axes and part of one axis.

    Attributes:
        split: Number of the row axis that is cut; axes inside of it are whole.
        big: Steps of the cut axis in the first tiles.
        small: In the others (``big`` or one less).
        first: How many tiles are big.
        parts: How many tiles the cut axis has.
        outer: Extents of the axes outside of it.
        inner: Number of rows for one step of the cut axis.
    """

    split: int
    big: int
    small: int
    first: int
    parts: int
    outer: tuple[int, ...]
    inner: int

    @property
    def count(self) -> int:
        """Number of tiles."""
        return prod(self.outer) * self.parts

    @property
    def sizes(self) -> tuple[int, ...]:
        """The different numbers of steps, the most first."""
        return (self.big,) if self.first == self.parts else (self.big, self.small)

    @property
    def most(self) -> int:
        """Rows of the largest tile."""
        return self.big * self.inner


@dataclass(frozen=True, slots=True)
class ColumnTiles:
    """Panels of columns: parts of the last column axis.

    Attributes:
        width: Columns of a whole panel, in whole vectors.
        whole: How many whole panels the last axis has.
        rest: Columns that remain for a last panel (0: none).
        outer: Extents of the other column axes.
    """

    width: int
    whole: int
    rest: int
    outer: tuple[int, ...]

    @property
    def parts(self) -> int:
        """Panels of the last axis."""
        return self.whole + (1 if self.rest else 0)

    @property
    def count(self) -> int:
        """Number of panels."""
        return prod(self.outer) * self.parts

    @property
    def sizes(self) -> tuple[int, ...]:
        """The different numbers of columns, the most first."""
        return tuple(n for n, used in ((self.width, self.whole), (self.rest, self.rest)) if used)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the work is cut; ``*_grain`` is what one chunk does of each.

    Attributes:
        rows: Tiles of rows.
        columns: Panels of columns.
        lanes: Elements of a vector.
        batch_grain: Batch positions of a chunk.
        row_grain: Tiles of rows of a chunk.
        column_grain: Panels of a chunk.
        pieces: Into how many parts the first depth axis is cut for parallel work.
        block: Steps of the first depth axis that are done before the next tile.
        dots: Whether vectors run along depth, which is contiguous in both operands (in the right
            one perhaps by packing).
        packing: "" to read the right operand in place, "before" to pack panels in a phase of their
            own, "inside" to pack each panel in the chunk that uses it.
    """

    rows: RowTiles
    columns: ColumnTiles
    lanes: int
    batch_grain: int
    row_grain: int
    column_grain: int
    pieces: int
    block: int
    dots: bool
    packing: str


def tiling_of(form: Form, target: Target) -> Tiling:
    """Choose how a contraction is cut."""
    lanes = target.lanes(form.dtype.itemsize)
    depth = product(form.depth)
    time, rows, columns = _tiles(form, lanes, target)
    batch = product(form.batch)
    work = batch * product(form.rows) * product(form.columns) * depth / lanes / PER_LANE
    wanted = 1 if work < SMALL else min(MOST_CHUNKS, max(2, int(work / CHUNK)))
    block, pieces = _depth_blocks(form, rows, columns, wanted)
    packs, dots = _packs(form, rows), False
    other = _dot_tiles(form, lanes, target)
    if other is not None and other[0] < time:
        tiles = other[1].count * other[2].count
        few = min(product(form.rows), product(form.columns)) <= FEW
        if pieces == 1 or few or tiles >= wanted:
            _, rows, columns = other
            packs, dots = form.depth[-1].right != 1, True
            block, pieces = form.depth[0].extent, 1
    if batch * pieces >= wanted:
        grain = max(1, batch * pieces // wanted) if pieces == 1 else 1
        split = (1, 1)
    else:
        grain = 1
        split = _split(form, rows, columns, -(-wanted // (batch * pieces)), packs)
    row_grain = -(-rows.count // split[0])
    column_grain = -(-columns.count // split[1])
    packing = ""
    if packs:
        alone = row_grain == rows.count and column_grain < 4 * columns.count
        alone = alone and (dots or across(form, lanes) is None)
        packing = "inside" if alone and pieces == 1 and block == form.depth[0].extent else "before"
    grains = (grain, row_grain, column_grain)
    return Tiling(rows, columns, lanes, *grains, pieces, block, dots, packing)


Tiles = tuple[float, RowTiles, ColumnTiles]


def _tiles(form: Form, lanes: int, target: Target) -> Tiles:
    """Return the tiles that take the least time by estimate, and that time."""
    best: Tiles | None = None
    packing = 0.0
    if form.columns[-1].right != 1:
        packing = (0.4 if form.depth[-1].right == 1 else 1.3) * product(form.columns[-1:])
    vectors = -(-form.columns[-1].extent // lanes)
    for wide in range(1, min(vectors, 6) + 1):
        columns = _cut_columns(form.columns, wide * lanes)
        most = max((target.registers - wide - 1) // wide, 1)
        for rows in _cut_rows(form.rows, most):
            cost = _time(rows, columns, lanes, target, product(form.depth))
            cost += packing * product(form.depth)
            if best is None or cost < best[0]:
                best = (cost, rows, columns)
    assert best is not None
    return best


def _dot_tiles(form: Form, lanes: int, target: Target) -> Tiles | None:
    """Return the tiles for vectors along depth, and their estimated time, if that can be."""
    inner = form.depth[-1]
    if inner.left != 1 or inner.extent < lanes or lanes == 1:
        return None
    packing = 0.0 if inner.right == 1 else 2.0 * product(form.depth) * form.columns[-1].extent
    steps = -(-inner.extent // lanes) * product(form.depth[:-1])
    pipes = 1 if target.vector_bytes == 64 else 2
    best: Tiles | None = None
    for width in range(1, min(6, form.columns[-1].extent) + 1):
        columns = _cut_columns(form.columns, width)
        for rows in _cut_rows(form.rows, max((target.registers - width - 1) // width, 1)):
            cost = 0.0
            for m, n, number in _shapes(rows, columns):
                # More streams than the processor fetches ahead cost extra.
                streams = 0.02 * max(0, m + n - 12) ** 2
                step = max(m * n / pipes, 1.2 * (m + n), 4) + 0.06 * (m + n) + streams
                cost += number * (steps * step + 5 * m * n + 20)
            cost = cost * prod(rows.outer) * _variants(rows, columns) + packing
            if best is None or cost < best[0]:
                best = (cost, rows, columns)
    return best


def _shapes(rows: RowTiles, columns: ColumnTiles) -> list[tuple[int, int, int]]:
    """Return rows, columns and number of the different tiles."""
    heights = ((rows.big, rows.first), (rows.small, rows.parts - rows.first))
    widths = ((columns.width, columns.whole), (columns.rest, 1))
    return [
        (height * rows.inner, width, number * panels)
        for height, number in heights
        for width, panels in widths
        if width and number and panels
    ]


def _variants(rows: RowTiles, columns: ColumnTiles, lanes: int = 1) -> float:
    """Return a factor for the time of tiles of several shapes: each has to be compiled."""
    return 1 + 0.01 * len(rows.sizes) * len({-(-size // lanes) for size in columns.sizes})


def _cut_columns(lines: Sequence[Line], width: int) -> ColumnTiles:
    whole, rest = divmod(lines[-1].extent, width)
    return ColumnTiles(width, whole, rest, tuple(line.extent for line in lines[:-1]))


def _cut_rows(lines: Sequence[Line], most: int) -> list[RowTiles]:
    """Return the ways to cut row axes into tiles of at most so many rows."""
    found = []
    inner = 1
    for split in range(len(lines) - 1, -1, -1):
        extent = lines[split].extent
        outer = tuple(line.extent for line in lines[:split])
        for size in range(1, min(extent, most // inner) + 1):
            parts = -(-extent // size)
            big = -(-extent // parts)
            if big == size:
                small = extent // parts
                first = parts if big == small else extent - parts * small
                found.append(RowTiles(split, big, small, first, parts, outer, inner))
        inner *= extent
        if inner > most:
            break
    return found


def _time(rows: RowTiles, columns: ColumnTiles, lanes: int, target: Target, depth: int) -> float:
    """Return the estimated cycles of a contraction, for one batch position and column group."""
    pipes = 1 if target.vector_bytes == 64 else 2
    total = 0.0
    for m, width, number in _shapes(rows, columns):
        v = -(-width // lanes)
        step = max(m * v / pipes, (m + 2 * v) / 2, 4) + 0.06 * (m + v)
        total += number * (depth * step + 2 * m * v + 20)
    return total * prod(rows.outer) * _variants(rows, columns, lanes)


def _depth_blocks(form: Form, rows: RowTiles, columns: ColumnTiles, wanted: int) -> tuple[int, int]:
    """Return the block length of the first depth axis, and in how many pieces it is cut."""
    first = form.depth[0].extent
    depth = product(form.depth)
    item = form.dtype.itemsize
    if depth < LONG:
        return first, 1
    results = product(form.rows) * product(form.columns)
    tiles = product(form.batch) * rows.count * columns.count
    read = depth * (product(form.rows) + product(form.columns))
    # Partial results are written and added up again: that must stay small beside the operands.
    pieces = min(wanted, first) if tiles < 64 * wanted else 1
    while pieces > 1 and pieces * results * 8 > read:
        pieces //= 2
    share = -(-first // pieces)
    block = share
    if min(rows.count, columns.count) > 1 or rows.count >= 4:
        # A panel's part stays in the second-level cache while all tiles of rows use it.
        block = max(1, min(share, BLOCK_BYTES * first // (columns.width * item * depth)))
        if _is_far(form) and len(form.depth) == 1:
            block = min(block, FAR_STEPS)
    return block, -(-first // share)


def _packs(form: Form, rows: RowTiles) -> bool:
    """Return whether the right operand is copied to panels."""
    if form.columns[-1].right != 1:
        return True
    depth = product(form.depth)
    blocked = len(form.depth) == 1 and depth >= LONG
    slow = _is_far(form, VERY_FAR) and depth > FAR_STEPS and rows.count >= 4
    return (slow or (_is_far(form) and rows.count >= OFTEN)) and not blocked


def _is_far(form: Form, limit: int = FAR) -> bool:
    """Return whether rows of the right operand fall into few sets of the cache, and many pages."""
    return abs(form.depth[-1].right) * form.dtype.itemsize >= limit


def _split(
    form: Form, rows: RowTiles, columns: ColumnTiles, wanted: int, packs: bool
) -> tuple[int, int]:
    """Return into how many parts tiles of rows and panels are divided among chunks."""
    if packs and rows.count <= 64 and columns.count >= min(wanted, 8):
        return 1, min(columns.count, wanted)  # each panel is packed where it is used
    if product(form.columns) >= product(form.rows):
        by_columns = min(columns.count, wanted)
        by_rows = min(rows.count, -(-wanted // by_columns))
        if rows.count < OFTEN and by_columns >= ENOUGH:
            # Parts of the rows would each read the whole right operand; and lines of weights that
            # two processors have read are slow to update afterwards.
            by_rows = 1
        return by_rows, by_columns
    by_rows = min(rows.count, wanted)
    return by_rows, min(columns.count, -(-wanted // by_rows))
