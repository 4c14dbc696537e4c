"""Modules: walking, state, hooks, modes, conversion, texts, summaries."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


class Block(nn.Module):
    """x + f(x), as in a residual network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        return (x + self.norm(self.conv(x))).relu()


class Net(nn.Module):
    """A small residual network with a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(cr.ones(1))
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.blocks = nn.ModuleList([Block(4), Block(4)])
        self.heads = nn.ModuleDict({"digit": nn.Linear(4, 10)})
        self.register_buffer("mean", cr.zeros(1))
        self.register_buffer("cache", cr.zeros(2), persistent=False)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        x = self.stem(x - self.mean) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.heads["digit"](x.mean((2, 3)))


NAMES = [
    *("scale", "mean", "stem.weight", "stem.bias"),
    *(f"blocks.0.{n}" for n in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean")),
    *("blocks.0.norm.running_var", "blocks.0.norm.num_batches_tracked"),
    *(f"blocks.1.{n}" for n in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean")),
    *("blocks.1.norm.running_var", "blocks.1.norm.num_batches_tracked"),
    *("heads.digit.weight", "heads.digit.bias"),
]


# --- walking ----


def test_state_dict_has_pytorchs_names_in_order() -> None:
    assert list(Net().state_dict()) == NAMES


def test_named_parameters_follow_the_attributes() -> None:
    names = [name for name, _ in Net().named_parameters()]
    assert names == [n for n in NAMES if "running" not in n and "num" not in n and n != "mean"]
    assert [n for n, _ in Net().named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in Net().named_buffers()][:2] == ["mean", "cache"]


def test_named_modules_go_parents_first() -> None:
    names = [name for name, _ in Net().named_modules()]
    assert names[:6] == ["", "stem", "blocks", "blocks.0", "blocks.0.conv", "blocks.0.norm"]
    assert [name for name, _ in Net().named_children()] == ["stem", "blocks", "heads"]


def test_shared_parameter_appears_once_but_is_saved_under_both_names() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(3, 3, bias=False)
            self.decoder = nn.Linear(3, 3, bias=False)
            self.decoder.weight = self.encoder.weight

    model = Tied()
    assert len(list(model.parameters())) == 1
    assert list(model.state_dict()) == ["encoder.weight", "decoder.weight"]


def test_shared_module_appears_once() -> None:
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(model.parameters())) == 2
    assert len(list(model.modules())) == 3


def test_modules_that_hold_each_other_do_not_loop() -> None:
    parent, child = nn.Module(), nn.Linear(2, 2)
    parent.child = child  # type: ignore[attr-defined]
    child.parent = parent  # type: ignore[attr-defined]
    assert len(list(parent.modules())) == 2


def test_forgotten_super_init_does_no_harm() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return self.layer(x)

    model = Lazy()
    assert model(cr.ones((1, 2))).shape == (1, 2)
    assert len(list(model.parameters())) == 2
    assert model.training


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([nn.Linear(2, 2)], "Module.items: 1 Linear in a plain list"),
        ((nn.ReLU(), nn.ReLU()), "2 ReLU in a plain tuple"),
        ({"a": nn.Linear(2, 2)}, "self.items = nn.ModuleDict({...})"),
        ([nn.Parameter([1.0])], "self.items = nn.ParameterList([...])"),
    ],
)
def test_modules_in_plain_containers_are_an_error_with_remedy(value: Any, text: str) -> None:
    model = nn.Module()
    model.items = value  # type: ignore[attr-defined]
    for call in (model.parameters, model.modules, lambda: model.apply(print).modules()):
        with pytest.raises(cr.StateError) as caught:
            list(call())
        assert text in str(caught.value)
    with pytest.raises(cr.StateError, match=r"ModuleDict|ModuleList|ParameterList"):
        model.state_dict()


def test_plain_list_of_modules_that_are_held_elsewhere_is_allowed() -> None:
    model = nn.Module()
    model.first = nn.Linear(2, 2)  # type: ignore[attr-defined]
    model.order = [model.first]  # type: ignore[attr-defined]
    assert len(list(model.parameters())) == 2


def test_get_submodule_and_parameter_follow_dotted_names() -> None:
    model = Net()
    assert model.get_submodule("blocks.1.conv") is model.blocks[1].conv
    assert model.get_submodule("") is model
    assert model.get_parameter("heads.digit.bias") is model.heads["digit"].bias
    with pytest.raises(cr.ArgumentError) as caught:
        model.get_submodule("blocks.1.cov")
    assert "Net: has no module 'blocks.1.cov'" in str(caught.value)
    assert "did you mean 'blocks.1.conv'?" in str(caught.value)
    with pytest.raises(cr.ArgumentError, match=r"did you mean .stem\.bias."):
        model.get_parameter("stem.bais")


def test_register_checks_names_and_values() -> None:
    model = nn.Module()
    model.register_parameter("w", nn.Parameter(cr.ones(2)))
    model.register_parameter("b", None)
    assert [n for n, _ in model.named_parameters()] == ["w"]
    for bad in ("a.b", "", "w", "forward"):
        with pytest.raises(cr.ArgumentError):
            model.register_buffer(bad, cr.ones(1))
    with pytest.raises(cr.ArgumentError, match=r"nn\.Parameter\(x\)"):
        model.register_parameter("v", cr.ones(2))  # type: ignore[arg-type]
    with pytest.raises(cr.ArgumentError, match="expected a tensor"):
        model.register_buffer("v", [1.0])  # type: ignore[arg-type]


def test_plain_tensor_in_the_place_of_a_parameter_is_refused() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(cr.ArgumentError) as caught:
        layer.weight = layer.weight * 2  # type: ignore[assignment]
    assert "Linear.weight: is a parameter" in str(caught.value)
    assert "module.weight.copy_(x)" in str(caught.value)
    layer.weight = nn.Parameter(layer.weight * 2)
    layer.bias = None
    assert len(list(layer.parameters())) == 1


# --- modes, gradients, conversion ----


def test_train_and_eval_reach_every_module() -> None:
    model = Net()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert all(m.training for m in model.modules())
    with pytest.raises(cr.ArgumentError, match="expected True or False"):
        model.train(np.ones(3))  # type: ignore[arg-type]


def test_zero_grad_removes_or_clears() -> None:
    model = nn.Linear(2, 2)
    model(cr.ones((1, 2))).sum().backward()
    model.zero_grad(set_to_none=False)
    assert all((p.grad == 0).all() for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_clearing_one_gradient_leaves_another_alone() -> None:
    """The same tensor may arrive as gradient at two parameters."""
    a, b = nn.Parameter(cr.ones(2)), nn.Parameter(cr.ones(2))
    (a + b).sum().backward()
    nn.utils.clip_grad_norm_([a], 0.5)
    np.testing.assert_array_equal(np.asarray(b.grad), [1, 1])


def test_requires_grad_freezes() -> None:
    model = Net().requires_grad_(False)
    assert not model(cr.ones((2, 1, 4, 4))).requires_grad
    model.heads.requires_grad_()
    assert next(n for n, p in model.named_parameters() if p.requires_grad) == "heads.digit.weight"


def test_conversion_is_in_place_and_spares_integers() -> None:
    model = Net()
    weight = model.stem.weight
    model(cr.ones((2, 1, 4, 4))).sum().backward()
    assert model.double() is model
    assert model.stem.weight is weight
    assert weight.dtype is cr.float64
    assert weight.grad is not None
    assert weight.grad.dtype is cr.float64
    assert weight.is_leaf
    assert weight.requires_grad
    assert model.mean.dtype is cr.float64
    assert model.blocks[0].norm.num_batches_tracked.dtype is cr.int64
    assert model(cr.ones((2, 1, 4, 4), dtype="float64")).dtype is cr.float64
    assert model.to("cpu", "float32").to(cr.ones(1)).float().stem.weight.dtype is cr.float32
    assert model.half().stem.weight.dtype is cr.float16
    with pytest.raises(cr.DTypeError, match="only to floating-point types"):
        model.to("int64")
    with pytest.raises(cr.ArgumentError, match="not available"):
        model.to("cuda")


def test_apply_visits_children_before_parents() -> None:
    seen: list[str] = []
    Net().apply(lambda m: seen.append(type(m).__name__))
    assert seen[:4] == ["Conv2d", "Conv2d", "BatchNorm2d", "Block"]
    assert seen[-1] == "Net"


def test_deepcopy_is_independent() -> None:
    model = Net()
    twin = copy.deepcopy(model)
    with cr.no_grad():
        twin.stem.weight.fill_(0.0)
    assert (model.stem.weight != 0).any()
    assert {id(p) for p in model.parameters()}.isdisjoint(id(p) for p in twin.parameters())
    assert list(twin.state_dict()) == NAMES


# --- state ----


def test_state_is_a_snapshot() -> None:
    model = nn.Linear(2, 2)
    state = model.state_dict()
    before = state["weight"].numpy()
    with cr.no_grad():
        model.weight.fill_(7.0)
    np.testing.assert_array_equal(state["weight"].numpy(), before)
    result = model.load_state_dict(state)
    assert result == ([], [])
    np.testing.assert_array_equal(model.weight.numpy(), before)
    assert model.weight.requires_grad
    assert not state["weight"].requires_grad


def test_state_loads_from_arrays() -> None:
    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": np.array([[1, 2]], "f4"), "bias": np.array([3], "f4")})
    assert model(cr.tensor([[1.0, 1.0]])).tolist() == [[6.0]]


def test_bad_state_lists_everything_and_changes_nothing() -> None:
    model = Net()
    before = model.state_dict()
    bad = dict(before)
    bad["stem.wieght"] = bad.pop("stem.weight") * 0
    bad["scale"] = cr.zeros(3)
    bad["mean"] = cr.zeros(1, dtype="float64")
    with pytest.raises(cr.StateError) as caught:
        model.load_state_dict(bad)
    assert str(caught.value).splitlines() == [
        "load_state_dict: the values do not fit Net; nothing was changed",
        "  missing: stem.weight (did you mean 'stem.wieght'?)",
        "  unexpected: stem.wieght (did you mean 'stem.weight'?)",
        "  scale: is f32[1] here, but f32[3] in what is loaded",
        "  mean: is float32 here, but float64 in what is loaded",
        "  hint: build the model with the sizes that it was saved with",
    ]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())


def test_long_listings_of_differences_are_cut() -> None:
    with pytest.raises(cr.StateError) as caught:
        Net().load_state_dict({})
    assert "... and 10 more" in str(caught.value)


def test_state_of_parallel_training_gets_its_remedy() -> None:
    model = nn.Linear(2, 2)
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    with pytest.raises(cr.StateError, match=r'removeprefix\("module\."\)'):
        model.load_state_dict(state)


def test_loose_loading_takes_what_fits_and_converts() -> None:
    model = nn.Linear(2, 1)
    result = model.load_state_dict(
        {"bias": cr.tensor([5.0], dtype="float64"), "other": cr.ones(1)}, strict=False
    )
    assert result.missing_keys == ["weight"]
    assert result.unexpected_keys == ["other"]
    assert model.bias is not None
    assert model.bias.tolist() == [5.0]
    assert model.bias.dtype is cr.float32
    with pytest.raises(cr.StateError):
        model.load_state_dict({"bias": cr.tensor([5])}, strict=False)
    with pytest.raises(cr.ArgumentError, match="expected a dictionary"):
        model.load_state_dict([1, 2])  # type: ignore[arg-type]


# --- calling ----


def test_hooks_see_and_replace() -> None:
    layer = nn.Linear(2, 2)
    seen: list[Any] = []
    before = layer.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    after = layer.register_forward_hook(lambda m, args, out: seen.append((m, args[0].tolist())))
    double = layer.register_forward_hook(lambda m, args, out: out + 1)
    assert layer.bias is not None
    np.testing.assert_array_equal(layer(cr.ones((1, 2))).numpy(), layer.bias.numpy()[None] + 1)
    assert seen == [(layer, [[0.0, 0.0]])]
    for handle in (before, after, double, double):
        handle.remove()
    with layer.register_forward_hook(lambda m, args, out: out * 0):
        assert (layer(cr.ones((1, 2))) == 0).all()
    assert (layer(cr.ones((1, 2))) != 0).any()


def test_error_says_layer_line_and_remedy() -> None:
    model = Net()
    with pytest.raises(cr.ShapeError) as caught:
        model(cr.ones((2, 3, 8, 8)))
    text = str(caught.value)
    assert text.startswith("conv2d: input f32[2,3,8,8] has 3 channels (axis 1)")
    assert "in model.stem (Conv2d 1 -> 4, 3x3), called at test_module.py:" in text
    assert text.count("called at") == 1
    with pytest.raises(cr.ShapeError) as caught:
        model.blocks[1](cr.ones((2, 3, 8, 8)))
    assert "in model.conv (Conv2d 4 -> 4, 3x3)" in str(caught.value)


def test_error_in_a_list_names_the_whole_path() -> None:
    model = Net()
    model.blocks[1].conv = nn.Conv2d(8, 4, 3)
    with pytest.raises(cr.ShapeError, match=r"in model\.blocks\.1\.conv \(Conv2d 8 -> 4, 3x3\)"):
        model(cr.ones((2, 1, 8, 8)))


def test_scope_is_left_after_an_error() -> None:
    model = nn.Linear(2, 2)
    for _ in range(2):
        with pytest.raises(cr.ShapeError, match=r"in Linear \(2 -> 2\)"):
            model(cr.ones((1, 3)))
    with pytest.raises(cr.ShapeError) as caught:
        cr.ones((1, 3)) @ cr.ones((2, 2))
    assert "in Linear" not in str(caught.value)


def test_missing_forward_is_explained() -> None:
    with pytest.raises(cr.StateError, match="ModuleList: has no forward"):
        nn.ModuleList()(cr.ones(1))


# --- containers ----


def test_sequential_works_as_a_list() -> None:
    a, b, c = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)
    model = nn.Sequential(a, b)
    model.append(c)
    assert list(model) == [a, b, c]
    assert model[-1] is c
    assert len(model[:2]) == 2
    assert isinstance(model[1:], nn.Sequential)
    model.insert(1, nn.Tanh())
    assert [n for n, _ in model.named_children()] == ["0", "1", "2", "3"]
    del model[1]
    model[1] = nn.Identity()
    assert b not in model
    assert a in model
    with pytest.raises(cr.IndexRangeError, match="index 3, but there are 3 modules"):
        model[3]


def test_sequential_takes_names() -> None:
    model = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "relu": nn.ReLU()})
    assert list(model.state_dict()) == ["conv.weight", "conv.bias"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), cr.relu), "got relu, expected modules"),
        (lambda: nn.Sequential(nn.ReLU), "make one of the class: ReLU()"),
        (lambda: nn.Sequential([nn.ReLU()]), "unpack it: nn.Sequential(*layers)"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), "ModuleDict: the name 'a.b'"),
        (lambda: nn.ModuleList([3]), "ModuleList: got int, expected modules"),
        (lambda: nn.ParameterList([3]), "ParameterList: got int, expected parameters"),
    ],
)
def test_containers_refuse_what_is_no_module(make: Callable[[], object], text: str) -> None:
    with pytest.raises(cr.ArgumentError) as caught:
        make()
    assert text in str(caught.value)


def test_parameter_containers_are_found() -> None:
    model = nn.Module()
    model.weights = nn.ParameterList([cr.ones(2), nn.Parameter(cr.ones(3))])  # type: ignore[attr-defined]
    model.named = nn.ParameterDict({"a": cr.ones(1)})  # type: ignore[attr-defined]
    assert list(model.state_dict()) == ["weights.0", "weights.1", "named.a"]
    assert len(list(model.parameters())) == 3


def test_repr_nests_as_pytorchs() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )


def test_parameter_is_a_leaf_of_floats() -> None:
    p = nn.Parameter(cr.ones(2))
    assert isinstance(p, cr.Tensor)
    assert repr(p).startswith("Parameter containing:\ntensor(")
    assert not nn.Parameter(cr.ones(2), requires_grad=False).requires_grad
    with pytest.raises(cr.DTypeError, match="register_buffer"):
        nn.Parameter(cr.tensor([1, 2]))


# --- summary ----


def test_summary_shows_skip_connections_and_leaves_the_model_as_it_was() -> None:
    model = Net()
    model.stem.requires_grad_(False)
    model.blocks.eval()
    state = model.state_dict()
    drawn = cr.default_generator().get_state()
    summary = nn.summarize(model, cr.ones((1, 1, 4, 4)))
    assert cr.default_generator().get_state() == drawn
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())
    assert model.training
    assert not model.blocks[0].training
    assert not model.stem.weight.requires_grad
    assert summary.parameters == sum(p.numel() for p in model.parameters())
    assert summary.trainable == summary.parameters - 40
    assert [row.path for row in summary.rows] == [
        *("stem", "blocks.0.conv", "blocks.0.norm", "blocks.1.conv", "blocks.1.norm"),
        "heads.digit",
    ]
    assert summary.rows[0].shape == (1, 4, 4, 4)
    by_id = {node.id: node for node in summary.nodes}
    into_add = [
        (by_id[a].label, by_id[a].path) for a, b in summary.edges if by_id[b].label == "add"
    ]
    assert into_add == [
        *(("multiply", ""), ("BatchNorm2d", "blocks.0.norm")),
        *(("relu", "blocks.0"), ("BatchNorm2d", "blocks.1.norm")),
    ]
    assert [node.kind for node in summary.nodes].count("input") == 1
    (stem,) = (node for node in summary.nodes if node.path == "stem")
    assert (stem.label, stem.detail, stem.kind) == ("Conv2d", "1 -> 4, 3x3", "layer")
    assert (stem.parameters, stem.shape) == (40, (1, 4, 4, 4))
    reached = {summary.nodes[0].id}
    for source, target in summary.edges:
        assert source in reached
        reached.add(target)
    assert reached == set(by_id)


def test_summary_handles_shared_unused_integer_and_silent_layers() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 3)
            self.drop = nn.Dropout(0.5)
            self.layer = nn.Linear(3, 3)
            self.spare = nn.Linear(3, 3)

        def forward(self, x: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
            x = self.layer(self.layer(self.drop(self.table(x))))
            return x, x.sum()

    summary = nn.summarize(Odd(), cr.tensor([[1, 2]]))
    assert [row.path for row in summary.rows] == ["table", "drop", "layer", "layer"]
    assert [row.parameters for row in summary.rows] == [15, 0, 12, 0]
    assert summary.unused == ("spare",)
    labels = {node.id: node.label for node in summary.nodes}
    assert [(labels[a], labels[b]) for a, b in summary.edges] == [
        *(("input", "Embedding"), ("Embedding", "Dropout"), ("Dropout", "Linear")),
        *(("Linear", "Linear"), ("Linear", "sum"), ("Linear", "output 1"), ("sum", "output 2")),
    ]
    text = str(summary)
    assert "not called: spare" in text
    assert len({len(line) for line in text.splitlines()[1:7]}) == 1
