"""Layers of normalisation, resampling, padding, pooling: against PyTorch's, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiled import Together

import chainrule as cr
from chainrule import nn
from chainrule.core.errors import ChainruleError

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

Case = tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]

# name of the layer, arguments, keyword arguments, shape of the input
LAYERS: list[Case] = [
    ("GroupNorm", (2, 4), {}, (3, 4, 5)),
    ("GroupNorm", (4, 4), {"eps": 0.1, "bias": False}, (1, 4, 2, 3)),
    ("GroupNorm", (1, 4), {"affine": False}, (2, 4)),
    ("InstanceNorm1d", (3,), {}, (2, 3, 5)),
    ("InstanceNorm1d", (3,), {"affine": True}, (3, 5)),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, (2, 3, 4, 2)),
    ("InstanceNorm2d", (3,), {"track_running_stats": True, "momentum": 0.3}, (1, 3, 4, 2)),
    ("InstanceNorm3d", (2,), {"eps": 0.1}, (2, 2, 2, 3, 2)),
    ("LocalResponseNorm", (3,), {"alpha": 0.3, "k": 2.0}, (2, 5, 3)),
    ("LocalResponseNorm", (5,), {"beta": 0.5}, (2, 4, 2, 3)),
    ("RMSNorm", (4,), {}, (3, 4)),
    ("RMSNorm", ((3, 4),), {"eps": 0.1}, (2, 3, 4)),
    ("RMSNorm", (4,), {"elementwise_affine": False}, (2, 4)),
    ("BatchNorm1d", (4,), {"momentum": None}, (5, 4)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (2, 3, 2, 2)),
    ("BatchNorm2d", (3,), {"momentum": None, "affine": False}, (1, 3, 2, 2)),
    ("Upsample", (), {"scale_factor": 2}, (1, 2, 3, 4)),
    ("Upsample", ((5, 7),), {"mode": "bilinear"}, (2, 2, 3, 4)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "bilinear"}, (1, 2, 5, 4)),
    (
        *("Upsample", ()),
        {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True},
        (1, 2, 5, 4),
    ),
    ("Upsample", (), {"scale_factor": (0.6, 2.5), "mode": "nearest"}, (1, 2, 5, 4)),
    ("Upsample", (4,), {"mode": "linear", "align_corners": True}, (1, 2, 9)),
    ("Upsample", (), {"scale_factor": 0.4, "mode": "bicubic"}, (1, 1, 9, 8)),
    ("Upsample", ((7, 3),), {"mode": "bicubic", "align_corners": True}, (1, 1, 4, 5)),
    ("Upsample", (1,), {"mode": "bilinear", "align_corners": True}, (1, 1, 4, 5)),
    ("Upsample", ((3, 5, 2),), {"mode": "trilinear"}, (1, 1, 2, 3, 4)),
    ("Upsample", ((3, 2),), {"mode": "area"}, (1, 1, 7, 4)),
    ("UpsamplingNearest2d", (), {"scale_factor": 3}, (1, 2, 2, 3)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (1, 2, 2, 3)),
    ("PixelShuffle", (2,), {}, (2, 8, 2, 3)),
    ("PixelUnshuffle", (2,), {}, (2, 2, 4, 6)),
    ("ChannelShuffle", (2,), {}, (2, 6, 2, 3)),
    ("ConstantPad1d", ((1, -1), 0.5), {}, (2, 2, 4)),
    ("ConstantPad2d", (1, -1.5), {}, (2, 3, 4)),
    ("ConstantPad3d", (1, 2.0), {}, (1, 2, 2, 3, 2)),
    ("ZeroPad1d", (2,), {}, (2, 2, 4)),
    ("ZeroPad2d", ((1, 2, 0, 3),), {}, (1, 2, 3, 4)),
    ("ZeroPad3d", (1,), {}, (2, 2, 3, 2)),
    ("ReflectionPad1d", ((1, 2),), {}, (2, 2, 4)),
    ("ReflectionPad2d", (1,), {}, (1, 2, 3, 4)),
    ("ReflectionPad3d", (1,), {}, (1, 2, 3, 4, 2)),
    ("ReplicationPad1d", (3,), {}, (2, 2, 2)),
    ("ReplicationPad2d", ((0, 1, 2, 3),), {}, (1, 2, 3, 4)),
    ("ReplicationPad3d", (1,), {}, (1, 2, 3, 1, 2)),
    ("CircularPad1d", (2,), {}, (1, 2, 3)),
    ("CircularPad2d", ((1, 2, 0, 3),), {}, (1, 2, 3, 4)),
    ("CircularPad3d", (1,), {}, (1, 2, 3, 1, 2)),
    ("Unfold", ((2, 3),), {"padding": 1, "stride": 2}, (2, 2, 4, 5)),
    ("Fold", ((4, 5), 2), {}, (2, 8, 12)),
    ("LPPool1d", (2, 3), {"stride": 1}, (2, 2, 6)),
    ("LPPool2d", (2, (2, 3)), {"ceil_mode": True}, (1, 2, 5, 5)),
    ("LPPool3d", (2.0, 2), {}, (1, 1, 4, 2, 3)),
    ("AdaptiveMaxPool3d", ((2, 1, None),), {}, (1, 2, 4, 3, 2)),
    ("AlphaDropout", (0.0,), {}, (3, 4)),
    ("Dropout2d", (0.0,), {}, (3, 4, 2, 2)),
    ("Embedding", (5, 3), {"padding_idx": 1}, (0,)),
]
SIZES = [case for case in LAYERS if case[0] != "Embedding"]


def title(case: Case) -> str:
    return "-".join(map(str, case)).replace(" ", "")


def pair(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Return our layer and PyTorch's with the same random values, taken over from ours."""
    rng = np.random.default_rng(0)
    ours = getattr(nn, name)(*args, **kwargs).double()
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    with cr.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(cr.tensor(rng.normal(size=parameter.shape)))
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def close(ours: Any, theirs: Any, rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), rtol, 1e-12)


def numbers(name: str, shape: tuple[int, ...], seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 2, shape) if name.startswith("LP") else rng.normal(size=shape)


@pytest.mark.parametrize("case", SIZES, ids=title)
def test_layer_agrees_with_pytorch(case: Case) -> None:
    name, args, kwargs, shape = case
    ours, theirs = pair(name, args, kwargs)
    for seed in (1, 2):  # twice: running statistics remember
        x = numbers(name, shape, seed)
        a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        close(y, z)
        weights = np.random.default_rng(3).normal(size=y.shape)
        (y * cr.tensor(weights)).sum().backward()
        (z * torch.tensor(weights)).sum().backward()
        close(a.grad, b.grad)
        pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
        for (own, p), (their, q) in pairs:
            assert own == their
            close(p.grad, q.grad)
    for own, value in ours.state_dict().items():
        close(value, theirs.state_dict()[own])
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    close(ours.eval()(a), theirs.eval()(b))


@pytest.mark.parametrize("case", LAYERS, ids=title)
def test_layer_reads_like_pytorchs(case: Case) -> None:
    name, args, kwargs, _ = case
    ours, theirs = pair(name, args, kwargs)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_layers_compiled_together_agree_with_eager() -> None:
    """Values and gradients; running statistics too."""
    layers = [pair(*case[:3])[0] for case in SIZES]
    copies = [pair(*case[:3])[0] for case in SIZES]
    together = Together(layers, [1] * len(SIZES), backward=True)
    eager = Together(copies, [1] * len(SIZES), backward=True)
    given, same = (
        [[cr.tensor(numbers(c[0], c[3], 1), requires_grad=True)] for c in SIZES] for _ in range(2)
    )
    results = together(given)
    expected = eager._all(*(x for (x,) in same))
    for case, y, z, (a,), (b,) in zip(SIZES, results, expected, given, same, strict=True):
        np.testing.assert_allclose(np.asarray(y), np.asarray(z), 1e-9, 1e-11, err_msg=title(case))
        np.testing.assert_allclose(
            np.asarray(a.grad), np.asarray(b.grad), 1e-8, 1e-10, err_msg=title(case)
        )
    for one, other in zip(layers, copies, strict=True):
        for name, value in one.state_dict().items():
            np.testing.assert_allclose(np.asarray(value), np.asarray(other.state_dict()[name]))


TRANSPOSED: list[tuple[dict[str, Any], tuple[int, int] | None]] = [
    ({"stride": 2, "padding": 1, "output_padding": 1}, None),
    ({"stride": (3, 2), "output_padding": (2, 0), "groups": 2}, None),
    ({"stride": 2, "dilation": 2, "padding": (2, 0), "bias": False}, None),
    ({"stride": 1, "dilation": 3, "output_padding": 2}, None),
    ({"stride": 3, "padding": 1}, (8, 11)),
    ({"stride": 2, "groups": 4, "dilation": (1, 2)}, (7, 12)),
]


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_transposed_convolution_with_every_option(case: Any) -> None:
    kwargs, size = case
    ours, theirs = pair("ConvTranspose2d", (4, 8, (2, 3)), kwargs)
    x = numbers("", (2, 4, 3, 4), 1)
    a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a, size), theirs(b, size)
    close(y, z)
    (y * y).sum().backward()
    (z * z).sum().backward()
    close(a.grad, b.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)


def test_bilinear_layer_agrees_with_pytorch() -> None:
    ours, theirs = pair("Bilinear", (3, 2, 4), {})
    x, y = numbers("", (2, 5, 3), 1), numbers("", (2, 5, 2), 2)
    close(ours(cr.tensor(x), cr.tensor(y)), theirs(torch.tensor(x), torch.tensor(y)))
    assert repr(ours) == repr(theirs)


def test_maxout_is_the_largest_of_linear_maps() -> None:
    layer = nn.Maxout(4, 3, 5).double()
    x = numbers("", (6, 4), 1)
    pieces = x @ layer.weight.numpy().T  # the bias starts from 0
    found = layer(cr.tensor(x))
    np.testing.assert_allclose(np.asarray(found), pieces.reshape(6, 3, 5).max(-1), rtol=1e-12)


def test_separable_convolution_is_depthwise_then_pointwise() -> None:
    layer = nn.SeparableConv2d(4, 6, 3, stride=2, padding=1, depth_multiplier=2).double()
    x = torch.tensor(numbers("", (2, 4, 7, 5), 1))
    state = {k: torch.tensor(v.numpy()) for k, v in layer.state_dict().items()}
    assert list(state) == ["depthwise.weight", "pointwise.weight", "pointwise.bias"]
    middle = torch.nn.functional.conv2d(x, state["depthwise.weight"], None, 2, 1, 1, 4)
    whole = torch.nn.functional.conv2d(middle, state["pointwise.weight"], state["pointwise.bias"])
    close(layer(cr.tensor(x.numpy())), whole)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_puts_maxima_back(axes: int) -> None:
    x = numbers("", (2, 3, *(6, 5, 4)[:axes]), 1)
    name = f"MaxPool{axes}d"
    pooled, index = getattr(nn, name)(2, return_indices=True)(cr.tensor(x))
    wanted, places = getattr(torch.nn, name)(2, return_indices=True)(torch.tensor(x))
    np.testing.assert_array_equal(np.asarray(index), places.numpy())
    back, other = (getattr(n, f"MaxUnpool{axes}d")(2) for n in (nn, torch.nn))
    close(back(pooled, index, x.shape), other(wanted, places, x.shape))
    assert repr(back) == repr(other)


REFUSED = [
    (lambda: nn.GroupNorm(3, 4), "num_channels is 4, not divisible by num_groups=3"),
    (lambda: nn.GroupNorm(2, 4)(cr.zeros((1, 6, 2))), "C = 4"),
    (lambda: nn.GroupNorm(4, 4)(cr.zeros((1, 4))), "no variance"),
    (lambda: nn.InstanceNorm2d(3)(cr.zeros((2, 3, 1, 1))), "needs at least 2"),
    (lambda: nn.InstanceNorm2d(3)(cr.zeros((2, 4, 2, 2))), "has 4 channels, expected 3"),
    (lambda: nn.InstanceNorm1d(3)(cr.zeros((2, 3, 4, 4))), "InstanceNorm2d"),
    (lambda: nn.BatchNorm1d(3)(cr.zeros((1, 3))), "needs at least 2"),
    (lambda: nn.LocalResponseNorm(0), "size is 0"),
    (lambda: nn.RMSNorm(4)(cr.zeros((2, 3))), "does not end in"),
    (lambda: nn.Upsample(), "neither of size and scale_factor"),
    (lambda: nn.Upsample(2, 2.0), "both of size and scale_factor"),
    (lambda: nn.Upsample(2, mode="cubic"), "bicubic"),
    (lambda: nn.Upsample(scale_factor=0.0), "scale_factor is 0"),
    (lambda: nn.Upsample(2, mode="linear")(cr.zeros((1, 2, 3, 4))), "spatial axes"),
    (lambda: nn.Upsample(scale_factor=0.1)(cr.zeros((1, 2, 3, 4))), "must be positive"),
    (lambda: nn.PixelShuffle(2)(cr.zeros((1, 6, 2, 2))), "no multiple of upscale_factor"),
    (lambda: nn.PixelUnshuffle(2)(cr.zeros((1, 6, 3, 2))), "do not split into blocks"),
    (lambda: nn.ReflectionPad1d(-1), "padding is -1"),
    (lambda: nn.ZeroPad2d((1, 2, 3)), "expected one integer or 4"),
    (lambda: nn.LPPool2d(0, 2), "norm_type is 0"),
    (lambda: nn.Dropout2d(1.5), "p is 1.5"),
    (lambda: nn.AlphaDropout(-0.1), "p is -0.1"),
    (lambda: nn.GaussianNoise(-1.0), "std is -1"),
    (lambda: nn.Maxout(4, 3, 0), "num_pieces is 0"),
    (lambda: nn.Embedding(3, 2, max_norm=0.0), "max_norm is 0"),
    (lambda: nn.EmbeddingBag(3, 2, mode="median"), "median"),
    (
        lambda: nn.ConvTranspose2d(2, 2, 3, 2)(cr.zeros((1, 2, 3, 3)), (9, 7)),
        r"from \(7, 7\) to \(8, 8\)",
    ),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_bad_arguments_are_refused(number: int) -> None:
    make, text = REFUSED[number]
    with pytest.raises(ChainruleError, match=text):
        make()
