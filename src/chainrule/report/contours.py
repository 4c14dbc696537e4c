"""Contours: lines of equal height through a grid of numbers.

Takes: heights at the crossings of a grid. Gives: polylines.
The one idea: marching squares (Lorensen & Cline, "Marching cubes", 1987, in two dimensions): in
each cell the line crosses the sides whose ends lie on different sides of the level; crossings
are then chained from cell to cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Place = tuple[float, float]
Outlines = list[list[Place]]
# A side of the grid: of the crossing at (column, row), to the right (0) or upwards (1).
Side = tuple[int, int, int]

# Corners counter-clockwise from (0, 0), as bits 1, 2, 4, 8, to the sides that the line connects:
# bottom 0, right 1, top 2, left 3. Saddles (5, 10) are decided by the middle of the cell.
_CASES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),), 2: ((0, 1),), 3: ((3, 1),), 4: ((1, 2),), 6: ((0, 2),), 7: ((3, 2),),
    8: ((2, 3),), 9: ((2, 0),), 11: ((2, 1),), 12: ((1, 3),), 13: ((1, 0),), 14: ((0, 3),),
}  # fmt: skip


def contour_lines(
    x: Sequence[float], y: Sequence[float], z: Sequence[Sequence[float]], level: float
) -> Outlines:
    """Return the polylines on which the surface has the height ``level``.

    Args:
        x: Places of the columns, ascending.
        y: Places of the rows, ascending.
        z: One row of heights for each of ``y``.
        level: The height.

    Example:
        >>> contour_lines([0, 1], [0, 1], [[0, 0], [2, 2]], 1)
        [[(1.0, 0.5), (0.0, 0.5)]]
    """
    links: dict[Side, list[Side]] = {}
    for row in range(len(y) - 1):
        for column in range(len(x) - 1):
            for a, b in _segments(z, column, row, level):
                links.setdefault(a, []).append(b)
                links.setdefault(b, []).append(a)
    return [[_crossing(x, y, z, side, level) for side in chain] for chain in _chains(links)]


def _segments(
    z: Sequence[Sequence[float]], column: int, row: int, level: float
) -> Iterator[tuple[Side, Side]]:
    """Yield the sides of one cell that the line connects."""
    low, high = z[row], z[row + 1]
    corners = (low[column], low[column + 1], high[column + 1], high[column])
    case = sum(1 << i for i, height in enumerate(corners) if height > level)
    if case in (0, 15):
        return
    pairs: tuple[tuple[int, int], ...]
    if case in (5, 10):
        high_middle = sum(corners) / 4 > level
        apart = (case == 5) != high_middle
        pairs = ((3, 0), (1, 2)) if apart else ((0, 1), (2, 3))
    else:
        pairs = _CASES[case]
    sides = ((column, row, 0), (column + 1, row, 1), (column, row + 1, 0), (column, row, 1))
    for a, b in pairs:
        yield sides[a], sides[b]


def _chains(links: dict[Side, list[Side]]) -> Iterator[list[Side]]:
    """Join segments end to end; open lines first, then closed ones."""
    seen: set[Side] = set()
    starts = [side for side, others in links.items() if len(others) == 1]
    for start in [*starts, *links]:
        if start in seen:
            continue
        chain, side = [start], start
        seen.add(start)
        while following := [other for other in links[side] if other not in seen]:
            side = following[0]
            seen.add(side)
            chain.append(side)
        if len(chain) > 2 and start in links[side]:
            chain.append(start)
        if len(chain) > 1:
            yield chain


def _crossing(
    x: Sequence[float], y: Sequence[float], z: Sequence[Sequence[float]], side: Side, level: float
) -> Place:
    column, row, upwards = side
    a = z[row][column]
    b = z[row + 1][column] if upwards else z[row][column + 1]
    share = (level - a) / (b - a)
    if upwards:
        return float(x[column]), y[row] + share * (y[row + 1] - y[row])
    return x[column] + share * (x[column + 1] - x[column]), float(y[row])
