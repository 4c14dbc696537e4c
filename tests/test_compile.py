"""Compiled functions do what the functions do: results, changes of state, errors, retraces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced, require
from chainrule.graph.tracing import TraceError

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "dampened": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.2),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw amsgrad": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        *(nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 3)),
    )


def batches(count: int, size: int = 6) -> Iterator[tuple[Tensor, Tensor]]:
    source = chainrule.Generator(3)
    for _ in range(count):
        x = chainrule.randn(size, 8, generator=source)
        yield x, chainrule.randint(0, 3, (size,), generator=source)


def train(
    build: Callable[[], nn.Module],
    optimizer: Callable[[Any], optim.Optimizer],
    *,
    compiled: bool,
    steps: int = 6,
) -> tuple[list[float], dict[str, Any], list[Any]]:
    """Train a little; return the losses, the state and the gradients."""
    chainrule.manual_seed(0)
    model = build()
    rule = optimizer(model.parameters())

    def step(x: Tensor, y: Tensor) -> Tensor:
        rule.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        rule.step()
        return loss

    run = chainrule.compile(step) if compiled else step
    losses = []
    for number, (x, y) in enumerate(batches(steps)):
        if number == 3:
            rule.param_groups[0]["lr"] *= 0.5
        losses.append(run(x, y).item())
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    gradients = [p.grad.numpy() for p in model.parameters() if p.grad is not None]
    return losses, state, gradients


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", [mlp, convolutional])
def test_training_compiled_is_training_eager(
    build: Callable[[], nn.Module], optimizer: str
) -> None:
    eager = train(build, OPTIMIZERS[optimizer], compiled=False)
    compiled = train(build, OPTIMIZERS[optimizer], compiled=True)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=2e-5)
    assert compiled[1].keys() == eager[1].keys()
    for name, value in eager[1].items():
        np.testing.assert_allclose(compiled[1][name], value, rtol=2e-4, atol=2e-5, err_msg=name)
    for got, wanted in zip(compiled[2], eager[2], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-5)


def test_random_numbers_are_those_of_eager_mode() -> None:
    def draw() -> Tensor:
        return chainrule.rand(3, 5)

    run = chainrule.compile(draw)
    chainrule.manual_seed(7)
    wanted = [draw().numpy(), draw().numpy()]
    chainrule.manual_seed(7)
    got = [run().numpy(), run().numpy()]
    np.testing.assert_array_equal(got, wanted)
    assert (wanted[0] != wanted[1]).any()


def test_drawing_nothing_leaves_the_next_draw_new_at_each_call() -> None:
    f = chainrule.compile(lambda: (chainrule.rand(0), chainrule.rand(3)))
    chainrule.manual_seed(7)
    wanted = [(chainrule.rand(0), chainrule.rand(3))[1].numpy() for _ in range(2)]
    chainrule.manual_seed(7)
    np.testing.assert_array_equal([f()[1].numpy(), f()[1].numpy()], wanted)


def test_recomputation_draws_the_same_random_numbers() -> None:
    weight = nn.Parameter(chainrule.randn(4, 4, generator=chainrule.Generator(0)))

    def step(x: Tensor) -> Tensor:
        weight.grad = None
        y = chainrule.checkpoint(lambda x: F.dropout(x @ weight, 0.5), x)
        y.sum().backward()
        return y

    x = chainrule.ones(2, 4)
    results = []
    for run in (step, chainrule.compile(step)):
        chainrule.manual_seed(1)
        y = run(x)
        assert weight.grad is not None
        results.append((y.numpy(), weight.grad.numpy()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-6)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-6)


def test_nested_results_keep_their_structure() -> None:
    @chainrule.compile
    def f(pair: tuple[Tensor, dict[str, Tensor]], factor: int = 2) -> dict[str, Any]:
        x, named = pair
        return {"sum": [x + named["y"], factor], "same": (x,), "none": None}

    x, y = chainrule.ones(2), chainrule.full(2, 3.0)
    result = f((x, {"y": y}), factor=5)
    assert result["sum"][0].tolist() == [4.0, 4.0]
    assert result["sum"][1] == 5
    assert result["none"] is None
    assert result["same"][0].tolist() == [1.0, 1.0]


def test_arrays_are_taken_as_tensors() -> None:
    f = chainrule.compile(lambda x: x * 2.0)
    assert f(np.array([1.0, 2.0], np.float32)).tolist() == [2.0, 4.0]


def test_what_others_hold_never_changes() -> None:
    weight = nn.Parameter(chainrule.ones(64))

    @chainrule.compile
    def step() -> None:
        with chainrule.no_grad():
            weight.mul_(2.0)

    held = [weight.detach()]
    views = []
    for _ in range(3):
        step()
        held.append(weight.detach())
        views.append(np.asarray(weight.detach())[:1])
    assert [h[0].item() for h in held] == [1.0, 2.0, 4.0, 8.0]
    assert [float(v[0]) for v in views] == [2.0, 4.0, 8.0]


def test_argument_that_is_returned_is_that_of_this_call() -> None:
    f = chainrule.compile(lambda x: (x, x * 2.0))
    f(chainrule.ones(2))
    x = chainrule.full(2, 3.0)
    same, double = f(x)
    assert same is x
    assert double.tolist() == [6.0, 6.0]


def test_gradient_of_an_argument_is_left_and_can_be_returned() -> None:
    @chainrule.compile
    def f(x: Tensor) -> Tensor | None:
        x.grad = None
        (x * x).sum().backward()
        return x.grad

    for value in (1.0, 4.0):
        x = chainrule.full(2, value)
        x.requires_grad = True
        found = f(x)
        assert found is not None
        assert found is x.grad  # as in eager mode
        assert found.tolist() == [2.0 * value] * 2
    assert len(f.causes) == 1
    f(x)
    f(x)
    assert f.causes[1:] == ["argument 0 is f32[2] with a gradient, was f32[2] that requires one"]


def test_gradient_of_a_parameter_removed_by_hand_is_not_added_to() -> None:
    weight = nn.Parameter(chainrule.ones(2))

    @chainrule.compile
    def f(x: Tensor) -> None:
        weight.grad = None
        (weight * x).sum().backward()

    for value in (1.0, 2.0, 3.0, 4.0):
        f(chainrule.full(2, value))
        assert weight.grad is not None
        assert weight.grad.tolist() == [value, value]
    assert len(f.causes) == 2


def test_argument_changed_in_place_is_changed() -> None:
    @chainrule.compile
    def f(x: Tensor) -> None:
        x.add_(1.0)

    x = chainrule.zeros(3)
    f(x)
    f(x)
    assert x.tolist() == [2.0, 2.0, 2.0]


def test_tensor_that_is_only_overwritten_is_changed_at_each_call() -> None:
    total = chainrule.zeros(2)

    @chainrule.compile
    def f(x: Tensor) -> None:
        total.copy_(x * 2.0)

    for value in (1.0, 4.0):
        f(chainrule.full(2, value))
        assert total.tolist() == [2.0 * value] * 2


def test_tensor_kept_outside_is_renewed_at_each_call() -> None:
    kept: dict[str, Tensor] = {}

    @chainrule.compile
    def f(x: Tensor) -> Tensor:
        kept["hidden"] = x * 2.0
        return kept["hidden"] + 1.0

    f(chainrule.ones(2))
    assert kept["hidden"].tolist() == [2.0, 2.0]
    f(chainrule.full(2, 5.0))
    assert kept["hidden"].tolist() == [10.0, 10.0]


def test_gradients_accumulate_as_in_eager_mode() -> None:
    weight = nn.Parameter(chainrule.ones(2))

    @chainrule.compile
    def f(x: Tensor) -> None:
        (weight * x).sum().backward()

    for _ in range(3):
        f(chainrule.full(2, 2.0))
    assert weight.grad is not None
    assert weight.grad.tolist() == [6.0, 6.0]


def test_other_shape_is_traced_again_and_the_cause_is_said() -> None:
    f = chainrule.compile(lambda x, n: x * n)
    f(chainrule.ones(2), 3)
    f(chainrule.ones(2), 3)
    f(chainrule.ones(4), 3)
    f(chainrule.ones(4), 5)
    assert f.causes == [
        "first call",
        "argument 0 is f32[4], was f32[2]",
        "argument 1 is 5, was 3",
    ]


def test_one_and_true_and_one_point_zero_are_different_arguments() -> None:
    f = chainrule.compile(lambda x, n: x + (10 if isinstance(n, bool) else n))
    x = chainrule.zeros(1)
    assert [f(x, 1).item(), f(x, True).item(), f(x, 1.0).item()] == [1.0, 10.0, 1.0]


def test_mode_of_a_module_is_noticed() -> None:
    layer = nn.Dropout(0.5)
    f = chainrule.compile(lambda x: layer(x))
    x = chainrule.ones(1000)
    assert (f(x) == 0).any()
    layer.eval()
    assert (f(x) == 1).all()
    assert f.causes[-1] == "training of a module was changed"
    layer.train()
    f(x)
    assert len(f.causes) == 2


def test_setting_of_an_optimizer_is_noticed_and_its_rate_needs_no_trace() -> None:
    weight = nn.Parameter(chainrule.zeros(1))
    rule = optim.SGD([weight], lr=1.0)

    @chainrule.compile
    def step() -> None:
        rule.zero_grad()
        weight.sum().backward()
        rule.step()

    step()
    rule.param_groups[0]["lr"] = 10.0
    step()
    assert weight.item() == -11.0
    rule.param_groups[0]["maximize"] = True
    step()
    assert weight.item() == -1.0
    assert f"{step.causes[-1]}" == "a setting of SGD was changed"


def test_loaded_state_of_an_optimizer_is_used() -> None:
    def build() -> tuple[nn.Parameter, optim.Adam, Callable[[], None]]:
        weight = nn.Parameter(chainrule.ones(3))
        rule = optim.Adam([weight], lr=0.1)

        def step() -> None:
            rule.zero_grad()
            (weight * weight).sum().backward()
            rule.step()

        return weight, rule, chainrule.compile(step)

    weight, rule, step = build()
    step()
    step()
    saved, value = rule.state_dict(), weight.detach()
    step()
    wanted = weight.tolist()
    other, again, resumed = build()
    resumed()
    again.load_state_dict(saved)
    with chainrule.no_grad():
        other.copy_(value)
    resumed()
    assert other.tolist() == wanted


def test_number_of_signatures_kept_is_bounded() -> None:
    f = chainrule.compile(lambda x: x + 1.0, signatures=2)
    for size in (1, 2, 3, 1):
        f(chainrule.ones(size))
    assert len(f.causes) == 4


def test_decision_on_a_traced_value_names_line_and_alternative() -> None:
    @chainrule.compile
    def f(x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(TraceError, match="decides what Python does next") as found:
        f(chainrule.ones(2))
    assert "test_compile.py" in str(found.value)
    assert "chainrule.where" in str(found.value)


@pytest.mark.parametrize("read", [float, lambda x: x.item(), np.asarray, lambda x: x.numpy()])
def test_reading_a_traced_value_is_an_error(read: Callable[[Tensor], object]) -> None:
    @chainrule.compile
    def f(x: Tensor) -> Tensor:
        read(x.sum())
        return x

    with pytest.raises(TraceError, match="return the tensor and read it outside"):
        f(chainrule.ones(2))
    assert chainrule.ones(2).sum().item() == 2.0


def test_failed_trace_leaves_everything_as_it_was() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.numpy()
    state = chainrule.default_generator().get_state()

    @chainrule.compile
    def f(x: Tensor) -> None:
        with chainrule.no_grad():
            layer.weight.mul_(0.0)
        chainrule.rand(3)
        float(layer(x).sum())

    with pytest.raises(TraceError):
        f(chainrule.ones(1, 2))
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    assert chainrule.default_generator().get_state() == state
    assert layer.weight.grad is None


def test_argument_with_a_graph_of_its_own_is_refused() -> None:
    w = chainrule.ones(2, requires_grad=True)
    f = chainrule.compile(lambda x: x * 2.0)
    with pytest.raises(TraceError, match=r"pass x\.detach\(\)"):
        f(w * 3.0)


def test_wrong_target_is_refused_before_anything_is_changed() -> None:
    layer = nn.Linear(2, 2)
    rule = optim.SGD(layer.parameters(), lr=0.1)

    @chainrule.compile
    def step(x: Tensor, y: Tensor) -> Tensor:
        rule.zero_grad()
        loss = F.cross_entropy(layer(x), y)
        loss.backward()
        rule.step()
        return loss

    x = chainrule.ones(2, 2)
    step(x, chainrule.tensor([0, 1]))
    before = layer.weight.numpy()
    with pytest.raises(chainrule.IndexRangeError, match=r"target 5 at position \[1\]"):
        step(x, chainrule.tensor([0, 5]))
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_shape_error_while_tracing_names_the_users_line() -> None:
    f = chainrule.compile(lambda x, y: x @ y)
    with pytest.raises(chainrule.ShapeError, match="matmul") as found:
        f(chainrule.ones(2, 3), chainrule.ones(2, 3))
    assert "test_compile.py" in str(found.value)


def test_compiled_function_inside_another_is_part_of_it() -> None:
    inner = chainrule.compile(lambda x: x * 2.0)
    outer = chainrule.compile(lambda x: inner(x) + 1.0)
    assert outer(chainrule.ones(2)).tolist() == [3.0, 3.0]
    assert inner.causes == []


def test_stages_can_be_printed() -> None:
    f = chainrule.compile(lambda x: (x * 2.0).sum())
    traced = f.trace(chainrule.ones(3, 4))
    assert "multiply" in traced.text
    assert traced.cost.flops == 13
    assert traced.memory > 0
    lowered = traced.lower()
    assert "kernel" in lowered.text
    assert lowered.memory < traced.memory
    assert lowered.cost.flops == 24  # a product and a sum of 12 elements
    assert lowered.cost.bytes == 4 * (12 + 1)
    loaded = lowered.compile()
    assert "void @sum_0(" in loaded.text
    assert loaded.cost == lowered.cost
    assert loaded.memory >= lowered.memory


def test_condition_that_only_compiled_code_sees_broken_gives_the_eager_result() -> None:
    calls = []

    @chainrule.compile
    def f(x: Tensor) -> Tensor:
        traced = is_traced(x)
        calls.append(traced)
        if traced:
            require((x < 0).all(), chainrule.ArgumentError("x: is not negative"))
        return x + 1.0

    assert f(chainrule.ones(2)).tolist() == [2.0, 2.0]
    assert calls == [True, False]
