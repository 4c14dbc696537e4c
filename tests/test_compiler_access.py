"""Positions in flat orders of elements, split into positions along dimensions."""

from __future__ import annotations

import itertools
import math

import pytest

from chainrule.compiler.access import NeedsSplit, split
from chainrule.ir.expr import Axis, Index

A, B, C = Axis("a", 4), Axis("b", 6), Axis("c", 24)


def value(index: Index, at: dict[Axis, int]) -> int:
    return index.offset + sum(step * at[axis] for axis, step in index.terms)


CASES = [
    (Index(((A, 6), (B, 1))), (4, 6)),
    (Index(((A, 6), (B, 1))), (4, 1, 2, 3)),
    (Index(((A, 6), (B, 1))), (8, 3)),
    (Index(((A, 6), (B, 1))), (2, 2, 6, 1)),
    (Index(((C, 1),)), (4, 6)),
    (Index(((C, 1),), 5), (5, 6)),
    (Index(((A, 12), (B, 2)), 1), (4, 3, 4)),
    (Index(((C, -1),), 23), (24,)),
    (Index(((C, -1),), 23), (6, 4)),
    (Index((), 7), (2, 2, 2)),
]


@pytest.mark.parametrize(("flat", "shape"), CASES)
def test_split_position_is_the_same_element(flat: Index, shape: tuple[int, ...]) -> None:
    parts = split(flat, shape, may_split=False)
    strides = [math.prod(shape[n + 1 :]) for n in range(len(shape))]
    for values in itertools.product(*(range(axis.extent) for axis, _ in flat.terms)):
        at = dict(zip((axis for axis, _ in flat.terms), values, strict=True))
        found = sum(value(part, at) * s for part, s in zip(parts, strides, strict=True))
        assert found == value(flat, at)


def test_axis_that_runs_over_two_dimensions_is_to_be_split() -> None:
    with pytest.raises(NeedsSplit) as question:
        split(Index(((C, 1),)), (4, 6), may_split=True)
    assert (question.value.axis, question.value.inner) == (C, 6)


def test_position_that_fits_needs_no_split() -> None:
    assert split(Index(((A, 6), (B, 1))), (4, 6), may_split=True) == (
        Index(((A, 1),)),
        Index(((B, 1),)),
    )
