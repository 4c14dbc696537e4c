"""Bounds of indices against trying all positions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.ir import bounds
from chainrule.ir.bounds import meet, reach, stays_inside
from chainrule.ir.expr import Axis, Index, Within, add, index_of, scale

AXES = tuple(Axis(name, extent) for name, extent in zip("abcd", (3, 4, 1, 5), strict=True))
TERMS = st.lists(st.integers(-4, 4), min_size=4, max_size=4)


def positions() -> list[dict[Axis, int]]:
    values = itertools.product(*(range(axis.extent) for axis in AXES))
    return [dict(zip(AXES, chosen, strict=True)) for chosen in values]


def at(index: Index, where: dict[Axis, int]) -> int:
    return index.offset + sum(c * where[axis] for axis, c in index.terms)


def holds(guards: tuple[Within, ...], where: dict[Axis, int]) -> bool:
    return all(0 <= at(index, where) < size for index, size in guards)


@st.composite
def indices(draw: st.DrawFn) -> Index:
    factors = draw(TERMS)
    terms = (scale(a, c) for a, c in zip(AXES, factors, strict=True))
    return add(draw(st.integers(-5, 5)), *terms)


GUARDS = st.lists(st.builds(Within, indices(), st.integers(0, 9)), max_size=3).map(tuple)


@given(indices(), GUARDS)
@settings(max_examples=300, deadline=None)
def test_range_holds_every_position(index: Index, guards: tuple[Within, ...]) -> None:
    low, high = reach(index, guards)
    for where in positions():
        if holds(guards, where):
            assert low <= at(index, where) <= high


@given(indices(), GUARDS, st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_inside_is_decided_exactly(index: Index, guards: tuple[Within, ...], size: int) -> None:
    inside = all(0 <= at(index, w) < size for w in positions() if holds(guards, w))
    assert stays_inside(index, guards, size) == inside


def test_padded_image_needs_no_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guards of a convolution, one for each dimension, bound its flat position."""
    monkeypatch.setattr(bounds, "FEW", 0)
    n, c, i, j, r, s = (Axis(x, e) for x, e in zip("ncijrs", (8, 3, 32, 30, 3, 5), strict=True))
    row, column = add(i, r, -1), add(scale(j, 2), s, -2)
    guards = Within(row, 32), Within(column, 60)
    flat = add(scale(n, 3 * 32 * 60), scale(c, 32 * 60), scale(row, 60), column)
    assert reach(flat, guards) == (0, 8 * 3 * 32 * 60 - 1)
    assert stays_inside(flat, guards, 8 * 3 * 32 * 60)
    assert not stays_inside(flat, guards[:1], 8 * 3 * 32 * 60)


@given(indices(), indices(), GUARDS, st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_whether_iterations_meet_is_decided_exactly(
    first: Index, second: Index, guards: tuple[Within, ...], count: int
) -> None:
    apart, shared = AXES[1 : 1 + count], AXES[:1]
    owned = {
        (*(w[a] for a in shared), at(first, w), tuple(w[a] for a in apart))
        for w in positions()
        if holds(guards, w)
    }
    visited = [
        (*(w[a] for a in shared), at(second, w), tuple(w[a] for a in apart)) for w in positions()
    ]
    expected = any(o[:-1] == v[:-1] and o[-1] != v[-1] for o in owned for v in visited)
    assert meet((first, guards), (second, ()), apart, shared) == expected


def test_rows_and_columns_of_a_matrix_never_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FEW_PAIRS", 0)
    row, column, other = Axis("row", 1000), Axis("column", 64), Axis("other", 64)
    one = add(scale(row, 64), column), ()
    assert meet(one, (add(scale(row, 64), other), ()), (row,)) is False
    assert meet(one, (add(scale(row, 64), other, 1), ()), (row,)) is None
    assert meet((index_of(column), ()), (index_of(column), ()), (column,)) is False
    assert meet(one, one, (column,)) is False
    assert meet(one, (add(scale(row, 64), other), ()), (other,)) is None
    below = add(scale(row, 64), column, -1), (Within(add(column, -1), 64),)
    assert meet(one, below, (row,)) is False
