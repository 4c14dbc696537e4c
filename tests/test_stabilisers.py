"""Dropout, noise, mixing of examples; computed weights; tables of vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn, optim
from chainrule.core.errors import ChainruleError
from chainrule.data import CutMix, DataLoader, MixedLoader, MixUp, TensorDataset
from chainrule.train import Trainer

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")


def close(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), tolerance, tolerance)


def test_channel_dropout_drops_whole_channels() -> None:
    for function, shape in ((F.dropout1d, (8, 9, 4)), (F.dropout2d, (8, 9, 2, 2))):
        result = np.asarray(function(cr.ones(shape), 0.25, generator=cr.Generator(0)))
        flat = result.reshape(72, -1)
        assert (flat == flat[:, :1]).all()
        np.testing.assert_allclose(np.unique(flat), [0.0, 4 / 3], rtol=1e-6)
    one = np.asarray(F.dropout3d(cr.ones((50, 2, 2, 2)), 0.5, generator=cr.Generator(0)))
    assert 10 < one[:, 0, 0, 0].astype(bool).sum() < 40
    assert (one.reshape(50, -1) == one.reshape(50, -1)[:, :1]).all()


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function: Callable[..., Any]) -> None:
    x = cr.randn(400, 300, generator=cr.Generator(0))
    result = np.asarray(function(x, 0.3, True, generator=cr.Generator(1)))
    assert abs(result.mean()) < 0.02  # 120,000 numbers: standard error 0.003
    assert abs(result.var() - 1) < 0.03
    off = 1 / math.sqrt((1.7580993408473766**2 * 0.3 + 1) * 0.7)
    lowest = off * -1.7580993408473766 * 0.7  # what PyTorch's formula gives for "off"
    share = (np.abs(result - lowest) < 1e-6).mean()
    assert abs(share - 0.3) < 0.01


def test_noise_has_the_given_spread_and_only_in_training() -> None:
    cr.manual_seed(0)
    layer = nn.GaussianNoise(0.3)
    x = cr.ones((300, 200))
    noise = np.asarray(layer(x)) - 1
    assert abs(noise.mean()) < 0.005
    assert abs(noise.std() - 0.3) < 0.005
    assert layer.eval()(x) is x


@pytest.mark.parametrize("name", ["Dropout1d", "AlphaDropout", "FeatureAlphaDropout"])
def test_dropout_at_its_ends(name: str) -> None:
    x = cr.ones((2, 3, 4))
    assert getattr(nn, name)(0.0)(x).tolist() == x.tolist()
    assert getattr(nn, name)(1.0)(x).tolist() == cr.zeros((2, 3, 4)).tolist()
    assert getattr(nn, name)(0.5).eval()(x).tolist() == x.tolist()


def test_compiled_dropout_draws_anew_and_like_eager() -> None:
    layers = [nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.GaussianNoise(1.0)]

    def all_of(x: Any) -> list[Any]:
        return [layer(x) for layer in layers]

    compiled, x = cr.compile(all_of), cr.ones((2, 8, 3, 3))
    cr.manual_seed(0)
    first, second = compiled(x), compiled(x)
    cr.manual_seed(0)
    for a, b, again in zip(all_of(x), first, second, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6, atol=1e-6)
        assert (np.asarray(b) != np.asarray(again)).any()


def test_mixup_by_hand() -> None:
    x, t = cr.tensor([[1.0, 2.0], [3.0, 4.0]]), cr.tensor([[1.0, 0.0], [0.0, 1.0]])
    mixed, soft = MixUp(0.2).mixed(x, t, cr.tensor([1, 0]), 0.75)
    assert mixed.tolist() == [[1.5, 2.5], [2.5, 3.5]]
    assert soft.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_cutmix_by_hand() -> None:
    mix = CutMix(1.0, generator=cr.Generator(0))
    assert mix.box(8, 10, 0.75, 0.5, 0.0) == (2, 6, 0, 2)  # half of it hangs over on the left
    assert mix.box(8, 8, 0.0, 0.5, 0.5) == (0, 8, 0, 8)
    images = cr.tensor(np.stack([np.zeros((1, 8, 8)), np.ones((1, 8, 8))]))
    targets = cr.tensor([[1.0, 0.0], [0.0, 1.0]], dtype="float64")
    cut, soft = mix.mixed(images, targets, cr.tensor([1, 0]), 0.75)
    area = float(cut[0].mean().item())
    assert 0 < area <= 0.25
    np.testing.assert_allclose(np.asarray(soft), [[1 - area, area], [area, 1 - area]])
    pixels = np.argwhere(np.asarray(cut)[0, 0] == 1)
    assert len(pixels) == np.prod(np.ptp(pixels, axis=0) + 1)  # a rectangle


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    mix = MixUp(alpha, generator=cr.Generator(0))
    shares = [mix.draw() for _ in range(400)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def loader_of(mixing: Any) -> MixedLoader:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 24)
    images = rng.normal(size=(24, 1, 4, 4)).astype(np.float32) + labels[:, None, None, None]
    return MixedLoader(
        DataLoader(TensorDataset(images.astype(np.float32), labels), 8, shuffle=True), mixing
    )


def test_a_trainer_learns_from_mixed_batches() -> None:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    rule = optim.Adam(model.parameters(), lr=0.02)
    trainer = Trainer(model, nn.CrossEntropyLoss(), rule, progress=False)
    ((images, labels),) = DataLoader(loader_of(None).dataset, 24)
    before = F.cross_entropy(model(images), labels).item()
    for epochs, mixing in ((10, MixUp(0.4, 3)), (20, CutMix(1.0, 3))):
        trainer.fit(loader_of(mixing), epochs=epochs)
    assert F.cross_entropy(model(images), labels).item() < before / 2


def test_mixed_batches_go_on_where_they_were_left() -> None:
    loader = loader_of(MixUp(0.4, 3, generator=cr.Generator(5)))
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    expected = next(batches)
    other = loader_of(MixUp(0.4, 3, generator=cr.Generator(9)))
    other.load_state_dict(state)
    for one, two in zip(next(iter(other)), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize("wrap", ["spectral_norm", "weight_norm"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_computed_weights_agree_with_pytorch(wrap: str, name: str) -> None:
    """Values, gradients, buffers and names over two calls in training and one in use."""
    args, shape = ((4, 3), (5, 4)) if name == "Linear" else ((4, 3, 2), (2, 4, 3, 3))
    ours = getattr(nn.utils, wrap)(getattr(nn, name)(*args).double())
    theirs = getattr(torch.nn.utils, wrap)(getattr(torch.nn, name)(*args).double())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    again = getattr(nn.utils, wrap)(getattr(nn, name)(*args).double())
    again.load_state_dict(ours.state_dict())

    @cr.compile
    def step(x: Any) -> Any:
        again.zero_grad()
        result = again(x)
        (result * result).sum().backward()
        return result

    for seed in (1, 2):
        x = np.random.default_rng(seed).normal(size=shape)
        y, z = ours(cr.tensor(x)), theirs(torch.tensor(x))
        close(y, z)
        ours.zero_grad()
        theirs.zero_grad()
        (y * y).sum().backward()
        (z * z).sum().backward()
        close(step(cr.tensor(x)), z)
        every = zip(
            ours.named_parameters(), theirs.named_parameters(), again.parameters(), strict=True
        )
        for (own, p), (their, q), r in every:
            assert own == their
            close(p.grad, q.grad)
            close(r.grad, q.grad)
    for own, value in ours.state_dict().items():
        close(value, theirs.state_dict()[own])
        close(again.state_dict()[own], theirs.state_dict()[own])
    x = np.random.default_rng(3).normal(size=shape)
    close(ours.eval()(cr.tensor(x)), theirs.eval()(torch.tensor(x)))
    expected = ours(cr.tensor(x))
    plain = getattr(nn.utils, f"remove_{wrap}")(ours)
    assert sorted(plain.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(np.asarray(plain(cr.tensor(x))), np.asarray(expected), rtol=1e-10)


def test_spectral_norm_finds_the_largest_singular_value() -> None:
    layer = nn.utils.spectral_norm(nn.Linear(20, 30).double(), n_power_iterations=200)
    layer(cr.zeros((1, 20), dtype="float64"))
    assert np.linalg.norm(layer.weight.numpy(), 2) == pytest.approx(1.0, rel=1e-6)


BAGS: list[tuple[dict[str, Any], Any, Any]] = [
    ({"mode": "sum"}, [[0, 2, 2], [3, 1, 0]], None),
    ({"mode": "mean", "padding_idx": 2}, [0, 2, 2, 3, 1], [0, 3, 3]),
    ({"mode": "max"}, [0, 2, 2, 3, 1], [0, 0, 2]),
    ({"mode": "max", "padding_idx": 3}, [0, 2, 3, 3, 1], [0, 2, 4]),
    ({"include_last_offset": True}, [0, 2, 2, 3, 1], [0, 1, 5]),
    ({"mode": "sum", "max_norm": 1.0}, [[0, 2], [3, 3]], None),
]


@pytest.mark.parametrize("case", BAGS, ids=str)
def test_embedding_bag_agrees_with_pytorch(case: Any) -> None:
    kwargs, indices, offsets = case
    ours = nn.EmbeddingBag(4, 3, **kwargs).double()
    theirs = torch.nn.EmbeddingBag(4, 3, **kwargs).double()
    assert repr(ours) == repr(theirs)
    theirs.load_state_dict({"weight": torch.tensor(ours.weight.numpy())})
    again = nn.EmbeddingBag(4, 3, **kwargs).double()
    again.load_state_dict(ours.state_dict())
    starts = () if offsets is None else (offsets,)
    given = [cr.tensor(v) for v in (indices, *starts)]
    z = theirs(*(torch.tensor(v) for v in (indices, *starts)))
    (z * z).sum().backward()

    def step(layer: Any, *given: Any) -> Any:
        result = layer(*given)
        (result * result).sum().backward()
        return result

    close(step(ours, *given), z)
    close(cr.compile(lambda *x: step(again, *x))(*given), z)
    for layer in (ours, again):
        close(layer.weight.grad, theirs.weight.grad)
        close(layer.weight, theirs.weight)


def test_gradient_of_a_bag_divided_by_frequency() -> None:
    """By hand: PyTorch divides the gradients of wrong rows here."""
    layer = nn.EmbeddingBag(4, 1, mode="sum", scale_grad_by_freq=True)
    layer(cr.tensor([0, 2, 2, 3]), cr.tensor([0, 3])).sum().backward()
    assert layer.weight.grad.tolist() == [[1.0], [0.0], [1.0], [1.0]]


@pytest.mark.parametrize("kwargs", [{"max_norm": 1.0, "norm_type": 1.0}, {"padding_idx": -1}])
def test_embedding_options_agree_with_pytorch(kwargs: dict[str, Any]) -> None:
    kwargs = {**kwargs, "scale_grad_by_freq": True}
    ours, theirs = nn.Embedding(4, 3, **kwargs).double(), torch.nn.Embedding(4, 3, **kwargs)
    theirs = theirs.double()
    assert repr(ours) == repr(theirs)
    theirs.load_state_dict({"weight": torch.tensor(ours.weight.numpy())})
    index = [[0, 3, 0], [0, 3, 1]]
    y, z = ours(cr.tensor(index)), theirs(torch.tensor(index))
    close(y, z)
    (y * y).sum().backward()
    (z * z).sum().backward()
    close(ours.weight.grad, theirs.weight.grad)
    close(ours.weight, theirs.weight)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: MixUp(0.0), "alpha is 0.0"),
    (lambda: MixUp(0.2)(cr.ones((2, 3)), cr.tensor([0, 1])), "class indices"),
    (lambda: MixUp(0.2, 2)(cr.ones((2, 3)), cr.tensor([0, 2])), "target 2 is none of the 2"),
    (lambda: MixUp(0.2, 2)(cr.ones((2, 3)), cr.tensor([0])), "no batch"),
    (lambda: CutMix(1.0, 2)(cr.ones((2, 3)), cr.tensor([0, 1])), "images"),
    (lambda: F.dropout2d(cr.ones((2, 3, 4, 4)), 1.5), "p=1.5"),
    (lambda: F.dropout1d(cr.ones((2, 3, 4, 4))), "expected 2 or 3"),
    (lambda: F.gaussian_noise(cr.ones(2), math.inf), "std=inf"),
    (lambda: nn.utils.spectral_norm(nn.ReLU()), "no parameter 'weight'"),
    (
        lambda: nn.utils.weight_norm(nn.utils.spectral_norm(nn.Linear(2, 2))),
        "computed by SpectralNorm",
    ),
    (lambda: nn.utils.remove_weight_norm(nn.Linear(2, 2)), "no WeightNorm"),
    (lambda: nn.EmbeddingBag(4, 2)(cr.tensor([0, 1])), "offsets"),
    (lambda: nn.EmbeddingBag(4, 2)(cr.tensor([0, 1]), cr.tensor([1])), "start at 0"),
    (lambda: nn.EmbeddingBag(4, 2)(cr.tensor([0, 4]), cr.tensor([0])), "index 4"),
    (lambda: nn.Embedding(4, 2, sparse=True), "sparse=True"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_bad_arguments_are_refused(number: int) -> None:
    make, text = REFUSED[number]
    with pytest.raises(ChainruleError, match=text):
        make()
