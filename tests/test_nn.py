"""Layers and losses: values, gradients and state against PyTorch, in float64."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn
from chainrule.testing import gradcheck

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

RTOL, ATOL = 1e-10, 1e-12  # float64: a few hundred roundings of sums of some hundred terms

# name of the layer, arguments, keyword arguments, shape of the input
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Linear", (4, 3), {}, (5, 4)),
    ("Linear", (4, 3), {"bias": False}, (2, 5, 4)),
    ("Linear", (4, 3), {}, (4,)),
    ("Linear", (4, 3), {}, (0, 4)),
    ("Identity", (), {}, (2, 3)),
    ("Conv1d", (3, 4, 3), {"stride": 2, "padding": 1}, (2, 3, 9)),
    ("Conv1d", (4, 4, 3), {"groups": 2, "dilation": 2, "padding": "same"}, (2, 4, 9)),
    ("Conv1d", (2, 3, 4), {"padding": "same"}, (2, 2, 9)),
    ("Conv1d", (2, 3, 3), {"padding": 2, "padding_mode": "circular"}, (2, 2, 9)),
    ("Conv2d", (3, 4, 3), {}, (2, 3, 6, 7)),
    ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "bias": False}, (2, 3, 6, 7)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "padding": "same", "dilation": 2}, (2, 4, 6, 7)),
    ("Conv2d", (4, 4, 1), {}, (4, 6, 7)),
    ("Conv2d", (2, 3, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 3), {"padding": (1, 2), "padding_mode": "replicate"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, (3, 4)), {"padding": "same", "padding_mode": "circular"}, (2, 2, 6, 7)),
    ("Conv2d", (2, 3, 3), {"padding": "valid"}, (2, 2, 6, 7)),
    ("Conv3d", (2, 3, 2), {"stride": 2, "padding": 1}, (2, 2, 4, 5, 3)),
    ("ConvTranspose1d", (3, 4, 3), {"stride": 2, "output_padding": 1}, (2, 3, 5)),
    ("ConvTranspose2d", (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 3, 4, 5)),
    ("ConvTranspose2d", (4, 6, 2), {"groups": 2, "dilation": 2, "bias": False}, (2, 4, 4, 5)),
    ("ConvTranspose3d", (2, 3, 2), {"stride": (1, 2, 1)}, (1, 2, 3, 2, 3)),
    ("MaxPool1d", (2,), {}, (2, 3, 7)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 7)),
    ("MaxPool2d", ((3, 2),), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 6, 7)),
    ("MaxPool2d", (2, 1), {"dilation": 2}, (3, 6, 7)),
    ("MaxPool3d", (2,), {}, (2, 3, 4, 5, 4)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 7)),
    ("AvgPool2d", (2,), {}, (2, 3, 6, 7)),
    ("AvgPool2d", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}, (2, 3, 6, 7)),
    ("AvgPool2d", (2,), {"divisor_override": 3}, (2, 3, 6, 7)),
    ("AvgPool3d", (2,), {}, (2, 3, 4, 5, 4)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 7)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d", ((4, None),), {}, (2, 3, 6, 7)),
    ("AdaptiveMaxPool1d", (3,), {}, (2, 3, 7)),
    ("AdaptiveMaxPool2d", ((3, 2),), {}, (2, 3, 6, 7)),
    ("LayerNorm", (4,), {}, (3, 4)),
    ("LayerNorm", ((3, 4),), {"eps": 0.1}, (2, 3, 4)),
    ("LayerNorm", ([4],), {"bias": False}, (2, 3, 4)),
    ("LayerNorm", (4,), {"elementwise_affine": False}, (2, 3, 4)),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    ("BatchNorm1d", (4,), {"momentum": 0.3, "eps": 0.01}, (5, 4, 3)),
    ("BatchNorm2d", (3,), {}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"affine": False, "track_running_stats": False}, (4, 3, 2, 5)),
    ("BatchNorm3d", (2,), {"momentum": None}, (2, 2, 2, 3, 2)),
    ("Dropout", (0.0,), {}, (3, 4)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Flatten", (0, 1), {}, (2, 3, 4)),
    ("Unflatten", (1, (2, 3)), {}, (4, 6, 2)),
    ("Unflatten", (-1, (2, -1)), {}, (4, 6)),
    ("ReLU", (), {"inplace": True}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", ("tanh",), {}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4, 2)),
    ("Softmax", (), {"dim": -1}, (3, 4)),
    ("LogSoftmax", (1,), {}, (3, 4)),
]


def title(case: tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]) -> str:
    return "-".join(map(str, case)).replace(" ", "")


def pair(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Return our layer and PyTorch's with the same random values, taken over from ours."""
    rng = np.random.default_rng(0)
    ours = getattr(nn, name)(*args, **kwargs).double()
    theirs = getattr(torch.nn, name)(
        *args, **{**kwargs, "inplace": False} if "inplace" in kwargs else kwargs
    )
    theirs = theirs.double()
    with cr.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(cr.tensor(rng.normal(size=parameter.shape)))
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("case", LAYERS, ids=title)
def test_layer_agrees_with_pytorch(case: tuple[str, Any, Any, Any]) -> None:
    name, args, kwargs, shape = case
    ours, theirs = pair(name, args, kwargs)
    rng = np.random.default_rng(1)
    for _ in range(2):  # twice: batch norm remembers
        x = rng.normal(size=shape)
        a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        with warnings.catch_warnings():  # PyTorch warns of an odd "same" padding
            warnings.simplefilter("ignore")
            y, z = ours(a), theirs(b)
        close(y, z)
        weights = rng.normal(size=y.shape)
        (y * cr.tensor(weights)).sum().backward()
        (z * torch.tensor(weights)).sum().backward()
        close(a.grad, b.grad)
        for (own, p), (their, q) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            assert own == their
            close(p.grad, q.grad)
    for own, value in ours.state_dict().items():
        close(value, theirs.state_dict()[own])
    ours.eval()
    theirs.eval()
    x = rng.normal(size=shape)
    close(ours(cr.tensor(x)), theirs(torch.tensor(x)))


@pytest.mark.parametrize("case", LAYERS, ids=title)
def test_layer_state_walks_both_ways(case: tuple[str, Any, Any, Any]) -> None:
    name, args, kwargs, _ = case
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert ours.state_dict()[key].dtype.name == str(value.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(ours.state_dict()[key].numpy(), value.numpy())


@pytest.mark.parametrize("case", LAYERS, ids=title)
def test_layer_repr_is_pytorchs(case: tuple[str, Any, Any, Any]) -> None:
    name, args, kwargs, _ = case
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)

    def plain(text: str) -> str:  # (2, 2) and 2 say the same of a window; newer PyTorch adds bias=
        text = re.sub(r"\((\d+)(, \1)*,?\)", r"\1", text)
        return re.sub(r", bias=(True|False)\)$", ")", text)

    assert plain(repr(ours)) == plain(repr(theirs))


SMOOTH = [case for case in LAYERS if "Max" not in case[0] and case[0] not in ("ReLU", "LeakyReLU")]


@pytest.mark.parametrize("case", SMOOTH, ids=title)
def test_layer_passes_gradcheck(case: tuple[str, Any, Any, Any]) -> None:
    name, args, kwargs, shape = case
    if "BatchNorm" in name:
        kwargs = {**kwargs, "track_running_stats": False}
    ours, _ = pair(name, args, kwargs)
    x = cr.tensor(np.random.default_rng(2).normal(size=shape))
    assert gradcheck(ours, x)
    for key, parameter in list(ours.named_parameters()):

        def of_parameter(value: cr.Tensor, key: str = key) -> cr.Tensor:
            # The differentiated tensor takes the parameter's place, which `=` would refuse.
            vars(ours)[key] = value
            return ours(x)

        assert gradcheck(of_parameter, parameter.detach())
        vars(ours)[key] = parameter


# --- embedding, dropout, batch norm: what the table above cannot say ----


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding_agrees_with_pytorch(padding_idx: int | None) -> None:
    ours, theirs = pair("Embedding", (5, 3), {"padding_idx": padding_idx})
    index = np.array([[0, 2, 2], [4, 1, 0]])
    y, z = ours(cr.tensor(index)), theirs(torch.tensor(index))
    close(y, z)
    weights = np.random.default_rng(0).normal(size=y.shape)
    (y * cr.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    close(ours.weight.grad, theirs.weight.grad)
    assert repr(ours) == repr(theirs)


def test_embedding_padding_row_starts_at_zero() -> None:
    layer = nn.Embedding(5, 3, padding_idx=1)
    assert layer.weight[1].tolist() == [0.0, 0.0, 0.0]
    assert (layer.weight[0] != 0).all()
    assert layer.weight.is_leaf
    assert layer.weight.requires_grad


def test_dropout_keeps_mean_and_share() -> None:
    cr.manual_seed(0)
    layer = nn.Dropout(0.3)
    x = cr.ones(200_000)
    y = layer(x).numpy()
    dropped = (y == 0).mean()
    assert abs(dropped - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
    assert abs(y.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / y.size)
    assert (layer(x).numpy() != y).any()
    layer.eval()
    assert (layer(x) == x).all()


def test_dropout_gradient_is_the_mask() -> None:
    x = cr.ones((50, 3), requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), np.asarray(y))


def test_dropout_one_drops_everything() -> None:
    assert (nn.Dropout(1.0)(cr.ones(4)) == 0).all()


@pytest.mark.parametrize("kwargs", [{}, {"momentum": None}, {"affine": False}, {"momentum": 0.0}])
def test_batch_norm_running_statistics_agree_with_pytorch(kwargs: dict[str, Any]) -> None:
    ours, theirs = pair("BatchNorm2d", (3,), kwargs)
    rng = np.random.default_rng(0)
    for step in range(6):
        mode = step != 3
        ours.train(mode)
        theirs.train(mode)
        x = rng.normal(2.0, 3.0, size=(4, 3, 2, 2))
        close(ours(cr.tensor(x)), theirs(torch.tensor(x)))
        for key, value in theirs.state_dict().items():
            close(ours.state_dict()[key], value)
    assert ours.num_batches_tracked.item() == 5


def test_batch_norm_refused_batch_does_not_count() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(cr.ShapeError, match="training needs at least 2"):
        layer(cr.ones((1, 3)))
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_of_wrong_layout_names_the_right_layer() -> None:
    with pytest.raises(cr.ShapeError) as caught:
        nn.BatchNorm2d(3)(cr.ones((4, 3)))
    text = str(caught.value)
    assert "BatchNorm2d: input f32[4,3] has 2 axes, expected [N, C, H, W]" in text
    assert "hint: nn.BatchNorm1d(3)" in text
    assert "in BatchNorm2d (3), called at test_nn.py" in text


def test_max_pool_indices_agree_with_pytorch() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    values, index = nn.MaxPool2d(2, return_indices=True)(cr.tensor(x))
    want, where = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(x))
    close(values, want)
    np.testing.assert_array_equal(np.asarray(index), where.numpy())


# --- losses ----

CLASSES = np.array([0, 2, 1, 3])
WEIGHTS = np.array([1.0, 0.5, 2.0, 3.0])
LOSSES: list[tuple[str, dict[str, Any], tuple[int, ...], Any]] = [
    ("CrossEntropyLoss", {}, (4, 4), CLASSES),
    ("CrossEntropyLoss", {"weight": WEIGHTS, "label_smoothing": 0.1}, (4, 4), CLASSES),
    ("CrossEntropyLoss", {"ignore_index": 2, "reduction": "sum"}, (4, 4), CLASSES),
    ("CrossEntropyLoss", {"reduction": "none"}, (4, 4), np.full((4, 4), 0.25)),
    ("CrossEntropyLoss", {}, (2, 4, 3), np.array([[0, 1, 2], [3, 3, 0]])),
    ("NLLLoss", {}, (4, 4), CLASSES),
    ("NLLLoss", {"weight": WEIGHTS, "ignore_index": 1}, (4, 4), CLASSES),
    ("BCEWithLogitsLoss", {}, (4, 4), np.eye(4)),
    ("BCEWithLogitsLoss", {"weight": WEIGHTS, "pos_weight": WEIGHTS}, (4, 4), np.eye(4)),
    ("MSELoss", {}, (4, 3), np.ones((4, 3))),
    ("MSELoss", {"reduction": "sum"}, (4, 3), np.ones((4, 3))),
    ("L1Loss", {"reduction": "none"}, (4, 3), np.ones((4, 3))),
]


@pytest.mark.parametrize("case", LOSSES, ids=lambda c: f"{c[0]}-{'-'.join(c[1])}")
def test_loss_agrees_with_pytorch(case: tuple[str, dict[str, Any], Any, np.ndarray]) -> None:
    name, kwargs, shape, target = case

    def convert(make: Callable[..., Any]) -> dict[str, Any]:
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}

    ours = getattr(nn, name)(**convert(cr.tensor))
    theirs = getattr(torch.nn, name)(**convert(torch.tensor))
    x = np.random.default_rng(0).normal(size=shape) * 3
    a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a, cr.tensor(target)), theirs(b, torch.tensor(target))
    close(y, z)
    y.sum().backward()
    z.sum().backward()
    close(a.grad, b.grad)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert gradcheck(lambda v: ours(v, cr.tensor(target)), cr.tensor(x))


# --- F.pad ----


@pytest.mark.parametrize(
    ("widths", "mode"),
    [
        *(((1, 2), "constant"), ((1, 2, 0, 3), "constant"), ((-1, 2, 1, -1), "constant")),
        *(((2, 1), "reflect"), ((2, 1, 1, 2), "reflect"), ((4, 3), "replicate")),
        *(((3, 2, 1, 0), "circular"), ((0, 0, 2, 2), "replicate")),
        *(((-1, 4, 1, -2), "reflect"), ((-2, -1), "reflect"), ((4, -4), "replicate")),
        *(((2, -1, -2, 1), "circular"), ((-3, 2), "circular")),
    ],
)
def test_pad_agrees_with_pytorch(widths: tuple[int, ...], mode: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 5))
    if len(widths) == 2 and mode != "constant":
        x = x[0]
    a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value = 1.5 if mode == "constant" else None
    y = F.pad(a, widths, mode, value)
    z = torch.nn.functional.pad(b, widths, mode, value)
    close(y, z)
    weights = np.random.default_rng(1).normal(size=y.shape)
    (y * cr.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    close(a.grad, b.grad)


@pytest.mark.parametrize(
    ("widths", "mode", "text"),
    [
        ((1,), "constant", "pad: widths [1] are not pairs for at most 2 axes of f32[2,3]"),
        ((1, 1, 1, 1, 1, 1), "constant", "are not pairs for at most 2 axes"),
        (
            (3, 0),
            "reflect",
            "pad: widths [3, 0] of axis 1 of f32[2,3] are above 2, which mode 'reflect' allows",
        ),
        ((-2, 2), "circular", "are above 1, which mode 'circular' allows"),
        ((-3, -1), "replicate", "take more elements than there are"),
        ((-2, -2), "circular", "take more elements than there are"),
        ((1, 1), "mirror", "unknown pad mode: 'mirror'"),
    ],
)
def test_pad_refuses_what_does_not_fit(widths: Any, mode: Any, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        F.pad(cr.ones((2, 3)), widths, mode)
    assert text in str(caught.value)


# --- arguments ----


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Linear(0, 3), "Linear: in_features is 0, expected at least 1"),
        (lambda: nn.Linear(4, 3.0), "Linear: out_features is 3.0, expected an integer"),
        (lambda: nn.Linear("4", 3), "Linear: in_features is '4' (str), expected an integer"),
        (lambda: nn.Linear(4, True), "Linear: out_features is True, expected an integer"),
        (lambda: nn.Linear(4, 3, 2), "Linear: bias is 2, expected True or False"),
        (lambda: nn.Linear(4, 3, dtype="int64"), "Linear: dtype is int64, expected a floating"),
        (lambda: nn.Linear(4, 3, nonlinearity="rellu"), "did you mean 'relu'?"),
        (lambda: nn.Conv2d(3, 8, (3, 3, 3)), "Conv2d: kernel_size is (3, 3, 3) (tuple), expected"),
        (lambda: nn.Conv2d(3, 8, 0), "Conv2d: kernel_size is 0"),
        (lambda: nn.Conv2d(3, 8, 3, padding=-1), "Conv2d: padding is -1, expected at least 0"),
        (lambda: nn.Conv2d(3, 8, 3, groups=2), "in_channels is 3, not divisible by groups=2"),
        (lambda: nn.Conv2d(3, 8, 3, padding="sam"), "did you mean 'same'?"),
        (lambda: nn.Conv2d(3, 8, 3, 2, "same"), "stride must be 1, got (2, 2)"),
        (lambda: nn.Conv1d(3, 8, 3, padding_mode="zero"), "did you mean 'zeros'?"),
        (lambda: nn.MaxPool2d(2, padding=2), "expected at most half of the window 2"),
        (lambda: nn.AvgPool1d(2, divisor_override=2), "divisor_override exists for 2d and 3d"),
        (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "output_size is (1, 2, 3)"),
        (lambda: nn.BatchNorm1d(-4), "BatchNorm1d: num_features is -4"),
        (lambda: nn.BatchNorm1d(4, momentum=1.5), "momentum is 1.5, expected a number from 0 to 1"),
        (lambda: nn.LayerNorm(()), "LayerNorm: normalized_shape is () (tuple)"),
        (lambda: nn.Dropout(1.5), "Dropout: p is 1.5, expected a number from 0 to 1"),
        (lambda: nn.Dropout(float("nan")), "Dropout: p is nan"),
        (lambda: nn.Dropout("0.5"), "Dropout: p is '0.5' (str)"),
        (lambda: nn.Embedding(10, 3, 10), "padding_idx is 10, outside a table of 10"),
        (lambda: nn.GELU("fast"), "unknown GELU approximate"),
        (lambda: nn.MSELoss(reduction="average"), "unknown MSELoss reduction: 'average'"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing is 2, expected"),
        (lambda: nn.Unflatten(1, (0, 2)), "unflattened_size is (0, 2)"),
        (lambda: nn.Unflatten(1, (2, 2))(cr.ones((1, 5))), "5 elements, which do not split"),
        (lambda: nn.Softmax()(cr.ones((1, 2, 3))), "so dim is needed"),
        (lambda: nn.Linear(4, 3, device="tpu"), "device 'tpu' is not available"),
    ],
)
def test_bad_argument_is_refused_at_construction(make: Callable[[], object], text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        make()
    assert text in str(caught.value)


def test_layers_compute_in_half_precision() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2)).bfloat16()
    y = model(cr.ones((3, 4), dtype="bfloat16"))
    assert y.dtype is cr.bfloat16
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype is cr.bfloat16 for p in model.parameters())
