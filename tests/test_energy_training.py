"""Contrastive divergence, deep belief networks, the recipes' short forms and the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.data import TensorDataset
from chainrule.models import DBN, RBM, ContrastiveDivergence, draw_visible, fit_energy_model
from chainrule.train import predict

ROOT = Path(__file__).parent.parent


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))


def digits() -> tuple[Any, Any]:
    sets = pytest.importorskip("sklearn.datasets")
    images, labels = sets.load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels


def bars(count: int, side: int = 4) -> Any:
    """Return pictures of one to two random rows of a square, all on."""
    rng = np.random.default_rng(0)
    rows = rng.random((count, side)) < 0.4
    return np.repeat(rows, side, 1).astype(np.float32)


def machine(seed: int, n_visible: int = 6, n_hidden: int = 4, **options: Any) -> RBM:
    cr.manual_seed(seed)
    rbm = RBM(n_visible, n_hidden, init_std=0.5, dtype="float64", **options)
    with cr.no_grad():
        rbm.visible_bias.copy_(cr.randn(n_visible, dtype="float64") * 0.3)
        rbm.hidden_bias.copy_(cr.randn(n_hidden, dtype="float64") * 0.3)
    return rbm


def by_hand(rbm: RBM, v: Any, sample: Any) -> tuple[Any, Any, Any]:
    """Return the textbooks' negated updates from data and model states, with NumPy."""
    W, c = rbm.weight.detach().numpy(), rbm.hidden_bias.detach().numpy()
    on, on_sample = (1 / (1 + np.exp(-(x @ W.T + c))) for x in (v, sample))
    weight = on_sample.T @ sample / len(sample) - on.T @ v / len(v)
    return weight, sample.mean(0) - v.mean(0), on_sample.mean(0) - on.mean(0)


@pytest.mark.parametrize("k", [1, 3])
def test_gradient_of_cd_is_the_textbook_update(k: int) -> None:
    rbm = machine(0)
    v = (np.random.default_rng(1).random((20, 6)) < 0.5).astype(np.float64)
    sample = rbm.gibbs(cr.tensor(v), k, generator=cr.Generator(3)).detach().numpy()
    objective = ContrastiveDivergence(rbm, k=k, generator=cr.Generator(3))
    objective(cr.tensor(v)).mean().backward()
    expected = by_hand(rbm, v, sample)
    for parameter, value in zip(rbm.parameters(), expected, strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), value, atol=1e-12)


def test_gradient_of_pcd_continues_the_chains() -> None:
    rbm = machine(0)
    v = (np.random.default_rng(1).random((20, 6)) < 0.5).astype(np.float64)
    objective = ContrastiveDivergence(rbm, chains=50, generator=cr.Generator(3))
    source = cr.Generator(3)
    sample = rbm.sample_visible(cr.zeros((50, 4), dtype="float64"), generator=source)
    hidden = rbm.sample_hidden(sample, generator=source)
    objective(cr.tensor(v)).mean().backward()
    expected = by_hand(rbm, v, sample.detach().numpy())
    for parameter, value in zip(rbm.parameters(), expected, strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), value, atol=1e-12)
    np.testing.assert_array_equal(objective.chains.numpy(), hidden.numpy())
    assert "chains" in objective.state_dict()


def test_long_chains_give_the_gradient_of_the_likelihood() -> None:
    """CD-k approaches it as k grows; within the noise of 40,000 chains."""
    rbm = machine(2)
    v = (np.random.default_rng(1).random((4, 6)) < 0.5).astype(np.float64)
    rbm.log_likelihood(cr.tensor(v)).mean().backward()
    exact = [
        -parameter.grad.numpy() for parameter in rbm.parameters() if parameter.grad is not None
    ]
    rbm.zero_grad()
    many = cr.tensor(np.tile(v, (10_000, 1)))
    ContrastiveDivergence(rbm, k=15, generator=cr.Generator(0))(many).mean().backward()
    for parameter, value in zip(rbm.parameters(), exact, strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), value, atol=0.015)


def test_penalties_are_added() -> None:
    rbm = machine(0)
    v = cr.tensor((np.random.default_rng(1).random((20, 6)) < 0.5).astype(np.float64))
    plain = ContrastiveDivergence(rbm, generator=cr.Generator(3))(v)
    penalised = ContrastiveDivergence(
        *(rbm,),
        generator=cr.Generator(3),
        weight_decay=0.3,
        sparsity_target=0.1,
        sparsity_cost=2.0,
    )(v)
    on = rbm(v).detach().numpy().mean(0)
    decay = 0.15 * (rbm.weight.detach().numpy() ** 2).sum()
    expected = decay + 2 * ((on - 0.1) ** 2).sum()
    difference = (penalised - plain).detach().numpy()
    np.testing.assert_allclose(difference, expected, rtol=1e-9)


def test_sparsity_target_is_approached() -> None:
    data = bars(200)
    shares = []
    for cost in (0.0, 5.0):
        cr.manual_seed(0)
        rbm = RBM(16, 12)
        objective = ContrastiveDivergence(rbm, sparsity_target=0.1, sparsity_cost=cost)
        optimizer = optim.SGD(rbm.parameters(), lr=0.2)
        fit_energy_model(objective, data, optimizer, epochs=150, batch_size=50, progress=False)
        shares.append(rbm(cr.tensor(data)).mean().item())
    assert shares[0] > 0.3
    assert shares[1] < 0.2


@pytest.mark.parametrize(("chains", "times_entropy"), [(0, 2.5), (100, 1.4)])
def test_likelihood_rises_towards_the_entropy_of_the_data(
    chains: int, times_entropy: float
) -> None:
    """CD-1 stops early here, since its chains hardly leave a picture; PCD goes on."""
    data = bars(2000)
    rows = data[:, ::4]
    share = 0.4  # of rows that are on: four independent coins
    entropy = -4 * (share * np.log(share) + (1 - share) * np.log(1 - share))
    assert abs(rows.mean() - share) < 0.02
    cr.manual_seed(0)
    rbm = RBM(16, 8)
    rbm.start_from(cr.tensor(data))
    before = rbm.log_likelihood(cr.tensor(data)).mean().item()
    objective = ContrastiveDivergence(rbm, chains=chains)
    optimizer = optim.SGD(rbm.parameters(), lr=0.1)
    fit_energy_model(objective, data, optimizer, epochs=150, batch_size=100, progress=False)
    after = rbm.log_likelihood(cr.tensor(data)).mean().item()
    assert before < -10
    assert after > -times_entropy * entropy
    drawn = draw_visible(rbm, 500, 50, generator=cr.Generator(0)).numpy().round()
    whole_rows = (drawn.reshape(500, 4, 4).mean(2) % 1 == 0).mean()
    assert whole_rows > 0.95


def test_gaussian_machine_learns_deviations() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal([1.0, -2.0, 0.0], [0.5, 1.0, 2.0], (4000, 3)).astype(np.float32)
    cr.manual_seed(0)
    rbm = RBM(3, 2, visible="gaussian", learn_sigma=True)
    optimizer = optim.Adam(rbm.parameters(), lr=0.02)
    objective = ContrastiveDivergence(rbm)
    fit_energy_model(objective, data, optimizer, epochs=30, batch_size=200, progress=False)
    drawn = rbm.gibbs(rbm.random_visible(4000), 20).detach().numpy()
    np.testing.assert_allclose(drawn.mean(0), data.mean(0), atol=0.25)
    np.testing.assert_allclose(drawn.std(0), data.std(0), rtol=0.15)


def test_ratings_that_are_missing_are_predicted() -> None:
    """Two tastes: who likes the first of a group likes all of it. A third of entries is known."""
    rng = np.random.default_rng(0)
    taste = rng.random((600, 4)) < 0.5
    ratings = np.repeat(taste, 5, 1).astype(np.float32)
    known = (rng.random(ratings.shape) < 0.4).astype(np.float32)
    cr.manual_seed(0)
    rbm = RBM(20, 16)
    optimizer = optim.Adam(rbm.parameters(), lr=0.02)
    objective = ContrastiveDivergence(rbm)

    @cr.compile
    def step(v: cr.Tensor, m: cr.Tensor) -> None:
        optimizer.zero_grad()
        objective(v, m).mean().backward()
        optimizer.step()

    v, m = cr.tensor(ratings * known), cr.tensor(known)
    for _ in range(400):
        step(v, m)
    found = rbm.predict_missing(v, m).detach().numpy()
    # Where nothing of a group is known, nothing can be told.
    told = np.repeat(known.reshape(600, 4, 5).any(2), 5, 1) & (known == 0)
    assert ((found > 0.5) == ratings)[told].mean() > 0.93
    objective.eval()
    assert objective(v, m).mean().item() < 0.1


def test_compiled_steps_are_the_eager_ones() -> None:
    data = cr.tensor(bars(20))
    results = []
    for compiled in (False, True):
        cr.manual_seed(0)
        rbm = RBM(16, 8, init_std=0.1)
        objective = ContrastiveDivergence(rbm, chains=10, weight_decay=1e-3)
        optimizer = optim.SGD(rbm.parameters(), lr=0.1, momentum=0.5)

        def step(
            v: cr.Tensor,
            objective: nn.Module = objective,
            optimizer: optim.SGD = optimizer,
        ) -> cr.Tensor:
            optimizer.zero_grad()
            loss = objective(v).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = cr.compile(step) if compiled else step
        losses = [run(data).item() for _ in range(5)]
        results.append((losses, rbm.weight.detach().numpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-4, atol=1e-5)


def test_dbn_features_and_classifier_agree() -> None:
    cr.manual_seed(0)
    dbn = DBN((12, 8, 6), init_std=0.5)
    x = cr.rand(5, 12)
    classifier = dbn.to_mlp(3)
    features = predict(nn.Sequential(*list(classifier)[:-1]), x)
    np.testing.assert_allclose(features, dbn(x).detach().numpy(), rtol=1e-5)
    names = ["1.weight", "1.bias", "3.weight", "3.bias", "5.weight", "5.bias"]
    assert list(classifier.state_dict()) == names
    with cr.no_grad():
        classifier[1].weight.fill_(0.0)  # weights of its own
    assert dbn.machines[0].weight.abs().sum().item() > 0
    assert len(list(dbn.to_mlp(3, dropout=0.2))) == 8
    assert dbn.generate(7, 5).shape == (7, 12)
    assert dbn.generate(2, 5, start=x[:2]).shape == (2, 12)
    assert dbn.reconstruct(x).shape == (5, 12)
    gaussian = DBN((12, 8), visible="gaussian", sigma=2.0)
    first = predict(nn.Sequential(*list(gaussian.to_mlp(3))[:-1]), x)
    np.testing.assert_allclose(first, gaussian(x).detach().numpy(), rtol=1e-5)


def test_greedy_training_explains_the_data_better() -> None:
    data = bars(500)
    cr.manual_seed(0)
    dbn = DBN((16, 12, 8))
    before = (dbn.reconstruct(cr.tensor(data)).detach().numpy() - data).__pow__(2).mean()
    histories = dbn.pretrain(data, epochs=(60, 60), batch_size=50, progress=False)
    after = (dbn.reconstruct(cr.tensor(data)).detach().numpy() - data).__pow__(2).mean()
    assert len(histories) == 2
    assert after < 0.4 * before


def test_recipe_of_the_rbm_in_short(recipes: None, tmp_path: Path) -> None:
    """On scikit-learn's digits: the same two figures, and the pictures."""
    pytest.importorskip("PIL")
    import rbm as recipe

    images, _ = digits()
    ours = recipe.measure("ours", recipe.train_ours(images, 64, 8, progress=False), images, 0.0)
    trained = recipe.train_theirs(images, 64, 8)
    theirs = recipe.measure("theirs", trained, images, 0.0)
    assert ours.pseudo_likelihood > theirs.pseudo_likelihood - 1
    assert ours.reconstruction_error < theirs.reconstruction_error * 1.05
    recipe.draw_all(trained, images, tmp_path, steps=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "filled.png",
        "filters.png",
        "samples.png",
    ]
    assert recipe.tiles(images[:7], 4).shape == (2 * 9 + 1, 4 * 9 + 1)


def test_recipe_of_the_dbn_in_short(recipes: None) -> None:
    import dbn as recipe

    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    data = TensorDataset(images[:1400], labels[:1400]), TensorDataset(images[1400:], labels[1400:])
    _, reached = recipe.run(data, (64, 64, 48), 200, 80, 160)
    assert reached > 0.92


@pytest.mark.parametrize("peer", ["chainrule", "eager", "torch"])
def test_benchmark_learns(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if peer == "torch":
        pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from benchmarks.cases.rbm import build

    runner = build(peer)
    errors = [runner.loss(runner.step()) for _ in range(12)]
    assert errors[0] == pytest.approx(0.25, abs=0.01)  # of probabilities near one half
    assert errors[-1] < 0.21


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ContrastiveDivergence(nn.Linear(2, 2)), ArgumentError, "is a Linear"),
        (lambda: ContrastiveDivergence(RBM(2, 2), k=0), ArgumentError, "k is 0"),
        (lambda: ContrastiveDivergence(RBM(2, 2), chains=-1), ArgumentError, "chains is -1"),
        (
            lambda: ContrastiveDivergence(RBM(2, 2), sparsity_cost=1.0),
            ArgumentError,
            "no sparsity_target",
        ),
        (
            lambda: ContrastiveDivergence(RBM(2, 2), chains=2)(cr.ones((1, 2)), cr.ones((1, 2))),
            ArgumentError,
            "chains=0",
        ),
        (lambda: DBN((5,)), ArgumentError, "two layers"),
        (lambda: DBN((5, 0)), ArgumentError, "a size is 0"),
        (lambda: DBN((5, 4)).pretrain(np.ones((2, 5)), epochs=[1, 2]), ArgumentError, "2 numbers"),
        (
            lambda: fit_energy_model(
                ContrastiveDivergence(RBM(4, 2)),
                np.ones((3, 2, 2), np.float32),
                optim.SGD(RBM(4, 2).parameters(), lr=0.1),
                epochs=1,
            ),
            ShapeError,
            "flattened",
        ),
        (lambda: draw_visible(RBM(4, 2), 3, start=cr.ones((2, 4))), ShapeError, r"\[3, 4\]"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
