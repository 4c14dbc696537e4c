"""Plans kept on disk: what a program runs from the cache is what it runs when planned anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.compiler.described import described
from chainrule.core.errors import IndexRangeError, OutOfMemoryError
from chainrule.graph.op import OPS
from chainrule.graph.tensor import apply
from chainrule.runtime import kept, memory


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache."""
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    monkeypatch.setenv("CHAINRULE_CODE_CACHE_MB", "16")
    return tmp_path / "code"


@pytest.fixture
def no_planning(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After a call of it, planning a program is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the program was planned anew")

    return lambda: monkeypatch.setattr(kept, "build", refuse)


def twice(
    make: Callable[[], Callable[..., Any]], no_planning: Callable[[], None]
) -> tuple[Any, Any]:
    """Return what a function gives when it is planned, and when its plan comes from the cache."""
    first = make()()
    no_planning()
    return first, make()()


def step() -> list[bytes]:
    """Train a little network with dropout; return the bits of its losses."""
    cr.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3))
    model.append(nn.Linear(48, 4))
    rule = optim.Adam(model.parameters(), lr=0.01)
    x, y = cr.randn((5, 1, 6, 6)), cr.tensor([0, 1, 2, 3, 1])

    def train(x: Any, y: Any) -> Any:
        rule.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        rule.step()
        return loss

    compiled = cr.compile(train)
    return [compiled(x, y).numpy().tobytes() for _ in range(4)]


def test_a_training_step_has_the_same_bits(no_planning: Callable[[], None]) -> None:
    first, second = twice(lambda: step, no_planning)
    assert first == second


def loops(x: Any, n: Any) -> Any:
    total, parts = cr.scan(lambda c, v: (c + v.sin(), c * v), cr.zeros((3,), dtype="float64"), x)
    steps = cr.while_loop(lambda i: i < n, lambda i: i + 2, cr.tensor(0))
    table = cr.tensor(np.arange(12.0).reshape(4, 3), dtype="float64")
    chosen = cr.cond(n > 3, lambda: total @ table.mT, lambda: parts.sum() + table.sum(1))
    return total, parts, steps, chosen


def test_loops_branches_and_constants(no_planning: Callable[[], None]) -> None:
    x = cr.tensor(np.random.default_rng(0).normal(size=(7, 3)))
    first, second = twice(
        lambda: lambda: [r.numpy() for n in (2, 9) for r in cr.compile(loops)(x, cr.tensor(n))],
        no_planning,
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(second[0], np.sin(x.numpy()).sum(0), rtol=1e-12)


def test_a_check_fails_as_before(no_planning: Callable[[], None]) -> None:
    table = cr.randn((4, 2))
    look = cr.compile(lambda i: nn.functional.embedding(i, table) * 2)
    look(cr.tensor([0, 3]))
    no_planning()
    again = cr.compile(lambda i: nn.functional.embedding(i, table) * 2)
    with pytest.raises(IndexRangeError, match="index 4"):
        again(cr.tensor([0, 4]))


def test_a_profile_shows_kernels_with_their_work() -> None:
    weight = cr.randn((64, 64))

    def run() -> Any:
        compiled = cr.compile(lambda x: (x @ weight).tanh())
        return cr.profile(compiled, weight, calls=4)

    first, second = run(), run()
    assert [row.flops for row in second.rows] == [row.flops for row in first.rows]
    assert second.rows[0].origin


def test_other_constants_are_another_program() -> None:
    for value in (1.0, 2.0):
        table = np.full((3, 3), value)
        found = cr.compile(lambda x, table=table: x + cr.tensor(table))(cr.zeros((3, 3)))
        assert (found.numpy() == value).all()


def test_a_damaged_entry_is_planned_anew(folder: Path) -> None:
    def run() -> float:
        return float(cr.compile(lambda x: x * 3 + 1)(cr.tensor(2.0)).item())

    assert run() == 7.0
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run() == 7.0


def test_short_memory_names_the_users_lines_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run() -> Any:
        return cr.compile(lambda x: (x @ x).tanh() @ x)(cr.ones((50, 50)))

    run()
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000)
    with pytest.raises(OutOfMemoryError, match=r"made by(.|\n)*test_kept\.py"):
        run()


def test_an_op_of_the_users_is_never_kept() -> None:
    class Twice(type(OPS["negative"])):  # type: ignore[misc]
        name = "twice"

    traced = cr.compile(lambda x: apply(Twice(), x)).trace(cr.tensor(1.0))
    assert described(traced.trace.program) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x.sum(0), lambda x: x.sum(1)),
        (lambda x: x + 1, lambda x: x - 1),
        (lambda x: cr.astype(x, "float64"), lambda x: cr.astype(x, "float16")),
        (lambda x: (x * 2, x + 1), lambda x: (x + 1, x * 2)),
        (lambda x: cr.scan(lambda c, v: (c + v, None), x[0], x)[0],
         lambda x: cr.scan(lambda c, v: (c - v, None), x[0], x)[0]),
        (lambda x: cr.scan(lambda c, v: (c + v, None), x[0], x)[0],
         lambda x: cr.scan(lambda c, v: (c + v, None), x[0], x, reverse=True)[0]),
    ],
)  # fmt: skip
def test_different_programs_have_different_texts(one: Any, other: Any) -> None:
    x = cr.ones((2, 2))
    texts = []
    for function in (one, other):
        compiled = cr.compile(lambda x, function=function: function(x))
        texts.append(described(compiled.trace(x).trace.program))
    assert None not in texts
    assert texts[0] != texts[1]


def test_the_users_lines_do_not_matter() -> None:
    def one(x: Any) -> Any:
        return x.exp()

    def other(x: Any) -> Any:
        y = x

        return y.exp()

    other.__name__ = "one"
    texts = [described(cr.compile(f).trace(cr.tensor(1.0)).trace.program) for f in (one, other)]
    assert texts[0] == texts[1]
