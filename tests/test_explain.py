"""The line under an error that says where it happened, and checks that cost users nothing."""

from __future__ import annotations

import contextlib
import io
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

PAGE = Path(__file__).parent.parent / "docs" / "messages.md"


def depth(error: BaseException) -> int:
    """Return the number of frames between a test and the place where an error was raised."""
    return len(traceback.extract_tb(error.__traceback__)) - 1


def test_origin_is_the_function_that_the_user_called() -> None:
    x = cr.ones((2, 3))
    assert x.origin == "ones"
    assert x.flatten(0).origin == "flatten"
    assert nn.Linear(3, 1)(x).origin == "linear"
    assert (x + 1).origin == "add"


def test_origin_of_a_tensor_that_is_handed_through_stays() -> None:
    x = cr.ones((2, 3)).relu()
    assert nn.Dropout(0.5).eval()(x) is x
    assert cr.as_tensor(x) is x
    assert x.origin == "relu"


def test_traceback_is_whole_for_those_who_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    depths = []
    for value in ("", "1"):
        monkeypatch.setenv("CHAINRULE_DEBUG", value)
        with pytest.raises(cr.ShapeError) as caught:
            cr.ones((2, 3)).reshape(5, 5)
        depths.append(depth(caught.value))
    assert depths[0] < depths[1]


def test_traceback_keeps_frames_of_the_user_below_ours() -> None:
    def inner(x: cr.Tensor) -> cr.Tensor:
        raise cr.ArgumentError("the user's own")

    with pytest.raises(cr.ArgumentError) as caught:
        cr.checkpoint(inner, cr.ones(3, requires_grad=True))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "inner"


def test_argument_is_named_as_the_user_names_it() -> None:
    prices = cr.ones((2, 5))
    with pytest.raises(cr.ShapeError) as caught:
        nn.Linear(4, 3)(prices)
    assert "; x is prices, from ones at test_explain.py:" in str(caught.value)
    with pytest.raises(cr.ShapeError) as caught:
        nn.Linear(4, 3)(prices.relu())
    assert "; x comes from relu at test_explain.py:" in str(caught.value)


def test_own_buffers_of_a_layer_are_not_explained() -> None:
    with pytest.raises(cr.ShapeError) as caught:
        nn.BatchNorm1d(8)(cr.ones((3, 4)))
    assert "running_mean f32[8]" in str(caught.value)
    assert "running_mean comes" not in str(caught.value)


def accumulate(model: nn.Module, optimizer: optim.Optimizer) -> None:
    for _ in range(3):
        optimizer.zero_grad()
        for x in cr.ones((2, 4, 2)):
            model(x).mean().backward()
        optimizer.step()


def set_to_zero(model: nn.Module, optimizer: optim.Optimizer) -> None:
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        model(cr.ones((4, 2))).mean().backward()
        optimizer.step()


def clear_by_model(model: nn.Module, optimizer: optim.Optimizer) -> None:
    for _ in range(3):
        model.zero_grad()
        model(cr.ones((4, 2))).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()


def pass_through_between_steps(model: nn.Module, optimizer: optim.Optimizer) -> None:
    """As in a GAN: the other network's loss leaves gradients here, which are removed in time."""
    for _ in range(3):
        optimizer.zero_grad()
        model(cr.ones((4, 2))).mean().backward()
        optimizer.step()
        model(cr.ones((4, 2))).square().mean().backward()


@pytest.mark.parametrize(
    "loop", [accumulate, set_to_zero, clear_by_model, pass_through_between_steps]
)
def test_correct_loops_cause_no_warning_of_mixed_gradients(
    loop: Callable[[nn.Module, optim.Optimizer], None],
) -> None:
    model = nn.Linear(2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop(model, optim.Adam(model.parameters(), lr=0.1))


def test_clipping_does_not_hide_that_zero_grad_was_forgotten() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(cr.ones((4, 2))).mean().backward()
        optimizer.step()
    model(cr.ones((4, 2))).mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    with pytest.warns(cr.LikelyMistakeWarning, match="has those of earlier steps in it"):
        optimizer.step()


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "power", "matmul", "less", "arctan2"]
)
def test_numpy_functions_of_an_array_and_a_tensor_give_tensors(name: str) -> None:
    function = getattr(np, name)
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.5, 2.0, (3, 3)), rng.uniform(0.5, 2.0, (3, 3))
    result = function(a, cr.tensor(b))
    assert isinstance(result, cr.Tensor)
    np.testing.assert_allclose(np.asarray(result), function(a, b), rtol=1e-12)


def test_gradient_flows_through_a_numpy_function() -> None:
    x = cr.tensor(0.5, dtype=cr.float64, requires_grad=True)
    y = np.sin(x)
    assert isinstance(y, cr.Tensor)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(np.cos(0.5), rel=1e-12)


@pytest.mark.parametrize("function", [np.mean, np.sum, np.max, np.argmax, np.std])
def test_other_numpy_functions_see_an_array(function: Callable[..., object]) -> None:
    values = np.array([[1.0, 4.0], [3.0, 2.0]])
    assert function(cr.tensor(values)) == function(values)


def test_numpy_joins_arrays_and_tensors() -> None:
    joined = np.concatenate([cr.ones(2), np.zeros(1)])
    assert joined.tolist() == [1.0, 1.0, 0.0]


def test_page_of_messages_shows_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    names: dict[str, object] = {"__name__": "__main__"}
    for program, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "train.py", "exec"), names)
        assert printed.getvalue() == shown
    assert sum(bool(shown) for _, shown in blocks) == 10
