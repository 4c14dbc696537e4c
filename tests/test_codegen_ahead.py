"""Memory that the stores of a contraction touch is asked for ahead, where there is much of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr


def update(x: Any, y: Any, p: Any, m: Any) -> Any:
    """A product with an update behind it, of two arrays."""
    m = m * 0.9 + x.mT @ y
    return p - m * 0.1, m


def arrays(rows: int, columns: int, depth: int, lead: tuple[int, ...] = ()) -> list[Any]:
    """Return two operands, a parameter and its running mean."""
    rng = np.random.default_rng(0)
    shapes = [(depth, rows), (depth, columns), (rows, columns), (rows, columns)]
    return [rng.normal(size=(*lead, *shape)).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("lead", [(), (3,)], ids=["one", "batch"])
def test_a_large_update_fetches_ahead_and_stays_right(lead: tuple[int, ...]) -> None:
    x, y, p, m = arrays(611, 807, 96, lead)
    compiled = cr.compile(update)
    given = [cr.tensor(array) for array in (x, y, p, m)]
    assert "@llvm.prefetch" in compiled.trace(*given).lower().compile().text
    new_p, new_m = (result.numpy() for result in compiled(*given))
    want = m * 0.9 + x.swapaxes(-1, -2).astype(np.float64) @ y
    np.testing.assert_allclose(new_m, want, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(new_p, p - want * 0.1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [(64, 64, 96), (611, 807, 4)], ids=["small", "short"]
)
def test_what_stays_in_the_cache_or_takes_no_time_is_not_fetched(
    rows: int, columns: int, depth: int
) -> None:
    given = [cr.tensor(array) for array in arrays(rows, columns, depth)]
    assert "@llvm.prefetch" not in cr.compile(update).trace(*given).lower().compile().text
