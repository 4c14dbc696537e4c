"""Convolution and pooling: random configurations against PyTorch, memory layouts, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.graph.op import FUNCTIONS, OPS
from chainrule.graph.tensor import Tensor, make
from chainrule.ops import avgpool, columns, convnd, maxpool, windows
from chainrule.testing import gradcheck

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
F = torch.nn.functional

Case = dict[str, Any]

# Importing these registers their functions by name.
FAMILIES = (avgpool, convnd, maxpool, windows)


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return the same elements in another order of memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def compare(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Any],
    arrays: list[np.ndarray],
    *,
    last: bool = False,
    rtol: float = 1e-9,
) -> None:
    """Compare values and gradients of all inputs."""
    xs = [
        make(channels_last(a) if last and i == 0 else a, cr.float64) for i, a in enumerate(arrays)
    ]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    for x in xs:
        x.requires_grad_()
    result, expected = ours(*xs), theirs(*ts)
    assert result.shape == tuple(expected.shape)
    np.testing.assert_allclose(np.asarray(result), expected.detach().numpy(), rtol, 1e-11)
    weight = np.random.default_rng(5).standard_normal(result.shape)
    (result * cr.tensor(weight)).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    for x, t in zip(xs, ts, strict=True):
        np.testing.assert_allclose(np.asarray(x.grad), t.grad.numpy(), rtol, 1e-10)


def random_case(seed: int, axes: int) -> tuple[list[np.ndarray], Case]:
    rng = np.random.default_rng(seed)
    groups, inputs, outputs = (int(v) for v in rng.integers(1, 4, 3))
    kernel, stride, dilation, padding = (
        tuple(int(v) for v in rng.integers(low, high, axes))
        for low, high in ((1, 4), (1, 4), (1, 3), (0, 3))
    )
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [
        max(1, span - 2 * p) + int(rng.integers(0, 6))
        for span, p in zip(spans, padding, strict=True)
    ]
    x = rng.standard_normal((int(rng.integers(1, 4)), groups * inputs, *size))
    w = rng.standard_normal((groups * outputs, inputs, *kernel))
    b = rng.standard_normal(groups * outputs)
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return [x, w, b], attrs


@pytest.mark.parametrize("chunk", [columns.CHUNK_BYTES, 1000], ids=["whole", "pieces"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_convolution_of_any_configuration_agrees_with_torch(
    seed: int, axes: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "CHUNK_BYTES", chunk)
    arrays, attrs = random_case(seed + 100 * axes, axes)
    ours, theirs = FUNCTIONS[f"conv{axes}d"], getattr(F, f"conv{axes}d")
    compare(
        lambda *a: ours(*a, **attrs), lambda *a: theirs(*a, **attrs), arrays, last=seed % 2 == 1
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_transposed_convolution_of_any_configuration_agrees_with_torch(
    seed: int, axes: int
) -> None:
    rng = np.random.default_rng(seed + 100 * axes)
    groups, inputs, outputs = (int(v) for v in rng.integers(1, 4, 3))
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, 4, axes)) for _ in range(3))
    padding = tuple(
        int(rng.integers(0, d * (k - 1) // 2 + 1)) for k, d in zip(kernel, dilation, strict=True)
    )
    edge = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
    x = rng.standard_normal((2, groups * inputs, *(int(v) for v in rng.integers(1, 5, axes))))
    w = rng.standard_normal((groups * inputs, outputs, *kernel))
    b = rng.standard_normal(groups * outputs)
    attrs: Case = {"stride": stride, "padding": padding, "output_padding": edge}
    attrs |= {"groups": groups, "dilation": dilation}
    ours, theirs = FUNCTIONS[f"conv_transpose{axes}d"], getattr(F, f"conv_transpose{axes}d")
    compare(lambda *a: ours(*a, **attrs), lambda *a: theirs(*a, **attrs), [x, w, b])


@pytest.mark.parametrize(
    ("shape", "weight"),
    [((4, 1, 14, 14), (8, 1, 5, 5)), ((3, 16, 9, 9), (24, 16, 3, 3)), ((2, 8, 6, 6), (8, 1, 3, 3))],
    ids=["taps", "pixels", "depthwise"],
)
def test_float32_convolution_is_as_exact_as_torch(
    shape: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, weight))
    groups = shape[1] // weight[1]
    result = FUNCTIONS["conv2d"](cr.tensor(x), cr.tensor(w), padding=1, groups=groups)
    exact = F.conv2d(torch.tensor(x).double(), torch.tensor(w).double(), padding=1, groups=groups)
    np.testing.assert_allclose(np.asarray(result), exact.numpy(), rtol=1e-4, atol=2e-5)


def test_convolution_second_derivatives_agree_with_differences() -> None:
    rng = np.random.default_rng(0)
    x, w = (
        cr.tensor(rng.standard_normal((1, 2, 4, 3))),
        cr.tensor(rng.standard_normal((2, 2, 2, 2))),
    )

    def squared_gradient(x: Tensor, w: Tensor) -> Tensor:
        with cr.enable_grad():
            x, w = (v if v.node is not None else v.requires_grad_() for v in (x, w))
            y = FUNCTIONS["conv2d"](x, w, stride=(2, 1), padding=1).square().sum()
            gx, gw = cr.grad(y, [x, w], create_graph=True)
        assert gx is not None
        assert gw is not None
        return gx.square().sum() + gw.square().sum()

    assert gradcheck(squared_gradient, [x, w])


def test_first_layer_computes_no_gradient_of_its_input() -> None:
    x, w = cr.ones((1, 1, 3, 3)), cr.ones((1, 1, 2, 2)).requires_grad_()
    attrs: Case = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    to_x, to_w = OPS["conv"].vjp(cr.ones((1, 1, 2, 2)), cr.ones(()), x, w, **attrs)
    assert to_x is None
    assert to_w.shape == w.shape


@pytest.mark.parametrize(
    ("shape", "weight", "attrs", "text"),
    [
        (
            (8, 32, 32, 3),
            (16, 3, 3, 3),
            {},
            "conv2d: input f32[8,32,32,3] has 32 channels (axis 1), weight f32[16,3,3,3] expects 3"
            "\n  called at test_convolution.py",
        ),
        (
            (8, 32, 32, 3),
            (16, 3, 3, 3),
            {},
            "hint: input has 3 channels in the last axis - NCHW expected: x.permute(0, 3, 1, 2)",
        ),
        ((8, 1, 9, 9), (16, 3, 3, 3), {}, "hint: nn.Conv2d(1, 16, ...)"),
        (
            (8, 3, 4, 4),
            (16, 3, 5, 5),
            {},
            "conv2d: the kernel spans [5, 5] but the padded input only [4, 4]",
        ),
        ((8, 3, 6, 6), (16, 3, 3, 3), {"dilation": 3}, "spans [7, 7] (dilation [3, 3])"),
        ((8, 4, 6, 6), (5, 2, 3, 3), {"groups": 2}, "groups=2 must divide the input's 4 channels"),
        ((8, 4, 6, 6), (4, 4, 3, 3), {"groups": 2}, "weight.shape[1] must be channels / groups"),
        ((8, 6), (5, 2, 3, 3), {}, "has 2 axes, expected [N,C,H,W] or one example without N"),
        ((8, 3, 6, 6), (5, 3, 3), {}, "weight f32[5,3,3] must have 4 axes"),
        ((8, 3, 6, 6), (5, 3, 3, 3), {"stride": 0}, "stride=0, expected an integer from 1 on"),
        ((8, 3, 6, 6), (5, 3, 3, 3), {"padding": "full"}, "unknown padding of conv2d: 'full'"),
        ((8, 3, 6, 6), (5, 3, 3, 3), {"padding": "same", "stride": 2}, "only with stride 1"),
        ((8, 3, 6, 6), (5, 3, 3, 3), {"groups": 0}, "groups=0, expected at least 1"),
    ],
)
def test_wrong_arguments_of_conv2d_name_shapes_and_remedy(
    shape: tuple[int, ...], weight: tuple[int, ...], attrs: Case, text: str
) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        FUNCTIONS["conv2d"](cr.ones(shape), cr.ones(weight), **attrs)
    assert text in str(caught.value)


def test_integer_images_are_refused_with_the_scaling_as_remedy() -> None:
    images = cr.tensor(np.zeros((2, 3, 8, 8), np.uint8))
    with pytest.raises(cr.DTypeError, match=r"hint: x\.float\(\) / 255"):
        FUNCTIONS["conv2d"](images, cr.ones((4, 3, 3, 3)))


def test_transposed_convolution_of_wrong_channels_is_refused() -> None:
    with pytest.raises(cr.ShapeError, match=r"has 4 channels .* expects 3"):
        FUNCTIONS["conv_transpose2d"](cr.ones((1, 4, 3, 3)), cr.ones((3, 2, 2, 2)))
    with pytest.raises(cr.ArgumentError, match=r"output_padding=.* must be smaller than stride"):
        FUNCTIONS["conv_transpose2d"](
            cr.ones((1, 3, 3, 3)), cr.ones((3, 2, 2, 2)), output_padding=1
        )


POOLINGS = [
    ("max_pool2d", (2, 3, 7, 6), {"kernel_size": 2}),
    ("max_pool2d", (2, 3, 7, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (2, 3, 7, 6), {"kernel_size": (3, 2), "stride": 1, "dilation": 2}),
    ("max_pool2d", (2, 3, 8, 6), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ("max_pool2d", (2, 3, 7, 6), {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}),
    ("max_pool1d", (2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool3d", (1, 2, 4, 5, 4), {"kernel_size": 2}),
    ("avg_pool2d", (2, 3, 7, 6), {"kernel_size": 2}),
    ("avg_pool2d", (2, 3, 8, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    (
        "avg_pool2d",
        (2, 3, 7, 7),
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    ),
    ("avg_pool2d", (2, 3, 7, 7), {"kernel_size": 3, "divisor_override": 2}),
    ("avg_pool3d", (1, 2, 4, 5, 4), {"kernel_size": 2, "padding": 1}),
    ("adaptive_avg_pool2d", (2, 3, 7, 5), {"output_size": (3, None)}),
    ("adaptive_avg_pool2d", (2, 3, 4, 4), {"output_size": (6, 9)}),
    ("adaptive_max_pool2d", (2, 3, 7, 5), {"output_size": (3, 2)}),
]


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize(("name", "shape", "attrs"), POOLINGS, ids=str)
def test_pooling_agrees_with_torch(
    name: str, shape: tuple[int, ...], attrs: Case, last: bool
) -> None:
    rng = np.random.default_rng(0)
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 7.0
    ours, theirs = FUNCTIONS[name], getattr(F, name)
    compare(lambda x: ours(x, **attrs), lambda x: theirs(x, **attrs), [x], last=last)


@pytest.mark.parametrize(("name", "shape", "attrs"), POOLINGS[:7], ids=str)
def test_positions_of_maxima_agree_with_torch(
    name: str, shape: tuple[int, ...], attrs: Case
) -> None:
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float64)
    values, index = FUNCTIONS[name](cr.tensor(x), **attrs, return_indices=True)
    expected, places = getattr(F, name)(torch.tensor(x), **attrs, return_indices=True)
    np.testing.assert_array_equal(np.asarray(values), expected.numpy())
    np.testing.assert_array_equal(np.asarray(index), places.numpy())


@pytest.mark.parametrize("attrs", [{}, {"stride": 1}, {"stride": 1, "padding": 1}], ids=str)
def test_gradient_of_equal_maxima_goes_where_torch_sends_it(attrs: Case) -> None:
    x = np.random.default_rng(0).integers(0, 2, (2, 2, 6, 6)).astype(np.float64)
    ours = FUNCTIONS["max_pool2d"]
    compare(lambda x: ours(x, 2, **attrs), lambda x: F.max_pool2d(x, 2, **attrs), [x])


@pytest.mark.parametrize("padding", [0, 1])
def test_max_pool_of_nan_and_infinity_agrees_with_torch(padding: int) -> None:
    x = np.full((1, 1, 4, 4), -np.inf)
    x[0, 0, 0, 1], x[0, 0, 1, 0], x[0, 0, 3, 3], x[0, 0, 0, 2] = np.nan, np.nan, np.inf, -1.0
    a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    result = FUNCTIONS["max_pool2d"](a, 2, padding=padding)
    expected = F.max_pool2d(b, 2, padding=padding)
    np.testing.assert_array_equal(np.asarray(result), expected.detach().numpy())
    result.backward(cr.ones(result.shape, dtype="float64"))
    expected.backward(torch.ones_like(expected))
    np.testing.assert_array_equal(np.asarray(a.grad), b.grad.numpy())


def test_gradient_of_infinity_through_a_pool_does_not_become_nan() -> None:
    x = cr.tensor([[[1.0, 2.0], [3.0, 0.0]]], requires_grad=True)
    result = FUNCTIONS["max_pool2d"](x, 2)
    result.backward(cr.full(result.shape, float("inf")))
    assert x.grad is not None
    assert x.grad.tolist() == [[[0.0, 0.0], [float("inf"), 0.0]]]


@pytest.mark.parametrize(
    ("attrs", "text"),
    [
        ({"kernel_size": 9}, "max_pool2d: a window [9, 9] (dilation [1, 1]) is larger than"),
        ({"kernel_size": 2, "padding": 2}, "padding=[2, 2] exceeds half of the window [2, 2]"),
        ({"kernel_size": (2, 2, 2)}, "kernel_size=(2, 2, 2), expected an integer from 1 on"),
    ],
)
def test_wrong_windows_are_refused(attrs: Case, text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        FUNCTIONS["max_pool2d"](cr.ones((1, 1, 4, 4)), **attrs)
    assert text in str(caught.value)


@pytest.mark.parametrize("attrs", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}], ids=str)
def test_unfold_and_fold_agree_with_torch(attrs: Case) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5))
    unfold, fold = FUNCTIONS["unfold"], FUNCTIONS["fold"]
    compare(lambda x: unfold(x, (3, 2), **attrs), lambda x: F.unfold(x, (3, 2), **attrs), [x])
    made = F.unfold(torch.tensor(x), (3, 2), **attrs).numpy()
    compare(
        lambda x: fold(x, (6, 5), (3, 2), **attrs),
        lambda x: F.fold(x, (6, 5), (3, 2), **attrs),
        [made],
    )
