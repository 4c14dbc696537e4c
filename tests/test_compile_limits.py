"""Compiled functions at the limits: shapes beyond counting, no memory, no cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.core.errors import OutOfMemoryError, ShapeError
from chainrule.graph.tensor import Tensor
from chainrule.runtime import library, memory

LONG = 2**40


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("add", lambda x: x.expand(LONG).reshape(-1, 1) + x.expand(LONG)),
        ("matmul", lambda x: x.expand(LONG).reshape(-1, 1) @ x.expand(LONG).reshape(1, -1)),
        ("concat", lambda x: chainrule.cat([x.expand(2**48), x])),
        ("pad", lambda x: F.pad(x, (2**62, 2**62))),
        ("one_hot", lambda x: F.one_hot(x.long().expand(LONG), LONG)),
    ],
)
def test_result_beyond_counting_is_refused_by_name(
    name: str, function: Callable[[Tensor], Tensor]
) -> None:
    """Also if nothing of its size would ever be stored."""
    run = chainrule.compile(lambda x: function(x).sum())
    with pytest.raises(ShapeError, match=f"{name}: the result .* is absurdly large") as found:
        run(chainrule.ones(1))
    assert "test_compile_limits.py" in str(found.value)


def test_what_is_large_but_never_stored_needs_no_memory() -> None:
    run = chainrule.compile(lambda x: (x.reshape(-1, 1) * x.reshape(1, -1)).max())
    lowered = run.trace(chainrule.ones(20_000)).lower()
    assert lowered.memory < 1e6


def test_no_memory_is_said_with_the_largest_tensors_before_anything_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Linear(8, 50), nn.Tanh(), nn.Linear(50, 3))
    rule = optim.SGD(model.parameters(), lr=0.1)

    @chainrule.compile
    def step(x: Tensor) -> Tensor:
        rule.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        rule.step()
        return loss

    before = {name: value.numpy() for name, value in model.state_dict().items()}
    monkeypatch.setattr(memory, "available_memory", lambda: 20_000)
    x = chainrule.ones(100, 8)
    with pytest.raises(OutOfMemoryError, match="step: needs") as found:
        step(x)
    lines = str(found.value).splitlines()
    assert "20 KB are available; nothing was allocated" in lines[0]
    assert "20 KB (5,000 elements of float32), made by" in lines[1]
    assert "test_compile_limits.py" in lines[1]
    assert "a smaller batch needs proportionally less" in lines[-1]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    monkeypatch.undo()
    assert step(x).item() > 0


def test_result_that_does_not_fit_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    run = chainrule.compile(lambda x: x.reshape(-1, 1) * x)
    with pytest.raises(OutOfMemoryError, match=r"multiply0: 4 MB \(1,000,000 elements of float32"):
        run(chainrule.ones(1000))
    assert run(chainrule.ones(10)).shape == (10, 10)


@pytest.mark.parametrize("folder", ["is a file", "cannot be written"])
def test_cache_folder_that_cannot_be_used_is_done_without(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_entries", "_objects", "_addresses"):  # as in a new process
        monkeypatch.setattr(library, name, {})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "file"))
    if folder == "cannot be written":
        monkeypatch.setenv("CHAINRULE_CACHE", "/proc/1/chainrule")
    x = chainrule.ones(7)
    assert chainrule.compile(lambda x: x * 3.0 + 1.0)(x).tolist() == [4.0] * 7


SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 3.4e38, 1e-45, 1.0], np.float32)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: F.softmax(x, 1), id="softmax"),
        pytest.param(lambda x: F.layer_norm(x, (x.shape[1],)), id="layer norm"),
        pytest.param(lambda x: x.max(1).values, id="max"),
        pytest.param(lambda x: x.argmax(1), id="argmax"),
        pytest.param(lambda x: x.sum(1), id="sum"),
        pytest.param(lambda x: x @ chainrule.ones(x.shape[1], 20), id="matmul"),
        pytest.param(lambda x: F.max_pool1d(x, 2), id="max pool"),
        pytest.param(lambda x: F.conv1d(x.unsqueeze(1), chainrule.ones(2, 1, 3)), id="conv"),
        pytest.param(lambda x: x.cumsum(1), id="cumsum"),
        pytest.param(lambda x: F.relu(x) + F.gelu(x) + x.tanh(), id="activations"),
    ],
)
@pytest.mark.parametrize("width", [4, 37, 130])
def test_special_numbers_pass_through_wide_and_narrow_rows(
    function: Callable[[Tensor], Any], width: int
) -> None:
    """One special number in each row, at another place in each."""
    x = np.random.default_rng(0).normal(size=(3 * len(SPECIAL), width)).astype(np.float32)
    at = np.random.default_rng(1).integers(0, width, len(x))
    x[np.arange(len(x)), at] = np.tile(SPECIAL, 3)
    given = chainrule.tensor(x)
    got, wanted = chainrule.compile(function)(given), function(given)
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=2e-5, atol=1e-5)
